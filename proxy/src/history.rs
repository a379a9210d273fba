//! What this replica remembers of each agent: how fast it goes, and which methods it has used.
//!
//! The risk score compares a call with its agent's own past ([`Pace`]). The memory is bounded: [`MAX_AGENTS`] agents,
//! the least recently seen of which make room for new ones, and for each an hour of counts by the minute and one bit
//! a method that it used. That is below 3 KiB an agent where it used every method there is, some 300 bytes for the
//! usual dozen, and 30 MB for all at the very most. Names are not kept, only keyed hashes of them.
//!
//! It is this replica's own and gone with its process. So that a fresh replica does not take everything for new, a
//! first use does not count in its first hour; what is used in that time is remembered. A method is known once a call
//! of it was let through ([`History::used`]), not when it was tried: else a call that is held for being new would pass
//! when it is repeated.
//!
//! Time comes in as an argument. Each lock is held for the look at one agent, or, where one has to make room, at the
//! times of its shard's agents.

use std::{
    hash::{BuildHasher as _, RandomState},
    sync::{Mutex, MutexGuard, PoisonError},
};

use jiff::{SignedDuration, Timestamp};
use rustc_hash::FxHashMap;
use turnpike_policy::{
    call::{Call, MethodIndex},
    caller::{Caller, Identity},
    risk::Pace,
};

/// Agents that are remembered.
pub const MAX_AGENTS: usize = 10_000;

/// How long a replica learns before a first use counts.
pub const LEARNING: SignedDuration = SignedDuration::from_hours(1);

const SHARDS: usize = 16;
const MINUTES: usize = 60;

/// The memory of all agents.
#[derive(Debug)]
pub struct History {
    shards: [Mutex<Shard>; SHARDS],
    agents_of_a_shard: usize,
    /// With keys of their own, so that nobody can choose a name that meets another one's.
    hashers: [RandomState; 2],
    started: Timestamp,
}

impl History {
    /// An empty memory of a replica that starts now.
    pub fn new(now: Timestamp) -> Self {
        Self::with_room(now, MAX_AGENTS)
    }

    fn with_room(now: Timestamp, agents: usize) -> Self {
        Self {
            shards: std::array::from_fn(|_| Mutex::default()),
            agents_of_a_shard: (agents / SHARDS).max(1),
            hashers: [RandomState::new(), RandomState::new()],
            started: now,
        }
    }

    /// Counts the calls of one request, and tells how they compare with what the agent did before.
    pub fn note(&self, caller: &Caller, calls: &[Call], now: Timestamp) -> Pace {
        let count = u32::try_from(calls.len()).unwrap_or(u32::MAX).max(1);
        let learnt = now.duration_since(self.started) >= LEARNING;
        self.with(caller, |agent| {
            agent.counts.add(count, now);
            Pace {
                first_use: learnt && !calls.iter().all(|call| agent.methods.has(call.index)),
                last_minute: agent.counts.last_minute(now),
                last_hour: agent.counts.last_hour(),
            }
        })
    }

    /// Remembers that the agent has used these methods: its request was let through.
    pub fn used(&self, caller: &Caller, calls: &[Call]) {
        self.with(caller, |agent| {
            for call in calls {
                agent.methods.put(call.index);
            }
        });
    }

    /// How many agents are remembered.
    pub fn agents(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).agents.len()).sum()
    }

    fn with<T>(&self, caller: &Caller, act: impl FnOnce(&mut Agent) -> T) -> T {
        let key = self.key(caller);
        // The lower bits choose the shard, so that agents spread evenly.
        let [first, ..] = key.to_le_bytes();
        let shard = &self.shards[usize::from(first) % SHARDS];
        act(lock(shard).agent(key, self.agents_of_a_shard))
    }

    fn key(&self, caller: &Caller) -> u128 {
        let who = match &caller.identity {
            Identity::ServiceAccount { namespace, name } => (0, namespace.as_str(), name.as_str()),
            Identity::Oidc { issuer, subject, .. } => (1, issuer.as_str(), subject.as_str()),
        };
        let named = (who, caller.issuer.as_str());
        let [a, b] = &self.hashers;
        u128::from(a.hash_one(named)) << 64 | u128::from(b.hash_one(named))
    }
}

