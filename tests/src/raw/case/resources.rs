//! Calls on a resource that the policy forbids, each with the same call on one that it allows. Names that begin with
//! [`FORBIDDEN`] are forbidden everywhere, to two agents: one may do everything but for that, the other nothing but
//! what it needs for the allowed ones.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use turnpike_policy::{
    canonical::Target,
    catalog::{Catalog, Method},
};

use super::{Case, Chosen, chosen, is_harmless, is_scope, nearest, path_of, path_with, policy_of, rpc_of};

/// How names begin that are forbidden.
pub const FORBIDDEN: &str = "vault-1";
/// The name in their place that is allowed.
pub const ALLOWED: &str = "open-1";
/// How many cases there are.
pub const COUNT: usize = 120;
/// Methods that read, which are no harm by themselves.
const READS: &[&str] = &[
    "storage.objects.get",
    "storage.objects.list",
    "storage.objects.insert",
    "storage.objects.patch",
    "storage.objects.compose",
    "storage.buckets.get",
    "secretmanager.projects.secrets.get",
    "secretmanager.projects.secrets.list",
    "bigquery.tabledata.list",
    "pubsub.projects.topics.publish",
    "pubsub.projects.subscriptions.pull",
    "compute.instances.get",
    "run.projects.locations.services.get",
    "firestore.projects.databases.get",
    "cloudkms.projects.locations.keyRings.cryptoKeys.encrypt",
];

/// A call on what is forbidden.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResourceCase {
    /// The call. Its neighbour is a read of what is allowed.
    pub case: Case,
    /// The path of the same method for what is allowed.
    pub open: String,
    /// The same by gRPC, where there is a message for both.
    pub open_message: Option<Vec<u8>>,
    /// The name of the forbidden resource, as rules have it.
    pub name: String,
    /// That of the allowed one.
    pub open_name: String,
    /// Names that the calls on what is allowed act on, the neighbour's too.
    needed: BTreeSet<String>,
}

/// The cases: of every method the first variable is forbidden or the last one, by turns.
///
/// # Errors
/// The catalogue has not as many.
pub fn cases() -> Result<Vec<ResourceCase>> {
    let catalog = Catalog::embedded()?;
    let chosen = chosen()?;
    let mut candidates: Vec<(Method<'static>, Vec<Method<'static>>)> = Vec::new();
    for id in READS {
        let method = catalog
            .methods()
            .find(|m| m.id == *id)
            .with_context(|| format!("no {id}"))?;
        let its = (method.service, method.version);
        let near = catalog
            .methods()
            .filter(|m| (m.service, m.version) == its && is_harmless(m));
        candidates.push((method, near.collect()));
    }
    let harmful = chosen
        .into_iter()
        .map(|Chosen { method, neighbours }| (method, neighbours));
    candidates.extend(harmful);
    let mut found = Vec::new();
    for (number, (method, neighbours)) in candidates.iter().enumerate() {
        if found.len() < COUNT {
            found.extend(case(catalog, method, neighbours, number % 2 == 0)?);
        }
    }
    ensure!(found.len() == COUNT, "{} cases", found.len());
    Ok(found)
}

