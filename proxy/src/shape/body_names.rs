//! What JSON bodies name, where the URL does not: the object that is stored, the objects that one is composed of.

use bytes::Bytes;
use serde_json::{Map, Value};
use turnpike_policy::call::{Call, Resource, Scope};

use super::Calls;
use crate::{journey::Refused, multipart, refusal::Refusal};

/// Methods whose bodies name what they act on.
const NAMING: &[&str] = &["storage.objects.insert", "storage.objects.compose"];

/// Whether the body has to be read to know what is called.
pub(super) fn matter(calls: &Calls) -> bool {
    calls.iter().any(|c| NAMING.contains(&c.method))
}

/// Adds what a JSON body names.
///
/// # Errors
/// The refusal to answer with.
pub(super) fn place(calls: &mut Calls, body: &Bytes) -> Result<(), Refused> {
    if !matter(calls) || body.is_empty() {
        return Ok(());
    }
    let metadata = multipart::object(body).map_err(|e| {
        Box::new(Refusal::invalid(
            e.reason(),
            format!("the body names what is called, and cannot be read: {e}"),
        ))
    })?;
    place_metadata(calls, &metadata)
}

/// The same for metadata that was read already.
///
/// # Errors
/// The refusal to answer with.
pub(super) fn place_metadata(calls: &mut Calls, metadata: &Map<String, Value>) -> Result<(), Refused> {
    for call in calls.iter_mut() {
        match call.method {
            "storage.objects.insert" => name_object(call, metadata)?,
            "storage.objects.compose" => add_sources(call, metadata)?,
            _ => {}
        }
    }
    Ok(())
}

/// A bucket, and an object in it, of a resource's name.
fn bucket_and_object(name: &str) -> (&str, Option<&str>) {
    let (bucket, object) = match name.split_once("/objects/") {
        Some((bucket, object)) => (bucket, Some(object)),
        None => (name, None),
    };
    (
        bucket.strip_prefix("projects/_/buckets/").unwrap_or(bucket),
        object,
    )
}

/// Fills in the object that the metadata of an upload names.
fn name_object(call: &mut Call, metadata: &Map<String, Value>) -> Result<(), Refused> {
    let conflict = |what: &str| {
        Box::new(Refusal::invalid(
            "UPLOAD_NAMES_DIFFER",
            format!("the URL and the metadata of the upload name different {what}s"),
        ))
    };
    let Some(resource) = call.resources.first_mut() else {
        return Ok(());
    };
    let text = |key: &str| match metadata.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.as_str())),
        Some(_) => Err(conflict(key)),
    };
    let (bucket, object) = bucket_and_object(&resource.name);
    if text("bucket")?.is_some_and(|named| named != bucket) {
        return Err(conflict("bucket"));
    }
    match (object, text("name")?) {
        (Some(object), Some(named)) if object != named => Err(conflict("object")),
        (None, Some(named)) if !named.is_empty() => {
            resource.name = format!("projects/_/buckets/{bucket}/objects/{named}");
            resource.id = Some(named.to_owned());
            resource.scope = Scope::Exact;
            Ok(())
        }
        _ => Ok(()),
    }
}

/// Adds the objects that another one is composed of: they are read.
fn add_sources(call: &mut Call, request: &Map<String, Value>) -> Result<(), Refused> {
    let malformed = || {
        Box::new(Refusal::invalid(
            "COMPOSE_SOURCES_MALFORMED",
            "a compose request lists its sources as sourceObjects, each with its name",
        ))
    };
    let Some(destination) = call.resources.first() else {
        return Ok(());
    };
    let bucket = bucket_and_object(&destination.name).0.to_owned();
    if request
        .keys()
        .any(|key| key != "sourceObjects" && is_sources(key))
    {
        return Err(malformed());
    }
    let sources = request
        .get("sourceObjects")
        .and_then(Value::as_array)
        .ok_or_else(malformed)?;
    for source in sources {
        let name = source
            .get("name")
            .and_then(Value::as_str)
            .filter(|n| !n.is_empty());
        let name = name.ok_or_else(malformed)?;
        call.resources.push(Resource {
            name: format!("projects/_/buckets/{bucket}/objects/{name}"),
            project: None,
            location: None,
            kind: "objects",
            id: Some(name.to_owned()),
            scope: Scope::Exact,
        });
    }
    Ok(())
}

