//! YAML files to resources, with the line and column of everything that is wrong with them.

use std::{collections::HashMap, fmt, sync::Arc};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{CustomResourceExt, Resource};
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, MapAccess, SeqAccess, Visitor},
};
use serde_json::Value;
use serde_saphyr::{Location, Spanned};
use turnpike_crds::{AgentPolicy, ApprovalRequest};
use turnpike_policy::definition::PolicyDef;

use crate::{Context, FieldError, bundle::digest_of, compile, scalar, schema};

/// The namespace of a document that names none, as with kubectl.
pub const DEFAULT_NAMESPACE: &str = "default";

/// Something wrong with a file.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Problem {
    /// Line, from 1; 0 where unknown.
    pub line: u64,
    /// Column, from 1; 0 where unknown.
    pub column: u64,
    /// The field, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// What is wrong.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line > 0 {
            write!(f, "line {}, column {}: ", self.line, self.column)?;
        }
        if let Some(path) = &self.path {
            write!(f, "{path}: ")?;
        }
        f.write_str(&self.message)
    }
}

/// Reads and compiles the policies of a file, which may hold several documents.
///
/// # Errors
/// All problems of the file; it is taken whole or not at all.
pub fn policies(text: &str, context: &Context<'_>) -> Result<Vec<PolicyDef>, Vec<Problem>> {
    let mut problems = Vec::new();
    let mut compiled = Vec::new();
    for document in documents(text).map_err(|p| vec![p])? {
        match document.policy(context) {
            Ok(definition) => compiled.push(definition),
            Err(found) => problems.extend(found),
        }
    }
    if problems.is_empty() {
        Ok(compiled)
    } else {
        Err(problems)
    }
}

/// Reads one approval request.
///
/// # Errors
/// All problems of the file.
pub fn approval_request(text: &str) -> Result<ApprovalRequest, Vec<Problem>> {
    let documents = documents(text).map_err(|p| vec![p])?;
    match documents.as_slice() {
        [one] => one.resource::<ApprovalRequest>(&ApprovalRequest::crd()),
        _ => Err(vec![Problem {
            line: 0,
            column: 0,
            path: None,
            message: format!(
                "the file holds {} documents; an approval request is one",
                documents.len()
            ),
        }]),
    }
}

/// A YAML document with the position of each of its fields.
#[derive(Debug)]
pub struct Document {
    /// What it says.
    pub value: Value,
    source: Arc<str>,
    positions: Positions,
}

/// Where fields stand.
#[derive(Debug, Default)]
struct Positions {
    /// Each field, by its path: where its key is, or its value where that is a scalar.
    fields: HashMap<String, (u64, u64)>,
    /// Where the strings are written that fields have, which for an alias is elsewhere.
    strings: HashMap<String, (u64, u64)>,
}

/// Splits a text into documents; empty ones are left out.
///
/// # Errors
/// The first syntax error.
pub fn documents(text: &str) -> Result<Vec<Document>, Problem> {
    let nodes: Vec<Spanned<Node>> = serde_saphyr::from_multiple(text).map_err(|e| unreadable(&e))?;
    let source: Arc<str> = text.into();
    Ok(nodes
        .into_iter()
        .map(|node| {
            let mut positions = Positions::default();
            let value = flatten(node, String::new(), &mut positions);
            Document {
                value,
                source: source.clone(),
                positions,
            }
        })
        .collect())
}

/// Reads a YAML text as a type; for files that are no resources.
///
/// # Errors
/// The first thing that is wrong with it, with its position.
pub fn typed<T: DeserializeOwned>(text: &str) -> Result<T, Problem> {
    serde_saphyr::from_str(text).map_err(|e| unreadable(&e))
}

fn unreadable(error: &serde_saphyr::Error) -> Problem {
    let at = error.location();
    Problem {
        line: at.map_or(0, |l| l.line()),
        column: at.map_or(0, |l| l.column()),
        path: None,
        message: plainly(&first_line(&error.without_snippet().to_string())),
    }
}

/// What the YAML reader says, in words for whoever writes the file.
fn plainly(message: &str) -> String {
    // The place is told beside the message already.
    let message = match message.rsplit_once(" at line ") {
        Some((rest, place))
            if place
                .chars()
                .all(|c| c.is_ascii_digit() || ", column".contains(c)) =>
        {
            rest
        }
        _ => message,
    };
    if let Some(rest) = message.strip_prefix("duplicate mapping key: ") {
        let key = rest
            .split_once(", set DuplicateKeyPolicy")
            .map_or(rest, |(key, _)| key);
        return format!("the key {key} is there twice");
    }
    if message == "mapping values are not allowed in this context" {
        return "a colon and a blank begin a value, and no key can stand here; put the text in quotes, such as a \
                condition with `a ? b : c`"
            .to_owned();
    }
    message.to_owned()
}

/// The position is told apart from the message, so it is cut off here.
fn first_line(message: &str) -> String {
    let line = message.lines().next().unwrap_or(message).trim();
    let line = line.strip_prefix("error: ").unwrap_or(line);
    match line.strip_prefix("line ").and_then(|rest| rest.split_once(": ")) {
        Some((position, rest))
            if position
                .chars()
                .all(|c| c.is_ascii_digit() || " column,".contains(c)) =>
        {
            rest.to_owned()
        }
        _ => line.to_owned(),
    }
}

