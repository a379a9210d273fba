//! `cargo xtask codegen`: files of the repository that are made from others.
//!
//! Everything is made into an empty directory first and compared with, or copied to, where it is
//! committed. So a file whose source is gone is noticed as well as one that is old. The method
//! catalogue, which needs a download, has a command of its own.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::{paths, shell};

/// Files of one generator: what makes them, and each directory that holds them and nothing else.
struct Generated {
    name: &'static str,
    /// Writes the files into an empty directory.
    make: fn(&Path) -> Result<()>,
    directories: &'static [&'static str],
}

const ALL: [Generated; 1] = [Generated {
    name: "custom resource definitions",
    make: definitions,
    // Helm installs what is in a chart's own crds directory, and follows no links when it packs.
    directories: &["crds/yaml", "charts/turnpike/crds"],
}];

/// Writes all generated files, or with `check` writes nothing and names those that are stale.
///
/// # Errors
/// A file cannot be made or written; with `check`, a file is stale.
pub(crate) fn run(check: bool) -> Result<()> {
    shell::step(if check { "codegen --check" } else { "codegen" });
    let mut stale = Vec::new();
    for generated in &ALL {
        let made = make(generated).with_context(|| format!("make the {}", generated.name))?;
        for directory in generated.directories {
            let differences = differences(&made, &paths::root().join(directory))?;
            if !check {
                write(&differences)?;
            }
            stale.extend(differences);
        }
    }
    report(check, &stale)
}

fn report(check: bool, stale: &[Difference]) -> Result<()> {
    for Difference { path, wanted } in stale {
        let path = path.strip_prefix(paths::root()).unwrap_or(path);
        let state = match (check, wanted) {
            (true, Some(_)) => "stale",
            (true, None) => "left over",
            (false, Some(_)) => "written",
            (false, None) => "removed",
        };
        println!("{}: {state}", path.display());
    }
    if check && !stale.is_empty() {
        bail!(
            "{} generated files are stale: run `cargo xtask codegen`",
            stale.len()
        );
    }
    if stale.is_empty() {
        println!("generated files are up to date");
    }
    Ok(())
}

/// Builds with the features of the whole workspace, as the tests do: a build of its own would
/// compile the Kubernetes types once more.
fn definitions(into: &Path) -> Result<()> {
    let target = paths::target()?;
    shell::run(
        shell::cargo()
            .current_dir(paths::root())
            .env("CARGO_TARGET_DIR", &target)
            .args(["build", "--quiet", "--workspace", "--bin", "turnpike-crdgen"]),
    )?;
    shell::run(Command::new(target.join("debug/turnpike-crdgen")).arg(into))
}

type Files = BTreeMap<OsString, Vec<u8>>;

fn make(generated: &Generated) -> Result<Files> {
    let directory = paths::target()?.join(format!("codegen-{}", std::process::id()));
    fs::create_dir_all(&directory).with_context(|| format!("create {}", directory.display()))?;
    let made = (generated.make)(&directory).and_then(|()| read(&directory));
    fs::remove_dir_all(&directory).with_context(|| format!("remove {}", directory.display()))?;
    made
}

fn read(directory: &Path) -> Result<Files> {
    let mut files = Files::new();
    for entry in fs::read_dir(directory).with_context(|| format!("read {}", directory.display()))? {
        let entry = entry?;
        let path = entry.path();
        let content = fs::read(&path).with_context(|| format!("read {}", path.display()))?;
        files.insert(entry.file_name(), content);
    }
    Ok(files)
}

/// A file that is not as it should be, and what it should hold; nothing where it should not be.
#[derive(Debug, PartialEq, Eq)]
struct Difference {
    path: PathBuf,
    wanted: Option<Vec<u8>>,
}

fn differences(made: &Files, directory: &Path) -> Result<Vec<Difference>> {
    let found = if directory.is_dir() {
        read(directory)?
    } else {
        Files::new()
    };
    let mut names: Vec<&OsString> = made.keys().chain(found.keys()).collect();
    names.sort_unstable();
    names.dedup();
    Ok(names
        .into_iter()
        .filter(|name| made.get(*name) != found.get(*name))
        .map(|name| Difference {
            path: directory.join(name),
            wanted: made.get(name).cloned(),
        })
        .collect())
}

fn write(differences: &[Difference]) -> Result<()> {
    for Difference { path, wanted } in differences {
        let done = match wanted {
            Some(content) => path
                .parent()
                .map_or(Ok(()), fs::create_dir_all)
                .and_then(|()| fs::write(path, content)),
            None => fs::remove_file(path),
        };
        done.with_context(|| format!("write {}", path.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_missing_and_left_over_files_are_stale_until_written() {
        let directory = std::env::temp_dir().join(format!("xtask-codegen-{}", std::process::id()));
        let file = |name: &str, content: &str| (OsString::from(name), content.as_bytes().to_vec());
        let made: Files = [file("a", "new"), file("b", "same"), file("c", "made")].into();
        fs::create_dir_all(&directory).expect("is made");
        for (name, content) in [file("a", "old"), file("b", "same"), file("d", "left over")] {
            fs::write(directory.join(name), content).expect("is written");
        }
        let wanted = |name: &str, content: Option<&str>| Difference {
            path: directory.join(name),
            wanted: content.map(|text| text.as_bytes().to_vec()),
        };
        let found = differences(&made, &directory).expect("is read");
        assert_eq!(
            found,
            [
                wanted("a", Some("new")),
                wanted("c", Some("made")),
                wanted("d", None)
            ]
        );
        let error = report(true, &found).expect_err("is stale");
        assert_eq!(
            error.to_string(),
            "3 generated files are stale: run `cargo xtask codegen`"
        );
        write(&found).expect("is written");
        assert_eq!(differences(&made, &directory).expect("is read"), []);
        fs::remove_dir_all(&directory).expect("is removed");
        assert_eq!(differences(&made, &directory).expect("is read").len(), 3);
    }
}
