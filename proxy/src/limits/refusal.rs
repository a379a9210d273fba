//! What an agent is told of a limit that is reached.

use std::time::Duration;

use turnpike_policy::{PolicySet, caller::Caller, definition::LimitsDef};

use super::{Exceeded, Limit};
use crate::refusal::Refusal;

/// A limit, as policies and people name it.
struct Named {
    reason: &'static str,
    field: &'static str,
    what: &'static str,
    window: Duration,
    value: fn(&LimitsDef) -> Option<u64>,
}

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(60 * 60);

fn named(limit: Limit) -> Option<Named> {
    Some(match limit {
        Limit::Calls => Named {
            reason: "LIMIT_CALLS",
            field: "callsPerMinute",
            what: "calls in any 60 seconds",
            window: MINUTE,
            value: |l| l.calls_per_minute.map(u64::from),
        },
        Limit::Changes => Named {
            reason: "LIMIT_CHANGES",
            field: "changesPerHour",
            what: "calls that change something in any 60 minutes",
            window: HOUR,
            value: |l| l.changes_per_hour.map(u64::from),
        },
        Limit::Held => Named {
            reason: "LIMIT_HELD",
            field: "heldCalls",
            what: "calls that wait for an approval at a time",
            window: MINUTE,
            value: |l| l.held_calls.map(u64::from),
        },
        Limit::Bytes => Named {
            reason: "LIMIT_BYTES",
            field: "bytesOutPerHour",
            what: "bytes of requests in any 60 minutes",
            window: HOUR,
            value: |l| l.bytes_out_per_hour,
        },
        Limit::Agents => return None,
    })
}

impl Exceeded {
    /// The refusal, with what to do next.
    pub(crate) fn refusal(&self, set: &PolicySet, caller: &Caller, replicas: u32) -> Refusal {
        let Some(named) = named(self.limit) else {
            let message = format!(
                "Turnpike refuses the call for now: it is under a limit, and {} agents are counted already. Make it \
                 again later.",
                self.most
            );
            return Refusal::exhausted("LIMIT_AGENTS", message, seconds(self.after.unwrap_or(MINUTE)));
        };
        let policy = set.limited_by(caller, named.value);
        let (policy, value) = match policy {
            Some(policy) => (
                format!("policy {}/{}", policy.namespace, policy.name),
                (named.value)(&policy.limits).unwrap_or(self.most),
            ),
            // It was changed a moment ago.
            None => ("a policy".to_owned(), self.most),
        };
        let part = match replicas {
            0 | 1 => String::new(),
            _ => format!(" ({} of them at each of {replicas} replicas)", self.most),
        };
        let allowed = format!("{policy} allows {} {value} {}{part}", caller.name(), named.what);
        let (message, after) = match self.after {
            Some(after) => {
                let seconds = seconds(after);
                let message = format!(
                    "Turnpike refuses the call for now: {allowed}, and there is no room for this one. Make it again in \
                     {seconds} s."
                );
                (message, seconds)
            }
            None => (
                format!("Turnpike refuses the call: {allowed}, and this one alone is more than that."),
                seconds(named.window),
            ),
        };
        Refusal::exhausted(named.reason, message, after)
            .with("policy", policy.trim_start_matches("policy ").to_owned())
            .with("limit", named.field)
            .with("allowed", value.to_string())
    }
}

/// Whole seconds, rounded up: a call that is made again after them finds room.
fn seconds(after: Duration) -> u32 {
    let whole = after
        .as_secs()
        .saturating_add(u64::from(after.subsec_nanos() > 0));
    u32::try_from(whole).unwrap_or(u32::MAX).max(1)
}
