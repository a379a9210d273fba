//! `impact`: what a policy would have changed in the calls of an audit log.

use std::{
    fmt::Write as _,
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, Result};
use turnpike_compiler::{Context, PolicyDef};
use turnpike_policy::{
    catalog::Catalog,
    whatif::{self, Impact},
};

use crate::{
    args::{Format, ImpactArgs, Target},
    policies::{self, Unusable},
    replayed::{calls_of, sections},
    text::visible,
    trail,
};

pub(crate) async fn run(target: &Target, args: &ImpactArgs) -> Result<ExitCode> {
    let found = match find(target, args).await? {
        Ok(found) => found,
        Err(wrong) => return refuse(&wrong.to_string()),
    };
    let catalog = Catalog::embedded().context("the method catalogue of this build cannot be read")?;
    let trail = match trail::read(&args.audit, target.config.as_deref(), catalog) {
        Ok(trail) => trail,
        Err(unreadable) => return refuse(&unreadable.to_string()),
    };
    if let Some(warning) = &trail.warning {
        writeln!(io::stderr(), "warning: {}", visible(warning))?;
    }
    let impacts: Vec<Impact> = found.iter().map(|p| whatif::impact(p, &trail.calls)).collect();
    let mut out = io::stdout().lock();
    match args.output {
        Format::Json => writeln!(out, "{}", serde_json::to_string_pretty(&impacts)?)?,
        Format::Text => {
            let texts: Vec<String> = impacts.iter().map(describe).collect();
            out.write_all(texts.join("\n").as_bytes())?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn refuse(message: &str) -> Result<ExitCode> {
    writeln!(io::stderr(), "error: {message}")?;
    Ok(ExitCode::from(2))
}

/// The policies that are meant: of files where such are there, or one by its name.
async fn find(target: &Target, args: &ImpactArgs) -> Result<Result<Vec<PolicyDef>, Unusable>> {
    let path = PathBuf::from(&args.policy);
    let context = Context::without_namespaces(&args.gateway_namespace);
    if args.policy == "-" || path.exists() {
        return Ok(policies::load(&[path], &context));
    }
    let looks_like_file = Path::new(&args.policy)
        .extension()
        .is_some_and(|e| e == "yaml" || e == "yml");
    if looks_like_file {
        return Ok(Err(Unusable::new(format!(
            "{}: there is no such file",
            args.policy
        ))));
    }
    let (namespace, name) = match args.policy.split_once('/') {
        Some((namespace, name)) => (Some(namespace), name),
        None => (target.namespace.as_deref(), args.policy.as_str()),
    };
    let Some(dir) = &target.config else {
        return policies::of_cluster(target, namespace, name, &args.gateway_namespace).await;
    };
    Ok(policies::load(&[dir.join("policies")], &context).and_then(|all| {
        let meant = |p: &PolicyDef| p.name == name && namespace.is_none_or(|ns| ns == p.namespace);
        let found: Vec<PolicyDef> = all.into_iter().filter(meant).collect();
        match found.len() {
            1 => Ok(found),
            0 => Err(Unusable::new(format!(
                "{}: there is no file and no policy of this name",
                args.policy
            ))),
            _ => Err(Unusable::new(format!(
                "{}: several namespaces have a policy of this name; say which, as NAMESPACE/NAME",
                args.policy
            ))),
        }
    }))
}

fn describe(impact: &Impact) -> String {
    let mut text = format!(
        "Policy {}, enforced, on {} of its agents",
        impact.policy,
        calls_of(impact.calls)
    );
    let changed: u64 = impact.changes.iter().map(|c| c.calls).sum();
    text.push_str(match changed {
        0 => ": it would have changed nothing.\n",
        _ => ":\n",
    });
    sections(&mut text, &impact.changes);
    let mut notes: Vec<String> = Vec::new();
    if impact.told_by_record > 0 {
        notes.push(format!(
            "{} told by the record itself, where the policy was in force as DryRun; the others were decided again.",
            calls_of(impact.told_by_record)
        ));
    }
    if impact.of_others > 0 {
        notes.push(format!("{} of other agents.", calls_of(impact.of_others)));
    }
    if impact.left_out > 0 {
        notes.push(format!(
            "{} left out: refused before the policies were asked, or for more than rules.",
            calls_of(impact.left_out)
        ));
    }
    if impact.undecided > 0 {
        notes.push(format!(
            "{} not decided: too many conditions decide them together.",
            calls_of(impact.undecided)
        ));
    }
    notes.extend(impact.notes.iter().map(|note| format!("Not tried: {note}.")));
    if !notes.is_empty() {
        text.push('\n');
    }
    for note in notes {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{}", visible(&note));
    }
    text
}
