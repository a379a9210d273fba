//! Plans and statuses of whole namespaces, compared as text that shows all that matters.

use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::api::core::v1::Namespace;
use kube::ResourceExt as _;
use serde_json::{Value, json};
use turnpike_compiler::{Bundle, PolicyDef};
use turnpike_crds::{AgentPolicyStatus, marks};
use turnpike_policy::definition::{AgentMatch, Effect};

use super::{
    AnyPolicy, LastGood, MAX_BUNDLE_BYTES,
    apply::{self, Applied},
    dereference::{Grants, Inputs, Lookup},
    plan::{Accepted, Plan, plan},
    status::{self, Update},
};
use crate::replicas::Replicas;

const NOW: &str = "2030-01-01T00:00:00.5Z";

fn policy(name: &str, generation: i64, spec: Value) -> AnyPolicy {
    let object = json!({
        "apiVersion": "turnpike.dev/v1alpha1",
        "kind": "AgentPolicy",
        "metadata": {
            "name": name, "namespace": "agents", "uid": format!("uid-{name}"), "generation": generation,
            "resourceVersion": "7", "creationTimestamp": "2029-12-31T00:00:00Z",
        },
        "spec": spec,
    });
    Arc::new(serde_json::from_value(object).unwrap())
}

fn spec(methods: &str) -> Value {
    json!({
        "agents": [{"serviceAccount": {"name": "coder"}}],
        "rules": [
            {"name": "read", "effect": "Allow", "methods": [methods]},
            {"name": "deploy", "effect": "RequireApproval", "methods": ["run.**"]},
            {"name": "keys", "effect": "Deny", "methods": ["iam.**"]},
        ],
    })
}

fn with_credential(mut spec: Value, credential: Value) -> Value {
    spec["credential"] = credential;
    spec
}

fn inputs(policies: &[AnyPolicy], annotations: Value) -> Inputs {
    let namespace: Namespace =
        serde_json::from_value(json!({"metadata": {"name": "agents", "annotations": annotations}})).unwrap();
    Inputs {
        namespace: "agents".to_owned(),
        policies: policies.to_vec(),
        grants: Grants::of(Some(&namespace), false),
        namespaces: BTreeMap::new(),
        secrets: BTreeMap::new(),
        current: None,
        strays: Vec::new(),
    }
}

fn last_good(plan: &Plan) -> LastGood {
    plan.bundle
        .policies
        .iter()
        .map(|p| (p.uid.clone(), p.clone()))
        .collect()
}

/// One line a policy of the bundle: name, generation, credential, rules.
fn bundle(plan: &Plan) -> Vec<String> {
    let line = |p: &PolicyDef| {
        let rules = p.rules.iter().map(|r| {
            let effect = match r.effect {
                Effect::Allow => '+',
                Effect::RequireApproval => '?',
                Effect::Deny => '-',
            };
            format!("{effect}{}", r.name)
        });
        let credential = p.impersonates().map_or_else(String::new, |e| format!(" as {e}"));
        let secret = p
            .key_secret()
            .map_or_else(String::new, |(s, _)| format!(" by {s}"));
        format!(
            "{}@{}{credential}{secret}: {}",
            p.name,
            p.generation,
            rules.collect::<Vec<_>>().join(" ")
        )
    };
    plan.bundle.policies.iter().map(line).collect()
}

/// Status of `name` after a plan, as `Type=Status Reason: message` lines.
fn conditions(plan: &Plan, name: &str, replicas: &Replicas) -> Vec<String> {
    let updates = updates(plan, replicas);
    let update = updates.iter().find(|u| u.policy.name_any() == name).unwrap();
    lines(&written(update))
}

fn updates<'a>(plan: &'a Plan, replicas: &Replicas) -> Vec<Update<'a>> {
    let digest = (!plan.bundle.policies.is_empty()).then(|| plan.bundle.digest());
    status::updates(plan, &Applied { digest }, replicas, NOW.parse().unwrap())
}

fn written(update: &Update<'_>) -> AgentPolicyStatus {
    serde_json::from_value(update.patch()["status"].clone()).unwrap()
}

fn lines(status: &AgentPolicyStatus) -> Vec<String> {
    let line = |c: &k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition| {
        format!("{}={} {}: {}", c.type_, c.status, c.reason, c.message)
    };
    status.conditions.iter().map(line).collect()
}

