//! Limits against a model that forgets nothing and rounds nothing, and tables of what is refused until when.

use std::{
    collections::BTreeMap,
    num::NonZeroU32,
    sync::Arc,
    time::{Duration, Instant},
};

use proptest::prelude::*;
use turnpike_policy::{
    PolicyDef, PolicySet,
    call::{Call, MethodIndex, Traits, Transport},
    caller::{Caller, Identity},
    definition::{AgentMatch, LimitsDef, Mode},
};

use super::{
    Exceeded, Ledger, Limit, Load, Toll,
    window::{Full, Window},
};

fn agent(name: &str) -> Caller {
    Caller {
        identity: Identity::ServiceAccount {
            namespace: "agents".into(),
            name: name.into(),
        },
        issuer: "https://cluster.test".into(),
        session: "s".into(),
        pod: None,
    }
}

fn oidc(subject: &str, issuer: &str) -> Caller {
    Caller {
        identity: Identity::Oidc {
            issuer: issuer.into(),
            subject: subject.into(),
            audiences: vec!["turnpike".into()],
            claims: BTreeMap::new(),
        },
        issuer: issuer.into(),
        session: "s".into(),
        pod: None,
    }
}

const READ: Load = Load { calls: 1, changes: 0 };
const CHANGE: Load = Load { calls: 1, changes: 1 };

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn calls(limit: u32) -> LimitsDef {
    LimitsDef {
        calls_per_minute: Some(limit),
        ..LimitsDef::default()
    }
}

fn changes(limit: u32) -> LimitsDef {
    LimitsDef {
        changes_per_hour: Some(limit),
        ..LimitsDef::default()
    }
}

fn held(limit: u32) -> LimitsDef {
    LimitsDef {
        held_calls: Some(limit),
        ..LimitsDef::default()
    }
}

fn bytes(limit: u64) -> LimitsDef {
    LimitsDef {
        bytes_out_per_hour: Some(limit),
        ..LimitsDef::default()
    }
}

/// A ledger and a clock that stands until it is moved.
struct Bench {
    ledger: Ledger,
    now: Instant,
}

impl Bench {
    fn new() -> Self {
        Self::of(Ledger::default())
    }

    fn of(ledger: Ledger) -> Self {
        Self {
            ledger,
            now: Instant::now(),
        }
    }

    fn wait(&mut self, time: Duration) {
        self.now += time;
    }

    fn toll(&self, caller: &Caller, limits: &LimitsDef, load: Load) -> Toll {
        self.ledger
            .toll(caller, limits, load, self.now)
            .expect("a place for the agent")
    }

    /// Makes a call that is let pass.
    fn pass(
        &self,
        caller: &Caller,
        limits: &LimitsDef,
        load: Load,
    ) -> Result<(), (Limit, u64, Option<Duration>)> {
        self.toll(caller, limits, load).pass(self.now).map_err(told)
    }
}

fn told(exceeded: Exceeded) -> (Limit, u64, Option<Duration>) {
    (exceeded.limit, exceeded.most, exceeded.after)
}

#[test]
fn a_window_slides() {
    let (mut bench, coder) = (Bench::new(), agent("coder"));
    let limits = calls(3);
    for _ in 0..3 {
        assert_eq!(bench.pass(&coder, &limits, READ), Ok(()));
        bench.wait(secs(10));
    }
    // The calls were made at 0, 10 and 20 s; it is 30 s now.
    assert_eq!(
        bench.pass(&coder, &limits, READ),
        Err((Limit::Calls, 3, Some(secs(30))))
    );
    bench.wait(secs(30) - Duration::from_nanos(1));
    let last = Err((Limit::Calls, 3, Some(Duration::from_nanos(1))));
    assert_eq!(bench.pass(&coder, &limits, READ), last);
    bench.wait(Duration::from_nanos(1));
    assert_eq!(bench.pass(&coder, &limits, READ), Ok(()));
    assert_eq!(
        bench.pass(&coder, &limits, READ),
        Err((Limit::Calls, 3, Some(secs(10))))
    );
    // A higher limit counts what was counted before; a lower one too.
    assert_eq!(bench.pass(&coder, &calls(4), READ), Ok(()));
    assert_eq!(
        bench.pass(&coder, &calls(2), READ),
        Err((Limit::Calls, 2, Some(secs(60))))
    );
    // Nobody else is affected: names, issuers and kinds are told apart.
    for other in [
        agent("other"),
        oidc("agents/coder", "https://cluster.test"),
        oidc("agents/coder", "https://b.test"),
    ] {
        assert_eq!(bench.pass(&other, &limits, READ), Ok(()), "{other:?}");
    }
}

