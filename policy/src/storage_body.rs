//! What the JSON bodies of Cloud Storage's methods say about the resources of a call.
//!
//! An upload's object may be named in its metadata only, a compose names its sources only in its body, and a name in
//! the body that is another one than in the URL is read by some. Bodies come parsed; that no field stands twice in
//! them is for the caller to see.

use serde_json::{Map, Value};
use smallvec::SmallVec;

use crate::{
    call::{Call, Resource, Scope, Traits},
    canonical::Target,
    catalog::{Catalog, Unlisted, named},
};

/// Why a body and its URL do not make one call.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BodyConflict {
    /// What should be a JSON object in the body is none.
    #[error("a part of the body of {method} must be a JSON object and is not")]
    NotAnObject {
        /// The method.
        method: &'static str,
    },
    /// A name is no text, or empty.
    #[error("{field} in the body of {method} must be text, and not empty")]
    NotText {
        /// The method.
        method: &'static str,
        /// The field.
        field: &'static str,
    },
    /// A field stands there in two spellings.
    #[error("{field} stands in the body of {method} in two spellings; give it once")]
    Twice {
        /// The method.
        method: &'static str,
        /// The field.
        field: &'static str,
    },
    /// The body names another resource than the URL.
    #[error(
        "{field} in the body of {method} is {body:?}, and the URL says {url:?}; name the same in both, or leave it out \
         of the body"
    )]
    Differs {
        /// The method.
        method: &'static str,
        /// The field.
        field: &'static str,
        /// What the body says.
        body: String,
        /// What the URL says.
        url: String,
    },
    /// What a compose reads is not named.
    #[error("the body of {method} must name its sources, as sourceObjects[].name")]
    NoSources {
        /// The method.
        method: &'static str,
    },
}

impl BodyConflict {
    /// The reason as a stable code.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Twice { .. } => "BODY_FIELD_REPEATED",
            Self::Differs { .. } => "BODY_NAMES_ANOTHER_RESOURCE",
            Self::NotAnObject { .. } | Self::NotText { .. } | Self::NoSources { .. } => {
                "BODY_NAMES_NO_RESOURCE"
            }
        }
    }
}

/// Resources that the body of a call names beside those of its URL: the sources of `storage.objects.compose`, which
/// are in the destination's bucket. Empty for every other method.
///
/// # Errors
/// [`BodyConflict`] where the body leaves open which they are.
pub fn body_resources(
    call: &Call,
    body: &Map<String, Value>,
) -> Result<SmallVec<[Resource; 4]>, BodyConflict> {
    let method = call.method;
    let mut resources = SmallVec::new();
    if method != "storage.objects.compose" {
        return Ok(resources);
    }
    let missing = BodyConflict::NoSources { method };
    let Some(sources) = field(method, body, "sourceObjects")?.and_then(Value::as_array) else {
        return Err(missing);
    };
    let Some(destination) = call.resources.first() else {
        return Err(missing);
    };
    let Some((parent, _)) = destination.name.split_once("/objects/") else {
        return Err(missing);
    };
    for source in sources {
        let name = text(method, object(method, source)?, "name")?.ok_or(missing.clone())?;
        resources.push(Resource {
            name: format!("{parent}/objects/{name}"),
            id: Some(name.to_owned()),
            scope: Scope::Exact,
            ..destination.clone()
        });
    }
    if resources.is_empty() {
        return Err(missing);
    }
    Ok(resources)
}

/// Methods whose body describes what they write, by the collection that their name is part of. The destination of a
/// compose is described one level down.
const DESCRIBE: &[(&str, Option<&str>)] = &[
    ("storage.objects.insert", None),
    ("storage.objects.copy", None),
    ("storage.objects.rewrite", None),
    ("storage.objects.patch", None),
    ("storage.objects.update", None),
    ("storage.objects.compose", Some("destination")),
    ("storage.folders.insert", None),
    ("storage.managedFolders.insert", None),
    ("storage.managedFolders.update", None),
];

/// Parameters and fields that share what a call writes, and the method that does only that, of objects and of
/// buckets.
const SHARING: &[(&str, &str, &str)] = &[
    (
        "predefinedAcl",
        "storage.objectAccessControls.insert",
        "storage.bucketAccessControls.insert",
    ),
    (
        "destinationPredefinedAcl",
        "storage.objectAccessControls.insert",
        "storage.bucketAccessControls.insert",
    ),
    (
        "acl",
        "storage.objectAccessControls.insert",
        "storage.bucketAccessControls.insert",
    ),
    (
        "predefinedDefaultObjectAcl",
        "storage.defaultObjectAccessControls.insert",
        "storage.defaultObjectAccessControls.insert",
    ),
    (
        "defaultObjectAcl",
        "storage.defaultObjectAccessControls.insert",
        "storage.defaultObjectAccessControls.insert",
    ),
];