/// Replicas that run these digests of namespace `agents`.
fn replicas(digests: &[&str]) -> Replicas {
    let leases: Vec<_> = digests
        .iter()
        .enumerate()
        .map(|(i, digest)| {
            let running = json!({"agents": digest}).to_string();
            serde_json::from_value(json!({
                "metadata": {"name": format!("proxy-{i}"), "annotations": {marks::RUNNING_DIGESTS: running}},
                "spec": {"renewTime": "2030-01-01T00:00:00.000000Z", "leaseDurationSeconds": 10},
            }))
            .unwrap()
        })
        .collect();
    Replicas::at(&leases, NOW.parse().unwrap())
}

#[test]
fn a_policy_that_does_not_compile_keeps_its_last_good_definition() {
    let good = plan(
        &inputs(&[policy("a", 1, spec("storage.**"))], json!({})),
        &LastGood::new(),
        "turnpike",
    );
    assert_eq!(bundle(&good), ["a@1: +read ?deploy -keys"]);

    let edited = inputs(
        &[
            policy("a", 2, spec("storage..get")),
            policy("b", 1, spec("storage..get")),
            policy("c", 1, json!(7)),
        ],
        json!({}),
    );
    let kept = plan(&edited, &last_good(&good), "turnpike");
    assert_eq!(bundle(&kept), ["a@1: +read ?deploy -keys"]);
    let Accepted::Invalid(error) = &kept.verdicts[0].accepted else {
        panic!("accepted")
    };
    assert!(error.starts_with("spec.rules[0].methods[0]: "), "{error}");
    assert_eq!(
        conditions(&kept, "a", &Replicas::default()),
        [
            format!("Accepted=False Invalid: {error}; generation 1 stays in force"),
            "ResolvedRefs=True ResolvedRefs: everything it refers to is there and permitted".to_owned(),
            "Programmed=False NotAccepted: generation 1 stays in force".to_owned(),
        ]
    );
    assert_eq!(
        conditions(&kept, "b", &Replicas::default())[2],
        "Programmed=False NotAccepted: nothing of it is in force"
    );
    let unreadable = conditions(&kept, "c", &Replicas::default());
    assert!(
        unreadable[0].starts_with("Accepted=False Invalid: "),
        "{unreadable:?}"
    );
    assert_eq!(
        unreadable[1],
        "ResolvedRefs=Unknown Invalid: the policy cannot be read"
    );

    // Another policy of the same name is not the one that was good.
    let mut other = last_good(&good);
    let definition = other.remove("uid-a").unwrap();
    other.insert("uid-of-one-deleted".to_owned(), definition);
    assert_eq!(bundle(&plan(&edited, &other, "turnpike")), Vec::<String>::new());
}

#[test]
fn a_credential_that_is_not_permitted_leaves_only_refusals() {
    let impersonating = |generation, methods| {
        let credential = json!({"impersonate": {"serviceAccount": "x@acme.iam.gserviceaccount.com"}});
        policy("a", generation, with_credential(spec(methods), credential))
    };
    let permitted = json!({marks::ALLOWED_SERVICE_ACCOUNTS: "y@acme.test, x@acme.iam.gserviceaccount.com"});
    let whole = plan(
        &inputs(&[impersonating(1, "storage.**")], permitted),
        &LastGood::new(),
        "turnpike",
    );
    assert_eq!(
        bundle(&whole),
        ["a@1 as x@acme.iam.gserviceaccount.com: +read ?deploy -keys"]
    );

    for annotations in [
        json!({}),
        json!({marks::ALLOWED_SERVICE_ACCOUNTS: "*"}),
        json!({marks::ALLOWED_SERVICE_ACCOUNTS: "ax@acme.iam.gserviceaccount.com"}),
        json!({marks::ALLOWED_KEY_SECRETS: "x@acme.iam.gserviceaccount.com"}),
    ] {
        let revoked = plan(
            &inputs(&[impersonating(2, "storage.**")], annotations.clone()),
            &last_good(&whole),
            "turnpike",
        );
        assert_eq!(bundle(&revoked), ["a@2: -deploy -keys"], "{annotations}");
        // Also the last good definition of one that does not compile any more.
        let broken = plan(
            &inputs(&[impersonating(2, "storage..get")], annotations),
            &last_good(&whole),
            "turnpike",
        );
        assert_eq!(bundle(&broken), ["a@1: -deploy -keys"]);
    }
    let revoked = plan(
        &inputs(&[impersonating(2, "storage.**")], json!({})),
        &last_good(&whole),
        "turnpike",
    );
    assert_eq!(
        conditions(&revoked, "a", &replicas(&[&revoked.bundle.digest()])),
        [
            "Accepted=True Accepted: the policy compiles",
            "ResolvedRefs=False ServiceAccountNotPermitted: spec.credential.impersonate.serviceAccount: \
             x@acme.iam.gserviceaccount.com may not be used by this namespace: a cluster administrator permits it \
             by the annotation turnpike.dev/allowed-google-service-accounts on the namespace; until then only what \
             the policy refuses is in force",
            "Programmed=False RefsNotResolved: only what it refuses is in force",
        ]
    );

    // Turnpike's own namespace owns the credentials.
    let mut own = inputs(&[impersonating(1, "storage.**")], json!({}));
    own.grants = Grants::of(None, true);
    assert_eq!(
        bundle(&plan(&own, &LastGood::new(), "agents")),
        ["a@1 as x@acme.iam.gserviceaccount.com: +read ?deploy -keys"]
    );
}

