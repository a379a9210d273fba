//! Audit events as a subscriber of the topic reads them.

use anyhow::{Context, Result};
use serde_json::Value;

use crate::pubsub::Message;

/// One event of one call.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// `intent`, `outcome`, `refused` or `held`.
    pub phase: String,
    /// Method id.
    pub method: String,
    /// Reason code.
    pub reason: String,
    /// Id of the call, shared by its events.
    pub call: String,
    /// Id of the event.
    pub id: String,
    /// The OCSF event.
    pub payload: Value,
}

impl Event {
    /// Phase and method: `intent storage.buckets.list`.
    #[must_use]
    pub fn line(&self) -> String {
        format!("{} {}", self.phase, self.method)
    }
}

/// The events of one session, in the order in which they came.
///
/// # Errors
/// A message is no event.
pub fn session(messages: &[Message], session: &str) -> Result<Vec<Event>> {
    let own = messages.iter().filter(|m| m.ordering_key == session);
    own.map(|message| {
        let payload: Value = serde_json::from_slice(&message.data).context("an event is JSON")?;
        let attribute = |name: &str| message.attributes.get(name).cloned().unwrap_or_default();
        let text = |pointer: &str| {
            let value = payload.pointer(pointer).and_then(Value::as_str);
            value
                .map(str::to_owned)
                .with_context(|| format!("no {pointer} in {payload}"))
        };
        Ok(Event {
            phase: attribute("phase"),
            method: attribute("method"),
            reason: text("/unmapped/turnpike/reason")?,
            call: text("/metadata/correlation_uid")?,
            id: text("/metadata/uid")?,
            payload,
        })
    })
    .collect()
}
