//! `approve` and `deny`: one person's review of one call.
//!
//! A review names the digest of the call that was shown, so it counts for that call alone. Whether it
//! decides is not judged here: the operator, or the standalone proxy, settles reviews.

use std::{
    collections::BTreeSet,
    io::{self, Write as _},
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use jiff::Timestamp;
use kube::ResourceExt as _;
use turnpike_compiler::similar::nearest;
use turnpike_crds::{ApprovalRequest, Phase, Review, ReviewDecision};

use crate::{
    args::{ReviewArgs, Target},
    requests::{Me, Requests, is_over, phase},
    text::{bytes, shorten, span, visible},
};

/// How often a request is looked at while it is waited for.
const POLL: Duration = Duration::from_millis(50);
/// Longest resource or URL of the summary.
const MAX_SHOWN: usize = 200;

pub(crate) async fn run(target: &Target, args: &ReviewArgs, decision: ReviewDecision) -> Result<ExitCode> {
    check_name(&args.name)?;
    let requests = Requests::open(target).await?;
    let Some(request) = requests.get(&args.name).await? else {
        return Err(not_found(&requests, &args.name).await);
    };
    refuse_unless_pending(&request)?;
    let me = requests.me().await?;
    refuse_second_review(&request, &me.name)?;

    let mut out = io::stdout().lock();
    writeln!(out, "{}", summary(&request))?;
    let review = Review {
        decision,
        digest: Some(request.spec.digest.clone()),
        reason: args.reason.clone(),
        groups: counting_groups(&request, &me),
    };
    let me = me.name;
    requests.review(&request, &me, &review).await?;
    let recorded = match decision {
        ReviewDecision::Approve => format!("{} is approved by you, {}.", args.name, visible(&me)),
        ReviewDecision::Deny => format!("{} is denied by you, {}.", args.name, visible(&me)),
    };
    writeln!(out, "{recorded}")?;
    if !args.wait {
        return Ok(ExitCode::SUCCESS);
    }
    // It is written, so what goes wrong from here on must not read as if it were not.
    let settled = settled(&requests, &args.name, args.timeout)
        .await
        .context("your review is written, but what came of it is not known")?;
    let sentence = match settled {
        Some(settled) => outcome(&settled, decision)?,
        None => format!(
            "It is not settled after {:?}. It counts as soon as {} sees it, which must run for that; or more approvals \
             are needed.",
            args.timeout,
            requests.settled_by()
        ),
    };
    writeln!(out, "{sentence}")?;
    Ok(ExitCode::SUCCESS)
}

/// Refuses what is no name: a name becomes a part of a path, of a URL or of a file.
pub(crate) fn check_name(name: &str) -> Result<()> {
    if let Some((namespace, name)) = name.split_once('/')
        && !namespace.is_empty()
        && !name.is_empty()
        && !name.contains('/')
        && !namespace.starts_with('.')
    {
        bail!("give the name alone, and the namespace as a flag: -n {namespace} {name}");
    }
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'.');
    let ends = |b: Option<&u8>| b.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = name.as_bytes();
    if bytes.len() > 253 || !bytes.iter().copied().all(allowed) || !ends(bytes.first()) || !ends(bytes.last())
    {
        bail!("{name:?} is no name of an approval request; `pending` lists their names");
    }
    Ok(())
}

/// The error for a name that no request has, with the one that was meant.
pub(crate) async fn not_found(requests: &Requests, name: &str) -> anyhow::Error {
    let place = requests.place(false);
    // Without the right to list there is nothing to propose.
    let names: Vec<String> = match requests.list(false).await {
        Ok(listing) => listing
            .requests
            .iter()
            .filter(|r| phase(r) == Phase::Pending)
            .map(|r| r.name_any())
            .collect(),
        Err(_) => Vec::new(),
    };
    match nearest(name, names.iter().map(String::as_str)) {
        Some(meant) => {
            anyhow::anyhow!("there is no approval request {name} in {place}; did you mean {meant}?")
        }
        None => anyhow::anyhow!(
            "there is no approval request {name} in {place}; `pending` lists those that wait, with -A of all namespaces"
        ),
    }
}

fn refuse_unless_pending(request: &ApprovalRequest) -> Result<()> {
    let name = request.name_any();
    let over = is_over(request, Timestamp::now());
    match phase(request) {
        Phase::Pending if !over => Ok(()),
        Phase::Pending => bail!(
            "{name} expired at {}; the agent has to make its call again, which makes a new request",
            request.spec.expires_at.0
        ),
        Phase::Approved => bail!("{name} is approved already{}", decided_by(request)),
        Phase::Consumed => bail!(
            "{name} is decided and its call was made; it was approved{}",
            decided_by(request)
        ),
        Phase::Denied => bail!("{name} is denied already{}", decided_by(request)),
        Phase::Superseded => bail!(
            "{name} is superseded: a policy that asked for the approval changed; the agent has to make its call again, \
             which makes a new request"
        ),
        Phase::Expired => bail!(
            "{name} expired at {}; the agent has to make its call again, which makes a new request",
            request.spec.expires_at.0
        ),
    }
}

