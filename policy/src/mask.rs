//! Masking of JSON answers by field: which fields, and the masking itself.
//!
//! A plan is collected from the built-in table of fields that carry secrets and from the caller's policies.
//! It is applied to the whole parsed answer: names match without regard to case and underscores (so
//! `private_key_data` is `privateKeyData`), lists are looked through, and where a path ends at an object or
//! a list everything below it is masked. It never relies on siblings, because a caller can ask for partial
//! answers. What is masked becomes `[MASKED:<kind>]`, in base64 where the field is base64.
//!
//! Streaming and protobuf are not done here.

use std::sync::OnceLock;

use base64::{Engine, prelude::BASE64_STANDARD};
use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use smallvec::SmallVec;

use crate::{
    call::{Call, Traits},
    glob::MethodGlob,
    secrets,
};

/// Why a field path cannot be used. The text is shown to the author of the policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FieldPathError {
    /// Nothing at all.
    #[error("the path is empty")]
    Empty,
    /// `a..b`
    #[error("step {0} is empty")]
    EmptyStep(usize),
    /// Something other than a name, `*`, `**` and `[*]`.
    #[error("step {0}: {1:?} is neither a field name, `*`, `**`, nor followed by `[*]`")]
    Step(usize, String),
    /// A path that ends in `**` would mask whole answers by accident.
    #[error("the last step must name a field or be `*`")]
    EndsDeep,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    /// A name, normalised.
    Name(Box<str>),
    Any,
    Deep,
}

/// A path to fields of a JSON answer: `**.payload.data`, `**.env[*].value`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct FieldPath {
    text: Box<str>,
    steps: Box<[Step]>,
}

impl FieldPath {
    /// Parses a path.
    ///
    /// # Errors
    /// [`FieldPathError`] says what is wrong and where.
    pub fn parse(text: &str) -> Result<Self, FieldPathError> {
        if text.is_empty() {
            return Err(FieldPathError::Empty);
        }
        let mut steps = Vec::new();
        for (i, part) in text.split('.').enumerate() {
            let name = part.trim_end_matches("[*]");
            steps.push(match name {
                "" => return Err(FieldPathError::EmptyStep(i + 1)),
                "*" => Step::Any,
                "**" => Step::Deep,
                n if n
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'@' | b'$')) =>
                {
                    Step::Name(normalised(n).into())
                }
                n => return Err(FieldPathError::Step(i + 1, n.to_owned())),
            });
        }
        if steps.last() == Some(&Step::Deep) {
            return Err(FieldPathError::EndsDeep);
        }
        Ok(Self {
            text: text.into(),
            steps: steps.into(),
        })
    }

    /// The text that was parsed.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl TryFrom<String> for FieldPath {
    type Error = FieldPathError;
    fn try_from(text: String) -> Result<Self, FieldPathError> {
        Self::parse(&text)
    }
}

impl From<FieldPath> for String {
    fn from(path: FieldPath) -> String {
        path.text.into()
    }
}

fn normalised(name: &str) -> String {
    name.chars()
        .filter(|c| *c != '_')
        .map(|c| c.to_ascii_lowercase())
        .collect()
}

/// What replaces a masked value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replacement {
    /// `[MASKED:<kind>]`
    Text,
    /// The same in base64, where clients decode the field.
    Base64,
    /// The field is removed: a checksum that would no longer fit.
    Drop,
}

#[derive(Debug, Clone, Copy)]
struct Item<'a> {
    kind: &'a str,
    path: &'a FieldPath,
    with: Replacement,
}

/// What to mask in one answer.
#[derive(Debug, Clone, Default)]
pub struct MaskPlan<'a> {
    items: SmallVec<[Item<'a>; 4]>,
}

/// What was masked: a kind, the path of the plan, and how many values.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Masked {
    /// Kind of the secret.
    pub kind: String,
    /// Path that found it.
    pub path: String,
    /// Number of values.
    pub count: u32,
}

impl<'a> MaskPlan<'a> {
    /// Whether nothing is to be masked.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    pub(crate) fn add(&mut self, kind: &'a str, paths: &'a [FieldPath]) {
        self.items.extend(paths.iter().map(|path| Item {
            kind,
            path,
            with: Replacement::Text,
        }));
    }

    fn push(&mut self, row: &'a Builtin) {
        self.items.push(Item {
            kind: row.kind,
            path: &row.path,
            with: row.with,
        });
    }

    /// Masks an answer in place and tells what was masked. Dropped checksums are not listed.
    pub fn apply(&self, answer: &mut Value) -> Vec<Masked> {
        let mut found = Vec::new();
        for item in &self.items {
            let mut count = 0;
            mask_steps(answer, &item.path.steps, item, &mut count);
            if count > 0 && item.with != Replacement::Drop {
                found.push(Masked {
                    kind: item.kind.to_owned(),
                    path: item.path.as_str().to_owned(),
                    count,
                });
            }
        }
        found
    }
}

