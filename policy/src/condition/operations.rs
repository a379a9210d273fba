//! The operators and functions on values that are at hand, each for the types it takes.
//!
//! They are used while a condition runs and, on constants, when it is compiled.

use std::{cmp::Ordering, sync::Arc};

use super::{
    MAX_ELEMENTS,
    error::EvalError,
    node::{Arithmetic, Function},
    time::{self, TimePart, Zone},
    value::{List, Text, Value},
};

/// Steps that an evaluation may take. A step is an operation, an element that is looked at, or
/// [`TEXT_STEP`] bytes of text that are; all of them together are a few milliseconds.
pub(super) const MAX_STEPS: u32 = 100_000;
/// Bytes of text that count as one step.
const TEXT_STEP: usize = 64;

/// What is left of the steps of an evaluation.
#[derive(Debug)]
pub(super) struct Steps(u32);

impl Steps {
    /// All that there are.
    pub(super) fn all() -> Self {
        Self(MAX_STEPS)
    }

    /// Takes steps, while there are some.
    pub(super) fn spend(&mut self, steps: usize) -> Result<(), EvalError> {
        let left = u32::try_from(steps)
            .ok()
            .and_then(|steps| self.0.checked_sub(steps));
        self.0 = left.unwrap_or(0);
        left.map(|_| ()).ok_or(EvalError::TooCostly)
    }

    /// Takes the steps of looking at `bytes` of text.
    pub(super) fn spend_text(&mut self, bytes: usize) -> Result<(), EvalError> {
        self.spend(bytes / TEXT_STEP)
    }
}

/// How two values stand in order; `None` where they have none.
pub(super) fn order(left: &Value<'_>, right: &Value<'_>) -> Option<Ordering> {
    match (left, right) {
        (Value::Int(a), Value::Int(b)) => Some(a.cmp(b)),
        (Value::Double(a), Value::Double(b)) => a.partial_cmp(b),
        (Value::Int(a), Value::Double(b)) => int_to_double(*a, *b),
        (Value::Double(a), Value::Int(b)) => int_to_double(*b, *a).map(Ordering::reverse),
        (Value::Text(a), Value::Text(b)) => Some(a.as_str().cmp(b.as_str())),
        (Value::Time(a), Value::Time(b)) => Some(a.cmp(b)),
        (Value::Duration(a), Value::Duration(b)) => Some(a.cmp(b)),
        _ => None,
    }
}

/// 2^63, the first whole number that is no int.
const PAST_INT: f64 = 9_223_372_036_854_775_808.0;

/// The order of an int and a double as numbers, without rounding either.
fn int_to_double(int: i64, double: f64) -> Option<Ordering> {
    if double.is_nan() {
        return None;
    }
    if double >= PAST_INT {
        return Some(Ordering::Less);
    }
    if double < -PAST_INT {
        return Some(Ordering::Greater);
    }
    // In this range the whole part is an int, and exact.
    #[allow(clippy::cast_possible_truncation)]
    let whole = double.trunc() as i64;
    Some(int.cmp(&whole).then_with(|| {
        let fraction = double.fract();
        if fraction > 0.0 {
            Ordering::Less
        } else if fraction < 0.0 {
            Ordering::Greater
        } else {
            Ordering::Equal
        }
    }))
}

