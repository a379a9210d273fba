//! Getting the protos: npm downloads the pinned package once, its checksum is compared, tar unpacks it into
//! the cache.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, ensure};
use serde::Deserialize;

/// The version of `google-proto-files` that the table is made from.
pub(super) const VERSION: &str = "5.0.3";
/// The package's checksum, as npm writes it.
const INTEGRITY: &str =
    "sha512-HrKG4IIPUHaU1E4+J8yETm41N39+pm9z+ZBERNcq+q8ltHRcFwTcxSviqJSuxPiZJNTWmdBhp03xcElCRlQPxA==";

/// What `npm pack --json` says; npm refuses a tarball that does not have the integrity it names.
#[derive(Debug, Deserialize)]
struct Packed {
    filename: String,
    integrity: String,
}

/// The folder that imports start from, and the paths of all protos in it, sorted.
pub(super) fn protos() -> anyhow::Result<(PathBuf, Vec<PathBuf>)> {
    let folder = unpacked()?;
    let mut paths = Vec::new();
    collect(&folder, &folder, &mut paths)?;
    paths.sort();
    ensure!(
        paths.len() > 8_000,
        "only {} protos in {}",
        paths.len(),
        folder.display()
    );
    Ok((folder, paths))
}

/// Adds the protos below a folder, but for those that every compiler brings along: the package's own copies of
/// `google/protobuf` are older than what its other files import.
fn collect(root: &Path, folder: &Path, paths: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("read {}", folder.display()))? {
        let path = entry?.path();
        let inner = path.strip_prefix(root)?;
        if inner == Path::new("google/protobuf") {
            continue;
        }
        if path.is_dir() {
            collect(root, &path, paths)?;
        } else if path.extension().is_some_and(|e| e == "proto") {
            paths.push(inner.to_owned());
        }
    }
    Ok(())
}

fn cache() -> anyhow::Result<PathBuf> {
    if let Some(folder) = env::var_os("TURNPIKE_CACHE") {
        return Ok(folder.into());
    }
    let home = env::var_os("HOME").context("neither TURNPIKE_CACHE nor HOME is set")?;
    Ok(Path::new(&home).join(".cache/turnpike"))
}

fn unpacked() -> anyhow::Result<PathBuf> {
    let folder = cache()?.join(format!("protos-{VERSION}"));
    let protos = folder.join("package");
    if protos.is_dir() {
        return Ok(protos);
    }
    // Unpacked beside and renamed, so that a run that was stopped leaves no half folder behind.
    let half = folder.with_extension("part");
    if half.exists() {
        fs::remove_dir_all(&half)?;
    }
    fs::create_dir_all(&half)?;
    let package = format!("google-proto-files@{VERSION}");
    let said = run(&half, "npm", &["pack", "--json", &package])?;
    let packed: Vec<Packed> = serde_json::from_str(&said).context("what npm pack says")?;
    let packed = packed.first().context("npm packed nothing")?;
    ensure!(
        packed.integrity == INTEGRITY,
        "{package} has the checksum {}, and not {INTEGRITY}",
        packed.integrity
    );
    run(&half, "tar", &["-xzf", &packed.filename])?;
    fs::remove_file(half.join(&packed.filename))?;
    let own = half.join("package/google/protobuf");
    if own.exists() {
        fs::remove_dir_all(own)?;
    }
    fs::rename(&half, &folder)?;
    Ok(protos)
}

fn run(folder: &Path, program: &str, arguments: &[&str]) -> anyhow::Result<String> {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(folder)
        .output()
        .with_context(|| format!("run {program}"))?;
    ensure!(
        output.status.success(),
        "{program} {} failed: {}",
        arguments.join(" "),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8(output.stdout)?)
}
