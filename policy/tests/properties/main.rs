//! What must hold of every decision, over generated policies and requests.
//!
//! `PROPTEST_CASES` raises the number of cases of each property. The last line counts them all.

mod book;
mod made;
#[path = "../making/mod.rs"]
mod making;

use std::{cell::RefCell, collections::BTreeMap};

use jiff::Timestamp;
use proptest::{prelude::*, strategy::ValueTree as _, test_runner::TestRunner};
use serde_json::Value;
use turnpike_policy::{
    Decision, Facts, PolicyDef, PolicySet, Verdict,
    call::{Call, Scope, Traits},
    decide,
    decide::{Denial, Searched},
    definition::{Effect, Mode},
    request::{Body, RequestFacts},
    risk::Pace,
};

use self::{
    book::by_the_book,
    made::{any_body, any_policies, any_resource, any_rule},
    making::{call, caller, policy},
};

/// Cases of each property.
fn cases() -> u32 {
    std::env::var("PROPTEST_CASES")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(2_000)
}

/// A request, as generated.
#[derive(Debug, Clone)]
struct Asked {
    resource: (&'static str, Scope),
    verb: &'static str,
    method: &'static str,
    body: Value,
    secret: bool,
    unscannable: bool,
    pace: Pace,
    hour: i64,
}

fn any_asked() -> impl Strategy<Value = Asked> {
    (
        any_resource(),
        prop_oneof![
            Just(("GET", "storage.objects.get")),
            Just(("POST", "storage.buckets.setIamPolicy")),
        ],
        any_body(),
        any::<(bool, bool, bool)>(),
        0..24i64,
    )
        .prop_map(
            |(resource, (verb, method), body, (secret, unscannable, first_use), hour)| Asked {
                resource,
                verb,
                method,
                body,
                secret,
                unscannable,
                pace: Pace {
                    first_use,
                    last_minute: 1,
                    last_hour: 1,
                },
                hour,
            },
        )
}

impl Asked {
    fn calls(&self) -> [Call; 1] {
        let mut call = call(self.method, &[self.resource]);
        call.traits = match self.verb {
            "GET" => Traits::READ,
            _ => Traits::CHANGE | Traits::IAM,
        };
        [call]
    }

    /// The decision of a set. `body` is what is known of the body.
    fn decide(&self, set: &PolicySet, body: Body<'_>) -> Decision {
        let who = caller("agents", "coder");
        let kinds = ["private-key".to_owned()];
        let facts = Facts {
            caller: &who,
            calls: &self.calls(),
            request: RequestFacts {
                verb: self.verb,
                host: "storage.googleapis.com",
                body,
                ..RequestFacts::default()
            },
            searched: Searched::Through {
                kinds: if self.secret { &kinds } else { &[] },
                unscannable: self.unscannable,
            },
            pace: self.pace,
            now: Timestamp::from_second(self.hour * 3600).expect("a time of day"),
        };
        decide(set, &facts)
    }

    fn effect(&self, policies: &[PolicyDef]) -> Effect {
        self.decide(&PolicySet::new(policies.to_vec()), Body::Json(&self.body))
            .verdict
            .effect()
    }
}

/// Runs a property; gives how many cases it had, by what the closure says of each. A generator that made only one kind
/// of case would prove nothing, so at least two must be frequent.
fn run<S: Strategy>(
    name: &str,
    strategy: &S,
    property: impl Fn(S::Value) -> Result<&'static str, TestCaseError>,
) -> u32 {
    let mut runner = TestRunner::new(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(cases())
    });
    let kinds = RefCell::new(BTreeMap::<&'static str, u32>::new());
    let outcome = runner.run(strategy, |value| {
        let kind = property(value)?;
        *kinds.borrow_mut().entry(kind).or_default() += 1;
        Ok(())
    });
    if let Err(error) = outcome {
        panic!("{name}: {error}");
    }
    let kinds = kinds.into_inner();
    println!("{name}: {} cases {kinds:?}", cases());
    let frequent = kinds.values().filter(|n| **n > cases() / 100).count();
    assert!(frequent >= 2, "{name}: {kinds:?}");
    cases()
}

fn kind(effect: Effect) -> &'static str {
    match effect {
        Effect::Allow => "allow",
        Effect::RequireApproval => "hold",
        Effect::Deny => "deny",
    }
}

/// Keeps the programs of the conditions, which sets share, from being made anew in every case.
fn with_programs() -> PolicySet {
    let mut policies = Vec::new();
    let mut runner = TestRunner::deterministic();
    for _ in 0..500 {
        let tree = any_policies(false).new_tree(&mut runner).expect("policies");
        policies.extend(tree.current());
    }
    PolicySet::new(policies)
}

