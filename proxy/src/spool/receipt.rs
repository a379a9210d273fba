//! What an accepted append hands out: the proof that a call's record is
//! durable, and the room for its outcome. The fields are the spool's own, so
//! that nothing else can make either.

use std::sync::Arc;

use super::OUTCOME_BYTES;
use super::writer::Shared;

/// Proof that an event is durable, with room in reserve for the call's outcome.
///
/// Only [`Spool::append`] makes one. Sending a call upstream consumes it and
/// keeps the [`OutcomeRoom`] for [`Spool::append_outcome`].
#[derive(Debug)]
#[must_use = "a receipt is what lets a call go upstream"]
pub struct Receipt {
    pub(super) seq: u64,
    pub(super) room: OutcomeRoom,
}

impl Receipt {
    /// Sequence number of the durable event.
    #[must_use]
    pub const fn seq(&self) -> u64 {
        self.seq
    }

    /// Gives up the proof and keeps the room.
    #[must_use]
    pub fn into_room(self) -> OutcomeRoom {
        self.room
    }
}

/// Room in the spool for the outcome of one accepted call; given back when
/// dropped.
#[derive(Debug)]
pub struct OutcomeRoom {
    pub(super) shared: Arc<Shared>,
}

impl Drop for OutcomeRoom {
    fn drop(&mut self) {
        let mut queue = self.shared.lock();
        queue.reserved = queue.reserved.saturating_sub(OUTCOME_BYTES);
    }
}
