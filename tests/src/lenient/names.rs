//! What else than its path a request names, for a server that believes everything: parameters, routing headers,
//! sources of copies, and the strings in its body. A body is taken for JSON, XML, a form and messages of gRPC alike.

use std::{collections::BTreeSet, io::Read as _};

use percent_encoding::percent_decode_str;

use super::Message;

/// A name with what it stands behind: the segment before it, or its field.
pub type Name = (String, String);

/// Parameters and fields that name what a call acts on, in lower case and without underscores.
const FIELDS: &[&str] = &[
    "bucket",
    "database",
    "databaseid",
    "dataset",
    "datasetid",
    "destination",
    "destinationbucket",
    "destinationobject",
    "instance",
    "instanceid",
    "key",
    "keyring",
    "keyringid",
    "name",
    "object",
    "parent",
    "project",
    "projectid",
    "resource",
    "resourcename",
    "secret",
    "secretid",
    "service",
    "serviceid",
    "session",
    "source",
    "sourcebucket",
    "sourceobject",
    "subscription",
    "subscriptionid",
    "table",
    "tableid",
    "topic",
    "topicid",
];
/// Headers whose value is such a name.
const HEADERS: &[&str] = &[
    "x-goog-copy-source",
    "x-amz-copy-source",
    "x-goog-metadata-copy-source",
];
/// Header that holds names as a query does.
const ROUTING: &str = "x-goog-request-params";
/// How deep messages in messages are looked into.
const DEPTH: usize = 8;

/// All names that stand anywhere but in the path of a message.
pub(super) fn said_besides(message: &Message) -> BTreeSet<Name> {
    let mut found = BTreeSet::new();
    let query = message.target.split_once('?').map_or("", |(_, query)| query);
    pairs(query, &mut found);
    message.values(ROUTING).for_each(|value| pairs(value, &mut found));
    for header in HEADERS {
        message
            .values(header)
            .for_each(|value| path("bucket", value.trim_start_matches('/'), &mut found));
    }
    let text = String::from_utf8_lossy(&message.body);
    pairs(&text, &mut found);
    fields(&text, &mut found);
    elements(&text, &mut found);
    let path = message.target.to_ascii_lowercase();
    let binary = message.values("content-type").any(|kind| {
        let kind = kind.to_ascii_lowercase();
        kind.contains("grpc") || kind.contains("protobuf")
    });
    if binary || path.contains("rpc") || path.starts_with("/google.") {
        for protobuf in messages(&message.body) {
            strings(&protobuf, DEPTH, &mut found);
        }
    }
    found
}

/// Whether a name may be taken for `wanted`: decoded again, before what some cut off, behind steps, and in any case
/// where names are all in lower case. A wildcard stands for all names of its collection. The name of an object is what
/// it is, as Google documents it.
#[must_use]
pub fn may_mean((kind, name): &Name, wanted: &str) -> bool {
    if matches!(kind.as_str(), "o" | "object" | "objects") {
        return percent_decode_str(name).decode_utf8_lossy() == wanted;
    }
    let mut text = name.clone();
    for _ in 0..4 {
        let stepped = text.split(['/', '\\']).any(|step| step == "..");
        let mut pieces: Vec<&str> = vec![&text];
        if stepped {
            pieces.extend(text.split(['/', '\\']));
        }
        for piece in pieces {
            let cut = |c: char| ";?#@".contains(c) || c.is_control();
            let piece = piece.trim().split(cut).next().unwrap_or(piece).trim();
            if piece == wanted || (is_lower_case(kind) && piece.eq_ignore_ascii_case(wanted)) {
                return true;
            }
            if matches!(piece, "-" | "*" | "**") && !is_scope(kind) {
                return true;
            }
        }
        text = percent_decode_str(&text).decode_utf8_lossy().into_owned();
    }
    false
}

/// Collections whose members have no capital letters in their names.
fn is_lower_case(kind: &str) -> bool {
    matches!(
        kind,
        "projects" | "project" | "projectid" | "b" | "bucket" | "buckets"
    )
}

/// Collections in which a wildcard only says where to look.
fn is_scope(kind: &str) -> bool {
    matches!(
        kind,
        "" | "projects" | "locations" | "regions" | "zones" | "organizations" | "folders"
    )
}

fn is_field(name: &str) -> bool {
    let plain: String = name
        .chars()
        .filter(|c| !matches!(c, '_' | '$'))
        .map(|c| c.to_ascii_lowercase())
        .collect();
    let last = plain.rsplit('.').next().unwrap_or(&plain);
    FIELDS.contains(&last)
}

