//! A held call: its digest, its approval request, the wait, and the second decision.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::core::ResourceExt;
use serde_json::{Value, json};
use turnpike_audit::{Stage, Verdict as Recorded};
use turnpike_crds::{
    AgentIdentity, ApprovalRequest, ApprovalRequestSpec, ApprovalRequirement, Approvers, CallSummary,
    PolicyReference, RiskShare, RiskSummary, SecretFinding,
};
use turnpike_policy::{
    Permit,
    caller::{Caller, Identity},
    decide::{Hold, Stale, resume},
    definition::{HoldEnd, Quorum},
    digest::{CallDigest, CallDigester},
    risk::Score,
};

use crate::{
    body::RequestBody,
    charge,
    egress::Canonical,
    gate::{Held, StoreError, Waited, approval_of},
    grpc::Deadline,
    inflight::Line,
    journey::{ApproveHint, Gateway, Refused, denied},
    kept::Kept,
    limits::{Exceeded, Toll},
    normalise::NOISE,
    policies::InForce,
    record::{ApprovalNote, CallRecord},
    refusal::Refusal,
    scan::Finding,
    shape::{session, whole},
    sight::Sight,
};

/// A decision to hold, and the policies that made it.
pub(crate) struct Wanted<'a> {
    pub(crate) hold: Hold,
    pub(crate) in_force: &'a InForce,
    /// What the decision saw.
    pub(crate) sight: &'a Sight,
    /// When the agent stops waiting, where it says so.
    pub(crate) deadline: Option<Deadline>,
    /// What it takes of the agent's limits.
    pub(crate) toll: &'a mut Toll,
    /// Whether it is cut off.
    pub(crate) line: &'a Line,
}

/// Longest body of which an approver is shown something, in bytes.
const SHOWN_UP_TO: usize = 256 * 1024;
/// What he is shown of it at most, in bytes of JSON.
const SHOWN_BYTES: usize = 8 * 1024;
/// When a call that is one too many may be made again, in seconds.
const RETRY_AFTER: u32 = 60;
/// When a call that waits for a person may be made again, in seconds.
const PENDING_RETRY_AFTER: u32 = 5;
/// Longest value in it.
const SHOWN_VALUE: usize = 512;

/// Holds a call until a person approves it. Gives the permit to send it, with its whole body, once the
/// approval is spent on it.
///
/// # Errors
/// The refusal to answer with.
pub(crate) async fn hold(
    gateway: &Gateway,
    record: &mut CallRecord,
    caller: &Caller,
    canonical: &mut Canonical,
    body: RequestBody,
    wanted: &mut Wanted<'_>,
) -> Result<(Permit, Kept), Refused> {
    if starts_session(canonical) {
        return Err(session::not_in_one());
    }
    let body = whole::keep(gateway, &caller.name(), canonical, body).await?;
    record
        .request_bytes
        .store(body.len(), std::sync::atomic::Ordering::Relaxed);
    let exceeded = |e: Exceeded| charge::refused(gateway, wanted.in_force, caller, &e);
    wanted.toll.weigh(body.len(), Instant::now()).map_err(exceeded)?;
    let digest = digest(caller, record, canonical, &body).await?;
    let shown = shown_body(record, caller, &body, wanted.in_force).await?;
    let held = describe(record, caller, canonical, (shown, body.len()), digest, wanted);
    let request = gateway
        .gate
        .open(&held)
        .await
        .map_err(|error| unavailable(&error))?;
    note(record, &request);
    record.verdict = Recorded::Hold;
    record.reason = "APPROVAL_REQUESTED";
    gateway.metrics.decided("hold", record.reason);
    if let Err(error) = record.write_later(Stage::Held) {
        return Err(Box::new(Refusal::unavailable(
            "AUDIT_UNAVAILABLE",
            format!("Turnpike holds no call unrecorded, and the record cannot be written: {error}."),
        )));
    }
    let counted = gateway.metrics.hold();
    let waited = gateway.gate.wait(request, patience(&held, wanted.deadline)).await;
    drop(counted);
    let approved = match waited {
        Waited::Approved(request) => request,
        Waited::Denied(request) => {
            note(record, &request);
            return Err(Box::new(refused_by_person(&request)));
        }
        Waited::Expired(request) => {
            note(record, &request);
            return Err(Box::new(named(
                Refusal::denied(
                    "APPROVAL_EXPIRED",
                    format!(
                        "Nobody approved {} in time, so Turnpike denies the call. Make the same call again to ask anew.",
                        full_name(&request)
                    ),
                ),
                &request,
            )));
        }
        Waited::Superseded(request) => {
            note(record, &request);
            // What the policies of now say tells more, where they deny the call.
            return Err(
                match decide_again(gateway, record, caller, wanted.sight, &digest, &request) {
                    Err(refused) => refused,
                    Ok(_) => Box::new(named(superseded(&request), &request)),
                },
            );
        }
        Waited::Spent(request) => {
            note(record, &request);
            return Err(Box::new(named(spent(), &request)));
        }
        Waited::StillPending(request) => {
            let refusal = still_pending(gateway, &request, wanted.hold.terms.on_hold_end);
            return Err(Box::new(refusal));
        }
        Waited::Gone { name } => {
            return Err(Box::new(Refusal::denied(
                "APPROVAL_WITHDRAWN",
                format!("The approval request {name} was deleted. Make the same call again to ask anew."),
            )));
        }
    };
    note(record, &approved);
    let permit = decide_again(gateway, record, caller, wanted.sight, &digest, &approved)?;
    // Last, because what is refused from here on would leave the approval spent.
    wanted.line.look()?;
    wanted.toll.approved(Instant::now()).map_err(exceeded)?;
    let name = full_name(&approved);
    let spent = gateway
        .gate
        .spend(*approved, record.id)
        .await
        .map_err(|error| match error {
            StoreError::Changed => Box::new(spent()),
            StoreError::Unproved(why) => Box::new(unproved(&name, why)),
            error => unavailable(&error),
        })?;
    note(record, &spent);
    Ok((permit, body))
}

