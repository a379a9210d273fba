//! The labels of namespaces as files tell them: what `kubectl get namespaces -o yaml` (or json) prints, Namespaces
//! as manifests, or `namespaces:` as in turnpike.yaml.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::{
    FieldError, NamespaceLabels,
    load::{self, Problem},
};

/// Reads the labels of all namespaces of a file.
///
/// # Errors
/// All that is wrong with it.
pub fn namespaces(text: &str) -> Result<NamespaceLabels, Vec<Problem>> {
    let mut labels = NamespaceLabels::new();
    let mut problems = Vec::new();
    let documents = load::documents(text).map_err(|p| vec![p])?;
    for document in &documents {
        match of_document(&document.value) {
            Ok(found) => {
                for (name, its) in found {
                    if labels.insert(name.clone(), its).is_some() {
                        let message = format!("namespace {name} is there twice");
                        problems.push(document.problem(FieldError::new("", message)));
                    }
                }
            }
            Err(error) => problems.push(document.problem(error)),
        }
    }
    if documents.is_empty() {
        problems.push(nothing());
    }
    if problems.is_empty() {
        Ok(labels)
    } else {
        Err(problems)
    }
}

fn nothing() -> Problem {
    Problem {
        line: 0,
        column: 0,
        path: None,
        message: "the file holds no namespaces".to_owned(),
    }
}

type Found = Vec<(String, BTreeMap<String, String>)>;

fn of_document(document: &Value) -> Result<Found, FieldError> {
    match document.get("kind").and_then(Value::as_str) {
        Some("List" | "NamespaceList") => {
            let items = document.get("items").and_then(Value::as_array);
            let items = items.ok_or_else(|| FieldError::new("items", "a list of Namespaces is expected"))?;
            items
                .iter()
                .enumerate()
                .map(|(i, item)| of_object(item, &format!("items[{i}].")))
                .collect()
        }
        Some(_) => of_object(document, "").map(|one| vec![one]),
        None => {
            let Some(namespaces) = document.get("namespaces").and_then(Value::as_object) else {
                let message = "neither Namespaces, as kubectl get namespaces -o yaml prints them, nor a map from names \
                               to labels under namespaces:, as in turnpike.yaml";
                return Err(FieldError::new("", message));
            };
            let each = namespaces.iter();
            each.map(|(name, its)| Ok((name.clone(), labels(Some(its), &format!("namespaces.{name}"))?)))
                .collect()
        }
    }
}

fn of_object(object: &Value, path: &str) -> Result<(String, BTreeMap<String, String>), FieldError> {
    let kind = object.get("kind").and_then(Value::as_str);
    if kind != Some("Namespace") {
        let found = kind.unwrap_or("nothing");
        return Err(FieldError::new(
            format!("{path}kind"),
            format!("{found} is no Namespace"),
        ));
    }
    let metadata = object.get("metadata");
    let name = metadata.and_then(|m| m.get("name")).and_then(Value::as_str);
    let name =
        name.ok_or_else(|| FieldError::new(format!("{path}metadata.name"), "a Namespace has a name"))?;
    let its = labels(
        metadata.and_then(|m| m.get("labels")),
        &format!("{path}metadata.labels"),
    )?;
    Ok((name.to_owned(), its))
}

fn labels(value: Option<&Value>, path: &str) -> Result<BTreeMap<String, String>, FieldError> {
    let map: &Map<String, Value> = match value {
        None | Some(Value::Null) => return Ok(BTreeMap::new()),
        Some(Value::Object(map)) => map,
        Some(_) => return Err(FieldError::new(path, "labels are a map from names to texts")),
    };
    let text = |(name, value): (&String, &Value)| match value {
        Value::String(text) => Ok((name.clone(), text.clone())),
        other => {
            let message = format!("the value of a label is a text: write \"{other}\" in quotes");
            Err(FieldError::new(format!("{path}.{name}"), message))
        }
    };
    map.iter().map(text).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<String, String> {
        let show = |labels: NamespaceLabels| {
            let line = |(name, its): (String, BTreeMap<String, String>)| {
                let its: Vec<String> = its.into_iter().map(|(k, v)| format!("{k}={v}")).collect();
                format!("{name}: {}", its.join(" ")).trim_end().to_owned()
            };
            labels.into_iter().map(line).collect::<Vec<_>>().join("\n")
        };
        let told = |problems: Vec<Problem>| {
            let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
            lines.join("\n")
        };
        namespaces(text).map(show).map_err(told)
    }

    #[test]
    fn namespaces_are_read_in_every_form() {
        let rows = [
            (
                "apiVersion: v1\nkind: List\nitems:\n- {kind: Namespace, metadata: {name: b}}\n- kind: Namespace\n  \
                 metadata:\n    name: a\n    labels: {env: prod, team: x}\n",
                Ok("a: env=prod team=x\nb:"),
            ),
            (
                r#"{"kind": "NamespaceList", "items": [{"kind": "Namespace", "metadata": {"name": "a", "labels": {"env": "dev"}}}]}"#,
                Ok("a: env=dev"),
            ),
            (
                "kind: Namespace\nmetadata: {name: a}\n---\nkind: Namespace\nmetadata: {name: b, labels: {x: \"1\"}}\n",
                Ok("a:\nb: x=1"),
            ),
            (
                "listen: 127.0.0.1:1\nnamespaces:\n  a: {env: prod}\n  b:\n  c: {}\n",
                Ok("a: env=prod\nb:\nc:"),
            ),
            ("", Err("the file holds no namespaces")),
            (
                "listen: 127.0.0.1:1\n",
                Err(
                    "line 1, column 1: neither Namespaces, as kubectl get namespaces -o yaml prints them, nor a map from \
                     names to labels under namespaces:, as in turnpike.yaml",
                ),
            ),
            (
                "namespaces:\n  a:\n    ready: true\n",
                Err(
                    "line 3, column 12: namespaces.a.ready: the value of a label is a text: write \"true\" in quotes",
                ),
            ),
            (
                "namespaces:\n  a: prod\n",
                Err("line 2, column 6: namespaces.a: labels are a map from names to texts"),
            ),
            (
                "kind: List\nitems:\n- kind: Pod\n",
                Err("line 3, column 9: items[0].kind: Pod is no Namespace"),
            ),
            (
                "kind: Namespace\nmetadata: {labels: {a: b}}\n",
                Err("line 2, column 1: metadata.name: a Namespace has a name"),
            ),
            (
                "kind: Namespace\nmetadata: {name: a}\n---\nnamespaces: {a: {}}\n",
                Err("line 4, column 1: namespace a is there twice"),
            ),
        ];
        for (text, expected) in rows {
            let expected = expected.map(str::to_owned).map_err(str::to_owned);
            assert_eq!(read(text), expected, "{text}");
        }
    }
}
