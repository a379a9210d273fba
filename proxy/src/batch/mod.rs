//! Batches: up to a hundred calls in one `multipart/mixed` body, sent to `/batch` or `/batch/NAME/VERSION` of a
//! host, and their answers.
//!
//! A batch comes apart here into requests like any other, which are then normalised, classified and decided one
//! by one; [`rebuild`] writes those that were, in one plain form, with ids of ours. The answers find their calls
//! by these ids, and go back to the agent under the ids that it gave. What calls mean and who may make them is
//! not known here, and inner credentials do not exist: the outer one counts for all.

mod answer;
mod error;
mod message;
mod request;
#[cfg(test)]
mod tests;

use turnpike_policy::canonical::Target;

pub use answer::{InnerAnswer, parse_answer, rebuild_answer};
pub use error::{BatchError, Malady};
pub use request::{InnerRequest, parse, rebuild};

/// What a batch may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caps {
    /// Calls.
    pub parts: usize,
    /// Bytes of the whole body.
    pub bytes: usize,
}

impl Caps {
    /// What Google documents: 100 calls, and less than 10 MiB.
    pub const GOOGLE: Self = Self {
        parts: 100,
        bytes: 10 * 1024 * 1024,
    };
}

/// Whether a request is a batch, by its path.
pub fn is_batch(target: &Target) -> bool {
    target.segment(0) == "batch"
}

/// The API that a batch is for, `NAME` and `VERSION`; one sent to `/batch` is for any API of its host.
///
/// # Errors
/// [`BatchError::Path`] where the path is none of the documented two.
pub fn api(target: &Target) -> Result<Option<(&str, &str)>, BatchError> {
    match (target.segment_count(), target.segment(1), target.segment(2)) {
        _ if !is_batch(target) => Err(BatchError::Path),
        (1, _, _) => Ok(None),
        (3, name, version) if !name.is_empty() && !version.is_empty() => Ok(Some((name, version))),
        _ => Err(BatchError::Path),
    }
}

/// The id that a call has on its way upstream.
fn id_upstream(index: usize) -> String {
    format!("<turnpike+{index}>")
}