fn refuse_second_review(request: &ApprovalRequest, me: &str) -> Result<()> {
    let mine = request.status.as_ref().and_then(|status| status.reviews.get(me));
    let Some(review) = mine else { return Ok(()) };
    let what = match review.decision {
        ReviewDecision::Approve => "approved",
        ReviewDecision::Deny => "denied",
    };
    bail!(
        "you, {me}, have {what} {} already; a review cannot be changed, and it waits to be settled",
        request.name_any()
    )
}

/// Those of the reviewer's groups that the request asks for; no others are written.
fn counting_groups(request: &ApprovalRequest, me: &Me) -> Vec<String> {
    let asked = request.spec.requires.iter().filter_map(|r| r.approvers.as_ref());
    let asked: BTreeSet<&String> = asked.flat_map(|a| &a.groups).collect();
    asked
        .into_iter()
        .filter(|g| me.groups.contains(*g))
        .cloned()
        .collect()
}

/// Who is asking, for what: one line.
fn summary(request: &ApprovalRequest) -> String {
    let spec = &request.spec;
    let shown = |text: &str| shorten(&visible(text), MAX_SHOWN).into_owned();
    let resources: Vec<String> = spec.call.resources.iter().map(|r| shown(r)).collect();
    let on = match resources.as_slice() {
        [] => String::new(),
        _ => format!(" on {}", resources.join(", ")),
    };
    let rules: Vec<String> = spec
        .policies
        .iter()
        .map(|p| {
            format!(
                "rule {} of policy {}/{}",
                visible(&p.rule),
                visible(&p.namespace),
                visible(&p.name)
            )
        })
        .collect();
    format!(
        "{}: {} asks for {}{on} ({} {}, body of {}; {}; expires in {})",
        visible(&request.name_any()),
        shown(&spec.agent.name),
        visible(&spec.call.method),
        visible(&spec.call.verb),
        shown(&spec.call.url),
        bytes(spec.call.body_bytes),
        rules.join(", "),
        span(spec.expires_at.0.as_second() - Timestamp::now().as_second()),
    )
}

/// The request once it is no longer pending; `None` when it still is after the time.
async fn settled(requests: &Requests, name: &str, timeout: Duration) -> Result<Option<ApprovalRequest>> {
    let started = Instant::now();
    loop {
        match requests.get(name).await? {
            Some(request) if phase(&request) != Phase::Pending => return Ok(Some(request)),
            Some(_) => {}
            None => bail!("approval request {name} was removed"),
        }
        if started.elapsed() >= timeout {
            return Ok(None);
        }
        tokio::time::sleep(POLL).await;
    }
}

/// What came of a review. It is an error where the opposite came of it.
fn outcome(request: &ApprovalRequest, decision: ReviewDecision) -> Result<String> {
    Ok(match (phase(request), decision) {
        (Phase::Approved, ReviewDecision::Approve) => {
            "Approved: the agent's call goes on if it still waits, else when it is made again.".to_owned()
        }
        (Phase::Consumed, ReviewDecision::Approve) => "Approved: the agent's call has gone on.".to_owned(),
        (Phase::Denied, ReviewDecision::Deny) => "Denied: the agent is told so.".to_owned(),
        (Phase::Denied, _) => bail!(
            "your review is written, but the request was denied{}",
            decided_by(request)
        ),
        (Phase::Approved | Phase::Consumed, _) => {
            bail!(
                "your review is written, but the request was approved{}",
                decided_by(request)
            )
        }
        (Phase::Expired, _) => bail!("your review is written, but the request expired before it was settled"),
        (Phase::Superseded, _) => bail!(
            "your review is written, but a policy that asked changed meanwhile; the agent has to make its call again"
        ),
        (Phase::Pending, _) => bail!("the request is pending again"),
    })
}

fn decided_by(request: &ApprovalRequest) -> String {
    let Some(status) = &request.status else {
        return String::new();
    };
    let by = match status.decided_by.as_slice() {
        [] => String::new(),
        names => format!(" by {}", names.join(", ")),
    };
    match &status.reason {
        Some(reason) => format!("{by}: {reason}"),
        None => by,
    }
}