#[test]
fn agents_of_an_issuer_are_selected_only_where_it_is_permitted() {
    let oidc = |issuer: &str| json!({"oidc": {"issuer": issuer, "subject": "job"}});
    let account = || json!({"serviceAccount": {"name": "coder"}});
    let selecting = |generation, agents: &[Value], methods| {
        let mut spec = spec(methods);
        spec["agents"] = json!(agents);
        policy("a", generation, spec)
    };
    let agents = |plan: &Plan| -> Vec<String> {
        let agents = plan.bundle.policies.iter().flat_map(|p| &p.agents);
        agents
            .map(|a| match a {
                AgentMatch::Oidc { issuer, .. } => issuer.clone(),
                AgentMatch::ServiceAccount { name, .. } | AgentMatch::Namespaces { name, .. } => {
                    format!("{name:?}")
                }
            })
            .collect()
    };
    let permitted = || json!({marks::ALLOWED_OIDC_ISSUERS: "https://other.test, https://ci.test"});
    let none = LastGood::new();
    let both = [oidc("https://ci.test"), account()];

    let whole = plan(
        &inputs(&[selecting(1, &both, "storage.**")], permitted()),
        &none,
        "turnpike",
    );
    assert_eq!(agents(&whole), ["https://ci.test", "Some(\"coder\")"]);
    assert_eq!(
        conditions(&whole, "a", &replicas(&[&whole.bundle.digest()]))[1..],
        [
            "ResolvedRefs=True ResolvedRefs: everything it refers to is there and permitted",
            "Programmed=True Programmed: every live proxy replica runs it",
        ]
    );

    for annotations in [
        json!({}),
        json!({marks::ALLOWED_OIDC_ISSUERS: "*"}),
        json!({marks::ALLOWED_OIDC_ISSUERS: "https://ci.test/,https://ci.test.example"}),
        json!({marks::ALLOWED_SERVICE_ACCOUNTS: "https://ci.test"}),
    ] {
        let revoked = plan(
            &inputs(&[selecting(2, &both, "storage.**")], annotations.clone()),
            &last_good(&whole),
            "turnpike",
        );
        assert_eq!(agents(&revoked), ["Some(\"coder\")"], "{annotations}");
        assert_eq!(bundle(&revoked), ["a@2: +read ?deploy -keys"]);
        // Also of the last good definition of one that does not compile any more.
        let broken = plan(
            &inputs(&[selecting(2, &both, "storage..get")], annotations),
            &last_good(&whole),
            "turnpike",
        );
        assert_eq!(agents(&broken), ["Some(\"coder\")"]);
        assert_eq!(
            conditions(&broken, "a", &Replicas::default())[2],
            "Programmed=False NotAccepted: generation 1 stays in force, without the agents whose issuer is not \
             permitted"
        );
    }
    let revoked = plan(
        &inputs(&[selecting(2, &both, "storage.**")], json!({})),
        &last_good(&whole),
        "turnpike",
    );
    let refused = "ResolvedRefs=False IssuerNotPermitted: spec.agents: oidc.issuer https://ci.test may not be \
                   used by this namespace: a cluster administrator permits it by the annotation \
                   turnpike.dev/allowed-oidc-issuers on the namespace; until then the policy does not select \
                   its agents";
    assert_eq!(
        conditions(&revoked, "a", &replicas(&[&revoked.bundle.digest()])),
        [
            "Accepted=True Accepted: the policy compiles",
            refused,
            "Programmed=False RefsNotResolved: it is in force as it stands, without the agents whose issuer is \
             not permitted",
        ]
    );

    // Without an agent nothing is left of a policy, neither what it allows nor what it refuses.
    let alone = [oidc("https://ci.test")];
    let good = plan(
        &inputs(&[selecting(1, &alone, "storage.**")], permitted()),
        &none,
        "turnpike",
    );
    assert_eq!(agents(&good), ["https://ci.test"]);
    for methods in ["storage.**", "storage..get"] {
        let gone = plan(
            &inputs(&[selecting(2, &alone, methods)], json!({})),
            &last_good(&good),
            "turnpike",
        );
        assert_eq!(bundle(&gone), Vec::<String>::new(), "{methods}");
        let conditions = conditions(&gone, "a", &Replicas::default());
        assert_eq!(conditions[1], refused);
        assert!(
            conditions[2].ends_with(": nothing of it is in force"),
            "{conditions:?}"
        );
    }

    // Turnpike's own namespace says which issuers are trusted.
    let mut own = inputs(&[selecting(1, &alone, "storage.**")], json!({}));
    own.grants = Grants::of(None, true);
    assert_eq!(agents(&plan(&own, &none, "agents")), ["https://ci.test"]);
}