/// The calls that a write makes besides, because it shares what it writes: whoever may write need not be allowed to.
/// Google asks for the permission to set IAM policies then, too.
///
/// # Errors
/// [`Unlisted`] where the catalogue lacks the method, which is a defect of the build.
pub fn grants(
    catalog: &Catalog,
    call: &Call,
    target: &Target,
    body: Option<&Map<String, Value>>,
) -> Result<SmallVec<[Call; 1]>, Unlisted> {
    let mut calls = SmallVec::new();
    let object = call.method.starts_with("storage.objects.");
    if call.traits.contains(Traits::READ) || !(object || call.method.starts_with("storage.buckets.")) {
        return Ok(calls);
    }
    for (name, of_object, of_bucket) in SHARING {
        let in_query = target.query_pairs().any(|(given, _)| same_field(&given, name));
        let in_body = body.is_some_and(|b| {
            b.iter()
                .any(|(key, value)| same_field(key, name) && !value.is_null())
        });
        if in_query || in_body {
            let mut shares = named(catalog, call, if object { of_object } else { of_bucket })?;
            // What is shared is what is written, not what it is copied from.
            shares.resources.truncate(1);
            calls.push(shares);
        }
    }
    Ok(calls)
}

/// Whether a name is that of a field, in camel case or in snake case.
fn same_field(given: &str, name: &str) -> bool {
    given
        .bytes()
        .filter(|b| *b != b'_')
        .map(|b| b.to_ascii_lowercase())
        .eq(name.bytes().map(|b| b.to_ascii_lowercase()))
}

/// Methods whose body may share what they write.
const SHARE: &[&str] = &[
    "storage.buckets.insert",
    "storage.buckets.patch",
    "storage.buckets.update",
];

/// Whether the body of a method has to be read to know what the call is about.
pub fn names_resources(method: &str) -> bool {
    SHARE.contains(&method) || DESCRIBE.iter().any(|(name, _)| *name == method)
}

/// Brings a call and the metadata in its body together. Where the URL names no object the metadata does, and the
/// call is about that one; where both do they must be the same. Calls of other methods stay as they are: a bucket
/// that is created stays what is below its project.
///
/// # Errors
/// [`BodyConflict`] where the metadata names another bucket or object, or none that could be read.
pub fn object_from_metadata(call: &mut Call, metadata: &Map<String, Value>) -> Result<(), BodyConflict> {
    let method = call.method;
    let Some((_, part)) = DESCRIBE.iter().find(|(name, _)| *name == method) else {
        return Ok(());
    };
    let mut described = metadata;
    if let Some(part) = part {
        match field(method, described, part)? {
            None => return Ok(()),
            Some(inner) => described = object(method, inner)?,
        }
    }
    let Some(resource) = call.resources.first_mut() else {
        return Ok(());
    };
    let bucket = bucket_of(&resource.name).to_owned();
    if let Some(named) = text(method, described, "bucket")?
        && named != bucket
    {
        return Err(differs(method, "bucket", named, &bucket));
    }
    let Some(named) = text(method, described, "name")? else {
        return Ok(());
    };
    match &resource.id {
        Some(id) if *id == named => {}
        Some(id) => return Err(differs(method, "name", named, id)),
        None => {
            resource.name = format!("{}/{}/{named}", resource.name, resource.kind);
            resource.id = Some(named.to_owned());
            resource.scope = Scope::Exact;
        }
    }
    Ok(())
}

/// The bucket in `projects/_/buckets/B` and what is below it.
fn bucket_of(name: &str) -> &str {
    let rest = name.strip_prefix("projects/_/buckets/").unwrap_or(name);
    rest.split('/').next().unwrap_or(rest)
}

fn object<'v>(method: &'static str, value: &'v Value) -> Result<&'v Map<String, Value>, BodyConflict> {
    value.as_object().ok_or(BodyConflict::NotAnObject { method })
}

/// A field by its name in JSON or, as Google takes both, in snake case. Spelled in two ways, it could be either.
fn field<'v>(
    method: &'static str,
    object: &'v Map<String, Value>,
    name: &'static str,
) -> Result<Option<&'v Value>, BodyConflict> {
    let mut found = object
        .iter()
        .filter(|(key, _)| same_field(key, name))
        .map(|(_, value)| value);
    match (found.next(), found.next()) {
        (Some(_), Some(_)) => Err(BodyConflict::Twice { method, field: name }),
        (Some(Value::Null) | None, _) => Ok(None),
        (Some(value), None) => Ok(Some(value)),
    }
}

fn text<'v>(
    method: &'static str,
    object: &'v Map<String, Value>,
    name: &'static str,
) -> Result<Option<&'v str>, BodyConflict> {
    match field(method, object, name)? {
        None => Ok(None),
        Some(Value::String(text)) if !text.is_empty() => Ok(Some(text)),
        Some(_) => Err(BodyConflict::NotText { method, field: name }),
    }
}

