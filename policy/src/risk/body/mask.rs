//! Update masks: a field that a mask names and the request leaves out is reset.
//!
//! Only the place that the mask names counts. A field of the same name elsewhere does not say that it is given: some
//! servers pass over what they do not know, and labels may have any name.

use serde_json::{Map, Value};
use smallvec::SmallVec;

use super::same_name;

/// Names that masks go by.
const NAMES: [&str; 2] = ["updateMask", "fieldMask"];

/// Whether resources lack what is at a path.
type Lacks<'f> = dyn Fn(&[&Map<String, Value>], &str) -> bool + 'f;

/// What the masks of a request name.
#[derive(Debug)]
pub(super) struct Masks<'a> {
    root: &'a Map<String, Value>,
    /// From the query: of a body that is the resource.
    of_root: SmallVec<[&'a str; 4]>,
    /// From the body: of the resource that stands beside it.
    of_field: SmallVec<[&'a str; 4]>,
}

impl<'a> Masks<'a> {
    pub(super) fn of(root: &'a Map<String, Value>, query: &[(&str, &'a str)]) -> Self {
        let in_query = query
            .iter()
            // The repeated field of a mask can be a parameter too.
            .filter(|(name, _)| is_mask(name.split_once('.').map_or(*name, |(before, _)| before)))
            .flat_map(|(_, text)| paths(text));
        let mut of_field = SmallVec::new();
        for (_, mask) in root.iter().filter(|(name, _)| is_mask(name)) {
            let mask = match mask {
                Value::Object(fields) => fields.get("paths").unwrap_or(mask),
                _ => mask,
            };
            match mask {
                Value::String(text) => of_field.extend(paths(text)),
                Value::Array(items) => {
                    of_field.extend(items.iter().filter_map(Value::as_str).flat_map(paths))
                }
                _ => {}
            }
        }
        Self {
            root,
            of_root: in_query.collect(),
            of_field,
        }
    }

    /// The field of a row, told by how its path ends, that is named, or held by what is named, and not given. A mask
    /// that names everything resets what the resource itself has of none of them.
    pub(super) fn reset<'f>(&self, fields: &'f [&'f [&'f str]]) -> Option<&'f [&'f str]> {
        let named = fields.iter().find(|names| {
            let lacks = |resources: &[&Map<String, Value>], path: &str| {
                let last = path.rsplit('.').next().unwrap_or(path);
                let Some(at) = names.iter().position(|name| same_name(last, name)) else {
                    return false;
                };
                let below = names.iter().skip(at + 1).copied();
                !all_give(resources, &path.split('.').chain(below).collect())
            };
            self.lacked(&lacks)
        });
        let everything = || {
            let lacks = |resources: &[&Map<String, Value>], path: &str| {
                path == "*"
                    && !fields
                        .iter()
                        .any(|names| all_give(resources, &names.iter().copied().collect()))
            };
            self.lacked(&lacks)
        };
        match named {
            Some(names) => Some(names),
            None if everything() => fields.first().copied(),
            None => None,
        }
    }

    /// Whether some path of a mask is lacked by the resource that it is about.
    fn lacked(&self, lacks: &Lacks<'_>) -> bool {
        if self.of_root.iter().any(|path| lacks(&[self.root], path)) {
            return true;
        }
        if self.of_field.is_empty() {
            return false;
        }
        // Beside a mask stands the resource. What else stands there is not known to be it, so all must agree.
        let beside: SmallVec<[&Map<String, Value>; 4]> = self
            .root
            .iter()
            .filter(|(name, _)| !is_mask(name))
            .filter_map(|(_, value)| value.as_object())
            .collect();
        self.of_field
            .iter()
            .any(|path| lacks(&[self.root], path) && lacks(&beside, path))
    }
}

fn all_give(resources: &[&Map<String, Value>], path: &SmallVec<[&str; 8]>) -> bool {
    !resources.is_empty()
        && resources
            .iter()
            .all(|resource| is_given(resource, path.iter().copied()))
}

fn is_mask(name: &str) -> bool {
    NAMES.iter().any(|known| same_name(name, known))
}

fn paths(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|path| !path.is_empty())
}

/// Whether something stands at a path: more than null or an empty list. What stands there twice, in two spellings,
/// is not known to be given.
pub(super) fn is_given<'p>(root: &Map<String, Value>, path: impl Iterator<Item = &'p str>) -> bool {
    let mut path = path.peekable();
    let mut object = root;
    while let Some(name) = path.next() {
        let mut found = object.iter().filter(|(given, _)| same_name(given, name));
        let (Some((_, value)), None) = (found.next(), found.next()) else {
            return false;
        };
        match value {
            Value::Null => return false,
            Value::Array(items) if items.is_empty() => return false,
            _ if path.peek().is_none() => return true,
            Value::Object(inner) => object = inner,
            _ => return false,
        }
    }
    false
}
