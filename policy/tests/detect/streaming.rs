//! A text gives the same matches however it is cut.

use proptest::prelude::*;
use turnpike_policy::detect::{AFTER, CustomDetector, Detectors};

use crate::{Found, found_by, made::Made, positives};

/// What is found in a text that arrives in pieces of these lengths, over and over.
fn in_pieces(detectors: &Detectors, text: &[u8], lengths: &[usize], suspended: bool) -> Vec<Found> {
    let mut found = Vec::new();
    let mut keep = |hit: turnpike_policy::detect::Match<'_>| {
        let value = String::from_utf8_lossy(hit.value).into_owned();
        found.push((hit.kind.to_owned(), hit.offset, hit.line, value));
    };
    let mut scanner = detectors.scanner();
    let (mut rest, mut lengths) = (text, lengths.iter().cycle());
    while !rest.is_empty() {
        let length = lengths.next().map_or(1, |l| *l).clamp(1, rest.len());
        let (piece, later) = rest.split_at(length);
        scanner.push(piece, &mut keep);
        rest = later;
        if suspended {
            let state = scanner.suspend(&mut keep);
            assert!(
                state.size() <= AFTER + 1024 + length,
                "{} bytes are kept",
                state.size()
            );
            scanner = detectors.resume(state);
        }
    }
    scanner.finish(&mut keep);
    found.sort();
    found
}

fn detectors() -> Detectors {
    let custom = |name: &str, pattern: &str, keywords: &[&str]| CustomDetector {
        name: name.to_owned(),
        pattern: pattern.to_owned(),
        keywords: keywords.iter().map(|k| (*k).to_owned()).collect(),
    };
    Detectors::new(&[
        custom("badge", "(?m)^badge-[0-9a-z]{4,64}$", &[]),
        custom("ticket", r"\b[A-Z]{2,6}-[0-9]{2,8}\b", &["ticket", "issue"]),
    ])
    .expect("they are right")
}

/// All fixtures in one text, between words and long stretches without any.
fn text(seed: u64) -> Vec<u8> {
    let m = &mut Made::new(seed);
    let mut text = Vec::new();
    for (at, (_, row, _)) in positives::rows(seed).into_iter().enumerate() {
        text.extend_from_slice(row.as_bytes());
        text.extend_from_slice(b"\nbadge-0a1b2c\nan ISSUE about ABC-1234 and\n");
        let filler = if at % 11 == 0 {
            5000
        } else {
            m.next() as usize % 90
        };
        text.extend(m.hex(filler).bytes());
        text.push(b'\n');
    }
    text
}

fn sorted(mut found: Vec<Found>) -> Vec<Found> {
    found.sort();
    found
}

#[test]
fn pieces_of_one_to_seven_bytes_give_what_the_whole_gives() {
    let detectors = detectors();
    let text = text(31);
    let whole = sorted(found_by(&detectors, &text));
    assert!(whole.len() > 200, "{}", whole.len());
    for length in [1, 2, 3, 7] {
        assert_eq!(
            in_pieces(&detectors, &text, &[length], false),
            whole,
            "pieces of {length}"
        );
    }
    for length in [97, 4096, 65_536, 65_537] {
        assert_eq!(
            in_pieces(&detectors, &text, &[length], true),
            whole,
            "parts of {length}"
        );
    }
}

#[test]
fn every_cut_of_a_text_gives_what_the_whole_gives() {
    let detectors = detectors();
    for (_, row, _) in positives::rows(32) {
        let text = format!("ticket AB-12\n{row} badge-99\n").into_bytes();
        let whole = sorted(found_by(&detectors, &text));
        for cut in 1..text.len() {
            let lengths = [cut, text.len()];
            assert_eq!(
                in_pieces(&detectors, &text, &lengths, true),
                whole,
                "cut at {cut}"
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_pieces_give_what_the_whole_gives(
        seed in 1_u64..1000,
        lengths in prop::collection::vec(1_usize..9000, 1..12),
        suspended in any::<bool>(),
    ) {
        let detectors = detectors();
        let text = text(seed);
        prop_assert_eq!(in_pieces(&detectors, &text, &lengths, suspended), sorted(found_by(&detectors, &text)));
    }

    #[test]
    fn bytes_without_sense_neither_stop_it_nor_depend_on_cuts(
        pieces in prop::collection::vec(
            prop_oneof![
                prop::collection::vec(any::<u8>(), 0..40),
                Just(b"-----BEGIN RSA PRIVATE KEY-----\\n".to_vec()),
                Just(b"eyJhbGciOiJSUzI1NiJ9.eyJ".to_vec()),
                Just(b"://a:b1C2d3E4@h".to_vec()),
                Just(b"AKIAQWERTYUIOPASDFGH".to_vec()),
                Just(b"password\\\": \\\"".to_vec()),
                Just(b"T3BlbkFJ".to_vec()),
                Just(b"LS0tLS1CRUdJTi".to_vec()),
                prop::collection::vec(prop::char::range('0', 'z').prop_map(|c| c as u8), 0..300),
            ],
            0..40,
        ),
        lengths in prop::collection::vec(1_usize..600, 1..5),
    ) {
        let detectors = detectors();
        let text = pieces.concat();
        prop_assert_eq!(in_pieces(&detectors, &text, &lengths, true), sorted(found_by(&detectors, &text)));
    }
}