fn differs(method: &'static str, field: &'static str, body: &str, url: &str) -> BodyConflict {
    BodyConflict::Differs {
        method,
        field,
        body: body.to_owned(),
        url: url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{canonical::Target, catalog::Catalog};

    const B: &str = "https://storage.googleapis.com/storage/v1/b/reports";
    const UPLOAD: &str = "https://storage.googleapis.com/upload/storage/v1/b/reports/o?uploadType=multipart";

    fn call(verb: &str, url: &str) -> Call {
        let target = Target::from_url(verb, url).expect("is canonical");
        let catalog = Catalog::embedded().expect("loads");
        catalog.classify(&target).expect("is a method").call
    }

    /// `NAME SCOPE` of the first resource once the metadata was heard, or the reason.
    fn heard(verb: &str, url: &str, metadata: &Value) -> String {
        let mut call = call(verb, url);
        match object_from_metadata(&mut call, metadata.as_object().expect("an object")) {
            Ok(()) => {
                let first = &call.resources[0];
                assert_eq!(first.id.is_some(), first.scope == Scope::Exact, "{first:?}");
                format!("{} {:?}", first.name, first.scope)
            }
            Err(error) => error.reason().to_owned(),
        }
    }

    #[test]
    fn metadata_names_what_the_url_does_not_and_nothing_else() {
        let object = |name: &str| format!("{B}/o/{name}");
        let below = "projects/_/buckets/reports Below";
        let exact = |name: &str| format!("projects/_/buckets/reports/objects/{name} Exact");
        let (conflict, none) = ("BODY_NAMES_ANOTHER_RESOURCE", "BODY_NAMES_NO_RESOURCE");
        let named = format!("{UPLOAD}&name=x");
        let copy = format!("{B}/o/a/rewriteTo/b/mine/o/x");
        let cases: Vec<(&str, String, Value, String)> = vec![
            ("POST", UPLOAD.into(), json!({"name": "a/b"}), exact("a/b")),
            (
                "POST",
                UPLOAD.into(),
                json!({"name": "a", "bucket": "reports"}),
                exact("a"),
            ),
            ("POST", UPLOAD.into(), json!({"Name": "a"}), exact("a")),
            (
                "POST",
                UPLOAD.into(),
                json!({"name": "a", "NAME": "b"}),
                "BODY_FIELD_REPEATED".into(),
            ),
            ("POST", UPLOAD.into(), json!({}), below.into()),
            ("POST", UPLOAD.into(), json!({"name": null}), below.into()),
            (
                "POST",
                UPLOAD.into(),
                json!({"name": "a", "bucket": "prod"}),
                conflict.into(),
            ),
            ("POST", UPLOAD.into(), json!({"name": 7}), none.into()),
            ("POST", UPLOAD.into(), json!({"name": ""}), none.into()),
            ("POST", named.clone(), json!({"name": "x"}), exact("x")),
            ("POST", named.clone(), json!({}), exact("x")),
            ("POST", named, json!({"name": "y"}), conflict.into()),
            ("PATCH", object("x"), json!({"contentType": "a/b"}), exact("x")),
            ("PATCH", object("x"), json!({"bucket": "prod"}), conflict.into()),
            (
                "POST",
                copy.clone(),
                json!({"bucket": "mine", "name": "x"}),
                "projects/_/buckets/mine/objects/x Exact".into(),
            ),
            ("POST", copy, json!({"bucket": "reports"}), conflict.into()),
            (
                "POST",
                format!("{B}/o/x/compose"),
                json!({"destination": {"name": "y"}}),
                conflict.into(),
            ),
            (
                "POST",
                format!("{B}/folders"),
                json!({"name": "f/"}),
                "projects/_/buckets/reports/folders/f/ Exact".into(),
            ),
        ];
        for (verb, url, metadata, expected) in cases {
            assert_eq!(heard(verb, &url, &metadata), expected, "{verb} {url} {metadata}");
        }
    }

    #[test]
    fn a_compose_reads_its_sources() {
        let compose = call("POST", &format!("{B}/o/whole/compose"));
        let sources = |body: Value| {
            body_resources(&compose, body.as_object().expect("an object"))
                .map(|found| found.into_iter().map(|r| r.name).collect::<Vec<_>>())
                .map_err(|error| error.reason())
        };
        let none = Err("BODY_NAMES_NO_RESOURCE");
        assert_eq!(
            sources(json!({"sourceObjects": [{"name": "a"}, {"name": "secret/b", "generation": "1"}]})),
            Ok(vec![
                "projects/_/buckets/reports/objects/a".to_owned(),
                "projects/_/buckets/reports/objects/secret/b".to_owned(),
            ])
        );
        assert_eq!(
            sources(json!({"source_objects": [{"name": "a"}]})),
            Ok(vec!["projects/_/buckets/reports/objects/a".to_owned()])
        );
        for body in [
            json!({}),
            json!({"sourceObjects": []}),
            json!({"sourceObjects": {"name": "a"}}),
            json!({"sourceObjects": [{"name": 1}]}),
            json!({"sourceObjects": [{}]}),
            json!({"sourceObjects": ["a"]}),
        ] {
            assert_eq!(sources(body.clone()), none, "{body}");
        }
    }

    #[test]
    fn a_body_names_no_resources_of_other_methods() {
        let get = call("PATCH", &format!("{B}/o/x"));
        assert_eq!(
            body_resources(
                &get,
                json!({"sourceObjects": [{"name": "a"}]})
                    .as_object()
                    .expect("an object")
            ),
            Ok(SmallVec::new())
        );
    }
}
