//! Archives that are made to be read in two ways, or to do harm.

use std::io::Cursor;

use proptest::prelude::*;

use super::{Why, gzip, object, places, scan, scanning, tar, token, unscannable, zip};

const AMBIGUOUS: Why = Why::Ambiguous("zip archive");

fn put(content: &mut [u8], at: usize, bytes: &[u8]) {
    content[at..at + bytes.len()].copy_from_slice(bytes);
}

fn u32_at(content: &[u8], at: usize) -> usize {
    u32::from_le_bytes(content[at..at + 4].try_into().expect("four bytes")) as usize
}

/// Where the directory and the end record of an archive without a comment begin.
fn directory(content: &[u8]) -> (usize, usize) {
    let end = content.len() - 22;
    (u32_at(content, end + 16), end)
}

#[test]
fn encrypted_members_and_unknown_methods_are_unscannable() {
    let secret = token(51);
    let archive = zip(&[("a.txt", &b"words ".repeat(50)), ("b.txt", secret.as_bytes())]);
    let (start, _) = directory(&archive);
    for (offset, central, bytes, why) in [
        (6, 8, [1, 0], Why::Encrypted),
        (6, 8, [0x41, 0], Why::Encrypted),
        (
            8,
            10,
            [99, 0],
            Why::Feature("a zip compression other than deflate"),
        ),
        (
            8,
            10,
            [93, 0],
            Why::Feature("a zip compression other than deflate"),
        ),
    ] {
        let mut changed = archive.clone();
        put(&mut changed, offset, &bytes);
        put(&mut changed, start + central, &bytes);
        let findings = scan(&object("z"), changed);
        assert_eq!(places(&findings), [("github-token", "z!b.txt line 1")]);
        unscannable(&findings, why, "z!a.txt");
    }
}

#[test]
fn what_stands_twice_has_to_be_the_same() {
    let archive = zip(&[("a.txt", token(52).as_bytes()), ("b.txt", b"b")]);
    let (start, end) = directory(&archive);
    let check = |what: &str, changed: Vec<u8>| {
        let findings = scan(&object("z"), changed);
        assert_eq!(findings.unscannable.map(|u| u.why), Some(AMBIGUOUS), "{what}");
    };
    // In the header before a member alone: its name, method, checksum, sizes.
    for (what, at, bytes) in [
        ("name", 30, &b"x"[..]),
        ("method", 8, &[0, 0]),
        ("checksum", 14, &[1, 2, 3, 4]),
        ("packed size", 18, &[9, 0]),
        ("size", 22, &[9, 0]),
    ] {
        let mut changed = archive.clone();
        put(&mut changed, at, bytes);
        check(what, changed);
    }
    let mut changed = archive.clone();
    put(&mut changed, start + 46, b"x");
    check("name in the directory", changed);
    // A directory that leaves out the first member, and one that has the same twice.
    let hidden = {
        let second = start + 46 + 5;
        let mut changed = [&archive[..start], &archive[second..]].concat();
        let end = changed.len() - 22;
        put(&mut changed, end + 8, &[1, 0, 1, 0]);
        let size = (end - start) as u32;
        put(&mut changed, end + 12, &size.to_le_bytes());
        changed
    };
    check("left out", hidden);
    let mut changed = archive.clone();
    let second = start + 46 + 5;
    let header = archive[start..second].to_vec();
    put(&mut changed, second, &header);
    check("twice", changed);
    // Something before, behind, and a second end.
    check("prefix", [b"#!/bin/sh\n".as_slice(), &archive].concat());
    check("suffix", [archive.as_slice(), b"behind"].concat());
    let mut changed = archive.clone();
    put(&mut changed, end + 20, &[22, 0]);
    changed.extend_from_slice(&archive[end..]);
    check("two ends", changed);
    let mut changed = archive.clone();
    put(&mut changed, end + 8, &[1, 0, 1, 0]);
    check("count", changed);
}

#[test]
fn an_archive_behind_other_content_is_not_missed() {
    let secret = token(53);
    let archive = zip(&[(
        "a.txt",
        &[b"words ".repeat(100), secret.clone().into_bytes()].concat(),
    )]);
    let poly = [b"\x89PNG\r\n\x1a\n\0\0\0".as_slice(), &archive].concat();
    unscannable(&scan(&object("a.png"), &poly), AMBIGUOUS, "a.png");
    let inside = tar(&[("a.png", &poly)]);
    let why = Why::Ambiguous("zip archive behind other content");
    unscannable(&scan(&object("t"), inside), why.clone(), "t!a.png");
    unscannable(&scan(&object("a.gz"), gzip(&poly)), why, "a.gz");
}

