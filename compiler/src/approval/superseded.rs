//! Requests whose policies are no longer what they were when they asked.
//!
//! An approval stands for the rules it was asked under. Were one of their policies another now, the proxy would refuse
//! to spend it; the request says so at once, so that nobody looks at it any longer.

use jiff::Timestamp;
use turnpike_crds::{ApprovalRequest, ApprovalRequestStatus, Phase, PolicyReference};

use super::enter;

/// What is known of a policy that asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// Nothing yet, so nothing follows.
    Unknown,
    /// No such policy is in force.
    Gone,
    /// It is in force.
    At {
        /// Its UID.
        uid: String,
        /// Its generation.
        generation: i64,
    },
}

/// The status of a request of which a policy changed or is gone; `None` where none did, and where the request is
/// decided for good.
pub fn superseded_status(
    request: &ApprovalRequest,
    find: impl Fn(&PolicyReference) -> Found,
    now: Timestamp,
) -> Option<ApprovalRequestStatus> {
    let mut status = request.status.clone().unwrap_or_default();
    let open = matches!(status.phase, None | Some(Phase::Pending | Phase::Approved));
    if !open || status.consumption.is_some() || now >= request.spec.expires_at.0 {
        return None;
    }
    let asked = request.spec.policies.iter();
    let message = asked.map(|asked| changed(asked, &find(asked))).find_map(|m| m)?;
    status.phase = Some(Phase::Superseded);
    let (type_, reason) = (Phase::Superseded.condition(), "PolicyChanged");
    enter(&mut status, request, type_, reason, message, now);
    Some(status)
}

fn changed(asked: &PolicyReference, found: &Found) -> Option<String> {
    let policy = format!("policy {}/{}", asked.namespace, asked.name);
    match found {
        Found::Unknown => None,
        Found::Gone => Some(format!("{policy} is no longer in force")),
        Found::At { uid, .. } if *uid != asked.uid => {
            Some(format!("{policy} was replaced by another one of that name"))
        }
        Found::At { generation, .. } if *generation != asked.generation => {
            Some(format!("{policy} changed since it asked for the approval"))
        }
        Found::At { .. } => None,
    }
}