/// How long the call waits here. An agent with a deadline is told of the request before it gives up.
fn patience(held: &Held, deadline: Option<Deadline>) -> Duration {
    let Some(deadline) = deadline else {
        return held.hold_for;
    };
    let left = deadline.left().unwrap_or(Duration::ZERO);
    held.hold_for.min(left - (left / 10).min(Duration::from_secs(1)))
}

/// Whether the call only opens a session that takes the content later.
fn starts_session(canonical: &Canonical) -> bool {
    let target = &canonical.target;
    target.path().starts_with("/resumable/")
        || target.query_pairs().any(|(name, value)| {
            let name = name.trim_start_matches('$').to_ascii_lowercase().replace('_', "");
            matches!(name.as_str(), "uploadtype" | "uploadprotocol")
                && value.eq_ignore_ascii_case("resumable")
        })
        || ["x-goog-upload-protocol", "x-goog-resumable"]
            .iter()
            .any(|name| canonical.headers.contains_key(*name))
}

/// Decides again, under the policies of now, with the approval in hand.
fn decide_again(
    gateway: &Gateway,
    record: &mut CallRecord,
    caller: &Caller,
    sight: &Sight,
    digest: &CallDigest,
    approved: &ApprovalRequest,
) -> Result<Permit, Refused> {
    let approval = approval_of(approved).map_err(|e| Refusal::denied("APPROVAL_MALFORMED", e.to_string()))?;
    let in_force = gateway.policies.load().clone();
    let seen = sight.view();
    let requests = seen.requests();
    let facts = seen.facts(caller, &record.calls, &requests, Timestamp::now());
    let resumed = resume(&in_force.set, &facts, digest, &approval);
    // The rules that matched before belong to the set of before.
    let decision = turnpike_policy::decide(&in_force.set, &facts);
    record.set = Some(in_force.set.clone());
    record.policy_digest = Some(in_force.digest.clone());
    record.hits = decision.hits;
    record.risk = decision.risk.map(Box::new);
    resumed.map_err(|stale| {
        let again = "Make the same call again to ask anew.";
        Box::new(match stale {
            Stale::Denied(denial) => denied(&in_force, record, denial, caller),
            Stale::OtherCall => {
                named(Refusal::denied("APPROVAL_FOR_OTHER_CALL", format!("The approval is for another call. {again}")), approved)
            }
            Stale::Expired => {
                named(Refusal::denied("APPROVAL_EXPIRED", format!("The approval was not used in time. {again}")), approved)
            }
            Stale::PolicyChanged(ground) => {
                let policy = in_force.set.policy(ground.policy(&in_force.set));
                named(
                    Refusal::denied(
                        "APPROVAL_SUPERSEDED",
                        format!(
                            "The policies changed since the approval was asked for: {:?} of policy {}/{} wants a \
                             new one. {again}",
                            ground.name(&in_force.set), policy.namespace, policy.name
                        ),
                    ),
                    approved,
                )
            }
        })
    })
}

