//! The detectors of secrets: what they find, what they don't, and that it never depends on how a text is cut.

mod custom;
mod made;
mod negatives;
mod positives;
mod precision;
mod streaming;

use turnpike_policy::detect::Detectors;

/// A match, for comparing: kind, offset, line, and the value as text.
type Found = (String, u64, u64, String);

/// What these detectors find in a text.
fn found_by(detectors: &Detectors, text: &[u8]) -> Vec<Found> {
    let mut found = Vec::new();
    detectors.scan(text, &mut |hit| {
        let value = String::from_utf8_lossy(hit.value).into_owned();
        found.push((hit.kind.to_owned(), hit.offset, hit.line, value));
    });
    found
}

/// What the built-in detectors find in a text.
fn found(text: &str) -> Vec<Found> {
    found_by(Detectors::builtin(), text.as_bytes())
}

/// The kinds and values of that.
fn values(text: &str) -> Vec<(String, String)> {
    found(text)
        .into_iter()
        .map(|(kind, _, _, value)| (kind, value))
        .collect()
}
