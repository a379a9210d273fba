//! `diff` against brute force: what it says of a call is what deciding it twice says, whatever conditions come to; and
//! the words of its changes mean just the calls that they are about.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use proptest::{prelude::*, test_runner::TestRunner};
use smallvec::SmallVec;
use turnpike_policy::{
    Facts, PolicyDef, PolicySet,
    call::{Call, MethodIndex, Resource, Scope, Traits, Transport},
    caller::{Caller, Identity},
    catalog::{Catalog, NamePart, NameShape},
    decide,
    definition::{
        AgentMatch, ApprovalTimes, CredentialDef, Effect, ImpersonateDef, LimitsDef, Mode, RuleDef,
    },
    glob::{MethodGlob, ResourceGlob},
    whatif::{Comparison, Found, Methods, Region},
};

/// Methods with names of many shapes: objects, children that are created, regions of Cloud Run, two names, none at
/// all, and what has no REST form.
const METHODS: &[&str] = &[
    "compute.instances.insert",
    "compute.instances.list",
    "compute.projects.get",
    "firestore.projects.databases.documents.get",
    "google.bigtable.v2.Bigtable.ReadRows",
    "iam.projects.serviceAccounts.keys.create",
    "addressvalidation.validateAddress",
    "pubsub.projects.topics.create",
    "pubsub.projects.topics.publish",
    "run.namespaces.services.create",
    "run.projects.locations.services.create",
    "secretmanager.projects.secrets.versions.access",
    "storage.buckets.insert",
    "storage.buckets.list",
    "storage.objects.copy",
    "storage.objects.delete",
    "storage.objects.get",
    "storage.objects.insert",
    "storage.objects.list",
];

const CONDITIONS: &[&str] = &[
    "request.verb == \"POST\"",
    "request.verb == \"GET\"",
    "request.host == \"a\"",
];

fn any_rule() -> impl Strategy<Value = RuleDef> {
    let effect = prop_oneof![
        3 => Just(Effect::Allow),
        1 => Just(Effect::RequireApproval),
        1 => Just(Effect::Deny)
    ];
    let method = prop_oneof![
        Just("**"),
        Just("storage.**"),
        Just("storage.objects.*"),
        Just("**.get"),
        Just("**.create"),
        Just("*.projects.**"),
        Just("run.**"),
        Just("compute.**"),
        Just("google.**"),
        Just("storage.objects.get"),
    ];
    let resource = prop_oneof![
        2 => Just("**"),
        1 => Just("projects/_/**"),
        1 => Just("projects/_/buckets/acme/**"),
        1 => Just("projects/_/buckets/a*/**"),
        1 => Just("projects/_/buckets/*-dev/objects/*"),
        1 => Just("projects/_/buckets/*/objects/**/a"),
        1 => Just("projects/*/topics/t*"),
        1 => Just("projects/acme"),
        2 => Just("projects/acme/**"),
        1 => Just("projects/acme/locations/*/services/*"),
        1 => Just("projects/*/locations/us/**"),
        1 => Just("projects/ac*/**"),
        1 => Just("projects/12/**"),
        1 => Just("projects/1*/**"),
        1 => Just("projects/-/**"),
        1 => Just("**/a"),
        1 => Just("*")
    ];
    let when = prop_oneof![
        5 => Just(None),
        1 => Just(Some(0)),
        1 => Just(Some(1)),
        1 => Just(Some(2))
    ];
    (
        effect,
        prop::collection::vec(method, 1..3),
        prop::collection::vec(resource, 0..3),
        when,
    )
        .prop_map(|(effect, methods, resources, when)| RuleDef {
            name: String::new(),
            effect,
            methods: methods.iter().map(|m| MethodGlob::parse(m).unwrap()).collect(),
            resources: resources
                .iter()
                .map(|r| ResourceGlob::parse(r).unwrap())
                .collect(),
            when: when.map(|w: usize| CONDITIONS[w].to_owned()),
            message: None,
            approval: ApprovalTimes::default(),
        })
}

