//! Contents that are searched while they pass.

use super::{
    Findings, Subject, Why, call, found, gzip, object, places, scanning, tar, token, unscannable, zip,
};
use crate::{
    budget::Budget,
    kept::Spills,
    scan::{
        carry::{Chunk, ScanCarry},
        passing::Passing,
    },
};

const SHARE: usize = 1 << 20;

fn spills(budget: &Budget) -> Spills {
    Spills::new(std::env::temp_dir().as_path().into(), budget.account("a"))
}

/// Bytes that don't pack.
fn noise() -> Vec<u8> {
    (0..100)
        .flat_map(|seed| token(1000 + seed).into_bytes())
        .map(|byte| byte | 0x80)
        .collect()
}

/// Searches a content that passes in pieces of this length.
fn in_pieces(subject: &Subject, content: &[u8], length: usize) -> Findings {
    let budget = Budget::new(SHARE, SHARE);
    let mut passing = Passing::new(scanning(), subject.clone(), spills(&budget));
    content.chunks(length).for_each(|piece| passing.push(piece));
    let (findings, carry) = passing.finish();
    assert!(carry.is_none(), "nothing follows");
    findings
}

#[test]
fn what_passes_is_searched_as_if_it_were_whole() {
    let secret = token(70);
    let text = format!("{}\n{secret}\n", "words ".repeat(400));
    let member: (&str, &[u8]) = ("a.txt", secret.as_bytes());
    let json = format!("{{\"a\":{{\"b\":\"{secret}\"}}}}");
    let contents: [(Subject, Vec<u8>, &str); 6] = [
        (object("o"), text.clone().into_bytes(), "o line 2"),
        (object("o"), secret.clone().into_bytes(), "o line 1"),
        (object("o"), zip(&[member]), "o!a.txt line 1"),
        (object("o"), gzip(tar(&[member])), "o!a.txt line 1"),
        (call("application/json"), json.into_bytes(), "a.b"),
        (call("text/plain"), text.into_bytes(), "line 2"),
    ];
    for (subject, content, place) in contents {
        for length in [1, 700, content.len()] {
            let findings = in_pieces(&subject, &content, length);
            assert_eq!(
                places(&findings),
                [("github-token", place)],
                "in pieces of {length}"
            );
            assert_eq!(findings.unscannable, None);
        }
    }
}

#[test]
fn without_room_a_content_is_searched_as_text() {
    let budget = Budget::new(1024, 1024);
    let mut passing = Passing::new(scanning(), object("o"), spills(&budget));
    let archive = zip(&[("noise", &noise())]);
    passing.push(&archive);
    passing.push(format!("\n{}\n", token(72)).as_bytes());
    let (findings, _) = passing.finish();
    assert_eq!(findings.hits.len(), 1, "{findings:?}");
    unscannable(&findings, Why::NoRoom, "");
}

#[test]
fn parts_that_pass_follow_on_each_other() {
    let secret = token(73);
    let text = format!("{}\n{secret}\n", "words ".repeat(400));
    let archive = zip(&[("noise", &noise()), ("a", secret.as_bytes())]);
    for (content, cut, place) in [
        (text.as_bytes(), 2410, "o line 2"),
        (&archive[..], 1000, "o!a line 1"),
    ] {
        let budget = Budget::new(SHARE, SHARE);
        let part = |from: usize, to: usize, carry: Option<ScanCarry>| {
            let chunk = Chunk {
                start: from as u64,
                last: to == content.len(),
            };
            let mut passing = Passing::goes_on(scanning(), object("o"), spills(&budget), chunk, carry);
            passing.push(&content[from..to]);
            passing.finish()
        };
        let (first, carry) = part(0, cut, None);
        assert!(first.hits.is_empty(), "{first:?}");
        let (second, _) = part(cut, content.len(), carry);
        found(&second, &[place]);
        let (lost, _) = part(cut, content.len(), None);
        unscannable(&lost, Why::Lost, "");
    }
}
