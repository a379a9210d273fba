//! How policies combine: tables, and properties over generated policies.

use std::sync::Arc;

use jiff::{Timestamp, ToSpan};
use proptest::{prelude::*, test_runner::TestRunner};
use turnpike_policy::{
    Facts, PolicyDef, PolicySet, Verdict,
    call::{Call, MethodIndex, Resource, Scope, Traits, Transport},
    caller::{Caller, Identity},
    decide,
    decide::{Approval, ApprovedRule, Basis, Denial, Stale, resume},
    definition::{
        AgentMatch, ApprovalTimes, CredentialDef, Effect, ImpersonateDef, LimitsDef, Mode, RuleDef,
    },
    digest::CallDigester,
    glob::{MethodGlob, ResourceGlob},
};

fn caller(namespace: &str, name: &str) -> Caller {
    Caller {
        identity: Identity::ServiceAccount {
            namespace: namespace.into(),
            name: name.into(),
        },
        issuer: "https://issuer.test".into(),
        session: "s".into(),
        pod: None,
    }
}

fn call(method: &'static str, resources: &[(&str, Scope)]) -> Call {
    Call {
        method,
        index: MethodIndex(0),
        api: "storage",
        version: "v1",
        traits: Traits::READ,
        transport: Transport::Rest,
        resources: resources
            .iter()
            .map(|(name, scope)| Resource {
                name: (*name).to_owned(),
                project: None,
                location: None,
                kind: "objects",
                id: None,
                scope: *scope,
            })
            .collect(),
    }
}

fn rule(name: &str, effect: Effect, methods: &[&str], resources: &[&str]) -> RuleDef {
    RuleDef {
        name: name.into(),
        effect,
        methods: methods.iter().map(|m| MethodGlob::parse(m).unwrap()).collect(),
        resources: resources
            .iter()
            .map(|r| ResourceGlob::parse(r).unwrap())
            .collect(),
        when: None,
        message: None,
        approval: ApprovalTimes::default(),
    }
}

fn policy(namespace: &str, name: &str, agent: &str, rules: Vec<RuleDef>) -> PolicyDef {
    PolicyDef {
        namespace: namespace.into(),
        name: name.into(),
        uid: format!("uid-{namespace}-{name}"),
        generation: 1,
        mode: Mode::Enforce,
        suspend: false,
        agents: vec![AgentMatch::ServiceAccount {
            namespace: Some(namespace.into()),
            name: Some(agent.into()),
        }],
        credential: None,
        rules,
        risk: None,
        limits: LimitsDef::default(),
        outbound: None,
        masks: vec![],
        record_bodies: None,
    }
}

/// The verdict and the rules that matched, as text.
fn outcome(
    policies: Vec<PolicyDef>,
    caller: &Caller,
    calls: &[Call],
) -> (String, Vec<String>, Option<Effect>) {
    let set = PolicySet::new(policies);
    let decision = decide(
        &set,
        &Facts {
            caller,
            calls,
            now: Timestamp::UNIX_EPOCH,
        },
    );
    let name = |id| {
        let r = set.rule(id);
        format!("{}/{}/{}", r.policy.namespace, r.policy.name, r.rule.name)
    };
    let verdict = match &decision.verdict {
        Verdict::Allow(_) => "allow".to_owned(),
        Verdict::Hold(hold) => format!(
            "hold {}",
            hold.rules.iter().map(|r| name(*r)).collect::<Vec<_>>().join(" ")
        ),
        Verdict::Deny(Denial::Rule(id)) => format!("deny {}", name(*id)),
        Verdict::Deny(Denial::NothingMatched { call, resource }) => format!("nothing {call}.{resource}"),
        Verdict::Deny(Denial::CredentialConflict(a, b)) => format!("conflict {} {}", name(*a), name(*b)),
    };
    let hits = decision
        .hits
        .iter()
        .map(|h| {
            let (method, resource) = set.globs(h);
            format!("{} {method} {}", name(h.rule), resource.unwrap_or("-"))
        })
        .collect();
    (verdict, hits, decision.would)
}

const OBJECT: (&str, Scope) = ("projects/_/buckets/acme/objects/a", Scope::Exact);