#[test]
fn what_is_refused_uses_nothing_up() {
    let (mut bench, coder) = (Bench::new(), agent("coder"));
    let limits = LimitsDef {
        calls_per_minute: Some(2),
        changes_per_hour: Some(1),
        ..LimitsDef::default()
    };
    assert_eq!(bench.pass(&coder, &limits, CHANGE), Ok(()));
    for _ in 0..100 {
        assert_eq!(
            bench.pass(&coder, &limits, CHANGE),
            Err((Limit::Changes, 1, Some(secs(3600))))
        );
    }
    assert_eq!(bench.pass(&coder, &limits, READ), Ok(()));
    assert_eq!(
        bench.pass(&coder, &limits, READ),
        Err((Limit::Calls, 2, Some(secs(60))))
    );
    bench.wait(secs(60));
    assert_eq!(bench.pass(&coder, &limits, READ), Ok(()));
    assert_eq!(
        bench.pass(&coder, &limits, CHANGE),
        Err((Limit::Changes, 1, Some(secs(3540))))
    );
}

#[test]
fn a_request_that_is_many_calls_counts_as_many() {
    let (bench, coder) = (Bench::new(), agent("coder"));
    let limits = calls(10);
    let many = |calls| Load { calls, changes: 0 };
    assert_eq!(bench.pass(&coder, &limits, many(7)), Ok(()));
    assert_eq!(
        bench.pass(&coder, &limits, many(4)),
        Err((Limit::Calls, 10, Some(secs(60))))
    );
    assert_eq!(
        bench.pass(&coder, &limits, many(11)),
        Err((Limit::Calls, 10, None))
    );
    assert_eq!(bench.pass(&coder, &limits, many(3)), Ok(()));
    assert_eq!(
        bench.pass(&agent("other"), &calls(0), READ),
        Err((Limit::Calls, 0, None))
    );

    let call = |traits| Call {
        method: "storage.objects.get",
        index: MethodIndex(0),
        api: "storage",
        version: "v1",
        traits,
        transport: Transport::Rest,
        resources: smallvec::SmallVec::new(),
    };
    let reads = [
        call(Traits::READ),
        call(Traits::READ | Traits::IAM | Traits::RETURNS_CREDENTIALS),
    ];
    let either = [call(Traits::READ), call(Traits::CHANGE)];
    let unknown = [call(Traits::NONE)];
    let rows = [
        (Load::one(&reads), READ),
        (Load::one(&either), CHANGE),
        (Load::one(&unknown), CHANGE),
        (Load::one(&[call(Traits::CHANGE | Traits::DESTRUCTIVE)]), CHANGE),
        (
            Load::each([&reads[..], &either[..], &either[..]].into_iter()),
            Load { calls: 3, changes: 2 },
        ),
    ];
    for (found, expected) in rows {
        assert_eq!(found, expected);
    }
}

#[test]
fn held_calls_are_counted_while_they_are_held() {
    let (mut bench, coder) = (Bench::new(), agent("coder"));
    let limits = LimitsDef {
        changes_per_hour: Some(2),
        ..held(2)
    };
    let hold = |bench: &Bench, at_most| {
        let mut toll = bench.toll(&coder, &limits, CHANGE);
        toll.hold(at_most, bench.now).map(|()| toll).map_err(told)
    };
    let mut first = hold(&bench, secs(240)).expect("the first");
    bench.wait(secs(5));
    let second = hold(&bench, secs(60)).expect("the second");
    // The second ends first, after 60 s at most.
    assert_eq!(
        hold(&bench, secs(60)).map(drop),
        Err((Limit::Held, 2, Some(secs(60))))
    );
    drop(second);
    let third = hold(&bench, secs(300)).expect("the second is gone");
    assert_eq!(
        hold(&bench, secs(60)).map(drop),
        Err((Limit::Held, 2, Some(secs(235))))
    );
    // None of them has changed anything so far; what is approved does, and makes room.
    first.approved(bench.now).expect("one change");
    assert_eq!(bench.pass(&coder, &limits, CHANGE), Ok(()));
    let full = (Limit::Changes, 2, Some(secs(3600)));
    let mut third = third;
    assert_eq!(third.approved(bench.now).map_err(told), Err(full));
    assert_eq!(
        hold(&bench, secs(60)).map(drop),
        Err(full),
        "nobody is asked in vain"
    );
    bench.wait(secs(3600));
    third.approved(bench.now).expect("there is room again");
    drop((first, third));
    assert_eq!(
        bench
            .toll(&coder, &held(0), READ)
            .hold(secs(1), bench.now)
            .map_err(told),
        Err((Limit::Held, 0, None))
    );
}