async fn digest(
    caller: &Caller,
    record: &CallRecord,
    canonical: &Canonical,
    body: &Kept,
) -> Result<CallDigest, Refused> {
    let target = &canonical.target;
    let mut headers: Vec<(&str, &[u8])> = canonical
        .headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_bytes()))
        .filter(|(name, _)| !NOISE.contains(name))
        .collect();
    // By name; values of one name keep their order, which has a meaning.
    headers.sort_by_key(|(name, _)| *name);
    // A signed URL is a credential, and another one each time that it is asked for; so is the place that content is
    // put at by it. What is written to and read from is what the calls name.
    let (path, query) = match (canonical.anonymous, target.verb()) {
        (true, "PUT") => ("", ""),
        (true, _) => (target.path(), ""),
        (false, _) => (target.path(), target.query()),
    };
    let parts = [target.verb(), target.host(), path, query];
    let mut digester = CallDigester::new(caller, &record.calls, &parts, &headers);
    let digested = body.run(move |reader| {
        whole::each(reader, |piece| digester.body(piece))?;
        Ok(digester.finish())
    });
    digested.await.map_err(|why| Box::new(why.refusal()))
}

fn describe(
    record: &CallRecord,
    caller: &Caller,
    canonical: &Canonical,
    (body, body_bytes): (Option<String>, u64),
    digest: CallDigest,
    wanted: &Wanted<'_>,
) -> Held {
    let set = &wanted.in_force.set;
    let mut policies: Vec<PolicyReference> = wanted
        .hold
        .grounds
        .iter()
        .map(|ground| {
            let policy = set.policy(ground.policy(set));
            PolicyReference {
                namespace: policy.namespace.clone(),
                name: policy.name.clone(),
                uid: policy.uid.clone(),
                generation: policy.generation,
                rule: ground.name(set).to_owned(),
            }
        })
        .collect();
    // The request stands where the agent's own team looks; a guardrail's namespace only where the agent
    // has none, or only a guardrail asks.
    let own = caller
        .namespace()
        .and_then(|ns| policies.iter().position(|p| p.namespace == ns));
    policies.swap(0, own.unwrap_or(0));
    let namespace = policies.first().map(|p| p.namespace.clone()).unwrap_or_default();
    let mut traits: Vec<String> = Vec::new();
    for name in record.calls.iter().flat_map(|c| c.traits.names()) {
        if !traits.iter().any(|t| t == name) {
            traits.push(name.to_owned());
        }
    }
    let target = &canonical.target;
    Held {
        namespace,
        prefix: prefix(caller),
        spec: ApprovalRequestSpec {
            agent: AgentIdentity {
                name: caller.name(),
                issuer: Some(caller.issuer.clone()),
                session: Some(caller.session.clone()),
            },
            call: CallSummary {
                method: record.calls.first().map_or("", |c| c.method).to_owned(),
                resources: record
                    .calls
                    .iter()
                    .flat_map(|c| &c.resources)
                    .map(|r| shortened(&r.name, 2000))
                    .take(16)
                    .collect(),
                verb: target.verb().to_owned(),
                url: shortened(&shown_url(canonical), 8000),
                traits,
                body,
                body_bytes: i64::try_from(body_bytes).unwrap_or(i64::MAX),
            },
            policies,
            requires: wanted.hold.terms.quorums.iter().map(requirement).collect(),
            risk: record.risk.as_deref().map(shown_risk),
            findings: record.findings.iter().map(shown_finding).take(64).collect(),
            digest: digest.to_string(),
            expires_at: Time(Timestamp::UNIX_EPOCH),
        },
        digest,
        hold_for: Duration::from_millis(wanted.hold.terms.hold_for_ms),
        expires_after: Duration::from_millis(wanted.hold.terms.expires_after_ms),
    }
}