#[test]
fn deny_beats_approval_beats_allow_and_nothing_is_denied() {
    let allow = || {
        rule(
            "read",
            Effect::Allow,
            &["storage.objects.*"],
            &["projects/_/buckets/acme/**"],
        )
    };
    let hold = || rule("ask", Effect::RequireApproval, &["storage.**"], &[]);
    let deny = || {
        rule(
            "never",
            Effect::Deny,
            &["**.get"],
            &["projects/_/buckets/acme/objects/*"],
        )
    };
    let get = || [call("storage.objects.get", &[OBJECT])];
    let cases: Vec<(Vec<RuleDef>, &str)> = vec![
        (vec![], "nothing 0.0"),
        (vec![allow()], "allow"),
        (vec![allow(), hold()], "hold agents/p/ask"),
        (vec![hold()], "hold agents/p/ask"),
        (vec![hold(), allow(), deny()], "deny agents/p/never"),
        (vec![deny()], "deny agents/p/never"),
        (
            vec![rule("other", Effect::Allow, &["compute.**"], &[])],
            "nothing 0.0",
        ),
        (
            vec![rule(
                "other",
                Effect::Allow,
                &["storage.**"],
                &["projects/_/buckets/b/**"],
            )],
            "nothing 0.0",
        ),
    ];
    for (rules, expected) in cases {
        let text = format!("{rules:?}");
        let (verdict, ..) = outcome(
            vec![policy("agents", "p", "coder", rules)],
            &caller("agents", "coder"),
            &get(),
        );
        assert_eq!(verdict, expected, "{text}");
    }
}

#[test]
fn every_rule_that_matched_is_told_once_with_the_globs() {
    let rules = vec![
        rule(
            "a",
            Effect::Allow,
            &["storage.objects.get", "storage.**"],
            &["projects/_/**", "**"],
        ),
        rule("b", Effect::Deny, &["compute.**"], &[]),
        rule("c", Effect::RequireApproval, &["**"], &[]),
    ];
    let got = outcome(
        vec![policy("agents", "p", "coder", rules)],
        &caller("agents", "coder"),
        &[call("storage.objects.get", &[OBJECT])],
    );
    assert_eq!(
        got,
        (
            "hold agents/p/c".to_owned(),
            vec![
                "agents/p/a storage.objects.get projects/_/**".to_owned(),
                "agents/p/c ** -".to_owned()
            ],
            None
        )
    );
}

#[test]
fn policies_select_their_agents_alone() {
    let everything = || vec![rule("all", Effect::Allow, &["**"], &[])];
    let mut whole_namespace = policy("agents", "ns", "x", everything());
    whole_namespace.agents = vec![AgentMatch::ServiceAccount {
        namespace: Some("agents".into()),
        name: None,
    }];
    let mut everybody = policy(
        "turnpike-system",
        "all",
        "x",
        vec![rule("no", Effect::Deny, &["**.delete"], &[])],
    );
    everybody.agents = vec![AgentMatch::ServiceAccount {
        namespace: None,
        name: None,
    }];
    let get = [call("storage.objects.get", &[OBJECT])];
    let delete = [call("storage.objects.delete", &[OBJECT])];
    let policies = || vec![policy("agents", "p", "coder", everything()), everybody.clone()];
    assert_eq!(outcome(policies(), &caller("agents", "coder"), &get).0, "allow");
    assert_eq!(
        outcome(policies(), &caller("agents", "coder"), &delete).0,
        "deny turnpike-system/all/no"
    );
    assert_eq!(
        outcome(policies(), &caller("agents", "other"), &get).0,
        "nothing 0.0"
    );
    assert_eq!(
        outcome(policies(), &caller("other", "coder"), &get).0,
        "nothing 0.0"
    );
    assert_eq!(
        outcome(vec![whole_namespace.clone()], &caller("agents", "any"), &get).0,
        "allow"
    );
    assert_eq!(
        outcome(vec![whole_namespace], &caller("other", "any"), &get).0,
        "nothing 0.0"
    );
}

#[test]
fn oidc_callers_match_by_issuer_audience_subject_and_claims() {
    let mut p = policy("agents", "p", "x", vec![rule("all", Effect::Allow, &["**"], &[])]);
    p.agents = vec![AgentMatch::Oidc {
        issuer: "https://ci.test".into(),
        audience: "turnpike".into(),
        subject: None,
        claims: [("repository".to_owned(), "acme/app".to_owned())].into(),
    }];
    let who = |issuer: &str, audience: &str, repository: &str| Caller {
        identity: Identity::Oidc {
            issuer: issuer.into(),
            subject: "job".into(),
            audiences: vec![audience.into()],
            claims: [("repository".to_owned(), repository.to_owned())].into(),
        },
        ..caller("", "")
    };
    let get = [call("storage.objects.get", &[OBJECT])];
    let cases = [
        (who("https://ci.test", "turnpike", "acme/app"), "allow"),
        (who("https://ci.test", "turnpike", "acme/other"), "nothing 0.0"),
        (who("https://ci.test", "other", "acme/app"), "nothing 0.0"),
        (who("https://other.test", "turnpike", "acme/app"), "nothing 0.0"),
        (caller("agents", "x"), "nothing 0.0"),
    ];
    for (who, expected) in cases {
        assert_eq!(outcome(vec![p.clone()], &who, &get).0, expected, "{who:?}");
    }
}

