//! The methods with which ways round the gate are tried: those that do harm, each with a harmless neighbour that
//! the policy allows.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result};
use serde_json::json;
use turnpike_policy::{
    call::Traits,
    catalog::{Catalog, Method},
    grpc::GrpcCatalog,
};

/// Services in the order in which they give methods.
const SERVICES: &[&str] = &[
    "secretmanager",
    "iam",
    "iamcredentials",
    "storage",
    "compute",
    "cloudkms",
    "cloudresourcemanager",
    "container",
    "run",
    "cloudfunctions",
    "bigquery",
    "sqladmin",
    "pubsub",
    "apikeys",
    "cloudbuild",
    "artifactregistry",
    "dns",
    "spanner",
    "firestore",
    "redis",
    "logging",
    "iap",
    "cloudscheduler",
    "cloudtasks",
    "monitoring",
    "serviceusage",
    "privateca",
    "binaryauthorization",
    "orgpolicy",
    "bigtableadmin",
];
/// Methods that have to be among them.
const WANTED: &[&str] = &[
    "secretmanager.projects.secrets.versions.access",
    "secretmanager.projects.secrets.delete",
    "iam.projects.serviceAccounts.keys.create",
    "iam.projects.serviceAccounts.setIamPolicy",
    "iamcredentials.projects.serviceAccounts.generateAccessToken",
    "storage.objects.delete",
    "storage.buckets.delete",
    "storage.buckets.setIamPolicy",
    "storage.projects.hmacKeys.create",
    "compute.instances.delete",
    "compute.instances.setIamPolicy",
    "compute.disks.delete",
    "cloudkms.projects.locations.keyRings.cryptoKeys.decrypt",
    "cloudkms.projects.locations.keyRings.cryptoKeys.cryptoKeyVersions.destroy",
    "cloudresourcemanager.projects.setIamPolicy",
    "cloudresourcemanager.projects.delete",
    "bigquery.tables.delete",
    "sql.instances.delete",
    "pubsub.projects.topics.delete",
    "apikeys.projects.locations.keys.getKeyString",
];
/// How many there are.
pub const COUNT: usize = 240;

/// A harmful method and its neighbour.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    /// The harmful method.
    pub id: &'static str,
    /// Its verb.
    pub verb: &'static str,
    /// Its host.
    pub host: String,
    /// The first part of the host.
    pub service: &'static str,
    /// Its path.
    pub path: String,
    /// The path of a GET of the same host that the policy allows.
    pub sibling: String,
    /// Whether `www.googleapis.com` serves it.
    pub on_www: bool,
    /// The same call by gRPC, where there is one.
    pub rpc: Option<Rpc>,
}

/// A call by gRPC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rpc {
    /// `/package.Service/Method`
    pub path: String,
    /// The id that it would have by itself.
    pub own_id: String,
    /// The message, with the resource's name in its first field.
    pub message: Vec<u8>,
}

/// The cases: [`COUNT`] methods, of every service some.
///
/// # Errors
/// The catalogue has not as many.
pub fn cases() -> Result<Vec<Case>> {
    let catalog = Catalog::embedded()?;
    let mut harmful: BTreeMap<&str, Vec<Method<'_>>> = BTreeMap::new();
    let mut neighbours: BTreeMap<(&str, &str), Vec<String>> = BTreeMap::new();
    let mut seen = BTreeSet::new();
    for method in catalog.methods().filter(|m| SERVICES.contains(&m.service)) {
        if is_harmless(&method) {
            let paths = neighbours.entry((method.service, method.version)).or_default();
            paths.push(path_of(&method));
        } else if is_harmful(&method) && seen.insert(method.id) {
            harmful.entry(method.service).or_default().push(method);
        }
    }
    let mut cases = Vec::new();
    let mut add = |method: &Method<'_>| {
        let path = path_of(method);
        // The nearest: the longest beginning in common.
        let common = |other: &&String| {
            path.bytes()
                .zip(other.bytes())
                .take_while(|(a, b)| a == b)
                .count()
        };
        let near = neighbours.get(&(method.service, method.version));
        let sibling = near.and_then(|paths| paths.iter().max_by_key(common)).cloned();
        if let Some(sibling) = sibling {
            cases.push(Case {
                id: method.id,
                verb: method.verb,
                host: method.host(),
                service: method.service,
                path,
                sibling,
                on_www: method.on_www(),
                rpc: None,
            });
        }
        cases.len() < COUNT
    };
    for id in WANTED {
        let mut all = harmful.values_mut();
        let found = all.find_map(|m| m.iter().position(|m| m.id == *id).map(|at| m.remove(at)));
        add(&found.with_context(|| format!("{id} is not in the catalogue"))?);
    }
    let mut more = true;
    for turn in 0.. {
        let mut any = false;
        for service in SERVICES {
            if more && let Some(method) = harmful.get(service).and_then(|m| m.get(turn)) {
                (any, more) = (true, add(method));
            }
        }
        if !any {
            break;
        }
    }
    anyhow::ensure!(cases.len() == COUNT, "{} cases", cases.len());
    for case in &mut cases {
        case.rpc = rpc_of(case)?;
    }
    Ok(cases)
}

