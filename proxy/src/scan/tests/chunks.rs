//! Uploads in parts.

use std::{
    io::Cursor,
    time::{Duration, Instant},
};

use super::{Findings, Why, found, gzip, object, places, scanning, tar, token, unscannable, zip};
use crate::scan::carry::{Carries, CarryLimits, Chunk, ScanCarry};

/// Searches a part.
fn part(content: &[u8], start: usize, last: bool, carry: Option<ScanCarry>) -> (Findings, Option<ScanCarry>) {
    let chunk = Chunk {
        start: start as u64,
        last,
    };
    scanning().chunk_now(&object("o"), &mut Cursor::new(content), chunk, carry)
}

/// Searches a content in parts that end at these places, and puts what was found together.
fn parts(content: &[u8], ends: &[usize]) -> Findings {
    let mut all = Findings::default();
    let (mut start, mut carry) = (0, None);
    for end in ends.iter().copied().chain([content.len()]) {
        let (findings, next) = part(&content[start..end], start, end == content.len(), carry);
        let hits = findings.hits.into_iter().filter(|hit| hit.place.starts_with("o"));
        all.hits.extend(hits);
        all.unscannable = all.unscannable.or(findings.unscannable);
        (start, carry) = (end, next);
    }
    assert!(carry.is_none(), "nothing is kept behind the last part");
    all
}

#[test]
fn a_secret_on_the_border_of_two_parts_is_found() {
    let text = format!("{}\n{}\nand so on\n", "words ".repeat(200), token(41));
    for cut in (1190..1250).chain([512, 1000, text.len() - 1]) {
        let findings = parts(text.as_bytes(), &[cut]);
        assert_eq!(findings.unscannable, None, "cut at {cut}");
        found(&findings, &["o line 2"]);
    }
    found(&parts(text.as_bytes(), &[600, 1205, 1206, 1220]), &["o line 2"]);
}

#[test]
fn archives_are_searched_with_their_last_part() {
    let secret = token(42);
    let member: (&str, &[u8]) = ("a.txt", secret.as_bytes());
    let filler = token(43).repeat(200);
    for (content, at) in [
        (zip(&[("f", filler.as_bytes()), member]), "o!a.txt line 1"),
        (gzip(tar(&[("f", filler.as_bytes()), member])), "o!a.txt line 1"),
        (gzip(&secret), "o line 1"),
        (format!("[\"{secret}\"]").into_bytes(), "o [0]"),
    ] {
        let middle = content.len() / 2;
        let findings = parts(&content, &[middle, middle + 1]);
        assert!(
            places(&findings).contains(&("github-token", at)),
            "{at}: {findings:?}"
        );
        assert_eq!(findings.unscannable, None);
    }
    // One that begins as something else is found by its end.
    let hidden = [filler.as_bytes(), &zip(&[member])].concat();
    let findings = parts(&hidden, &[filler.len() + 40]);
    unscannable(&findings, Why::Ambiguous("zip archive behind other content"), "o");
}

#[test]
fn parts_that_are_sent_again_are_searched_again() {
    let secret = token(44);
    let text = format!("{}\n{secret}\n", "words ".repeat(400));
    let bytes = text.as_bytes();
    let (_, carry) = part(&bytes[..1000], 0, false, None);
    let (_, carry) = part(&bytes[1000..2410], 1000, false, carry);
    // It did not arrive.
    let (_, carry) = part(&bytes[1000..2405], 1000, false, carry);
    let (findings, _) = part(&bytes[2405..], 2405, true, carry);
    found(&findings, &["o line 2"]);
    // From the beginning, and for archives from anywhere.
    let (_, carry) = part(&bytes[..1000], 0, false, None);
    let (_, carry) = part(&bytes[..1000], 0, false, carry);
    let (findings, _) = part(&bytes[1000..], 1000, true, carry);
    found(&findings, &["o line 2"]);
    let archive = zip(&[("a", secret.as_bytes()), ("b", token(45).repeat(50).as_bytes())]);
    let (_, carry) = part(&archive[..200], 0, false, None);
    let (_, carry) = part(&archive[150..250], 150, false, carry);
    let (findings, _) = part(&archive[250..], 250, true, carry);
    assert_eq!(findings.unscannable, None);
    assert_eq!(findings.hits[0].place, "o!a line 1");
}

#[test]
fn parts_that_follow_on_nothing_are_unscannable() {
    let secret = token(46);
    let text = format!("{}\n{secret}\n", "words ".repeat(400));
    let bytes = text.as_bytes();
    let (_, carry) = part(&bytes[..1000], 0, false, None);
    for (start, carry) in [(1000, None), (1200, carry)] {
        let (findings, carry) = part(&bytes[start..], start, false, carry);
        assert_eq!(findings.hits.len(), 1);
        unscannable(&findings, Why::Lost, "");
        // And so is the rest.
        let (findings, carry) = part(b"end", text.len(), true, carry);
        unscannable(&findings, Why::Lost, "");
        assert!(carry.is_none());
    }
}

#[test]
fn uploads_are_kept_within_bounds() {
    let now = Instant::now();
    let limits = CarryLimits {
        uploads: 3,
        per_agent: 2,
        bytes: 3000,
        bytes_per_agent: 2000,
        keep: Duration::from_secs(60),
    };
    let carries = Carries::new(limits);
    let text = || {
        part("words ".repeat(100).as_bytes(), 0, false, None)
            .1
            .expect("a carry")
    };
    let archive = |length: usize| {
        let mut content = zip(&[("a", token(47).repeat(100).as_bytes())]);
        content.resize(length, 0);
        part(&content, 0, false, None).1.expect("a carry")
    };
    let later = |seconds| now + Duration::from_secs(seconds);
    carries.put("a", "1", text(), now);
    carries.put("a", "2", archive(1500), later(1));
    assert_eq!(carries.kept(), (2, 1500));
    // An agent's own oldest makes room, and no other agent's.
    carries.put("a", "3", text(), later(2));
    assert!(carries.take("a", "1", later(2)).is_none());
    assert!(carries.take("b", "3", later(2)).is_none());
    carries.put("b", "1", archive(1400), later(3));
    carries.put("c", "1", text(), later(3));
    assert!(carries.take("c", "1", later(3)).is_none());
    // There is no room on disk: the next part says so.
    carries.take("a", "3", later(4)).expect("it is kept");
    carries.put("a", "4", archive(1000), later(4));
    let full = carries.take("a", "4", later(4));
    let (findings, _) = part(b"more", 1000, true, full);
    unscannable(&findings, Why::NoRoom, "");
    // And in the end all are forgotten.
    assert_eq!(carries.kept(), (2, 2900));
    assert!(carries.take("b", "1", later(63)).is_none());
    assert_eq!(carries.kept(), (0, 0));
}

#[tokio::test]
async fn parts_are_searched_elsewhere() {
    let text = format!("{}\n{}", "words ".repeat(1000), token(48));
    let (first, second) = text.split_at(6010);
    let chunk = |start: usize, last| Chunk {
        start: start as u64,
        last,
    };
    let scanning = scanning();
    let content = Cursor::new(first.to_owned().into_bytes());
    let (_, carry) = scanning
        .scan_chunk(object("o"), content, chunk(0, false), None)
        .await;
    let content = Cursor::new(second.to_owned().into_bytes());
    let (findings, carry) = scanning
        .scan_chunk(object("o"), content, chunk(6010, true), carry)
        .await;
    found(&findings, &["o line 2"]);
    assert!(carry.is_none());
}
