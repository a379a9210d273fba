//! What names may hold, and what a query may say of what a call acts on.
//!
//! Google's routers take a name as it is; other servers cut it off, trim it, or look for a query in it. Names of Google
//! Cloud hold nothing that this would matter for, so a name that does is refused and need not be read in two ways.
//!
//! A method's query never has a parameter that is called like a variable of its path (none of discovery's 28,137
//! methods has), and a server that fills one message from both may take either. What the query says must be what the
//! path says; a whole name is one more resource of the call.

use std::borrow::Cow;

use smallvec::SmallVec;

use super::{
    Unlisted, hosts,
    recipe::{Match, Recipe, pairs_in},
};
use crate::call::{Resource, Scope};

/// Where names of Google Cloud begin.
const ROOTS: &[&str] = &[
    "billingAccounts/",
    "folders/",
    "locations/",
    "operations/",
    "organizations/",
    "projects/",
];
/// APIs with text of their users' own in names of Google Cloud, and what it stands behind.
const FREE_BEHIND: &[(&str, &str)] = &[
    ("firestore", "/documents/"),
    ("google.firestore", "/documents/"),
    ("healthcare", "/dicomWeb/"),
    ("healthcare", "/fhir/"),
    ("storage", "/folders/"),
    ("storage", "/managedFolders/"),
    ("storage", "/objects/"),
];
/// APIs whose projects are none of Google Cloud's.
const OTHER_PROJECTS: &[&str] = &["script"];
/// Characters that servers cut a name off at, or take for a slash.
const CUTTING: &[char] = &['?', '#', ';', '\\'];
/// Parameters that hold a whole name, without underscores and in lower case.
const WHOLE: &[&str] = &["name", "parent", "resource", "resourcename"];
/// Parameters that hold a project.
const PROJECT: &[&str] = &["project", "projectid", "projectsid"];
/// Parameters that Cloud Storage has not, but for the name of what is uploaded: its paths alone name these.
const STORAGE: &[&str] = &[
    "bucket",
    "destinationbucket",
    "destinationfolder",
    "destinationobject",
    "folder",
    "managedfolder",
    "name",
    "object",
    "sourcebucket",
    "sourcefolder",
    "sourceobject",
];

/// Whether a name of Google Cloud, decoded, is one for some servers and another one for others.
pub(crate) fn is_ambiguous(method: &str, name: &str) -> bool {
    let of = |api: &str| method.strip_prefix(api).is_some_and(|rest| rest.starts_with('.'));
    if OTHER_PROJECTS.iter().any(|api| of(api)) || !ROOTS.iter().any(|root| name.starts_with(root)) {
        return false;
    }
    let free = FREE_BEHIND.iter().filter(|(api, _)| of(api));
    let name = free.fold(name, |name, (_, behind)| {
        name.split(behind).next().unwrap_or(name)
    });
    let upper = |project: &str| project.bytes().any(|b| b.is_ascii_uppercase());
    let project = name
        .strip_prefix("projects/")
        .and_then(|rest| rest.split('/').next());
    let bucket = name
        .strip_prefix("projects/_/buckets/")
        .and_then(|rest| rest.split('/').next());
    bucket.is_some_and(|bucket| !hosts::is_like_bucket(bucket))
        || project.is_some_and(upper)
        || name.contains(CUTTING)
        || name.split('/').any(|part| part.is_empty() || part.trim() != part)
}

/// What the query names besides the path.
///
/// # Errors
/// [`Unlisted`] where the query says something else of a part of the path, or says it in a way that could be read in
/// two.
pub(super) fn in_query(
    call: &Match<'_>,
    changes: bool,
    recipes: &[Recipe],
    known: &[Resource],
) -> Result<SmallVec<[Resource; 1]>, Unlisted> {
    let mut found = SmallVec::new();
    let storage = call.method.starts_with("storage.");
    for (given, value) in call.target.query_pairs() {
        let loose = loosely(&given);
        // `?secret.name=x` is the field of a field.
        let field = loose.rsplit('.').next().unwrap_or(&loose);
        let is = |names: &[&str]| names.contains(&field);
        let differs = || Unlisted::AnotherInQuery {
            method: call.method,
            parameter: given.clone().into_owned(),
        };
        // What is created gets its id there.
        let its_own = |recipe: &Recipe| recipe.query_id.is_some_and(|id| loosely(id) == loose);
        if value.is_empty() || recipes.iter().any(its_own) {
            continue;
        }
        if storage && is(STORAGE) {
            return Err(differs());
        }
        if is(WHOLE) && !storage {
            if let Some(mut resource) = whole(call, &value, known)? {
                if field == "parent" && changes {
                    resource.scope = Scope::Below;
                }
                found.push(resource);
            }
        } else if is(PROJECT) {
            match known.iter().find_map(|r| r.project.as_deref()) {
                Some(project) if project == value => {}
                Some(_) => return Err(differs()),
                // Nothing of Cloud Storage is in a project that its path does not tell.
                None if storage => {}
                None => found.push(below_project(call, &value)?),
            }
        } else if call
            .named()
            .any(|(collection, name)| *name != *value && is_called(field, collection))
        {
            return Err(differs());
        }
    }
    Ok(found)
}

