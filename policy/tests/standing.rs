//! What holds for agents whatever they call, and agents that are selected by lists of namespaces.

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use turnpike_policy::{
    Facts, PolicyDef, PolicySet,
    call::{Call, MethodIndex, Traits, Transport},
    caller::{Caller, Identity},
    decide,
    definition::{AgentMatch, ApprovalDef, Effect, LimitsDef, Mode, RuleDef},
    glob::MethodGlob,
};

fn account(namespace: &str, name: &str) -> Caller {
    Caller {
        identity: Identity::ServiceAccount {
            namespace: namespace.into(),
            name: name.into(),
        },
        issuer: "https://cluster.test".into(),
        session: "s".into(),
        pod: None,
    }
}

fn oidc(subject: &str) -> Caller {
    Caller {
        identity: Identity::Oidc {
            issuer: "https://ci.test".into(),
            subject: subject.into(),
            audiences: vec!["turnpike".into()],
            claims: BTreeMap::new(),
        },
        issuer: "https://ci.test".into(),
        session: "s".into(),
        pod: None,
    }
}

fn by_name(namespace: Option<&str>, name: Option<&str>) -> AgentMatch {
    AgentMatch::ServiceAccount {
        namespace: namespace.map(str::to_owned),
        name: name.map(str::to_owned),
    }
}

fn by_list(namespaces: &[&str], name: Option<&str>) -> AgentMatch {
    AgentMatch::Namespaces {
        namespaces: Arc::new(namespaces.iter().map(|n| (*n).to_owned()).collect()),
        name: name.map(str::to_owned),
    }
}

fn by_subject(subject: &str) -> AgentMatch {
    AgentMatch::Oidc {
        issuer: "https://ci.test".into(),
        audience: "turnpike".into(),
        subject: Some(subject.into()),
        claims: BTreeMap::new(),
    }
}

fn policy(name: &str, agents: Vec<AgentMatch>) -> PolicyDef {
    PolicyDef {
        namespace: "ns".into(),
        name: name.into(),
        uid: format!("uid-{name}"),
        generation: 1,
        mode: Mode::Enforce,
        suspend: false,
        agents,
        credential: None,
        rules: Vec::new(),
        risk: None,
        limits: LimitsDef::default(),
        outbound: None,
        masks: Vec::new(),
        record_bodies: None,
    }
}

fn limiting(name: &str, agents: Vec<AgentMatch>, calls: u32, held: Option<u32>) -> PolicyDef {
    PolicyDef {
        limits: LimitsDef {
            calls_per_minute: Some(calls),
            held_calls: held,
            ..LimitsDef::default()
        },
        ..policy(name, agents)
    }
}

fn dry(policy: PolicyDef) -> PolicyDef {
    PolicyDef {
        mode: Mode::DryRun,
        ..policy
    }
}

fn suspending(name: &str, agents: Vec<AgentMatch>) -> PolicyDef {
    PolicyDef {
        suspend: true,
        ..policy(name, agents)
    }
}

#[test]
fn the_lowest_of_each_limit_counts_and_dry_run_only_tells() {
    let set = PolicySet::new(vec![
        limiting("a", vec![by_name(Some("dev"), None)], 60, None),
        limiting("b", vec![by_name(None, Some("coder"))], 30, Some(5)),
        limiting("c", vec![by_list(&["dev", "test"], None)], 90, Some(2)),
        dry(limiting("d", vec![by_name(None, None)], 7, Some(1))),
        limiting("e", vec![by_subject("repo:acme")], 10, None),
    ]);
    let limits = |calls, held| LimitsDef {
        calls_per_minute: calls,
        held_calls: held,
        ..LimitsDef::default()
    };
    let tried = limits(Some(7), Some(1));
    let none = LimitsDef::default();
    let rows = [
        (
            account("dev", "coder"),
            limits(Some(30), Some(2)),
            tried,
            Some("b"),
        ),
        (
            account("dev", "other"),
            limits(Some(60), Some(2)),
            tried,
            Some("a"),
        ),
        (
            account("test", "other"),
            limits(Some(90), Some(2)),
            tried,
            Some("c"),
        ),
        (
            account("prod", "coder"),
            limits(Some(30), Some(5)),
            tried,
            Some("b"),
        ),
        (account("prod", "other"), none, tried, None),
        (oidc("repo:acme"), limits(Some(10), None), none, Some("e")),
        (oidc("repo:other"), none, none, None),
    ];
    for (caller, limits, tried, by) in rows {
        let found = (
            set.limits_of(&caller),
            set.limits_tried_on(&caller),
            set.limited_by(&caller, |l| l.calls_per_minute.map(u64::from))
                .map(|p| p.name.as_str()),
        );
        assert_eq!(found, (limits, tried, by), "{caller:?}");
    }
}

