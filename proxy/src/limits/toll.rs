//! What one call takes of its agent's limits, from its decision to the last byte of its body.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use turnpike_policy::{call::Call, definition::LimitsDef};

use super::{
    Exceeded, Limit,
    account::{Account, lock, named},
    nanos,
    window::Full,
};

/// How much a request is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Load {
    /// Calls.
    pub calls: u64,
    /// Calls that may change something.
    pub changes: u64,
}

impl Load {
    /// A request that is one call, whatever it can be taken for.
    pub fn one(readings: &[Call]) -> Self {
        Self::each(std::iter::once(readings))
    }

    /// A request that makes several calls, each with all that it can be taken for.
    pub fn each<'a>(calls: impl Iterator<Item = &'a [Call]>) -> Self {
        calls.fold(Self { calls: 0, changes: 0 }, |load, readings| Self {
            calls: load.calls + 1,
            changes: load.changes + u64::from(!readings.iter().all(|c| c.traits.only_reads())),
        })
    }
}

/// One call's way through its agent's limits; without limits by default. Dropping it gives back what was promised
/// and not used.
#[derive(Debug, Default)]
pub struct Toll {
    entry: Option<Entry>,
}

#[derive(Debug)]
struct Entry {
    account: Arc<Mutex<Account>>,
    limits: LimitsDef,
    load: Load,
    began: Instant,
    /// Until when at most the call is held.
    held: Option<u64>,
    /// Bytes that are promised and have not passed.
    promised: u64,
}

impl Toll {
    pub(super) fn new(account: Arc<Mutex<Account>>, limits: LimitsDef, load: Load, began: Instant) -> Self {
        Self {
            entry: Some(Entry {
                account,
                limits,
                load,
                began,
                held: None,
                promised: 0,
            }),
        }
    }

    /// Counts a call that policies let pass.
    ///
    /// # Errors
    /// [`Exceeded`]; then nothing is counted.
    pub fn pass(&mut self, now: Instant) -> Result<(), Exceeded> {
        let Some(entry) = &mut self.entry else {
            return Ok(());
        };
        let now = entry.at(now);
        let mut account = lock(&entry.account);
        entry.check_calls(&mut account, now)?;
        entry.check_changes(&mut account, now)?;
        entry.count_calls(&mut account, now);
        entry.count_changes(&mut account, now);
        Ok(())
    }

    /// Counts a call that begins to be held, for so long at most.
    ///
    /// # Errors
    /// [`Exceeded`]; then nothing is counted.
    pub fn hold(&mut self, at_most: Duration, now: Instant) -> Result<(), Exceeded> {
        let Some(entry) = &mut self.entry else {
            return Ok(());
        };
        let now = entry.at(now);
        let mut account = lock(&entry.account);
        entry.check_calls(&mut account, now)?;
        entry.check_changes(&mut account, now)?;
        if let Some(limit) = entry.limits.held_calls {
            account.hold_room(now, u64::from(limit))?;
            let until = now.saturating_add(u64::try_from(at_most.as_nanos()).unwrap_or(u64::MAX));
            account.held.push(until);
            entry.held = Some(until);
        }
        entry.count_calls(&mut account, now);
        Ok(())
    }

    /// Counts the change of a call that was held and is approved; it is held no longer.
    ///
    /// # Errors
    /// [`Exceeded`]; then nothing is counted.
    pub fn approved(&mut self, now: Instant) -> Result<(), Exceeded> {
        let Some(entry) = &mut self.entry else {
            return Ok(());
        };
        let now = entry.at(now);
        let mut account = lock(&entry.account);
        entry.check_changes(&mut account, now)?;
        entry.count_changes(&mut account, now);
        if let Some(until) = entry.held.take() {
            account.release(until);
        }
        Ok(())
    }

    /// Promises that the body has at least this many bytes in all.
    ///
    /// # Errors
    /// [`Exceeded`]; then nothing more is promised.
    pub fn weigh(&mut self, bytes: u64, now: Instant) -> Result<(), Exceeded> {
        let Some(entry) = &mut self.entry else {
            return Ok(());
        };
        let Some(limit) = entry.limits.bytes_out_per_hour else {
            return Ok(());
        };
        let now = entry.at(now);
        let mut account = lock(&entry.account);
        let (more, promised) = (bytes.saturating_sub(entry.promised), account.promised);
        let room = match bytes <= limit {
            true => account.bytes.room(now, more, promised, limit),
            false => Err(Full::Always),
        };
        room.map_err(named(Limit::Bytes, limit))?;
        account.promised = promised.saturating_add(more);
        entry.promised = entry.promised.saturating_add(more);
        Ok(())
    }

    /// Whether the bytes of the body have to be counted.
    pub fn counts_bytes(&self) -> bool {
        self.entry
            .as_ref()
            .is_some_and(|e| e.limits.bytes_out_per_hour.is_some())
    }

    /// Counts bytes that are about to go upstream.
    ///
    /// # Errors
    /// [`Exceeded`]; then they may not go, and nothing is counted.
    pub fn bytes(&mut self, bytes: u64, now: Instant) -> Result<(), Exceeded> {
        let Some(entry) = &mut self.entry else {
            return Ok(());
        };
        let Some(limit) = entry.limits.bytes_out_per_hour else {
            return Ok(());
        };
        let now = entry.at(now);
        let mut account = lock(&entry.account);
        let foreseen = bytes.min(entry.promised);
        let promised = account.promised.saturating_sub(foreseen);
        account
            .bytes
            .room(now, bytes, promised, limit)
            .map_err(named(Limit::Bytes, limit))?;
        account.bytes.add(now, bytes, limit);
        account.promised = promised;
        entry.promised -= foreseen;
        Ok(())
    }
}

impl Entry {
    fn at(&self, now: Instant) -> u64 {
        nanos(self.began, now)
    }

    fn check_calls(&self, account: &mut Account, now: u64) -> Result<(), Exceeded> {
        match self.limits.calls_per_minute.map(u64::from) {
            Some(limit) => account
                .calls
                .room(now, self.load.calls, 0, limit)
                .map_err(named(Limit::Calls, limit)),
            None => Ok(()),
        }
    }

    fn check_changes(&self, account: &mut Account, now: u64) -> Result<(), Exceeded> {
        match self.limits.changes_per_hour.map(u64::from) {
            Some(limit) if self.load.changes > 0 => account
                .changes
                .room(now, self.load.changes, 0, limit)
                .map_err(named(Limit::Changes, limit)),
            _ => Ok(()),
        }
    }

    fn count_calls(&self, account: &mut Account, now: u64) {
        if let Some(limit) = self.limits.calls_per_minute {
            account.calls.add(now, self.load.calls, u64::from(limit));
        }
    }

    fn count_changes(&self, account: &mut Account, now: u64) {
        if let Some(limit) = self.limits.changes_per_hour {
            account.changes.add(now, self.load.changes, u64::from(limit));
        }
    }
}

impl Drop for Toll {
    fn drop(&mut self) {
        let Some(entry) = &mut self.entry else { return };
        if entry.held.is_none() && entry.promised == 0 {
            return;
        }
        let mut account = lock(&entry.account);
        if let Some(until) = entry.held.take() {
            account.release(until);
        }
        account.promised = account.promised.saturating_sub(entry.promised);
    }
}