#[test]
fn bytes_are_promised_counted_and_given_back() {
    let (mut bench, coder) = (Bench::new(), agent("coder"));
    let limits = bytes(1000);
    let weigh = |bench: &Bench, bytes| {
        let mut toll = bench.toll(&coder, &limits, READ);
        toll.weigh(bytes, bench.now).map(|()| toll).map_err(told)
    };
    assert!(!Toll::default().counts_bytes() && bench.toll(&coder, &calls(1), READ).counts_bytes().eq(&false));
    // Two bodies of 600 bytes are too much, though none of them has sent a byte.
    let mut first = weigh(&bench, 600).expect("room");
    assert_eq!(
        weigh(&bench, 600).map(drop),
        Err((Limit::Bytes, 1000, Some(Duration::ZERO)))
    );
    assert_eq!(weigh(&bench, 1001).map(drop), Err((Limit::Bytes, 1000, None)));
    first.bytes(200, bench.now).expect("promised");
    // It is given up: 200 bytes have passed.
    drop(first);
    bench.wait(secs(600));
    let mut second = weigh(&bench, 1).expect("a stream");
    second.bytes(800, bench.now).expect("what is left");
    assert_eq!(
        second.bytes(1, bench.now).map_err(told),
        Err((Limit::Bytes, 1000, Some(secs(3000))))
    );
    assert_eq!(
        weigh(&bench, 1).map(drop),
        Err((Limit::Bytes, 1000, Some(secs(3000))))
    );
    bench.wait(secs(3000));
    second
        .bytes(200, bench.now)
        .expect("the first 200 are an hour old");
    assert!(second.bytes(1, bench.now).is_err());
    // A body that was read while its call was held is weighed again.
    bench.wait(secs(3600));
    let mut third = weigh(&bench, 1).expect("an hour later");
    assert_eq!(
        third.weigh(1001, bench.now).map_err(told),
        Err((Limit::Bytes, 1000, None))
    );
    third.weigh(1000, bench.now).expect("all there is");
    third.bytes(1000, bench.now).expect("promised");
}

#[test]
fn replicas_give_a_part_each() {
    let coder = agent("coder");
    for (limit, replicas, part) in [
        (60, 1, 60),
        (60, 2, 30),
        (61, 2, 31),
        (2, 3, 1),
        (1, 5, 1),
        (0, 5, 0),
    ] {
        let bench = Bench::new();
        bench
            .ledger
            .divide_between(NonZeroU32::new(replicas).expect("not 0"));
        let passed = (0..100)
            .filter(|_| bench.pass(&coder, &calls(limit), READ).is_ok())
            .count() as u32;
        assert_eq!(passed, part, "{limit} by {replicas}");
        let (all, error) = (part * replicas, replicas - 1);
        assert!(
            (limit..=limit + error).contains(&all),
            "{all} by {replicas} replicas, for {limit}"
        );
    }
}

