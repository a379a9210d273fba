//! What becomes of approvals that nobody can prove. An approval is worth what the API server's proof of its author
//! is worth. While there is none, denials and time settle requests as ever, and approvals wait. What was approved
//! while a forgery would have been taken never counts: it ends with the request once the proof is back, and the
//! agent may make its call again. Pure: the operator, which tries the forgeries, writes what this says.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use turnpike_crds::{ApprovalRequest, ApprovalRequestStatus, Phase, ReviewDecision, condition};

use crate::approval::next_status;

/// Condition of an approval request. Where it is False, its approvals do not count; where it is not there, they do.
pub const APPROVAL_GUARD_READY: &str = "ApprovalGuardReady";
/// Reason: a review under another's name was taken.
pub const FORGERY_ACCEPTED: &str = "ForgeryAccepted";
/// Reason: a review under another's name was refused.
pub const FORGERY_REFUSED: &str = "ForgeryRefused";
/// Reason: whether a review under another's name is refused could not be tried.
pub const NOT_PROBED: &str = "NotProbed";

/// Whether the API server proves who approves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof<'a> {
    /// It does.
    Given,
    /// It does not: anybody could have approved.
    Missing {
        /// In words.
        why: &'a str,
    },
    /// That is not known.
    Unknown {
        /// In words.
        why: &'a str,
    },
}

/// The status that should be written, or `None` where it is right already.
pub fn status_by_proof(
    request: &ApprovalRequest,
    proof: Proof<'_>,
    now: Timestamp,
) -> Option<ApprovalRequestStatus> {
    let before = request.status.clone().unwrap_or_default();
    let tainted = reason(&before) == Some(FORGERY_ACCEPTED);
    let mut next = match proof {
        Proof::Given if !tainted => next_status(request, now).unwrap_or_else(|| before.clone()),
        _ => without_approvals(request, &before, now),
    };
    let approved = is_approved(&next);
    let mark = |next: &mut ApprovalRequestStatus, value, reason, message: &str| {
        set(next, request, (APPROVAL_GUARD_READY, value), reason, message, now);
    };
    match proof {
        Proof::Given if tainted && approved => {
            let message = "an approval was given while anybody could have given it in any name, and does not count; \
                           the agent may make the call again";
            next.phase = Some(Phase::Expired);
            set(
                &mut next,
                request,
                (condition::PENDING, "False"),
                UNPROVED,
                message,
                now,
            );
            set(
                &mut next,
                request,
                (condition::EXPIRED, "True"),
                UNPROVED,
                message,
                now,
            );
        }
        Proof::Given => {
            if reason(&before) == Some(NOT_PROBED) {
                let message = "the API server proves who approves";
                mark(&mut next, "True", FORGERY_REFUSED, message);
            }
        }
        Proof::Missing { why } if approved && !tainted => {
            mark(&mut next, "False", FORGERY_ACCEPTED, why);
        }
        Proof::Unknown { why } if approved && is_open(&next, Phase::Pending) && reason(&before).is_none() => {
            mark(&mut next, "False", NOT_PROBED, why);
        }
        Proof::Missing { .. } | Proof::Unknown { .. } => {}
    }
    (next != before).then_some(next)
}

/// Why a request that was approved ends without a person's doing.
const UNPROVED: &str = "Unproved";

/// What denials and time come down to. The approvals stay where they are.
fn without_approvals(
    request: &ApprovalRequest,
    before: &ApprovalRequestStatus,
    now: Timestamp,
) -> ApprovalRequestStatus {
    let mut sight = request.clone();
    let status = sight.status.get_or_insert_default();
    status
        .reviews
        .retain(|_, review| review.decision == ReviewDecision::Deny);
    let mut next = next_status(&sight, now).unwrap_or_else(|| before.clone());
    next.reviews.clone_from(&before.reviews);
    next
}

/// Whether an open request is approved, or somebody's approval of it waits to be settled.
fn is_approved(status: &ApprovalRequestStatus) -> bool {
    let mut reviews = status.reviews.values();
    is_open(status, Phase::Approved)
        || is_open(status, Phase::Pending) && reviews.any(|r| r.decision == ReviewDecision::Approve)
}

fn is_open(status: &ApprovalRequestStatus, phase: Phase) -> bool {
    status.phase.unwrap_or_default() == phase
}

/// Why the approvals of a request do not count; `None` where they do.
fn reason(status: &ApprovalRequestStatus) -> Option<&str> {
    let mut conditions = status.conditions.iter();
    let found = conditions.find(|c| c.type_ == APPROVAL_GUARD_READY)?;
    (found.status != "True").then_some(found.reason.as_str())
}

/// Whether a request was approved while anybody could have approved it: such an approval is never spent.
pub fn is_tainted(request: &ApprovalRequest) -> bool {
    request.status.as_ref().and_then(reason) == Some(FORGERY_ACCEPTED)
}

