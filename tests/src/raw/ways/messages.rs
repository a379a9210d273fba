//! Messages of gRPC that name a forbidden resource for some decoders: fields that stand twice, later messages of
//! streams, routing headers, and names that are written in another way.

use std::io::Write as _;

use flate2::{Compression, write::GzEncoder};

use super::{
    super::{
        Attempt, How,
        case::resources::{ALLOWED, FORBIDDEN, ResourceCase},
    },
    Speaker, request, streams,
};

const GRPC: (&str, &str) = ("content-type", "application/grpc");
const TE: (&str, &str) = ("te", "trailers");
const ROUTING: &str = "x-goog-request-params";

/// A message in a frame of gRPC.
pub(super) fn framed(flag: u8, message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes();
    [&[flag], &length[..], message].concat()
}

/// A field with text or a message.
pub(super) fn field(number: usize, value: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for mut value in [(number << 3) | 2, value.len()] {
        while value >= 128 {
            bytes.push(value as u8 | 0x80);
            value >>= 7;
        }
        bytes.push(value as u8);
    }
    bytes.extend_from_slice(value);
    bytes
}

pub(super) fn text(number: usize, value: &str) -> Vec<u8> {
    field(number, value.as_bytes())
}

pub(super) fn stream(
    way: &'static str,
    host: &str,
    path: &str,
    more: &[(&str, &str)],
    body: Vec<u8>,
    speaker: Speaker<'_>,
) -> Attempt {
    let mut fields = speaker.fields("POST", path, host);
    fields.extend(
        [GRPC, TE]
            .iter()
            .chain(more)
            .map(|(n, v)| ((*n).to_owned(), (*v).to_owned())),
    );
    Attempt {
        way,
        how: How::Stream {
            host: host.to_owned(),
            fields,
            body: Some(body),
            trailers: Vec::new(),
        },
    }
}

pub(super) fn ways(given: &ResourceCase, speaker: Speaker<'_>) -> Vec<Attempt> {
    let mut found = match given.case.id {
        "storage.objects.get" => streams::ways(speaker),
        _ => Vec::new(),
    };
    let (Some(rpc), Some(open)) = (&given.case.rpc, &given.open_message) else {
        return found;
    };
    let case = &given.case;
    let (host, vault) = (case.host.as_str(), &rpc.message);
    let mut add = |way, more: &[(&str, &str)], body: Vec<u8>| {
        found.push(stream(way, host, &rpc.path, more, body, speaker));
    };
    let encoded = given.name.replace('/', "%2F");
    let open_encoded = given.open_name.replace('/', "%2F");
    add("a forbidden name by gRPC", &[], framed(0, vault));
    for (way, value) in [
        (
            "a routing header of the allowed name",
            format!("name={open_encoded}"),
        ),
        (
            "a routing header of another field",
            format!("parent={open_encoded}&name={open_encoded}"),
        ),
    ] {
        add(way, &[(ROUTING, &value)], framed(0, vault));
    }
    for (way, value) in [
        (
            "a routing header of the forbidden name",
            format!("name={encoded}"),
        ),
        (
            "a routing header that is not encoded",
            format!("name={}", given.name),
        ),
        (
            "a routing header with both names",
            format!("name={open_encoded}&name={encoded}"),
        ),
        (
            "a routing header of an unknown field",
            format!("resource={encoded}"),
        ),
    ] {
        add(way, &[(ROUTING, &value)], framed(0, open));
    }
    add(
        "the forbidden name behind the allowed one",
        &[],
        framed(0, &[&open[..], vault].concat()),
    );
    add(
        "the forbidden name before the allowed one",
        &[],
        framed(0, &[&vault[..], open].concat()),
    );
    add(
        "the forbidden name in a second message",
        &[],
        [framed(0, open), framed(0, vault)].concat(),
    );
    add(
        "the forbidden name in a first message",
        &[],
        [framed(0, vault), framed(0, open)].concat(),
    );
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    // Into memory, nothing can fail.
    packed.write_all(vault).ok();
    let packed = packed.finish().unwrap_or_default();
    add(
        "the forbidden name, packed",
        &[("grpc-encoding", "gzip")],
        framed(1, &packed),
    );
    add(
        "the forbidden name, packed, behind the allowed one",
        &[("grpc-encoding", "gzip")],
        [framed(0, open), framed(1, &packed)].concat(),
    );
    let mut long = vec![0x8a, 0x00];
    long.extend_from_slice(&vault[1..]);
    add(
        "the forbidden name behind a long tag",
        &[],
        framed(0, &[&open[..], &long].concat()),
    );
    let mut length = vec![0x0a, (vault.len() as u8 - 2) | 0x80, 0];
    length.extend_from_slice(&vault[2..]);
    add(
        "the forbidden name with a long length",
        &[],
        framed(0, &[&open[..], &length].concat()),
    );
    add(
        "the forbidden name in a group",
        &[],
        framed(0, &[&open[..], &[0x0b], vault, &[0x0c]].concat()),
    );
    let bare = |name: &str, from: &str, to: &str| text(1, &name.replacen(from, to, 1));
    for (way, message) in [
        ("any name by gRPC", bare(&given.open_name, ALLOWED, "-")),
        (
            "a step to the forbidden name by gRPC",
            bare(&given.open_name, ALLOWED, "open-1/../vault-1"),
        ),
        (
            "an encoded step to the forbidden name by gRPC",
            bare(&given.open_name, ALLOWED, "open-1%2F..%2Fvault-1"),
        ),
        (
            "a question mark behind the forbidden name by gRPC",
            bare(&given.name, FORBIDDEN, "vault-1?x=y"),
        ),
        (
            "a fragment behind the forbidden name by gRPC",
            bare(&given.name, FORBIDDEN, "vault-1#x"),
        ),
        (
            "NUL behind the forbidden name by gRPC",
            bare(&given.name, FORBIDDEN, "vault-1\0"),
        ),
        (
            "a space behind the forbidden name by gRPC",
            bare(&given.name, FORBIDDEN, "vault-1 "),
        ),
        (
            "the forbidden name encoded by gRPC",
            bare(&given.name, FORBIDDEN, "%76ault-1"),
        ),
        (
            "a slash before the forbidden name by gRPC",
            text(1, &format!("/{}", given.name)),
        ),
        (
            "a full resource name by gRPC",
            text(1, &format!("//{host}/{}", given.name)),
        ),
    ] {
        add(way, &[], framed(0, &message));
    }
    for (way, kind) in [
        ("$rpc for a forbidden name", "application/x-protobuf"),
        ("$rpc in JSON for a forbidden name", "application/json"),
    ] {
        let body = match kind {
            "application/json" => format!(r#"{{"name":"{}"}}"#, given.name),
            _ => String::from_utf8_lossy(vault).into_owned(),
        };
        let head = format!("Content-Type: {kind}\r\n");
        let target = format!("/$rpc{}", rpc.path);
        found.push(request(
            way,
            case,
            speaker.request("POST", &target, host, &head, &body),
        ));
        let both = String::from_utf8_lossy(&[&open[..], vault].concat()).into_owned();
        found.push(request(
            "$rpc with both names",
            case,
            speaker.request("POST", &target, host, &head, &both),
        ));
    }
    found
}
