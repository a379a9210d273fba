//! The XML API of Cloud Storage: the same methods as the JSON API's, in other clothes.
//!
//! ```text
//! https://BUCKET.storage.googleapis.com/OBJECT        virtual host; a bucket's name may have dots
//! https://storage.googleapis.com/BUCKET/OBJECT        path style, on every host of the service
//! https://storage.googleapis.com/?Action=...          HMAC keys
//! ```
//!
//! A request is found in a table (`table.rs`) by verb and subresource, and made into the JSON request that does the
//! same; that one is classified. So names, traits and refusals are those of the JSON API, whatever a request looks
//! like. `headers.rs` adds what headers say: a copy's source, grants, the project.
//!
//! Bodies are not read here. Where a body names what is acted on, the request is refused.

mod error;
mod headers;
mod hmac;
mod table;
#[cfg(test)]
mod tests;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use smallvec::SmallVec;

pub use error::XmlRefusal;

use self::table::{Outcome, ROWS, Reading, Row, VALUED};
use super::{Catalog, Classified, Unlisted, classify::classify_json, hosts};
use crate::{
    call::Call,
    canonical::{Target, decode_segment},
};

/// What a path names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Level {
    Service,
    Bucket,
    Object,
}

impl Level {
    fn name(self) -> &'static str {
        match self {
            Self::Service => "service",
            Self::Bucket => "bucket",
            Self::Object => "object",
        }
    }
}

/// Bucket and object of a request, percent-encoded as one segment of a JSON path each.
#[derive(Debug)]
struct Place<'t> {
    bucket: Option<&'t str>,
    object: Option<String>,
}

impl Place<'_> {
    fn level(&self) -> Level {
        match (self.bucket, &self.object) {
            (None, _) => Level::Service,
            (Some(_), None) => Level::Bucket,
            (Some(_), Some(_)) => Level::Object,
        }
    }
}

/// First segments of paths that the JSON API has on the service's host. No bucket is looked for there.
const JSON_PATHS: &[&str] = &["batch", "discovery", "download", "resumable", "storage", "upload"];

/// Parameters of signed URLs, in lower case: V4, V2, and those of Amazon's form.
const SIGNATURES: &[&str] = &["signature", "googleaccessid", "awsaccesskeyid"];
const SIGNATURE_PREFIXES: &[&str] = &["x-goog-", "x-amz-"];

/// Whether a request is one of the XML API.
pub(super) fn is_xml(catalog: &Catalog, target: &Target) -> bool {
    if hosts::bucket(target.host()).is_some() {
        return true;
    }
    let storage = catalog
        .host(target.host())
        .is_some_and(|host| host.service == "storage");
    storage && !JSON_PATHS.contains(&target.segment(0))
}

/// The parameter that makes a request a signed one.
pub(super) fn signature(target: &Target) -> Option<String> {
    let signs = |name: &str| {
        let name = name.to_ascii_lowercase();
        SIGNATURES.contains(&name.as_str()) || SIGNATURE_PREFIXES.iter().any(|p| name.starts_with(p))
    };
    target
        .query_pairs()
        .find(|(name, _)| signs(name))
        .map(|(name, _)| name.into_owned())
}

pub(super) fn classify(catalog: &Catalog, target: &Target) -> Result<Classified, Unlisted> {
    if let Some(parameter) = signature(target) {
        return Err(XmlRefusal::SignedUrl { parameter }.into());
    }
    let place = place(target)?;
    check_names(target)?;
    if place.level() == Level::Service && target.query_pairs().any(|(name, _)| name == "Action") {
        return hmac::classify(catalog, target);
    }
    let row = row(target, place.level())?;
    check_parameters(target, row)?;
    match row.outcome {
        Outcome::Calls(readings) => {
            let mut calls = SmallVec::<[Call; 2]>::new();
            for reading in readings {
                calls.extend(read(catalog, target, &place, reading)?);
            }
            joined(calls, target)
        }
        Outcome::Instead(what, instead) => Err(XmlRefusal::NamesInBody { what, instead }.into()),
    }
}

/// The calls of one request, the first of them first.
fn joined(calls: SmallVec<[Call; 2]>, target: &Target) -> Result<Classified, Unlisted> {
    let mut calls = calls.into_iter();
    let call = calls.next().ok_or_else(|| unknown(target))?;
    Ok(Classified {
        call,
        also: calls.collect(),
    })
}

