//! JSON Web Tokens (RFC 7519) with a signature, and among them those of Kubernetes service accounts.

use memchr::memmem;

use super::{
    encoded::decode,
    pem,
    value::is_random,
    view::{Class, Hit, View},
};

/// The longest header that is read; real ones have some hundred characters.
const LONGEST_HEADER: usize = 1024;

/// A token from the `eyJ` of its header on (`{"` in base64).
pub(super) fn jwt(view: &View<'_>) -> Option<Hit> {
    if !view.begins(view.at, Class::URL_SAFE) {
        return None;
    }
    let header_run = view.run(view.at, Class::URL_SAFE, LONGEST_HEADER);
    let payload_at = view.at + header_run;
    if view.byte(payload_at) != Some(b'.') {
        return service_account(view);
    }
    let payload_at = payload_at + 1;
    // Every object in base64 begins so, with white space or without.
    if !matches!(view.slice(payload_at..payload_at + 2), b"ey" | b"ew") {
        return None;
    }
    let header = decode(view.slice(view.at..payload_at - 1))?;
    if !header.ends_with(b"}") || !has(&header, b"\"alg\"") {
        return None;
    }
    let payload_run = view.run(payload_at, Class::URL_SAFE, super::AFTER);
    let payload_end = payload_at + payload_run;
    let payload = decode(view.slice(payload_at..payload_end))?;
    let end = match view.byte(payload_end) {
        // It goes on beyond what is looked at.
        None if payload_run >= super::AFTER / 2 => payload_end,
        Some(b'.') => {
            let signature = view.run(payload_end + 1, Class::URL_SAFE, 1024);
            let end = payload_end + 1 + signature;
            if signature < 20 || !is_random(view.slice(payload_end + 1..end)) {
                return None;
            }
            end
        }
        _ => return None,
    };
    let well_known = has(&payload, b"\"John Doe\"") || has(&payload, b"1234567890");
    (!well_known).then_some(Hit {
        kind: if is_kubernetes(&payload) {
            "kubernetes-token"
        } else {
            "jwt"
        },
        value: view.at..end,
    })
}

/// Base64 of JSON without white space, such as a service account key.
fn service_account(view: &View<'_>) -> Option<Hit> {
    if view.slice(view.at..view.at + 16) != b"eyJ0eXBlIjoic2Vy" {
        return None;
    }
    let run = view.run(view.at, Class::BASE64, super::AFTER);
    let text = decode(view.slice(view.at..view.at + run))?;
    let at = memmem::find(&text, b"-----BEGIN ")?;
    let hit = pem::private_key(&View { text: &text, at })?;
    Some(Hit {
        kind: hit.kind,
        value: view.at..view.at + run,
    })
}

fn is_kubernetes(payload: &[u8]) -> bool {
    has(payload, b"\"kubernetes.io")
        || has(payload, b"kubernetes/serviceaccount")
        || has(payload, b"\"system:serviceaccount:")
}

fn has(text: &[u8], what: &[u8]) -> bool {
    memmem::find(text, what).is_some()
}
