//! Decisions over 1,000 policies of 10 rules, all of which select the caller.

use divan::{Bencher, black_box};
use jiff::Timestamp;
use turnpike_policy::{
    Facts, PolicyDef, PolicySet,
    call::{Call, MethodIndex, Resource, Scope, Traits, Transport},
    caller::{Caller, Identity},
    decide,
    definition::{AgentMatch, ApprovalTimes, Effect, LimitsDef, Mode, RuleDef},
    glob::{MethodGlob, ResourceGlob},
};

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

/// Rules of 500 projects: each policy speaks of its own project and some of all.
fn policies() -> Vec<PolicyDef> {
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
                    when: None,
                    message: None,
                    approval: ApprovalTimes::default(),
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

#[divan::bench(args = [
    ("run.projects.locations.services.get", "projects/acme-250/locations/us-central1/services/s"),
    ("storage.objects.get", "projects/_/buckets/acme-7-data/objects/a/b/c"),
])]
fn thousand_policies(bencher: Bencher<'_, '_>, (method, name): (&'static str, &str)) {
    let set = PolicySet::new(policies());
    let (caller, calls) = facts(method, name);
    let facts = Facts::of(&caller, &calls, Timestamp::UNIX_EPOCH);
    bencher.bench_local(|| black_box(decide(black_box(&set), black_box(&facts))));
}