#[test]
fn agents_are_forgotten_when_nothing_is_left_to_count_and_refused_while_there_is() {
    let mut bench = Bench::of(Ledger::of(16));
    let limits = LimitsDef {
        bytes_out_per_hour: Some(1000),
        ..calls(1)
    };
    let known = |bench: &Bench| -> usize {
        bench
            .ledger
            .shards
            .iter()
            .map(|s| s.lock().expect("no panic").accounts.len())
            .sum()
    };
    // One place a shard: somebody is refused long before there are 16.
    let full = (0..1000).map(|n| agent(&n.to_string())).find(|agent| {
        let toll = bench.ledger.toll(agent, &limits, READ, bench.now);
        match toll {
            Ok(mut toll) => {
                toll.pass(bench.now).expect("its first");
                false
            }
            Err(exceeded) => {
                let expected = (Limit::Agents, 16, Some(secs(1)));
                assert_eq!(told(exceeded), expected);
                true
            }
        }
    });
    let late = full.expect("one who is refused");
    assert!(known(&bench) <= 16);
    // Without limits nobody is counted, and nobody refused.
    assert_eq!(bench.pass(&late, &LimitsDef::default(), READ), Ok(()));
    bench.wait(secs(59));
    assert!(bench.ledger.toll(&late, &limits, READ, bench.now).is_err());
    bench.wait(secs(1));
    assert_eq!(
        bench.pass(&late, &limits, READ),
        Ok(()),
        "the others' minute is over"
    );
    // Who is in the midst of something is not forgotten.
    bench.wait(secs(60));
    let mut stream = bench.toll(&late, &limits, READ);
    stream.weigh(1000, bench.now).expect("room");
    for n in 0..1000 {
        bench
            .ledger
            .toll(&agent(&n.to_string()), &limits, READ, bench.now)
            .ok();
        bench.wait(secs(2));
    }
    assert!(
        bench.toll(&late, &limits, READ).weigh(1, bench.now).is_err(),
        "1000 bytes are on their way"
    );
}

#[test]
fn limits_that_are_tried_count_apart() {
    let (mut bench, coder) = (Bench::new(), agent("coder"));
    let (limits, tried) = (calls(5), calls(2));
    let would: Vec<bool> = (0..4)
        .map(|_| bench.ledger.would_pass(&coder, &tried, READ, bench.now))
        .collect();
    assert_eq!(would, [true, true, false, false]);
    assert_eq!(bench.pass(&coder, &limits, READ), Ok(()), "nothing was counted");
    assert!(
        bench
            .ledger
            .would_pass(&coder, &LimitsDef::default(), READ, bench.now)
    );
    bench.wait(secs(60));
    assert!(bench.ledger.would_pass(&coder, &tried, READ, bench.now));
}

#[test]
fn a_refusal_names_the_policy_and_when_to_come_again() {
    let policy = |name: &str, limits| PolicyDef {
        namespace: "agents".into(),
        name: name.into(),
        uid: String::new(),
        generation: 1,
        mode: Mode::Enforce,
        suspend: false,
        agents: vec![AgentMatch::ServiceAccount {
            namespace: Some("agents".into()),
            name: None,
        }],
        credential: None,
        rules: Vec::new(),
        risk: None,
        limits,
        outbound: None,
        masks: Vec::new(),
        record_bodies: None,
    };
    let set = PolicySet::new(vec![
        policy("coder", calls(60)),
        policy("all", bytes(5)),
        policy("more", held(1)),
    ]);
    let told = |limit, most, after, replicas| {
        let refusal = Exceeded { limit, most, after }.refusal(&set, &agent("coder"), replicas);
        (
            refusal.reason,
            refusal.retry_after,
            refusal.message,
            refusal.metadata,
        )
    };
    let facts = |policy: &str, limit: &str, allowed: &str| {
        vec![
            ("policy", policy.to_owned()),
            ("limit", limit.to_owned()),
            ("allowed", allowed.to_owned()),
        ]
    };
    let rows = [
        (
            told(Limit::Calls, 60, Some(Duration::from_millis(11_001)), 1),
            (
                "LIMIT_CALLS",
                12,
                "Turnpike refuses the call for now: policy agents/coder allows agents/coder 60 calls in any 60 seconds, \
                 and there is no room for this one. Make it again in 12 s.",
                facts("agents/coder", "callsPerMinute", "60"),
            ),
        ),
        (
            told(Limit::Bytes, 3, None, 2),
            (
                "LIMIT_BYTES",
                3600,
                "Turnpike refuses the call: policy agents/all allows agents/coder 5 bytes of requests in any 60 minutes \
                 (3 of them at each of 2 replicas), and this one alone is more than that.",
                facts("agents/all", "bytesOutPerHour", "5"),
            ),
        ),
        (
            told(Limit::Held, 1, Some(Duration::ZERO), 1),
            (
                "LIMIT_HELD",
                1,
                "Turnpike refuses the call for now: policy agents/more allows agents/coder 1 calls that wait for an \
                 approval at a time, and there is no room for this one. Make it again in 1 s.",
                facts("agents/more", "heldCalls", "1"),
            ),
        ),
        (
            told(Limit::Changes, 7, Some(secs(5)), 1),
            (
                "LIMIT_CHANGES",
                5,
                "Turnpike refuses the call for now: a policy allows agents/coder 7 calls that change something in any \
                 60 minutes, and there is no room for this one. Make it again in 5 s.",
                facts("a policy", "changesPerHour", "7"),
            ),
        ),
        (
            told(Limit::Agents, 16, Some(secs(1)), 1),
            (
                "LIMIT_AGENTS",
                1,
                "Turnpike refuses the call for now: it is under a limit, and 16 agents are counted already. Make it \
                 again later.",
                Vec::new(),
            ),
        ),
    ];
    for ((reason, retry, message, metadata), expected) in rows {
        assert_eq!(
            (reason, retry.expect("a time"), message.as_str(), metadata),
            expected
        );
    }
}

