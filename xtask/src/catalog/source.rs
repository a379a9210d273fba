//! Getting the discovery documents: pip downloads the pinned wheel once, Python unpacks it into the cache.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, ensure};

use super::document::Document;

/// The version of `google-api-python-client` that the catalogue is made from.
pub(super) const VERSION: &str = "2.202.0";

/// All documents, in the order of their file names.
pub(super) fn documents() -> anyhow::Result<Vec<Document>> {
    let folder = unpacked()?;
    let mut paths: Vec<_> = fs::read_dir(&folder)
        .with_context(|| format!("read {}", folder.display()))?
        .map(|entry| entry.map(|e| e.path()))
        .collect::<Result<_, _>>()?;
    paths.retain(|p| p.extension().is_some_and(|e| e == "json") && !p.ends_with("index.json"));
    paths.sort();
    ensure!(
        paths.len() > 500,
        "only {} documents in {}",
        paths.len(),
        folder.display()
    );
    paths.iter().map(|path| read(path)).collect()
}

fn read(path: &Path) -> anyhow::Result<Document> {
    let text = fs::read(path).with_context(|| format!("read {}", path.display()))?;
    serde_json::from_slice(&text).with_context(|| format!("parse {}", path.display()))
}

fn cache() -> anyhow::Result<PathBuf> {
    if let Some(folder) = env::var_os("TURNPIKE_CACHE") {
        return Ok(folder.into());
    }
    let home = env::var_os("HOME").context("neither TURNPIKE_CACHE nor HOME is set")?;
    Ok(Path::new(&home).join(".cache/turnpike"))
}

fn unpacked() -> anyhow::Result<PathBuf> {
    let folder = cache()?.join(format!("discovery-{VERSION}"));
    let documents = folder.join("googleapiclient/discovery_cache/documents");
    if documents.is_dir() {
        return Ok(documents);
    }
    // Unpacked beside and renamed, so that a run that was stopped leaves no half folder behind.
    let half = folder.with_extension("part");
    if half.exists() {
        fs::remove_dir_all(&half)?;
    }
    fs::create_dir_all(&half)?;
    let package = format!("google-api-python-client=={VERSION}");
    python(
        &half,
        &[
            "-m",
            "pip",
            "download",
            "--no-deps",
            "--only-binary",
            ":all:",
            "-d",
            ".",
            &package,
        ],
    )?;
    let wheel = format!("google_api_python_client-{VERSION}-py3-none-any.whl");
    python(&half, &["-m", "zipfile", "-e", &wheel, "."])?;
    fs::remove_file(half.join(wheel))?;
    fs::rename(&half, &folder)?;
    Ok(documents)
}

fn python(folder: &Path, arguments: &[&str]) -> anyhow::Result<()> {
    let output = Command::new("python3")
        .args(arguments)
        .current_dir(folder)
        .output()
        .context("run python3, which pip and the wheel need")?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "python3 {} failed: {errors}",
        arguments.join(" ")
    );
    Ok(())
}