fn any_policies() -> impl Strategy<Value = Vec<PolicyDef>> {
    let account = |namespace: Option<&str>, name: Option<&str>| AgentMatch::ServiceAccount {
        namespace: namespace.map(str::to_owned),
        name: name.map(str::to_owned),
    };
    let agents = prop_oneof![
        4 => Just(vec![account(Some("agents"), Some("coder"))]),
        1 => Just(vec![account(Some("agents"), Some("tester")), account(Some("agents"), Some("coder"))]),
        1 => Just(vec![account(Some("agents"), None)]),
        1 => Just(vec![account(None, Some("coder"))]),
        1 => Just(vec![account(None, None)]),
    ];
    let credential = prop_oneof![4 => Just(None), 1 => Just(Some("a")), 1 => Just(Some("b"))];
    let one = (
        prop::collection::vec(any_rule(), 0..4),
        agents,
        prop_oneof![5 => Just(Mode::Enforce), 1 => Just(Mode::DryRun)],
        credential,
    );
    prop::collection::vec(one, 0..4).prop_map(|list| {
        let policies = list.into_iter().enumerate();
        let policy = |(i, (rules, agents, mode, credential)): (usize, (Vec<RuleDef>, _, _, Option<&str>))| {
            let named = (0..).zip(rules).map(|(n, rule): (u32, RuleDef)| RuleDef {
                name: format!("r{n}"),
                ..rule
            });
            PolicyDef {
                namespace: "agents".into(),
                name: format!("p{i}"),
                uid: String::new(),
                generation: 1,
                mode,
                suspend: false,
                agents,
                credential: credential.map(|name| {
                    CredentialDef {
                        impersonate: Some(ImpersonateDef {
                            service_account: format!("{name}@acme.iam.gserviceaccount.com"),
                            delegates: vec![],
                        }),
                        ..CredentialDef::default()
                    }
                    .into()
                }),
                rules: named.collect(),
                risk: None,
                limits: LimitsDef::default(),
                outbound: None,
                masks: vec![],
                record_bodies: None,
            }
        };
        policies.map(policy).collect()
    })
}

/// Both sides: the new one is the old one, edited.
fn any_pair() -> impl Strategy<Value = (Vec<PolicyDef>, Vec<PolicyDef>)> {
    let edit = (any::<prop::sample::Index>(), any_policies(), 0..4u8);
    (any_policies(), edit).prop_map(|(old, (at, others, how))| {
        let mut new = old.clone();
        match how {
            // Something else altogether.
            0 => new = others,
            // One policy goes, another comes.
            1 => {
                if !new.is_empty() {
                    new.remove(at.index(new.len()));
                }
                new.extend(others.into_iter().take(1).map(|mut p| {
                    p.name = "added".to_owned();
                    p
                }));
            }
            // A policy's rules, or its credential, are other ones.
            _ => {
                if let (false, Some(other)) = (new.is_empty(), others.into_iter().next()) {
                    let at = at.index(new.len());
                    match how {
                        2 => new[at].credential = other.credential,
                        _ => new[at].rules = other.rules,
                    }
                }
            }
        }
        (old, new)
    })
}

fn caller(namespace: &str, name: &str) -> Caller {
    Caller {
        identity: Identity::ServiceAccount {
            namespace: namespace.into(),
            name: name.into(),
        },
        issuer: String::new(),
        session: String::new(),
        pod: None,
    }
}

/// A name of a shape, made of words that globs speak of and others.
fn name_of(shape: &NameShape, words: &[prop::sample::Index]) -> String {
    const WORDS: &[&str] = &[
        "acme", "acme-dev", "a", "t1", "us", "eu", "other", "-", "12", "13", "acmx",
    ];
    let mut words = words.iter().map(|at| WORDS[at.index(WORDS.len())]);
    let mut word = || words.next().unwrap_or("other");
    let mut name: Vec<&str> = Vec::new();
    for part in &shape.parts {
        match part {
            NamePart::Literal(text) => name.push(text),
            NamePart::One => name.push(word()),
            NamePart::Run { may_be_empty } => {
                let length = match word() {
                    "acme" if *may_be_empty => 0,
                    "a" | "t1" | "us" => 3,
                    "other" => 2,
                    _ => 1,
                };
                name.extend((0..length).map(|_| word()));
            }
        }
    }
    name.join("/")
}

