//! `describe`: one approval request as a change request reads: who asks for what, on what, how risky it is and why,
//! what the body says, what it takes, and what to run. It decides nothing and writes nothing.

use std::{
    fmt::Write as _,
    io::{self, Write as _},
    process::ExitCode,
};

use anyhow::Result;
use jiff::Timestamp;
use kube::ResourceExt as _;
use turnpike_compiler::approval::settle;
use turnpike_crds::{ApprovalRequest, ApprovalRequirement, Approvers, Phase, ReviewDecision};

use crate::{
    args::{DescribeArgs, Target},
    requests::{Requests, is_over, phase},
    review::{check_name, not_found},
    text::{bytes, span, visible},
};

/// Where the second column begins.
const INDENT: usize = 12;

pub(crate) async fn run(target: &Target, args: &DescribeArgs) -> Result<ExitCode> {
    check_name(&args.name)?;
    let requests = Requests::open(target).await?;
    let Some(request) = requests.get(&args.name).await? else {
        return Err(not_found(&requests, &args.name).await);
    };
    let now = Timestamp::now();
    let mut page = page(&request, now);
    if phase(&request) == Phase::Pending && !is_over(&request, now) {
        page.section("To decide");
        page.line(&format!(
            "{} --reason \"...\"",
            requests.command("approve", &request)
        ));
        page.line(&format!(
            "{} --reason \"...\"",
            requests.command("deny", &request)
        ));
        if let Some(line) = request.status.as_ref().and_then(|s| s.instructions.as_deref()) {
            page.section("or with kubectl");
            page.line(line);
        }
    }
    io::stdout().lock().write_all(page.0.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

/// What is shown, line by line.
#[derive(Default)]
struct Page(String);

impl Page {
    /// A row with its name; what is empty is left out. Whatever an agent chose is made harmless.
    fn row(&mut self, name: &str, lines: &[String]) {
        for (i, line) in lines.iter().enumerate() {
            let name = if i == 0 { name } else { "" };
            let row = format!("{name:<INDENT$}{}", visible(line));
            self.0.push_str(row.trim_end());
            self.0.push('\n');
        }
    }

    fn section(&mut self, name: &str) {
        self.0.push('\n');
        self.0.push_str(name);
        self.0.push('\n');
    }

    fn line(&mut self, text: &str) {
        self.0.push_str("  ");
        self.0.push_str(&visible(text));
        self.0.push('\n');
    }
}

/// What the request itself says.
fn page(request: &ApprovalRequest, now: Timestamp) -> Page {
    let spec = &request.spec;
    let mut page = Page::default();
    page.row("Request", &[title(request, now)]);
    let mut who = vec![spec.agent.name.clone()];
    who.extend(
        spec.agent
            .session
            .as_ref()
            .map(|session| format!("session {session}")),
    );
    who.extend(
        spec.agent
            .issuer
            .as_ref()
            .map(|issuer| format!("known by {issuer}")),
    );
    page.row("Who", &who);
    let traits = match spec.call.traits.as_slice() {
        [] => String::new(),
        traits => format!(" ({})", traits.join(", ")),
    };
    let what = [
        format!("{}{traits}", spec.call.method),
        format!("{} {}", spec.call.verb, spec.call.url),
    ];
    page.row("What", &what);
    page.row("Where", &spec.call.resources);
    let asked = spec.policies.iter();
    let asked = asked.map(|p| format!("{} of policy {}/{}", rule(&p.rule), p.namespace, p.name));
    page.row("Asked by", &asked.collect::<Vec<_>>());
    if let Some(risk) = &spec.risk {
        let mut lines = vec![format!("{} of 100", risk.score)];
        let shares = risk.factors.iter();
        lines.extend(shares.map(|f| format!("{:>+4}  {}: {}", f.points, f.name, f.reason)));
        page.row("Risk", &lines);
    }
    let found = spec.findings.iter().map(|f| format!("{} at {}", f.kind, f.place));
    page.row("Secrets", &found.collect::<Vec<_>>());
    page.row("Body", &body(request));
    page.row("It takes", &takes(&spec.requires));
    page.row("Reviews", &reviews(request, now));
    page.row("Digest", std::slice::from_ref(&spec.digest));
    page
}

fn title(request: &ApprovalRequest, now: Timestamp) -> String {
    let spec = &request.spec;
    let namespace = request.namespace().unwrap_or_default();
    let mut title = format!("{namespace}/{}, ", request.name_any());
    let left = span(spec.expires_at.0.as_second() - now.as_second());
    let state = match phase(request) {
        Phase::Pending if is_over(request, now) => "expired".to_owned(),
        Phase::Pending => format!("waits for a person, expires in {left}"),
        Phase::Approved => format!("approved and not used yet, expires in {left}"),
        Phase::Denied => "denied".to_owned(),
        Phase::Expired => "expired".to_owned(),
        Phase::Consumed => "approved, and its call was made".to_owned(),
        Phase::Superseded => "superseded: a policy that asked changed".to_owned(),
    };
    title.push_str(&state);
    title
}

/// The part of a policy that asked.
fn rule(name: &str) -> String {
    match name {
        "spec.risk" => "the threshold of risk".to_owned(),
        "spec.secrets" => "what is said of secrets in requests,".to_owned(),
        name => format!("rule {name}"),
    }
}

fn body(request: &ApprovalRequest) -> Vec<String> {
    let call = &request.spec.call;
    let size = bytes(call.body_bytes);
    match &call.body {
        None if call.body_bytes == 0 => vec!["none".to_owned()],
        None => vec![format!("{size}, not shown: no JSON, or too long")],
        Some(text) => {
            let mut lines = vec![format!("{size}, with secrets masked and long values shortened")];
            lines.extend(text.lines().map(str::to_owned));
            lines
        }
    }
}

/// What has to be met, in words.
fn takes(requires: &[ApprovalRequirement]) -> Vec<String> {
    if requires.is_empty() {
        return vec!["1 approval".to_owned()];
    }
    requires.iter().map(requirement).collect()
}

fn requirement(requirement: &ApprovalRequirement) -> String {
    let mut text = match requirement.approvals {
        1 => "1 approval".to_owned(),
        n => format!("{n} approvals"),
    };
    if let Some(Approvers { users, groups }) = &requirement.approvers {
        let groups = groups.iter().map(|group| format!("a member of {group}"));
        let who: Vec<String> = users.iter().cloned().chain(groups).collect();
        text.push_str(&format!(" by {}", who.join(" or ")));
    }
    if requirement.distinct_groups {
        text.push_str(", each for another group");
    }
    text
}

fn reviews(request: &ApprovalRequest, now: Timestamp) -> Vec<String> {
    let (_, tally) = settle(request, now);
    let mut lines = vec![format!("{} of {} approvals", tally.given, tally.needed)];
    for (who, review) in request.status.iter().flat_map(|s| &s.reviews) {
        let mut line = match review.decision {
            ReviewDecision::Approve => format!("{who} approves"),
            ReviewDecision::Deny => format!("{who} denies"),
        };
        if !review.groups.is_empty() {
            line.push_str(&format!(" for {}", review.groups.join(", ")));
        }
        if review.digest.as_ref().is_some_and(|d| *d != request.spec.digest) {
            line.push_str(", of another call: it does not count");
        } else if tally.uncounted.contains(who) {
            line.push_str(", which does not count: others are asked for");
        }
        if let Some(reason) = &review.reason {
            // Writing to a String cannot fail.
            write!(line, ": {reason}").ok();
        }
        lines.push(line);
    }
    if let Some(spent) = request.status.as_ref().and_then(|s| s.consumption.as_ref()) {
        lines.push(format!(
            "spent by {} on call {} at {}",
            spent.by, spent.call, spent.at.0
        ));
    }
    lines
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use turnpike_crds::ApprovalRequest;

    use super::page;

    #[test]
    fn it_reads_like_a_change_request() {
        let digest = format!("sha256:{}", "1".repeat(64));
        let request: ApprovalRequest = serde_json::from_value(json!({
            "apiVersion": "turnpike.dev/v1alpha1",
            "kind": "ApprovalRequest",
            "metadata": {"name": "coder-1", "namespace": "agents"},
            "spec": {
                "agent": {"name": "agents/coder", "session": "coder-pod", "issuer": "https://issuer.test"},
                "call": {
                    "method": "cloudfunctions.projects.locations.functions.patch",
                    "resources": ["projects/acme/locations/l/functions/\u{202e}f"],
                    "verb": "PATCH",
                    "url": "https://cloudfunctions.googleapis.com/v2/projects/acme/locations/l/functions/f",
                    "traits": ["change"],
                    "body": "{\n  \"env\": \"[MASKED:policy]\"\n}",
                    "bodyBytes": 2048,
                },
                "policies": [
                    {"namespace": "agents", "name": "coder", "uid": "u", "generation": 3, "rule": "deploy"},
                    {"namespace": "turnpike", "name": "floor", "uid": "v", "generation": 1, "rule": "spec.risk"},
                ],
                "requires": [
                    {"approvals": 2, "approvers": {"groups": ["sec", "sre"]}, "distinctGroups": true},
                    {"approvals": 1, "approvers": {"users": ["dave"]}},
                ],
                "risk": {"score": 45, "factors": [
                    {"name": "public", "points": 30, "reason": "allUsers may call it"},
                    {"name": "change", "points": 15, "reason": "changes something"},
                ]},
                "findings": [{"kind": "private-key", "place": "source.zip!key.pem line 1"}],
                "digest": digest,
                "expiresAt": "2030-01-02T00:00:00Z",
            },
            "status": {"phase": "Pending", "reviews": {
                "alice": {"decision": "Approve", "groups": ["sre"], "reason": "planned\u{1b}[2K"},
                "bob": {"decision": "Approve", "digest": format!("sha256:{}", "2".repeat(64))},
                "mallory": {"decision": "Approve"},
            }},
        }))
        .unwrap();
        let shown = page(&request, "2030-01-01T00:00:00Z".parse().unwrap()).0;
        let expected = r#"Request     agents/coder-1, waits for a person, expires in 24h
Who         agents/coder
            session coder-pod
            known by https://issuer.test
What        cloudfunctions.projects.locations.functions.patch (change)
            PATCH https://cloudfunctions.googleapis.com/v2/projects/acme/locations/l/functions/f
Where       projects/acme/locations/l/functions/\u{202e}f
Asked by    rule deploy of policy agents/coder
            the threshold of risk of policy turnpike/floor
Risk        45 of 100
             +30  public: allUsers may call it
             +15  change: changes something
Secrets     private-key at source.zip!key.pem line 1
Body        2.0 KiB, with secrets masked and long values shortened
            {
              "env": "[MASKED:policy]"
            }
It takes    2 approvals by a member of sec or a member of sre, each for another group
            1 approval by dave
Reviews     1 of 3 approvals
            alice approves for sre: planned\u{1b}[2K
            bob approves, of another call: it does not count
            mallory approves, which does not count: others are asked for
Digest      sha256:1111111111111111111111111111111111111111111111111111111111111111
"#;
        assert_eq!(shown, expected);
    }
}
