//! When a request that is decided for good may be removed.

use std::time::Duration;

use jiff::Timestamp;
use turnpike_crds::{ApprovalRequest, Phase};

/// A request is kept at least this long after its last change: what became of it goes into the audit log on its own
/// way, which takes a moment.
pub const LEAST_KEPT: Duration = Duration::from_secs(60 * 60);

/// When nothing needs a request any more that is kept for `keep` after its last change; `None` while something can
/// come of it. A denial answers the same call made again until the request's time is over.
pub fn removable_at(request: &ApprovalRequest, keep: Duration) -> Option<Timestamp> {
    let status = request.status.as_ref()?;
    let ends = request.spec.expires_at.0;
    let spent = status.consumption.as_ref().map(|c| c.at.0);
    let changed = status.conditions.iter().map(|c| c.last_transition_time.0);
    let last = changed.chain(spent).max().unwrap_or(ends);
    let from = match status.phase? {
        Phase::Pending | Phase::Approved => return None,
        Phase::Denied => last.max(ends),
        Phase::Expired | Phase::Consumed | Phase::Superseded => last,
    };
    // A time beyond the calendar is never.
    from.checked_add(keep.max(LEAST_KEPT)).ok()
}