/// The resource of a whole name; `None` for what is none, and for one that the call has already.
fn whole(call: &Match<'_>, value: &str, known: &[Resource]) -> Result<Option<Resource>, Unlisted> {
    let unsafe_name = || Unlisted::UnsafeName { method: call.method };
    if decodes_again(value) {
        return Err(unsafe_name());
    }
    // `//SERVICE/NAME` is a full name.
    let name = match value.strip_prefix("//") {
        Some(full) => full.split_once('/').map_or(full, |(_, name)| name),
        None => value.trim_start_matches('/'),
    };
    if !ROOTS.iter().any(|root| name.starts_with(root)) || known.iter().any(|r| r.name == name) {
        return Ok(None);
    }
    let steps = name.split('/').any(|step| matches!(step, "" | "." | ".."));
    if steps || is_ambiguous(call.method, name) {
        return Err(unsafe_name());
    }
    let (project, location) = pairs_in(name, None);
    Ok(Some(Resource {
        name: name.to_owned(),
        project,
        location,
        kind: known.first().map_or("", |r| r.kind),
        id: name.rsplit('/').next().map(str::to_owned),
        scope: Scope::Exact,
    }))
}

/// Whatever a project has, where only the query tells it.
fn below_project(call: &Match<'_>, project: &str) -> Result<Resource, Unlisted> {
    let project = project.strip_prefix("projects/").unwrap_or(project);
    let name = format!("projects/{project}");
    if project.contains('/') || decodes_again(project) || is_ambiguous(call.method, &name) {
        return Err(Unlisted::UnsafeName { method: call.method });
    }
    Ok(Resource {
        name,
        project: Some(project.to_owned()),
        location: None,
        kind: "projects",
        id: None,
        scope: Scope::Below,
    })
}

/// Whether a parameter may be called so that holds the id of a collection's member: `instance`, `instances`,
/// `instanceId`.
fn is_called(field: &str, collection: &str) -> bool {
    let collection = loosely(collection);
    let bare = field.strip_suffix("id").unwrap_or(field);
    let singular = |ending: &str, instead: &str| {
        let stem = collection.strip_suffix(ending);
        stem.is_some_and(|stem| bare.strip_suffix(instead) == Some(stem))
    };
    !bare.is_empty()
        && (bare == collection || singular("s", "") || singular("es", "") || singular("ies", "y"))
}

/// A parameter's name for readers that decode twice, mind neither case nor underscores, and take a second question
/// mark for the first.
pub(super) fn loosely(name: &str) -> String {
    let decoded = percent_encoding::percent_decode_str(name).decode_utf8_lossy();
    decoded
        .chars()
        .filter(|c| !matches!(c, '_' | '$' | '?'))
        .map(|c| c.to_ascii_lowercase())
        .collect()
}

/// Whether text that was decoded holds an escape of a visible character; in a path that is refused too.
pub(super) fn decodes_again(text: &str) -> bool {
    text.match_indices('%').any(|(at, _)| {
        let digits = text.get(at + 1..at + 3);
        digits
            .and_then(|d| u8::from_str_radix(d, 16).ok())
            .is_some_and(|b| b.is_ascii_graphic())
    })
}

/// Whether a name is another one in snake case; [`snake_case`] without making it.
pub(super) fn is_snake_of(camel: &str, given: &str) -> bool {
    let mut given = given.bytes();
    let fits = camel.bytes().all(|byte| match byte.is_ascii_uppercase() {
        true => given.next() == Some(b'_') && given.next() == Some(byte.to_ascii_lowercase()),
        false => given.next() == Some(byte),
    });
    fits && given.next().is_none()
}

/// A parameter's name as Google takes it too.
pub(super) fn snake_case(camel: &str) -> Cow<'_, str> {
    if !camel.bytes().any(|b| b.is_ascii_uppercase()) {
        return Cow::Borrowed(camel);
    }
    let mut snake = String::with_capacity(camel.len() + 4);
    for c in camel.chars() {
        if c.is_ascii_uppercase() {
            snake.push('_');
        }
        snake.push(c.to_ascii_lowercase());
    }
    Cow::Owned(snake)
}