/// All that was ever counted, to the nanosecond.
#[derive(Default)]
struct Model(Vec<(u64, u64)>);

impl Model {
    fn within(&self, length: u64, now: u64) -> u64 {
        let counts = self.0.iter().filter(|(at, _)| now - at < length);
        counts.map(|(_, count)| count).sum()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// No window of this length ever holds more than the limit; nothing is refused that would have had room a
    /// thousandth of the window ago; below 1,001 nothing is refused that has room; and memory has its bound.
    #[test]
    fn windows_are_as_exact_as_they_say(
        limit in prop_oneof![0..20_u64, 900..1100_u64, 5_000..100_000_u64],
        steps in prop::collection::vec((0..200_u64, prop_oneof![Just(1_u64), 0..50_u64, 0..3_000_u64]), 1..400),
        scale in prop_oneof![Just(1_u64), Just(50), Just(1_000)],
    ) {
        let length = 10_000_u64;
        let mut window = Window::new(Duration::from_nanos(length));
        let (mut model, mut now) = (Model::default(), 0);
        for (wait, count) in steps {
            now += wait * scale / 50;
            let late = if limit <= 1000 { 0 } else { length / 1000 };
            match window.room(now, count, 0, limit) {
                Ok(()) => {
                    prop_assert!(model.within(length, now) + count <= limit);
                    window.add(now, count, limit);
                    model.0.push((now, count));
                }
                Err(full) => {
                    prop_assert!(model.within(length + late, now) + count > limit);
                    match full {
                        Full::Always => prop_assert!(count > limit),
                        Full::For(after) => {
                            // The promise holds, and to the instant where counts are kept one by one.
                            let then = now + u64::try_from(after.as_nanos()).unwrap();
                            prop_assert!(model.within(length, then) + count <= limit);
                            if late == 0 {
                                prop_assert!(model.within(length, then - 1) + count > limit);
                            }
                        }
                    }
                }
            }
            prop_assert!(window.entries() <= 1001);
        }
    }
}

#[test]
fn many_threads_together_get_what_one_may() {
    let (ledger, now) = (Arc::new(Ledger::default()), Instant::now());
    let passed: usize = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..8)
            .map(|_| {
                let ledger = ledger.clone();
                scope.spawn(move || {
                    let coder = agent("coder");
                    let pass = || ledger.toll(&coder, &calls(500), READ, now)?.pass(now);
                    (0..500).filter(|_| pass().is_ok()).count()
                })
            })
            .collect();
        workers.into_iter().map(|w| w.join().expect("no panic")).sum()
    });
    assert_eq!(passed, 500);
}

#[test]
fn changes_alone_are_limited_by_their_own_limit() {
    let (bench, coder) = (Bench::new(), agent("coder"));
    for _ in 0..50 {
        assert_eq!(bench.pass(&coder, &changes(1), READ), Ok(()));
    }
    assert_eq!(bench.pass(&coder, &changes(1), CHANGE), Ok(()));
    assert_eq!(
        bench.pass(&coder, &changes(1), CHANGE),
        Err((Limit::Changes, 1, Some(secs(3600))))
    );
}