/// `left OPERATION right`.
pub(super) fn arithmetic<'a>(
    steps: &mut Steps,
    operation: Arithmetic,
    left: &Value<'a>,
    right: &Value<'a>,
) -> Result<Value<'a>, EvalError> {
    let sign = operation.sign();
    let overflow = || EvalError::Overflow(sign);
    match (left, right) {
        (Value::Int(a), Value::Int(b)) => ints(operation, *a, *b).map(Value::Int),
        (Value::Double(a), Value::Double(b)) => Ok(Value::Double(match operation {
            Arithmetic::Add => a + b,
            Arithmetic::Subtract => a - b,
            Arithmetic::Multiply => a * b,
            Arithmetic::Divide => a / b,
            Arithmetic::Remainder => return Err(EvalError::Type(sign)),
        })),
        (Value::Text(a), Value::Text(b)) if operation == Arithmetic::Add => {
            let (a, b) = (a.as_str(), b.as_str());
            steps.spend_text(a.len() + b.len())?;
            Ok(Value::owned([a, b].concat()))
        }
        (Value::Duration(a), Value::Duration(b)) => match operation {
            Arithmetic::Add => a.checked_add(*b),
            Arithmetic::Subtract => a.checked_sub(*b),
            _ => return Err(EvalError::Type(sign)),
        }
        .and_then(time::duration_in_range)
        .map(Value::Duration)
        .ok_or_else(overflow),
        (Value::Time(a), Value::Duration(b)) => match operation {
            Arithmetic::Add => a.checked_add(*b),
            Arithmetic::Subtract => a.checked_sub(*b),
            _ => return Err(EvalError::Type(sign)),
        }
        .ok()
        .and_then(time::in_range)
        .map(Value::Time)
        .ok_or_else(overflow),
        (Value::Duration(a), Value::Time(b)) if operation == Arithmetic::Add => b
            .checked_add(*a)
            .ok()
            .and_then(time::in_range)
            .map(Value::Time)
            .ok_or_else(overflow),
        (Value::Time(a), Value::Time(b)) if operation == Arithmetic::Subtract => {
            time::duration_in_range(a.duration_since(*b))
                .map(Value::Duration)
                .ok_or_else(overflow)
        }
        _ => Err(EvalError::Type(sign)),
    }
}

fn ints(operation: Arithmetic, a: i64, b: i64) -> Result<i64, EvalError> {
    if b == 0 && matches!(operation, Arithmetic::Divide | Arithmetic::Remainder) {
        return Err(EvalError::DivisionByZero);
    }
    match operation {
        Arithmetic::Add => a.checked_add(b),
        Arithmetic::Subtract => a.checked_sub(b),
        Arithmetic::Multiply => a.checked_mul(b),
        Arithmetic::Divide => a.checked_div(b),
        Arithmetic::Remainder => a.checked_rem(b),
    }
    .ok_or(EvalError::Overflow(operation.sign()))
}

