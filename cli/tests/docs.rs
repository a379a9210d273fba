//! The pages of `docs/` and the README say what is so: every policy in them compiles, every table of calls is decided
//! as it says under the policy before it, every error of a condition is the one that the compiler gives, and links lead
//! somewhere.
//!
//! Transcripts of terminals (` ```console `) are not run here.

mod common;

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};
use common::run;
use tempfile::TempDir;
use turnpike_policy::condition::{Condition, ConditionError};

/// What parts of a spec begin with, where a page shows no whole policy.
const PARTS: [&str; 8] = [
    "agents:", "limits:", "mode:", "risk:", "rules:", "secrets:", "spec:", "suspend:",
];
/// What tables of calls have.
const LISTS: [&str; 3] = ["must_allow:", "must_hold:", "must_deny:"];

/// A fenced block of a page.
#[derive(Debug)]
struct Block {
    /// The line of its first line, from 1.
    line: usize,
    language: String,
    text: String,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The pages, README first.
fn pages() -> Result<Vec<PathBuf>> {
    let mut docs: Vec<PathBuf> = Vec::new();
    for entry in fs::read_dir(root().join("docs"))? {
        docs.push(entry?.path());
    }
    docs.retain(|path| path.extension().is_some_and(|e| e == "md"));
    docs.sort();
    docs.insert(0, root().join("README.md"));
    Ok(docs)
}

fn blocks(page: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut open = false;
    for (number, line) in (1..).zip(page.lines()) {
        if let Some(language) = line.strip_prefix("```") {
            open = !open;
            if open {
                blocks.push(Block {
                    line: number + 1,
                    language: language.to_owned(),
                    text: String::new(),
                });
            }
        } else if open && let Some(block) = blocks.last_mut() {
            block.text.push_str(line);
            block.text.push('\n');
        }
    }
    blocks
}

fn begins(text: &str, any: &[&str]) -> bool {
    text.lines()
        .any(|line| any.iter().any(|key| line.starts_with(key)))
}

/// A block as a whole policy; `None` where it is none.
fn policy(block: &Block) -> Option<String> {
    if block.text.starts_with("apiVersion: turnpike.dev/") {
        return Some(block.text.clone());
    }
    if !PARTS.iter().any(|part| block.text.starts_with(part)) {
        return None;
    }
    let spec = match block.text.strip_prefix("spec:\n") {
        Some(spec) => spec.to_owned(),
        None => block.text.lines().fold(String::new(), |mut spec, line| {
            writeln!(spec, "  {line}").ok();
            spec
        }),
    };
    let agents = match begins(&spec, &["  agents:"]) {
        true => "",
        false => "  agents: [{serviceAccount: {name: coder}}]\n",
    };
    Some(format!(
        "apiVersion: turnpike.dev/v1alpha1\nkind: AgentPolicy\nmetadata: {{name: example, namespace: agents}}\n\
         spec:\n{agents}{spec}"
    ))
}

/// A table of calls, of `agents/coder` where it does not say.
fn table(block: &Block) -> Option<String> {
    begins(&block.text, &LISTS).then(|| match begins(&block.text, &["defaults:"]) {
        true => block.text.clone(),
        false => format!("defaults: {{as: agents/coder}}\n{}", block.text),
    })
}

/// The policies of a page that compile, and the tables that hold.
fn check(page: &Path, folder: &TempDir) -> Result<(usize, usize)> {
    let text = fs::read_to_string(page).with_context(|| page.display().to_string())?;
    let files = ["policy.yaml", "calls.yaml"].map(|name| folder.path().join(name));
    let [policy_file, table_file] = files.each_ref().map(|path| path.display().to_string());
    let (mut policies, mut tables) = (0, 0);
    for block in blocks(&text).iter().filter(|block| block.language == "yaml") {
        let output = if let Some(policy) = policy(block) {
            policies += 1;
            fs::write(&policy_file, policy)?;
            run(&["check", &policy_file])?
        } else if let Some(table) = table(block) {
            ensure!(
                policies > 0,
                "{}:{}: no policy before it",
                page.display(),
                block.line
            );
            tables += 1;
            fs::write(&table_file, table)?;
            run(&["check", &policy_file, "--calls", &table_file])?
        } else {
            continue;
        };
        ensure!(
            (output.code, output.stderr.as_str()) == (0, ""),
            "{}:{}: {}{}",
            page.display(),
            block.line,
            output.stdout,
            output.stderr
        );
    }
    Ok((policies, tables))
}

#[test]
fn policies_and_tables_of_the_pages_are_as_they_say() -> Result<()> {
    let folder = TempDir::new()?;
    let mut found = Vec::new();
    for page in pages()? {
        let name = page.file_name().context("a page without a name")?;
        found.push((name.to_string_lossy().into_owned(), check(&page, &folder)?));
    }
    // A page whose blocks are not found any more would pass otherwise.
    let of = |page: &str| {
        found
            .iter()
            .find(|(name, _)| name == page)
            .map(|(_, counts)| *counts)
    };
    assert_eq!(of("conditions.md"), Some((12, 11)));
    assert_eq!(of("limits.md"), Some((3, 0)));
    assert_eq!(of("tools.md"), Some((1, 1)));
    assert_eq!(of("README.md").map(|(policies, _)| policies > 0), Some(true));
    Ok(())
}

/// Expressions with what is wrong with them: a line of each, and a caret in the column, as the page has them.
fn errors(block: &Block) -> Result<Vec<(&str, ConditionError)>> {
    let lines: Vec<&str> = block.text.lines().collect();
    let (pairs, rest) = lines.as_chunks::<2>();
    ensure!(rest.is_empty(), "line {}: an odd number of lines", block.line);
    let mut found = Vec::new();
    for [expression, below] in pairs {
        let (before, message) = below.split_once("^ ").context("no caret below an expression")?;
        found.push((
            *expression,
            ConditionError {
                line: 1,
                column: u32::try_from(before.len())? + 1,
                message: message.to_owned(),
            },
        ));
    }
    Ok(found)
}

#[test]
fn errors_of_conditions_are_the_compilers() -> Result<()> {
    let text = fs::read_to_string(root().join("docs/conditions.md"))?;
    let blocks = blocks(&text);
    let has_carets = |block: &&Block| block.text.lines().any(|line| line.trim_start().starts_with("^ "));
    let mut found = Vec::new();
    for block in blocks.iter().filter(has_carets) {
        found.extend(errors(block)?);
    }
    assert_eq!(found.len(), 15);
    for (expression, expected) in found {
        let compiled = Condition::compile(expression).map(|condition| condition.text().to_owned());
        assert_eq!(compiled, Err(expected), "{expression}");
    }
    Ok(())
}

/// Where a page's links to other files and to headings lead.
fn links(text: &str) -> impl Iterator<Item = &str> {
    text.split("](")
        .skip(1)
        .filter_map(|rest| rest.split_once(')').map(|(link, _)| link))
        .filter(|link| !link.contains("://"))
}

/// The anchors of a page's headings, as renderers of Markdown make them.
fn anchors(page: &str) -> impl Iterator<Item = String> {
    page.lines()
        .filter_map(|line| line.strip_prefix('#'))
        .map(|heading| {
            let heading = heading.trim_start_matches('#').trim().to_lowercase();
            heading
                .chars()
                .filter_map(|c| match c {
                    ' ' => Some('-'),
                    c if c.is_alphanumeric() || "-_".contains(c) => Some(c),
                    _ => None,
                })
                .collect()
        })
}

#[test]
fn links_lead_somewhere() -> Result<()> {
    let others = ["ARCHITECTURE.md", "CONTRIBUTING.md"].map(|page| root().join(page));
    let mut found = 0;
    for page in pages()?.into_iter().chain(others) {
        let text = fs::read_to_string(&page)?;
        let folder = page.parent().context("a page in no folder")?;
        for link in links(&text) {
            found += 1;
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = match file {
                "" => page.clone(),
                file => folder.join(file),
            };
            ensure!(target.exists(), "{}: {link}", page.display());
            if !anchor.is_empty() {
                let text = fs::read_to_string(&target)?;
                let leads = anchors(&text).any(|known| known == anchor);
                ensure!(leads, "{}: no heading for {link}", page.display());
            }
        }
    }
    assert!(found > 10, "{found} links");
    Ok(())
}
