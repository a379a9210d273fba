//! Validation of a document against the schema of a custom resource definition, as an API server would do
//! it: types, required and unknown fields, enums, bounds and patterns. It is what gives files the same
//! bounds as the cluster. CEL rules are not evaluated here; the compiler checks the same things.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use regex::Regex;
use serde_json::Value;

use crate::{FieldError, similar::nearest};

/// Validates a document against the first version of a definition. `metadata` is not looked into.
pub fn validate(definition: &CustomResourceDefinition, document: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let names = &definition.spec.names;
    let version = definition.spec.versions.first();
    let api_version = format!("{}/{}", definition.spec.group, version.map_or("", |v| &v.name));
    for (field, wanted) in [
        ("apiVersion", api_version.as_str()),
        ("kind", names.kind.as_str()),
    ] {
        match document.get(field) {
            Some(Value::String(found)) if found == wanted => {}
            Some(found) => errors.push(FieldError::new(
                field,
                format!("is {found}, and should be {wanted:?}"),
            )),
            None => errors.push(FieldError::new(
                field,
                format!("is missing, and should be {wanted:?}"),
            )),
        }
    }
    let schema = version
        .and_then(|v| v.schema.as_ref())
        .and_then(|s| s.open_api_v3_schema.as_ref());
    let Some(schema) = schema else {
        errors.push(FieldError::new("", "the definition has no schema"));
        return errors;
    };
    let Value::Object(fields) = document else {
        errors.push(FieldError::new("", "a resource is a mapping"));
        return errors;
    };
    let properties = schema.properties.clone().unwrap_or_default();
    for (name, value) in fields {
        match name.as_str() {
            "apiVersion" | "kind" | "metadata" => {}
            _ => match properties.get(name) {
                Some(property) => walk(property, value, name.clone(), &mut errors),
                None => errors.push(unknown(
                    name.clone(),
                    name,
                    ["metadata", "spec", "status"].into_iter(),
                )),
            },
        }
    }
    for name in schema
        .required
        .iter()
        .flatten()
        .filter(|n| !fields.contains_key(*n))
    {
        errors.push(FieldError::new(name.clone(), "is required"));
    }
    errors
}

