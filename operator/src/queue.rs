//! A work queue of keys: each key is worked on by one worker at a time, added twice it is done once, and
//! what failed comes back later and later.
//!
//! It holds keys only, never objects: a worker reads the newest state from the caches. Invariants:
//! 1. A key that is added while a worker has it is handed out again afterwards.
//! 2. A key waits for the earliest of all times it was added for.
//! 3. Between two turns of a key there is the queue's spacing, so that a burst of changes, its own writes
//!    among them, is one turn. A key that had its rest is handed out at once.
//! 4. Nothing is lost: every key added is handed out after its time, for as long as somebody asks.

use std::{
    collections::{BTreeSet, HashMap},
    hash::Hash,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::Notify;

/// First wait after a failure; it doubles with each further one.
const FIRST_RETRY: Duration = Duration::from_millis(10);
/// Longest wait after a failure.
const LAST_RETRY: Duration = Duration::from_secs(30);

/// Keys that rested are forgotten when there are this many: keys come and go, the map must not only grow.
const RESTING_SWEEP: usize = 1024;

/// How a worker leaves a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Finish {
    /// Nothing more to do until it is added again.
    Done,
    /// To be looked at again after this time.
    After(Duration),
    /// It failed and is to be tried again.
    Failed,
}

/// The queue.
#[derive(Debug)]
pub(crate) struct WorkQueue<K> {
    state: Mutex<State<K>>,
    changed: Notify,
}

impl<K: Clone + Ord + Hash> WorkQueue<K> {
    /// An empty queue.
    pub(crate) fn new(spacing: Duration) -> Self {
        Self {
            state: Mutex::new(State::new(spacing)),
            changed: Notify::new(),
        }
    }

    /// Asks for `key` to be worked on now.
    pub(crate) fn add(&self, key: K) {
        self.lock().add(key, Instant::now());
        self.changed.notify_one();
    }

    /// Waits for a key whose time has come. Whoever takes it must give it back by [`finish`](Self::finish).
    pub(crate) async fn take(&self) -> K {
        loop {
            let wait = match self.lock().pop(Instant::now()) {
                Pop::Ready { key, more } => {
                    if more {
                        // One notification wakes one worker: pass it on while there is work.
                        self.changed.notify_one();
                    }
                    return key;
                }
                Pop::Wait(until) => until,
            };
            match wait {
                Some(until) => {
                    tokio::select! {
                        () = tokio::time::sleep_until(until.into()) => {}
                        () = self.changed.notified() => {}
                    }
                }
                None => self.changed.notified().await,
            }
        }
    }

    /// Gives a key back.
    pub(crate) fn finish(&self, key: K, finish: Finish) {
        self.lock().finish(key, finish, Instant::now());
        self.changed.notify_one();
    }

    /// Keys that wait, whether their time has come or not.
    pub(crate) fn len(&self) -> usize {
        self.lock().waiting.len()
    }

    fn lock(&self) -> MutexGuard<'_, State<K>> {
        // No code under this lock can leave the state half changed, so a poisoned one is as good as any.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The queue without its waiting: time is an input.
#[derive(Debug)]
struct State<K> {
    /// Keys by when they are due.
    schedule: BTreeSet<(Instant, K)>,
    /// The same, by key.
    waiting: HashMap<K, Instant>,
    /// Keys that a worker has, with the time they were added for meanwhile.
    active: HashMap<K, Option<Instant>>,
    /// Failures in a row.
    failures: HashMap<K, u32>,
    /// Least time between two turns of a key.
    spacing: Duration,
    /// Until when keys rest that had a turn a short while ago. Without spacing it stays empty.
    resting: HashMap<K, Instant>,
}

enum Pop<K> {
    Ready { key: K, more: bool },
    Wait(Option<Instant>),
}

impl<K: Clone + Ord + Hash> State<K> {
    fn new(spacing: Duration) -> Self {
        Self {
            schedule: BTreeSet::new(),
            waiting: HashMap::new(),
            active: HashMap::new(),
            failures: HashMap::new(),
            spacing,
            resting: HashMap::new(),
        }
    }

    fn add(&mut self, key: K, due: Instant) {
        if let Some(again) = self.active.get_mut(&key) {
            *again = Some(again.map_or(due, |at| at.min(due)));
            return;
        }
        let due = self.resting.get(&key).map_or(due, |until| due.max(*until));
        if let Some(at) = self.waiting.get(&key).copied() {
            if at <= due {
                return;
            }
            self.schedule.remove(&(at, key.clone()));
        }
        self.waiting.insert(key.clone(), due);
        self.schedule.insert((due, key));
    }

    fn pop(&mut self, now: Instant) -> Pop<K> {
        match self.schedule.first() {
            None => Pop::Wait(None),
            Some((due, _)) if *due > now => Pop::Wait(Some(*due)),
            Some(_) => {
                let Some((_, key)) = self.schedule.pop_first() else {
                    return Pop::Wait(None);
                };
                self.waiting.remove(&key);
                self.resting.remove(&key);
                self.active.insert(key.clone(), None);
                Pop::Ready {
                    key,
                    more: !self.schedule.is_empty(),
                }
            }
        }
    }

