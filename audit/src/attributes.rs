//! The Pub/Sub attributes of an event: the CloudEvents context, in the binding
//! that prefixes its names with `ce-`, and what subscribers filter by.
//!
//! Pub/Sub takes at most 1,024 bytes for a value, so values are cut there, at
//! a character boundary: attributes serve filters, the payload is the record.

use jiff::Timestamp;
use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::envelope::Text;
use crate::record::{Event, Phase};

/// Longest attribute value that Pub/Sub takes, in bytes.
const MAX_VALUE: usize = 1024;

/// The CloudEvents type of a phase: `dev.turnpike.call.intent`.
#[must_use]
pub const fn event_type(phase: Phase) -> &'static str {
    match phase {
        Phase::Intent => "dev.turnpike.call.intent",
        Phase::Outcome => "dev.turnpike.call.outcome",
        Phase::Refused => "dev.turnpike.call.refused",
        Phase::Held => "dev.turnpike.call.held",
    }
}

/// Serialises as the attribute map of an event. Values that would be empty are
/// left out.
pub(crate) struct Attributes<'a> {
    pub(crate) event: &'a Event<'a>,
    pub(crate) text: &'a Text,
}

impl Serialize for Attributes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let event = self.event;
        let phase = event.stage.phase();
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("ce-specversion", "1.0")?;
        map.serialize_entry("ce-id", &self.text.id)?;
        map.serialize_entry("ce-source", cut(event.source))?;
        map.serialize_entry("ce-type", event_type(phase))?;
        map.serialize_entry::<_, Timestamp>("ce-time", &event.at)?;
        if let Some(resource) = event.call.resources.first() {
            entry(&mut map, "ce-subject", resource.name)?;
        }
        map.serialize_entry("content-type", "application/json")?;
        entry(&mut map, "agent", &self.text.agent)?;
        entry(&mut map, "session", event.actor.session)?;
        entry(&mut map, "method", event.call.method.unwrap_or(""))?;
        map.serialize_entry("decision", event.decision.verdict.as_str())?;
        map.serialize_entry("phase", phase.as_str())?;
        map.end()
    }
}

fn entry<M: SerializeMap>(map: &mut M, name: &str, value: &str) -> Result<(), M::Error> {
    if value.is_empty() {
        return Ok(());
    }
    map.serialize_entry(name, cut(value))
}

/// The longest prefix that Pub/Sub takes for an attribute or an ordering key.
pub(crate) fn cut(value: &str) -> &str {
    &value[..value.floor_char_boundary(MAX_VALUE)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_cut_at_a_character() {
        let long = format!("{}é", "a".repeat(MAX_VALUE - 1));
        assert_eq!(cut(&long), "a".repeat(MAX_VALUE - 1));
        assert_eq!(cut("é"), "é");
    }
}