fn walk(schema: &JSONSchemaProps, value: &Value, path: String, errors: &mut Vec<FieldError>) {
    let mut wrong = |message: String| errors.push(FieldError::new(path.clone(), message));
    if value.is_null() {
        wrong(
            "has no value; leave the field out, or write one (a text that begins with `!`, `&` or `#` needs quotes)"
                .to_owned(),
        );
        return;
    }
    if let Some(wanted) = &schema.type_
        && !has_type(wanted, value)
    {
        wrong(format!(
            "should be {}, and is {}",
            article(wanted),
            describe(value, wanted)
        ));
        return;
    }
    if let Some(allowed) = &schema.enum_
        && !allowed.iter().any(|a| a.0 == *value)
    {
        let list: Vec<String> = allowed.iter().map(|a| plain(&a.0)).collect();
        wrong(format!("{} is not one of {}", plain(value), list.join(", ")));
    }
    match value {
        Value::String(text) => {
            let length = text.chars().count() as i64;
            if let Some(least) = schema.min_length.filter(|m| length < *m) {
                wrong(format!("has {length} characters; at least {least}"));
            }
            if let Some(most) = schema.max_length.filter(|m| length > *m) {
                wrong(format!("has {length} characters; at most {most}"));
            }
            if let Some(pattern) = &schema.pattern {
                match Regex::new(pattern) {
                    Ok(regex) if regex.is_match(text) => {}
                    Ok(_) => wrong(format!("{text:?} does not have the form {pattern}")),
                    Err(_) => wrong(format!("the schema's pattern {pattern} cannot be used")),
                }
            }
            if schema.format.as_deref() == Some("date-time") && text.parse::<jiff::Timestamp>().is_err() {
                wrong(format!(
                    "{text:?} is not a date and time as in 2026-01-31T12:00:00Z"
                ));
            }
        }
        Value::Number(number) => {
            if schema.format.as_deref() == Some("int32")
                && number.as_i64().and_then(|n| i32::try_from(n).ok()).is_none()
            {
                wrong(format!("is {number}; at most {}", i32::MAX));
                return;
            }
            let n = number.as_f64().unwrap_or(f64::NAN);
            if let Some(least) = schema.minimum.filter(|m| n < *m) {
                wrong(format!("is {number}; at least {least}"));
            }
            if let Some(most) = schema.maximum.filter(|m| n > *m) {
                wrong(format!("is {number}; at most {most}"));
            }
        }
        Value::Array(items) => {
            let length = items.len() as i64;
            if let Some(least) = schema.min_items.filter(|m| length < *m) {
                wrong(format!("has {length} entries; at least {least}"));
            }
            if let Some(most) = schema.max_items.filter(|m| length > *m) {
                wrong(format!("has {length} entries; at most {most}"));
            }
            if let Some(JSONSchemaPropsOrArray::Schema(item)) = &schema.items {
                for (i, value) in items.iter().enumerate() {
                    walk(item, value, format!("{path}[{i}]"), errors);
                }
            }
        }
        Value::Object(fields) => {
            let length = fields.len() as i64;
            if let Some(most) = schema.max_properties.filter(|m| length > *m) {
                wrong(format!("has {length} entries; at most {most}"));
            }
            for name in schema
                .required
                .iter()
                .flatten()
                .filter(|n| !fields.contains_key(*n))
            {
                errors.push(FieldError::new(format!("{path}.{name}"), "is required"));
            }
            for (name, value) in fields {
                let below = format!("{path}.{name}");
                match (
                    schema.properties.as_ref().and_then(|p| p.get(name)),
                    &schema.additional_properties,
                ) {
                    (Some(property), _) => walk(property, value, below, errors),
                    (None, Some(JSONSchemaPropsOrBool::Schema(any))) => walk(any, value, below, errors),
                    (None, Some(JSONSchemaPropsOrBool::Bool(true))) => {}
                    (None, _) if schema.x_kubernetes_preserve_unknown_fields == Some(true) => {}
                    (None, _) => {
                        let known = schema
                            .properties
                            .iter()
                            .flat_map(|p| p.keys().map(String::as_str));
                        errors.push(unknown(below, name, known));
                    }
                }
            }
        }
        Value::Null | Value::Bool(_) => {}
    }
}

fn has_type(wanted: &str, value: &Value) -> bool {
    match wanted {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        _ => false,
    }
}

fn article(type_: &str) -> String {
    match type_ {
        "object" => "a mapping".to_owned(),
        "array" => "a list".to_owned(),
        "integer" => "an integer".to_owned(),
        other => format!("a {other}"),
    }
}

fn describe(value: &Value, wanted: &str) -> String {
    let hint = match (wanted, value) {
        ("string", _) => " (quote it to make it a string)",
        ("integer", Value::Number(_)) => " (write the digits alone: no point, no exponent, no zero in front)",
        _ => "",
    };
    match value {
        Value::Null => "empty".to_owned(),
        Value::Bool(b) => format!("the boolean {b}{hint}"),
        Value::Number(n) => format!("the number {n}{hint}"),
        Value::String(s) => format!("the string {s:?}"),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "a mapping".to_owned(),
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(s) => s.clone(),
        other => other.to_string(),
    }
}

fn unknown<'a>(path: String, name: &str, known: impl Iterator<Item = &'a str>) -> FieldError {
    let known: Vec<&str> = known.collect();
    let message = match nearest(name, known.iter().copied()) {
        Some(meant) => format!("no such field; did you mean {meant}?"),
        None => format!("no such field; there are {}", known.join(", ")),
    };
    FieldError::new(path, message)
}
