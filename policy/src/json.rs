//! Bodies as JSON objects in which every name stands once, for the proxy and for whoever foretells what it does.
//!
//! Of a name that stands twice, some readers keep the first value and some the last. `serde_json` keeps the
//! last and says nothing, so names are compared here, after their escapes are undone. A byte order mark, whatever
//! follows the value, and numbers that no float holds are errors: nobody knows how Google reads them.

use std::{cell::RefCell, fmt};

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// Why bytes are not one JSON object.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotOneObject {
    /// They are no JSON, or another value.
    #[error("it is no JSON object")]
    NotAnObject,
    /// A name stands twice in an object.
    #[error("the name {0:?} stands twice in it")]
    Repeats(String),
}

impl NotOneObject {
    /// A stable code.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NotAnObject => "UPLOAD_METADATA_NOT_JSON",
            Self::Repeats(_) => "UPLOAD_METADATA_REPEATS",
        }
    }
}

/// Reads a JSON object.
///
/// # Errors
/// The bytes are something else, or can be read in two ways.
pub fn object(bytes: &[u8]) -> Result<Map<String, Value>, NotOneObject> {
    let repeated = RefCell::new(None);
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let read = Unique(&repeated)
        .deserialize(&mut reader)
        .and_then(|value| reader.end().map(|()| value));
    match read {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err(NotOneObject::NotAnObject),
        Err(_) => Err(repeated
            .take()
            .map_or(NotOneObject::NotAnObject, NotOneObject::Repeats)),
    }
}

/// Reads any value; the first name that stands twice is put into the cell.
#[derive(Clone, Copy)]
struct Unique<'a>(&'a RefCell<Option<String>>);

impl<'de> DeserializeSeed<'de> for Unique<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Unique<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = access.next_element_seed(self)? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(name) = access.next_key::<String>()? {
            if object.contains_key(&name) {
                self.0.replace(Some(name));
                return Err(A::Error::custom("a name stands twice"));
            }
            let value = access.next_value_seed(self)?;
            object.insert(name, value);
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{NotOneObject, object};

    #[test]
    fn what_can_be_read_in_two_ways_is_not_read() {
        let repeats = |name: &str| Err(NotOneObject::Repeats(name.to_owned()));
        let rows: [(&[u8], Result<serde_json::Value, NotOneObject>); 11] = [
            (
                br#" {"a": [1, {"b": null}]} "#,
                Ok(json!({"a": [1, {"b": null}]})),
            ),
            (br#"{"a": 1, "a": 1}"#, repeats("a")),
            (br#"{"a": 1, "\u0061": 2}"#, repeats("a")),
            (br#"{"x": [{"b": 1, "b": 2}]}"#, repeats("b")),
            (b"\xef\xbb\xbf{}", Err(NotOneObject::NotAnObject)),
            (b"{} {}", Err(NotOneObject::NotAnObject)),
            (b"{}x", Err(NotOneObject::NotAnObject)),
            (br#"{"a": 1e400}"#, Err(NotOneObject::NotAnObject)),
            (br#"{"a": NaN}"#, Err(NotOneObject::NotAnObject)),
            (b"[]", Err(NotOneObject::NotAnObject)),
            (b"", Err(NotOneObject::NotAnObject)),
        ];
        for (bytes, wanted) in rows {
            let read = object(bytes).map(serde_json::Value::Object);
            assert_eq!(read, wanted, "{}", String::from_utf8_lossy(bytes));
        }
    }
}