/// The segments of what a field holds, each behind the one before it, and the first behind the field.
fn path(field: &str, text: &str, found: &mut BTreeSet<Name>) {
    let text = percent_decode_str(text).decode_utf8_lossy();
    let mut before = field;
    for segment in text.split(['/', '\\']) {
        found.insert((before.to_ascii_lowercase(), segment.to_owned()));
        before = segment;
    }
}

/// Fields of a query or a form.
fn pairs(text: &str, found: &mut BTreeSet<Name>) {
    for pair in text.split(['&', ';', '?', '\r', '\n']) {
        if let Some((name, value)) = pair.split_once('=') {
            let name = percent_decode_str(name).decode_utf8_lossy();
            if is_field(&name) {
                path(&name, value, found);
            }
        }
    }
}

/// Fields of JSON, and what stands in lists of them, however often one stands there.
fn fields(text: &str, found: &mut BTreeSet<Name>) {
    let mut naming = None;
    let mut rest = text;
    while let Some(at) = rest.find('"') {
        let Some((string, behind)) = quoted(&rest[at + 1..]) else {
            return;
        };
        if behind.trim_start().starts_with(':') {
            naming = is_field(&string).then_some(string);
        } else if let Some(name) = &naming {
            path(name, &string, found);
        }
        rest = behind;
    }
    // Parts of forms say their names in a header: `name="bucket"`.
    for part in text.split("name=\"").skip(1) {
        if let Some((name, value)) = part.split_once("\"\r\n\r\n")
            && is_field(name)
        {
            path(name, value.split("\r\n").next().unwrap_or(value), found);
        }
    }
}

/// A string up to its quotation mark, without escapes, and what follows.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut string = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((string, &text[at + 1..])),
            '\\' => match chars.next()?.1 {
                'u' => {
                    let digits: String = chars.by_ref().take(4).map(|(_, c)| c).collect();
                    let code = u32::from_str_radix(&digits, 16).ok();
                    string.extend(code.and_then(char::from_u32));
                }
                other => string.push(other),
            },
            other => string.push(other),
        }
    }
    None
}

/// Elements of XML that hold nothing but text.
fn elements(text: &str, found: &mut BTreeSet<Name>) {
    for element in text.split('<').skip(1) {
        if let Some((name, value)) = element.split_once('>')
            && is_field(name)
        {
            path(name, value, found);
        }
    }
}

/// What could be a message of protocol buffers: the body itself, and what stands in frames of gRPC.
fn messages(body: &[u8]) -> Vec<Vec<u8>> {
    let mut found = vec![body.to_vec()];
    let mut rest = body;
    while let Some(([flag, length @ ..], behind)) = rest.split_first_chunk::<5>() {
        let length = u32::from_be_bytes(*length) as usize;
        let Some((message, behind)) = behind.split_at_checked(length) else {
            break;
        };
        if flag & 1 == 1 {
            let mut plain = Vec::new();
            // What is no gzip is a message for who minds no flag.
            if flate2::read::GzDecoder::new(message)
                .read_to_end(&mut plain)
                .is_ok()
            {
                found.push(plain);
            }
        }
        found.push(message.to_vec());
        rest = behind;
    }
    found
}

/// Every string of a message, at any depth.
fn strings(bytes: &[u8], depth: usize, found: &mut BTreeSet<Name>) {
    let mut rest = bytes;
    while let Some((tag, behind)) = varint(rest) {
        let taken = match tag & 7 {
            0 => varint(behind).map(|(_, behind)| (&[][..], behind)),
            1 => behind.split_at_checked(8).map(|(_, behind)| (&[][..], behind)),
            5 => behind.split_at_checked(4).map(|(_, behind)| (&[][..], behind)),
            // The ends of groups hold nothing themselves.
            3 | 4 => Some((&[][..], behind)),
            2 => varint(behind).and_then(|(length, behind)| {
                let length = usize::try_from(length).ok()?;
                behind.split_at_checked(length)
            }),
            _ => None,
        };
        let Some((value, behind)) = taken else { return };
        if let Ok(text) = std::str::from_utf8(value)
            && !text.is_empty()
        {
            path("string", text, found);
        }
        if depth > 0 && !value.is_empty() {
            strings(value, depth - 1, found);
        }
        rest = behind;
    }
}

fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0u64;
    for (at, byte) in bytes.iter().enumerate().take(10) {
        value |= u64::from(byte & 0x7f).checked_shl(7 * u32::try_from(at).ok()?)?;
        if byte & 0x80 == 0 {
            return Some((value, &bytes[at + 1..]));
        }
    }
    None
}
