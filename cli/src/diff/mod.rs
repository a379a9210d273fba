//! `diff`: what a change of policies changes, over all methods.

mod text;

use std::{
    io::{self, Write as _},
    path::Path,
    process::ExitCode,
};

use anyhow::{Context as _, Result};
use serde::Serialize;
use turnpike_compiler::Context;
use turnpike_policy::{
    PolicyDef, PolicySet,
    catalog::Catalog,
    whatif::{self, Diff, Methods, Replay},
};

use crate::{
    args::{DiffArgs, Format},
    policies::{self, Unusable},
    text::visible,
    trail,
};

/// All that is told.
#[derive(Serialize)]
struct Told<'a> {
    #[serde(flatten)]
    diff: Diff,
    #[serde(skip_serializing_if = "Option::is_none")]
    recorded: Option<&'a Replay>,
}

pub(crate) fn run(args: &DiffArgs, config: Option<&Path>) -> Result<ExitCode> {
    let context = Context::without_namespaces(&args.gateway_namespace);
    let load =
        |path: &Path| -> Result<Vec<PolicyDef>, Unusable> { policies::load(&[path.to_owned()], &context) };
    let (old, new) = match (load(&args.old), load(&args.new)) {
        (Ok(old), Ok(new)) => {
            let new = whatif::in_the_words_of(&old, new);
            (PolicySet::new(old), PolicySet::new(new))
        }
        (old, new) => {
            for wrong in [old.err(), new.err()].into_iter().flatten() {
                writeln!(io::stderr(), "{wrong}")?;
            }
            return Ok(ExitCode::from(2));
        }
    };
    let catalog = Catalog::embedded().context("the method catalogue of this build cannot be read")?;
    let recorded = match recorded(args, config, catalog, &old, &new) {
        Ok(recorded) => recorded,
        Err(unreadable) => {
            writeln!(io::stderr(), "error: {unreadable}")?;
            return Ok(ExitCode::from(2));
        }
    };
    let told = Told {
        diff: whatif::diff(&Methods::of(catalog), &old, &new),
        recorded: recorded.as_ref().map(|(replay, _)| replay),
    };
    if let Some((_, Some(warning))) = &recorded {
        writeln!(io::stderr(), "warning: {}", visible(warning))?;
    }
    let mut out = io::stdout().lock();
    match args.output {
        Format::Text => {
            out.write_all(text::describe(&told.diff).as_bytes())?;
            if let Some(replay) = told.recorded {
                out.write_all(text::recorded(replay).as_bytes())?;
            }
        }
        Format::Json => writeln!(out, "{}", serde_json::to_string_pretty(&told)?)?,
    }
    out.flush()?;
    Ok(match args.exit_code && !told.diff.is_empty() {
        true => ExitCode::FAILURE,
        false => ExitCode::SUCCESS,
    })
}

/// What becomes of recorded calls, where an audit log is named, and a warning about that.
fn recorded(
    args: &DiffArgs,
    config: Option<&Path>,
    catalog: &Catalog,
    old: &PolicySet,
    new: &PolicySet,
) -> Result<Option<(Replay, Option<String>)>, trail::Unreadable> {
    if args.audit.audit.is_empty() && config.is_none() {
        return Ok(None);
    }
    let trail = trail::read(&args.audit, config, catalog)?;
    Ok(Some((whatif::replay(old, new, &trail.calls), trail.warning)))
}
