//! What JSON bodies name, where the URL does not: the object that is stored, the objects that one is composed of.

use bytes::Bytes;
use serde_json::{Map, Value};
use turnpike_policy::{
    canonical::Target,
    catalog::Catalog,
    storage_body::{self, BodyConflict},
};

use super::Calls;
use crate::{journey::Refused, multipart, refusal::Refusal};

/// Whether the body has to be read to know what is called.
pub(super) fn matter(calls: &Calls) -> bool {
    calls.iter().any(|c| storage_body::names_resources(c.method))
}

/// Adds the calls that the query makes of a write: sharing what is written.
///
/// # Errors
/// The refusal to answer with.
pub(super) fn add_grants(
    catalog: &Catalog,
    calls: &mut Calls,
    target: &Target,
    body: Option<&Map<String, Value>>,
) -> Result<(), Refused> {
    let mut shares = Calls::new();
    for call in calls.iter() {
        let grants = storage_body::grants(catalog, call, target, body);
        shares.extend(grants.map_err(super::unlisted)?);
    }
    for share in shares {
        if !calls.contains(&share) {
            calls.push(share);
        }
    }
    Ok(())
}

/// Adds what a JSON body names.
///
/// # Errors
/// The refusal to answer with.
pub(super) fn place(
    catalog: &Catalog,
    calls: &mut Calls,
    target: &Target,
    body: &Bytes,
) -> Result<(), Refused> {
    if !matter(calls) || body.is_empty() {
        return Ok(());
    }
    let metadata = multipart::object(body).map_err(|e| {
        let message = format!("the body names what is called, and cannot be read: {e}");
        Box::new(Refusal::invalid(e.reason(), message))
    })?;
    place_metadata(catalog, calls, target, &metadata)
}

/// The same for a body that was read already.
///
/// # Errors
/// The refusal to answer with.
pub(super) fn place_metadata(
    catalog: &Catalog,
    calls: &mut Calls,
    target: &Target,
    metadata: &Map<String, Value>,
) -> Result<(), Refused> {
    let refused = |e: BodyConflict| Box::new(Refusal::invalid(e.reason(), e.to_string()));
    for call in calls.iter_mut() {
        storage_body::object_from_metadata(call, metadata).map_err(refused)?;
        let more = storage_body::body_resources(call, metadata).map_err(refused)?;
        call.resources.extend(more);
    }
    add_grants(catalog, calls, target, Some(metadata))
}