fn set(
    status: &mut ApprovalRequestStatus,
    request: &ApprovalRequest,
    (type_, value): (&str, &str),
    reason: &str,
    message: &str,
    now: Timestamp,
) {
    let condition = Condition {
        type_: type_.to_owned(),
        status: value.to_owned(),
        reason: reason.to_owned(),
        message: message.to_owned(),
        last_transition_time: Time(now),
        observed_generation: request.metadata.generation,
    };
    match status.conditions.iter_mut().find(|c| c.type_ == condition.type_) {
        Some(there) => *there = condition,
        None => status.conditions.push(condition),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const WHY: &str = "reviews are taken under any name";
    const GIVEN: Proof<'_> = Proof::Given;
    const MISSING: Proof<'_> = Proof::Missing { why: WHY };
    const UNKNOWN: Proof<'_> = Proof::Unknown { why: WHY };

    fn request(status: &Value) -> ApprovalRequest {
        serde_json::from_value(json!({
            "apiVersion": "turnpike.dev/v1alpha1",
            "kind": "ApprovalRequest",
            "metadata": {"name": "coder-1", "namespace": "agents", "generation": 1},
            "spec": {
                "agent": {"name": "agents/coder"},
                "call": {"method": "m", "resources": [], "verb": "POST", "url": "u", "bodyBytes": 0},
                "policies": [{"namespace": "agents", "name": "coder", "uid": "u", "generation": 1, "rule": "deploy"}],
                "digest": format!("sha256:{}", "0".repeat(64)),
                "expiresAt": "2030-01-02T00:00:00Z",
            },
            "status": status,
        }))
        .unwrap()
    }

    /// Phase, who decided, and the conditions that matter here, step by step.
    fn told(status: Value, proofs: &[Proof<'_>]) -> Vec<String> {
        let now = "2030-01-01T00:00:00Z".parse().unwrap();
        let mut request = request(&status);
        let reviews = request.status.clone().unwrap().reviews;
        proofs
            .iter()
            .map(|proof| {
                if let Some(next) = status_by_proof(&request, *proof, now) {
                    request.status = Some(next);
                    assert_eq!(status_by_proof(&request, *proof, now), None, "it is written once");
                }
                let status = request.status.clone().unwrap();
                assert_eq!(status.reviews, reviews, "reviews stay");
                let of = |type_: &str| {
                    let found = status.conditions.iter().find(|c| c.type_ == type_);
                    found.map_or("-".to_owned(), |c| format!("{} {}", c.status, c.reason))
                };
                let phase = status.phase.unwrap_or_default();
                assert_eq!(
                    is_tainted(&request),
                    of(APPROVAL_GUARD_READY) == "False ForgeryAccepted"
                );
                format!(
                    "{phase:?} by {:?}: {}",
                    status.decided_by,
                    of(APPROVAL_GUARD_READY)
                )
            })
            .collect()
    }

    #[test]
    fn approvals_count_only_where_they_are_proved() {
        let yes = json!({"reviews": {"alice": {"decision": "Approve"}}});
        let no = json!({"reviews": {"alice": {"decision": "Approve"}, "bob": {"decision": "Deny"}}});
        let done = json!({"reviews": {"alice": {"decision": "Approve"}}, "phase": "Approved"});
        let forged = json!({"phase": "Approved"});
        let cases: [(&Value, &[Proof<'_>], &[&str]); 9] = [
            (&yes, &[GIVEN], &[r#"Approved by ["alice"]: -"#]),
            // What is not known waits, and is settled when it is.
            (
                &yes,
                &[UNKNOWN, GIVEN],
                &[
                    "Pending by []: False NotProbed",
                    r#"Approved by ["alice"]: True ForgeryRefused"#,
                ],
            ),
            // What anybody could have approved never counts.
            (
                &yes,
                &[MISSING, UNKNOWN, GIVEN],
                &[
                    "Pending by []: False ForgeryAccepted",
                    "Pending by []: False ForgeryAccepted",
                    "Expired by []: False ForgeryAccepted",
                ],
            ),
            (
                &yes,
                &[UNKNOWN, MISSING, GIVEN],
                &[
                    "Pending by []: False NotProbed",
                    "Pending by []: False ForgeryAccepted",
                    "Expired by []: False ForgeryAccepted",
                ],
            ),
            // Nor what was approved before, as nobody knows who wrote that.
            (
                &forged,
                &[MISSING, GIVEN],
                &[
                    "Approved by []: False ForgeryAccepted",
                    "Expired by []: False ForgeryAccepted",
                ],
            ),
            (
                &done,
                &[UNKNOWN, GIVEN],
                &["Approved by []: -", "Approved by []: -"],
            ),
            // Denials count as ever.
            (
                &no,
                &[MISSING, GIVEN],
                &[r#"Denied by ["bob"]: -"#, r#"Denied by ["bob"]: -"#],
            ),
            (&no, &[UNKNOWN], &[r#"Denied by ["bob"]: -"#]),
            (
                &json!({}),
                &[MISSING, GIVEN],
                &["Pending by []: -", "Pending by []: -"],
            ),
        ];
        for (status, proofs, expected) in cases {
            assert_eq!(told(status.clone(), proofs), expected, "{status} {proofs:?}");
        }
    }
}
