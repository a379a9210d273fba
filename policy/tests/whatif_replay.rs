//! Recorded calls, decided again: by two sets, and by one policy beside what was decided.

use jiff::{Timestamp, ToSpan};
use turnpike_policy::{
    PolicyDef, PolicySet,
    call::{Call, MethodIndex, Resource, Scope, Traits, Transport},
    definition::{AgentMatch, ApprovalDef, CredentialDef, Effect, ImpersonateDef, LimitsDef, Mode, RuleDef},
    glob::{MethodGlob, ResourceGlob},
    whatif::{Answer, Recorded, RecordedAgent, RecordedAnswer, RecordedRule, ReplayChange, impact, replay},
};

fn rule(name: &str, effect: Effect, method: &str, resource: &str) -> RuleDef {
    RuleDef {
        name: name.into(),
        effect,
        methods: vec![MethodGlob::parse(method).unwrap()],
        resources: vec![ResourceGlob::parse(resource).unwrap()],
        when: None,
        message: None,
        approval: ApprovalDef::default(),
    }
}

fn when(text: &str, rule: RuleDef) -> RuleDef {
    RuleDef {
        when: Some(text.into()),
        ..rule
    }
}

fn policy(name: &str, rules: Vec<RuleDef>) -> PolicyDef {
    PolicyDef {
        namespace: "agents".into(),
        name: name.into(),
        uid: String::new(),
        generation: 1,
        mode: Mode::Enforce,
        suspend: false,
        agents: vec![AgentMatch::ServiceAccount {
            namespace: Some("agents".into()),
            name: Some("coder".into()),
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

fn impersonating(account: &str, policy: PolicyDef) -> PolicyDef {
    let credential = CredentialDef {
        impersonate: Some(ImpersonateDef {
            service_account: account.into(),
            delegates: vec![],
        }),
        ..CredentialDef::default()
    };
    PolicyDef {
        credential: Some(credential.into()),
        ..policy
    }
}

/// Calls of `storage.objects.get` on these objects of bucket `b`, one request.
fn call(objects: &[&str]) -> Call {
    Call {
        method: "storage.objects.get",
        index: MethodIndex(0),
        api: "storage",
        version: "v1",
        traits: Traits::READ,
        transport: Transport::Rest,
        resources: objects
            .iter()
            .map(|object| Resource {
                name: format!("projects/_/buckets/b/objects/{object}"),
                project: None,
                location: None,
                kind: "objects",
                id: Some((*object).into()),
                scope: Scope::Exact,
            })
            .collect(),
    }
}

fn hit(policy: &str, rule: &str, effect: Effect) -> RecordedRule {
    RecordedRule {
        policy: format!("agents/{policy}"),
        rule: rule.into(),
        effect,
        enforced: true,
    }
}

fn at(minutes: i64) -> Timestamp {
    "2026-07-01T10:00:00Z".parse::<Timestamp>().unwrap() + minutes.minutes()
}

fn recorded(objects: &[&str], effect: Effect, rules: Vec<RecordedRule>) -> Recorded {
    let (answer, reason) = match effect {
        Effect::Allow => (RecordedAnswer::Allowed, "RULE_ALLOWED"),
        Effect::RequireApproval => (RecordedAnswer::Held, "APPROVAL_REQUESTED"),
        Effect::Deny if rules.iter().any(|r| r.effect == Effect::Deny) => {
            (RecordedAnswer::Refused, "RULE_DENIED")
        }
        Effect::Deny => (RecordedAnswer::Refused, "NO_RULE_ALLOWS"),
    };
    Recorded {
        agent: Some(RecordedAgent::ServiceAccount {
            namespace: "agents".into(),
            name: "coder".into(),
        }),
        session: "s".into(),
        verb: "GET".into(),
        host: "storage.googleapis.com".into(),
        operation: "storage.objects.get".into(),
        calls: vec![call(objects)],
        answer,
        reason: reason.into(),
        rules,
        would: None,
        credential: (effect == Effect::Allow).then(|| "ambient".into()),
        times: vec![at(0), at(30)],
    }
}

/// `FROM (rules) -> TO (rules) when: calls on resources`, a line for each.
fn told(changes: &[ReplayChange]) -> Vec<String> {
    let answer = |answer: &Answer| {
        let rules: Vec<String> = answer
            .rules
            .iter()
            .map(|r| format!("{}/{}", r.policy, r.rule))
            .collect();
        let because = answer.because.map_or_else(String::new, |b| format!(" {b:?}"));
        let credential = answer
            .credential
            .as_ref()
            .map_or_else(String::new, |c| format!(" as {c}"));
        format!("{:?}[{}]{because}{credential}", answer.effect, rules.join(" "))
    };
    let line = |c: &ReplayChange| {
        let when = c.when.as_ref().map_or_else(String::new, |w| format!(" when {w}"));
        let objects: Vec<&str> = c
            .resources
            .iter()
            .filter_map(|r| r.split("/objects/").nth(1))
            .collect();
        let (from, to) = (answer(&c.from), answer(&c.to));
        format!("{from} -> {to}{when}: {} on {}", c.calls, objects.join(" "))
    };
    changes.iter().map(line).collect()
}

#[test]
fn two_sets_decide_what_is_on_record() {
    use Effect::{Allow, Deny, RequireApproval};
    let read = || rule("read", Allow, "storage.**", "projects/_/buckets/b/**");
    let old = PolicySet::new(vec![policy("coder", vec![read()])]);
    let calls = [
        recorded(&["a"], Allow, vec![]),
        recorded(&["secret/b"], Allow, vec![]),
        recorded(&["secret/c"], Allow, vec![]),
        recorded(&["a", "secret/d"], Allow, vec![]),
        Recorded {
            agent: None,
            ..recorded(&["a"], Deny, vec![])
        },
        Recorded {
            calls: vec![],
            operation: "GET".into(),
            ..recorded(&[], Deny, vec![])
        },
    ];
    let ask = || {
        rule(
            "ask",
            RequireApproval,
            "**",
            "projects/_/buckets/b/objects/secret/**",
        )
    };
    let rows: [(Vec<RuleDef>, &[&str]); 7] = [
        (vec![read()], &[]),
        (
            vec![],
            &["Allow[agents/coder/read] -> Deny[]: 8 on a secret/b secret/c"],
        ),
        (
            vec![read(), ask()],
            &["Allow[agents/coder/read] -> RequireApproval[agents/coder/ask]: 6 on a secret/b secret/c"],
        ),
        // What the trail tells is evaluated.
        (vec![read(), when("request.verb == \"POST\"", ask())], &[]),
        (
            vec![read(), when("now < timestamp(\"2026-07-01T10:15:00Z\")", ask())],
            &["Allow[agents/coder/read] -> RequireApproval[agents/coder/ask]: 3 on a secret/b secret/c"],
        ),
        (
            vec![read(), when("resource.id.startsWith(\"secret/b\")", ask())],
            &["Allow[agents/coder/read] -> RequireApproval[agents/coder/ask]: 2 on secret/b"],
        ),
        // What it does not tell is a condition of the answer.
        (
            vec![read(), when("has(request.body)", ask())],
            &[
                "Allow[agents/coder/read] -> RequireApproval[agents/coder/ask] when has(request.body): 6 on a secret/b secret/c",
            ],
        ),
    ];
    for (rules, expected) in rows {
        let new = PolicySet::new(vec![policy("coder", rules)]);
        let found = replay(&old, &new, &calls);
        assert_eq!(told(&found.changes), expected);
        assert_eq!((found.calls, found.left_out, found.undecided), (8, 4, 0));
    }
    let suspending = PolicyDef {
        suspend: true,
        ..policy("coder", vec![read()])
    };
    let found = replay(&old, &PolicySet::new(vec![suspending]), &calls[..1]);
    let expected = ["Allow[agents/coder/read] -> Deny[] Suspended: 2 on a"];
    assert_eq!(told(&found.changes), expected);
}

#[test]
fn a_policy_is_put_beside_what_was_decided() {
    use Effect::{Allow, Deny, RequireApproval};
    let everything = "projects/_/buckets/b/**";
    let allow = || rule("more", Allow, "**", everything);
    let ask = || rule("ask", RequireApproval, "**", everything);
    let never = || rule("never", Deny, "**", everything);
    let by = |effect| vec![hit("other", "theirs", effect)];
    let both = vec![hit("other", "theirs", Allow), hit("new", "never", Deny)];
    let dry = |rule: &str, effect| RecordedRule {
        enforced: false,
        ..hit("new", rule, effect)
    };
    let told_by_record = Recorded {
        would: Some(RequireApproval),
        ..recorded(
            &["a"],
            Allow,
            vec![hit("other", "theirs", Allow), dry("ask", RequireApproval)],
        )
    };
    let by_risk = recorded(&["a"], RequireApproval, by(Allow));
    let rows: Vec<(&str, Vec<RuleDef>, Recorded, &[&str])> = vec![
        (
            "allowed stays allowed",
            vec![allow()],
            recorded(&["a"], Allow, by(Allow)),
            &[],
        ),
        (
            "allowed is held",
            vec![ask()],
            recorded(&["a"], Allow, by(Allow)),
            &["Allow[agents/other/theirs] -> RequireApproval[agents/new/ask]: 2 on a"],
        ),
        (
            "nothing allowed it",
            vec![allow()],
            recorded(&["a"], Deny, vec![]),
            &["Deny[] -> Allow[agents/new/more]: 2 on a"],
        ),
        (
            "a rule denied it",
            vec![allow()],
            recorded(&["a"], Deny, by(Deny)),
            &[],
        ),
        (
            "held is denied",
            vec![never()],
            recorded(&["a"], RequireApproval, by(RequireApproval)),
            &["RequireApproval[agents/other/theirs] -> Deny[agents/new/never]: 2 on a"],
        ),
        ("held for its risk stays held", vec![allow()], by_risk, &[]),
        (
            "what it was in force with then is taken away",
            vec![allow()],
            recorded(&["a"], Deny, both),
            &["Deny[agents/new/never] -> Allow[agents/new/more]: 2 on a"],
        ),
        (
            "and what it allowed then",
            vec![],
            recorded(&["a"], Allow, vec![hit("new", "more", Allow)]),
            &["Allow[agents/new/more] -> Deny[]: 2 on a"],
        ),
        (
            "of two objects, one was allowed",
            vec![rule("one", Allow, "**", "projects/_/buckets/b/objects/a")],
            recorded(&["a", "c"], Deny, by(Allow)),
            &[
                "Deny[] -> Allow[agents/new/one] when the other policies have a rule for each of its resources: 2 on a c",
            ],
        ),
        (
            "the record tells of bodies",
            vec![when("has(request.body)", ask())],
            told_by_record.clone(),
            &["Allow[agents/other/theirs] -> RequireApproval[agents/new/ask]: 2 on a"],
        ),
        (
            "the record tells of rules that are no more",
            vec![never()],
            told_by_record,
            &["Allow[agents/other/theirs] -> Deny[agents/new/never]: 2 on a"],
        ),
        (
            "nobody knows the body",
            vec![when("has(request.body)", ask())],
            recorded(&["a"], Allow, by(Allow)),
            &["Allow[agents/other/theirs] -> RequireApproval[agents/new/ask] when has(request.body): 2 on a"],
        ),
    ];
    for (what, rules, recorded, expected) in rows {
        let found = impact(&policy("new", rules), &[recorded]);
        assert_eq!(told(&found.changes), expected, "{what}");
        assert_eq!(
            (found.calls, found.of_others, found.left_out),
            (2, 0, 0),
            "{what}"
        );
    }

    // Credentials: the same one, another one, and one where there was none.
    let with = |credential: &str| Recorded {
        credential: Some(credential.into()),
        ..recorded(&["a"], Allow, by(Allow))
    };
    let new = impersonating("a@acme.test", policy("new", vec![allow()]));
    let found = |credential: &str| told(&impact(&new, &[with(credential)]).changes);
    assert_eq!(found("a@acme.test"), Vec::<String>::new());
    assert_eq!(
        found("b@acme.test"),
        ["Allow[agents/other/theirs] -> Deny[] CredentialConflict: 2 on a"]
    );
    assert_eq!(
        found("ambient"),
        [
            "Allow[agents/other/theirs] as ambient -> Allow[agents/new/more] as ambient impersonating a@acme.test: 2 on a"
        ]
    );
}

#[test]
fn only_its_agents_count_and_tokens_with_claims_perhaps() {
    use Effect::{Allow, Deny};
    let never = || rule("never", Deny, "**", "**");
    let allowed = recorded(&["a"], Allow, vec![hit("other", "theirs", Allow)]);
    let of = |agent| Recorded {
        agent: Some(agent),
        ..allowed.clone()
    };
    let tester = RecordedAgent::ServiceAccount {
        namespace: "agents".into(),
        name: "tester".into(),
    };
    let token = |issuer: &str, subject: &str| RecordedAgent::Oidc {
        issuer: issuer.into(),
        subject: subject.into(),
    };
    let selector = |subject: Option<&str>, claims: &[(&str, &str)]| AgentMatch::Oidc {
        issuer: "https://ci.test".into(),
        audience: "turnpike".into(),
        subject: subject.map(str::to_owned),
        claims: claims
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect(),
    };
    let new = PolicyDef {
        agents: vec![
            selector(Some("ci"), &[]),
            selector(None, &[("repository", "acme/app")]),
        ],
        ..policy("new", vec![never()])
    };
    let calls = [
        of(tester),
        of(token("https://ci.test", "ci")),
        of(token("https://ci.test", "other")),
        of(token("https://elsewhere.test", "ci")),
    ];
    let found = impact(&new, &calls);
    let expected = [
        "Allow[agents/other/theirs] -> Deny[agents/new/never]: 2 on a",
        "Allow[agents/other/theirs] -> Deny[agents/new/never] when the token says repository=acme/app: 2 on a",
    ];
    assert_eq!(told(&found.changes), expected);
    assert_eq!((found.calls, found.of_others), (4, 4));
}

#[test]
fn a_policy_that_only_denies_lets_nothing_pass() {
    let refused = recorded(
        &["a", "b"],
        Effect::Deny,
        vec![hit("other", "theirs", Effect::Allow)],
    );
    let of = |effect: Effect, object: &str| {
        let resource = format!("projects/_/buckets/b/objects/{object}");
        let new = policy("new", vec![rule("more", effect, "**", &resource)]);
        let found = impact(&new, std::slice::from_ref(&refused));
        (found.calls, found.undecided, told(&found.changes))
    };
    assert_eq!(of(Effect::Deny, "z"), (2, 0, vec![]));
    let perhaps = "Deny[] -> Allow[agents/new/more] when the other policies have a rule for each of its resources: 2 on a b";
    assert_eq!(of(Effect::Allow, "b"), (2, 0, vec![perhaps.to_owned()]));
}

/// The lines of a suggestion that begin with one of these, without what stands before them.
fn lines(calls: &[Recorded]) -> Vec<String> {
    let catalog = turnpike_policy::catalog::Catalog::embedded().unwrap();
    let suggested =
        turnpike_policy::whatif::suggest(&turnpike_policy::whatif::Methods::of(catalog), calls, |_| true);
    let kept = [
        "effect:",
        "- projects",
        "- \"projects",
        "# projects",
        "# Some of these",
    ];
    suggested
        .iter()
        .flat_map(|suggestion| suggestion.yaml.lines())
        .map(str::trim)
        .filter(|line| kept.iter().any(|start| line.starts_with(start)))
        .map(str::to_owned)
        .collect()
}

#[test]
fn what_a_condition_refused_is_not_allowed_by_a_suggestion() {
    let allowed = |object: &str| recorded(&[object], Effect::Allow, vec![hit("a", "r", Effect::Allow)]);
    let denied = recorded(&["a"], Effect::Deny, vec![hit("a", "d", Effect::Deny)]);
    let risky = Recorded {
        reason: "RISK_DENIED".into(),
        ..denied.clone()
    };
    let limited = Recorded {
        reason: "CALLS_PER_MINUTE".into(),
        ..denied.clone()
    };
    let asked = [
        "# Some of these were let pass and some refused by policies. Write the conditions that made the difference again,",
        "effect: RequireApproval",
        "- projects/_/buckets/b/objects/a",
    ];
    for refused in [&denied, &risky] {
        let found = lines(&[allowed("a"), allowed("b"), refused.clone()]);
        let wanted = [
            &["effect: Allow", "- projects/_/buckets/b/objects/b"],
            asked.as_slice(),
        ]
        .concat();
        assert_eq!(found, wanted, "{}", refused.reason);
    }
    assert_eq!(
        lines(&[allowed("a"), limited]),
        ["effect: Allow", "- projects/_/buckets/b/objects/a"]
    );
}

#[test]
fn a_glob_for_children_of_one_name_is_explained() {
    let mut created = recorded(&["a"], Effect::Allow, vec![hit("a", "r", Effect::Allow)]);
    for call in &mut created.calls {
        call.method = "run.projects.locations.services.create";
        call.api = "run";
        call.traits = Traits::CHANGE;
        for resource in &mut call.resources {
            resource.name = "projects/p/locations/l".into();
            resource.scope = Scope::Below;
        }
    }
    assert_eq!(
        lines(&[created]),
        [
            "# projects/p/locations/l/** stands for children of projects/p/locations/l: a create does not tell their names.",
            "effect: Allow",
            "- \"projects/p/locations/l/**\"",
        ]
    );
}
