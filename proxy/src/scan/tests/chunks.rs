//! Uploads in parts.

use std::{
    io::Cursor,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    Findings, Unscannable, Why, found, gzip, object, places, scanning, tar, token, unscannable, zip,
};
use crate::{
    budget::Budget,
    kept::Spills,
    scan::{
        carries::{Carries, CarryLimits, Key},
        carry::{Chunk, ScanCarry},
    },
};

const SHARE: usize = 1 << 20;

/// Room for an agent's contents.
fn spills(budget: &Budget, agent: &str) -> Spills {
    Spills::new(std::env::temp_dir().as_path().into(), budget.account(agent))
}

fn chunk(start: usize, last: bool) -> Chunk {
    Chunk {
        start: start as u64,
        last,
    }
}

/// Searches a part.
fn part(content: &[u8], start: usize, last: bool, carry: Option<ScanCarry>) -> (Findings, Option<ScanCarry>) {
    let spills = spills(&Budget::new(SHARE, SHARE), "a");
    scanning().chunk_now(
        &object("o"),
        &mut Cursor::new(content),
        chunk(start, last),
        carry,
        &spills,
    )
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
    let (_, carry) = part(&bytes[1000..2405], 1000, false, carry);
    // It did not arrive, and comes with more.
    let (_, carry) = part(&bytes[1000..2410], 1000, false, carry);
    let (findings, _) = part(&bytes[2410..], 2410, true, carry);
    found(&findings, &["o line 2"]);
    // From the beginning, and for archives from anywhere.
    let (_, carry) = part(&bytes[..1000], 0, false, None);
    let (_, carry) = part(&bytes[..1000], 0, false, carry);
    let (findings, carry) = part(&bytes[1000..], 1000, true, carry);
    found(&findings, &["o line 2"]);
    // Google's answer to the last part may get lost as well.
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
fn other_bytes_for_those_that_google_has_are_unscannable() {
    let secret = token(52);
    let (half, rest) = secret.split_at(20);
    let text = format!("{}\n{half}", "words ".repeat(400));
    let tokens: String = (60..100).map(token).collect();
    let archive = zip(&[("a", tokens.as_bytes())]);
    let other = "other ".repeat(1000);
    for (first, which) in [(text.as_bytes(), "text"), (&archive[..600], "an archive")] {
        let whole = [&other.as_bytes()[..first.len()], rest.as_bytes()].concat();
        for last in [false, true] {
            let (_, carry) = part(first, 0, false, None);
            let (findings, carry) = part(&whole, 0, last, carry);
            let twice = Why::Ambiguous("upload, of which some was sent twice and not the same");
            unscannable(&findings, twice, "");
            // Where that is refused, the upload goes on with the right bytes.
            let carry = carry.and_then(ScanCarry::unsent);
            let (findings, _) = part(rest.as_bytes(), first.len(), false, carry);
            assert_eq!(findings.unscannable, None, "{which}");
        }
    }
}

#[test]
fn what_is_not_sent_did_not_happen() {
    let secret = token(53);
    let text = format!("{}\n", "words ".repeat(400));
    let behind = text.len() + secret.len();
    let (_, carry) = part(text.as_bytes(), 0, false, None);
    let (findings, carry) = part(secret.as_bytes(), text.len(), false, carry);
    found(&findings, &[]);
    let (findings, carry) = part(b"; and more", behind, true, carry);
    found(&findings, &["o line 2"]);
    // The last part is refused, and another one follows on what was sent.
    let carry = carry.and_then(ScanCarry::unsent);
    let (findings, _) = part(b"and more", behind, true, carry);
    found(&findings, &[]);
    let archive = zip(&[("a", secret.as_bytes())]);
    let (_, carry) = part(&archive[..100], 0, false, None);
    let (_, carry) = part(&archive[..50], 100, false, carry);
    let carry = carry.and_then(ScanCarry::unsent);
    let (findings, _) = part(&archive[100..], 100, true, carry);
    found(&findings, &["o!a line 1"]);
    // A first part that is refused leaves nothing.
    let (_, carry) = part(&archive[..100], 0, false, None);
    assert!(carry.and_then(ScanCarry::unsent).is_none());
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
        let (findings, _) = part(b"end", text.len(), true, carry);
        unscannable(&findings, Why::Lost, "");
    }
}

fn name(agent: &str, session: &str) -> Key {
    (agent.to_owned(), session.to_owned())
}

/// Searches a part of an upload that is kept, and says that it was sent.
fn sent(
    carries: &Arc<Carries>,
    key: Key,
    content: &[u8],
    start: usize,
    last: bool,
    now: Instant,
) -> Findings {
    let mut hand = carries.take(key, now);
    let (findings, carry) = part(content, start, last, hand.take());
    hand.searched(carry);
    hand.sent();
    findings
}

