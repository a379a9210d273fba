//! RPCs that no listed REST method stands for: their traits, and which name their path holds.

use std::collections::BTreeSet;

use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor, MethodDescriptor};
use serde_json::{Map, Value, json};
use turnpike_policy::call::Traits;

use super::http::{Part, Variable};
use crate::catalog;

/// How deep answers are looked at for credentials.
const DEPTH: usize = 6;

/// Words that tell of a change, wherever in a name that begins like one that reads: `ReadModifyWriteRow`.
const CHANGES: &[&str] = &[
    "Modify", "Write", "Mutate", "Update", "Create", "Delete", "Insert", "Set",
];

/// The traits of an RPC, by the same rules as those of REST methods: a document is made of its answer.
pub(super) fn traits(service: &str, method: &MethodDescriptor, verb: char) -> anyhow::Result<Traits> {
    let mut schemas = Map::new();
    add_schema(&method.output(), DEPTH, &mut schemas);
    let document = json!({
        "name": service,
        "version": "v1",
        "rootUrl": format!("https://{service}.googleapis.com/"),
        "servicePath": "",
        "schemas": schemas,
    });
    let verb = match verb {
        'G' => "GET",
        'U' => "PUT",
        'A' => "PATCH",
        'D' => "DELETE",
        _ => "POST",
    };
    let changes = CHANGES.iter().any(|word| method.name().contains(word));
    let verb = if changes && verb == "POST" && method.name().starts_with("Read") {
        "PATCH"
    } else {
        verb
    };
    let method = json!({
        "id": format!("{service}.{}", camel(method.name())),
        "httpMethod": verb,
        "path": "",
        "response": {"$ref": method.output().full_name()},
    });
    catalog::traits_of(document, method)
}

/// `ReadRows` as REST writes it, `readRows`.
fn camel(name: &str) -> String {
    let mut letters = name.chars();
    letters
        .next()
        .map_or_else(String::new, |first| first.to_lowercase().chain(letters).collect())
}

fn add_schema(message: &MessageDescriptor, depth: usize, schemas: &mut Map<String, Value>) {
    if depth == 0 || schemas.contains_key(message.full_name()) {
        return;
    }
    schemas.insert(message.full_name().to_owned(), json!({}));
    let mut properties = Map::new();
    for field in message.fields() {
        let schema = match field.kind() {
            Kind::Message(inner) => {
                let inner = value_of_map(&field, inner);
                add_schema(&inner, depth - 1, schemas);
                json!({"items": {"$ref": inner.full_name()}})
            }
            _ => json!({}),
        };
        properties.insert(field.json_name().to_owned(), schema);
    }
    schemas.insert(message.full_name().to_owned(), json!({"properties": properties}));
}

fn value_of_map(field: &FieldDescriptor, entry: MessageDescriptor) -> MessageDescriptor {
    if !field.is_map() {
        return entry;
    }
    match entry.map_entry_value_field().kind() {
        Kind::Message(value) => value,
        _ => entry,
    }
}

/// A binding for an RPC under its own name.
pub(super) struct Named {
    collection: String,
    flags: &'static str,
    name: String,
}

impl Named {
    /// Works out from a path which name it holds: what stands before the version is no part of it, nor is a custom
    /// verb, and what stands behind the last variable is the collection that is listed or made in.
    pub(super) fn of(parts: &[Part], reads: bool) -> Self {
        let last = parts.iter().rposition(|p| matches!(p, Part::Variable(_)));
        let Some(last) = last else {
            return Self::nothing();
        };
        let mut name = String::new();
        let mut literals = Vec::new();
        for (at, part) in parts.iter().enumerate().take(last + 1) {
            match part {
                Part::Text(text) => {
                    let text = if at == 0 { behind_version(text) } else { text };
                    literals.extend(text.split('/').filter(|l| !l.is_empty()).map(str::to_owned));
                    name.push_str(text);
                }
                Part::Variable(Variable { field, pattern }) => {
                    literals.extend(pattern.split('/').filter(|p| is_literal(p)).map(str::to_owned));
                    name.push_str(&format!("{{{field}={pattern}}}"));
                }
            }
        }
        let behind = match parts.get(last + 1) {
            Some(Part::Text(text)) => text.split(':').next().unwrap_or_default(),
            _ => "",
        };
        let collection = behind.rsplit('/').find(|l| !l.is_empty()).map(str::to_owned);
        let flags = match (&collection, reads) {
            (Some(_), true) => "p",
            (Some(_), false) => "pb",
            (None, _) => "",
        };
        Self {
            collection: collection.or_else(|| literals.pop()).unwrap_or_default(),
            flags,
            name,
        }
    }