#[test]
fn whoever_is_suspended_is_told_by_which_policy() {
    let set = PolicySet::new(vec![
        suspending("b", vec![by_name(Some("dev"), Some("coder"))]),
        dry(suspending("a", vec![by_name(None, Some("coder"))])),
        suspending("c", vec![by_subject("repo:acme")]),
        suspending("d", vec![by_list(&["test"], None)]),
        policy("0", vec![by_name(None, None)]),
    ]);
    let rows = [
        (account("dev", "coder"), Some("a")),
        (account("prod", "coder"), Some("a")),
        (account("test", "coder"), Some("a")),
        (account("test", "other"), Some("d")),
        (account("dev", "other"), None),
        (oidc("repo:acme"), Some("c")),
        (oidc("repo:other"), None),
    ];
    assert!(set.suspends());
    for (caller, by) in rows {
        let found = set.suspended_by(&caller).map(|p| p.name.as_str());
        assert_eq!(found, by, "{caller:?}");
    }
    assert!(!PolicySet::new(vec![policy("a", vec![by_name(None, None)])]).suspends());
    assert!(!PolicySet::deny_all().suspends());
}

fn rule(name: &str, effect: Effect) -> RuleDef {
    RuleDef {
        name: name.into(),
        effect,
        methods: vec![MethodGlob::parse("storage.**").unwrap()],
        resources: Vec::new(),
        when: None,
        message: None,
        approval: ApprovalDef::default(),
    }
}

/// Verdict and rules of one call.
fn decided(set: &PolicySet, caller: &Caller) -> (Effect, Vec<String>) {
    let call = Call {
        method: "storage.objects.get",
        index: MethodIndex(0),
        api: "storage",
        version: "v1",
        traits: Traits::READ,
        transport: Transport::Rest,
        resources: smallvec::SmallVec::new(),
    };
    let calls = [call];
    let facts = Facts::of(caller, &calls, Timestamp::UNIX_EPOCH);
    let decision = decide(set, &facts);
    let name = |h: &turnpike_policy::set::Hit| {
        let found = set.rule(h.rule);
        format!("{}/{}", found.policy.name, found.rule.name)
    };
    (
        decision.verdict.effect(),
        decision.hits.iter().map(name).collect(),
    )
}

#[test]
fn a_list_of_namespaces_is_as_good_as_an_entry_for_each() {
    let lists: [(&str, &[&str], Option<&str>, Effect); 5] = [
        ("everybody", &["a", "b", "c"], None, Effect::Allow),
        ("again", &["a", "b", "c"], None, Effect::Allow),
        ("coders", &["a", "b", "c"], Some("coder"), Effect::RequireApproval),
        ("one", &["b"], None, Effect::Deny),
        ("nobody", &[], None, Effect::Deny),
    ];
    type Agents = fn(&[&str], Option<&str>) -> Vec<AgentMatch>;
    let with = |agents: Agents| {
        let policies = lists
            .iter()
            .map(|(policy_name, namespaces, name, effect)| PolicyDef {
                rules: vec![rule("r", *effect)],
                ..policy(policy_name, agents(namespaces, *name))
            });
        PolicySet::new(policies.collect())
    };
    let listed = with(|namespaces, name| vec![by_list(namespaces, name)]);
    let each = with(|namespaces, name| namespaces.iter().map(|n| by_name(Some(n), name)).collect());
    let mut verdicts = Vec::new();
    for namespace in ["a", "b", "c", "d"] {
        for name in ["coder", "other"] {
            let caller = account(namespace, name);
            let found = decided(&listed, &caller);
            assert_eq!(found, decided(&each, &caller), "{caller:?}");
            verdicts.push(found.0);
        }
    }
    use Effect::{Allow, Deny, RequireApproval};
    let expected = [
        RequireApproval,
        Allow,
        Deny,
        Deny,
        RequireApproval,
        Allow,
        Deny,
        Deny,
    ];
    assert_eq!(verdicts, expected);
    assert_eq!(decided(&listed, &oidc("a")), (Deny, Vec::new()));
}

#[test]
fn a_thousand_namespaces_fit_a_bundle_many_times() {
    let namespaces: Vec<String> = (0..1000).map(|n| format!("team-{n:04}-production")).collect();
    let namespaces: Vec<&str> = namespaces.iter().map(String::as_str).collect();
    let guardrail = policy("guardrail", vec![by_list(&namespaces, None)]);
    let json = serde_json::to_string(&guardrail).unwrap();
    println!("{} bytes", json.len());
    assert!(json.len() < 25 * 1024, "{} bytes", json.len());
    assert_eq!(serde_json::from_str::<PolicyDef>(&json).unwrap(), guardrail);

    // Ten of them of ten rules, each with a selector of its own, are put into force in moments.
    let guardrails = (0..10).map(|n| PolicyDef {
        rules: (0..10).map(|r| rule(&format!("r{r}"), Effect::Deny)).collect(),
        agents: vec![by_list(&namespaces[n..], None)],
        ..policy(&format!("guardrail-{n}"), Vec::new())
    });
    let guardrails: Vec<PolicyDef> = guardrails.collect();
    let started = std::time::Instant::now();
    let set = PolicySet::new(guardrails);
    println!(
        "a set of 10 guardrails for 1,000 namespaces was built in {:?}",
        started.elapsed()
    );
    let found = decided(&set, &account("team-0009-production", "coder"));
    assert_eq!((found.0, found.1.len()), (Effect::Deny, 100));
    let found = decided(&set, &account("team-0000-production", "coder"));
    assert_eq!((found.0, found.1.len()), (Effect::Deny, 10));
}
