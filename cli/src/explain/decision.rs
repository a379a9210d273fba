//! `explain --as`: what is decided of a request under some policies, and why.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Read as _, Write as _},
    path::Path,
    process::ExitCode,
};

use anyhow::{Context as _, Result, bail};
use jiff::Timestamp;
use serde::Serialize;
use turnpike_compiler::Context;
use turnpike_policy::{PolicySet, call::Call, definition::Effect, risk::Pace};

use super::{
    changes::Change,
    near::{self, Findings, Match, Near},
    placed,
};
use crate::{
    args::{ExplainArgs, Format},
    check,
    offline::{self, Agent, Circumstances, Message, Request, Road, Search, Tables, Told, happens},
    policies,
    text::visible,
};

/// As many rules and changes are shown of a kind.
const MOST_SHOWN: usize = 8;

pub(super) fn run(args: &ExplainArgs, agent: Option<&str>, config: Option<&Path>) -> Result<ExitCode> {
    let agent = match (agent, &args.claims) {
        (Some(name), None) => Agent::parse(name).map_err(anyhow::Error::msg)?,
        (None, Some(claims)) => Agent::Token(
            serde_json::from_str(claims)
                .context("--claims must be JSON such as {\"iss\": \"https://...\", \"sub\": \"...\"}")?,
        ),
        _ => bail!("name the agent by --as NAMESPACE/NAME or by --claims, one of them"),
    };
    let Some(url) = &args.url else {
        bail!(
            "give a verb and a URL, as in: explain --as agents/coder GET https://storage.googleapis.com/storage/v1/b/my-bucket"
        );
    };
    let mut files = args.policies.clone();
    match config {
        Some(dir) if files.is_empty() => files.push(dir.join("policies")),
        None if files.is_empty() => bail!("say where the policies are: --policies FILE, or --config DIR"),
        _ => {}
    }
    let labels = args.namespaces.as_deref().map(check::namespaces).transpose()?;
    let mut context = Context::without_namespaces(&args.gateway_namespace);
    if let Some(namespaces) = &labels {
        context.namespaces = namespaces;
    }
    let policies = match policies::load(&files, &context) {
        Ok(policies) => policies,
        Err(wrong) => {
            writeln!(io::stderr(), "{wrong}")?;
            return Ok(ExitCode::from(2));
        }
    };
    let request = Request {
        road: Road::of(&args.verb, url, message(args)?),
        headers: headers(&args.header)?,
        body: body(args.body.as_deref())?,
        search: Search::Really,
    };
    let circumstances = Circumstances {
        caller: agent.caller(),
        now: args.at.unwrap_or_else(Timestamp::now),
        pace: Pace::default(),
    };
    let set = PolicySet::new(policies.clone());
    let decided = offline::decide(Tables::embedded()?, &set, &request, &circumstances);
    let explained = match &decided {
        Ok((understood, told)) => {
            let findings = near::look(&policies, told, understood, &circumstances);
            let told = told.clone().with_risk(understood, &circumstances);
            Explained::new(args, url, &circumstances, &understood.calls, told, findings)
        }
        Err(refused) => {
            let nothing = Findings {
                matched: Vec::new(),
                near: Vec::new(),
                changes: Vec::new(),
            };
            Explained::new(args, url, &circumstances, &[], Told::refused(refused), nothing)
        }
    };
    let mut out = io::stdout().lock();
    match args.output {
        Format::Json => writeln!(out, "{}", serde_json::to_string(&explained)?)?,
        Format::Text => {
            let calls = decided
                .as_ref()
                .map_or(&[][..], |(understood, _)| &understood.calls);
            out.write_all(text(&explained, calls).as_bytes())?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn message(args: &ExplainArgs) -> Result<Message> {
    match &args.message {
        None => Ok(Message::default()),
        Some(text) => serde_json::from_str(text).context(
            "--message must be JSON with fields by number, such as {\"1\": \"projects/acme/topics/t\"}",
        ),
    }
}

fn headers(given: &[String]) -> Result<Vec<(String, String)>> {
    let mut headers = BTreeMap::new();
    for header in given {
        let Some((name, value)) = header.split_once(':') else {
            bail!("{header:?} is no header; write --header 'NAME: VALUE'");
        };
        headers.insert(name.trim().to_ascii_lowercase(), value.trim().to_owned());
    }
    Ok(headers.into_iter().collect())
}

fn body(file: Option<&Path>) -> Result<Option<Vec<u8>>> {
    let Some(file) = file else { return Ok(None) };
    if file.as_os_str() == "-" {
        let mut bytes = Vec::new();
        io::stdin().lock().read_to_end(&mut bytes)?;
        return Ok(Some(bytes));
    }
    let bytes = fs::read(file);
    bytes
        .map(Some)
        .with_context(|| format!("read {}", file.display()))
}

/// The answer for a program.
#[derive(Debug, Serialize)]
struct Explained {
    verb: String,
    url: String,
    agent: String,
    calls: Vec<ExplainedCall>,
    #[serde(flatten)]
    told: Told,
    matched: Vec<Match>,
    near: Vec<Near>,
    changes: Vec<Change>,
}

#[derive(Debug, Serialize)]
struct ExplainedCall {
    method: &'static str,
    resources: Vec<String>,
    traits: Vec<&'static str>,
}

impl Explained {
    fn new(
        args: &ExplainArgs,
        url: &str,
        circumstances: &Circumstances,
        calls: &[Call],
        told: Told,
        findings: Findings,
    ) -> Self {
        let call = |call: &Call| ExplainedCall {
            method: call.method,
            resources: call.resources.iter().map(|r| r.name.clone()).collect(),
            traits: call.traits.names().collect(),
        };
        Self {
            verb: args.verb.clone(),
            url: url.to_owned(),
            agent: circumstances.caller.name(),
            calls: calls.iter().map(call).collect(),
            told,
            matched: findings.matched,
            near: findings.near,
            changes: findings.changes,
        }
    }
}

/// The answer for a person.
fn text(explained: &Explained, calls: &[Call]) -> String {
    let mut lines = vec![("Request", format!("{} {}", explained.verb, explained.url))];
    for call in calls {
        lines.extend(placed(call));
    }
    lines.push(("Agent", explained.agent.clone()));
    let told = &explained.told;
    lines.push((
        "Decision",
        format!("{}: {} ({})", happens(told.effect), told.because, told.reason),
    ));
    if let Some(would) = told.would {
        lines.push((
            "DryRun",
            format!("would be {} with the policies in DryRun", happens(would)),
        ));
    }
    if let Some(risk) = &told.risk {
        lines.push(("Risk", risk.score.to_string()));
        for factor in &risk.factors {
            lines.push((
                "",
                format!("{:>3}  {:<24}  {}", factor.points, factor.name, factor.words),
            ));
        }
    }
    let matched = explained.matched.iter().map(matched_line);
    listed(&mut lines, "Matches", "no rule matches", matched);
    listed(&mut lines, "Nearly", "", explained.near.iter().map(near_line));
    if told.effect == Effect::RequireApproval {
        lines.push(("To pass", "a person's approval".to_owned()));
    }
    listed(
        &mut lines,
        "To pass",
        "",
        explained.changes.iter().map(change_line),
    );
    let mut before = "";
    let mut text = String::new();
    for (name, value) in lines {
        let shown = if name == before { "" } else { name };
        before = name;
        text.push_str(&format!("{shown:<12}{}\n", visible(value.trim_end())));
    }
    text
}

fn listed(
    lines: &mut Vec<(&'static str, String)>,
    name: &'static str,
    none: &str,
    entries: impl ExactSizeIterator<Item = String>,
) {
    let left_out = entries.len().saturating_sub(MOST_SHOWN);
    if entries.len() == 0 && !none.is_empty() {
        lines.push((name, none.to_owned()));
    }
    lines.extend(entries.take(MOST_SHOWN).map(|entry| (name, entry)));
    if left_out > 0 {
        lines.push((name, format!("and {left_out} more; --output json has them")));
    }
}

fn mode(dry_run: bool) -> &'static str {
    if dry_run { " in DryRun" } else { "" }
}

fn matched_line(of: &Match) -> String {
    let mut line = format!(
        "{} ({:?}{}) by {}",
        of.rule,
        of.effect,
        mode(of.dry_run),
        of.method
    );
    if let Some(resource) = &of.resource {
        line.push_str(&format!(" on {resource}"));
    }
    if let Some(held) = &of.condition {
        line.push_str(&format!(", when {}: {}", near::one_line(&held.when), held.value));
    }
    line
}

fn near_line(of: &Near) -> String {
    format!("{} ({:?}) would match {}", of.rule, of.effect, of.lacks)
}

fn change_line(of: &Change) -> String {
    match of.then.effect {
        Effect::Allow => of.change.clone(),
        other => format!(
            "{}: then it is {}, {}",
            of.change,
            happens(other),
            of.then.because
        ),
    }
}