/// The case of a method that names a resource.
fn case(
    catalog: &'static Catalog,
    method: &Method<'static>,
    neighbours: &[Method<'static>],
    first: bool,
) -> Result<Option<ResourceCase>> {
    let variables = variables(method);
    let at = if first { 0 } else { variables.saturating_sub(1) };
    let spelled = |method: &Method<'_>, name: &str| match variables {
        // Where nothing else has a name, the project is it.
        0 => path_of(method).replace("acme-dev", name),
        _ => {
            let at = at.min(self::variables(method).saturating_sub(1));
            path_with(method, |number| if number == at { name } else { "item-1" })
        }
    };
    let (path, open) = (spelled(method, FORBIDDEN), spelled(method, ALLOWED));
    let reads = neighbours
        .iter()
        .map(|n| spelled(n, ALLOWED))
        .filter(|p| p.contains(ALLOWED));
    let Some(sibling) = nearest(&open, reads) else {
        return Ok(None);
    };
    let host = method.host();
    let names = |verb: &str, path: &str| -> Result<Vec<String>> {
        let found = catalog.classify(&Target::new(verb, &host, path)?)?;
        let calls = std::iter::once(found.call).chain(found.also);
        Ok(calls
            .flat_map(|call| call.resources)
            .map(|resource| resource.name)
            .collect())
    };
    let (its, open_names) = (names(method.verb, &path)?, names(method.verb, &open)?);
    let (Some(name), Some(open_name)) = (its.first(), open_names.first()) else {
        return Ok(None);
    };
    // A template that begins with a variable takes a collection there that this knows nothing of.
    if !name.contains(FORBIDDEN) || name.starts_with(FORBIDDEN) || name.starts_with("item-1") {
        return Ok(None);
    }
    let mut needed: BTreeSet<String> = open_names.iter().cloned().collect();
    needed.extend(names("GET", &sibling)?);
    let case = Case::new(method, path, sibling)?;
    let open_rpc = rpc_of(method, &case.host, &open)?;
    let both = case
        .rpc
        .as_ref()
        .zip(open_rpc)
        .filter(|(one, other)| one.path == other.path);
    Ok(Some(ResourceCase {
        open_message: both.map(|(_, open)| open.message),
        open,
        name: name.clone(),
        open_name: open_name.clone(),
        needed,
        case,
    }))
}

/// How many names of its own a path of the method has.
fn variables(method: &Method<'_>) -> usize {
    let mut count = 0;
    let mut before = "";
    for segment in method.template.split('/') {
        let body = segment.split(':').next().unwrap_or(segment);
        count += usize::from(matches!(body, "*" | "**") && !is_scope(before));
        before = body;
    }
    count
}

/// The policies of both agents, with their names. What the second may do with what is allowed, and what else it needs
/// to make a request that is no harm, is all that it may.
#[must_use]
pub fn policies(cases: &[ResourceCase]) -> [(&'static str, String); 2] {
    let up_to = |name: &str, part: &str| {
        // A place that the URL does not tell may be any.
        let name = name.replace("/-/", "/*/");
        let at = name.find(part).map_or(name.len(), |at| at + part.len());
        let rest = name[at..].find('/').map_or(name.len(), |end| at + end);
        name[..rest].to_owned()
    };
    // With all that is below, where a name is meant and not only the place to look for it.
    let globs = |names: BTreeSet<String>, part: &str| -> Vec<String> {
        let below = names
            .iter()
            .filter(|name| name.contains(part))
            .map(|name| format!("{name}/**"));
        below.chain(names.iter().cloned()).collect()
    };
    let denied = globs(
        cases.iter().map(|c| up_to(&c.name, FORBIDDEN)).collect(),
        FORBIDDEN,
    );
    let needed = cases.iter().flat_map(|c| &c.needed).cloned();
    // What the session and the signed URL that the agents begin with are for.
    let own = [
        "projects/_/buckets/open-1",
        "projects/acme-dev/locations/us-central1/functions/open-1",
    ]
    .map(str::to_owned);
    let allowed = globs(
        needed.chain(own).map(|name| up_to(&name, ALLOWED)).collect(),
        ALLOWED,
    );
    let mut all_but = vec![json!({"name": "all", "effect": "Allow", "methods": ["**"]})];
    for (number, resources) in denied.chunks(64).enumerate() {
        let name = format!("no-{number}");
        all_but.push(json!({"name": name, "effect": "Deny", "methods": ["**"], "resources": resources}));
    }
    let mut only = Vec::new();
    for (number, resources) in allowed.chunks(64).enumerate() {
        let name = format!("some-{number}");
        only.push(json!({"name": name, "effect": "Allow", "methods": ["**"], "resources": resources}));
    }
    [
        ("coder", policy_of("coder", &all_but)),
        ("writer", policy_of("writer", &only)),
    ]
}
