//! What headers make of a request to the XML API.
//!
//! Only Google's own headers are looked at, by one table; one that is in no row is refused, because the next of them
//! may act. Headers in Amazon's form are refused as a whole.

use smallvec::SmallVec;

use super::{Level, XmlRefusal, hmac, json, place};
use crate::{
    call::{Call, Resource},
    canonical::Target,
    catalog::{Catalog, Classified, Unlisted, hosts},
};

/// What a header does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Acts {
    /// Nothing about what is called, and on what.
    Passes,
    /// Only together with a copy.
    WithCopy,
    /// A `PUT` of an object becomes a copy from there.
    CopySource,
    /// Gives others access to what is written.
    Grants,
    /// Begins a resumable upload.
    Resumable,
    /// Names the project.
    Project,
    /// Is refused, and this is why.
    Refused(&'static str),
}

/// Google's headers by name, or by what their names begin with.
const TABLE: &[(&str, bool, Acts)] = &[
    ("x-goog-acl", false, Acts::Grants),
    ("x-goog-allowed-resources", false, Acts::Passes),
    ("x-goog-api-client", false, Acts::Passes),
    (
        "x-goog-bypass-governance-retention",
        false,
        Acts::Refused("lifts a retention; use the JSON API for that"),
    ),
    ("x-goog-content-length-range", false, Acts::Passes),
    ("x-goog-content-sha256", false, Acts::Passes),
    ("x-goog-copy-source", false, Acts::CopySource),
    ("x-goog-copy-source-encryption-", true, Acts::WithCopy),
    ("x-goog-copy-source-generation", false, Acts::WithCopy),
    ("x-goog-copy-source-if-", true, Acts::WithCopy),
    ("x-goog-custom-audit-", true, Acts::Passes),
    ("x-goog-custom-time", false, Acts::Passes),
    ("x-goog-date", false, Acts::Passes),
    ("x-goog-encryption-", true, Acts::Passes),
    ("x-goog-expected-entity-length", false, Acts::Passes),
    ("x-goog-gcs-idempotency-token", false, Acts::Passes),
    ("x-goog-hash", false, Acts::Passes),
    ("x-goog-if-generation-match", false, Acts::Passes),
    ("x-goog-if-generation-not-match", false, Acts::Passes),
    ("x-goog-if-metageneration-match", false, Acts::Passes),
    ("x-goog-if-metageneration-not-match", false, Acts::Passes),
    ("x-goog-meta-", true, Acts::Passes),
    ("x-goog-metadata-directive", false, Acts::WithCopy),
    ("x-goog-object-lock-mode", false, Acts::Passes),
    ("x-goog-object-lock-retain-until-date", false, Acts::Passes),
    ("x-goog-project-id", false, Acts::Project),
    ("x-goog-request-params", false, Acts::Passes),
    ("x-goog-resumable", false, Acts::Resumable),
    ("x-goog-storage-class", false, Acts::Passes),
];

const UNKNOWN: &str = "is not known to Turnpike; leave it out, or use the JSON API";

fn acts(name: &str) -> Acts {
    if name.starts_with("x-amz-") {
        return Acts::Refused("is in Amazon's form; use Google's, or the JSON API");
    }
    if !name.starts_with("x-goog-") {
        return Acts::Passes;
    }
    TABLE
        .iter()
        .find(|(known, begins, _)| name == *known || (*begins && name.starts_with(known)))
        .map_or(Acts::Refused(UNKNOWN), |(_, _, acts)| *acts)
}

/// The headers that act, each at most once.
#[derive(Debug, Default)]
struct Acting<'h> {
    copy_source: Option<&'h str>,
    grants: Option<&'h str>,
    resumable: Option<&'h str>,
    project: Option<&'h str>,
    with_copy: Option<&'h str>,
}

impl<'h> Acting<'h> {
    fn of(headers: impl IntoIterator<Item = (&'h str, &'h [u8])>) -> Result<Self, XmlRefusal> {
        let mut acting = Self::default();
        for (name, value) in headers {
            let slot = match acts(name) {
                Acts::Passes => continue,
                Acts::Refused(why) => return Err(refused(name, why)),
                Acts::WithCopy => {
                    acting.with_copy = Some(name);
                    continue;
                }
                Acts::CopySource => &mut acting.copy_source,
                Acts::Grants => &mut acting.grants,
                Acts::Resumable => &mut acting.resumable,
                Acts::Project => &mut acting.project,
            };
            let text = std::str::from_utf8(value).map_err(|_| refused(name, "is not text"))?;
            if slot.replace(text.trim()).is_some() {
                return Err(refused(name, "stands twice; send it once"));
            }
        }
        Ok(acting)
    }
}

fn refused(name: &str, why: &'static str) -> XmlRefusal {
    XmlRefusal::Header {
        name: name.to_owned(),
        why,
    }
}