fn mask_steps(value: &mut Value, steps: &[Step], item: &Item<'_>, count: &mut u32) {
    match value {
        // Lists have no names: every element stands where the list stands.
        Value::Array(elements) => {
            for element in elements {
                mask_steps(element, steps, item, count);
            }
        }
        Value::Object(fields) => {
            let Some((step, rest)) = steps.split_first() else {
                return;
            };
            if *step == Step::Deep {
                // `**` may stand for nothing here, or for one more level.
                mask_object(fields, rest, item, count);
                for (_, child) in fields.iter_mut() {
                    mask_steps(child, steps, item, count);
                }
            } else {
                mask_object(fields, steps, item, count);
            }
        }
        _ => {}
    }
}

fn mask_object(
    fields: &mut serde_json::Map<String, Value>,
    steps: &[Step],
    item: &Item<'_>,
    count: &mut u32,
) {
    let Some((step, rest)) = steps.split_first() else {
        return;
    };
    if *step == Step::Deep {
        // `**.**` is `**`.
        mask_object(fields, rest, item, count);
        return;
    }
    let hit = |name: &str| match step {
        Step::Name(wanted) => same_name(name, wanted),
        Step::Any | Step::Deep => true,
    };
    if rest.is_empty() && item.with == Replacement::Drop {
        let before = fields.len();
        fields.retain(|name, _| !hit(name));
        *count += (before - fields.len()) as u32;
        return;
    }
    for (name, child) in fields.iter_mut() {
        if !hit(name) {
            continue;
        }
        if rest.is_empty() {
            mask_all(child, item, count);
        } else {
            mask_steps(child, rest, item, count);
        }
    }
}

/// Compares a field's name with a normalised one, allocating nothing.
fn same_name(name: &str, normalised: &str) -> bool {
    name.bytes()
        .filter(|b| *b != b'_')
        .map(|b| b.to_ascii_lowercase())
        .eq(normalised.bytes())
}

fn mask_all(value: &mut Value, item: &Item<'_>, count: &mut u32) {
    match value {
        Value::Null | Value::Bool(_) => {}
        Value::String(text) if text.is_empty() => {}
        Value::String(_) | Value::Number(_) => {
            *value = Value::String(replacement(item.kind, item.with));
            *count += 1;
        }
        Value::Array(elements) => elements.iter_mut().for_each(|e| mask_all(e, item, count)),
        Value::Object(fields) => fields.iter_mut().for_each(|(_, v)| mask_all(v, item, count)),
    }
}

fn replacement(kind: &str, with: Replacement) -> String {
    let text = format!("[MASKED:{kind}]");
    match with {
        Replacement::Text | Replacement::Drop => text,
        Replacement::Base64 => BASE64_STANDARD.encode(text),
    }
}

/// The built-in table, parsed once and filed by API.
#[derive(Debug)]
pub struct BuiltinMasks {
    by_api: FxHashMap<&'static str, Vec<Builtin>>,
    any_credential: Vec<Builtin>,
}

#[derive(Debug)]
struct Builtin {
    methods: MethodGlob,
    kind: &'static str,
    path: FieldPath,
    with: Replacement,
}

impl Builtin {
    /// The table is ours and a test parses every row; one that did not parse would be left out here, and
    /// that test would fail.
    fn of(row: &secrets::SecretField) -> Option<Self> {
        let methods = MethodGlob::parse(row.methods).ok()?;
        let path = FieldPath::parse(row.path).ok()?;
        Some(Self {
            methods,
            kind: row.kind,
            path,
            with: row.with,
        })
    }
}

