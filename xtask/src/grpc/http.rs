//! `google.api.http`: how an RPC looks as a REST request, and which fields of its message the path is made of.

use anyhow::{Context as _, bail};
use prost_reflect::{DynamicMessage, ExtensionDescriptor, Kind, MessageDescriptor, MethodDescriptor, Value};

/// A rule, its path as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rule {
    /// `G`, `P`, `U`, `A`, `D`, as in the catalogue.
    pub(super) verb: char,
    /// `/v1/{name=projects/*}:undelete`
    pub(super) path: String,
}

/// The rules of an RPC, the primary one first.
pub(super) fn rules(extension: &ExtensionDescriptor, method: &MethodDescriptor) -> anyhow::Result<Vec<Rule>> {
    let options = method.options();
    if !options.has_extension(extension) {
        return Ok(Vec::new());
    }
    let value = options.get_extension(extension);
    let Value::Message(primary) = value.as_ref() else {
        bail!("{}: google.api.http is no message", method.full_name());
    };
    let mut rules = Vec::from_iter(rule(primary));
    if let Some(additional) = primary.get_field_by_name("additional_bindings")
        && let Some(list) = additional.as_list()
    {
        rules.extend(list.iter().filter_map(Value::as_message).filter_map(rule));
    }
    Ok(rules)
}

fn rule(message: &DynamicMessage) -> Option<Rule> {
    let verbs = [
        ("get", 'G'),
        ("post", 'P'),
        ("put", 'U'),
        ("patch", 'A'),
        ("delete", 'D'),
    ];
    verbs.into_iter().find_map(|(name, verb)| {
        let path = message.get_field_by_name(name)?.as_str()?.to_owned();
        (!path.is_empty()).then_some(Rule { verb, path })
    })
}

/// A path of a rule, in parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Part {
    /// What stands there, slashes included.
    Text(String),
    /// A field of the message.
    Variable(Variable),
}

/// A variable of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Variable {
    /// `secret.name`
    pub(super) field: String,
    /// Its pattern, in the notation of the table: `@` where none is given.
    pub(super) pattern: String,
}

/// Takes a path apart.
pub(super) fn parts(path: &str) -> anyhow::Result<Vec<Part>> {
    let mut parts = Vec::new();
    let mut left = path;
    while let Some((before, rest)) = left.split_once('{') {
        let (variable, behind) = rest.split_once('}').with_context(|| format!("path {path}"))?;
        if !before.is_empty() {
            parts.push(Part::Text(before.to_owned()));
        }
        let (field, pattern) = variable.split_once('=').unwrap_or((variable, "@"));
        parts.push(Part::Variable(Variable {
            field: field.trim().to_owned(),
            pattern: pattern.trim().to_owned(),
        }));
        left = behind;
    }
    if !left.is_empty() {
        parts.push(Part::Text(left.to_owned()));
    }
    Ok(parts)
}

/// The numbers that lead to a field, as the table writes them; `None` where the message has no such field, or one
/// whose value is no text and no number.
pub(super) fn numbers(message: &MessageDescriptor, field: &str) -> Option<String> {
    let mut message = Some(message.clone());
    let mut numbers = Vec::new();
    let mut integer = false;
    for name in field.split('.') {
        let found = message.as_ref()?.get_field_by_name(name)?;
        if found.is_list() || found.is_map() {
            return None;
        }
        numbers.push(found.number().to_string());
        (message, integer) = match found.kind() {
            Kind::Message(inner) => (Some(inner), false),
            Kind::String => (None, false),
            Kind::Int32 | Kind::Int64 | Kind::Uint32 | Kind::Uint64 => (None, true),
            _ => return None,
        };
    }
    if let Some(wrapper) = message {
        // A wrapper has its value in field 1.
        integer = match wrapper.full_name() {
            "google.protobuf.StringValue" => false,
            "google.protobuf.Int64Value" => true,
            _ => return None,
        };
        numbers.push("1".to_owned());
    }
    let mark = if integer { "#" } else { "" };
    Some(numbers.join(".") + mark)
}
