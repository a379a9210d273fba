//! Where the set-up put the clients.

use std::path::PathBuf;

use anyhow::{Result, bail};

use super::pins::{self, Pins};
use crate::tools;

/// Python with the packages.
pub(super) fn python() -> Result<PathBuf> {
    installed(&pins::PYTHON, "venv/bin/python")
}

/// The directory that holds Node's packages.
pub(super) fn node_modules() -> Result<PathBuf> {
    installed(&pins::NODE, "node_modules")
}

/// The program in Go.
pub(super) fn go() -> Result<PathBuf> {
    installed(&pins::GO, "client")
}

/// The class path of the program in Java.
pub(super) fn java_class_path() -> Result<String> {
    let (classes, jars) = (
        installed(&pins::JAVA, "classes")?,
        installed(&pins::JAVA, "jars")?,
    );
    Ok(format!("{}:{}/*", classes.display(), jars.display()))
}

fn installed(pins: &Pins, file: &str) -> Result<PathBuf> {
    let home = tools::directory()?.join(format!("{}-{}", pins.name, pins.version()));
    let path = home.join(file);
    if !path.exists() {
        bail!("{} is not there: run `cargo xtask setup`", path.display());
    }
    Ok(path)
}