/// Nothing that a panic could leave half done matters more than going on.
fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Debug, Default)]
struct Shard {
    agents: FxHashMap<u128, Agent>,
    /// Counts looks, to tell who was seen last.
    looks: u64,
}

impl Shard {
    fn agent(&mut self, key: u128, room: usize) -> &mut Agent {
        self.looks += 1;
        if self.agents.len() >= room && !self.agents.contains_key(&key) {
            let oldest = self.agents.iter().min_by_key(|(_, agent)| agent.seen);
            if let Some(oldest) = oldest.map(|(key, _)| *key) {
                self.agents.remove(&oldest);
            }
        }
        let agent = self.agents.entry(key).or_default();
        agent.seen = self.looks;
        agent
    }
}

#[derive(Debug, Default)]
struct Agent {
    seen: u64,
    counts: Counts,
    methods: Methods,
}

/// Calls by the minute, for the last hour.
#[derive(Debug)]
struct Counts {
    /// At the number of a minute modulo 60.
    minutes: [u32; MINUTES],
    /// The latest minute there is a count for.
    newest: i64,
}

impl Default for Counts {
    fn default() -> Self {
        Self {
            minutes: [0; MINUTES],
            newest: 0,
        }
    }
}

impl Counts {
    /// A clock that was set back adds to the latest minute.
    fn add(&mut self, count: u32, now: Timestamp) {
        let minute = minute(now);
        let gone = usize::try_from(minute.saturating_sub(self.newest)).unwrap_or(0);
        for back in 0..gone.min(MINUTES) {
            if let Some(stale) = self.at(minute - back as i64) {
                *stale = 0;
            }
        }
        self.newest = self.newest.max(minute);
        if let Some(current) = self.at(self.newest) {
            *current = current.saturating_add(count);
        }
    }

    fn at(&mut self, minute: i64) -> Option<&mut u32> {
        let index = usize::try_from(minute.rem_euclid(MINUTES as i64)).ok()?;
        self.minutes.get_mut(index)
    }

    /// This minute so far, and of the one before as large a part as lies within 60 seconds, as if its calls had come
    /// evenly; rounded up.
    fn last_minute(&mut self, now: Timestamp) -> u32 {
        let second = if minute(now) == self.newest {
            u64::try_from(now.as_second().rem_euclid(60)).unwrap_or(0)
        } else {
            0
        };
        let newest = self.newest;
        let current = self.at(newest).map_or(0, |count| *count);
        let before = self.at(newest - 1).map_or(0, |count| u64::from(*count));
        let part = (before * (60 - second)).div_ceil(60);
        current.saturating_add(u32::try_from(part).unwrap_or(u32::MAX))
    }

    fn last_hour(&self) -> u32 {
        self.minutes
            .iter()
            .fold(0, |sum, count| sum.saturating_add(*count))
    }
}

fn minute(time: Timestamp) -> i64 {
    time.as_second().div_euclid(60)
}

/// A set of methods: one bit each, in pages of 512 that exist where a bit is set. Numbers of methods go by their
/// ids, so those of one API share a page or two.
#[derive(Debug, Default)]
struct Methods {
    /// In order of their numbers.
    pages: Vec<(u32, [u64; 8])>,
}

impl Methods {
    fn has(&self, index: MethodIndex) -> bool {
        let (page, word, bit) = place(index);
        self.pages
            .binary_search_by_key(&page, |(number, _)| *number)
            .ok()
            .and_then(|at| self.pages.get(at)?.1.get(word))
            .is_some_and(|bits| bits & bit != 0)
    }

