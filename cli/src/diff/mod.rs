//! `diff`: what a change of policies changes, over all methods.

mod text;

use std::{
    io::{self, Write as _},
    path::Path,
    process::ExitCode,
};

use anyhow::{Context as _, Result};
use turnpike_compiler::Context;
use turnpike_policy::{
    PolicySet,
    catalog::Catalog,
    whatif::{self, Methods},
};

use crate::{
    args::{DiffArgs, Format},
    policies::{self, Unusable},
};

pub(crate) fn run(args: &DiffArgs) -> Result<ExitCode> {
    let context = Context::without_namespaces(&args.gateway_namespace);
    let load = |path: &Path| -> Result<PolicySet, Unusable> {
        policies::load(&[path.to_owned()], &context).map(PolicySet::new)
    };
    let (old, new) = match (load(&args.old), load(&args.new)) {
        (Ok(old), Ok(new)) => (old, new),
        (old, new) => {
            for wrong in [old.err(), new.err()].into_iter().flatten() {
                writeln!(io::stderr(), "{wrong}")?;
            }
            return Ok(ExitCode::from(2));
        }
    };
    let catalog = Catalog::embedded().context("the method catalogue of this build cannot be read")?;
    let diff = whatif::diff(&Methods::of(catalog), &old, &new);
    let mut out = io::stdout().lock();
    match args.output {
        Format::Text => out.write_all(text::describe(&diff).as_bytes())?,
        Format::Json => writeln!(out, "{}", serde_json::to_string_pretty(&diff)?)?,
    }
    out.flush()?;
    Ok(match args.exit_code && !diff.is_empty() {
        true => ExitCode::FAILURE,
        false => ExitCode::SUCCESS,
    })
}