#[test]
fn key_secrets_are_permitted_offered_and_there() {
    let keyed = |lookup: Option<Lookup>, annotations: Value| {
        let credential = json!({"serviceAccountKey": {"secretRef": {"name": "acme-key"}}});
        let mut inputs = inputs(
            &[policy("a", 1, with_credential(spec("storage.**"), credential))],
            annotations,
        );
        inputs.secrets.extend(lookup.map(|l| ("acme-key".to_owned(), l)));
        let plan = plan(&inputs, &LastGood::new(), "turnpike");
        let digest = plan.bundle.digest();
        let conditions = conditions(&plan, "a", &replicas(&[&digest]));
        let reason = |i: usize| conditions[i].split(':').next().unwrap().to_owned();
        (bundle(&plan).remove(0), reason(1), reason(2))
    };
    let permitted = || json!({marks::ALLOWED_KEY_SECRETS: "acme-key"});
    let row = |a: &str, b: &str, c: &str| (a.to_owned(), b.to_owned(), c.to_owned());
    let whole = "a@1 by acme-key: +read ?deploy -keys";
    assert_eq!(
        keyed(None, json!({})),
        row(
            "a@1: -deploy -keys",
            "ResolvedRefs=False SecretNotPermitted",
            "Programmed=False RefsNotResolved"
        )
    );
    assert_eq!(
        keyed(Some(Lookup::Found), permitted()),
        row(
            whole,
            "ResolvedRefs=True ResolvedRefs",
            "Programmed=True Programmed"
        )
    );
    assert_eq!(
        keyed(Some(Lookup::Missing), permitted()),
        row(
            whole,
            "ResolvedRefs=False SecretNotFound",
            "Programmed=True Programmed"
        )
    );
    assert_eq!(
        keyed(Some(Lookup::Forbidden), permitted()),
        row(
            whole,
            "ResolvedRefs=False SecretNotPermitted",
            "Programmed=True Programmed"
        )
    );
}

