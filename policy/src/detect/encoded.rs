//! Secrets inside base64 that stands in a text: keys in kubeconfigs and Secrets, service account keys as APIs give them.

use base64::{
    Engine, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use memchr::memmem;

use super::{
    jwt, pem,
    view::{Class, Hit, View},
};

/// Padding and the bits behind the end don't matter: what is cut off is read as far as it goes.
const LENIENT: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_padding_mode(DecodePaddingMode::Indifferent)
    .with_decode_allow_trailing_bits(true);
const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT);

/// Base64 of a private key, of a service account's JSON, or of a token.
pub(super) fn encoded(view: &View<'_>) -> Option<Hit> {
    if !view.begins(view.at, Class::BASE64) {
        return None;
    }
    let run = view.run(view.at, Class::BASE64, super::AFTER);
    let text = decode(view.slice(view.at..view.at + run))?;
    let inner = |at: usize| View { text: &text, at };
    let found = if text.starts_with(b"eyJ") {
        jwt::jwt(&inner(0))
    } else {
        let begin = memmem::find(&text, b"-----BEGIN ");
        begin.and_then(|at| pem::private_key(&inner(at)))
    };
    found.map(|hit| Hit {
        kind: hit.kind,
        value: view.at..view.at + run,
    })
}

/// Decodes base64, of the standard or of URLs; what a cut leaves at the end is left out.
pub(super) fn decode(text: &[u8]) -> Option<Vec<u8>> {
    let text = text.get(..text.len() - usize::from(text.len() % 4 == 1))?;
    STANDARD.decode(text).or_else(|_| URL_SAFE.decode(text)).ok()
}