fn is_open(name: &str) -> bool {
    let segments: Vec<&str> = name.split('/').collect();
    (0..segments.len()).any(|at| {
        let number = segments[at].bytes().all(|b| b.is_ascii_digit()) && !segments[at].is_empty();
        segments[at] == "-" || (number && at > 0 && segments[at - 1] == "projects")
    })
}

fn call(method: &'static str, name: &str, scope: Scope) -> Call {
    Call {
        method,
        index: MethodIndex(0),
        api: "",
        version: "",
        traits: Traits::NONE,
        transport: Transport::Rest,
        resources: SmallVec::from_iter([Resource {
            name: name.to_owned(),
            project: None,
            location: None,
            kind: "",
            id: None,
            scope,
        }]),
    }
}

/// What conditions come to, by their places in [`CONDITIONS`]; `None` for one that fails.
type Truths = [Option<bool>; 3];

/// The set in which conditions are replaced by what they come to.
fn assuming(policies: &[PolicyDef], truths: Truths) -> PolicySet {
    let stays = |rule: &RuleDef| {
        let at = rule
            .when
            .as_ref()
            .and_then(|when| CONDITIONS.iter().position(|c| c == when));
        at.is_none_or(|at| truths[at].unwrap_or(rule.effect != Effect::Allow))
    };
    let replaced = policies.iter().map(|policy| PolicyDef {
        rules: policy
            .rules
            .iter()
            .filter(|r| stays(r))
            .map(|r| RuleDef {
                when: None,
                ..r.clone()
            })
            .collect(),
        ..policy.clone()
    });
    PolicySet::new(replaced.collect())
}

/// Effect and credential.
fn decided(set: &PolicySet, caller: &Caller, call: &Call) -> (Effect, String) {
    let facts = Facts::of(caller, std::slice::from_ref(call), Timestamp::UNIX_EPOCH);
    let verdict = decide(set, &facts).verdict;
    let credential = match &verdict {
        turnpike_policy::Verdict::Allow(permit) => format!("{:?}", permit.credential()),
        _ => String::new(),
    };
    (verdict.effect(), credential)
}

/// Whether the words of a change are true.
fn holds(when: Option<&str>, truths: Truths) -> bool {
    let term = |term: &str| {
        let (text, wanted) = match (
            term.strip_prefix("not ("),
            term.strip_suffix(") cannot be evaluated"),
        ) {
            (Some(rest), _) => (rest.strip_suffix(')').unwrap(), Some(false)),
            (None, Some(rest)) => (rest.strip_prefix('(').unwrap(), None),
            (None, None) => (term, Some(true)),
        };
        let at = CONDITIONS.iter().position(|c| *c == text).unwrap();
        truths[at] == wanted
    };
    when.is_none_or(|when| when.split("; or ").any(|all| all.split(" and ").all(term)))
}

/// Whether the words of a region mean a closed name.
fn within(region: &Region, name: &str) -> bool {
    let matches = |text: &String| ResourceGlob::parse(text).unwrap().matches(name);
    !region.below && region.on.iter().all(matches) && !region.except.iter().any(matches)
}

/// Cases of the property, each of which decides thousands of times: a quarter of what `PROPTEST_CASES` says.
fn cases() -> u32 {
    std::env::var("PROPTEST_CASES")
        .ok()
        .and_then(|n| n.parse::<u32>().ok())
        .map_or(400, |cases| (cases / 4).max(1))
}

