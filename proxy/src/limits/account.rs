//! What is counted of one agent.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use super::{
    Exceeded, Limit,
    window::{Full, Window},
};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(60 * 60);

/// One agent's counts. Times are nanoseconds since the ledger began.
#[derive(Debug)]
pub(super) struct Account {
    pub(super) calls: Window,
    pub(super) changes: Window,
    pub(super) bytes: Window,
    /// Bytes that are on their way, and not counted yet.
    pub(super) promised: u64,
    /// Calls that are held, and until when at most.
    pub(super) held: Vec<u64>,
}

impl Default for Account {
    fn default() -> Self {
        Self {
            calls: Window::new(MINUTE),
            changes: Window::new(HOUR),
            bytes: Window::new(HOUR),
            promised: 0,
            held: Vec::new(),
        }
    }
}

impl Account {
    /// Whether anything of it matters still.
    pub(super) fn counts_anything(&mut self, now: u64) -> bool {
        self.promised > 0
            || !self.held.is_empty()
            || [&mut self.calls, &mut self.changes, &mut self.bytes]
                .into_iter()
                .any(|w| w.sum(now) > 0)
    }

    /// Whether one more call may be held.
    pub(super) fn hold_room(&self, now: u64, limit: u64) -> Result<(), Exceeded> {
        if (self.held.len() as u64) < limit {
            return Ok(());
        }
        let after = self
            .held
            .iter()
            .min()
            .map_or(MINUTE, |end| Duration::from_nanos(end.saturating_sub(now)));
        Err(Exceeded {
            limit: Limit::Held,
            most: limit,
            after: (limit > 0).then_some(after),
        })
    }

    /// One call that was held until this time at most is held no longer.
    pub(super) fn release(&mut self, until: u64) {
        if let Some(at) = self.held.iter().position(|end| *end == until) {
            self.held.swap_remove(at);
        }
    }
}

/// Says which limit a window is full of.
pub(super) fn named(limit: Limit, most: u64) -> impl FnOnce(Full) -> Exceeded {
    move |full| Exceeded {
        limit,
        most,
        after: match full {
            Full::For(after) => Some(after),
            Full::Always => None,
        },
    }
}

pub(super) fn lock(account: &Mutex<Account>) -> MutexGuard<'_, Account> {
    // Counts are right after every step of a change, so a poisoned lock is as good as any.
    account.lock().unwrap_or_else(PoisonError::into_inner)
}
