//! A spooled event as it is published.

use bytes::Bytes;
use turnpike_audit::Envelope;

use crate::spool::SpooledEvent;

/// Marks a message whose event could not be taken apart.
const UNREADABLE: &str = "turnpike-unreadable";

/// What a sink publishes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    seq: u64,
    id: String,
    key: String,
    attributes: Vec<(String, String)>,
    data: Bytes,
}

impl Message {
    /// Takes a spooled event apart; its payload is not copied.
    ///
    /// An event that is no envelope is published as it is, marked, since a
    /// record must not be lost for its form.
    pub(super) fn new(event: SpooledEvent) -> Self {
        match Envelope::parse(&event.event) {
            Ok(envelope) => Self {
                seq: event.seq,
                id: envelope.id.to_string(),
                key: envelope.key.to_string(),
                attributes: envelope
                    .attributes
                    .iter()
                    .map(|(name, value)| (name.to_owned(), value.to_owned()))
                    .collect(),
                data: event.event.slice_ref(envelope.data.get().as_bytes()),
            },
            Err(error) => {
                tracing::error!(seq = event.seq, %error, "a spooled event is not an audit event");
                Self {
                    seq: event.seq,
                    id: format!("spool-{}", event.seq),
                    key: String::new(),
                    attributes: vec![(UNREADABLE.to_owned(), "true".to_owned())],
                    data: event.event,
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

    /// Attributes.
    #[must_use]
    pub fn attributes(&self) -> &[(String, String)] {
        &self.attributes
    }

    /// Payload.
    #[must_use]
    pub const fn data(&self) -> &Bytes {
        &self.data
    }
}