#[test]
fn each_resource_and_each_reading_of_a_request_is_decided_and_the_strictest_stands() {
    let rules = vec![
        rule(
            "a",
            Effect::Allow,
            &["storage.objects.copy"],
            &["projects/_/buckets/a/**"],
        ),
        rule(
            "b",
            Effect::RequireApproval,
            &["storage.objects.copy"],
            &["projects/_/buckets/b/**"],
        ),
        rule("get", Effect::Allow, &["storage.objects.get"], &[]),
    ];
    let a = ("projects/_/buckets/a/objects/o", Scope::Exact);
    let b = ("projects/_/buckets/b/objects/o", Scope::Exact);
    let c = ("projects/_/buckets/c/objects/o", Scope::Exact);
    let cases: Vec<(Vec<Call>, &str)> = vec![
        (vec![call("storage.objects.copy", &[a, a])], "allow"),
        (vec![call("storage.objects.copy", &[a, b])], "hold agents/p/b"),
        (vec![call("storage.objects.copy", &[b, c])], "nothing 0.1"),
        (
            vec![
                call("storage.objects.get", &[a]),
                call("storage.objects.copy", &[a, b]),
            ],
            "hold agents/p/b",
        ),
        (
            vec![
                call("storage.objects.get", &[a]),
                call("storage.objects.other", &[a]),
            ],
            "nothing 1.0",
        ),
        (vec![], "nothing 0.0"),
    ];
    for (calls, expected) in cases {
        let policies = vec![policy("agents", "p", "coder", rules.clone())];
        assert_eq!(
            outcome(policies, &caller("agents", "coder"), &calls).0,
            expected,
            "{calls:?}"
        );
    }
}

#[test]
fn a_child_without_a_name_needs_a_rule_for_all_children() {
    let bucket = ("projects/_/buckets/b", Scope::Below);
    let cases = [
        (
            rule("r", Effect::Allow, &["**"], &["projects/_/buckets/b/**"]),
            "allow",
        ),
        (
            rule("r", Effect::Allow, &["**"], &["projects/_/buckets/b"]),
            "nothing 0.0",
        ),
        (
            rule(
                "r",
                Effect::Allow,
                &["**"],
                &["projects/_/buckets/b/objects/tmp/*"],
            ),
            "nothing 0.0",
        ),
        (
            rule(
                "r",
                Effect::Deny,
                &["**"],
                &["projects/_/buckets/b/objects/secret/*"],
            ),
            "deny agents/p/r",
        ),
        (
            rule("r", Effect::Deny, &["**"], &["**/secret"]),
            "deny agents/p/r",
        ),
        (
            rule("r", Effect::Deny, &["**"], &["projects/_/buckets/c/**"]),
            "nothing 0.0",
        ),
    ];
    for (rule, expected) in cases {
        let text = format!("{rule:?}");
        let policies = vec![policy("agents", "p", "coder", vec![rule])];
        let got = outcome(
            policies,
            &caller("agents", "coder"),
            &[call("storage.objects.insert", &[bucket])],
        );
        assert_eq!(got.0, expected, "{text}");
    }
}