    fn finish(&mut self, key: K, finish: Finish, now: Instant) {
        let again = self.active.remove(&key).flatten();
        if !self.spacing.is_zero() {
            if self.resting.len() >= RESTING_SWEEP {
                self.resting.retain(|_, until| *until > now);
            }
            self.resting.insert(key.clone(), now + self.spacing);
        }
        let later = match finish {
            Finish::Done => {
                self.failures.remove(&key);
                None
            }
            Finish::After(wait) => {
                self.failures.remove(&key);
                now.checked_add(wait)
            }
            Finish::Failed => {
                let failures = self.failures.entry(key.clone()).or_insert(0);
                *failures = failures.saturating_add(1);
                let wait = FIRST_RETRY
                    .saturating_mul(1 << (*failures - 1).min(16))
                    .min(LAST_RETRY);
                Some(now + wait)
            }
        };
        if let Some(due) = [again, later].into_iter().flatten().min() {
            self.add(key, due);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pops everything that is due after `ms`, or says when something will be.
    fn pop(state: &mut State<&'static str>, start: Instant, ms: u64) -> Result<&'static str, Option<u64>> {
        match state.pop(start + Duration::from_millis(ms)) {
            Pop::Ready { key, .. } => Ok(key),
            Pop::Wait(until) => {
                Err(until.map(|u| u.duration_since(start).as_millis().try_into().unwrap_or(u64::MAX)))
            }
        }
    }

    #[test]
    fn a_key_is_handed_out_once_at_its_earliest_time() {
        let (mut s, t) = (State::new(Duration::ZERO), Instant::now());
        s.add("a", t + Duration::from_millis(50));
        s.add("a", t + Duration::from_millis(20));
        s.add("a", t + Duration::from_millis(90));
        s.add("b", t + Duration::from_millis(30));
        assert_eq!(pop(&mut s, t, 19), Err(Some(20)));
        assert_eq!(pop(&mut s, t, 20), Ok("a"));
        assert_eq!(pop(&mut s, t, 25), Err(Some(30)));
        assert_eq!(pop(&mut s, t, 100), Ok("b"));
        assert_eq!(pop(&mut s, t, 100), Err(None));
    }

    #[test]
    fn a_key_added_while_worked_on_comes_back_afterwards() {
        let (mut s, t) = (State::new(Duration::ZERO), Instant::now());
        s.add("a", t);
        assert_eq!(pop(&mut s, t, 0), Ok("a"));
        s.add("a", t);
        assert_eq!(pop(&mut s, t, 0), Err(None), "one worker at a time");
        s.finish("a", Finish::After(Duration::from_millis(500)), t);
        assert_eq!(pop(&mut s, t, 0), Ok("a"), "the earlier of both times counts");
        s.finish("a", Finish::Done, t);
        assert_eq!(pop(&mut s, t, 1000), Err(None));
    }

    #[test]
    fn failures_wait_longer_each_time_and_success_forgets_them() {
        let (mut s, t) = (State::new(Duration::ZERO), Instant::now());
        let mut waits = Vec::new();
        s.add("a", t);
        for _ in 0..15 {
            assert_eq!(pop(&mut s, t, 1_000_000), Ok("a"));
            s.finish("a", Finish::Failed, t);
            waits.push(pop(&mut s, t, 0).unwrap_err().unwrap());
        }
        assert_eq!(waits[..5], [10, 20, 40, 80, 160]);
        assert_eq!(waits[12..], [30_000, 30_000, 30_000]);
        assert_eq!(pop(&mut s, t, 1_000_000), Ok("a"));
        s.finish("a", Finish::Done, t);
        s.add("a", t);
        assert_eq!(pop(&mut s, t, 0), Ok("a"));
        s.finish("a", Finish::Failed, t);
        assert_eq!(pop(&mut s, t, 0), Err(Some(10)));
    }

    #[test]
    fn a_burst_is_one_turn_and_the_first_is_at_once() {
        let (mut s, t) = (State::new(Duration::from_millis(100)), Instant::now());
        let ms = |ms| t + Duration::from_millis(ms);
        s.add("a", t);
        assert_eq!(pop(&mut s, t, 0), Ok("a"));
        s.finish("a", Finish::Done, ms(5));
        for at in [6, 7, 8] {
            s.add("a", ms(at));
        }
        assert_eq!(pop(&mut s, t, 8), Err(Some(105)));
        assert_eq!(pop(&mut s, t, 105), Ok("a"));
        s.add("a", ms(106));
        s.finish("a", Finish::Failed, ms(110));
        assert_eq!(pop(&mut s, t, 110), Err(Some(210)));
        assert_eq!(pop(&mut s, t, 210), Ok("a"));
        s.finish("a", Finish::Done, ms(210));
        s.add("a", ms(1000));
        assert_eq!(pop(&mut s, t, 1000), Ok("a"));
    }

    #[tokio::test]
    async fn many_workers_drain_what_one_adds() {
        let queue = std::sync::Arc::new(WorkQueue::new(Duration::ZERO));
        let (done, mut results) = tokio::sync::mpsc::unbounded_channel();
        let mut workers = tokio::task::JoinSet::new();
        for _ in 0..4 {
            let (queue, done) = (queue.clone(), done.clone());
            workers.spawn(async move {
                loop {
                    let key: u32 = queue.take().await;
                    queue.finish(key, Finish::Done);
                    if done.send(key).is_err() {
                        return;
                    }
                }
            });
        }
        for key in 0..1000 {
            queue.add(key);
        }
        let mut seen = BTreeSet::new();
        while seen.len() < 1000 {
            let key = tokio::time::timeout(Duration::from_secs(10), results.recv())
                .await
                .unwrap()
                .unwrap();
            seen.insert(key);
        }
        assert_eq!(seen, (0..1000).collect());
        assert_eq!(queue.len(), 0);
    }
}
