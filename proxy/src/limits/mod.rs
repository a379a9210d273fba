//! How much each agent may do: calls a minute, changes an hour, calls that are held, bytes of requests.
//!
//! What counts is what policies let pass or hold; what they refuse uses nothing up, and neither does what a
//! limit refuses. So a flood of refused calls takes no memory here. Each call has a [`Toll`]:
//!
//! - A call counts when it is let pass or begins to be held; each request of a batch is one.
//! - A change counts when it may go upstream: a held one that is never approved changed nothing. It is asked for
//!   before anybody is bothered, and again before an approval is spent, which stays good where there is no room.
//! - Bytes of a known length are promised before anything is sent, others are counted as they pass.
//!
//! On one replica all that is exact ([`window`] says how exact). Each of R replicas gives an agent the R-th part
//! of a limit, rounded up: together they let at most R - 1 more pass than the limit, and an agent that comes to
//! one of them alone gets its part alone. Counting begins when a limit is set, and anew with each start.
//!
//! An agent is an identity with its issuer. At most [`AGENTS`] are counted at a time; those with nothing left
//! to count are forgotten, and where all have something, further ones are refused rather than not counted.
//! This module decides no call and reads no clock.

mod account;
mod refusal;
#[cfg(test)]
mod tests;
mod toll;
mod window;

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    num::NonZeroU32,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use turnpike_policy::{
    caller::{Caller, Identity},
    definition::LimitsDef,
};

use account::Account;
pub use toll::{Load, Toll};

/// Agents that are counted at a time.
pub const AGENTS: usize = 64 * 1024;
const SHARDS: usize = 16;
/// While all places are taken, it is looked this often whether some are free again.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// What is limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// Calls in any 60 seconds.
    Calls,
    /// Changes in any 60 minutes.
    Changes,
    /// Calls that are held at a time.
    Held,
    /// Bytes of requests in any 60 minutes.
    Bytes,
    /// Agents that are counted.
    Agents,
}

/// A limit is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exceeded {
    /// Which.
    pub limit: Limit,
    /// What this replica allows the agent.
    pub most: u64,
    /// When there is room again, if nobody else takes it; `None` where there never is, because the call alone is
    /// more than the limit.
    pub after: Option<Duration>,
}

/// Counts what agents do, for as long as it matters.
#[derive(Debug)]
pub struct Ledger {
    began: Instant,
    replicas: AtomicU32,
    hasher: RandomState,
    shards: [Mutex<Shard>; SHARDS],
    agents: usize,
}

#[derive(Debug, Default)]
struct Shard {
    accounts: HashMap<Box<str>, Arc<Mutex<Account>>>,
    /// When all places were found taken.
    full_at: Option<Instant>,
}

impl Default for Ledger {
    fn default() -> Self {
        Self::of(AGENTS)
    }
}

impl Ledger {
    fn of(agents: usize) -> Self {
        Self {
            began: Instant::now(),
            replicas: AtomicU32::new(1),
            hasher: RandomState::new(),
            shards: Default::default(),
            agents,
        }
    }

    /// Between how many replicas limits are divided from now on.
    pub fn divide_between(&self, replicas: NonZeroU32) {
        self.replicas.store(replicas.get(), Ordering::Relaxed);
    }

    /// Between how many replicas limits are divided.
    pub fn replicas(&self) -> u32 {
        self.replicas.load(Ordering::Relaxed)
    }

    /// What a call will take of its agent's limits. Without limits it is free, and nothing is kept of it.
    ///
    /// # Errors
    /// [`Exceeded`] where as many agents as can be are counted already.
    pub fn toll(
        &self,
        caller: &Caller,
        limits: &LimitsDef,
        load: Load,
        now: Instant,
    ) -> Result<Toll, Exceeded> {
        if limits.is_none() {
            return Ok(Toll::default());
        }
        let account = self.account(key(caller, "").into(), now)?;
        Ok(Toll::new(account, self.part(limits), load, self.began))
    }

    /// Counts a call under limits that are only tried: whether they would have let it pass.
    pub fn would_pass(&self, caller: &Caller, limits: &LimitsDef, load: Load, now: Instant) -> bool {
        if limits.is_none() {
            return true;
        }
        // Apart from what counts, because there calls are counted that these limits would have refused.
        let account = self.account(key(caller, "tried").into(), now);
        account.is_ok_and(|account| {
            Toll::new(account, self.part(limits), load, self.began)
                .pass(now)
                .is_ok()
        })
    }

    /// This replica's part of limits.
    fn part(&self, limits: &LimitsDef) -> LimitsDef {
        let replicas = self.replicas().max(1);
        LimitsDef {
            calls_per_minute: limits.calls_per_minute.map(|n| n.div_ceil(replicas)),
            changes_per_hour: limits.changes_per_hour.map(|n| n.div_ceil(replicas)),
            held_calls: limits.held_calls.map(|n| n.div_ceil(replicas)),
            bytes_out_per_hour: limits.bytes_out_per_hour.map(|n| n.div_ceil(u64::from(replicas))),
        }
    }

    fn account(&self, key: Box<str>, now: Instant) -> Result<Arc<Mutex<Account>>, Exceeded> {
        let at = self.hasher.hash_one(&key) as usize % SHARDS;
        let most = (self.agents / SHARDS).max(1);
        // Nothing that holds the lock can panic half-way through a change.
        let mut shard = self.shards[at].lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(account) = shard.accounts.get(&key) {
            return Ok(account.clone());
        }
        if shard.accounts.len() >= most {
            let resting = shard
                .full_at
                .and_then(|at| LOOK_AGAIN.checked_sub(now.saturating_duration_since(at)));
            let resting = resting.filter(|left| !left.is_zero());
            if resting.is_none() {
                let nanos = nanos(self.began, now);
                shard.accounts.retain(|_, account| {
                    // Whoever has a toll under way holds on to his account.
                    Arc::strong_count(account) > 1 || account::lock(account).counts_anything(nanos)
                });
            }
            if shard.accounts.len() >= most {
                if resting.is_none() {
                    shard.full_at = Some(now);
                }
                return Err(Exceeded {
                    limit: Limit::Agents,
                    most: self.agents as u64,
                    after: Some(resting.unwrap_or(LOOK_AGAIN)),
                });
            }
        }
        let account = Arc::<Mutex<Account>>::default();
        shard.accounts.insert(key, account.clone());
        Ok(account)
    }
}

/// Tells agents apart: kind, issuer and name. None of them holds a line break before the name.
fn key(caller: &Caller, what: &str) -> String {
    let kind = match &caller.identity {
        Identity::ServiceAccount { .. } => "account",
        Identity::Oidc { .. } => "oidc",
    };
    format!("{what}\n{kind}\n{}\n{}", caller.issuer, caller.name())
}

fn nanos(began: Instant, now: Instant) -> u64 {
    u64::try_from(now.saturating_duration_since(began).as_nanos()).unwrap_or(u64::MAX)
}