#[test]
fn a_bundle_that_does_not_fit_is_refused_and_the_last_good_one_stays() {
    let large = |name: &str, generation: i64, kilobytes: usize| {
        let resource = format!("projects/{}", "x".repeat(1000));
        let rules: Vec<_> = (0..kilobytes)
            .map(|i| json!({"name": format!("r{i}"), "effect": "Allow", "methods": ["**"], "resources": [resource]}))
            .collect();
        policy(
            name,
            generation,
            json!({"agents": [{"serviceAccount": {"name": "*"}}], "rules": rules}),
        )
    };
    let accepted = |p: &Plan| {
        p.verdicts
            .iter()
            .map(|v| v.accepted == Accepted::Yes)
            .collect::<Vec<_>>()
    };
    let names = |p: &Plan| {
        p.bundle
            .policies
            .iter()
            .map(|p| format!("{}@{}", p.name, p.generation))
            .collect::<Vec<_>>()
    };

    let policies = [large("a", 1, 200), large("b", 1, 200), large("gone", 1, 200)];
    let fits = plan(&inputs(&policies, json!({})), &LastGood::new(), "turnpike");
    assert_eq!((accepted(&fits), names(&fits).len()), (vec![true; 3], 3));

    let grown = [
        large("a", 1, 200),
        large("b", 2, 250),
        large("c", 1, 250),
        large("d", 1, 250),
    ];
    let refused = plan(&inputs(&grown, json!({})), &last_good(&fits), "turnpike");
    assert_eq!(accepted(&refused), [true, false, false, false]);
    assert_eq!(
        names(&refused),
        ["a@1", "b@1"],
        "what was deleted leaves all the same"
    );
    assert!(refused.bundle.to_json().len() <= MAX_BUNDLE_BYTES);
    let status = conditions(&refused, "b", &Replicas::default());
    assert!(
        status[0].starts_with("Accepted=False BundleTooLarge: with this policy the bundle"),
        "{}",
        status[0]
    );
    assert!(
        status[0].ends_with("generation 1 stays in force"),
        "{}",
        status[0]
    );
}

#[test]
fn programmed_counts_live_replicas() {
    let plan = plan(
        &inputs(&[policy("a", 1, spec("storage.**"))], json!({})),
        &LastGood::new(),
        "turnpike",
    );
    let digest = plan.bundle.digest();
    let programmed = |running: &[&str]| conditions(&plan, "a", &replicas(running)).remove(2);
    assert_eq!(
        programmed(&[]),
        "Programmed=False NoReplicas: no proxy replica is alive"
    );
    assert_eq!(
        programmed(&[&digest, "sha256:old"]),
        "Programmed=False Pending: 1 of 2 live proxy replicas run it"
    );
    assert_eq!(
        programmed(&[&digest, &digest]),
        "Programmed=True Programmed: every live proxy replica runs it"
    );
}

#[test]
fn a_status_is_written_once_and_keeps_the_time_of_its_last_turn() {
    let mut object = serde_json::to_value(policy("a", 2, spec("storage.**")).0.as_ref().unwrap()).unwrap();
    object["status"] = json!({"conditions": [
        {"type": "Accepted", "status": "True", "reason": "Accepted", "message": "the policy compiles",
         "observedGeneration": 1, "lastTransitionTime": "2020-01-01T00:00:00Z"},
        {"type": "Other", "status": "True", "reason": "Other", "message": "another's",
         "lastTransitionTime": "2020-01-01T00:00:00Z"},
    ]});
    let first = plan(
        &inputs(
            &[Arc::new(serde_json::from_value(object.clone()).unwrap())],
            json!({}),
        ),
        &LastGood::new(),
        "turnpike",
    );
    let running = replicas(&[&first.bundle.digest()]);
    let first = updates(&first, &running).remove(0);
    let status = written(&first);
    let times: Vec<_> = status
        .conditions
        .iter()
        .map(|c| {
            format!(
                "{} {} {:?}",
                c.type_, c.last_transition_time.0, c.observed_generation
            )
        })
        .collect();
    assert_eq!(
        times,
        [
            "Accepted 2020-01-01T00:00:00Z Some(2)",
            "Other 2020-01-01T00:00:00Z None",
            "ResolvedRefs 2030-01-01T00:00:00Z Some(2)",
            "Programmed 2030-01-01T00:00:00Z Some(2)",
        ]
    );
    assert_eq!(first.patch()["metadata"], json!({"resourceVersion": "7"}));
    let events: Vec<_> = first
        .news
        .iter()
        .map(|n| (n.event.reason.as_str(), n.once_per_generation))
        .collect();
    assert_eq!(events, [("Programmed", true)]);

    object["status"] = serde_json::to_value(&status).unwrap();
    let again = plan(
        &inputs(&[Arc::new(serde_json::from_value(object).unwrap())], json!({})),
        &LastGood::new(),
        "turnpike",
    );
    assert_eq!(updates(&again, &running).len(), 0);
}