#[test]
fn diff_says_what_deciding_twice_says() {
    let catalog = Catalog::embedded().unwrap();
    let methods = Methods::some(catalog, |id| METHODS.contains(&id));
    let mut shapes: BTreeMap<&str, Vec<NameShape>> = BTreeMap::new();
    for (index, of_row) in catalog.name_shapes() {
        let id = catalog.ids()[index.as_usize()];
        shapes.entry(id).or_default().extend(of_row);
    }
    let callers = [
        caller("agents", "coder"),
        caller("agents", "tester"),
        caller("agents", "somebody"),
        caller("elsewhere", "coder"),
        caller("elsewhere", "somebody"),
    ];
    let all_truths: Vec<Truths> = {
        let each = [Some(true), Some(false), None];
        let three = each.iter().flat_map(|a| each.iter().map(move |b| (a, b)));
        three
            .flat_map(|(a, b)| each.iter().map(move |c| [*a, *b, *c]))
            .collect()
    };
    let mut runner = TestRunner::new(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(cases())
    });
    let counts = std::cell::Cell::new((0u64, 0u64));
    let words = prop::collection::vec(any::<prop::sample::Index>(), 24);
    let names = prop::collection::vec((0..METHODS.len(), any::<prop::sample::Index>(), words), 12);
    runner
        .run(&(any_pair(), names), |((old, new), names)| {
            let (old_set, new_set) = (PolicySet::new(old.clone()), PolicySet::new(new.clone()));
            let comparison = Comparison::new(&methods, &old_set, &new_set);
            let diff = comparison.diff();
            prop_assert_eq!(&diff.unexplored, &Vec::<String>::new());
            let sets: Vec<(PolicySet, PolicySet)> = all_truths
                .iter()
                .map(|t| (assuming(&old, *t), assuming(&new, *t)))
                .collect();
            for (method, shape, words) in &names {
                let method = METHODS[*method];
                let anything = NameShape {
                    parts: vec![NamePart::Run { may_be_empty: true }],
                    scope: Scope::Exact,
                };
                let shape = match shapes.get(method).filter(|s| !s.is_empty()) {
                    Some(shapes) => &shapes[shape.index(shapes.len())],
                    None if method.starts_with("google.") => &anything,
                    None => &NameShape {
                        parts: vec![],
                        scope: Scope::Exact,
                    },
                };
                let name = name_of(shape, words);
                let call = call(method, &name, shape.scope);
                for caller in &callers {
                    let found = match comparison.of(caller, method, Some((&name, shape.scope))) {
                        Found::Unexplored => {
                            return Err(TestCaseError::fail(format!("unexplored: {method} on {name}")));
                        }
                        Found::Same => vec![],
                        Found::Changed(found) => found,
                    };
                    let mut differs = false;
                    for (truths, (old, new)) in all_truths.iter().zip(&sets) {
                        let (from, to) = (decided(old, caller, &call), decided(new, caller, &call));
                        let expected: Vec<_> = (from != to).then_some((from.0, to.0)).into_iter().collect();
                        differs |= from != to;
                        let mut told: Vec<_> = found
                            .iter()
                            .filter(|d| holds(d.when.as_deref(), *truths))
                            .map(|d| (d.from.effect, d.to.effect))
                            .collect();
                        // Told once by each rule that decides.
                        told.dedup();
                        if truths.contains(&None) {
                            // A condition that fails is told as one that holds or does not, as the rules take it.
                            told = found.iter().map(|d| (d.from.effect, d.to.effect)).collect();
                            told.retain(|pair| expected.contains(pair));
                            told.truncate(1);
                        }
                        prop_assert_eq!(&told, &expected, "{} on {} {:?}", method, name, truths);
                    }
                    let (decisions, changed) = counts.get();
                    let more = 2 * all_truths.len() as u64;
                    counts.set((decisions + more, changed + u64::from(differs)));
                    if shape.scope == Scope::Below || is_open(&name) {
                        continue;
                    }
                    let names = comparison.class_of(caller);
                    let worded: BTreeSet<_> = diff
                        .changes
                        .iter()
                        .filter(|c| Some(&*c.agents) == names && c.methods.contains(&method))
                        .filter(|c| c.resources.iter().any(|r| within(r, &name)))
                        .map(|c| {
                            (
                                c.from.effect,
                                &c.from.credential,
                                c.to.effect,
                                &c.to.credential,
                                &c.when,
                            )
                        })
                        .collect();
                    let expected: BTreeSet<_> = found
                        .iter()
                        .map(|d| {
                            (
                                d.from.effect,
                                &d.from.credential,
                                d.to.effect,
                                &d.to.credential,
                                &d.when,
                            )
                        })
                        .collect();
                    prop_assert_eq!(worded, expected, "{} on {}", method, name);
                }
            }
            Ok(())
        })
        .unwrap();
    let (decisions, changed) = counts.get();
    assert!(changed > u64::from(cases()), "only {changed} calls differ");
    println!(
        "diff: {} pairs of sets, {decisions} decisions, {changed} calls that differ",
        cases()
    );
    println!("policy: {} cases, 0 counterexamples", cases());
}