impl Document {
    /// Validates the document and reads it as a resource.
    ///
    /// # Errors
    /// All problems, each with its position.
    pub fn resource<T>(&self, definition: &CustomResourceDefinition) -> Result<T, Vec<Problem>>
    where
        T: Resource + DeserializeOwned,
    {
        let errors = schema::validate(definition, &self.value);
        if !errors.is_empty() {
            return Err(errors.into_iter().map(|e| self.problem(e)).collect());
        }
        let mut resource: T = serde_json::from_value(self.value.clone())
            .map_err(|e| vec![self.problem(FieldError::new("", e.to_string()))])?;
        let metadata = resource.meta_mut();
        if metadata.namespace.is_none() {
            metadata.namespace = Some(DEFAULT_NAMESPACE.to_owned());
        }
        Ok(resource)
    }

    /// Validates and compiles the document as an `AgentPolicy`.
    ///
    /// # Errors
    /// All problems, each with its position.
    pub fn policy(&self, context: &Context<'_>) -> Result<PolicyDef, Vec<Problem>> {
        let mut policy = self.resource::<AgentPolicy>(&AgentPolicy::crd())?;
        // Nobody counts generations of a file, so what the spec says is its generation.
        let spec = serde_json::to_vec(&policy.spec)
            .map_err(|e| vec![self.problem(FieldError::new("spec", e.to_string()))])?;
        policy.metadata.generation = i64::from_str_radix(&digest_of(&spec)[7..22], 16).ok();
        compile(&policy, context).map_err(|errors| errors.0.into_iter().map(|e| self.problem(e)).collect())
    }

    /// Gives an error the position of its field, or of the nearest field above it; where the error is at a place
    /// within the field's text, the position of that place.
    pub fn problem(&self, error: FieldError) -> Problem {
        let mut path = error.path.as_str();
        let fields = &self.positions.fields;
        let field = loop {
            if let Some(position) = fields.get(path) {
                break *position;
            }
            match path.rfind(['.', '[']) {
                Some(end) => path = &path[..end],
                None => break fields.get("").copied().unwrap_or((0, 0)),
            }
        };
        let (line, column) = self.within(&error).unwrap_or(field);
        Problem {
            line,
            column,
            path: Some(error.path).filter(|p| !p.is_empty()),
            message: error.message,
        }
    }
}

impl Document {
    fn within(&self, error: &FieldError) -> Option<(u64, u64)> {
        let place = error.inside?;
        let start = *self.positions.strings.get(&error.path)?;
        let value = self.string(&error.path)?;
        scalar::locate(
            &self.source,
            start,
            value,
            (place.line.into(), place.column.into()),
        )
    }

    /// The string at a path as [`FieldError`]s have it.
    fn string(&self, path: &str) -> Option<&str> {
        let mut value = &self.value;
        for step in path.split(['.', '[']) {
            value = match step.strip_suffix(']') {
                Some(index) => value.get(index.parse::<usize>().ok()?)?,
                None => value.get(step)?,
            };
        }
        value.as_str()
    }
}

#[derive(Debug)]
enum Node {
    Scalar(Value),
    List(Vec<Spanned<Node>>),
    Map(Vec<(Spanned<String>, Spanned<Node>)>),
}

fn flatten(node: Spanned<Node>, path: String, positions: &mut Positions) -> Value {
    let at = |l: Location| (l.line(), l.column());
    // A field's own key is a better place to point at than the first line of what it holds.
    positions
        .fields
        .entry(path.clone())
        .or_insert_with(|| at(node.referenced));
    match node.value {
        Node::Scalar(value) => {
            if value.is_string() {
                positions.strings.insert(path.clone(), at(node.defined));
            }
            positions.fields.insert(path, at(node.referenced));
            value
        }
        Node::List(items) => items
            .into_iter()
            .enumerate()
            .map(|(i, item)| flatten(item, format!("{path}[{i}]"), positions))
            .collect(),
        Node::Map(fields) => fields
            .into_iter()
            .map(|(key, value)| {
                let below = if path.is_empty() {
                    key.value.clone()
                } else {
                    format!("{path}.{}", key.value)
                };
                positions.fields.insert(below.clone(), at(key.referenced));
                (key.value, flatten(value, below, positions))
            })
            .collect::<serde_json::Map<String, Value>>()
            .into(),
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Node;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a YAML value")
            }
            fn visit_unit<E>(self) -> Result<Node, E> {
                Ok(Node::Scalar(Value::Null))
            }
            fn visit_none<E>(self) -> Result<Node, E> {
                Ok(Node::Scalar(Value::Null))
            }
            fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
                deserializer.deserialize_any(self)
            }
            fn visit_bool<E>(self, v: bool) -> Result<Node, E> {
                Ok(Node::Scalar(v.into()))
            }
            fn visit_i64<E>(self, v: i64) -> Result<Node, E> {
                Ok(Node::Scalar(v.into()))
            }
            fn visit_u64<E>(self, v: u64) -> Result<Node, E> {
                Ok(Node::Scalar(v.into()))
            }
            fn visit_f64<E>(self, v: f64) -> Result<Node, E> {
                Ok(Node::Scalar(v.into()))
            }
            fn visit_str<E>(self, v: &str) -> Result<Node, E> {
                Ok(Node::Scalar(v.into()))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Node, A::Error> {
                let mut list = Vec::new();
                while let Some(item) = items.next_element()? {
                    list.push(item);
                }
                Ok(Node::List(list))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Node, A::Error> {
                let mut fields = Vec::new();
                while let Some(entry) = entries.next_entry()? {
                    fields.push(entry);
                }
                Ok(Node::Map(fields))
            }
        }
        deserializer.deserialize_any(Any)
    }
}
