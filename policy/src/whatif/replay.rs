//! Recorded calls, decided again.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use rustc_hash::FxHashMap;
use serde::Serialize;

use super::{
    assume::{Answer, Asked, Difference, RuleName, Side, TooManyConditions, compare},
    recorded::{Known, Recorded, RecordedAgent, concerning},
};
use crate::{
    call::Transport,
    request::{Form, RequestFacts},
    set::PolicySet,
};

/// As many resources are named for a change.
const MOST_SAMPLES: usize = 3;

/// Recorded calls that are decided in another way, all in the same one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ReplayChange {
    /// Whose calls.
    pub agent: String,
    /// The method.
    pub method: String,
    /// What happens on the one side.
    pub from: Answer,
    /// What happens on the other.
    pub to: Answer,
    /// Under which conditions, where the trail does not tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub when: Option<String>,
    /// How many calls.
    pub calls: u64,
    /// When the first of them was.
    pub first: Timestamp,
    /// When the last of them was.
    pub last: Timestamp,
    /// Some of their resources.
    pub resources: Vec<String>,
}

/// What two policy sets do with recorded calls.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Replay {
    /// How many calls were decided on both sides.
    pub calls: u64,
    /// How many were left out: nobody knows who made them, or what they are.
    pub left_out: u64,
    /// Calls that are decided otherwise.
    pub changes: Vec<ReplayChange>,
    /// How many calls could not be decided, because too many conditions decide them together.
    #[serde(skip_serializing_if = "is_zero")]
    pub undecided: u64,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde wants it so")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// Decides recorded calls by two sets.
pub fn replay(old: &PolicySet, new: &PolicySet, calls: &[Recorded]) -> Replay {
    let mut sides: FxHashMap<&RecordedAgent, (Side, Side, Known)> = FxHashMap::default();
    let mut tally = Tally::default();
    let mut replay = Replay::default();
    for recorded in calls {
        let (Some(agent), false) = (&recorded.agent, recorded.calls.is_empty()) else {
            replay.left_out += recorded.count();
            continue;
        };
        let (old, new, known) = sides.entry(agent).or_insert_with(|| {
            let old = concerning(old.policies().iter(), agent);
            let new = concerning(new.policies().iter(), agent);
            let known = Known::of(old.iter().chain(&new).flat_map(|p| &p.rules), agent);
            let side = |policies| Side::new(policies, |text| !known.has(text));
            (side(old), side(new), known)
        });
        for times in recorded.moments(known.reads_now) {
            match recorded.compare(old, new, times) {
                Ok(found) => {
                    replay.calls += times.len() as u64;
                    found.into_iter().for_each(|d| tally.add(recorded, d, times));
                }
                Err(TooManyConditions(_)) => replay.undecided += times.len() as u64,
            }
        }
    }
    replay.changes = tally.changes();
    replay
}

impl Recorded {
    /// The times that are decided together: all, where nothing looks at the time.
    pub(super) fn moments(&self, reads_now: bool) -> std::slice::Chunks<'_, Timestamp> {
        let together = if reads_now { 1 } else { self.times.len().max(1) };
        self.times.chunks(together)
    }

    /// The form that the calls had, as far as a trail tells.
    fn form(&self) -> Form {
        match self.calls.iter().any(|call| call.transport == Transport::Grpc) {
            true => Form::Other,
            false => Form::Rest,
        }
    }

    /// What two sides do otherwise with the calls of some times.
    pub(super) fn compare(
        &self,
        old: &mut Side,
        new: &mut Side,
        times: &[Timestamp],
    ) -> Result<Vec<Difference>, TooManyConditions> {
        let (Some(caller), Some(now)) = (self.caller(), times.last()) else {
            return Ok(Vec::new());
        };
        let asked = Asked {
            caller: &caller,
            calls: &self.calls,
            request: RequestFacts {
                form: self.form(),
                verb: &self.verb,
                host: &self.host,
                ..RequestFacts::default()
            },
            now: *now,
        };
        compare(old, new, &asked)
    }
}

/// What makes changes one.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    agent: String,
    method: String,
    from: Answer,
    to: Answer,
    when: Option<String>,
}

#[derive(Debug)]
struct Tallied {
    from: BTreeSet<RuleName>,
    to: BTreeSet<RuleName>,
    calls: u64,
    first: Timestamp,
    last: Timestamp,
    resources: BTreeSet<String>,
}

/// Counts calls by what is different in them.
#[derive(Debug, Default)]
pub(super) struct Tally(BTreeMap<Key, Tallied>);

impl Tally {
    pub(super) fn add(&mut self, recorded: &Recorded, difference: Difference, times: &[Timestamp]) {
        let (Some(agent), Some(first), Some(last)) = (&recorded.agent, times.first(), times.last()) else {
            return;
        };
        let key = Key {
            agent: agent.name(),
            method: recorded.operation.clone(),
            from: difference.from.without_rules(),
            to: difference.to.without_rules(),
            when: difference.when,
        };
        let tallied = self.0.entry(key).or_insert_with(|| Tallied {
            from: BTreeSet::new(),
            to: BTreeSet::new(),
            calls: 0,
            first: *first,
            last: *last,
            resources: BTreeSet::new(),
        });
        tallied.from.extend(difference.from.rules);
        tallied.to.extend(difference.to.rules);
        tallied.calls += times.len() as u64;
        tallied.first = tallied.first.min(*first);
        tallied.last = tallied.last.max(*last);
        for name in recorded.resources() {
            tallied.resources.insert(name.to_owned());
            // The first ones in order, so that the same trail gives the same names.
            if tallied.resources.len() > MOST_SAMPLES {
                tallied.resources.pop_last();
            }
        }
    }

    pub(super) fn changes(self) -> Vec<ReplayChange> {
        self.0
            .into_iter()
            .map(|(key, tallied)| ReplayChange {
                agent: key.agent,
                method: key.method,
                from: key.from.by(tallied.from),
                to: key.to.by(tallied.to),
                when: key.when,
                calls: tallied.calls,
                first: tallied.first,
                last: tallied.last,
                resources: tallied.resources.into_iter().collect(),
            })
            .collect()
    }
}
