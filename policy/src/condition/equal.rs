//! `==` and `in`: equality of values, which compares what is in lists and maps too.

use super::{
    MAX_ELEMENTS,
    error::EvalError,
    eval::{Evaluation, only_spelling},
    node::{Key, Node},
    operations, spelling,
    value::{Items, List, Map, Repeated, Text, Value},
};

impl<'a> Evaluation<'a> {
    /// Whether two values are equal. Null is unequal to anything else; otherwise values of different types are
    /// an error.
    pub(super) fn equal(&mut self, left: &Value<'a>, right: &Value<'a>) -> Result<bool, EvalError> {
        match (left, right) {
            (Value::Null, Value::Null) => Ok(true),
            (Value::Null, _) | (_, Value::Null) => Ok(false),
            (Value::Bool(a), Value::Bool(b)) => Ok(a == b),
            (Value::Text(a), Value::Text(b)) => self.texts_equal(a, b),
            (Value::Time(a), Value::Time(b)) => Ok(a == b),
            (Value::Duration(a), Value::Duration(b)) => Ok(a == b),
            (Value::Int(a), Value::Int(b)) => Ok(a == b),
            (Value::Int(_) | Value::Double(_), Value::Int(_) | Value::Double(_)) => {
                Ok(operations::order(left, right) == Some(std::cmp::Ordering::Equal))
            }
            (Value::List(a), Value::List(b)) => self.lists_equal(a, b),
            (Value::Map(a), Value::Map(b)) => self.maps_equal(a, b),
            _ => Err(EvalError::Type("==")),
        }
    }

    fn texts_equal(&mut self, a: &Text<'a>, b: &Text<'a>) -> Result<bool, EvalError> {
        let is_sent = |text: &Text<'_>| matches!(text, Text::Sent(_));
        let pair = match (is_sent(a), is_sent(b)) {
            (true, false) => Some((a.as_str(), b.as_str())),
            (false, true) => Some((b.as_str(), a.as_str())),
            _ => None,
        };
        let (a, b) = (a.as_str(), b.as_str());
        self.steps
            .spend_text(if a.len() == b.len() { a.len() } else { 0 })?;
        if a == b {
            return Ok(true);
        }
        match pair {
            Some((given, meant)) if spelling::may_be_value(given, meant) => {
                Err(EvalError::OtherSpelling("a value of the request".into()))
            }
            _ => Ok(false),
        }
    }

    fn lists_equal(&mut self, a: &List<'a>, b: &List<'a>) -> Result<bool, EvalError> {
        if a.len() != b.len() {
            return Ok(false);
        }
        let pairs = (0..a.len()).map_while(|index| a.get(index).zip(b.get(index)));
        self.all_equal(pairs)
    }

    fn maps_equal(&mut self, a: &Map<'a>, b: &Map<'a>) -> Result<bool, EvalError> {
        if a.len() != b.len() {
            return Ok(false);
        }
        let mut pairs = Vec::new();
        for key in Items::keys_of(a.clone()) {
            self.steps.spend(1)?;
            let Value::Text(key) = key else {
                return Err(EvalError::Type("=="));
            };
            let of = |map: &Map<'a>| {
                map.get(key.as_str())
                    .map_err(|Repeated| EvalError::Repeated("a key of a map".into()))
            };
            match (of(a)?, of(b)?) {
                (Some(left), Some(right)) => pairs.push((left, right)),
                _ => return Ok(false),
            }
        }
        self.all_equal(pairs.into_iter())
    }

    /// Whether all pairs are equal: false where one is certainly not, whatever cannot be compared besides.
    fn all_equal(&mut self, pairs: impl Iterator<Item = (Value<'a>, Value<'a>)>) -> Result<bool, EvalError> {
        let mut answer = Ok(true);
        for (left, right) in pairs {
            self.steps.spend(1)?;
            match self.equal(&left, &right) {
                Ok(true) => {}
                Ok(false) => return Ok(false),
                Err(EvalError::TooCostly) => return Err(EvalError::TooCostly),
                error => answer = error,
            }
        }
        answer
    }

    /// `in`: true where an element is equal, whatever cannot be compared besides.
    pub(super) fn contained(&mut self, sides: &'a [Node; 2]) -> Result<bool, EvalError> {
        let [needle, hay] = sides;
        let (needle, hay) = (self.value(needle)?, self.value(hay)?);
        match (&needle, &hay) {
            (Value::Text(key), Value::Map(map)) => {
                if let Map::Json(_) | Map::Pairs(_) = map {
                    let key = Key::of(key.as_str(), "a key that `in` looks for".into());
                    only_spelling(&mut self.steps, map, &key)?;
                }
                Ok(map.contains(key.as_str()))
            }
            (_, Value::List(list)) => {
                if list.len() > MAX_ELEMENTS {
                    return Err(EvalError::TooLarge("the list of `in`"));
                }
                let mut answer = Ok(false);
                for index in 0..list.len() {
                    self.steps.spend(1)?;
                    let Some(item) = list.get(index) else { break };
                    match self.equal(&needle, &item) {
                        Ok(true) => return Ok(true),
                        Ok(false) => {}
                        Err(EvalError::TooCostly) => return Err(EvalError::TooCostly),
                        error => answer = error,
                    }
                }
                answer
            }
            _ => Err(EvalError::Type("in")),
        }
    }
}