/// Another spelling that a lenient reader takes for the same field.
fn is_sources(key: &str) -> bool {
    key.replace('_', "").eq_ignore_ascii_case("sourceobjects")
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use smallvec::smallvec;
    use turnpike_policy::call::{MethodIndex, Traits, Transport};

    use super::*;

    fn call(method: &'static str, name: &str, scope: Scope) -> Calls {
        smallvec![Call {
            method,
            index: MethodIndex(0),
            api: "storage",
            version: "v1",
            traits: Traits::CHANGE,
            transport: Transport::Rest,
            resources: smallvec![Resource {
                name: name.to_owned(),
                project: None,
                location: None,
                kind: "objects",
                id: None,
                scope,
            }],
        }]
    }

    /// The names after a body was looked at, or the reason why it was refused.
    fn names(
        method: &'static str,
        name: &str,
        scope: Scope,
        body: &Value,
    ) -> Result<Vec<String>, &'static str> {
        let mut calls = call(method, name, scope);
        place(&mut calls, &Bytes::from(body.to_string())).map_err(|r| r.reason)?;
        Ok(calls[0].resources.iter().map(|r| r.name.clone()).collect())
    }

    #[test]
    fn an_object_is_named_once() {
        const BUCKET: &str = "projects/_/buckets/b";
        const OBJECT: &str = "projects/_/buckets/b/objects/o";
        let insert = |name, scope, body| names("storage.objects.insert", name, scope, &body);
        assert_eq!(
            insert(BUCKET, Scope::Below, json!({"name": "o"})),
            Ok(vec![OBJECT.to_owned()])
        );
        assert_eq!(
            insert(OBJECT, Scope::Exact, json!({"name": "o", "bucket": "b"})),
            Ok(vec![OBJECT.to_owned()])
        );
        assert_eq!(
            insert(OBJECT, Scope::Exact, json!({"contentType": "x"})),
            Ok(vec![OBJECT.to_owned()])
        );
        assert_eq!(
            insert(BUCKET, Scope::Below, json!({})),
            Ok(vec![BUCKET.to_owned()])
        );
        for body in [
            json!({"name": "p"}),
            json!({"bucket": "c"}),
            json!({"name": 1}),
            json!({"bucket": ["b"]}),
        ] {
            assert_eq!(
                insert(OBJECT, Scope::Exact, body.clone()),
                Err("UPLOAD_NAMES_DIFFER"),
                "{body}"
            );
        }
    }

    #[test]
    fn sources_are_read_by_name() {
        const OBJECT: &str = "projects/_/buckets/b/objects/o";
        let compose = |body| names("storage.objects.compose", OBJECT, Scope::Exact, &body);
        let sources = json!({"sourceObjects": [{"name": "x/1"}, {"name": "y", "generation": "7"}]});
        let wanted = [
            OBJECT,
            "projects/_/buckets/b/objects/x/1",
            "projects/_/buckets/b/objects/y",
        ];
        assert_eq!(compose(sources), Ok(wanted.map(str::to_owned).to_vec()));
        for body in [
            json!({}),
            json!({"sourceObjects": "x"}),
            json!({"sourceObjects": [{}]}),
            json!({"sourceObjects": [{"name": ""}]}),
            json!({"sourceObjects": [{"name": "x"}], "source_objects": [{"name": "y"}]}),
        ] {
            assert_eq!(compose(body.clone()), Err("COMPOSE_SOURCES_MALFORMED"), "{body}");
        }
    }
}