fn requirement(quorum: &Quorum) -> ApprovalRequirement {
    ApprovalRequirement {
        approvals: i32::from(quorum.approvals),
        approvers: (!quorum.is_open()).then(|| Approvers {
            users: quorum.users.clone(),
            groups: quorum.groups.clone(),
        }),
        distinct_groups: quorum.distinct_groups,
    }
}

fn shown_risk(score: &Score) -> RiskSummary {
    RiskSummary {
        score: i32::from(score.total),
        factors: score
            .shares
            .iter()
            .take(64)
            .map(|share| RiskShare {
                name: share.factor.clone().into_owned(),
                points: i32::from(share.points),
                reason: shortened(&share.words, SHOWN_VALUE - 64),
            })
            .collect(),
    }
}

fn shown_finding(finding: &Finding) -> SecretFinding {
    SecretFinding {
        kind: finding.kind.clone(),
        place: shortened(&finding.place, 900),
    }
}

/// The URL as an approver may see it: without what is a credential.
fn shown_url(canonical: &Canonical) -> String {
    let target = &canonical.target;
    match canonical.anonymous {
        true => format!("https://{}{}", target.host(), target.path()),
        false => format!("https://{}{}", target.host(), target.path_and_query()),
    }
}

/// The body as an approver may see it: JSON only, masked by the plan of its own method, shortened. Of an upload, the
/// metadata, and what the media can be known by.
async fn shown_body(
    record: &CallRecord,
    caller: &Caller,
    body: &Kept,
    in_force: &InForce,
) -> Result<Option<String>, Refused> {
    let plan = in_force.set.mask_plan(caller, &record.calls);
    let mut shown = match body.upload() {
        Some(upload) => Value::Object(upload.metadata.clone()),
        None if body.len() > SHOWN_UP_TO as u64 => return Ok(None),
        None => {
            let bytes = body.bytes(SHOWN_UP_TO).await;
            let bytes = bytes.map_err(|why| Box::new(why.refusal()))?;
            match serde_json::from_slice(&bytes) {
                Ok(value) => value,
                Err(_) => return Ok(None),
            }
        }
    };
    plan.apply(&mut shown);
    shorten_values(&mut shown);
    if let Some(upload) = body.upload() {
        let kind = upload.media_type.as_ref().and_then(|kind| kind.to_str().ok());
        let sha256: String = upload.sha256.iter().map(|b| format!("{b:02x}")).collect();
        let media = json!({"contentType": kind, "bytes": upload.media.len(), "sha256": sha256});
        shown = json!({"metadata": shown, "media": media});
    }
    let text = serde_json::to_string_pretty(&shown).ok();
    Ok(text.map(|text| shortened(&text, SHOWN_BYTES)))
}

fn shorten_values(value: &mut Value) {
    match value {
        Value::String(text) if text.len() > SHOWN_VALUE => *text = shortened(text, SHOWN_VALUE),
        Value::Array(items) => items.iter_mut().for_each(shorten_values),
        Value::Object(fields) => fields.values_mut().for_each(shorten_values),
        _ => {}
    }
}

fn shortened(text: &str, most: usize) -> String {
    if text.len() <= most {
        return text.to_owned();
    }
    let mut end = most;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}... ({} bytes in all)", &text[..end], text.len())
}

/// The first part of a request's name: the agent's, as far as a Kubernetes name can hold it.
fn prefix(caller: &Caller) -> String {
    let name = match &caller.identity {
        Identity::ServiceAccount { name, .. } => name.clone(),
        Identity::Oidc { subject, .. } => subject.clone(),
    };
    let safe: String = name
        .to_ascii_lowercase()
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .take(40)
        .collect();
    let trimmed = safe.trim_matches('-');
    if trimmed.is_empty() {
        "agent".to_owned()
    } else {
        trimmed.to_owned()
    }
}