impl BuiltinMasks {
    /// The table, built at the first call.
    pub fn get() -> &'static Self {
        static TABLE: OnceLock<BuiltinMasks> = OnceLock::new();
        TABLE.get_or_init(|| {
            let mut by_api: FxHashMap<&'static str, Vec<Builtin>> = FxHashMap::default();
            for row in secrets::FIELDS {
                let api = row.methods.split('.').next().unwrap_or(row.methods);
                by_api.entry(api).or_default().extend(Builtin::of(row));
            }
            let any_credential = secrets::ANY_CREDENTIAL.iter().filter_map(Builtin::of).collect();
            Self {
                by_api,
                any_credential,
            }
        })
    }

    pub(crate) fn collect(&'static self, call: &Call, plan: &mut MaskPlan<'_>) {
        let api = call.method.split('.').next().unwrap_or(call.method);
        let start = plan.items.len();
        for row in self.by_api.get(api).into_iter().flatten() {
            if row.methods.matches(call.method) {
                plan.push(row);
            }
        }
        if call.traits.contains(Traits::RETURNS_CREDENTIALS) {
            let own = plan.items.len();
            for row in &self.any_credential {
                // A row of the method's own says more exactly what its field is.
                let known = |item: &Item<'_>| item.path.steps.last() == row.path.steps.last();
                if !plan.items[start..own].iter().any(known) {
                    plan.push(row);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn masked(paths: &[(&str, Replacement)], mut value: Value) -> (Value, Vec<(String, u32)>) {
        let parsed: Vec<FieldPath> = paths.iter().map(|(p, _)| FieldPath::parse(p).unwrap()).collect();
        let mut plan = MaskPlan::default();
        for (path, (_, with)) in parsed.iter().zip(paths) {
            plan.items.push(Item {
                kind: "k",
                path,
                with: *with,
            });
        }
        let found = plan
            .apply(&mut value)
            .into_iter()
            .map(|m| (m.path, m.count))
            .collect();
        (value, found)
    }

    #[test]
    fn fields_are_found_at_any_depth_and_spelling() {
        let (value, found) = masked(
            &[
                ("**.payload.data", Replacement::Base64),
                ("**.payload.dataCrc32c", Replacement::Drop),
            ],
            json!({
                "payload": {"data": "eA==", "dataCrc32c": "12"},
                "response": {"@type": "x", "pay_load": {"DATA": "eA=="}},
                "items": [[{"payload": {"data": ""}}], {"payload": {"other": 1}}],
                "data": "stays"
            }),
        );
        assert_eq!(
            value,
            json!({
                "payload": {"data": "W01BU0tFRDprXQ=="},
                "response": {"@type": "x", "pay_load": {"DATA": "W01BU0tFRDprXQ=="}},
                "items": [[{"payload": {"data": ""}}], {"payload": {"other": 1}}],
                "data": "stays"
            })
        );
        assert_eq!(found, [("**.payload.data".to_owned(), 2)]);
    }

    #[test]
    fn lists_are_looked_through_and_objects_are_masked_whole() {
        let (value, found) = masked(
            &[
                ("**.env[*].value", Replacement::Text),
                ("vars.*", Replacement::Text),
                ("a.*.b", Replacement::Text),
            ],
            json!({
                "spec": {"containers": [{"env": [{"name": "A", "value": "x"}, {"name": "B", "value": {"c": [1, true, null, "s"]}}]}]},
                "vars": {"X": "1", "Y": 2},
                "a": {"q": {"b": "1", "c": "2"}, "b": "3"}
            }),
        );
        assert_eq!(
            value,
            json!({
                "spec": {"containers": [{"env": [
                    {"name": "A", "value": "[MASKED:k]"},
                    {"name": "B", "value": {"c": ["[MASKED:k]", true, null, "[MASKED:k]"]}}
                ]}]},
                "vars": {"X": "[MASKED:k]", "Y": "[MASKED:k]"},
                "a": {"q": {"b": "[MASKED:k]", "c": "2"}, "b": "3"}
            })
        );
        assert_eq!(
            found,
            [
                ("**.env[*].value".to_owned(), 3),
                ("vars.*".to_owned(), 2),
                ("a.*.b".to_owned(), 1)
            ]
        );
    }

    #[test]
    fn paths_that_cannot_be() {
        let cases = [
            ("", FieldPathError::Empty),
            ("a..b", FieldPathError::EmptyStep(2)),
            ("a.[*]", FieldPathError::EmptyStep(2)),
            ("a.b[0]", FieldPathError::Step(2, "b[0]".to_owned())),
            ("a.**", FieldPathError::EndsDeep),
        ];
        for (text, error) in cases {
            assert_eq!(FieldPath::parse(text), Err(error), "{text}");
        }
    }

    #[test]
    fn the_built_in_table_parses() {
        for row in secrets::FIELDS.iter().chain(secrets::ANY_CREDENTIAL) {
            MethodGlob::parse(row.methods).unwrap();
            FieldPath::parse(row.path).unwrap();
        }
        let masks = BuiltinMasks::get();
        let filed: usize = masks.by_api.values().map(Vec::len).sum();
        assert_eq!(filed, secrets::FIELDS.len());
        assert_eq!(masks.any_credential.len(), secrets::ANY_CREDENTIAL.len());
    }
}
