//! `suggest`: the least policy for the calls of an audit log.

use std::{
    collections::BTreeSet,
    io::{self, Write as _},
    path::Path,
    process::ExitCode,
};

use anyhow::{Context as _, Result};
use turnpike_policy::{
    catalog::Catalog,
    whatif::{self, Methods},
};

use crate::{args::SuggestArgs, text::visible, trail};

pub(crate) fn run(args: &SuggestArgs, config: Option<&Path>) -> Result<ExitCode> {
    let catalog = Catalog::embedded().context("the method catalogue of this build cannot be read")?;
    let trail = match trail::read(&args.audit, config, catalog) {
        Ok(trail) => trail,
        Err(unreadable) => {
            writeln!(io::stderr(), "error: {unreadable}")?;
            return Ok(ExitCode::from(2));
        }
    };
    if let Some(warning) = &trail.warning {
        writeln!(io::stderr(), "warning: {}", visible(warning))?;
    }
    let wanted = |agent: &str| args.agent.is_empty() || args.agent.iter().any(|a| a == agent);
    let suggested = whatif::suggest(&Methods::of(catalog), &trail.calls, wanted);
    let missing = args
        .agent
        .iter()
        .find(|agent| !suggested.iter().any(|s| s.agent == **agent));
    if let Some(missing) = missing {
        let agents: BTreeSet<String> = trail
            .calls
            .iter()
            .filter_map(|r| Some(r.agent.as_ref()?.name()))
            .collect();
        let agents: Vec<String> = agents.into_iter().collect();
        let there = match agents.as_slice() {
            [] => "it has no calls of any agent".to_owned(),
            some => format!("it has calls of {}", some.join(", ")),
        };
        let message = format!("the audit log has no calls of {missing}; {there}");
        writeln!(io::stderr(), "error: {}", visible(&message))?;
        return Ok(ExitCode::from(2));
    }
    if suggested.is_empty() {
        writeln!(io::stderr(), "error: the audit log has no calls of any agent")?;
        return Ok(ExitCode::from(2));
    }
    let documents: Vec<&str> = suggested.iter().map(|s| s.yaml.as_str()).collect();
    io::stdout()
        .lock()
        .write_all(documents.join("---\n").as_bytes())?;
    Ok(ExitCode::SUCCESS)
}