fn note(record: &mut CallRecord, request: &ApprovalRequest) {
    let status = request.status.as_ref();
    record.approval = Some(ApprovalNote {
        namespace: request.namespace().unwrap_or_default(),
        name: request.name_any(),
        decided_by: status.map(|s| s.decided_by.clone()).unwrap_or_default(),
        reason: status.and_then(|s| s.reason.clone()),
    });
}

fn full_name(request: &ApprovalRequest) -> String {
    format!(
        "{}/{}",
        request.namespace().unwrap_or_default(),
        request.name_any()
    )
}

fn rule_of(request: &ApprovalRequest) -> String {
    request
        .spec
        .policies
        .first()
        .map(|p| format!("rule {:?} of policy {}/{}", p.rule, p.namespace, p.name))
        .unwrap_or_default()
}

fn named(refusal: Refusal, request: &ApprovalRequest) -> Refusal {
    refusal
        .with("approvalRequest", full_name(request))
        .with("method", request.spec.call.method.clone())
}

fn refused_by_person(request: &ApprovalRequest) -> Refusal {
    let status = request.status.clone().unwrap_or_default();
    let by = if status.decided_by.is_empty() {
        "an approver".to_owned()
    } else {
        status.decided_by.join(", ")
    };
    let words = status.reason.map(|r| format!(" {r:?}")).unwrap_or_default();
    named(
        Refusal::denied(
            "APPROVAL_DENIED",
            format!(
                "Turnpike denies the call: {by} denied {} ({}).{words}",
                full_name(request),
                rule_of(request)
            ),
        ),
        request,
    )
}

fn superseded(request: &ApprovalRequest) -> Refusal {
    Refusal::denied(
        "APPROVAL_SUPERSEDED",
        format!(
            "The policies changed since the approval {} was asked for. Make the same call again to ask anew.",
            full_name(request)
        ),
    )
}

fn spent() -> Refusal {
    Refusal::denied(
        "APPROVAL_SPENT",
        "The approval was used by another copy of this call, or withdrawn. Make the same call again to ask anew.",
    )
}

fn still_pending(gateway: &Gateway, request: &ApprovalRequest, end: HoldEnd) -> Refusal {
    let name = request.name_any();
    let command = match &gateway.approve_hint {
        ApproveHint::Cluster => {
            format!(
                "kubectl turnpike approve -n {} {name}",
                request.namespace().unwrap_or_default()
            )
        }
        ApproveHint::Standalone(dir) => format!("kubectl-turnpike --config {} approve {name}", dir.display()),
    };
    let message = format!(
        "Turnpike holds this call for approval: {}, {}. {} to run: {command}. Then make the same call again.",
        full_name(request),
        rule_of(request),
        askers(request)
    );
    let refusal = match end {
        HoldEnd::Fail => Refusal::denied("APPROVAL_PENDING", message),
        HoldEnd::Retry => Refusal {
            retry_after: Some(PENDING_RETRY_AFTER),
            ..Refusal::unavailable("APPROVAL_PENDING", message)
        },
    };
    named(refusal, request).with("approve", command)
}

/// Whom to ask, as far as the request says.
fn askers(request: &ApprovalRequest) -> String {
    let progress = request.status.as_ref().and_then(|s| s.approvals.as_deref());
    match progress.and_then(|p| p.split_once('/')) {
        Some((given, needed)) if needed != "1" => {
            format!("It has {given} of {needed} approvals. Ask approvers")
        }
        _ => "Ask an approver".to_owned(),
    }
}

fn unproved(name: &str, why: &str) -> Refusal {
    Refusal::denied(
        "APPROVAL_UNPROVED",
        format!(
            "The call needs an approval, and nobody can say who gave that of {name}: {why}. Tell who runs Turnpike, and \
             make the same call again later."
        ),
    )
}

fn unavailable(error: &StoreError) -> Refused {
    if let StoreError::TooMany(_) = error {
        return Box::new(Refusal::exhausted(
            "TOO_MANY_HELD_CALLS",
            format!("The call needs an approval, and Turnpike asks for no more now: {error}."),
            RETRY_AFTER,
        ));
    }
    Box::new(Refusal::unavailable(
        "APPROVAL_UNAVAILABLE",
        format!("The call needs an approval, and none can be asked for now: {error}."),
    ))
}