#[test]
fn uploads_are_kept_within_bounds() {
    let now = Instant::now();
    let carries = Arc::new(Carries::new(CarryLimits {
        uploads: 3,
        per_agent: 2,
        keep: Duration::from_secs(60),
    }));
    let text = "words ".repeat(100);
    let begin = |agent, session| sent(&carries, name(agent, session), text.as_bytes(), 0, false, now);
    let goes_on =
        |agent, session| sent(&carries, name(agent, session), b"more", text.len(), false, now).unscannable;
    begin("a", "1");
    begin("a", "2");
    assert_eq!(goes_on("a", "1"), None);
    // An agent's own oldest makes room, and no other agent's.
    begin("a", "3");
    assert_eq!(carries.kept().0, 2);
    let lost = |why: Option<Unscannable>| why.map(|unscannable| unscannable.why) == Some(Why::Lost);
    assert!(lost(goes_on("a", "2")));
    begin("b", "1");
    begin("c", "1");
    assert!(lost(goes_on("c", "1")), "there was no room");
    // In the end all are forgotten.
    let later = now + Duration::from_secs(70);
    carries.take(name("d", "1"), later);
    assert_eq!(carries.kept(), (0, 0));
}

#[test]
fn contents_that_are_kept_whole_have_a_share_of_the_disk() {
    let budget = Budget::new(4000, 2000);
    let scanning = scanning();
    let archive = zip(&[("a", token(47).repeat(100).as_bytes())]);
    let mut content = archive.clone();
    content.resize(1500, 0);
    let begin = |agent: &str| {
        let spills = spills(&budget, agent);
        scanning.chunk_now(
            &object("o"),
            &mut Cursor::new(&content),
            chunk(0, false),
            None,
            &spills,
        )
    };
    let (_, first) = begin("a");
    let (findings, second) = begin("a");
    unscannable(&findings, Why::NoRoom, "");
    assert_eq!(first.as_ref().map(ScanCarry::on_disk), Some(1500));
    assert_eq!(begin("b").0.unscannable, None);
    // The rest of it is unscannable too, and says why.
    let (findings, _) = part(b"more", 1500, true, second);
    unscannable(&findings, Why::NoRoom, "");
    drop(first);
    assert_eq!(begin("a").0.unscannable, None);
}

#[test]
fn parts_that_come_at_the_same_time_are_unscannable() {
    let now = Instant::now();
    let carries = Arc::new(Carries::default());
    let key = || name("a", "1");
    let text = "words ".repeat(100);
    let mut hand = carries.take(key(), now);
    let (_, carry) = part(text.as_bytes(), 0, false, hand.take());
    let crossed = Why::Ambiguous("upload, whose parts were sent at the same time");
    let other = sent(&carries, key(), "other ".repeat(100).as_bytes(), 0, false, now);
    unscannable(&other, crossed.clone(), "");
    hand.searched(carry);
    hand.sent();
    let next = sent(&carries, key(), b"more", text.len(), true, now);
    unscannable(&next, crossed, "");
    // A search that was given up leaves nothing to go on from.
    sent(&carries, name("a", "2"), text.as_bytes(), 0, false, now);
    drop(carries.take(name("a", "2"), now).take());
    let next = sent(&carries, name("a", "2"), b"more", text.len(), true, now);
    unscannable(&next, Why::Lost, "");
}

#[test]
fn an_upload_that_ends_without_a_byte_is_searched_as_it_is() {
    let now = Instant::now();
    let carries = Arc::new(Carries::default());
    let secret = token(54);
    let archive = zip(&[("a", secret.as_bytes())]);
    let text = format!("{}\n{secret}", "words ".repeat(400));
    sent(&carries, name("a", "zip"), &archive, 0, false, now);
    sent(&carries, name("a", "text"), text.as_bytes(), 0, false, now);
    let ends = |session: &str, length: usize| {
        carries.ends_now(&name("a", session), &scanning(), &object("o"), length as u64)
    };
    for _ in 0..2 {
        // It may be a question only, and is asked again.
        let findings = ends("zip", archive.len());
        assert_eq!(places(&findings), [("github-token", "o!a line 1")]);
        found(&ends("text", text.len()), &["o line 2"]);
        assert_eq!(ends("zip", archive.len() + 1), Findings::default());
        unscannable(&ends("text", 700), Why::Lost, "");
        unscannable(&ends("unknown", 700), Why::Lost, "");
        assert_eq!(ends("unknown", 0), Findings::default());
    }
    carries.forget(&name("a", "zip"));
    unscannable(&ends("zip", archive.len()), Why::Lost, "");
}
