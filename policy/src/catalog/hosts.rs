//! Hosts of Google APIs: which service a host is, by the shapes that Google documents.
//!
//! ```text
//! SERVICE.googleapis.com                  SERVICE.mtls.googleapis.com
//! content-SERVICE.googleapis.com          mirrors that mediaLinks point to
//! LOCATION-SERVICE.googleapis.com         SERVICE.LOCATION.rep.googleapis.com, ...rep.mtls.googleapis.com
//! batch-SERVICE.LOCATION.rep...           SERVICE-preprod.LOCATION.rep...
//! SERVICE-NAME.p.googleapis.com           Private Service Connect, NAME of the customer's own choice
//! ```
//!
//! `BUCKET.storage.googleapis.com` is a bucket in the XML API of Cloud Storage ([`bucket`]). A shape that is not here
//! is no host, even below `googleapis.com`: what is unknown may be another data plane.

/// What a host says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Host<'h> {
    /// The service, by the first part of its main host.
    pub(super) service: &'static str,
    /// The location, for regional hosts.
    pub(super) location: Option<&'h str>,
}

/// The bucket that a host in lower case names. A bucket's name may have dots, so the host may have many labels.
pub(super) fn bucket(host: &str) -> Option<&str> {
    host.strip_suffix(".storage.googleapis.com")
        .filter(|name| is_bucket(name))
}

/// Whether a bucket can have this name: 3 to 63 characters, or up to 222 with dots between parts of up to 63.
pub(super) fn is_bucket(name: &str) -> bool {
    name.len() >= 3 && is_like_bucket(name)
}

/// The same for names however short: whether a name has nothing in it that no bucket's has.
pub(super) fn is_like_bucket(name: &str) -> bool {
    let inside = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
    let part = |part: &str| (1..=63).contains(&part.len()) && part.bytes().all(inside);
    let edge = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    name.len() <= 222 && edge(name.bytes().next()) && edge(name.bytes().last()) && name.split('.').all(part)
}

/// Parses a host in lower case without port; `known` gives the service of a name.
pub(super) fn parse<'h>(host: &'h str, known: impl Fn(&str) -> Option<&'static str>) -> Option<Host<'h>> {
    let name = host.strip_suffix(".googleapis.com")?;
    let name = name.strip_suffix(".mtls").unwrap_or(name);
    let mut labels = name.split('.');
    let (first, second, third, end) = (labels.next()?, labels.next(), labels.next(), labels.next());
    if end.is_some() {
        return None;
    }
    match (second, third) {
        (None, None) => single(first, known),
        (Some("p"), None) => {
            let (service, endpoint) = first.rsplit_once('-')?;
            let named = endpoint
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
            let service = known(service)?;
            (named && !endpoint.is_empty()).then_some(Host {
                service,
                location: None,
            })
        }
        (Some(location), Some("rep")) if is_location(location) => {
            let service = known(first)
                .or_else(|| known(first.strip_prefix("batch-")?))
                .or_else(|| known(first.strip_suffix("-preprod")?))?;
            Some(Host {
                service,
                location: Some(location),
            })
        }
        _ => None,
    }
}

fn single(label: &str, known: impl Fn(&str) -> Option<&'static str>) -> Option<Host<'_>> {
    if let Some(service) = known(label) {
        return Some(Host {
            service,
            location: None,
        });
    }
    if let Some(service) = label.strip_prefix("content-").and_then(&known) {
        return Some(Host {
            service,
            location: None,
        });
    }
    label.match_indices('-').find_map(|(at, _)| {
        let (location, service) = (&label[..at], &label[at + 1..]);
        let service = is_location(location).then(|| known(service)).flatten()?;
        Some(Host {
            service,
            location: Some(location),
        })
    })
}

/// Whether a label is a region (`us-central1`) or a multi-region (`eu`).
fn is_location(label: &str) -> bool {
    if matches!(label, "us" | "eu" | "asia" | "in" | "ca" | "ch" | "sa" | "global") {
        return true;
    }
    let Some((area, place)) = label.split_once('-') else {
        return false;
    };
    let digits = place.bytes().rev().take_while(u8::is_ascii_digit).count();
    let letters = &place[..place.len() - digits];
    let lower = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_lowercase());
    (1..=2).contains(&digits) && lower(letters) && lower(area)
}
