//! The literals that are looked for first.

use std::{ops::Range, sync::Arc};

use aho_corasick::{AhoCorasick, Input, MatchKind};

use super::table::{self, Check};

/// None is the beginning of another, so at most one stands at any place.
#[derive(Clone)]
pub(super) struct Literals {
    finder: Finder,
    checks: Arc<[Check]>,
    /// The length of the longest.
    pub(super) longest: usize,
}

#[derive(Clone)]
enum Finder {
    Automaton(Arc<AhoCorasick>),
    /// For the case that no automaton can be built: slow, and finds the same.
    OneByOne(Arc<[&'static str]>),
}

impl Literals {
    pub(super) fn new() -> Self {
        let literals = table::literals();
        let patterns: Vec<&'static str> = literals.iter().map(|(literal, _)| *literal).collect();
        let automaton = AhoCorasick::builder()
            // The only kind that has a prefilter of vector instructions.
            .match_kind(MatchKind::LeftmostFirst)
            .build(&patterns);
        Self {
            longest: patterns.iter().map(|p| p.len()).max().unwrap_or(1),
            finder: match automaton {
                Ok(automaton) => Finder::Automaton(Arc::new(automaton)),
                Err(_) => Finder::OneByOne(patterns.into()),
            },
            checks: literals.into_iter().map(|(_, check)| check).collect(),
        }
    }

    /// The first literal within these places of a text: where it begins, and what is done there.
    pub(super) fn find(&self, text: &[u8], range: Range<usize>) -> Option<(usize, Option<Check>)> {
        let (start, number) = match &self.finder {
            Finder::Automaton(automaton) => {
                let found = automaton.find(Input::new(text).range(range))?;
                (found.start(), found.pattern().as_usize())
            }
            Finder::OneByOne(patterns) => one_by_one(patterns, text, range)?,
        };
        Some((start, self.checks.get(number).copied()))
    }
}

fn one_by_one(patterns: &[&str], text: &[u8], range: Range<usize>) -> Option<(usize, usize)> {
    let text = text.get(..range.end)?;
    range.into_iter().find_map(|at| {
        let rest = text.get(at..)?;
        let number = patterns.iter().position(|p| rest.starts_with(p.as_bytes()))?;
        Some((at, number))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_can_be_looked_for_at_once() {
        let literals = table::literals();
        // The vector instructions take no more; without them the search is several times slower.
        assert!(literals.len() <= 64, "{}", literals.len());
        for (at, (literal, _)) in literals.iter().enumerate() {
            let others = literals.iter().enumerate().filter(|(other, _)| *other != at);
            for (_, (other, _)) in others {
                assert!(!other.starts_with(literal), "{literal:?} hides {other:?}");
            }
        }
        assert!(matches!(Literals::new().finder, Finder::Automaton(_)));
    }

    #[test]
    fn both_ways_of_looking_find_the_same() {
        let fast = Literals::new();
        let patterns: Vec<&'static str> = table::literals().iter().map(|(literal, _)| *literal).collect();
        let text = format!("x{}y -----BEGI eyeyJ xo", patterns.join("-"));
        let slow = Literals {
            finder: Finder::OneByOne(patterns.into()),
            ..fast.clone()
        };
        let all = |literals: &Literals, end: usize| {
            let mut found = Vec::new();
            let mut at = 0;
            while let Some((start, _)) = literals.find(text.as_bytes(), at..end) {
                found.push(start);
                at = start + 1;
            }
            found
        };
        for end in [text.len(), text.len() / 2] {
            assert_eq!(all(&fast, end), all(&slow, end));
        }
        assert!(all(&fast, text.len()).len() > fast.checks.len() - 8);
    }
}