    /// An RPC whose message names nothing.
    pub(super) fn nothing() -> Self {
        Self {
            collection: String::new(),
            flags: "u",
            name: String::new(),
        }
    }

    /// The binding as the table writes it, with the names of fields; without an id, the RPC's own name is it.
    pub(super) fn text(&self, traits: Traits, version: &str, id: &str) -> String {
        format!(
            "N:{}:{}:{:02x}:{version}:{id}:{}",
            self.collection,
            self.flags,
            traits.bits(),
            self.name
        )
    }
}

fn is_literal(segment: &str) -> bool {
    !matches!(segment, "*" | "**" | "@" | "-")
}

/// What stands behind the version, without its first slash.
fn behind_version(text: &str) -> &str {
    let mut at = 0;
    for segment in text.split_inclusive('/') {
        at += segment.len();
        if is_version(segment.trim_end_matches('/')) {
            return text.get(at..).unwrap_or_default();
        }
    }
    text.trim_start_matches('/')
}

/// `v1`, `v1beta2`, `v1p1beta1`, `alpha`.
pub(super) fn is_version(segment: &str) -> bool {
    let digits = segment.strip_prefix('v').is_some_and(|v| {
        v.starts_with(|c: char| c.is_ascii_digit())
            && v.bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'.' || b == b'_')
    });
    digits || matches!(segment, "alpha" | "beta")
}

/// The version in a package's name, such as `v1` of `google.pubsub.v1`.
pub(super) fn version_of(package: &str) -> &str {
    package
        .split('.')
        .find(|part| is_version(part))
        .unwrap_or_default()
}

/// Fields that name what an RPC without a rule acts on: those by which other RPCs of the service do.
pub(super) fn shared_fields(others: &BTreeSet<(String, String)>, input: &MessageDescriptor) -> Vec<Variable> {
    let known = |field: &str| super::http::numbers(input, field).is_some();
    others
        .iter()
        .filter(|(field, pattern)| pattern.contains('/') && known(field))
        .map(|(field, pattern)| Variable {
            field: field.clone(),
            pattern: pattern.clone(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grpc::http;

    #[test]
    fn paths_tell_the_name() {
        for (path, reads, expected) in [
            (
                "/v1/{name=projects/*/topics/*}:seek",
                false,
                "N:topics::02:v1::{name=projects/*/topics/*}",
            ),
            (
                "/v1/{parent=projects/*}/topics",
                false,
                "N:topics:pb:02:v1::{parent=projects/*}",
            ),
            (
                "/v1/{parent=projects/*}/topics",
                true,
                "N:topics:p:02:v1::{parent=projects/*}",
            ),
            (
                "/svc/v1/projects/{project_id}/zones/{zone}",
                true,
                "N:zones::02:v1::projects/{project_id=@}/zones/{zone=@}",
            ),
            ("/v1/{name=a/*/b/**}", true, "N:b::02:v1::{name=a/*/b/**}"),
            ("/v1/images:annotate", false, "N::u:02:v1::"),
        ] {
            let parts = http::parts(path).expect("a path");
            let text = Named::of(&parts, reads).text(Traits::CHANGE, "v1", "");
            assert_eq!(text, expected, "{path}");
        }
    }

    #[test]
    fn versions_are_told_from_other_words() {
        let found: Vec<_> = [
            "v1",
            "v1beta2",
            "v1p1beta1",
            "v1_2",
            "alpha",
            "vision",
            "v",
            "projects",
        ]
        .into_iter()
        .filter(|word| is_version(word))
        .collect();
        assert_eq!(found, ["v1", "v1beta2", "v1p1beta1", "v1_2", "alpha"]);
        assert_eq!(version_of("google.cloud.vision.v1p1beta1"), "v1p1beta1");
        assert_eq!(version_of("google.longrunning"), "");
    }
}