#[test]
fn names_that_stand_for_many_are_restricted_by_what_they_could_cover() {
    let exact = |name: &'static str| (name, Scope::Exact);
    let everything = || rule("all", Effect::Allow, &["**"], &[]);
    let secrets = |effect| rule("r", effect, &["**"], &["projects/prod/secrets/**"]);
    let cases = [
        (
            secrets(Effect::Deny),
            exact("projects/prod/secrets/s"),
            "deny agents/p/r",
        ),
        (
            secrets(Effect::Deny),
            exact("projects/-/secrets/s"),
            "deny agents/p/r",
        ),
        (
            secrets(Effect::Deny),
            exact("projects/100000000001/secrets/s"),
            "deny agents/p/r",
        ),
        (
            secrets(Effect::RequireApproval),
            exact("projects/-/secrets/-"),
            "hold agents/p/r",
        ),
        (
            secrets(Effect::RequireApproval),
            exact("projects/12/secrets/s"),
            "hold agents/p/r",
        ),
        (
            secrets(Effect::Deny),
            ("projects/-", Scope::Below),
            "deny agents/p/r",
        ),
        (
            secrets(Effect::Deny),
            ("projects/12", Scope::Below),
            "deny agents/p/r",
        ),
        (secrets(Effect::Deny), exact("projects/-/topics/t"), "allow"),
        (secrets(Effect::Deny), exact("projects/12/topics/t"), "allow"),
        (secrets(Effect::Deny), exact("projects/test/secrets/-"), "allow"),
        (secrets(Effect::Deny), exact("projects/12a/secrets/s"), "allow"),
    ];
    for (restricting, resource, expected) in cases {
        let policies = vec![policy("agents", "p", "coder", vec![everything(), restricting])];
        let got = outcome(
            policies,
            &caller("agents", "coder"),
            &[call("storage.objects.get", &[resource])],
        );
        assert_eq!(got.0, expected, "{resource:?}");
    }

    let cases = [
        ("projects/test/**", exact("projects/-/secrets/s"), "nothing 0.0"),
        ("projects/test/**", exact("projects/12/secrets/s"), "nothing 0.0"),
        ("projects/test-*/**", exact("projects/-/secrets/s"), "nothing 0.0"),
        ("projects/1*/**", exact("projects/12/secrets/s"), "nothing 0.0"),
        ("projects/*-*/**", ("projects/-", Scope::Below), "nothing 0.0"),
        ("projects/12/**", exact("projects/12/secrets/s"), "allow"),
        ("projects/*/**", exact("projects/12/secrets/-"), "allow"),
        ("projects/*/**", ("projects/-", Scope::Below), "allow"),
    ];
    for (glob, resource, expected) in cases {
        let rules = vec![rule("a", Effect::Allow, &["**"], &[glob])];
        let got = outcome(
            vec![policy("agents", "p", "coder", rules)],
            &caller("agents", "coder"),
            &[call("storage.objects.get", &[resource])],
        );
        assert_eq!(got.0, expected, "{glob} {resource:?}");
    }
}

#[test]
fn dry_run_changes_nothing_and_tells_what_it_would() {
    let get = [call("storage.objects.get", &[OBJECT])];
    let allow = policy(
        "agents",
        "a",
        "coder",
        vec![rule("all", Effect::Allow, &["**"], &[])],
    );
    let mut deny = policy(
        "agents",
        "d",
        "coder",
        vec![rule("no", Effect::Deny, &["**"], &[])],
    );
    deny.mode = Mode::DryRun;
    let mut only_dry = policy(
        "agents",
        "a",
        "coder",
        vec![rule("all", Effect::Allow, &["**"], &[])],
    );
    only_dry.mode = Mode::DryRun;
    let who = caller("agents", "coder");
    let got = outcome(vec![allow, deny], &who, &get);
    assert_eq!((got.0.as_str(), got.2), ("allow", Some(Effect::Deny)));
    let got = outcome(vec![only_dry], &who, &get);
    assert_eq!((got.0.as_str(), got.2), ("nothing 0.0", Some(Effect::Allow)));
}

#[test]
fn two_credentials_for_one_call_are_refused() {
    let with = |name: &str, account: Option<&str>| {
        let mut p = policy(
            "agents",
            name,
            "coder",
            vec![rule("all", Effect::Allow, &["**"], &[])],
        );
        p.credential = account.map(|a| {
            Arc::new(CredentialDef {
                impersonate: Some(ImpersonateDef {
                    service_account: a.into(),
                    delegates: vec![],
                }),
                ..CredentialDef::default()
            })
        });
        p
    };
    let who = caller("agents", "coder");
    let get = [call("storage.objects.get", &[OBJECT])];
    assert_eq!(
        outcome(vec![with("a", Some("x@y")), with("b", None)], &who, &get).0,
        "allow"
    );
    assert_eq!(
        outcome(vec![with("a", Some("x@y")), with("b", Some("x@y"))], &who, &get).0,
        "allow"
    );
    assert_eq!(
        outcome(vec![with("a", Some("x@y")), with("b", Some("z@y"))], &who, &get).0,
        "conflict agents/a/all agents/b/all"
    );
}