/// Takes bucket and object from host and path.
fn place(target: &Target) -> Result<Place<'_>, Unlisted> {
    let count = target.segment_count();
    let (bucket, first) = match hosts::bucket(target.host()) {
        Some(bucket) => {
            if looks_like_json(target) {
                return Err(XmlRefusal::LooksLikeJson.into());
            }
            (Some(bucket), 0)
        }
        None if count == 0 => (None, 0),
        None => {
            let bucket = target.segment(0);
            if !hosts::is_bucket(bucket) {
                return Err(unknown(target));
            }
            (Some(bucket), 1)
        }
    };
    let mut object = None;
    for at in first..count {
        // Here the whole path is the name, and a server that resolves steps would find another one.
        if target.segment_hides_dots(at) {
            return Err(Unlisted::UnsafeName {
                method: "the XML API of Cloud Storage",
            });
        }
        let object = object.get_or_insert_with(String::new);
        if at > first {
            object.push_str("%2F");
        }
        object.push_str(target.segment(at));
    }
    Ok(Place { bucket, object })
}

/// Whether a path on a bucket's host is one that the JSON API has. Both are served by the same machines.
fn looks_like_json(target: &Target) -> bool {
    let at = match (target.segment(0), target.segment(1)) {
        ("batch", _) => return true,
        ("resumable", "upload") => 2,
        ("upload" | "download", _) => 1,
        _ => 0,
    };
    target.segment(at) == "storage" && target.segment(at + 1).starts_with('v')
}

fn unknown(target: &Target) -> Unlisted {
    Unlisted::UnknownMethod {
        host: target.host().to_owned(),
        verb: target.verb().to_owned(),
        path: target.path().to_owned(),
    }
}

/// Refuses names of parameters that are written with escapes, and parameters that stand twice.
fn check_names(target: &Target) -> Result<(), XmlRefusal> {
    let mut seen: SmallVec<[&str; 8]> = SmallVec::new();
    for pair in target.query().split('&').filter(|p| !p.is_empty()) {
        let name = pair.split_once('=').map_or(pair, |(name, _)| name);
        if name.contains(['%', '+']) {
            return Err(XmlRefusal::EscapedParameter {
                parameter: decode_segment(name, false).into_owned(),
            });
        }
        if seen.contains(&name) {
            return Err(XmlRefusal::AmbiguousParameter {
                parameter: name.to_owned(),
                form: "with one value",
            });
        }
        seen.push(name);
    }
    Ok(())
}

/// The table's row for a verb and the parameters that are there.
fn row(target: &Target, level: Level) -> Result<&'static Row, XmlRefusal> {
    let here = || {
        ROWS.iter()
            .filter(|row| row.level == level && row.verb == target.verb())
    };
    let mut chosen = here().filter(|row| !row.by.is_empty() && has(target, row.by));
    let (first, second) = (chosen.next(), chosen.next());
    match (first, second) {
        (Some(_), Some(second)) => Err(XmlRefusal::AmbiguousParameter {
            parameter: second.by.to_owned(),
            form: "and no other part of the resource",
        }),
        (Some(row), None) => Ok(row),
        (None, _) => here().find(|row| row.by.is_empty()).ok_or_else(|| {
            // What would have been a method with another verb is named, and else the verb is.
            let elsewhere = |row: &&Row| row.level == level && !row.by.is_empty() && has(target, row.by);
            match ROWS.iter().find(elsewhere) {
                Some(row) => XmlRefusal::Parameter {
                    parameter: row.by.to_owned(),
                    verb: target.verb().to_owned(),
                },
                None => XmlRefusal::Verb {
                    verb: target.verb().to_owned(),
                    level: level.name(),
                },
            }
        }),
    }
}

fn has(target: &Target, parameter: &str) -> bool {
    target.query_pairs().any(|(name, _)| name == parameter)
}

