//! Where things are: the workspace, and the cache outside of it.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

/// The root of the workspace.
pub(crate) fn root() -> &'static Path {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().unwrap_or(manifest)
}

/// `TURNPIKE_CACHE`, or `.cache/turnpike` in the home directory.
///
/// # Errors
/// There is no home directory.
pub(crate) fn cache() -> Result<PathBuf> {
    if let Some(cache) = set("TURNPIKE_CACHE") {
        return Ok(cache);
    }
    Ok(set("HOME")
        .context("neither TURNPIKE_CACHE nor HOME is set")?
        .join(".cache/turnpike"))
}

/// Where the programs that tests run are kept, each as `NAME-VERSION/`.
///
/// # Errors
/// There is no home directory.
pub(crate) fn tools() -> Result<PathBuf> {
    match set("TURNPIKE_TOOLS") {
        Some(tools) => Ok(tools),
        None => Ok(cache()?.join("tools")),
    }
}

/// The directory that cargo builds into: what the environment says, else one in the cache.
///
/// # Errors
/// There is no home directory.
pub(crate) fn target() -> Result<PathBuf> {
    match set("CARGO_TARGET_DIR") {
        Some(target) => Ok(target),
        None => Ok(cache()?.join("target")),
    }
}

/// A program on PATH.
pub(crate) fn which(program: &str) -> Option<PathBuf> {
    env::split_paths(&env::var_os("PATH")?)
        .map(|dir| dir.join(program))
        .find(|path| path.is_file())
}

fn set(name: &str) -> Option<PathBuf> {
    env::var_os(name)
        .filter(|value| !value.is_empty())
        .map(PathBuf::from)
}
