//! What is found in contents of all kinds, where, and what can't be searched.

mod archives;
mod chunks;
mod documents;
mod hostile;
mod messages;
mod passing;

use std::io::{Cursor, Write as _};

use flate2::{Compression, write::GzEncoder};
use turnpike_policy::detect::Detectors;

use super::{Findings, HashKey, Limits, Scanning, Subject, Unscannable, Why};

/// A made-up token; none stands in a source.
fn token(seed: u64) -> String {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let letters: Vec<char> = ('a'..='z').chain('A'..='Z').chain('0'..='9').collect();
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        letters[(state.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % letters.len()]
    };
    format!("ghp_{}", (0..36).map(|_| next()).collect::<String>())
}

fn key() -> HashKey {
    HashKey::derive(b"a key of tests")
}

fn scanning() -> Scanning {
    Scanning::new(Detectors::builtin().clone(), key())
}

fn within(limits: Limits) -> Scanning {
    Scanning { limits, ..scanning() }
}

/// The message of a call.
fn call(content_type: &str) -> Subject {
    Subject {
        content_type: Some(content_type.to_owned()),
        method: "example.things.create".to_owned(),
        ..Subject::default()
    }
}

/// The content of an object.
fn object(name: &str) -> Subject {
    Subject {
        content_type: Some("application/octet-stream".to_owned()),
        method: "storage.objects.insert".to_owned(),
        name: Some(name.to_owned()),
        media: true,
        ..Subject::default()
    }
}

fn scan(subject: &Subject, content: impl AsRef<[u8]>) -> Findings {
    scanning().scan_now(subject, &mut Cursor::new(content.as_ref()))
}

/// Kinds and places of what was found.
fn places(findings: &Findings) -> Vec<(&str, &str)> {
    findings
        .hits
        .iter()
        .map(|hit| (hit.kind.as_str(), hit.place.as_str()))
        .collect()
}

/// Fails unless exactly these GitHub tokens were found, and all was searched.
#[track_caller]
fn found(findings: &Findings, at: &[&str]) {
    let expected: Vec<(&str, &str)> = at.iter().map(|place| ("github-token", *place)).collect();
    assert_eq!(places(findings), expected);
    assert_eq!(findings.unscannable, None);
}

/// Fails unless something can't be searched for this reason, there.
#[track_caller]
fn unscannable(findings: &Findings, why: Why, place: &str) {
    let place = place.to_owned();
    assert_eq!(findings.unscannable, Some(Unscannable { why, place }));
}

fn gzip(content: impl AsRef<[u8]>) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(content.as_ref()).expect("memory takes it");
    encoder.finish().expect("memory takes it")
}

/// A zip archive as a common writer makes it.
fn zip(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in members {
        let options = zip::write::SimpleFileOptions::default();
        writer.start_file(*name, options).expect("a member");
        writer.write_all(content).expect("memory takes it");
    }
    writer.finish().expect("an archive").into_inner()
}

fn tar(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, content) in members {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        builder
            .append_data(&mut header, name, *content)
            .expect("a member");
    }
    builder.into_inner().expect("an archive")
}

#[test]
fn a_secret_is_told_once_for_each_place_and_its_value_never() {
    let (one, two) = (token(1), token(2));
    let body = format!("{{\"a\":\"{one} {one}\",\"b\":\"{one}\",\"{two}\":\"{two}\",\"c\":[\"{two}\"]}}");
    let findings = scan(&call("application/json"), body);
    assert_eq!(
        places(&findings),
        ["a", "b", "[SECRET]", "c[0]"].map(|place| ("github-token", place))
    );
    assert_eq!(findings.hits[0].hash, findings.hits[1].hash);
    assert_ne!(findings.hits[0].hash, findings.hits[2].hash);
    assert_eq!(findings.hits[0].hash, key().hash(one.as_bytes()));
    assert_ne!(
        findings.hits[0].hash,
        HashKey::derive(b"another").hash(one.as_bytes())
    );
    assert!(findings.hits[0].hash.starts_with("hmac:") && findings.hits[0].hash.len() == 5 + 32);
    let told = format!(
        "{findings:?} {}",
        serde_json::to_string(&findings).expect("it is data")
    );
    assert!(!told.contains(&one[4..]) && !told.contains(&two[4..]), "{told}");
}

#[test]
fn places_are_short_and_plain() {
    let secret = token(3);
    let name = format!("{secret}\n\u{1b}[31m/{}", "x".repeat(400));
    let findings = scan(&object(&name), format!("a\n{secret}\n"));
    let place = &findings.hits.last().expect("a finding").place;
    assert!(
        place.starts_with("[SECRET]??[31m/xxx") && place.ends_with('…'),
        "{place}"
    );
    assert_eq!(place.chars().count(), 257);
    assert_eq!(findings.hits[0].place, "name line 1");
}

#[test]
fn many_secrets_are_counted() {
    let text: String = (0..300).map(|seed| token(seed) + "\n").collect();
    let findings = scan(&object("tokens.txt"), &text);
    assert_eq!((findings.hits.len(), findings.more), (super::MAX_HITS, 250));
    assert_eq!(
        findings.scanned_bytes,
        text.len() as u64 + "tokens.txt".len() as u64
    );
    assert!(!findings.is_clean());
    assert!(scan(&object("a.txt"), "nothing").is_clean());
}
