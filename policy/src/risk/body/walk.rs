//! One walk through a body that asks all rows of the table that concern a call.

use std::borrow::Cow;

use serde_json::{Map, Value};
use smallvec::{SmallVec, smallvec};

use super::{
    Asked,
    is::Is,
    mask::{Masks, is_given},
    range::Ranges,
    same_name,
};
use crate::{
    call::Call,
    risk::{pattern::fits, tally::Tally},
};

/// Deeper bodies are not walked: no method has one, and the walk uses the stack.
const MAX_DEPTH: usize = 128;

/// Adds what the body does to the tally. `false` where it is no object or too deep, so that it was not walked
/// to its end.
pub(super) fn walk(
    calls: &[Call],
    asked: &[Asked],
    body: &Value,
    query: &[(&str, &str)],
    tally: &mut Tally<'_>,
) -> bool {
    let Value::Object(root) = body else {
        return false;
    };
    let mut walk = Walk {
        asked,
        states: smallvec![State::default(); asked.len()],
        path: SmallVec::new(),
        tally,
    };
    let whole = walk.object(root);
    walk.missing(calls, root, query);
    whole
}

struct Walk<'v, 't, 'w> {
    asked: &'t [Asked],
    /// One for each of them.
    states: SmallVec<[State; 16]>,
    path: SmallVec<[Step<'v>; 16]>,
    tally: &'t mut Tally<'w>,
}

/// What a row has seen.
#[derive(Debug, Clone, Copy, Default)]
struct State {
    ranges: Ranges,
}

/// A field on the way to where the walk is.
#[derive(Debug, Clone, Copy)]
struct Step<'v> {
    name: &'v str,
    /// Where its value is a list: the number of the item that the walk is in.
    index: Option<usize>,
    /// The object that has the field.
    holder: &'v Map<String, Value>,
}

impl<'v> Walk<'v, '_, '_> {
    fn object(&mut self, object: &'v Map<String, Value>) -> bool {
        if self.path.len() >= MAX_DEPTH {
            return false;
        }
        let mut whole = true;
        for (name, value) in object {
            self.path.push(Step {
                name,
                index: None,
                holder: object,
            });
            self.field(value);
            whole &= self.inside(value, 0);
            self.path.pop();
        }
        whole
    }

    /// What is below a value.
    fn inside(&mut self, value: &'v Value, lists: usize) -> bool {
        match value {
            Value::Object(object) => self.object(object),
            Value::Array(items) if lists + self.path.len() < MAX_DEPTH => {
                let mut whole = true;
                for (i, item) in items.iter().enumerate() {
                    if let Some(step) = self.path.last_mut() {
                        step.index = Some(i);
                    }
                    whole &= self.inside(item, lists + 1);
                }
                whole
            }
            Value::Array(_) => false,
            _ => true,
        }
    }

    /// Asks every row about the field that the path ends with.
    fn field(&mut self, value: &Value) {
        for (Asked { probe, .. }, state) in self.asked.iter().zip(&mut self.states) {
            let mut fields = probe.fields.iter();
            let Some((names, steps)) = fields.find_map(|names| Some((*names, tail(&self.path, names)?)))
            else {
                continue;
            };
            let excused = |step: &Step<'_>| probe.excuse.is_some_and(|excuse| excuse(step.holder));
            if steps.first().is_some_and(excused) {
                continue;
            }
            let mut test = |value: &Value, index: Option<usize>| {
                if let Some(label) = state.test(probe.is, value) {
                    self.tally
                        .add_at(probe.factor, || Cow::Owned(place(steps, names, index, label)));
                }
            };
            match value {
                Value::Array(items) if !probe.is.is_of_lists() => {
                    for (i, item) in items.iter().enumerate() {
                        test(item, Some(i));
                    }
                }
                _ => test(value, None),
            }
        }
    }

    /// What the lack of a field means: where the method takes that as any, or an update mask resets it.
    fn missing(&mut self, calls: &[Call], root: &Map<String, Value>, query: &[(&str, &str)]) {
        let mut masks: Option<Masks<'_>> = None;
        for Asked { probe, .. } in self.asked {
            if let Some(absent) = probe.absent
                && calls
                    .iter()
                    .any(|call| absent.on.iter().any(|pattern| fits(pattern, call.method)))
                && !absent
                    .unless_at
                    .iter()
                    .any(|path| is_given(root, path.iter().copied()))
                && !absent.excuse.is_some_and(|excuse| excuse(root))
            {
                self.tally.add_at(probe.factor, || {
                    Cow::Owned(format!("no {}, which means {}", probe.first_name(), absent.means))
                });
            }
            if !probe.is.counts_when_reset() {
                continue;
            }
            let masks = masks.get_or_insert_with(|| Masks::of(root, query));
            if let Some(names) = masks.reset(probe.fields) {
                self.tally.add_at(probe.factor, || {
                    Cow::Owned(format!("{}: reset by the update mask", names.join(".")))
                });
            }
        }
    }
}

impl State {
    /// What was found in a value.
    fn test(&mut self, is: Is, value: &Value) -> Option<&'static str> {
        let (Is::OpenRange, Value::String(text)) = (is, value) else {
            return is.value(value);
        };
        let before = self.ranges.verdict();
        self.ranges.add(text);
        // Said once, where it became too much.
        self.ranges.verdict().filter(|now| before != Some(now))
    }
}

/// The end of the path, if it goes by these names.
fn tail<'p, 'v>(path: &'p [Step<'v>], names: &[&str]) -> Option<&'p [Step<'v>]> {
    let steps = path.get(path.len().checked_sub(names.len())?..)?;
    let mut pairs = steps.iter().rev().zip(names.iter().rev());
    pairs
        .all(|(step, name)| same_name(step.name, name))
        .then_some(steps)
}

/// `bindings[1].members[0]: allUsers`, in the table's spelling.
fn place(steps: &[Step<'_>], names: &[&str], index: Option<usize>, label: &str) -> String {
    let mut text = String::new();
    for (i, (name, step)) in names.iter().zip(steps).enumerate() {
        if i > 0 {
            text.push('.');
        }
        text.push_str(name);
        let last = i + 1 == names.len();
        if let Some(n) = if last { index } else { step.index } {
            text.push_str(&format!("[{n}]"));
        }
    }
    text.push_str(": ");
    text.push_str(label);
    text
}
