//! What JSON bodies name, where the URL does not: the object that is stored, the objects that one is composed of.

use bytes::Bytes;
use serde_json::{Map, Value};
use turnpike_policy::storage_body::{self, BodyConflict};

use super::Calls;
use crate::{journey::Refused, multipart, refusal::Refusal};

/// Whether the body has to be read to know what is called.
pub(super) fn matter(calls: &Calls) -> bool {
    calls.iter().any(|c| storage_body::names_resources(c.method))
}

/// Adds what a JSON body names.
///
/// # Errors
/// The refusal to answer with.
pub(super) fn place(calls: &mut Calls, body: &Bytes) -> Result<(), Refused> {
    if !matter(calls) || body.is_empty() {
        return Ok(());
    }
    let metadata = multipart::object(body).map_err(|e| {
        let message = format!("the body names what is called, and cannot be read: {e}");
        Box::new(Refusal::invalid(e.reason(), message))
    })?;
    place_metadata(calls, &metadata)
}

/// The same for a body that was read already.
///
/// # Errors
/// The refusal to answer with.
pub(super) fn place_metadata(calls: &mut Calls, metadata: &Map<String, Value>) -> Result<(), Refused> {
    let refused = |e: BodyConflict| Box::new(Refusal::invalid(e.reason(), e.to_string()));
    for call in calls.iter_mut() {
        storage_body::object_from_metadata(call, metadata).map_err(refused)?;
        let more = storage_body::body_resources(call, metadata).map_err(refused)?;
        call.resources.extend(more);
    }
    Ok(())
}
