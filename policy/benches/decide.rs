//! Decisions over 1,000 policies of 10 rules, all of which select the caller; without conditions, and with one in each
//! rule. Allocations are counted too: rules that do not match make none.

use divan::{AllocProfiler, Bencher, black_box};
use jiff::Timestamp;
use serde_json::json;
use turnpike_policy::{
    Facts, PolicyDef, PolicySet,
    call::{Call, MethodIndex, Resource, Scope, Traits, Transport},
    caller::{Caller, Identity},
    decide,
    definition::{AgentMatch, ApprovalDef, Effect, LimitsDef, Mode, RuleDef},
    glob::{MethodGlob, ResourceGlob},
    request::{Body, RequestFacts},
};

#[global_allocator]
static ALLOCATIONS: AllocProfiler = AllocProfiler::system();

fn main() {
    divan::main();
}

const METHODS: [&str; 10] = [
    "storage.objects.*",
    "storage.**.get",
    "storage.**",
    "run.**",
    "compute.instances.*",
    "**.delete",
    "secretmanager.**.access",
    "bigquery.jobs.*",
    "cloudfunctions.**",
    "iam.**.keys.*",
];

/// One for each rule of a policy: what people ask of names, verbs, times, bodies and risks.
const CONDITIONS: [&str; 10] = [
    r#"request.verb == "GET" || agent.serviceAccount == "deployer""#,
    r#"resource.name.startsWith("projects/prod-")"#,
    r#"resource.project in ["prod-eu", "prod-us"] && now.getHours("Europe/Berlin") > 18"#,
    r#"resource.location.startsWith("us-")"#,
    r#"resource.id.matches("^[a-z]+-prod-[0-9]+$")"#,
    r#"has(request.body.labels) && request.body.labels.env == "prod""#,
    "risk > 60",
    "request.size > 1000000",
    r#"request.body.bindings.exists(b, b.members.exists(m, m == "allUsers"))"#,
    r#"agent.namespace != "agents""#,
];

/// Rules of 500 projects: each policy speaks of its own project and some of all.
fn policies(conditions: Option<&[&str; 10]>) -> Vec<PolicyDef> {
    (0..1_000)
        .map(|p| PolicyDef {
            namespace: "agents".into(),
            name: format!("p{p:04}"),
            uid: format!("uid-{p}"),
            generation: 1,
            mode: Mode::Enforce,
            suspend: false,
            agents: vec![AgentMatch::ServiceAccount {
                namespace: Some("agents".into()),
                name: None,
            }],
            credential: None,
            rules: METHODS
                .iter()
                .enumerate()
                .map(|(r, method)| RuleDef {
                    name: format!("r{r}"),
                    effect: [Effect::Allow, Effect::RequireApproval, Effect::Deny][(p + r) % 3],
                    methods: vec![MethodGlob::parse(method).unwrap()],
                    resources: vec![
                        ResourceGlob::parse(&format!("projects/acme-{}/**", p / 2)).unwrap(),
                        ResourceGlob::parse(&format!("projects/_/buckets/acme-{p}-*/**")).unwrap(),
                    ],
                    when: conditions.map(|c| c[r].to_owned()),
                    message: None,
                    approval: ApprovalDef::default(),
                })
                .collect(),
            risk: None,
            limits: LimitsDef::default(),
            outbound: None,
            masks: vec![],
            record_bodies: None,
        })
        .collect()
}

fn facts(method: &'static str, name: &str) -> (Caller, [Call; 1]) {
    let caller = Caller {
        identity: Identity::ServiceAccount {
            namespace: "agents".into(),
            name: "coder".into(),
        },
        issuer: String::new(),
        session: String::new(),
        pod: None,
    };
    let resource = Resource {
        name: name.into(),
        project: None,
        location: None,
        kind: "services",
        id: None,
        scope: Scope::Exact,
    };
    let call = Call {
        method,
        index: MethodIndex(0),
        api: "run",
        version: "v2",
        traits: Traits::READ,
        transport: Transport::Rest,
        resources: [resource].into_iter().collect(),
    };
    (caller, [call])
}

const CALLS: [(&str, &str); 2] = [
    (
        "run.projects.locations.services.get",
        "projects/acme-250/locations/us-central1/services/s",
    ),
    (
        "storage.objects.get",
        "projects/_/buckets/acme-7-data/objects/a/b/c",
    ),
];

#[divan::bench(args = CALLS)]
fn thousand_policies(bencher: Bencher<'_, '_>, (method, name): (&'static str, &str)) {
    let set = PolicySet::new(policies(None));
    let (caller, calls) = facts(method, name);
    let facts = Facts::of(&caller, &calls, Timestamp::UNIX_EPOCH);
    bencher.bench_local(|| black_box(decide(black_box(&set), black_box(&facts))));
}

#[divan::bench(args = CALLS)]
fn thousand_policies_with_conditions(bencher: Bencher<'_, '_>, (method, name): (&'static str, &str)) {
    let set = PolicySet::new(policies(Some(&CONDITIONS)));
    let (caller, calls) = facts(method, name);
    let body = json!({
        "labels": {"env": "dev", "team": "billing"},
        "bindings": [{"role": "roles/viewer", "members": ["user:a@acme.example"]}],
    });
    let request = RequestFacts {
        verb: "GET",
        host: "run.googleapis.com",
        size: Some(200),
        body: Body::Json(&body),
        ..RequestFacts::default()
    };
    let facts = Facts {
        request,
        ..Facts::of(&caller, &calls, Timestamp::UNIX_EPOCH)
    };
    bencher.bench_local(|| black_box(decide(black_box(&set), black_box(&facts))));
}

/// Every rule's method and resources match; only its condition says no.
#[divan::bench]
fn thousand_conditions_that_all_run(bencher: Bencher<'_, '_>) {
    let mut policies = policies(Some(&CONDITIONS));
    for policy in &mut policies {
        policy.rules.truncate(1);
        policy.rules[0].methods = vec![MethodGlob::parse("**").unwrap()];
        policy.rules[0].resources.clear();
        policy.rules[0].when = Some(CONDITIONS[1].to_owned());
    }
    let set = PolicySet::new(policies);
    let (caller, calls) = facts(CALLS[0].0, CALLS[0].1);
    let facts = Facts::of(&caller, &calls, Timestamp::UNIX_EPOCH);
    bencher.bench_local(|| black_box(decide(black_box(&set), black_box(&facts))));
}
