//! What reviews come down to, and the status that follows. Pure: the operator and standalone mode write
//! what this says.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use turnpike_crds::{ApprovalRequest, ApprovalRequestStatus, Phase, ReviewDecision, condition};

/// What the reviews of a request come down to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Nobody has decided.
    Pending,
    /// Let through.
    Approved {
        /// By whom.
        by: Vec<String>,
        /// In the approver's words.
        reason: Option<String>,
    },
    /// Refused.
    Denied {
        /// By whom.
        by: Vec<String>,
        /// In the approver's words.
        reason: Option<String>,
    },
    /// Nobody decided in time.
    Expired,
}

/// Settles the reviews of a request: one Deny denies, else one Approve approves. A review that names another
/// digest than the request's is ignored, and a request past its time is expired whatever was reviewed.
pub fn settle(request: &ApprovalRequest, now: Timestamp) -> Verdict {
    if now >= request.spec.expires_at.0 {
        return Verdict::Expired;
    }
    let reviews = request.status.iter().flat_map(|s| &s.reviews);
    let counted = reviews.filter(|(_, r)| r.digest.as_ref().is_none_or(|d| *d == request.spec.digest));
    let (mut approve, mut deny) = (Vec::new(), Vec::new());
    for (who, review) in counted {
        match review.decision {
            ReviewDecision::Approve => approve.push((who, &review.reason)),
            ReviewDecision::Deny => deny.push((who, &review.reason)),
        }
    }
    let names = |list: &[(&String, &Option<String>)]| list.iter().map(|(who, _)| (*who).clone()).collect();
    let words = |list: &[(&String, &Option<String>)]| list.iter().find_map(|(_, reason)| (*reason).clone());
    if !deny.is_empty() {
        Verdict::Denied {
            by: names(&deny),
            reason: words(&deny),
        }
    } else if !approve.is_empty() {
        Verdict::Approved {
            by: names(&approve),
            reason: words(&approve),
        }
    } else {
        Verdict::Pending
    }
}

/// The status that should be written, or `None` where it is right already. Denied, Expired and Consumed are
/// final; Approved becomes Consumed when it was spent and Expired when its time is over.
pub fn next_status(request: &ApprovalRequest, now: Timestamp) -> Option<ApprovalRequestStatus> {
    let before = request.status.clone().unwrap_or_default();
    let mut next = before.clone();
    match before.phase {
        Some(Phase::Denied | Phase::Expired | Phase::Consumed) => return None,
        Some(Phase::Approved) => {
            if let Some(spent) = &before.consumption {
                next.phase = Some(Phase::Consumed);
                enter(
                    &mut next,
                    request,
                    condition::CONSUMED,
                    "Spent",
                    format!("spent on call {}", spent.call),
                    now,
                );
            } else if now >= request.spec.expires_at.0 {
                next.phase = Some(Phase::Expired);
                enter(
                    &mut next,
                    request,
                    condition::EXPIRED,
                    "NotUsed",
                    "approved, and not used in time".into(),
                    now,
                );
            }
        }
        None | Some(Phase::Pending) => match settle(request, now) {
            Verdict::Pending => {
                next.phase = Some(Phase::Pending);
                if before.phase.is_none() {
                    let message = format!("waits for an approver until {}", request.spec.expires_at.0);
                    enter(
                        &mut next,
                        request,
                        condition::PENDING,
                        "WaitsForReview",
                        message,
                        now,
                    );
                }
            }
            Verdict::Approved { by, reason } => {
                next.phase = Some(Phase::Approved);
                let message = decided("approved", &by, &reason);
                (next.decided_by, next.reason) = (by, reason);
                enter(&mut next, request, condition::APPROVED, "Approved", message, now);
            }
            Verdict::Denied { by, reason } => {
                next.phase = Some(Phase::Denied);
                let message = decided("denied", &by, &reason);
                (next.decided_by, next.reason) = (by, reason);
                enter(&mut next, request, condition::DENIED, "Denied", message, now);
            }
            Verdict::Expired => {
                next.phase = Some(Phase::Expired);
                enter(
                    &mut next,
                    request,
                    condition::EXPIRED,
                    "NotDecided",
                    "nobody decided in time".into(),
                    now,
                );
            }
        },
    }
    (next != before).then_some(next)
}

fn decided(what: &str, by: &[String], reason: &Option<String>) -> String {
    match reason {
        Some(words) => format!("{what} by {}: {words}", by.join(", ")),
        None => format!("{what} by {}", by.join(", ")),
    }
}

/// Sets one condition to True; Pending, if it was, becomes False.
fn enter(
    status: &mut ApprovalRequestStatus,
    request: &ApprovalRequest,
    type_: &str,
    reason: &str,
    message: String,
    now: Timestamp,
) {
    let mut set = |type_: &str, value: &str, reason: &str, message: String| {
        let condition = Condition {
            type_: type_.to_owned(),
            status: value.to_owned(),
            reason: reason.to_owned(),
            message,
            last_transition_time: Time(now),
            observed_generation: request.metadata.generation,
        };
        match status.conditions.iter_mut().find(|c| c.type_ == condition.type_) {
            Some(there) => *there = condition,
            None => status.conditions.push(condition),
        }
    };
    if type_ != condition::PENDING {
        set(condition::PENDING, "False", reason, message.clone());
    }
    set(type_, "True", reason, message);
}