/// A function of one or two values.
pub(super) fn apply<'a>(
    steps: &mut Steps,
    function: Function,
    first: Value<'a>,
    second: Option<Value<'a>>,
) -> Result<Value<'a>, EvalError> {
    let wrong = EvalError::Type(function.sign());
    let cannot = EvalError::Conversion(function.sign());
    if let Value::Text(text) = &first {
        steps.spend_text(text.as_str().len())?;
    }
    match (function, first, second) {
        (Function::StartsWith, Value::Text(of), Some(Value::Text(with))) => {
            Ok(Value::Bool(of.as_str().starts_with(with.as_str())))
        }
        (Function::EndsWith, Value::Text(of), Some(Value::Text(with))) => {
            Ok(Value::Bool(of.as_str().ends_with(with.as_str())))
        }
        (Function::Contains, Value::Text(of), Some(Value::Text(with))) => {
            Ok(Value::Bool(of.as_str().contains(with.as_str())))
        }
        (Function::Size, Value::Text(of), None) => count(of.as_str().chars().count()),
        (Function::Size, Value::List(of), None) => count(of.len()),
        (Function::Size, Value::Map(of), None) => count(of.len()),
        (Function::LowerAscii, Value::Text(of), None) => Ok(Value::owned(of.as_str().to_ascii_lowercase())),
        (Function::UpperAscii, Value::Text(of), None) => Ok(Value::owned(of.as_str().to_ascii_uppercase())),
        (Function::Trim, Value::Text(of), None) => Ok(match of {
            Text::Borrowed(of) => Value::text(of.trim()),
            Text::Sent(of) => Value::Text(Text::Sent(of.trim())),
            Text::Shared(of) => Value::owned(of.trim()),
        }),
        (Function::Split, Value::Text(of), Some(Value::Text(by))) => split(steps, &of, by.as_str()),
        (Function::Int, value @ Value::Int(_), None)
        | (Function::Double, value @ Value::Double(_), None)
        | (Function::String, value @ Value::Text(_), None)
        | (Function::Timestamp, value @ Value::Time(_), None)
        | (Function::Duration, value @ Value::Duration(_), None) => Ok(value),
        (Function::Int, Value::Double(double), None) => {
            // Both bounds are out: the nearest doubles within them convert exactly.
            if double > -PAST_INT && double < PAST_INT {
                #[allow(clippy::cast_possible_truncation)]
                Ok(Value::Int(double as i64))
            } else {
                Err(cannot)
            }
        }
        (Function::Int, Value::Text(text), None) => text.as_str().parse().map(Value::Int).map_err(|_| cannot),
        (Function::Int, Value::Time(time), None) => Ok(Value::Int(time.as_second())),
        #[allow(clippy::cast_precision_loss)]
        (Function::Double, Value::Int(int), None) => Ok(Value::Double(int as f64)),
        (Function::Double, Value::Text(text), None) => match text.as_str().parse::<f64>() {
            Ok(double) if double.is_finite() => Ok(Value::Double(double)),
            _ => Err(cannot),
        },
        (Function::String, Value::Bool(flag), None) => Ok(Value::text(if flag { "true" } else { "false" })),
        (Function::String, Value::Int(int), None) => Ok(Value::owned(int.to_string())),
        (Function::String, Value::Double(double), None) => Ok(Value::owned(double.to_string())),
        (Function::String, Value::Time(time), None) => Ok(Value::owned(time.to_string())),
        (Function::String, Value::Duration(duration), None) => {
            Ok(Value::owned(time::format_duration(duration)))
        }
        (Function::Timestamp, Value::Text(text), None) => {
            time::parse_time(text.as_str()).map(Value::Time).ok_or(cannot)
        }
        (Function::Timestamp, Value::Int(seconds), None) => {
            time::time_of_seconds(seconds).map(Value::Time).ok_or(cannot)
        }
        (Function::Duration, Value::Text(text), None) => time::parse_duration(text.as_str())
            .map(Value::Duration)
            .ok_or(cannot),
        _ => Err(wrong),
    }
}

fn count<'a>(count: usize) -> Result<Value<'a>, EvalError> {
    i64::try_from(count)
        .map(Value::Int)
        .map_err(|_| EvalError::Overflow("size()"))
}

/// The parts of a text between separators, as CEL splits: an empty separator parts it into characters.
fn split<'a>(steps: &mut Steps, of: &Text<'a>, by: &str) -> Result<Value<'a>, EvalError> {
    let parts = match of {
        Text::Borrowed(of) | Text::Sent(of) if by.is_empty() => collect(
            steps,
            of.char_indices()
                .filter_map(|(at, c)| of.get(at..at + c.len_utf8()))
                .map(Value::text),
        ),
        Text::Borrowed(of) | Text::Sent(of) => collect(steps, of.split(by).map(Value::text)),
        Text::Shared(of) if by.is_empty() => collect(steps, of.chars().map(|c| Value::owned(c.to_string()))),
        Text::Shared(of) => collect(steps, of.split(by).map(Value::owned)),
    };
    parts.map(|parts| Value::List(List::Shared(parts)))
}

fn collect<'a>(
    steps: &mut Steps,
    parts: impl Iterator<Item = Value<'a>>,
) -> Result<Arc<[Value<'a>]>, EvalError> {
    let mut made = Vec::new();
    for part in parts {
        if made.len() == MAX_ELEMENTS {
            return Err(EvalError::TooLarge("what split() makes"));
        }
        steps.spend(1)?;
        made.push(part);
    }
    Ok(made.into())
}

/// A part of a time on the clocks of a zone, or of a duration.
pub(super) fn time_part<'a>(part: TimePart, of: &Value<'a>, zone: Zone) -> Result<Value<'a>, EvalError> {
    let wrong = EvalError::Type("a part of a time");
    match of {
        Value::Time(time) => part
            .of(*time, zone)
            .map(Value::Int)
            .ok_or(EvalError::Overflow("a time")),
        Value::Duration(duration) => part.of_duration(*duration).map(Value::Int).ok_or(wrong),
        _ => Err(wrong),
    }
}
