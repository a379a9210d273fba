//! One segment of a name: which of a set of patterns it can match together, with a text for each case.
//!
//! The patterns are run side by side over all texts, as one automaton does; every set of patterns that some text
//! matches is found, and only those. Open segments, which stand for more than their own text, come besides.

use std::collections::VecDeque;

use rustc_hash::{FxHashMap, FxHashSet};

/// There are more cases than can be looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TooMany;

/// Bound on the states of one search.
const MAX_STATES: usize = 20_000;

/// A segment, and the patterns that it matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Atom {
    /// A text of it.
    pub(super) text: String,
    /// Numbers of the patterns that match it, ascending. Of an open segment, those that are the same text.
    pub(super) matched: Vec<u32>,
    /// Whether it stands for more than its own text.
    pub(super) open: bool,
}

/// All cases of a segment. `numbers` tells whether a number stands for something else there, as behind `projects`.
pub(super) fn atoms(patterns: &[(u32, &str)], numbers: bool) -> Result<Vec<Atom>, TooMany> {
    let (stars, literals): (Vec<_>, Vec<_>) = patterns.iter().partition(|(_, text)| text.contains('*'));
    let is_open = |text: &str| text == "-" || (numbers && is_number(text));
    let mut found: Vec<Atom> = Vec::new();
    let mut fresh_number = 1_000_000_000_001u64;
    for (id, text) in &literals {
        let open = is_open(text);
        let mut matched = vec![*id];
        if !open {
            matched.extend(stars.iter().filter(|(_, s)| matches(s, text)).map(|(id, _)| *id));
            matched.sort_unstable();
        }
        while fresh_number.to_string() == **text {
            fresh_number += 1;
        }
        found.push(Atom {
            text: (*text).to_owned(),
            matched,
            open,
        });
    }
    let taken: FxHashSet<&str> = literals.iter().map(|(_, text)| *text).collect();
    for (matched, text) in closed(&stars, &taken, numbers)? {
        found.push(Atom {
            text,
            matched,
            open: false,
        });
    }
    let mut open = |text: String| {
        if !taken.contains(text.as_str()) {
            found.push(Atom {
                text,
                matched: Vec::new(),
                open: true,
            });
        }
    };
    open("-".to_owned());
    if numbers {
        open(fresh_number.to_string());
    }
    found.sort_by(|a, b| (a.open, &a.matched, &a.text).cmp(&(b.open, &b.matched, &b.text)));
    Ok(found)
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

/// Whether a pattern of one segment matches a text.
pub(super) fn matches(pattern: &str, text: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let mut at = start(&pattern);
    for c in text.chars() {
        at = step(&pattern, &at, c);
    }
    at.contains(&(pattern.len() as u32))
}

/// The places in a pattern where a match can begin.
fn start(pattern: &[char]) -> Vec<u32> {
    let mut at = vec![0];
    close(pattern, &mut at);
    at
}

/// A star may stand for nothing.
fn close(pattern: &[char], at: &mut Vec<u32>) {
    let mut i = 0;
    while let Some(place) = at.get(i).copied() {
        if pattern.get(place as usize) == Some(&'*') && !at.contains(&(place + 1)) {
            at.push(place + 1);
        }
        i += 1;
    }
    at.sort_unstable();
}

fn step(pattern: &[char], at: &[u32], c: char) -> Vec<u32> {
    let mut next = Vec::with_capacity(at.len());
    for place in at {
        let to = match pattern.get(*place as usize) {
            Some('*') => *place,
            Some(p) if *p == c => place + 1,
            _ => continue,
        };
        if !next.contains(&to) {
            next.push(to);
        }
    }
    close(pattern, &mut next);
    next
}

/// Every set of star patterns that a closed text other than the taken ones matches.
fn closed(
    stars: &[(u32, &str)],
    taken: &FxHashSet<&str>,
    numbers: bool,
) -> Result<Vec<(Vec<u32>, String)>, TooMany> {
    // A text that is taken can be the shortest of its kind. It then joins the search as a pattern of its own, so
    // that the next text of that kind is found.
    let mut apart: Vec<&str> = Vec::new();
    loop {
        let found = search(stars, &apart, numbers)?;
        let before = apart.len();
        let clash = |text: &str| taken.iter().copied().find(|t| *t == text);
        apart.extend(found.values().filter_map(|text| clash(text)));
        if apart.len() > before {
            continue;
        }
        let mut found: FxHashMap<Vec<u32>, String> = found;
        for text in readable(stars) {
            let useless = taken.contains(text.as_str()) || (numbers && is_number(&text));
            let mut matched: Vec<u32> = stars
                .iter()
                .filter(|(_, pattern)| matches(pattern, &text))
                .map(|(id, _)| *id)
                .collect();
            matched.sort_unstable();
            if !useless && let Some(before) = found.get_mut(&matched) {
                *before = text;
            }
        }
        return Ok(found.into_iter().collect());
    }
}

/// Texts that people read more easily than the shortest ones; a later one is better.
fn readable(stars: &[(u32, &str)]) -> Vec<String> {
    let mut texts = vec!["other".to_owned()];
    for (_, pattern) in stars.iter().rev() {
        if pattern.chars().any(|c| c != '*') {
            texts.push(pattern.replace('*', "x"));
        }
    }
    texts
}

/// The shortest closed text for each set of patterns; `-` and the texts that stand apart belong to none.
fn search(
    stars: &[(u32, &str)],
    apart: &[&str],
    numbers: bool,
) -> Result<FxHashMap<Vec<u32>, String>, TooMany> {
    let patterns: Vec<Vec<char>> = stars.iter().map(|(_, text)| text.chars().collect()).collect();
    let literals: Vec<Vec<char>> = apart
        .iter()
        .copied()
        .chain(["-"])
        .map(|text| text.chars().collect())
        .collect();
    let all = || patterns.iter().chain(&literals);
    let mut letters: Vec<char> = all().flatten().copied().filter(|c| *c != '*').collect();
    letters.sort_unstable();
    letters.dedup();
    // All others are alike, but for digits where numbers count.
    let fresh = |mut range: Vec<char>| {
        range.retain(|c| letters.binary_search(c).is_err());
        range.first().copied()
    };
    let other = fresh(('a'..='z').rev().chain('\u{e0}'..='\u{ff}').collect());
    let digit = fresh(('0'..='9').collect()).filter(|_| numbers);
    let alphabet: Vec<char> = other
        .into_iter()
        .chain(digit)
        .chain(letters.iter().copied())
        .collect();

    type State = (Vec<Vec<u32>>, bool);
    let first: State = (all().map(|p| start(p)).collect(), true);
    let mut seen: FxHashSet<State> = FxHashSet::default();
    let mut queue = VecDeque::from([(first, String::new())]);
    let mut found = FxHashMap::default();
    while let Some(((places, digits), text)) = queue.pop_front() {
        let at_end = |(pattern, at): (&Vec<char>, &Vec<u32>)| at.contains(&(pattern.len() as u32));
        let mut ended = all().zip(&places).map(at_end);
        let matched: Vec<u32> = stars
            .iter()
            .zip(ended.by_ref())
            .filter(|(_, matched)| *matched)
            .map(|((id, _), _)| *id)
            .collect();
        let stands_apart = ended.any(|matched| matched);
        let no_case = text.is_empty() || stands_apart || (numbers && digits);
        if !no_case {
            found.entry(matched).or_insert_with(|| text.clone());
        }
        for c in &alphabet {
            let next: Vec<Vec<u32>> = all().zip(&places).map(|(p, at)| step(p, at, *c)).collect();
            let state = (next, digits && c.is_ascii_digit());
            if seen.insert(state.clone()) {
                if seen.len() > MAX_STATES {
                    return Err(TooMany);
                }
                let mut text = text.clone();
                text.push(*c);
                queue.push_back((state, text));
            }
        }
    }
    for matched in found.keys().cloned().collect::<Vec<_>>() {
        let mut sorted = matched.clone();
        sorted.sort_unstable();
        if sorted != matched
            && let Some(text) = found.remove(&matched)
        {
            found.insert(sorted, text);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cases(patterns: &[&str], numbers: bool) -> Vec<String> {
        let numbered: Vec<(u32, &str)> = (0..).zip(patterns.iter().copied()).collect();
        let atoms = atoms(&numbered, numbers).unwrap();
        let shown = atoms.iter().map(|atom| {
            let matched: Vec<&str> = atom.matched.iter().map(|id| patterns[*id as usize]).collect();
            let open = if atom.open { " open" } else { "" };
            format!("{}{open}: {}", atom.text, matched.join(" "))
        });
        shown.collect()
    }

    #[test]
    fn every_case_has_a_text() {
        let rows: [(&[&str], bool, &[&str]); 7] = [
            (&[], false, &["other: ", "- open: "]),
            (
                &["acme-*", "acme-dev"],
                false,
                &[
                    "other: ",
                    "acme-x: acme-*",
                    "acme-dev: acme-* acme-dev",
                    "- open: ",
                ],
            ),
            (
                &["a*", "*a"],
                false,
                &["other: ", "ax: a*", "a: a* *a", "xa: *a", "- open: "],
            ),
            (
                &["a*", "*a", "a"],
                false,
                &[
                    "other: ",
                    "ax: a*",
                    "aa: a* *a",
                    "a: a* *a a",
                    "xa: *a",
                    "- open: ",
                ],
            ),
            (
                &["1*", "12", "-"],
                true,
                &[
                    "other: ",
                    "1x: 1*",
                    "1000000000001 open: ",
                    "12 open: 12",
                    "- open: -",
                ],
            ),
            (
                &["1*", "12"],
                false,
                &["other: ", "1x: 1*", "12: 1* 12", "- open: "],
            ),
            (&["*-*"], false, &["other: ", "x-x: *-*", "- open: "]),
        ];
        for (patterns, numbers, expected) in rows {
            assert_eq!(cases(patterns, numbers), expected, "{patterns:?}");
        }
    }

    #[test]
    fn as_many_cases_as_brute_force_finds() {
        let sets: [&[&str]; 4] = [
            &["a*b", "*a*", "b*", "ab", "ba"],
            &["*ab*", "a*", "*b", "aab", "b"],
            &["a*a", "aa*", "*aa", "aaa"],
            &["*a*b*", "*b*a*", "a", "-*", "*-"],
        ];
        let letters = ['a', 'b', '-', 'x'];
        for patterns in sets {
            let numbered: Vec<(u32, &str)> = (0..).zip(patterns.iter().copied()).collect();
            let mut expected = FxHashSet::default();
            let mut texts = vec![String::new()];
            for _ in 0..7 {
                texts = texts
                    .iter()
                    .flat_map(|t| letters.map(|c| format!("{t}{c}")))
                    .collect();
                for text in texts.iter().filter(|t| *t != "-") {
                    let matched: Vec<u32> = numbered
                        .iter()
                        .filter(|(_, p)| matches(p, text))
                        .map(|(id, _)| *id)
                        .collect();
                    expected.insert(matched);
                }
            }
            let atoms = atoms(&numbered, false).unwrap();
            let closed = atoms.iter().filter(|a| !a.open);
            let found: Vec<Vec<u32>> = closed.map(|a| a.matched.clone()).collect();
            assert_eq!(found.len(), expected.len(), "{patterns:?}");
            assert_eq!(
                found.into_iter().collect::<FxHashSet<_>>(),
                expected,
                "{patterns:?}"
            );
        }
    }
}
