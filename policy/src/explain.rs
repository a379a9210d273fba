//! What Turnpike takes a request for, as JSON lines: `VERB URL` in, one object out.
//!
//! It says what a request *is*, not whether a policy allows it. The JSON is written by hand because tools
//! feed it whole access logs; any bytes make valid JSON.

use std::fmt::Write as _;

use crate::{
    call::{Call, Resource},
    canonical::Target,
    catalog::Catalog,
};

/// Explains one line, `VERB URL`, and appends a JSON object and a line feed to `out`.
///
/// ```json
/// {"verb":"GET","url":"https://...","method":"storage.objects.get","api":"storage","version":"v1",
///  "resource":{"name":"projects/_/buckets/b/objects/o","project":null,"location":null,"type":"objects","id":"o"},
///  "traits":["read"]}
/// ```
///
/// A second resource (a copy's source) follows as `"source"`, and other methods that Google might take the
/// request for as `"also":[ids]`; both are left out where there are none. What cannot be placed has
/// `"method":null`, a `"reason"` (a stable code) and a `"message"` (what to do).
pub fn explain_line(catalog: &Catalog, line: &[u8], out: &mut Vec<u8>) {
    let text = String::from_utf8_lossy(line);
    let mut words = text.split_ascii_whitespace();
    let verb = words.next().unwrap_or("");
    let url = words.next().unwrap_or("");
    out.extend_from_slice(b"{\"verb\":");
    string(out, verb);
    out.extend_from_slice(b",\"url\":");
    string(out, url);
    if url.is_empty() || words.next().is_some() {
        refusal(
            out,
            "LINE_MALFORMED",
            "write one verb and one URL on a line, such as: GET https://...",
        );
        return;
    }
    let target = match Target::from_url(verb, url) {
        Ok(target) => target,
        Err(e) => return refusal(out, e.reason(), &e.to_string()),
    };
    match catalog.classify(&target) {
        Ok(classified) => placed(out, &classified.call, &classified.also),
        Err(e) => refusal(out, e.reason(), &e.to_string()),
    }
}

fn placed(out: &mut Vec<u8>, call: &Call, also: &[Call]) {
    for (key, value) in [
        ("method", call.method),
        ("api", call.api),
        ("version", call.version),
    ] {
        out.extend_from_slice(b",\"");
        out.extend_from_slice(key.as_bytes());
        out.extend_from_slice(b"\":");
        string(out, value);
    }
    out.extend_from_slice(b",\"resource\":");
    resource(out, call.resources.first());
    if let Some(source) = call.resources.get(1) {
        out.extend_from_slice(b",\"source\":");
        resource(out, Some(source));
    }
    out.extend_from_slice(b",\"traits\":");
    list(out, call.traits.names());
    if !also.is_empty() {
        out.extend_from_slice(b",\"also\":");
        list(out, also.iter().map(|c| c.method));
    }
    out.extend_from_slice(b"}\n");
}

fn resource(out: &mut Vec<u8>, resource: Option<&Resource>) {
    let fields = [
        ("name", resource.map(|r| r.name.as_str())),
        ("project", resource.and_then(|r| r.project.as_deref())),
        ("location", resource.and_then(|r| r.location.as_deref())),
        ("type", resource.map(|r| r.kind).filter(|kind| !kind.is_empty())),
        ("id", resource.and_then(|r| r.id.as_deref())),
    ];
    for (i, (key, value)) in fields.into_iter().enumerate() {
        out.push(if i == 0 { b'{' } else { b',' });
        string(out, key);
        out.push(b':');
        match value {
            Some(value) => string(out, value),
            None => out.extend_from_slice(b"null"),
        }
    }
    out.push(b'}');
}

fn refusal(out: &mut Vec<u8>, reason: &str, message: &str) {
    out.extend_from_slice(b",\"method\":null,\"reason\":");
    string(out, reason);
    out.extend_from_slice(b",\"message\":");
    string(out, message);
    out.extend_from_slice(b"}\n");
}

fn list<'a>(out: &mut Vec<u8>, items: impl Iterator<Item = &'a str>) {
    out.push(b'[');
    for (i, item) in items.enumerate() {
        if i > 0 {
            out.push(b',');
        }
        string(out, item);
    }
    out.push(b']');
}

/// Writes a JSON string (RFC 8259, section 7).
fn string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let mut clean = 0;
    for (at, byte) in text.bytes().enumerate() {
        if byte >= 0x20 && byte != b'"' && byte != b'\\' {
            continue;
        }
        out.extend_from_slice(&text.as_bytes()[clean..at]);
        clean = at + 1;
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            _ => {
                let mut escape = String::with_capacity(6);
                // Writing to a String cannot fail.
                if write!(escape, "\\u{byte:04x}").is_ok() {
                    out.extend_from_slice(escape.as_bytes());
                }
            }
        }
    }
    out.extend_from_slice(&text.as_bytes()[clean..]);
    out.push(b'"');
}