#[test]
fn an_approval_lets_pass_exactly_what_was_asked_for() {
    let who = caller("agents", "coder");
    let get = [call("storage.objects.get", &[OBJECT])];
    let digest = |body: &[u8]| {
        let mut d = CallDigester::new(&who, &get, &["GET", "storage.googleapis.com", "/x"], &[]);
        d.body(body);
        d.finish()
    };
    let now = Timestamp::UNIX_EPOCH;
    let approval = Approval {
        digest: digest(b"body"),
        rules: vec![ApprovedRule {
            uid: "uid-agents-p".into(),
            namespace: "agents".into(),
            policy: "p".into(),
            generation: 1,
            rule: "ask".into(),
        }],
        expires_at: now + 1.hour(),
    };
    let asks = || {
        policy(
            "agents",
            "p",
            "coder",
            vec![rule("ask", Effect::RequireApproval, &["**"], &[])],
        )
    };
    let try_with = |policies: Vec<PolicyDef>, body: &[u8], now: Timestamp| {
        let set = PolicySet::new(policies);
        match resume(
            &set,
            &Facts {
                caller: &who,
                calls: &get,
                now,
            },
            &digest(body),
            &approval,
        ) {
            Ok(permit) => format!("{:?}", permit.basis()),
            Err(Stale::PolicyChanged(_)) => "PolicyChanged".into(),
            Err(stale) => format!("{stale:?}"),
        }
    };
    assert_eq!(
        try_with(vec![asks()], b"body", now),
        format!("{:?}", Basis::Approval)
    );
    assert_eq!(try_with(vec![asks()], b"other", now), "OtherCall");
    assert_eq!(try_with(vec![asks()], b"body", now + 1.hour()), "Expired");
    let mut edited = asks();
    edited.generation = 2;
    assert_eq!(try_with(vec![edited], b"body", now), "PolicyChanged");
    let more = policy(
        "agents",
        "q",
        "coder",
        vec![rule("ask", Effect::RequireApproval, &["**"], &[])],
    );
    assert_eq!(try_with(vec![asks(), more], b"body", now), "PolicyChanged");
    let deny = policy(
        "agents",
        "q",
        "coder",
        vec![rule("no", Effect::Deny, &["**"], &[])],
    );
    assert!(try_with(vec![asks(), deny], b"body", now).starts_with("Denied(Rule"));
    assert!(try_with(vec![], b"body", now).starts_with("Denied(NothingMatched"));
}

fn any_rule() -> impl Strategy<Value = RuleDef> {
    let effect = prop_oneof![
        Just(Effect::Allow),
        Just(Effect::RequireApproval),
        Just(Effect::Deny)
    ];
    let method = prop_oneof![
        Just("**"),
        Just("storage.**"),
        Just("storage.objects.*"),
        Just("**.get"),
        Just("storage.objects.get"),
        Just("*.objects.g*"),
        Just("compute.**")
    ];
    let resource = prop_oneof![
        3 => Just("**"),
        1 => Just("projects/_/**"),
        1 => Just("projects/_/buckets/acme/**"),
        1 => Just("projects/_/buckets/a*/**"),
        1 => Just("projects/*/buckets/acme/objects/a"),
        1 => Just("projects/_/buckets/other/**"),
        1 => Just("projects/acme/buckets/*"),
        1 => Just("projects/acme-*/**/a"),
        1 => Just("projects/12/**"),
        1 => Just("projects/1*/**"),
        1 => Just("*/_/**/a")
    ];
    (
        "[a-z]{3}",
        effect,
        prop::collection::vec(method, 1..3),
        prop::collection::vec(resource, 0..3),
    )
        .prop_map(|(name, effect, methods, resources)| rule(&name, effect, &methods, &resources))
}

fn any_policies() -> impl Strategy<Value = Vec<PolicyDef>> {
    let one = (
        prop::collection::vec(any_rule(), 0..5),
        any::<bool>(),
        prop_oneof![Just("coder"), Just("other")],
    );
    prop::collection::vec(one, 0..5).prop_map(|list| {
        list.into_iter()
            .enumerate()
            .map(|(i, (rules, dry, agent))| {
                let mut p = policy("agents", &format!("p{i}"), agent, rules);
                p.mode = if dry { Mode::DryRun } else { Mode::Enforce };
                p
            })
            .collect()
    })
}

