//! Suggested policies: a trail and what is made of it, to the letter; and that the policy does with the trail's own
//! calls what was done with them, whatever the trail.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{Timestamp, ToSpan};
use proptest::{prelude::*, test_runner::TestRunner};
use smallvec::SmallVec;
use turnpike_compiler::{Context, load};
use turnpike_policy::{
    Facts, PolicyDef, PolicySet,
    call::{Call, Resource, Scope, Traits, Transport},
    caller::{Caller, Identity},
    catalog::{Catalog, NamePart, NameShape},
    decide,
    definition::Effect,
    whatif::{Methods, Recorded, RecordedAgent, RecordedAnswer, suggest},
};

/// Calls of one method on resources, each `NAME` or `NAME below`; several are of one request.
fn call(method: &str, resources: &[&str]) -> Call {
    let catalog = Catalog::embedded().unwrap();
    let index = catalog.index_of(method).expect("a method of the catalogue");
    let of_method = catalog.methods().filter(|m| m.index == index);
    let traits = of_method.fold(Traits::NONE, |all, m| all | m.traits);
    Call {
        method: catalog.ids()[index.as_usize()],
        index,
        api: catalog.ids()[index.as_usize()].split('.').next().unwrap(),
        version: "v1",
        traits,
        transport: Transport::Rest,
        resources: resources
            .iter()
            .map(|name| Resource {
                name: name.strip_suffix(" below").unwrap_or(name).to_owned(),
                project: None,
                location: None,
                kind: "",
                id: None,
                scope: if name.ends_with(" below") {
                    Scope::Below
                } else {
                    Scope::Exact
                },
            })
            .collect(),
    }
}

fn coder() -> RecordedAgent {
    RecordedAgent::ServiceAccount {
        namespace: "agents".into(),
        name: "coder".into(),
    }
}

fn recorded(effect: Effect, calls: Vec<Call>, seconds: &[i64]) -> Recorded {
    let (answer, reason) = match effect {
        Effect::Allow => (RecordedAnswer::Allowed, "RULE_ALLOWED"),
        Effect::RequireApproval => (RecordedAnswer::Held, "APPROVAL_REQUESTED"),
        Effect::Deny => (RecordedAnswer::Refused, "NO_RULE_ALLOWS"),
    };
    let start: Timestamp = "2026-07-01T10:00:00Z".parse().unwrap();
    Recorded {
        agent: Some(coder()),
        session: "s".into(),
        verb: "GET".into(),
        host: "storage.googleapis.com".into(),
        operation: calls.first().map_or("GET", |c| c.method).to_owned(),
        calls,
        answer,
        reason: reason.into(),
        rules: vec![],
        would: None,
        credential: None,
        times: seconds.iter().map(|s| start + s.seconds()).collect(),
    }
}

fn compiled(yaml: &str) -> Vec<PolicyDef> {
    let context = Context::without_namespaces("turnpike-system");
    load::policies(yaml, &context).unwrap_or_else(|problems| panic!("{problems:#?}\n{yaml}"))
}

fn decided(set: &PolicySet, agent: &RecordedAgent, calls: &[Call]) -> Effect {
    let RecordedAgent::ServiceAccount { namespace, name } = agent else {
        panic!("{agent:?}")
    };
    let caller = Caller {
        identity: Identity::ServiceAccount {
            namespace: namespace.clone(),
            name: name.clone(),
        },
        issuer: String::new(),
        session: String::new(),
        pod: None,
    };
    let facts = Facts::of(&caller, calls, Timestamp::UNIX_EPOCH);
    decide(set, &facts).verdict.effect()
}