fn the_index_decides_as_the_book_does() -> u32 {
    run(
        "index",
        &(any_policies(true), any_resource(), any::<bool>()),
        |(mut policies, resource, reversed)| {
            let who = caller("agents", "coder");
            let get = [call("storage.objects.get", &[resource])];
            let expected = by_the_book(&policies, "coder", &get[0]);
            if reversed {
                policies.reverse();
            }
            let set = PolicySet::new(policies);
            let facts = Facts::of(&who, &get, Timestamp::UNIX_EPOCH);
            prop_assert_eq!(decide(&set, &facts).verdict.effect(), expected);
            Ok(kind(expected))
        },
    )
}

fn a_further_restriction_never_allows_more() -> u32 {
    run(
        "restriction",
        &(any_policies(false), any_rule(), any::<bool>(), any_asked()),
        |(mut policies, mut rule, deny, asked)| {
            let before = asked.effect(&policies);
            rule.effect = if deny {
                Effect::Deny
            } else {
                Effect::RequireApproval
            };
            policies.push(policy("agents", "zz", "coder", vec![rule]));
            let after = asked.effect(&policies);
            // An approval that is asked for where nothing was allowed is the one way in which such a rule opens.
            if deny || before != Effect::Deny {
                prop_assert!(after >= before, "{before:?} became {after:?}");
            }
            Ok(if after > before { "stricter" } else { "the same" })
        },
    )
}

fn a_further_permission_never_beats_a_restriction() -> u32 {
    run(
        "permission",
        &(any_policies(false), any_rule(), any_asked()),
        |(mut policies, mut rule, asked)| {
            let set = PolicySet::new(policies.clone());
            let before = asked.decide(&set, Body::Json(&asked.body)).verdict;
            rule.effect = Effect::Allow;
            policies.push(policy("agents", "zz", "coder", vec![rule]));
            let after = asked.effect(&policies);
            match &before {
                Verdict::Deny(Denial::NothingMatched { .. }) => {}
                before => prop_assert!(after >= before.effect(), "{before:?} became {after:?}"),
            }
            Ok(if after == before.effect() {
                "the same"
            } else {
                "opened"
            })
        },
    )
}

fn what_is_not_known_never_loosens() -> u32 {
    run(
        "error",
        &(any_policies(false), any_asked()),
        |(policies, asked)| {
            let set = PolicySet::new(policies);
            let known = asked.decide(&set, Body::Json(&asked.body)).verdict.effect();
            for body in [Body::Unreadable, Body::Unread] {
                let unknown = asked.decide(&set, body).verdict.effect();
                prop_assert!(unknown >= known, "{known:?} became {unknown:?}");
            }
            let unknown = asked.decide(&set, Body::Unreadable).verdict.effect();
            Ok(if unknown > known { "stricter" } else { "the same" })
        },
    )
}

fn order_never_matters() -> u32 {
    run(
        "order",
        &(any_policies(false), any_asked(), any::<prop::sample::Index>()),
        |(policies, asked, turn)| {
            let told = |policies: Vec<PolicyDef>| {
                let set = PolicySet::new(policies);
                let decision = asked.decide(&set, Body::Json(&asked.body));
                let names = match &decision.verdict {
                    Verdict::Hold(hold) => {
                        let name = |g: &turnpike_policy::decide::Ground| {
                            format!("{}/{}", set.policy(g.policy(&set)).name, g.name(&set))
                        };
                        let mut names: Vec<_> = hold.grounds.iter().map(name).collect();
                        names.sort();
                        names
                    }
                    _ => vec![],
                };
                (decision.verdict.effect(), names, decision.would, decision.risk)
            };
            let mut turned = policies.clone();
            if !turned.is_empty() {
                let by = turn.index(turned.len());
                turned.rotate_left(by);
            }
            turned.iter_mut().for_each(|p| p.rules.reverse());
            let (a, b) = (told(policies), told(turned));
            prop_assert_eq!(&a, &b);
            Ok(kind(a.0))
        },
    )
}

fn dry_runs_change_nothing() -> u32 {
    run(
        "dry run",
        &(any_policies(false), any_asked()),
        |(mut policies, asked)| {
            // Break-glass has no dry run.
            for policy in policies.iter_mut().filter(|p| p.mode == Mode::DryRun) {
                policy.suspend = false;
            }
            let with = asked.effect(&policies);
            policies.retain(|p| p.mode == Mode::Enforce);
            prop_assert_eq!(asked.effect(&policies), with);
            Ok(kind(with))
        },
    )
}

#[test]
fn decisions_keep_their_promises() {
    let properties = [
        the_index_decides_as_the_book_does,
        a_further_restriction_never_allows_more,
        a_further_permission_never_beats_a_restriction,
        what_is_not_known_never_loosens,
        order_never_matters,
        dry_runs_change_nothing,
    ];
    let _programs = with_programs();
    let (first, second) = properties.split_at(3);
    let total: u32 = std::thread::scope(|scope| {
        let halves = [first, second].map(|half| scope.spawn(move || half.iter().map(|p| p()).sum::<u32>()));
        halves
            .map(|half| half.join().expect("a property holds"))
            .iter()
            .sum()
    });
    println!("policy: {total} cases, 0 counterexamples");
}
