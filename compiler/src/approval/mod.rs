//! What reviews come down to, and the status that follows. Pure: the operator and standalone mode write
//! what this says.

mod instructions;
mod quorum;
mod retention;
mod superseded;
#[cfg(test)]
mod tests;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use turnpike_crds::{ApprovalRequest, ApprovalRequestStatus, Phase, Review, ReviewDecision, condition};

use self::quorum::Approval;
pub use self::{
    quorum::Tally,
    retention::{LEAST_KEPT, removable_at},
    superseded::{Found, superseded_status},
};

/// What the reviews of a request come down to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Nobody has decided, or not enough people.
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

/// Settles the reviews of a request, and counts its approvals: one Deny denies, whoever gave it; else what the
/// request requires has to be met. A review that names another digest than the request's is ignored, and so is an
/// approval in the agent's own name. A request past its time is expired whatever was reviewed.
pub fn settle(request: &ApprovalRequest, now: Timestamp) -> (Verdict, Tally) {
    let reviews = request.status.iter().flat_map(|s| &s.reviews);
    let counted = reviews.filter(|(_, r)| r.digest.as_ref().is_none_or(|d| *d == request.spec.digest));
    let (mut approve, mut deny) = (Vec::new(), Vec::new());
    for (who, review) in counted {
        match review.decision {
            ReviewDecision::Approve if is_requester(request, who) => {}
            ReviewDecision::Approve => approve.push((who, review)),
            ReviewDecision::Deny => deny.push((who, review)),
        }
    }
    let approvals: Vec<Approval<'_>> = approve
        .iter()
        .map(|(who, review)| Approval {
            who,
            groups: &review.groups,
        })
        .collect();
    let tally = quorum::tally(&request.spec.requires, &approvals);
    approve.retain(|(who, _)| !tally.uncounted.contains(who));
    let names = |list: &[(&String, &Review)]| list.iter().map(|(who, _)| (*who).clone()).collect();
    let words = |list: &[(&String, &Review)]| list.iter().find_map(|(_, review)| review.reason.clone());
    let verdict = if now >= request.spec.expires_at.0 {
        Verdict::Expired
    } else if !deny.is_empty() {
        Verdict::Denied {
            by: names(&deny),
            reason: words(&deny),
        }
    } else if tally.is_met() {
        Verdict::Approved {
            by: names(&approve),
            reason: words(&approve),
        }
    } else {
        Verdict::Pending
    };
    (verdict, tally)
}

/// Whether a user name is that of the agent who asks.
fn is_requester(request: &ApprovalRequest, who: &str) -> bool {
    let agent = &request.spec.agent.name;
    let account = who
        .strip_prefix("system:serviceaccount:")
        .and_then(|account| account.split_once(':'));
    who == agent || account.is_some_and(|(namespace, name)| agent.split_once('/') == Some((namespace, name)))
}

/// The status that should be written, or `None` where it is right already. Denied, Expired, Consumed and Superseded
/// are final; Approved becomes Consumed when it was spent and Expired when its time is over.
pub fn next_status(request: &ApprovalRequest, now: Timestamp) -> Option<ApprovalRequestStatus> {
    let before = request.status.clone().unwrap_or_default();
    let mut next = before.clone();
    match before.phase {
        Some(Phase::Denied | Phase::Expired | Phase::Consumed | Phase::Superseded) => return None,
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
        None | Some(Phase::Pending) => settle_pending(request, &mut next, now),
    }
    (next != before).then_some(next)
}

/// Writes what the reviews of a request that nobody has settled come down to.
fn settle_pending(request: &ApprovalRequest, next: &mut ApprovalRequestStatus, now: Timestamp) {
    let (verdict, tally) = settle(request, now);
    next.approvals = Some(tally.to_string());
    match verdict {
        Verdict::Pending => {
            next.phase = Some(Phase::Pending);
            // A folder has no API server that could be asked to patch; its files say themselves what to do.
            let stored = request.metadata.resource_version.is_some();
            next.instructions = stored.then(|| instructions::line(request));
            wait(next, request, waits(request, &tally), now);
        }
        Verdict::Approved { by, reason } => {
            next.phase = Some(Phase::Approved);
            let message = decided("approved", &by, &reason);
            (next.decided_by, next.reason) = (by, reason);
            enter(next, request, condition::APPROVED, "Approved", message, now);
        }
        Verdict::Denied { by, reason } => {
            next.phase = Some(Phase::Denied);
            let message = decided("denied", &by, &reason);
            (next.decided_by, next.reason) = (by, reason);
            enter(next, request, condition::DENIED, "Denied", message, now);
        }
        Verdict::Expired => {
            next.phase = Some(Phase::Expired);
            let message = match tally.given {
                0 => "nobody decided in time".to_owned(),
                _ if tally.is_met() => "the approvals came too late".to_owned(),
                _ => format!("not enough approvals in time: {tally}"),
            };
            enter(next, request, condition::EXPIRED, "NotDecided", message, now);
        }
    }
}

/// What a request waits for, in words.
fn waits(request: &ApprovalRequest, tally: &Tally) -> String {
    let until = request.spec.expires_at.0;
    let mut message = match tally.given {
        0 => format!("waits for an approver until {until}"),
        given => format!("has {given} of {} approvals; waits until {until}", tally.needed),
    };
    if !tally.uncounted.is_empty() {
        message.push_str("; not among those whose approval counts, or without naming the group that does: ");
        message.push_str(&tally.uncounted.join(", "));
    }
    message
}

/// Says that a request waits. The condition has changed only where it was not there; its words may.
fn wait(status: &mut ApprovalRequestStatus, request: &ApprovalRequest, message: String, now: Timestamp) {
    match status
        .conditions
        .iter_mut()
        .find(|c| c.type_ == condition::PENDING)
    {
        Some(there) => there.message = message,
        None => enter(
            status,
            request,
            condition::PENDING,
            "WaitsForReview",
            message,
            now,
        ),
    }
}

fn decided(what: &str, by: &[String], reason: &Option<String>) -> String {
    match reason {
        Some(words) => format!("{what} by {}: {words}", by.join(", ")),
        None => format!("{what} by {}", by.join(", ")),
    }
}

/// Sets one condition to True; Pending, if it was, becomes False, and with it goes what one could do about it.
fn enter(
    status: &mut ApprovalRequestStatus,
    request: &ApprovalRequest,
    type_: &str,
    reason: &str,
    message: String,
    now: Timestamp,
) {
    if type_ != condition::PENDING {
        status.instructions = None;
    }
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
