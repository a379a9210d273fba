//! Tries ways through a proxy and says which of them a lax Google would execute as what the policy forbids.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use futures::{StreamExt as _, TryStreamExt as _};

use super::{
    Attempt, How, Lanes,
    ways::{Handed, Speaker},
};
use crate::{
    lenient::{
        Message, Table,
        reading::{Execution, executions},
    },
    turnpike::standalone::client::Agent,
};

/// Jobs at once: enough that those who wait for a quiet connection keep nobody waiting.
const AT_ONCE: usize = 96;
/// Attempts with connections of their own in one job.
const ALONE: usize = 6;

/// What arrived that a lax Google would take for a forbidden method.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reached {
    /// The method.
    pub id: String,
    /// What arrived, and the path that it was found by.
    pub how: String,
}

/// Tries everything that `attempts` makes of the cases, and gives how much that was.
///
/// # Errors
/// The proxy leaves one without an answer.
pub async fn attempt_all<C>(
    agent: &Agent,
    cases: &[C],
    handed: &Handed,
    attempts: impl Fn(&C, Speaker<'_>) -> Vec<Attempt>,
) -> Result<usize> {
    let speaker = Speaker {
        token: agent.token(),
        handed,
    };
    let jobs = cases.iter().flat_map(|case| {
        let all = attempts(case, speaker);
        let shares = |a: &Attempt| matches!(a.how, How::Request { .. } | How::Stream { .. });
        let (shared, mut alone): (Vec<_>, Vec<_>) = all.into_iter().partition(shares);
        let mut jobs = vec![shared];
        while !alone.is_empty() {
            jobs.push(alone.split_off(alone.len().saturating_sub(ALONE)));
        }
        jobs
    });
    let tried = futures::stream::iter(jobs).map(|job| async move {
        let mut lanes = Lanes::new(agent.clone());
        for attempt in &job {
            lanes.attempt(attempt).await?;
        }
        Ok::<_, anyhow::Error>(job.len())
    });
    tried
        .buffer_unordered(AT_ONCE)
        .try_fold(0, async |sum, n| Ok(sum + n))
        .await
}

/// What of all that arrived somebody would execute as something that is forbidden.
#[must_use]
pub fn reached(
    table: &Table,
    messages: &[Message],
    is_forbidden: impl Fn(&Execution) -> bool,
) -> BTreeSet<Reached> {
    // Many are alike; each is looked at once.
    let mut distinct: BTreeMap<String, &Message> = BTreeMap::new();
    for message in messages {
        distinct.insert(shown(message), message);
    }
    let mut found = BTreeSet::new();
    for message in distinct.values() {
        for execution in executions(table, message).into_iter().filter(&is_forbidden) {
            found.insert(Reached {
                how: format!("/{} in {}", execution.path, shown(message)),
                id: execution.id,
            });
        }
    }
    found
}

/// A message as text, without its credential.
fn shown(message: &Message) -> String {
    let (verb, target, hidden) = (&message.verb, &message.target, message.hidden);
    let fields: Vec<String> = message
        .fields
        .iter()
        .filter(|(name, _)| name != "authorization")
        .map(|(name, value)| format!("{name}: {value}"))
        .collect();
    let body = String::from_utf8_lossy(&message.body);
    format!("{verb} {target} {fields:?} hidden: {hidden} {body:?}")
}
