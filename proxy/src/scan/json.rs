//! JSON (RFC 8259), walked without building it: every name and every value counts, also where a name stands twice.

use std::fmt::Write as _;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::{findings::Why, flat::Flat};

/// Names and values up to this length are put together where they stand side by side.
const SHORT: usize = 512;

/// Whether a text is one JSON value.
pub(super) fn is_json(text: &[u8]) -> bool {
    serde_json::from_slice::<IgnoredAny>(text).is_ok()
}

/// Gives every value of a document to the detectors, with its path.
pub(super) fn walk(text: &[u8], flat: &mut Flat<'_, '_>) -> Result<(), Why> {
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    let node = Node {
        flat,
        path: &mut String::new(),
        name: "",
    };
    match node.deserialize(&mut deserializer) {
        Ok(_) => Ok(()),
        Err(_) => Err(Why::Broken("JSON")),
    }
}

/// A value at a path. It gives itself back where it is a short text.
struct Node<'n, 'f, 'a> {
    flat: &'n mut Flat<'f, 'a>,
    path: &'n mut String,
    name: &'n str,
}

impl<'de> DeserializeSeed<'de> for Node<'_, '_, '_> {
    type Value = Option<String>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_, '_, '_> {
    type Value = Option<String>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_str<E>(self, value: &str) -> Result<Self::Value, E> {
        self.flat.value(self.path, self.name, value.as_bytes());
        Ok((value.len() <= SHORT).then(|| value.to_owned()))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let length = self.path.len();
        for at in 0_u64.. {
            // Writing to a string can't fail.
            let _infallible = write!(self.path, "[{at}]");
            let node = Node {
                flat: self.flat,
                path: self.path,
                name: self.name,
            };
            let item = items.next_element_seed(node)?;
            self.path.truncate(length);
            if item.is_none() {
                break;
            }
        }
        Ok(None)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        let length = self.path.len();
        let (mut name, mut value_first) = (None, None);
        while let Some(key) = entries.next_key::<String>()? {
            push_name(self.path, &key);
            let node = Node {
                flat: self.flat,
                path: self.path,
                name: &key,
            };
            let value = entries.next_value_seed(node)?;
            match key.as_str() {
                "name" | "key" => name = value,
                "value" if name.is_none() => value_first = value,
                _ => {}
            }
            self.path.truncate(length);
        }
        // `{"value": ..., "name": "PASSWORD"}`: the other way around the detectors see it themselves.
        if let (Some(name), Some(value)) = (name, value_first) {
            push_name(self.path, "value");
            self.flat.value(self.path, &name, value.as_bytes());
            self.path.truncate(length);
        }
        Ok(None)
    }
}

/// Appends a name to a path: `.name`, or `["a.b"]` where it isn't plain.
fn push_name(path: &mut String, name: &str) {
    let plain = !name.is_empty()
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'));
    let _infallible = match (plain, path.is_empty()) {
        (true, true) => write!(path, "{name}"),
        (true, false) => write!(path, ".{name}"),
        (false, _) => write!(path, "[{name:?}]"),
    };
}
