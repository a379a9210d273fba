//! Tokens in headers: `Authorization: Bearer`, and `Proxy-Authorization` as Bearer or as the password of
//! Basic, which is how proxy URLs carry one. Schemes compare without case (bq writes `basic`).

use base64::{Engine, prelude::BASE64_STANDARD};
use http::{HeaderMap, HeaderName, header};

use super::token;

/// The bearer token of a request to an API.
pub fn authorization(headers: &HeaderMap) -> Option<String> {
    let value = single(headers, header::AUTHORIZATION)?;
    let (scheme, rest) = value.split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("bearer")
        .then(|| rest.trim().to_owned())
}

/// The token of a CONNECT request. A Basic password that is no JWT is a placeholder and counts as none.
pub fn proxy_authorization(headers: &HeaderMap) -> Option<String> {
    let value = single(headers, header::PROXY_AUTHORIZATION)?;
    let (scheme, rest) = value.split_once(' ')?;
    let rest = rest.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(rest.to_owned());
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = BASE64_STANDARD.decode(rest).ok()?;
    let text = String::from_utf8(decoded).ok()?;
    let (_, password) = text.split_once(':')?;
    token::looks_like_one(password).then(|| password.to_owned())
}

/// A header that may stand once only: of two, nobody could say which one counts.
fn single(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok(),
        _ => None,
    }
}
