//! What a proxy leaves on disk: approval requests, the local topic, and what must not be there.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use serde_json::{Value, json};
use turnpike_audit::StoredEvent;

use super::folder::merge;

/// An approval request as a file.
#[derive(Clone, Debug)]
pub struct Approval {
    pub(super) path: PathBuf,
    /// The whole document.
    pub value: Value,
}

impl Approval {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.value["metadata"]["name"].as_str().unwrap_or("")
    }

    /// `status.phase`.
    #[must_use]
    pub fn phase(&self) -> &str {
        self.value["status"]["phase"].as_str().unwrap_or("Pending")
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Decides as a person would: by writing a review into the file.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn review(&self, by: &str, decision: &str, reason: &str) -> Result<()> {
        let mut value = self.value.clone();
        merge(
            &mut value,
            &json!({"status": {"reviews": {by: {"decision": decision, "reason": reason}}}}),
        );
        fs::write(&self.path, serde_json::to_string_pretty(&value)?)
            .with_context(|| format!("write {}", self.path.display()))
    }
}

/// All events of a folder's local topic.
///
/// # Errors
/// A line is no event.
pub fn read_topic(config: &Path) -> Result<Vec<StoredEvent>> {
    let path = config.join("audit/topic.jsonl");
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).with_context(|| format!("read {}", path.display())),
    };
    text.split_inclusive(|byte| *byte == b'\n')
        // The last line may be under way.
        .filter(|line| line.ends_with(b"\n"))
        .map(|line| turnpike_audit::parse_line(line).context("an event of the topic"))
        .collect()
}

/// `phase verdict reason method[ status]`.
#[must_use]
pub fn summary(stored: &StoredEvent) -> String {
    let event = &stored.event;
    let facts = &event.unmapped.turnpike;
    let mut line = format!(
        "{} {} {} {}",
        facts.phase.as_str(),
        facts.verdict.as_str(),
        facts.reason,
        event.api.operation
    );
    if let Some(answer) = &event.http_response {
        line.push_str(&format!(" {}", answer.code));
    }
    line
}

/// Every file below a folder that holds one of these texts.
///
/// # Errors
/// A file cannot be read.
pub fn files_with(dir: &Path, texts: &[&str]) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(files_with(&path, texts)?);
            continue;
        }
        let bytes = fs::read(&path)?;
        let holds = |text: &&str| bytes.windows(text.len()).any(|w| w == text.as_bytes());
        if texts.iter().any(holds) {
            found.push(path);
        }
    }
    Ok(found)
}