/// Adds what the headers say to the calls of a request.
pub(super) fn apply<'h>(
    catalog: &Catalog,
    target: &Target,
    found: Classified,
    headers: impl IntoIterator<Item = (&'h str, &'h [u8])>,
) -> Result<Classified, Unlisted> {
    let acting = Acting::of(headers)?;
    let at = place(target)?;
    let level = at.level();
    let plain = target.query().is_empty();
    let mut found = found;

    resumable(target, level, acting.resumable)?;
    match acting.copy_source {
        Some(source) => {
            if level != Level::Object || target.verb() != "PUT" || !plain {
                return Err(refused("x-goog-copy-source", "belongs to a PUT of an object only").into());
            }
            found = copy(
                catalog,
                target,
                source,
                at.bucket.unwrap_or(""),
                at.object.as_deref().unwrap_or(""),
            )?;
        }
        None => {
            if let Some(name) = acting.with_copy {
                return Err(refused(name, "belongs to a copy, and x-goog-copy-source is missing").into());
            }
        }
    }
    if acting.grants.is_some() {
        found.also.push(grant(
            catalog,
            target,
            &found,
            at.bucket.unwrap_or(""),
            at.object.as_deref(),
        )?);
    }
    match acting.project {
        Some(project) if level == Level::Service || (level == Level::Bucket && plain) => {
            if project.is_empty() || project.contains(['/', '%', '*']) || project == "-" || project == "_" {
                return Err(refused("x-goog-project-id", "is not the name of a project").into());
            }
            hmac::in_project(&mut found, project)?;
        }
        // Elsewhere the bucket says it all.
        Some(_) | None => {}
    }
    Ok(found)
}

/// A `POST` of an object without a parameter begins a resumable upload, or is an HTML form that names its object in
/// the body; only the header tells.
fn resumable(target: &Target, level: Level, header: Option<&str>) -> Result<(), XmlRefusal> {
    let post = target.verb() == "POST" && level == Level::Object && target.query().is_empty();
    let put = target.verb() == "PUT" && level == Level::Object && target.query().is_empty();
    match header {
        Some("start") if post || put => Ok(()),
        Some(_) => Err(refused(
            "x-goog-resumable",
            "begins a resumable upload with `start`, at a POST of an object",
        )),
        None if post => Err(XmlRefusal::NamesInBody {
            what: "an upload by an HTML form",
            instead: "storage.objects.insert",
        }),
        None => Ok(()),
    }
}

/// The call that a `PUT` with a source is: a copy, destination first.
fn copy(
    catalog: &Catalog,
    target: &Target,
    source: &str,
    bucket: &str,
    object: &str,
) -> Result<Classified, Unlisted> {
    let malformed = || {
        Unlisted::from(refused(
            "x-goog-copy-source",
            "must be BUCKET/OBJECT, percent-encoded like a path",
        ))
    };
    let path = source.strip_prefix('/').unwrap_or(source);
    // A parameter would choose another generation, and a plus sign is a space to some readers.
    if path.contains(['?', '+']) {
        return Err(malformed());
    }
    let canonical =
        Target::new("GET", "storage.googleapis.com", &format!("/{path}")).map_err(|_| malformed())?;
    let from = canonical.segment(0);
    let count = canonical.segment_count();
    if count < 2 || !hosts::is_bucket(from) || (0..count).any(|at| canonical.segment_hides_dots(at)) {
        return Err(malformed());
    }
    let segments: SmallVec<[&str; 8]> = (1..count).map(|at| canonical.segment(at)).collect();
    let template = format!("POST b/{from}/o/{}/copyTo/b/{{b}}/o/{{o}}", segments.join("%2F"));
    let mut found = json(catalog, target, &template, bucket, object)?;
    // A reader that does not decode the header takes another object.
    if let Some((raw_bucket, raw_object)) = path.split_once('/')
        && raw_object.contains('%')
    {
        let mut raw = found.call.clone();
        if let Some(resource) = raw.resources.get_mut(1) {
            *resource = Resource {
                name: format!("projects/_/buckets/{raw_bucket}/objects/{raw_object}"),
                id: Some(raw_object.to_owned()),
                ..resource.clone()
            };
        }
        found.also.push(raw);
    }
    Ok(found)
}

/// The call that a predefined list of grants is: whoever may write need not be allowed to share.
fn grant(
    catalog: &Catalog,
    target: &Target,
    found: &Classified,
    bucket: &str,
    object: Option<&str>,
) -> Result<Call, Unlisted> {
    let writes = matches!(
        found.call.method,
        "storage.buckets.insert"
            | "storage.objects.insert"
            | "storage.objects.copy"
            | "storage.bucketAccessControls.insert"
            | "storage.objectAccessControls.insert"
    );
    if !writes {
        return Err(refused("x-goog-acl", "belongs to what is written only").into());
    }
    let granted = match object {
        Some(object) => json(catalog, target, "POST b/{b}/o/{o}/acl", bucket, object)?,
        None => json(catalog, target, "POST b/{b}/acl", bucket, "")?,
    };
    Ok(granted.call)
}
