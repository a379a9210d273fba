//! How policies combine, in tables.

mod making;

use std::sync::Arc;

use jiff::{Timestamp, ToSpan};
use serde_json::json;
use turnpike_policy::{
    Facts, PolicyDef, PolicySet, Verdict,
    call::{Call, Scope, Traits},
    caller::{Caller, Identity},
    decide,
    decide::{Approval, ApprovedRule, Basis, Denial, Stale, resume},
    definition::{AgentMatch, ApprovalTimes, CredentialDef, Effect, ImpersonateDef, Mode, RiskDef, RuleDef},
    digest::CallDigester,
    request::{Body, RequestFacts},
};

use making::{call, caller, policy, rule};

/// The verdict and the rules that matched, as text.
fn outcome(
    policies: Vec<PolicyDef>,
    caller: &Caller,
    calls: &[Call],
) -> (String, Vec<String>, Option<Effect>) {
    let set = PolicySet::new(policies);
    let decision = decide(&set, &Facts::of(caller, calls, Timestamp::UNIX_EPOCH));
    let name = |id| {
        let r = set.rule(id);
        format!("{}/{}/{}", r.policy.namespace, r.policy.name, r.rule.name)
    };
    let verdict = match &decision.verdict {
        Verdict::Allow(_) => "allow".to_owned(),
        Verdict::Hold(hold) => format!(
            "hold {}",
            hold.grounds
                .iter()
                .map(|g| {
                    let policy = set.policy(g.policy(&set));
                    format!("{}/{}/{}", policy.namespace, policy.name, g.name(&set))
                })
                .collect::<Vec<_>>()
                .join(" ")
        ),
        Verdict::Deny(Denial::Rule(id)) => format!("deny {}", name(*id)),
        Verdict::Deny(Denial::NothingMatched { call, resource }) => format!("nothing {call}.{resource}"),
        Verdict::Deny(Denial::CredentialConflict(a, b)) => format!("conflict {} {}", name(*a), name(*b)),
        Verdict::Deny(other) => format!("{other:?}"),
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
        match resume(&set, &Facts::of(&who, &get, now), &digest(body), &approval) {
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

/// What becomes of a batch whose calls have these bodies.
fn batch(set: &PolicySet, calls: &[Call], bodies: &[Body<'_>]) -> Effect {
    let part = |body: &_| RequestFacts {
        body: *body,
        ..RequestFacts::default()
    };
    let parts: Vec<RequestFacts<'_>> = bodies.iter().map(part).collect();
    let who = caller("agents", "coder");
    let facts = Facts {
        request: RequestFacts {
            body: Body::Unreadable,
            parts: &parts,
            ..RequestFacts::default()
        },
        ..Facts::of(&who, calls, Timestamp::UNIX_EPOCH)
    };
    decide(set, &facts).verdict.effect()
}

#[test]
fn each_call_of_a_batch_is_decided_by_its_own_request() {
    let when = |text: &str, rule: RuleDef| RuleDef {
        when: Some(text.to_owned()),
        ..rule
    };
    let set = PolicySet::new(vec![policy(
        "agents",
        "p",
        "coder",
        vec![
            rule("all", Effect::Allow, &["storage.**"], &[]),
            when(
                "request.body.env == 'prod'",
                rule("no-prod", Effect::Deny, &["storage.objects.*"], &[]),
            ),
        ],
    )]);
    let [dev, prod, none] = [json!({"env": "dev"}), json!({"env": "prod"}), json!({})];
    let calls = [
        call("storage.objects.get", &[OBJECT]),
        call("storage.buckets.get", &[]),
    ];
    for (bodies, expected) in [
        (vec![Body::Json(&dev), Body::Json(&prod)], Effect::Allow),
        (vec![Body::Json(&prod), Body::Json(&dev)], Effect::Deny),
        // What can't be read of the part tightens, and what is not told of it.
        (vec![Body::Json(&none), Body::Json(&dev)], Effect::Deny),
        (vec![Body::Unreadable, Body::Json(&dev)], Effect::Deny),
        (vec![], Effect::Deny),
    ] {
        assert_eq!(batch(&set, &calls, &bodies), expected, "{bodies:?}");
    }
}

#[test]
fn the_risk_of_a_batch_is_that_of_its_parts() {
    let set = PolicySet::new(vec![PolicyDef {
        risk: Some(RiskDef {
            deny_above: Some(60),
            weights: [("public-access".to_owned(), 90)].into(),
            approve_above: None,
            factors: vec![],
            approval: ApprovalTimes::default(),
        }),
        ..policy(
            "agents",
            "p",
            "coder",
            vec![rule("all", Effect::Allow, &["storage.**"], &[])],
        )
    }]);
    let bindings = |member: &str| json!({"bindings": [{"role": "roles/viewer", "members": [member]}]});
    let [own, public] = ["user:ann@example.com", "allUsers"].map(bindings);
    let grant = Call {
        traits: Traits::CHANGE | Traits::IAM,
        ..call("storage.buckets.setIamPolicy", &[OBJECT])
    };
    let calls = [grant.clone(), grant];
    for (bodies, expected) in [
        ([Body::Json(&own), Body::Json(&own)], Effect::Allow),
        ([Body::Json(&own), Body::Json(&public)], Effect::Deny),
        ([Body::Unreadable, Body::Json(&own)], Effect::Deny),
    ] {
        assert_eq!(batch(&set, &calls, &bodies), expected, "{bodies:?}");
    }
}
