//! The search of contents: it ends, within small limits, and finds the same in a content that comes in two parts.
//!
//! Input: what the content is, where it is cut, and the content, in which `@@` stands for a token.
#![no_main]

use std::{collections::BTreeSet, io::Cursor, sync::OnceLock};

use libfuzzer_sys::fuzz_target;
use turnpike_policy::detect::Detectors;
use turnpike_proxy::{
    budget::Budget,
    kept::Spills,
    scan::{Finding, Findings, HashKey, Limits, Scanning, Subject, carry::Chunk, passing::Passing},
};

/// What a content may be said to be: its type, its coding, and whether it is somebody's data.
const KINDS: [(&str, Option<&str>, bool); 10] = [
    ("application/octet-stream", None, true),
    ("application/octet-stream", Some("gzip"), true),
    ("application/octet-stream", Some("gzip, zstd"), true),
    ("application/json", None, false),
    ("application/x-www-form-urlencoded", None, false),
    ("application/xml", None, false),
    ("multipart/related; boundary=b", None, false),
    ("multipart/mixed; boundary=b", None, false),
    ("application/grpc", None, false),
    ("application/x-protobuf", None, false),
];

const LIMITS: Limits = Limits {
    depth: 3,
    members: 64,
    expanded: 1 << 20,
    ratio: 200,
    free: 1 << 16,
    whole: 1 << 16,
};

fuzz_target!(|data: &[u8]| {
    let [kind, cut, content @ ..] = data else { return };
    let (content_type, coding, media) = KINDS[usize::from(*kind) % KINDS.len()];
    let subject = Subject {
        content_type: Some(content_type.to_owned()),
        content_encoding: coding.map(str::to_owned),
        method: "storage.objects.insert".to_owned(),
        name: media.then(|| "o".to_owned()),
        media,
    };
    let content = with_token(content);
    let scanning = Scanning {
        limits: LIMITS,
        ..Scanning::new(
            Detectors::builtin().clone(),
            HashKey::derive(b"a key of the fuzzer"),
        )
    };
    let whole = scanning.scan_now(&subject, &mut Cursor::new(&content));
    let cut = content.len() * usize::from(*cut) / 256;
    let (first, second) = content.split_at(cut);
    let mut passing = Passing::new(scanning.clone(), subject.clone(), spills());
    passing.push(first);
    passing.push(second);
    same(&whole, &passing.finish().0, "while it passed");
    if media && cut > 0 {
        same(
            &whole,
            &in_two(&scanning, &subject, first, second),
            "in two parts",
        );
    }
});

fn in_two(scanning: &Scanning, subject: &Subject, first: &[u8], second: &[u8]) -> Findings {
    let part = |content, start, last, carry| {
        let chunk = Chunk { start, last };
        scanning.chunk_now(subject, &mut Cursor::new(content), chunk, carry, &spills())
    };
    let (mut all, carry) = part(first, 0, false, None);
    let (rest, _) = part(second, first.len() as u64, true, carry);
    all.merge(rest);
    all
}

/// Where all of a content was searched both ways, the tokens that stand in it were found both ways. Of what the fuzzer
/// makes up besides, and of the words for a place, more can be told where all of the content is there at once.
fn same(whole: &Findings, other: &Findings, how: &str) {
    let values = |findings: &Findings| -> BTreeSet<(String, String)> {
        let value = |found: &Finding| (found.kind.clone(), found.hash.clone());
        let planted = findings.hits.iter().filter(|found| found.kind == "github-token");
        planted.map(value).collect()
    };
    if whole.unscannable.is_none() && other.unscannable.is_none() && whole.more == 0 {
        assert_eq!(values(whole), values(other), "{how}");
    }
}

fn spills() -> Spills {
    static BUDGET: OnceLock<std::sync::Arc<Budget>> = OnceLock::new();
    let budget = BUDGET.get_or_init(|| Budget::new(64 << 20, 8 << 20));
    Spills::new(std::env::temp_dir().as_path().into(), budget.account("a"))
}

/// The content with a token where the input has none that looks real.
fn with_token(content: &[u8]) -> Vec<u8> {
    let letters = "k3Qz81LmVb0TwYx7Ndf5Hj2sRc9PgA6eUtKo";
    let token = ["gh", "p_", letters].concat();
    let mut all = Vec::with_capacity(content.len() + token.len());
    let mut rest = content;
    while let Some(at) = rest.windows(2).position(|two| two == b"@@") {
        all.extend_from_slice(&rest[..at]);
        all.extend_from_slice(token.as_bytes());
        rest = &rest[at + 2..];
        if all.len() > 1 << 20 {
            break;
        }
    }
    all.extend_from_slice(rest);
    all
}