/// Names with and without segments that stand for many.
fn any_resource() -> impl Strategy<Value = (&'static str, Scope)> {
    let name = prop_oneof![
        10 => Just(OBJECT.0),
        1 => Just("projects/-/buckets/acme/objects/a"),
        1 => Just("projects/_/buckets/-/objects/a"),
        1 => Just("projects/_/buckets/acme/objects/-"),
        1 => Just("projects/-/buckets/-"),
        1 => Just("projects/12/buckets/acme"),
        1 => Just("projects/13/buckets/acme/objects/a"),
        1 => Just("-/12/buckets/other"),
        1 => Just("projects/_/buckets/12"),
        1 => Just("projects/acme"),
        1 => Just("projects/-"),
    ];
    (
        name,
        prop_oneof![5 => Just(Scope::Exact), 1 => Just(Scope::Below)],
    )
}

/// The rules of combination, said in the plainest way.
fn by_the_book(policies: &[PolicyDef], agent: &str, call: &Call) -> Effect {
    let matching = policies
        .iter()
        .filter(|p| p.mode == Mode::Enforce && p.agents == policy("agents", "", agent, vec![]).agents)
        .flat_map(|p| &p.rules)
        .filter(|r| r.methods.iter().any(|m| m.matches(call.method)))
        .filter(|r| {
            let (name, scope) = (&call.resources[0].name, call.resources[0].scope);
            let is_under = |g: &ResourceGlob| names_resource(g.as_str(), name, scope, r.effect);
            r.resources.is_empty() || r.resources.iter().any(is_under)
        })
        .map(|r| r.effect);
    matching.max().unwrap_or(Effect::Deny)
}

/// Whether a rule with such a glob is about a resource. Of names that stand for many, a rule that allows has
/// to cover all and one that restricts has to cover any.
fn names_resource(glob: &str, name: &str, scope: Scope, effect: Effect) -> bool {
    let glob: Vec<_> = glob.split('/').collect();
    let mut name: Vec<_> = name.split('/').collect();
    let all = effect == Effect::Allow;
    match scope {
        Scope::Exact => segments_fit(&glob, "", &name, all),
        Scope::Below if all => glob.last() == Some(&"**") && segments_fit(&glob, "", &name, all),
        // Below it are names with any further segments, and no glob here has more than these.
        Scope::Below => (0..8).any(|_| {
            let fits = segments_fit(&glob, "", &name, all);
            name.push("-");
            fits
        }),
    }
}

fn segments_fit(glob: &[&str], before: &str, name: &[&str], all: bool) -> bool {
    match (glob, name) {
        ([], []) => true,
        (["**", rest @ ..], _) => {
            segments_fit(rest, before, name, all)
                || name
                    .split_first()
                    .is_some_and(|(first, others)| segments_fit(glob, first, others, all))
        }
        ([pattern, rest @ ..], [segment, others @ ..]) => {
            let many = *segment == "-" || (before == "projects" && segment.parse::<u64>().is_ok());
            let fits = match pattern.split_once('*') {
                _ if many && !all => true,
                None => pattern == segment,
                Some(("", "")) => true,
                Some(_) if many => false,
                Some((start, end)) => segment.strip_prefix(start).is_some_and(|s| s.ends_with(end)),
            };
            fits && segments_fit(rest, segment, others, all)
        }
        _ => false,
    }
}

/// Cases of the property; `PROPTEST_CASES` raises it.
fn cases() -> u32 {
    std::env::var("PROPTEST_CASES")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(2_000)
}

#[test]
fn the_index_decides_as_the_book_does() {
    let mut runner = TestRunner::new(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(cases())
    });
    let mut verdicts = std::collections::BTreeMap::<String, u32>::new();
    let counted = std::cell::RefCell::new(&mut verdicts);
    runner
        .run(
            &(any_policies(), any_resource(), any::<bool>()),
            |(policies, resource, reversed)| {
                let who = caller("agents", "coder");
                let get = [call("storage.objects.get", &[resource])];
                let expected = by_the_book(&policies, "coder", &get[0]);
                let mut given = policies;
                if reversed {
                    given.reverse();
                }
                let set = PolicySet::new(given);
                let facts = Facts {
                    caller: &who,
                    calls: &get,
                    now: Timestamp::UNIX_EPOCH,
                };
                prop_assert_eq!(decide(&set, &facts).verdict.effect(), expected);
                *counted.borrow_mut().entry(format!("{expected:?}")).or_default() += 1;
                Ok(())
            },
        )
        .unwrap();
    // A generator that made only one kind of verdict would prove nothing.
    assert!(
        verdicts.len() == 3 && verdicts.values().all(|n| *n > cases() / 50),
        "{verdicts:?}"
    );
    println!("policy: {} cases {verdicts:?}, 0 counterexamples", cases());
}