#[test]
fn a_bundle_is_read_back_only_if_its_digest_fits() {
    let plan = plan(
        &inputs(&[policy("a", 1, spec("storage.**"))], json!({})),
        &LastGood::new(),
        "turnpike",
    );
    let read = |json: &str, digest: &str, namespace: &str| {
        let object = serde_json::from_value(json!({
            "metadata": {"annotations": {marks::BUNDLE_DIGEST: digest}},
            "data": {"bundle.json": json},
        }))
        .unwrap();
        apply::read(Some(&object), namespace)
    };
    let (json, digest) = (plan.bundle.to_json(), plan.bundle.digest());
    assert_eq!(read(&json, &digest, "agents"), last_good(&plan));
    let forged = Bundle::new("agents", Vec::new()).to_json();
    assert_eq!(read(&forged, &digest, "agents"), LastGood::new());
    assert_eq!(read(&json, &digest, "other"), LastGood::new());
    assert_eq!(read("{}", &digest, "agents"), LastGood::new());
    assert_eq!(apply::read(None, "agents"), LastGood::new());
}

#[test]
fn selectors_of_namespaces_are_lists_of_those_that_match_now() {
    let guardrail = |selector: Value| {
        let mut spec = spec("storage.**");
        spec["agents"] = json!([{"serviceAccount": {"name": "*", "namespaceSelector": selector}}]);
        policy("guardrail", 1, spec)
    };
    let labels = |env: &str| BTreeMap::from([("env".to_owned(), env.to_owned())]);
    let all = BTreeMap::from([
        ("a".to_owned(), labels("prod")),
        ("b".to_owned(), labels("dev")),
        ("c".to_owned(), labels("prod")),
    ]);
    let planned = |selector: Value, own: &str| {
        let mut inputs = inputs(&[guardrail(selector)], json!({}));
        inputs.namespaces = all.clone();
        plan(&inputs, &LastGood::new(), own)
    };
    let selected = |plan: &Plan| -> Vec<String> {
        let agents = plan.bundle.policies.iter().flat_map(|p| &p.agents);
        let lists = agents.map(|a| match a {
            AgentMatch::Namespaces {
                namespaces,
                name: None,
            } => Vec::from_iter(namespaces.iter().cloned()).join(" "),
            other => format!("{other:?}"),
        });
        lists.collect()
    };
    let state = |plan: &Plan| conditions(plan, "guardrail", &replicas(&[&plan.bundle.digest()]));

    let some = planned(json!({"matchLabels": {"env": "prod"}}), "agents");
    assert_eq!(selected(&some), ["a c"]);
    assert_eq!(state(&some)[0], "Accepted=True Accepted: the policy compiles");
    assert_eq!(selected(&planned(json!({}), "agents")), ["a b c"]);

    // One that matches none is as good as any, and says so.
    let none = planned(json!({"matchLabels": {"env": "test"}}), "agents");
    assert_eq!(selected(&none), [""]);
    assert_eq!(
        state(&none),
        [
            "Accepted=True Accepted: the policy compiles; spec.agents[0].serviceAccount.namespaceSelector matches no \
             namespace now",
            "ResolvedRefs=True ResolvedRefs: everything it refers to is there and permitted",
            "Programmed=True Programmed: every live proxy replica runs it",
        ]
    );

    // A tenant selects no namespaces.
    let tenant = planned(json!({}), "turnpike");
    assert_eq!(selected(&tenant), [""; 0]);
    assert_eq!(
        state(&tenant)[0],
        "Accepted=False Invalid: spec.agents[0].serviceAccount.namespaceSelector: only policies in turnpike may select \
         namespaces; one in agents selects agents of its own; nothing of it is in force"
    );
}

#[test]
fn a_policy_without_its_credential_suspends_and_limits_all_the_same() {
    let mut spec = with_credential(
        spec("storage.**"),
        json!({"impersonate": {"serviceAccount": "x@acme.iam.gserviceaccount.com"}}),
    );
    spec["suspend"] = json!(true);
    spec["limits"] = json!({"callsPerMinute": 5});
    let plan = plan(
        &inputs(&[policy("a", 1, spec)], json!({})),
        &LastGood::new(),
        "turnpike",
    );
    assert_eq!(bundle(&plan), ["a@1: -deploy -keys"]);
    let found: Vec<_> = plan
        .bundle
        .policies
        .iter()
        .map(|p| (p.suspend, p.limits.calls_per_minute))
        .collect();
    assert_eq!(found, [(true, Some(5))]);
}
