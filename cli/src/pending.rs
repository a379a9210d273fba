//! `pending`: the calls that wait for a person.

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use kube::ResourceExt as _;
use serde_json::{Value, json};
use turnpike_compiler::approval::settle;
use turnpike_crds::{ApprovalRequest, Phase};

use crate::{
    args::{ListFormat, PendingArgs, Target},
    requests::{Requests, is_over, phase},
    text::{span, table, visible},
};

pub(crate) async fn run(target: &Target, args: &PendingArgs) -> Result<ExitCode> {
    let requests = Requests::open(target).await?;
    let listing = requests.list(args.all_namespaces).await?;
    for sentence in &listing.unreadable {
        writeln!(io::stderr(), "warning: {}", visible(sentence))?;
    }
    let now = Timestamp::now();
    let mut waiting = listing.requests;
    waiting.retain(|request| phase(request) == Phase::Pending && !is_over(request, now));
    waiting.sort_by_cached_key(|r| (r.spec.expires_at.0, r.namespace(), r.name_any()));

    let mut out = io::stdout().lock();
    match args.output {
        ListFormat::Table if waiting.is_empty() => {
            let place = requests.place(args.all_namespaces);
            writeln!(io::stderr(), "No calls wait for approval in {place}.")?;
        }
        ListFormat::Table => writeln!(out, "{}", rows(&waiting, args.all_namespaces, now))?,
        ListFormat::Json => writeln!(out, "{}", serde_json::to_string_pretty(&list(waiting)?)?)?,
        ListFormat::Yaml => {
            let yaml = serde_saphyr::to_string(&list(waiting)?).context("cannot write YAML")?;
            writeln!(out, "{}", yaml.trim_end())?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn rows(requests: &[ApprovalRequest], with_namespace: bool, now: Timestamp) -> String {
    let mut header = vec![
        "NAME",
        "AGENT",
        "METHOD",
        "RESOURCE",
        "RISK",
        "APPROVALS",
        "EXPIRES",
        "AGE",
    ];
    if with_namespace {
        header.insert(0, "NAMESPACE");
    }
    let rows = requests.iter().map(|request| {
        let spec = &request.spec;
        let age = request.creation_timestamp().map_or_else(
            || "<unknown>".to_owned(),
            |created| span(now.as_second() - created.0.as_second()),
        );
        let resource = match spec.call.resources.as_slice() {
            [] => "<none>".to_owned(),
            [one] => visible(one).into_owned(),
            [first, others @ ..] => format!("{} (+{})", visible(first), others.len()),
        };
        let mut row = vec![
            visible(&request.name_any()).into_owned(),
            visible(&spec.agent.name).into_owned(),
            visible(&spec.call.method).into_owned(),
            resource,
            spec.risk
                .as_ref()
                .map_or_else(|| "<none>".to_owned(), |risk| risk.score.to_string()),
            approvals(request),
            span(spec.expires_at.0.as_second() - now.as_second()),
            age,
        ];
        if with_namespace {
            row.insert(0, visible(&request.namespace().unwrap_or_default()).into_owned());
        }
        row
    });
    table(&header, rows)
}

/// Approvals that count, of those that it takes.
fn approvals(request: &ApprovalRequest) -> String {
    let (_, tally) = settle(request, Timestamp::now());
    tally.to_string()
}

/// A `v1` List, as kubectl prints several resources.
fn list(requests: Vec<ApprovalRequest>) -> Result<Value> {
    let items = requests
        .into_iter()
        .map(|mut request| {
            request.metadata.managed_fields = None;
            serde_json::to_value(request)
        })
        .collect::<Result<Vec<_>, _>>()?;
    Ok(json!({
        "apiVersion": "v1",
        "kind": "List",
        "metadata": {"resourceVersion": ""},
        "items": items,
    }))
}
