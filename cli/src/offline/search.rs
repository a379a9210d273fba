//! What a search of a request's body for secrets finds, or is said to find.
//!
//! Texts are searched as they are; of JSON also each string, and what it is the base64 of. Archives are not opened
//! here, as the gateway does: a table of calls says what is in them.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::Value;
use turnpike_policy::{
    PolicySet, caller::Caller, decide::Searched, definition::CustomDetector, detect::Detectors,
};

/// Text that is shorter is no encoding of a secret.
const LEAST_ENCODED: usize = 16;

/// What a search finds.
#[derive(Debug, Clone, Default)]
pub(crate) enum Search {
    /// What it does find.
    #[default]
    Really,
    /// What somebody says that it finds, so that no table of calls has to hold a secret.
    Pretended { kinds: Vec<String>, unscannable: bool },
}

/// What was found.
#[derive(Debug)]
pub(crate) struct Found {
    kinds: Vec<String>,
    unscannable: bool,
}

impl Found {
    pub(crate) fn searched(&self) -> Searched<'_> {
        Searched::Through {
            kinds: &self.kinds,
            unscannable: self.unscannable,
        }
    }
}

impl Search {
    /// Searches a body by the built-in detectors and those of the policies that select the caller.
    pub(crate) fn of(&self, body: &[u8], set: &PolicySet, caller: &Caller) -> Found {
        let kinds = match self {
            Self::Pretended { kinds, unscannable } => {
                return Found {
                    kinds: kinds.clone(),
                    unscannable: *unscannable,
                };
            }
            Self::Really => kinds(body, set, caller),
        };
        Found {
            unscannable: kinds.is_none(),
            kinds: kinds.unwrap_or_default(),
        }
    }
}

/// The kinds of secrets in a body; `None` where detectors of the policies cannot be used.
fn kinds(body: &[u8], set: &PolicySet, caller: &Caller) -> Option<Vec<String>> {
    let mut custom: Vec<CustomDetector> = Vec::new();
    set.for_outbound(caller, |_, policy| {
        for detector in policy.outbound.iter().flat_map(|o| &o.detectors) {
            if !custom.contains(detector) {
                custom.push(detector.clone());
            }
        }
    });
    let detectors = Detectors::new(&custom).ok()?;
    let mut kinds: Vec<String> = Vec::new();
    let mut search = |text: &[u8]| {
        detectors.scan(text, &mut |found| {
            if !kinds.iter().any(|kind| kind == found.kind) {
                kinds.push(found.kind.to_owned());
            }
        });
    };
    search(body);
    if let Ok(value) = serde_json::from_slice::<Value>(body) {
        strings(&value, &mut |text| {
            search(text.as_bytes());
            if text.len() >= LEAST_ENCODED
                && let Ok(decoded) = STANDARD.decode(text)
            {
                search(&decoded);
            }
        });
    }
    Some(kinds)
}

fn strings(value: &Value, visit: &mut dyn FnMut(&str)) {
    match value {
        Value::String(text) => visit(text),
        Value::Array(items) => items.iter().for_each(|item| strings(item, visit)),
        Value::Object(fields) => fields.values().for_each(|field| strings(field, visit)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}
