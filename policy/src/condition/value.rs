//! Values while a condition runs: borrowed from the condition or from the request wherever they can be.
//!
//! A JSON body stays what it is; a member of it becomes a value when the expression reads it.

use std::{borrow::Borrow, collections::BTreeMap, sync::Arc};

use jiff::{SignedDuration, Timestamp};
use serde_json::Value as Json;

/// A value. Cloning one copies a reference, a number or a counted pointer.
#[derive(Debug, Clone)]
pub(super) enum Value<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Double(f64),
    Text(Text<'a>),
    Time(Timestamp),
    Duration(SignedDuration),
    List(List<'a>),
    Map(Map<'a>),
}

/// A text.
#[derive(Debug, Clone)]
pub(super) enum Text<'a> {
    Borrowed(&'a str),
    /// What the agent sent: a string of the body, or the value of a parameter or a header.
    Sent(&'a str),
    Shared(Arc<str>),
}

/// A list.
#[derive(Debug, Clone)]
pub(super) enum List<'a> {
    /// Elements of the condition's text.
    Slice(&'a [Value<'a>]),
    /// An array of the body.
    Json(&'a [Json]),
    /// Made while the condition runs.
    Shared(Arc<[Value<'a>]>),
}

/// A map whose keys are texts.
#[derive(Debug, Clone)]
pub(super) enum Map<'a> {
    /// An object of the body.
    Json(&'a serde_json::Map<String, Json>),
    /// Headers or parameters.
    Pairs(&'a [(&'a str, &'a str)]),
    /// Claims; none for callers that have none.
    Claims(Option<&'a BTreeMap<String, String>>),
    /// Made while the condition runs, without equal keys.
    Shared(Arc<[(Text<'a>, Value<'a>)]>),
}

/// The key comes more than once.
#[derive(Debug)]
pub(super) struct Repeated;

impl<'a> Value<'a> {
    /// A text that lives elsewhere.
    pub(super) fn text(text: &'a str) -> Self {
        Self::Text(Text::Borrowed(text))
    }

    /// A text made here.
    pub(super) fn owned(text: impl Into<Arc<str>>) -> Self {
        Self::Text(Text::Shared(text.into()))
    }

    /// A value of a JSON document. Whole numbers are ints as far as an int goes; others are doubles.
    pub(super) fn json(json: &'a Json) -> Self {
        match json {
            Json::Null => Self::Null,
            Json::Bool(flag) => Self::Bool(*flag),
            Json::Number(number) => match (number.as_i64(), number.as_f64()) {
                (Some(int), _) => Self::Int(int),
                (None, Some(double)) => Self::Double(double),
                (None, None) => Self::Double(f64::NAN),
            },
            Json::String(text) => Self::Text(Text::Sent(text)),
            Json::Array(items) => Self::List(List::Json(items)),
            Json::Object(members) => Self::Map(Map::Json(members)),
        }
    }

    /// The same value, borrowed from this one rather than counted.
    pub(super) fn lend(&'a self) -> Value<'a> {
        match self {
            Self::Text(text) => Self::text(text.as_str()),
            Self::List(List::Shared(items)) => Self::List(List::Slice(items)),
            other => other.clone(),
        }
    }
}

impl Text<'_> {
    pub(super) fn as_str(&self) -> &str {
        match self {
            Self::Borrowed(text) | Self::Sent(text) => text,
            Self::Shared(text) => text,
        }
    }
}

impl Borrow<str> for Text<'_> {
    fn borrow(&self) -> &str {
        self.as_str()
    }
}

impl<'a> List<'a> {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Slice(items) => items.len(),
            Self::Json(items) => items.len(),
            Self::Shared(items) => items.len(),
        }
    }

    pub(super) fn get(&self, index: usize) -> Option<Value<'a>> {
        match self {
            Self::Slice(items) => items.get(index).map(Value::lend),
            Self::Json(items) => items.get(index).map(Value::json),
            Self::Shared(items) => items.get(index).cloned(),
        }
    }
}

impl<'a> Map<'a> {
    /// Entries, with keys that come twice counted twice.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Json(members) => members.len(),
            Self::Pairs(pairs) => pairs.len(),
            Self::Claims(claims) => claims.map_or(0, BTreeMap::len),
            Self::Shared(entries) => entries.len(),
        }
    }

    /// The one value of `key`.
    pub(super) fn get(&self, key: &str) -> Result<Option<Value<'a>>, Repeated> {
        match self {
            Self::Json(members) => Ok(members.get(key).map(Value::json)),
            Self::Pairs(pairs) => {
                let mut values = pairs
                    .iter()
                    .filter(|(name, _)| *name == key)
                    .map(|(_, value)| *value);
                match (values.next(), values.next()) {
                    (first, None) => Ok(first.map(|value| Value::Text(Text::Sent(value)))),
                    (_, Some(_)) => Err(Repeated),
                }
            }
            Self::Claims(claims) => Ok(claims
                .and_then(|claims| claims.get(key))
                .map(|value| Value::text(value))),
            Self::Shared(entries) => Ok(entries
                .iter()
                .find(|(name, _)| name.as_str() == key)
                .map(|(_, value)| value.clone())),
        }
    }

    /// Whether there is at least one value of `key`.
    pub(super) fn contains(&self, key: &str) -> bool {
        match self {
            Self::Json(members) => members.contains_key(key),
            Self::Pairs(pairs) => pairs.iter().any(|(name, _)| *name == key),
            Self::Claims(claims) => claims.is_some_and(|claims| claims.contains_key(key)),
            Self::Shared(entries) => entries.iter().any(|(name, _)| name.as_str() == key),
        }
    }
}

/// What a macro goes through: the elements of a list, or the keys of a map.
pub(super) enum Items<'a> {
    List {
        list: List<'a>,
        next: usize,
    },
    Json(serde_json::map::Keys<'a>),
    Pairs(std::slice::Iter<'a, (&'a str, &'a str)>),
    Claims(Option<std::collections::btree_map::Keys<'a, String, String>>),
    Shared {
        entries: Arc<[(Text<'a>, Value<'a>)]>,
        next: usize,
    },
}

impl<'a> Items<'a> {
    pub(super) fn of_list(list: List<'a>) -> Self {
        Self::List { list, next: 0 }
    }

    pub(super) fn keys_of(map: Map<'a>) -> Self {
        match map {
            Map::Json(members) => Self::Json(members.keys()),
            Map::Pairs(pairs) => Self::Pairs(pairs.iter()),
            Map::Claims(claims) => Self::Claims(claims.map(BTreeMap::keys)),
            Map::Shared(entries) => Self::Shared { entries, next: 0 },
        }
    }
}

impl<'a> Iterator for Items<'a> {
    type Item = Value<'a>;

    fn next(&mut self) -> Option<Value<'a>> {
        match self {
            Self::List { list, next } => {
                *next += 1;
                list.get(*next - 1)
            }
            Self::Json(keys) => keys.next().map(|key| Value::text(key)),
            Self::Pairs(pairs) => pairs.next().map(|(name, _)| Value::text(name)),
            Self::Claims(keys) => keys.as_mut().and_then(Iterator::next).map(|key| Value::text(key)),
            Self::Shared { entries, next } => {
                *next += 1;
                entries.get(*next - 1).map(|(key, _)| Value::Text(key.clone()))
            }
        }
    }
}