    fn put(&mut self, index: MethodIndex) {
        let (page, word, bit) = place(index);
        let at = match self.pages.binary_search_by_key(&page, |(number, _)| *number) {
            Ok(at) => at,
            Err(at) => {
                // One at a time: a page too many for each of all agents would be felt.
                self.pages.reserve_exact(1);
                self.pages.insert(at, (page, [0; 8]));
                at
            }
        };
        if let Some(bits) = self.pages.get_mut(at).and_then(|(_, words)| words.get_mut(word)) {
            *bits |= bit;
        }
    }
}

/// Page, word within it and bit within that.
fn place(MethodIndex(index): MethodIndex) -> (u32, usize, u64) {
    (index / 512, (index as usize % 512) / 64, 1 << (index % 64))
}

#[cfg(test)]
mod tests {
    use smallvec::SmallVec;
    use turnpike_policy::call::{Traits, Transport};

    use super::*;

    fn agent(name: &str) -> Caller {
        Caller {
            identity: Identity::ServiceAccount {
                namespace: "agents".to_owned(),
                name: name.to_owned(),
            },
            issuer: "https://cluster.example".to_owned(),
            session: "s".to_owned(),
            pod: None,
        }
    }

    fn calls(indices: &[u32]) -> Vec<Call> {
        let call = |index: &u32| Call {
            method: "storage.objects.get",
            index: MethodIndex(*index),
            api: "storage",
            version: "v1",
            traits: Traits::READ,
            transport: Transport::Rest,
            resources: SmallVec::new(),
        };
        indices.iter().map(call).collect()
    }

    fn at(text: &str) -> Timestamp {
        format!("2026-03-04T{text}Z").parse().expect("is a time")
    }

    fn pace(first_use: bool, last_minute: u32, last_hour: u32) -> Pace {
        Pace {
            first_use,
            last_minute,
            last_hour,
        }
    }

    #[test]
    fn calls_are_counted_for_a_minute_and_an_hour() {
        let history = History::new(at("08:00:00"));
        let coder = agent("coder");
        let note = |time: &str, count: usize| history.note(&coder, &calls(&vec![1; count]), at(time));
        let steps = [
            ("08:00:00", 1, pace(false, 1, 1)),
            ("08:00:59", 3, pace(false, 4, 4)),
            // 45 seconds of the minute before are still in the last one.
            ("08:01:15", 1, pace(false, 4, 5)),
            ("08:02:00", 1, pace(false, 2, 6)),
            // A request without calls is one.
            ("08:05:00", 0, pace(false, 1, 7)),
            ("08:59:59", 1, pace(false, 1, 8)),
            // The first minute is out of the hour.
            ("09:00:00", 1, pace(true, 2, 5)),
            // The clock was set back: nothing is lost, and it counts as now.
            ("08:30:00", 1, pace(false, 3, 6)),
            ("09:01:30", 1, pace(true, 2, 6)),
            // Longer than all that is remembered.
            ("23:00:00", 1, pace(true, 1, 1)),
        ];
        for (time, count, wanted) in steps {
            assert_eq!(note(time, count), wanted, "{time}");
        }
    }

    #[test]
    fn counts_do_not_run_over() {
        let mut counts = Counts::default();
        for _ in 0..3 {
            counts.add(u32::MAX, at("08:00:00"));
            counts.add(u32::MAX, at("08:01:00"));
        }
        assert_eq!(counts.last_minute(at("08:01:30")), u32::MAX);
        assert_eq!(counts.last_hour(), u32::MAX);
    }

    #[test]
    fn a_first_use_counts_until_a_call_is_let_through_and_not_while_a_replica_learns() {
        let history = History::new(at("08:00:00"));
        let (coder, other) = (agent("coder"), agent("other"));
        let first = |who: &Caller, methods: &[u32], time: &str| {
            history.note(who, &calls(methods), at(time)).first_use
        };
        assert!(!first(&coder, &[1], "08:00:00"));
        history.used(&coder, &calls(&[1, 2]));
        assert!(!first(&coder, &[3], "08:59:59"));
        assert!(!first(&coder, &[1, 2], "09:00:00"));
        // Tried, but never let through.
        assert!(first(&coder, &[3], "09:00:00"));
        assert!(first(&coder, &[3], "09:00:01"));
        assert!(first(&coder, &[1, 3], "09:00:01"));
        history.used(&coder, &calls(&[3]));
        assert!(!first(&coder, &[1, 3], "09:00:02"));
        assert!(first(&other, &[3], "09:00:02"));
    }

