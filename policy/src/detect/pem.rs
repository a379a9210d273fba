//! Private keys in PEM form, as files, and as strings of JSON and of sources; service account keys around them.

use super::{
    value::{entropy, is_placeholder},
    view::{Class, Hit, View},
};

/// The kind of a key that stands alone.
pub(super) const PRIVATE_KEY: &str = "private-key";
/// The kind of a key in the JSON that Google gives out.
pub(super) const SERVICE_ACCOUNT_KEY: &str = "google-service-account-key";

const BEGIN: &str = "-----BEGIN ";
/// The shortest key: 32 bytes of Ed25519 in PKCS#8 make 64 characters.
const SHORTEST: usize = 56;
/// What of a key is read: enough to tell it from all others.
const READ: usize = 2560;

/// A private key from its `-----BEGIN ` on: RSA, EC, DSA, PKCS#8, encrypted or not, OpenSSH, PGP.
pub(super) fn private_key(view: &View<'_>) -> Option<Hit> {
    let label_at = view.at + BEGIN.len();
    let label = view.slice(label_at..label_at + 48);
    let label = label.get(..label.windows(5).position(|w| w == b"-----")?)?;
    let is_label = label.iter().all(|b| Class::UPPER_DIGIT.with(b' ').has(*b));
    if !is_label || !(label.ends_with(b"PRIVATE KEY") || label == b"PGP PRIVATE KEY BLOCK") {
        return None;
    }
    let end = body(view, label_at + label.len() + 5)?;
    Some(Hit {
        kind: if is_service_account(view) {
            SERVICE_ACCOUNT_KEY
        } else {
            PRIVATE_KEY
        },
        value: view.at..end,
    })
}

/// Where the base64 behind the first line ends. `None` where there is too little of it.
fn body(view: &View<'_>, start: usize) -> Option<usize> {
    let mut letters = Vec::with_capacity(SHORTEST);
    let mut at = headers(view, start);
    let most = view.at.saturating_add(READ);
    let mut end = at;
    while at < most {
        let skipped = separator(view, at);
        if skipped > 0 {
            at += skipped;
            continue;
        }
        match view.byte(at) {
            Some(byte) if Class::BASE64.with(b'=').has(byte) => letters.push(byte),
            _ => break,
        }
        at += 1;
        end = at;
    }
    let real = letters.len() >= SHORTEST && entropy(&letters) >= 3.5 && !is_placeholder(&letters);
    real.then_some(end)
}

/// Skips the header lines that some keys have (`Proc-Type: 4,ENCRYPTED`, `Version: ...`).
fn headers(view: &View<'_>, start: usize) -> usize {
    let mut at = start;
    for _ in 0..6 {
        while separator(view, at) > 0 {
            at += separator(view, at);
        }
        let name = view.run(at, Class::ALNUM_DASH, 32);
        if name == 0 || view.slice(at + name..at + name + 2) != b": " {
            return at;
        }
        // Up to the end of the line, which may be written as an escape.
        let rest = view.slice(at..at + 200);
        let Some(line) = rest.iter().position(|b| matches!(b, b'\n' | b'\r' | b'\\')) else {
            return at;
        };
        at += line;
    }
    at
}

/// How many bytes here separate the lines of a key: white space, escapes of it, and what joins strings in a source.
fn separator(view: &View<'_>, at: usize) -> usize {
    match view.slice(at..at + 6) {
        [b'\\', b'\\', b'n' | b'r' | b't', ..] => 3,
        [b'\\', b'n' | b'r' | b't' | b'\\' | b'\n' | b'\r', ..] => 2,
        [b'\\', b'u', b'0', b'0', b'0', b'a' | b'A' | b'd' | b'D'] => 6,
        [b'%', b'0', b'A' | b'a' | b'D' | b'd', ..] => 3,
        [b' ' | b'\n' | b'\r' | b'\t' | b'"' | b'\'' | b',' | b'|', ..] => 1,
        _ => 0,
    }
}

/// Whether the key is the `private_key` of a service account's JSON, as is or inside another string.
fn is_service_account(view: &View<'_>) -> bool {
    let before = view.slice(view.at.saturating_sub(48)..view.at);
    let name = before
        .iter()
        .rposition(|b| !matches!(b, b'"' | b'\\' | b':' | b' ' | b'\n' | b'\t'))
        .and_then(|last| before.get(..=last));
    let named = name.is_some_and(|name| name.ends_with(b"private_key"));
    named
        && ["service_account", "client_email", "private_key_id"]
            .iter()
            .any(|word| view.text.windows(word.len()).any(|w| w == word.as_bytes()))
}