/// Refuses each parameter that the row does not list.
fn check_parameters(target: &Target, row: &Row) -> Result<(), XmlRefusal> {
    for (name, value) in target.query_pairs() {
        if name == row.by {
            let valued = VALUED.contains(&row.by);
            if value.is_empty() == valued {
                return Err(XmlRefusal::AmbiguousParameter {
                    parameter: name.into_owned(),
                    form: if valued {
                        "with its value"
                    } else {
                        "without a value"
                    },
                });
            }
        } else if !row.needs.contains(&name.as_ref()) && !row.takes.contains(&name.as_ref()) {
            return Err(XmlRefusal::Parameter {
                parameter: name.into_owned(),
                verb: target.verb().to_owned(),
            });
        }
    }
    match row.needs.iter().find(|needed| !has(target, needed)) {
        Some(parameter) => Err(XmlRefusal::MissingParameter {
            parameter,
            verb: target.verb().to_owned(),
        }),
        None => Ok(()),
    }
}

/// The calls that a JSON request of the table stands for.
fn read(
    catalog: &Catalog,
    target: &Target,
    place: &Place<'_>,
    reading: &Reading,
) -> Result<SmallVec<[Call; 2]>, Unlisted> {
    let bucket = place.bucket.unwrap_or("");
    let object = place.object.as_deref().unwrap_or("");
    let found = json(catalog, target, reading.json, bucket, object)?;
    let mut calls = SmallVec::new();
    for call in std::iter::once(found.call).chain(found.also) {
        if reading.borrowed {
            calls.push(named(catalog, &call, reading.method)?);
        } else if call.method == reading.method {
            calls.push(call);
        } else {
            return Err(XmlRefusal::Table {
                method: reading.method,
            }
            .into());
        }
    }
    Ok(calls)
}

/// Classifies `VERB PATH` of the JSON API; bucket and object are segments of a canonical path.
fn json(
    catalog: &Catalog,
    target: &Target,
    text: &str,
    bucket: &str,
    object: &str,
) -> Result<Classified, Unlisted> {
    let unsafe_name = |_| Unlisted::UnsafeName {
        method: "the XML API of Cloud Storage",
    };
    let (verb, path) = text.split_once(' ').ok_or_else(|| unknown(target))?;
    let path = match path.strip_suffix("?name={o}") {
        // A query is decoded as a form, a path is not: plus signs would become spaces.
        Some(path) => {
            let name = decode_segment(object, false);
            let name = utf8_percent_encode(&name, NON_ALPHANUMERIC);
            format!("/storage/v1/{}?name={name}", path.replace("{b}", bucket))
        }
        None => {
            // The object comes last: what is in a name is no placeholder.
            let (before, after) = path.split_once("{o}").unwrap_or((path, ""));
            let before = before.replace("{b}", bucket);
            let object = if path.contains("{o}") { object } else { "" };
            format!("/storage/v1/{before}{object}{after}")
        }
    };
    let json = Target::new(verb, "storage.googleapis.com", &path).map_err(unsafe_name)?;
    classify_json(catalog, &json)
}

/// The call of another method on the same resources.
pub(crate) fn named(catalog: &Catalog, call: &Call, method: &'static str) -> Result<Call, Unlisted> {
    let missing = || Unlisted::from(XmlRefusal::Table { method });
    let index = catalog.index_of(method).ok_or_else(missing)?;
    let at = catalog.rows.partition_point(|row| row.id < index);
    let row = catalog
        .rows
        .get(at)
        .filter(|row| row.id == index)
        .ok_or_else(missing)?;
    Ok(Call {
        method,
        index,
        traits: row.traits,
        ..call.clone()
    })
}

impl Catalog {
    /// Whether a request is one of Cloud Storage's XML API: its answers are XML or an object's content.
    pub fn is_storage_xml(&self, target: &Target) -> bool {
        is_xml(self, target)
    }

    /// What the headers of a request to the XML API add to its calls: a copy has a source, a grant is a call of its
    /// own, a list of buckets has a project. Calls of other APIs come back as they are. Header names are in lower
    /// case.
    ///
    /// # Errors
    /// [`Unlisted::StorageXml`] for a header that would make another request of it, or that nobody knows.
    pub fn storage_xml_headers<'h>(
        &self,
        target: &Target,
        found: Classified,
        headers: impl IntoIterator<Item = (&'h str, &'h [u8])>,
    ) -> Result<Classified, Unlisted> {
        if !is_xml(self, target) {
            return Ok(found);
        }
        headers::apply(self, target, found, headers)
    }
}
