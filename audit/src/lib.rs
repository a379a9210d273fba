//! Audit records: what Turnpike keeps of every call, as OCSF API Activity
//! events in CloudEvents form.
//!
//! - [`record`]: what the data path hands over, borrowed;
//! - [`Event::to_line`]: one event as one line of JSON, the form that the spool
//!   keeps and the publisher reads;
//! - [`Envelope`]: that line taken apart again without copying its payload;
//! - [`read`]: a stored trail, parsed and printed for people.
//!
//! The crate is pure: it reads no clock, opens no file and knows no transport.
//! Time and identifiers are inputs, so the same facts give the same bytes.
//! It never sees a body, a token or a query string: what must not be recorded
//! cannot be handed to it.

mod attributes;
mod envelope;
mod ocsf;
pub mod read;
pub mod record;

pub use attributes::event_type;
pub use envelope::{AttributePairs, EncodeError, Envelope, EnvelopeError};
pub use ocsf::OCSF_VERSION;
pub use read::{ParseError, StoredEvent, parse_line};
pub use record::{
    Actor, ApiCall, ApprovalRef, DecisionRecord, Event, FindingRef, MaskHit, OutcomeRecord, Phase, Reading,
    ResourceRef, RiskFactorRef, RiskRef, RuleHit, Stage, Verdict,
};
