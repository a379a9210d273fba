//! What a lax server would make of a URL: a model of all the liberties that servers, proxies and libraries are known
//! to take. It decodes up to twice, overlong forms included, collapses slashes, takes
//! backslashes for slashes, resolves dot steps wherever they hide, cuts path parameters, fragments and what follows a
//! NUL, ignores ports, user names and case of what is not data, and takes the first or the last of a parameter.
//!
//! It is no more than that: an encoded `;`, `?`, `#` or an empty step between encoded slashes stays data, because
//! names hold them (`en.usa%23holiday@group.v.calendar.google.com`, `https%3A%2F%2Fexample.com%2F`). So do spaces and
//! full-width letters, whose names are others than those without. Names of objects of Cloud Storage are opaque.

use percent_encoding::percent_decode;

use crate::plain::{Plain, Url};

/// Whether some lax server takes `url` for the plain URL of the method.
pub(crate) fn means(url: &Url, plain: &Plain<'_>) -> bool {
    host(&url.authority) == plain.url.authority
        && verbs(url).any(|verb| verb == plain.method.verb)
        && (0..=2).any(|times| {
            same_path(
                path(&url.target, plain, times),
                path(&plain.path, plain, times),
                plain,
            ) && same_query(&url.target, plain, times)
        })
}

/// Without user name, port and trailing dots, in lower case.
fn host(authority: &str) -> String {
    let host = authority.rsplit('@').next().unwrap_or(authority);
    let host = host.split([':', '/', '#', '\\', '\0']).next().unwrap_or(host);
    host.trim_end_matches('.').to_ascii_lowercase()
}

/// The verb, as it would be served: HEAD as GET, and what `$httpMethod` says.
fn verbs(url: &Url) -> impl Iterator<Item = String> {
    let own = match url.verb.to_ascii_uppercase().as_str() {
        "HEAD" => "GET".to_owned(),
        verb => verb.to_owned(),
    };
    let overrides = parameters(&url.target, 1).filter(|(name, _)| name == "httpmethod");
    std::iter::once(own).chain(overrides.map(|(_, value)| value.to_ascii_uppercase()))
}

fn path(target: &str, plain: &Plain<'_>, times: u8) -> Vec<String> {
    let path = target
        .split(['?', '#'])
        .next()
        .unwrap_or(target)
        .replace('\\', "/");
    let path = match path.strip_prefix("https://") {
        Some(absolute) => &absolute[absolute.find('/').unwrap_or(absolute.len())..],
        None => &path,
    };
    let mut steps: Vec<String> = Vec::new();
    let mut opaque = false;
    for raw in path.split('/') {
        let raw = raw.split(';').next().unwrap_or(raw);
        if raw.is_empty() {
            continue;
        }
        let decoded = decode(raw, times);
        if opaque {
            steps.push(decoded);
        } else {
            for step in decoded.split(['/', '\\']) {
                let step = step.split('\0').next().unwrap_or(step);
                match step.split(';').next().unwrap_or(step) {
                    "." => {}
                    ".." => drop(steps.pop()),
                    _ => steps.push(step.to_owned()),
                }
            }
        }
        opaque = plain.method.service == "storage" && ["o", "folders", "managedFolders"].contains(&raw);
    }
    steps
}

/// Case is ignored in literals; `-` stands for any name but that of an object.
fn same_path(read: Vec<String>, plain_path: Vec<String>, plain: &Plain<'_>) -> bool {
    let same_part = |a: &str, b: &str| {
        a == b
            || (plain.literals.contains(b) && a.eq_ignore_ascii_case(b))
            || (a == "-" && !plain.literals.contains(b) && !b.contains(['/', '%']))
    };
    read.len() == plain_path.len()
        && read
            .iter()
            .zip(&plain_path)
            .all(|(a, b)| match (a.rsplit_once(':'), b.rsplit_once(':')) {
                (Some((a, av)), Some((b, bv))) => same_part(a, b) && same_part(av, bv),
                (None, None) => same_part(a, b),
                _ => false,
            })
}

/// Whether the first or the last of each naming parameter is the plain one; others say nothing.
fn same_query(target: &str, plain: &Plain<'_>, times: u8) -> bool {
    let given: Vec<_> = parameters(target, times).collect();
    plain.naming.iter().all(|(name, value)| {
        let mut values = given
            .iter()
            .filter(|(n, _)| *n == loose_name(name))
            .map(|(_, v)| v);
        let first = values.next();
        first.is_some_and(|v| v == value) || values.next_back().is_some_and(|v| v == value)
    })
}

/// Parameters, decoded, their names in lower case without `$` and `_`.
fn parameters(target: &str, times: u8) -> impl Iterator<Item = (String, String)> {
    let query = target.split_once('?').map_or("", |(_, query)| query);
    let query = query.split('#').next().unwrap_or(query);
    query.split(['&', ';', '?']).map(move |pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (loose_name(&decode(name, times)), decode(value, times))
    })
}

fn loose_name(name: &str) -> String {
    name.replace(['$', '_'], "").to_ascii_lowercase()
}

/// Decodes, also what is no valid text: overlong forms.
fn decode(text: &str, times: u8) -> String {
    let mut text = text.to_owned();
    for _ in 0..times {
        if !text.contains('%') && text.is_ascii() {
            break;
        }
        let bytes: Vec<u8> = percent_decode(text.as_bytes()).collect();
        let mut plain = Vec::with_capacity(bytes.len());
        let mut rest = bytes.as_slice();
        loop {
            rest = match rest {
                [] => break,
                [first @ 0xc0..=0xc1, second, rest @ ..] => {
                    plain.push((first & 1) << 6 | second & 0x3f);
                    rest
                }
                [byte, rest @ ..] => {
                    plain.push(*byte);
                    rest
                }
            };
        }
        text = String::from_utf8_lossy(&plain).into_owned();
    }
    text
}