/// The RPC that is the method of a case, with a message whose first field is the name in the path or that of its
/// parent.
fn rpc_of(case: &Case) -> Result<Option<Rpc>> {
    let (catalog, grpc) = (Catalog::embedded()?, GrpcCatalog::embedded()?);
    let name = case.path.trim_start_matches('/');
    let name = name.split_once('/').map_or("", |(_, name)| name);
    let name = name.rsplit_once(':').map_or(name, |(name, _)| name);
    let parent = name.rsplit_once('/').map_or("", |(parent, _)| parent);
    for rpc in grpc.methods().filter(|r| r.host_service == case.service) {
        let Ok(method) = grpc.method(catalog, &case.host, &rpc.path()) else {
            continue;
        };
        for name in [name, parent] {
            let length = u8::try_from(name.len()).context("a short name")?;
            let message = [&[0x0a, length][..], name.as_bytes()].concat();
            let found = method.classify(&message);
            if found.is_ok_and(|found| found.call.method == case.id) {
                return Ok(Some(Rpc {
                    path: rpc.path(),
                    own_id: rpc.own_id(),
                    message,
                }));
            }
        }
    }
    Ok(None)
}

fn is_harmful(method: &Method<'_>) -> bool {
    let has = |traits| method.traits.contains(traits);
    has(Traits::RETURNS_CREDENTIALS) || has(Traits::DESTRUCTIVE) || has(Traits::IAM | Traits::CHANGE)
}

fn is_harmless(method: &Method<'_>) -> bool {
    let reads = method.id.ends_with(".get") || method.id.ends_with(".list");
    method.verb == "GET"
        && reads
        && !method.traits.contains(Traits::IAM)
        && !method.traits.contains(Traits::RETURNS_CREDENTIALS)
        && !method.template.contains("**")
}

/// A path for a template.
fn path_of(method: &Method<'_>) -> String {
    let mut path = String::new();
    let mut before = "";
    for segment in method.template.split('/') {
        let (body, verb) = match segment.split_once(':') {
            Some((body, verb)) => (body, Some(verb)),
            None => (segment, None),
        };
        path.push('/');
        path.push_str(match (body, before) {
            ("*", "projects") => "acme-dev",
            ("*", "locations" | "regions") => "us-central1",
            ("*", "zones") => "us-central1-a",
            ("*", "serviceAccounts") => "ci@acme-dev.iam.gserviceaccount.com",
            ("*" | "**", _) => "item-1",
            (literal, _) => literal,
        });
        if let Some(verb) = verb {
            path.push(':');
            path.push_str(verb);
        }
        before = body;
    }
    path
}

/// A policy that allows what is harmless and denies the methods of these cases, whatever else they fit.
#[must_use]
pub fn guarding(cases: &[Case], more: &[&str]) -> String {
    let denied: Vec<&str> = cases.iter().map(|c| c.id).chain(more.iter().copied()).collect();
    let mut rules = vec![json!({"name": "read", "effect": "Allow", "methods": ["**.get", "**.list"]})];
    for (number, methods) in denied.chunks(64).enumerate() {
        rules.push(json!({"name": format!("no-{number}"), "effect": "Deny", "methods": methods}));
    }
    policy(&rules)
}

/// A policy that allows everything.
#[must_use]
pub fn open() -> String {
    policy(&[json!({"name": "all", "effect": "Allow", "methods": ["**"]})])
}

fn policy(rules: &[serde_json::Value]) -> String {
    json!({
        "apiVersion": "turnpike.dev/v1alpha1",
        "kind": "AgentPolicy",
        "metadata": {"name": "test", "namespace": "agents"},
        "spec": {"agents": [{"serviceAccount": {"name": "coder"}}], "rules": rules},
    })
    .to_string()
}
