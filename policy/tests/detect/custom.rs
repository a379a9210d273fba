//! Detectors of policies: what they find, and what is said about wrong ones.

use turnpike_policy::detect::{CustomDetector, Detectors, MAX_CUSTOM, Reason};

use crate::found_by;

fn detector(name: &str, pattern: &str, keywords: &[&str]) -> CustomDetector {
    CustomDetector {
        name: name.to_owned(),
        pattern: pattern.to_owned(),
        keywords: keywords.iter().map(|k| (*k).to_owned()).collect(),
    }
}

#[test]
fn patterns_match_anywhere_or_near_a_keyword() {
    let set = Detectors::new(&[
        detector("badge", "badge-[0-9]{4}", &[]),
        detector("account", r"\b[0-9]{8}\b", &["Account", "iban"]),
    ])
    .expect("they are right");
    let text = format!(
        "12345678 {} ACCOUNT no 87654321, 11112222 badge-1234badge-5678\n{}33334444",
        " ".repeat(300),
        " ".repeat(300)
    );
    let found: Vec<(String, String)> = found_by(&set, text.as_bytes())
        .into_iter()
        .map(|(kind, _, _, value)| (kind, value))
        .collect();
    let pair = |kind: &str, value: &str| (kind.to_owned(), value.to_owned());
    assert_eq!(
        found,
        [
            pair("badge", "badge-1234"),
            pair("badge", "badge-5678"),
            pair("account", "87654321"),
            pair("account", "11112222"),
        ]
    );
    assert!(set.kinds().any(|kind| kind == "account"));
    assert!(set.kinds().any(|kind| kind == "private-key"));
}

#[test]
fn wrong_ones_say_which_and_where() {
    let check = |detectors: &[CustomDetector], index: usize, column: Option<usize>, text: &str| {
        let error = Detectors::new(detectors).expect_err(text);
        assert_eq!(
            (error.index, error.column(), error.to_string().as_str()),
            (index, column, text)
        );
    };
    let fine = detector("fine", "a{1,3}", &[]);
    let unbounded = "this repeats without bound, and the bytes around a secret are looked at only so far; give a most, such \
                     as {1,200} in the place of +";
    for (pattern, column, text) in [
        (
            "ab(c",
            Some(3),
            "detector \"x\": column 3 of the pattern: unclosed group",
        ),
        (
            "äö[b-",
            Some(3),
            "detector \"x\": column 3 of the pattern: unclosed character class",
        ),
        (
            r"(a)\1",
            Some(4),
            "detector \"x\": column 4 of the pattern: backreferences are not supported",
        ),
        (
            "a{2}b+",
            Some(6),
            &*format!("detector \"x\": column 6 of the pattern: {unbounded}"),
        ),
        (
            "(a|b[0-9]{4,})",
            Some(10),
            &*format!("detector \"x\": column 10 of the pattern: {unbounded}"),
        ),
        (
            "a{2000}",
            None,
            "detector \"x\": the pattern can match 2000 bytes; at most 1024 are looked at",
        ),
        (
            "a{0,3}",
            None,
            "detector \"x\": the pattern matches the empty text, which stands everywhere",
        ),
    ] {
        check(&[fine.clone(), detector("x", pattern, &[])], 1, column, text);
    }
    check(
        &[fine.clone(), fine.clone()],
        1,
        None,
        "detector \"fine\": another detector has this name",
    );
    check(
        &[detector("jwt", "a", &[])],
        0,
        None,
        "detector \"jwt\": another detector has this name",
    );
    check(
        &[detector("k", "a", &["b"])],
        0,
        None,
        "detector \"k\": a keyword must have 2 to 64 characters",
    );
    check(
        &[detector("Not a name", "a", &[])],
        0,
        None,
        "detector \"Not a name\": the name must be of a-z, 0-9 and dashes, with a letter first, and have at most 63 characters",
    );
    let many: Vec<CustomDetector> = (0..=MAX_CUSTOM)
        .map(|n| detector(&format!("d{n}"), "ab", &[]))
        .collect();
    assert_eq!(
        Detectors::new(&many).expect_err("too many").reason,
        Reason::TooMany
    );
    let words: Vec<String> = (0..100).map(|n| format!("{:03}", n * 37 % 1000)).collect();
    let wide = Detectors::new(&[detector("wide", &format!("({}){{1,300}}", words.join("|")), &[])]);
    assert_eq!(wide.expect_err("too large").reason, Reason::TooLarge);
}

#[test]
fn a_hostile_text_costs_linear_time_near_keywords() {
    let set = Detectors::new(&[detector("near", "x[0-9]{1,900}y", &["key"])]).expect("it is right");
    let text = "key x12".repeat(200_000);
    assert_eq!(found_by(&set, text.as_bytes()), []);
}
