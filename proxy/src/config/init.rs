//! The commented example that `standalone --init` writes.

use std::{fs, io, path::Path};

const CONFIG: &str = include_str!("example/turnpike.yaml");
const POLICY: &str = include_str!("example/coder.yaml");

/// Writes the example into a folder; nothing that is there already is touched.
///
/// # Errors
/// When the folder holds a configuration, or cannot be written.
pub fn init(dir: &Path) -> io::Result<()> {
    let config = dir.join("turnpike.yaml");
    if config.exists() {
        let message = format!("{} is there already; nothing was written", config.display());
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, message));
    }
    fs::create_dir_all(dir.join("policies"))?;
    let policy = dir.join("policies/coder.yaml");
    if !policy.exists() {
        fs::write(policy, POLICY)?;
    }
    fs::write(config, CONFIG)
}