#[test]
fn damaged_archives_are_unscannable_and_what_can_be_read_is() {
    let secret = token(54);
    let archive = zip(&[("a.txt", secret.as_bytes()), ("b.txt", &b"words ".repeat(500))]);
    let (start, _) = directory(&archive);
    let mut changed = archive.clone();
    for at in [14, start + 16] {
        put(&mut changed, at, &[1, 2, 3, 4]);
    }
    let findings = scan(&object("z"), changed);
    assert_eq!(places(&findings), [("github-token", "z!a.txt line 1")]);
    unscannable(&findings, Why::Broken("zip archive"), "z!a.txt");
    for length in [4, 60, archive.len() - 1] {
        let findings = scan(&object("z"), &archive[..length]);
        assert!(findings.unscannable.is_some(), "{length}");
    }
    let packed = gzip(format!("{secret}\n{}", token(55).repeat(3000)));
    let findings = scan(&object("g"), &packed[..packed.len() / 2]);
    assert_eq!(findings.hits[0].place, "g line 1");
    unscannable(&findings, Why::Broken("gzip"), "g");
    unscannable(
        &scan(&object("g"), [packed.as_slice(), b"behind"].concat()),
        Why::Broken("gzip"),
        "g",
    );
    let archive = tar(&[("a.txt", secret.as_bytes()), ("b.txt", &[b'x'; 2000])]);
    for length in [600, 1024, 1500, 2000] {
        let findings = scan(&object("t"), &archive[..length]);
        let whole = length == 1024;
        assert_eq!(findings.unscannable.is_none(), whole, "{length}");
    }
}

#[test]
fn what_readers_of_tar_differ_about_is_ambiguous() {
    let secret = token(56);
    let archive = tar(&[("a.txt", secret.as_bytes())]);
    let why = || Why::Ambiguous("tar archive");
    // Another archive behind the end of the first.
    let findings = scan(&object("t"), [archive.clone(), archive.clone()].concat());
    unscannable(&findings, why(), "t");
    assert!(findings.hits.len() >= 2, "{findings:?}");
    // A link, and a directory, with content.
    for kind in [
        tar::EntryType::Link,
        tar::EntryType::Directory,
        tar::EntryType::Symlink,
    ] {
        let mut header = tar::Header::new_gnu();
        header.set_path("x").expect("a path");
        header.set_entry_type(kind);
        header.set_size(5);
        header.set_cksum();
        let changed = [header.as_bytes().as_slice(), &archive].concat();
        unscannable(&scan(&object("t"), changed), why(), "t");
    }
    let mut header = tar::Header::new_gnu();
    header.set_path("sparse").expect("a path");
    header.set_entry_type(tar::EntryType::GNUSparse);
    header.set_size(0);
    header.set_cksum();
    let changed = [header.as_bytes().as_slice(), &archive].concat();
    let sparse = Why::Feature("a sparse or split member of a tar archive");
    unscannable(&scan(&object("t"), changed), sparse, "t!sparse");
}

#[test]
fn names_of_members_are_searched_too() {
    let secret = token(57);
    let archive = zip(&[(&secret, b"words")]);
    let findings = scan(&object("z"), archive);
    assert!(!findings.hits.is_empty());
    assert!(findings.hits.iter().all(|hit| !hit.place.contains(&secret)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Whatever single byte of an archive is changed, what is in it is found, or the archive is unscannable.
    #[test]
    fn no_change_of_a_zip_hides_a_member(
        at in any::<prop::sample::Index>(),
        with in any::<u8>(),
        stored in any::<bool>(),
    ) {
        let content = [b"words ".repeat(60), token(58).into_bytes()].concat();
        let mut archive = zip(&[("f.txt", b"first"), ("s.txt", &content), ("l.txt", b"last")]);
        if stored {
            archive = zip(&[("inner.zip", &archive)]);
        }
        let at = at.index(archive.len());
        archive[at] = with;
        let findings = scan(&object("z"), archive);
        prop_assert!(!findings.is_clean(), "byte {at} as {with:#04x}");
    }

    #[test]
    fn bytes_without_sense_stop_nothing(
        kind in 0_usize..9,
        head in 0_usize..9,
        content in prop::collection::vec(any::<u8>(), 0..600),
    ) {
        let heads: [&[u8]; 9] = [
            b"", b"PK\x03\x04", b"PK\x05\x06", b"\x1f\x8b\x08\0", b"\x28\xb5\x2f\xfd", b"\xff\xfe", b"{\"a\":",
            b"--b\r\n\r\n{}\r\n--b\r\n", b"\0\0\0\0\x20",
        ];
        let types = [
            "application/json", "application/xml", "application/x-www-form-urlencoded", "multipart/related; boundary=b",
            "multipart/mixed; boundary=b", "application/grpc", "application/x-protobuf", "text/plain", "multipart/x",
        ];
        let mut subject = object("o");
        subject.media = kind == 7;
        subject.content_type = Some(types[kind].to_owned());
        let content = [heads[head], &content].concat();
        scanning().scan_now(&subject, &mut Cursor::new(content));
    }
}
