//! Secrets without a format of their own that stand near an id that has one: 40 characters of base64.

use super::{
    value::{entropy, is_placeholder},
    view::{Class, Hit, View},
};

/// How far from its id a secret may stand.
const NEAR: usize = 512;
/// Characters of the secret.
const LENGTH: usize = 40;

/// Cloud Storage: an access id, of a service account (61 characters) or a user (24), and its secret.
pub(super) fn hmac(view: &View<'_>) -> Option<Hit> {
    let length = id(view, Class::UPPER_DIGIT, 64)?;
    if !matches!(length, 24 | 61) {
        return None;
    }
    Some(Hit {
        kind: "google-hmac-secret",
        value: secret(view, length)?,
    })
}

/// AWS: an access key id of 20 characters, and its secret.
pub(super) fn aws(view: &View<'_>) -> Option<Hit> {
    let length = id(view, Class::UPPER_DIGIT, 32)?;
    if length != 20 {
        return None;
    }
    Some(Hit {
        kind: "aws-secret-key",
        value: secret(view, length)?,
    })
}

/// Whether an id of either stands near a value; the pair is reported by the id then.
pub(super) fn has_id(view: &View<'_>, value: usize) -> bool {
    let text = view.slice(value.saturating_sub(NEAR)..value + LENGTH + NEAR);
    text.windows(4).any(|w| matches!(w, b"AKIA" | b"ASIA" | b"GOOG"))
}

/// Whether 40 characters are such a secret, and no digest, path or name.
pub(super) fn is_secret(value: &[u8]) -> bool {
    let has = |class: Class| value.iter().any(|b| class.has(*b));
    value.len() == LENGTH
        && value.iter().all(|b| Class::BASE64.has(*b))
        && has(Class::UPPER)
        && has(Class::LOWER)
        && has(Class::DIGIT)
        && value.iter().filter(|b| **b == b'/').count() <= 5
        && !is_placeholder(value)
        && entropy(value) >= 4.2
}

/// The length of the id, where there is one.
fn id(view: &View<'_>, class: Class, most: usize) -> Option<usize> {
    let run = view.run(view.at, class, most);
    let id = view.slice(view.at..view.at + run);
    let ends = !view.byte(view.at + run).is_some_and(|b| Class::WORD.has(b));
    (ends && view.begins(view.at, Class::WORD) && !is_placeholder(id)).then_some(run)
}

/// The secret next to an id: the first behind it, or the last before it.
fn secret(view: &View<'_>, id: usize) -> Option<std::ops::Range<usize>> {
    let behind = view.at + id;
    let found = secrets(view, behind, view.text.len().min(behind + NEAR)).next();
    found.or_else(|| secrets(view, view.at.saturating_sub(NEAR), view.at).last())
}

fn secrets<'v>(
    view: &'v View<'_>,
    start: usize,
    end: usize,
) -> impl Iterator<Item = std::ops::Range<usize>> + 'v {
    let mut at = start;
    std::iter::from_fn(move || {
        while at < end {
            let mut first = at + view.slice(at..end).iter().position(|b| Class::BASE64.has(*b))?;
            let run = view.run(first, Class::BASE64, NEAR);
            at = first + run;
            // The letter of an escape is none of the value's.
            if view.before(first) == Some(b'\\') {
                first += 1;
            }
            if is_secret(view.slice(first..at)) {
                return Some(first..at);
            }
        }
        None
    })
}
