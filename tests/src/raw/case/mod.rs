//! The calls with which ways round the gate are tried: methods that do harm, each with a harmless neighbour that the
//! policy allows, and resources that are forbidden, each with one that is allowed ([`resources`]).

pub mod resources;

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

/// A harmful method, and what could be its neighbours.
struct Chosen {
    method: Method<'static>,
    neighbours: Vec<Method<'static>>,
}

/// The cases: [`COUNT`] methods, of every service some.
///
/// # Errors
/// The catalogue has not as many.
pub fn cases() -> Result<Vec<Case>> {
    chosen()?
        .into_iter()
        .map(|Chosen { method, neighbours }| {
            let path = path_of(&method);
            let siblings = neighbours.iter().map(path_of);
            let sibling = nearest(&path, siblings).context("there are neighbours")?;
            Case::new(&method, path, sibling)
        })
        .collect()
}

impl Case {
    fn new(method: &Method<'_>, path: String, sibling: String) -> Result<Self> {
        let host = method.host();
        Ok(Self {
            rpc: rpc_of(method, &host, &path)?,
            id: method.id,
            verb: method.verb,
            host,
            service: method.service,
            path,
            sibling,
            on_www: method.on_www(),
        })
    }
}

/// The one that has the longest beginning in common with a path; the last of several.
fn nearest(path: &str, others: impl Iterator<Item = String>) -> Option<String> {
    let common = |other: &String| {
        path.bytes()
            .zip(other.bytes())
            .take_while(|(a, b)| a == b)
            .count()
    };
    others.max_by_key(common)
}

fn chosen() -> Result<Vec<Chosen>> {
    let catalog = Catalog::embedded()?;
    let mut harmful: BTreeMap<&str, Vec<Method<'static>>> = BTreeMap::new();
    let mut neighbours: BTreeMap<(&str, &str), Vec<Method<'static>>> = BTreeMap::new();
    let mut seen = BTreeSet::new();
    for method in catalog.methods().filter(|m| SERVICES.contains(&m.service)) {
        if is_harmless(&method) {
            let known = neighbours.entry((method.service, method.version));
            known.or_default().push(method);
        } else if is_harmful(&method) && seen.insert(method.id) {
            harmful.entry(method.service).or_default().push(method);
        }
    }
    let mut found = Vec::new();
    let mut add = |method: Method<'static>| {
        if let Some(neighbours) = neighbours.get(&(method.service, method.version)) {
            let neighbours = neighbours.clone();
            found.push(Chosen { method, neighbours });
        }
        found.len() < COUNT
    };
    for id in WANTED {
        let mut all = harmful.values_mut();
        let wanted = all.find_map(|m| m.iter().position(|m| m.id == *id).map(|at| m.remove(at)));
        add(wanted.with_context(|| format!("{id} is not in the catalogue"))?);
    }
    let mut more = true;
    for turn in 0.. {
        let mut any = false;
        for service in SERVICES {
            if more && let Some(method) = harmful.get(service).and_then(|m| m.get(turn)) {
                (any, more) = (true, add(*method));
            }
        }
        if !any {
            break;
        }
    }
    anyhow::ensure!(found.len() == COUNT, "{} methods", found.len());
    Ok(found)
}

/// The RPC that is a method, with a message whose first field is the name in the path or that of its parent.
fn rpc_of(wanted: &Method<'_>, host: &str, path: &str) -> Result<Option<Rpc>> {
    let (catalog, grpc) = (Catalog::embedded()?, GrpcCatalog::embedded()?);
    let name = path.trim_start_matches('/');
    let name = name.split_once('/').map_or("", |(_, name)| name);
    let name = name.rsplit_once(':').map_or(name, |(name, _)| name);
    let parent = name.rsplit_once('/').map_or("", |(parent, _)| parent);
    for rpc in grpc.methods().filter(|r| r.host_service == wanted.service) {
        let Ok(method) = grpc.method(catalog, host, &rpc.path()) else {
            continue;
        };
        for name in [name, parent] {
            let length = u8::try_from(name.len()).context("a short name")?;
            let message = [&[0x0a, length][..], name.as_bytes()].concat();
            let found = method.classify(&message);
            if found.is_ok_and(|found| found.call.method == wanted.id) {
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
    path_with(method, |_| "item-1")
}

/// Whether a variable only says where to look.
fn is_scope(collection: &str) -> bool {
    matches!(collection, "projects" | "locations" | "regions" | "zones")
}

/// A path for a template, with names by the number of their variable; projects and places have theirs already.
fn path_with<'n>(method: &Method<'_>, name: impl Fn(usize) -> &'n str) -> String {
    let mut path = String::new();
    let mut before = "";
    let mut number = 0;
    for segment in method.template.split('/') {
        let (body, verb) = match segment.split_once(':') {
            Some((body, verb)) => (body, Some(verb)),
            None => (segment, None),
        };
        path.push('/');
        match (body, before) {
            ("*", "projects") => path.push_str("acme-dev"),
            ("*", "locations" | "regions") => path.push_str("us-central1"),
            ("*", "zones") => path.push_str("us-central1-a"),
            ("*" | "**", _) => {
                path.push_str(name(number));
                number += 1;
                if before == "serviceAccounts" {
                    path.push_str("@acme-dev.iam.gserviceaccount.com");
                }
            }
            (literal, _) => path.push_str(literal),
        }
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
    policy_of("coder", rules)
}

fn policy_of(agent: &str, rules: &[serde_json::Value]) -> String {
    json!({
        "apiVersion": "turnpike.dev/v1alpha1",
        "kind": "AgentPolicy",
        "metadata": {"name": agent, "namespace": "agents"},
        "spec": {"agents": [{"serviceAccount": {"name": agent}}], "rules": rules},
    })
    .to_string()
}