#[test]
fn a_trail_becomes_a_policy_with_the_calls_behind_each_rule() {
    use Effect::{Allow, Deny, RequireApproval};
    let object = |name: &str| format!("projects/_/buckets/acme-data/objects/{name}");
    let get = |name: &str| call("storage.objects.get", &[&object(name)]);
    let function = |name: &str| format!("projects/acme-dev/locations/us-central1/functions/{name}");
    let create = |name: &str| {
        call(
            "cloudfunctions.projects.locations.functions.create",
            &[&function(name)],
        )
    };
    let secret = "projects/acme-dev/secrets/db/versions/latest";
    let key = "projects/acme-dev/serviceAccounts/a@acme-dev.iam.gserviceaccount.com";
    let trail = [
        recorded(
            Allow,
            vec![call("storage.buckets.list", &["projects/acme-dev"])],
            &[0, 9],
        ),
        recorded(Allow, vec![get("2026/q1/a.csv")], &[1, 2]),
        recorded(Allow, vec![get("2026/q1/b.csv")], &[3]),
        recorded(Allow, vec![get("2026/q2/c.csv")], &[4]),
        recorded(
            Allow,
            vec![call("storage.objects.list", &["projects/_/buckets/acme-data"])],
            &[5],
        ),
        recorded(
            Allow,
            vec![call(
                "storage.objects.get",
                &["projects/_/buckets/other/objects/x"],
            )],
            &[6],
        ),
        recorded(
            Allow,
            vec![call("storage.objects.delete", &[&object("2026/q1/a.csv")])],
            &[7],
        ),
        recorded(
            Allow,
            vec![call("secretmanager.projects.secrets.versions.access", &[secret])],
            &[8],
        ),
        recorded(RequireApproval, vec![create("a")], &[10]),
        recorded(RequireApproval, vec![create("b")], &[11]),
        recorded(RequireApproval, vec![create("c")], &[12]),
        recorded(
            Deny,
            vec![call(
                "iam.projects.serviceAccounts.keys.create",
                &[&format!("{key} below")],
            )],
            &[13, 14],
        ),
        recorded(Deny, vec![get("2027/secret\nplan.csv")], &[15]),
        Recorded {
            agent: None,
            ..recorded(Deny, vec![], &[16])
        },
    ];
    let methods = Methods::of(Catalog::embedded().unwrap());
    let suggested = suggest(&methods, &trail, |_| true);
    assert_eq!(suggested.len(), 1);
    assert_eq!(suggested[0].agent, "agents/coder");
    insta::assert_snapshot!(suggested[0].yaml);
    assert_eq!(suggest(&methods, &trail, |_| true), suggested);
    assert_eq!(suggest(&methods, &trail, |agent| agent == "agents/other"), []);

    let set = PolicySet::new(compiled(&suggested[0].yaml));
    let done: Vec<Effect> = trail
        .iter()
        .filter(|r| r.agent.is_some())
        .map(|r| decided(&set, &coder(), &r.calls))
        .collect();
    let wanted = [
        Allow,
        Allow,
        Allow,
        Allow,
        Allow,
        Allow,
        // It destroys, and hands out a secret.
        RequireApproval,
        RequireApproval,
        RequireApproval,
        RequireApproval,
        RequireApproval,
        Deny,
        Deny,
    ];
    assert_eq!(done, wanted);
}

/// Methods of the property.
const METHODS: &[&str] = &[
    "cloudfunctions.projects.locations.functions.create",
    "cloudfunctions.projects.locations.functions.get",
    "cloudfunctions.projects.locations.functions.list",
    "compute.instances.get",
    "compute.instances.insert",
    "compute.instances.delete",
    "addressvalidation.validateAddress",
    "google.bigtable.v2.Bigtable.ReadRows",
    "iam.projects.serviceAccounts.getIamPolicy",
    "iam.projects.serviceAccounts.keys.create",
    "pubsub.projects.topics.publish",
    "run.namespaces.services.create",
    "secretmanager.projects.secrets.versions.access",
    "storage.buckets.list",
    "storage.objects.copy",
    "storage.objects.get",
    "storage.objects.insert",
    "storage.objects.list",
];

/// Words that names are made of, some of which mean something to globs, to YAML or to terminals.
const WORDS: &[&str] = &[
    "acme", "acme-dev", "a", "b", "c", "d", "us", "-", "12", "true", "", "x*y", "**", "*", "\u{7}", "é",
    "\u{202e}", "# no", "\"q\\", "'s'",
];

fn name_of(shape: &NameShape, words: &[prop::sample::Index], plain: bool) -> String {
    let known = if plain { 7 } else { WORDS.len() };
    let mut words = words.iter().map(|at| WORDS[at.index(known)]);
    let mut word = || words.next().unwrap_or("a").to_owned();
    let mut name = Vec::new();
    for part in &shape.parts {
        match part {
            NamePart::Literal(text) => name.push((*text).to_owned()),
            NamePart::One => name.push(word()),
            NamePart::Run { .. } => {
                let more = if word() == "a" { 1 } else { 3 };
                name.extend((0..more).map(|_| word()));
            }
        }
    }
    name.join("/")
}

fn cases() -> u32 {
    std::env::var("PROPTEST_CASES")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(60)
}