    #[test]
    fn agents_are_told_apart_by_kind_name_and_issuer() {
        let history = History::new(at("08:00:00"));
        let oidc = |issuer: &str, subject: &str| Caller {
            identity: Identity::Oidc {
                issuer: issuer.to_owned(),
                subject: subject.to_owned(),
                audiences: vec![],
                claims: Default::default(),
            },
            issuer: issuer.to_owned(),
            session: String::new(),
            pod: None,
        };
        let mut elsewhere = agent("coder");
        elsewhere.issuer = "https://other.example".to_owned();
        // Another session of the same agent is the same agent.
        let mut again = agent("coder");
        again.session = "t".to_owned();
        let counts = [
            agent("coder"),
            agent("tester"),
            elsewhere,
            oidc("https://cluster.example", "agents/coder"),
            oidc("agents", "coder"),
            again,
        ]
        .map(|who| history.note(&who, &calls(&[1]), at("08:00:00")).last_hour);
        assert_eq!(counts, [1, 1, 1, 1, 1, 2]);
        assert_eq!(history.agents(), 5);
    }

    #[test]
    fn the_least_recently_seen_agents_make_room() {
        let history = History::with_room(at("08:00:00"), 64);
        let used = |who: &Caller| !history.note(who, &calls(&[7]), at("10:00:00")).first_use;
        let keeper = agent("keeper");
        history.used(&keeper, &calls(&[7]));
        for i in 0..10_000 {
            let passing = agent(&format!("passing-{i}"));
            history.used(&passing, &calls(&[7]));
            assert!(used(&keeper), "after {i}");
        }
        assert_eq!(history.agents(), 64);
        assert!(!used(&agent("passing-0")));
        assert!(used(&agent("passing-9999")));
    }

    /// The bound that the module's text states, with every method that there could be.
    #[test]
    fn an_agent_takes_less_than_three_kibibytes() {
        let mut methods = Methods::default();
        // The catalogue has some 17,000 ids.
        for index in (0..17_408).rev() {
            assert!(!methods.has(MethodIndex(index)));
            methods.put(MethodIndex(index));
        }
        assert!((0..17_408).all(|index| methods.has(MethodIndex(index))));
        assert!(!methods.has(MethodIndex(17_408)));
        assert!(!methods.has(MethodIndex(u32::MAX)));
        let bytes = methods.pages.capacity() * size_of::<(u32, [u64; 8])>() + size_of::<(u128, Agent)>();
        assert!(bytes < 3 * 1024, "{bytes}");
        let mut few = Methods::default();
        for index in 0..12 {
            few.put(MethodIndex(index));
        }
        let bytes = few.pages.capacity() * size_of::<(u32, [u64; 8])>() + size_of::<(u128, Agent)>();
        assert!(bytes < 400, "{bytes}");
    }

    #[test]
    fn many_threads_count_every_call() {
        let history = History::new(at("08:00:00"));
        std::thread::scope(|scope| {
            for worker in 0..8 {
                let history = &history;
                scope.spawn(move || {
                    for i in 0..1_000 {
                        let who = agent(&format!("a{}", (i + worker) % 4));
                        history.note(&who, &calls(&[1]), at("08:00:00"));
                    }
                });
            }
        });
        let total: u32 = (0..4)
            .map(|i| {
                history
                    .note(&agent(&format!("a{i}")), &calls(&[1]), at("08:00:30"))
                    .last_hour
            })
            .sum();
        assert_eq!(total, 8_000 + 4);
    }
}
