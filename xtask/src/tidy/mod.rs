//! `cargo xtask tidy`: the house rules that no compiler checks.
//!
//! Each check is a function from what it looks at to what is wrong, so that its test can show
//! that it fails when it should. It reads files that git knows or would add, and asks cargo for
//! dependencies; it changes nothing.

mod commands;
mod sources;
mod walls;

use std::fs;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::{paths, shell};

/// A file of the workspace: path from its root, and text.
#[derive(Debug)]
struct File {
    path: String,
    text: String,
}

/// Runs every check and prints what is wrong.
///
/// # Errors
/// Something is wrong, or git or cargo cannot be asked.
pub(crate) fn run() -> Result<()> {
    shell::step("tidy");
    let files = files()?;
    let mut wrong = walls::check()?;
    wrong.extend(files.iter().flat_map(sources::check));
    wrong.extend(files.iter().flat_map(commands::check));
    if wrong.is_empty() {
        println!("{} files: tidy", files.len());
        return Ok(());
    }
    for problem in &wrong {
        println!("{problem}");
    }
    bail!("tidy: {} problems", wrong.len());
}

/// All text files; binary ones are none of tidy's business.
fn files() -> Result<Vec<File>> {
    let listing = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"];
    let listing = shell::read(Command::new("git").current_dir(paths::root()).args(listing))?;
    let mut files = Vec::new();
    for path in listing.split('\0').filter(|path| !path.is_empty()) {
        let whole = paths::root().join(path);
        // Deleted, but not yet staged.
        if !whole.is_file() {
            continue;
        }
        let bytes = fs::read(&whole).with_context(|| format!("read {path}"))?;
        if let Ok(text) = String::from_utf8(bytes) {
            files.push(File {
                path: path.to_owned(),
                text,
            });
        }
    }
    Ok(files)
}