#[test]
fn a_suggested_policy_does_what_was_done() {
    let catalog = Catalog::embedded().unwrap();
    let methods = Methods::some(catalog, |id| METHODS.contains(&id));
    let mut shapes: BTreeMap<&str, Vec<NameShape>> = BTreeMap::new();
    for (index, of_row) in catalog.name_shapes() {
        shapes
            .entry(catalog.ids()[index.as_usize()])
            .or_default()
            .extend(of_row);
    }
    let effect = prop_oneof![
        4 => Just(Effect::Allow),
        1 => Just(Effect::RequireApproval),
        1 => Just(Effect::Deny),
    ];
    let words = prop::collection::vec(any::<prop::sample::Index>(), 12);
    let unit = (0..METHODS.len(), any::<prop::sample::Index>(), words);
    let one = (effect, unit, prop::option::weighted(0.1, 0..METHODS.len()));
    let trail = prop::collection::vec(one, 1..40);
    let mut runner = TestRunner::new(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(cases())
    });
    let counted = std::cell::Cell::new(0u64);
    runner
        .run(&(trail, any::<bool>()), |(trail, plain)| {
            let make = |method: usize, shape: &prop::sample::Index, words: &[prop::sample::Index]| {
                let method = METHODS[method];
                let anything = NameShape {
                    parts: vec![NamePart::Run { may_be_empty: false }],
                    scope: Scope::Exact,
                };
                let of_method = shapes.get(method).map_or(&[][..], Vec::as_slice);
                let shape = match of_method {
                    [] if method.starts_with("google.") => &anything,
                    [] => return call(method, &[]),
                    some => &some[shape.index(some.len())],
                };
                let mut made = call(method, &[&name_of(shape, words, plain)]);
                made.resources[0].scope = shape.scope;
                made
            };
            let trail: Vec<Recorded> = trail
                .iter()
                .zip(0i64..)
                .map(|((effect, (method, shape, words), also), at)| {
                    let mut calls = vec![make(*method, shape, words)];
                    calls.extend(also.map(|method| make(method, shape, words)));
                    recorded(*effect, calls, &[at])
                })
                .collect();
            let yaml = &suggest(&methods, &trail, |_| true)[0].yaml;
            let lines_fit = yaml.lines().all(|line| !line.chars().any(char::is_control));
            prop_assert!(lines_fit, "{}", yaml);
            let passed = trail.iter().any(|r| r.decided() != Some(Effect::Deny));
            // A document of comments alone holds no policy.
            let policies = if passed { compiled(yaml) } else { vec![] };
            let set = PolicySet::new(policies);

            let units = |r: &Recorded| -> BTreeSet<(String, String, bool)> {
                let calls = r.calls.iter();
                calls
                    .flat_map(|c| {
                        let names: SmallVec<[(String, bool); 1]> = match c.resources.as_slice() {
                            [] => SmallVec::from_iter([(String::new(), false)]),
                            some => some
                                .iter()
                                .map(|r| (r.name.clone(), r.scope == Scope::Below))
                                .collect(),
                        };
                        names
                            .into_iter()
                            .map(|(name, below)| (c.method.to_owned(), name, below))
                    })
                    .collect()
            };
            let with = |effect| -> BTreeSet<_> {
                trail
                    .iter()
                    .filter(|r| r.decided() == Some(effect))
                    .flat_map(units)
                    .collect()
            };
            let (held, allowed) = (with(Effect::RequireApproval), with(Effect::Allow));
            let refused = with(Effect::Deny);
            let sensitive = Traits::RETURNS_CREDENTIALS;
            let is_sensitive = |c: &Call| {
                c.traits.contains(sensitive)
                    || c.traits.contains(Traits::DESTRUCTIVE)
                    || c.traits.contains(Traits::IAM)
            };
            for r in &trail {
                let now = decided(&set, r.agent.as_ref().unwrap(), &r.calls);
                let told = format!("{:?} {:?}\n{yaml}", r.decided(), units(r));
                match r.decided() {
                    Some(Effect::RequireApproval) => {
                        prop_assert_eq!(now, Effect::RequireApproval, "{}", told)
                    }
                    Some(Effect::Allow) => {
                        prop_assert_ne!(now, Effect::Deny, "{}", told);
                        // Held only where it must be: the method wants care, or a call that this one may be was held.
                        let cares = r.calls.iter().any(is_sensitive);
                        let held_too = units(r).iter().any(|u| held.iter().any(|h| h.0 == u.0));
                        // Or a call that this one may be was refused at another time.
                        let refused_too = units(r).iter().any(|u| refused.iter().any(|d| d.0 == u.0));
                        let may_be_held = cares || held_too || refused_too;
                        prop_assert!(now == Effect::Allow || may_be_held, "{}", told);
                    }
                    _ => {
                        // Refused stays refused. Names that stand for many, or that no glob can say, aside.
                        let said = |u: &(String, String, bool)| {
                            plain && !u.2 && !u.1.split('/').any(|segment| segment == "-" || segment == "12")
                        };
                        let passed = |u: &(String, String, bool)| {
                            held.iter().chain(&allowed).any(|p| p.0 == u.0 && (p == u || p.2))
                        };
                        let surely = units(r).iter().any(|u| said(u) && !passed(u));
                        prop_assert!(now == Effect::Deny || !surely, "{}", told);
                    }
                }
            }
            counted.set(counted.get() + trail.len() as u64);
            Ok(())
        })
        .unwrap();
    println!(
        "suggest: {} trails, {} calls, 0 counterexamples",
        cases(),
        counted.get()
    );
}
