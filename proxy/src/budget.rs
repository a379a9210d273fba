//! Budgets of memory and of disk: how many bytes all agents together may make the proxy keep.
//!
//! A budget is shared, and no agent gets more than half of it, so that one agent alone can't take it from the
//! others. What is taken is given back when the bytes that it was taken for are dropped. A budget counts bytes
//! of bodies, not of what is made of them for a moment while they are parsed.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Semaphores count in this unit, because their permits are 32 bits.
const UNIT: usize = 1024;
/// Agents that take nothing are forgotten when this many are known.
const FORGET_AT: usize = 1024;

/// A number of bytes for all agents.
#[derive(Debug)]
pub struct Budget {
    all: Arc<Semaphore>,
    /// What one agent gets, in units.
    share: usize,
    agents: Mutex<HashMap<String, Arc<Semaphore>>>,
}

impl Budget {
    /// A budget of `total` bytes, of which one agent gets half, or the `largest` body if that is more.
    pub fn new(total: usize, largest: usize) -> Arc<Self> {
        let total = units(total).max(units(largest));
        Arc::new(Self {
            all: Arc::new(Semaphore::new(total)),
            share: (total / 2).max(units(largest)),
            agents: Mutex::default(),
        })
    }

    /// What an agent takes from.
    pub fn account(&self, agent: &str) -> Account {
        // Nothing that holds the lock can panic half-way through a change.
        let mut agents = self.agents.lock().unwrap_or_else(PoisonError::into_inner);
        if agents.len() >= FORGET_AT {
            // Whoever took something, or waits for it, holds on to his semaphore.
            agents.retain(|_, own| Arc::strong_count(own) > 1);
        }
        let own = agents
            .entry(agent.to_owned())
            .or_insert_with(|| Arc::new(Semaphore::new(self.share)));
        Account {
            all: self.all.clone(),
            own: own.clone(),
        }
    }
}

/// One agent's part of a budget.
#[derive(Debug, Clone)]
pub struct Account {
    all: Arc<Semaphore>,
    own: Arc<Semaphore>,
}

impl Account {
    /// Takes bytes that are free now.
    pub fn try_take(&self, bytes: usize) -> Option<Taken> {
        self.try_grow(0, bytes)
    }

    /// Takes what is free now and what something of `before` bytes needs to have `after`: however many steps it grows
    /// in, it takes no more than at once.
    pub fn try_grow(&self, before: usize, after: usize) -> Option<Taken> {
        let count = u32::try_from(units(after).saturating_sub(units(before))).ok()?;
        let own = self.own.clone().try_acquire_many_owned(count).ok()?;
        let all = self.all.clone().try_acquire_many_owned(count).ok()?;
        Some(Taken { all, own })
    }

    /// Takes bytes, and waits until they are free, up to the given time.
    pub async fn take(&self, bytes: usize, within: Duration) -> Option<Taken> {
        let count = u32::try_from(units(bytes)).ok()?;
        let taking = async {
            let own = self.own.clone().acquire_many_owned(count).await.ok()?;
            let all = self.all.clone().acquire_many_owned(count).await.ok()?;
            Some(Taken { all, own })
        };
        tokio::time::timeout(within, taking).await.ok().flatten()
    }
}

/// Bytes that were taken; dropping it gives them back.
#[derive(Debug)]
pub struct Taken {
    all: OwnedSemaphorePermit,
    own: OwnedSemaphorePermit,
}

impl Taken {
    /// Makes one of two that were taken from the same account.
    pub fn join(&mut self, more: Self) {
        self.all.merge(more.all);
        self.own.merge(more.own);
    }

    /// Keeps what was taken for as long as these bytes live.
    pub fn keep_with(self, bytes: Vec<u8>) -> Bytes {
        Bytes::from_owner(Kept { bytes, _taken: self })
    }
}

struct Kept {
    bytes: Vec<u8>,
    _taken: Taken,
}

impl AsRef<[u8]> for Kept {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

fn units(bytes: usize) -> usize {
    bytes.div_ceil(UNIT)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIB: usize = 1024;
    const NOW: Duration = Duration::ZERO;
    const SOON: Duration = Duration::from_secs(10);

    #[tokio::test]
    async fn an_agent_gets_half_and_all_of_them_the_whole() {
        let budget = Budget::new(8 * KIB, KIB);
        let [a, b, c] = ["a", "b", "c"].map(|name| budget.account(name));
        let mut first = a.try_take(KIB + 1).expect("less than half");
        first.join(a.try_take(2 * KIB).expect("half"));
        assert!(
            a.try_take(1).is_none() && a.take(1, NOW).await.is_none(),
            "more than half"
        );
        // It is the agent's, whichever of its calls asks.
        assert!(budget.account("a").try_take(1).is_none());
        let second = b.try_take(3 * KIB).expect("its half");
        assert!(c.try_take(2 * KIB).is_none(), "more than all");
        let bytes = first.keep_with(vec![7; 5]);
        let part = bytes.slice(1..3);
        assert_eq!(bytes, [7; 5].as_slice());
        drop(bytes);
        assert!(c.try_take(2 * KIB).is_none(), "a part of the bytes lives");
        // Who waits gets it when it is given back.
        let (taken, ()) = tokio::join!(c.take(4 * KIB, SOON), async { drop(part) });
        assert!(taken.is_some());
        drop((taken, second));
        assert!(a.try_take(4 * KIB).is_some());
    }

    #[test]
    fn what_grows_takes_as_much_as_at_once() {
        let budget = Budget::new(4 * KIB, 4 * KIB);
        let account = budget.account("a");
        let mut taken = account.try_take(1).expect("room");
        for size in 1..4 * KIB {
            taken.join(account.try_grow(size, size + 1).expect("room to the end"));
        }
        assert!(account.try_grow(4 * KIB, 4 * KIB + 1).is_none());
        drop(taken);
        assert!(account.try_take(4 * KIB).is_some());
    }

    #[test]
    fn the_largest_body_fits_whatever_the_half_is() {
        let budget = Budget::new(3 * KIB, 2 * KIB);
        assert!(budget.account("a").try_take(2 * KIB).is_some());
        for i in 0..2 * FORGET_AT {
            budget.account(&i.to_string());
        }
        let known = budget.agents.lock().unwrap().len();
        assert!(known <= FORGET_AT, "{known} agents that take nothing are known");
    }
}
