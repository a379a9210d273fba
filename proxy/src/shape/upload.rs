//! Uploads: content with, or after, the metadata that names where it goes.
//!
//! A multipart upload says so in its first part, the start of a resumable one in its body, both perhaps in the query
//! too; where they disagree, nobody could say which one Google would follow, and the upload is refused. Which of the
//! kinds it is, is said in three places as well, and they must agree.

use http::header;
use serde_json::Map;
use turnpike_policy::canonical::Target;

use super::{Calls, Form, body_names, collected};
use crate::{
    body::RequestBody,
    coding::{self, Caps, CodingError},
    egress::Canonical,
    held_body::NotCollected,
    journey::{Gateway, Refused},
    multipart::{self, MAX_METADATA, MultipartError, Related},
    normalise::{NOISE, media_type},
    record::CallRecord,
    refusal::Refusal,
    session::Opening,
};

/// What a packed upload may unpack to, as it passes: the largest object there is, and what gzip can pack at most.
const CAPS: Caps = Caps {
    bytes: 5 << 40,
    ratio: 1100,
    free: 1 << 20,
};

/// How content is uploaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// The body is the content.
    Media,
    /// Metadata and content.
    Multipart,
    /// Metadata only; the content comes later, to a URL that the answer tells.
    Resumable,
}

/// Whether the body is, or announces, content that is stored as it is.
pub(crate) fn is_upload(target: &Target) -> bool {
    matches!(
        (target.segment(0), target.segment(1)),
        ("upload", _) | ("resumable", "upload")
    )
}

/// Reads an upload as far as it takes to know where it goes.
///
/// # Errors
/// The refusal to answer with.
pub(super) async fn shape(
    gateway: &Gateway,
    record: &CallRecord,
    canonical: &mut Canonical,
    calls: &mut Calls,
    body: RequestBody,
) -> Result<(RequestBody, Form), Refused> {
    match kind(canonical)? {
        Kind::Media => Ok((body, Form::Plain)),
        Kind::Resumable => {
            let body = collected(gateway, record, body, MAX_METADATA).await?;
            let mut metadata = Map::new();
            if !body.is_empty() {
                metadata = multipart::object(&body).map_err(refused)?;
                body_names::place_metadata(gateway.catalog, calls, &canonical.target, &metadata)?;
            }
            let opening = Opening::of(&canonical.target, &canonical.headers, NOISE, metadata);
            Ok((RequestBody::whole(body), Form::Opens(opening.map(Box::new))))
        }
        Kind::Multipart => {
            let content_type = multipart::content_type(&canonical.headers)
                .map_err(refused)?
                .to_owned();
            let plain = coding::decoded(&canonical.headers, body, CAPS).map_err(|e| coded(&e))?;
            let limit = gateway.limits.body_within;
            let begun = tokio::time::timeout(limit, Related::begin(&content_type, Box::pin(plain))).await;
            let related = begun
                .map_err(|_| Box::new(NotCollected::TooSlow(limit).refusal()))?
                .map_err(refused)?;
            body_names::place_metadata(gateway.catalog, calls, &canonical.target, &related.metadata)?;
            let (content_type, rebuilt) = related.rebuild().map_err(refused)?;
            canonical.headers.insert(header::CONTENT_TYPE, content_type);
            canonical.headers.remove(header::CONTENT_ENCODING);
            Ok((RequestBody::Upload(Box::new(rebuilt.boxed())), Form::Plain))
        }
    }
}

/// What every place says that says something.
fn kind(canonical: &Canonical) -> Result<Kind, Refused> {
    let contradicts = || {
        Box::new(Refusal::invalid(
            "UPLOAD_KIND_CONTRADICTS",
            "the query, the headers and the content type of the upload say different kinds of upload; give one \
             uploadType, and multipart/related only with uploadType=multipart",
        ))
    };
    let named = |value: &str| match value.to_ascii_lowercase().as_str() {
        "media" | "raw" => Ok(Kind::Media),
        "multipart" => Ok(Kind::Multipart),
        "resumable" => Ok(Kind::Resumable),
        _ => Err(contradicts()),
    };
    let mut found: Option<Kind> = None;
    let mut say = |kind: Kind| match found {
        Some(other) if other != kind => Err(contradicts()),
        _ => {
            found = Some(kind);
            Ok(())
        }
    };
    for (name, value) in canonical.target.query_pairs() {
        let name = name.trim_start_matches('$').to_ascii_lowercase().replace('_', "");
        if matches!(name.as_str(), "uploadtype" | "uploadprotocol") {
            say(named(&value)?)?;
        }
    }
    if canonical.target.path().starts_with("/resumable/") {
        say(Kind::Resumable)?;
    }
    for value in canonical.headers.get_all("x-goog-upload-protocol") {
        say(named(value.to_str().map_err(|_| contradicts())?)?)?;
    }
    let content = canonical.headers.get(header::CONTENT_TYPE);
    let content = content.map(|v| v.to_str().map(media_type).map_err(|_| contradicts()));
    match (content.transpose()?.as_deref(), found) {
        (Some("multipart/related"), None | Some(Kind::Multipart)) => Ok(Kind::Multipart),
        (Some("multipart/related"), Some(_)) | (_, Some(Kind::Multipart)) => Err(contradicts()),
        (_, Some(kind)) => Ok(kind),
        (_, None) => Ok(Kind::Media),
    }
}

pub(super) fn refused(error: MultipartError) -> Refused {
    Box::new(Refusal::invalid(
        error.reason(),
        format!("the upload is refused: {error}"),
    ))
}

fn coded(error: &CodingError) -> Refused {
    Box::new(Refusal::invalid(
        error.reason(),
        format!("the upload is refused: {error}"),
    ))
}
