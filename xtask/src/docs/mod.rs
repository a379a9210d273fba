//! `cargo xtask docs`: pages of `docs/` that are made from tables in the code.

mod groups;
mod risk;
mod secrets;

use std::fs;

use anyhow::{Context as _, Result, bail};

use crate::{paths, shell};

/// A page, and what makes it.
struct Page {
    name: &'static str,
    make: fn() -> Result<String>,
}

const PAGES: [Page; 3] = [
    Page {
        name: "method-groups.md",
        make: groups::page,
    },
    Page {
        name: "risk.md",
        make: risk::page,
    },
    Page {
        name: "secrets.md",
        make: secrets::page,
    },
];

/// Writes all pages, or with `check` writes nothing and names those that are stale.
///
/// # Errors
/// A page cannot be made or written; with `check`, a page is stale.
pub(crate) fn run(check: bool) -> Result<()> {
    shell::step(if check { "docs --check" } else { "docs" });
    let directory = paths::root().join("docs");
    let mut stale = Vec::new();
    for page in &PAGES {
        let fresh = (page.make)().with_context(|| format!("make {}", page.name))?;
        let path = directory.join(page.name);
        if fs::read_to_string(&path).is_ok_and(|kept| kept == fresh) {
            continue;
        }
        stale.push(page.name);
        if !check {
            fs::create_dir_all(&directory)
                .and_then(|()| fs::write(&path, fresh))
                .with_context(|| format!("write {}", path.display()))?;
        }
    }
    let state = if check { "stale" } else { "written" };
    for name in &stale {
        println!("docs/{name}: {state}");
    }
    if check && !stale.is_empty() {
        bail!("{} pages are stale: run `cargo xtask docs`", stale.len());
    }
    if stale.is_empty() {
        println!("generated pages are up to date");
    }
    Ok(())
}
