//! What is kept of all uploads between their parts, by agent and session.
//!
//! An upload is in one hand at a time: parts that come at once could arrive in any order, so what follows on them is
//! unscannable.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use super::{Findings, Scanning, Subject, Why, carry::ScanCarry};

/// How many uploads are remembered, and for how long. What they take of the disk has a budget of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CarryLimits {
    /// Of all agents.
    pub uploads: usize,
    /// Of one agent.
    pub per_agent: usize,
    /// After its last part.
    pub keep: Duration,
}

impl Default for CarryLimits {
    fn default() -> Self {
        Self {
            uploads: 4096,
            per_agent: 64,
            keep: Duration::from_secs(3600),
        }
    }
}

/// An upload: its agent, and what tells it from the agent's others.
pub type Key = (String, String);

/// What is kept of all uploads.
#[derive(Debug, Default)]
pub struct Carries {
    limits: CarryLimits,
    uploads: Mutex<HashMap<Key, Slot>>,
}

#[derive(Debug)]
enum Slot {
    /// Since when.
    Kept(Instant, ScanCarry),
    /// A part of it is under way, and perhaps another one has come since.
    InHand { crossed: bool },
}

impl Carries {
    /// None yet.
    pub fn new(limits: CarryLimits) -> Self {
        Self {
            limits,
            uploads: Mutex::default(),
        }
    }

    /// Takes an upload in hand, for its next part.
    pub fn take(self: &Arc<Self>, key: Key, now: Instant) -> InHand {
        let mut uploads = self.lock();
        self.expire(&mut uploads, now);
        let state = match uploads.get_mut(&key) {
            Some(Slot::InHand { crossed }) => {
                *crossed = true;
                Hand::Crossed
            }
            _ => match uploads.insert(key.clone(), Slot::InHand { crossed: false }) {
                Some(Slot::Kept(_, carry)) => Hand::Before(Some(carry)),
                _ => Hand::Before(None),
            },
        };
        InHand {
            carries: self.clone(),
            key,
            state,
        }
    }

    /// What the content of an upload holds if it ends after so many bytes.
    pub fn ends_now(&self, key: &Key, scanning: &Scanning, subject: &Subject, length: u64) -> Findings {
        let taken = {
            let mut uploads = self.lock();
            match uploads.get(key) {
                // Nothing of it has come, and nothing is to come.
                None if length == 0 => return Findings::default(),
                None => return Findings::only(Why::Lost),
                Some(Slot::InHand { .. }) => return Findings::only(crossed_parts()),
                Some(Slot::Kept(..)) => uploads.insert(key.clone(), Slot::InHand { crossed: false }),
            }
        };
        let Some(Slot::Kept(at, mut carry)) = taken else {
            return Findings::failed();
        };
        let findings = carry.ends_now(scanning, subject, length);
        self.put(key, Some(carry), at);
        findings
    }

    /// Forgets an upload that is complete.
    pub fn forget(&self, key: &Key) {
        let mut uploads = self.lock();
        if matches!(uploads.get(key), Some(Slot::Kept(..))) {
            uploads.remove(key);
        }
    }

    /// How many uploads are kept, and how many bytes of them on disk.
    pub fn kept(&self) -> (usize, u64) {
        let uploads = self.lock();
        let kept = uploads.values().filter_map(|slot| match slot {
            Slot::Kept(_, carry) => Some(carry.on_disk()),
            Slot::InHand { .. } => None,
        });
        kept.fold((0, 0), |(count, bytes), more| (count + 1, bytes + more))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Slot>> {
        // Nothing that holds the lock can panic half-way through a change.
        self.uploads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts an upload back that was in hand.
    fn put(&self, key: &Key, carry: Option<ScanCarry>, now: Instant) {
        let mut uploads = self.lock();
        let crossed = matches!(uploads.remove(key), Some(Slot::InHand { crossed: true }));
        let carry = match (crossed, carry) {
            (true, carry) => {
                let next = carry.map_or(0, |carry| carry.next());
                Some(ScanCarry::gone(next, crossed_parts()))
            }
            (false, carry) => carry,
        };
        let Some(carry) = carry else { return };
        let of_agent = || {
            uploads.iter().filter_map(|(other, slot)| match slot {
                Slot::Kept(at, _) if other.0 == key.0 => Some((*at, other)),
                _ => None,
            })
        };
        if of_agent().count() >= self.limits.per_agent {
            // The agent's own oldest makes room; nobody else's does.
            let oldest = of_agent().min_by_key(|(at, _)| *at).map(|(_, key)| key.clone());
            if let Some(oldest) = oldest {
                uploads.remove(&oldest);
            }
        }
        if uploads.len() < self.limits.uploads {
            uploads.insert(key.clone(), Slot::Kept(now, carry));
        }
    }

    fn expire(&self, uploads: &mut HashMap<Key, Slot>, now: Instant) {
        uploads.retain(|_, slot| match slot {
            Slot::Kept(at, _) => now.saturating_duration_since(*at) < self.limits.keep,
            Slot::InHand { .. } => true,
        });
    }
}

fn crossed_parts() -> Why {
    Why::Ambiguous("upload, whose parts were sent at the same time")
}

/// An upload in hand: back it goes as it was, unless its part is [sent](Self::sent).
#[derive(Debug)]
pub struct InHand {
    carries: Arc<Carries>,
    key: Key,
    state: Hand,
}

#[derive(Debug)]
enum Hand {
    /// What was kept before.
    Before(Option<ScanCarry>),
    /// The search has it, which went on from something or not.
    Searching { known: bool },
    /// What the search gave.
    After(Option<ScanCarry>),
    /// Another part has it.
    Crossed,
    /// It is back.
    Back,
}

impl InHand {
    /// What was kept, for the search of the part.
    pub fn take(&mut self) -> Option<ScanCarry> {
        match std::mem::replace(&mut self.state, Hand::Back) {
            Hand::Before(carry) => {
                let known = carry.is_some();
                self.state = Hand::Searching { known };
                carry
            }
            Hand::Crossed => {
                self.state = Hand::Crossed;
                Some(ScanCarry::gone(0, crossed_parts()))
            }
            other => {
                self.state = other;
                None
            }
        }
    }

    /// What the search of the part gave.
    pub fn searched(&mut self, carry: Option<ScanCarry>) {
        if !matches!(self.state, Hand::Crossed) {
            self.state = Hand::After(carry);
        }
    }

    /// What the upload is.
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// The part goes upstream.
    pub fn sent(mut self) {
        if let Hand::After(carry) = &mut self.state {
            *carry = carry.take().map(ScanCarry::sent);
            self.put_back(true);
        }
    }

    fn put_back(&mut self, sent: bool) {
        let carry = match std::mem::replace(&mut self.state, Hand::Back) {
            Hand::Crossed | Hand::Back => return,
            Hand::Before(carry) => carry,
            // The search was given up, and what it went on from with it.
            Hand::Searching { known } => known.then(|| ScanCarry::gone(0, Why::Lost)),
            Hand::After(carry) if sent => carry,
            Hand::After(carry) => carry.and_then(ScanCarry::unsent),
        };
        self.carries.put(&self.key, carry, Instant::now());
    }
}

impl Drop for InHand {
    fn drop(&mut self) {
        // Whatever was not sent did not happen.
        self.put_back(false);
    }
}
