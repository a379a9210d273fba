//! The line an event is kept as:
//! `{"id":..,"key":..,"attributes":{..},"data":{..}}`.
//!
//! `data` is the OCSF event. The publisher takes the line apart with
//! [`Envelope`], which borrows `data` as it stands: what is published is byte
//! for byte what was made durable.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::attributes::{Attributes, cut};
use crate::ocsf::ApiActivity;
use crate::record::Event;

/// An event could not be written; its call must be refused.
#[derive(Debug, thiserror::Error)]
#[error("an audit event cannot be encoded: {0}")]
pub struct EncodeError(#[from] serde_json::Error);

/// A line is not an envelope.
#[derive(Debug, thiserror::Error)]
#[error("not an audit event: {0}")]
pub struct EnvelopeError(#[from] serde_json::Error);

/// A line taken apart for publishing.
#[derive(Debug, Clone, Deserialize)]
pub struct Envelope<'a> {
    /// The event's id, stable over republishing.
    #[serde(borrow)]
    pub id: Cow<'a, str>,
    /// Ordering key: the session. Empty for callers without one.
    #[serde(borrow)]
    pub key: Cow<'a, str>,
    /// Message attributes, untouched; [`Envelope::attributes`] takes them apart.
    #[serde(borrow, rename = "attributes")]
    pub raw_attributes: &'a RawValue,
    /// The OCSF event, untouched.
    #[serde(borrow)]
    pub data: &'a RawValue,
}

impl<'a> Envelope<'a> {
    /// Takes a line apart.
    ///
    /// # Errors
    ///
    /// When the line is not an envelope.
    pub fn parse(line: &'a [u8]) -> Result<Self, EnvelopeError> {
        Ok(serde_json::from_slice(line)?)
    }

    /// The message attributes.
    ///
    /// # Errors
    ///
    /// When they are no object of strings.
    pub fn attributes(&self) -> Result<AttributePairs<'a>, EnvelopeError> {
        AttributePairs::parse(self.raw_attributes.get().as_bytes())
    }
}

/// Names and values of a JSON object of strings, in order, borrowed where no
/// escape stands in the way.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AttributePairs<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl<'a> AttributePairs<'a> {
    /// Parses a JSON object of strings.
    ///
    /// # Errors
    ///
    /// When it is none.
    pub fn parse(json: &'a [u8]) -> Result<Self, EnvelopeError> {
        Ok(serde_json::from_slice(json)?)
    }

    /// The pairs, in the order they were written.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (&**name, &**value))
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for AttributePairs<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Borrowed<'a>(#[serde(borrow)] Cow<'a, str>);

        struct Pairs<'a>(std::marker::PhantomData<&'a ()>);
        impl<'de: 'a, 'a> serde::de::Visitor<'de> for Pairs<'a> {
            type Value = AttributePairs<'a>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object of strings")
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut pairs = Vec::with_capacity(16);
                while let Some((Borrowed(name), Borrowed(value))) = map.next_entry()? {
                    pairs.push((name, value));
                }
                Ok(AttributePairs(pairs))
            }
        }
        deserializer.deserialize_map(Pairs(std::marker::PhantomData))
    }
}

/// Strings that an event needs more than once, made once.
pub(crate) struct Text {
    pub(crate) id: String,
    pub(crate) call_id: String,
    pub(crate) agent: String,
}

impl Text {
    pub(crate) fn of(event: &Event<'_>) -> Self {
        Self {
            id: hyphenated(event.id),
            call_id: hyphenated(event.call_id),
            agent: event.actor.agent(),
        }
    }
}

fn hyphenated(id: Uuid) -> String {
    id.hyphenated().to_string()
}

#[derive(Serialize)]
struct Line<'a> {
    id: &'a str,
    key: &'a str,
    attributes: Attributes<'a>,
    data: ApiActivity<'a>,
}

pub(crate) fn encode(event: &Event<'_>) -> Result<Vec<u8>, EncodeError> {
    let text = Text::of(event);
    // A usual event takes 2 to 3 KiB; one allocation then suffices.
    let mut line = Vec::with_capacity(3072);
    serde_json::to_writer(
        &mut line,
        &Line {
            id: &text.id,
            key: cut(event.actor.session),
            attributes: Attributes { event, text: &text },
            data: ApiActivity::of(event, &text),
        },
    )?;
    Ok(line)
}
