//! Turnpike itself under test: its programs, started as an operator of theirs would start them.
//!
//! Nothing here knows the inside of a program: what tests see is what agents, approvers and
//! monitoring see. The programs have to be built; they are never built from here.

pub mod client;
pub mod cluster;
pub mod events;
pub mod guard;
pub mod relay;
pub mod replica;
pub mod standalone;

use std::path::PathBuf;

use anyhow::{Context, Result, bail};

/// A program of this workspace, such as `turnpike-proxy`, from the build that the running test
/// belongs to.
///
/// # Errors
/// It was not built.
pub fn binary(name: &str) -> Result<PathBuf> {
    let test = std::env::current_exe().context("the path of this executable")?;
    // TARGET/debug/deps/TEST-HASH for tests, TARGET/debug/NAME for programs.
    let mut directory = test.parent().context("an executable is in a directory")?;
    if directory.ends_with("deps") {
        directory = directory.parent().context("deps is in a directory")?;
    }
    let path = directory.join(name);
    if !path.is_file() {
        bail!(
            "{} is not there: run `cargo build --workspace --bins`",
            path.display()
        );
    }
    Ok(path)
}
