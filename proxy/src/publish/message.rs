//! A spooled event as it is published.

use bytes::Bytes;
use turnpike_audit::{AttributePairs, Envelope};

use crate::spool::SpooledEvent;

/// Attributes of a message whose event could not be taken apart.
const UNREADABLE: &[u8] = br#"{"turnpike-unreadable":"true"}"#;

/// What a sink publishes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    seq: u64,
    id: String,
    key: String,
    raw_attributes: Bytes,
    data: Bytes,
    is_json: bool,
}

impl Message {
    /// Takes a spooled event apart; its attributes and payload are not copied.
    ///
    /// An event that is no envelope is published as it is, marked, since a
    /// record must not be lost for its form.
    pub(super) fn new(event: SpooledEvent) -> Self {
        match Envelope::parse(&event.event) {
            Ok(envelope) => Self {
                seq: event.seq,
                id: envelope.id.to_string(),
                key: envelope.key.to_string(),
                raw_attributes: event.event.slice_ref(envelope.raw_attributes.get().as_bytes()),
                data: event.event.slice_ref(envelope.data.get().as_bytes()),
                is_json: true,
            },
            Err(error) => {
                tracing::error!(seq = event.seq, %error, "a spooled event is not an audit event");
                Self {
                    seq: event.seq,
                    id: format!("spool-{}", event.seq),
                    key: String::new(),
                    raw_attributes: Bytes::from_static(UNREADABLE),
                    data: event.event,
                    is_json: false,
                }
            }
        }
    }

    /// The event's number in the spool.
    #[must_use]
    pub const fn seq(&self) -> u64 {
        self.seq
    }

    /// The event's id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Ordering key; empty for none.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Attributes. Where they are not what an event's are, there is one that
    /// says so.
    #[must_use]
    pub fn attributes(&self) -> Vec<(String, String)> {
        match AttributePairs::parse(&self.raw_attributes) {
            Ok(pairs) => pairs
                .iter()
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
            Err(error) => {
                tracing::error!(seq = self.seq, %error, "an audit event's attributes are unreadable");
                vec![("turnpike-unreadable".to_owned(), "attributes".to_owned())]
            }
        }
    }

    /// The attributes as they were written, which is JSON.
    #[must_use]
    pub const fn raw_attributes(&self) -> &Bytes {
        &self.raw_attributes
    }

    /// Payload.
    #[must_use]
    pub const fn data(&self) -> &Bytes {
        &self.data
    }

    /// Whether the payload is known to be JSON.
    #[must_use]
    pub const fn is_json(&self) -> bool {
        self.is_json
    }
}
