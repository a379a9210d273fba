//! Detectors of policies: regular expressions that run in linear time and can't match without bound.

use std::ops::Range;

use aho_corasick::{AhoCorasick, Input, MatchKind};
use regex::bytes::{Regex, RegexBuilder};
use regex_syntax::{
    ParserBuilder,
    ast::{self, Ast, RepetitionKind, RepetitionRange},
};

use super::table::KINDS;
use crate::definition::CustomDetector;

/// The longest text that a pattern of a policy may match, in bytes.
pub const MAX_MATCH: usize = 1024;
/// The detectors that a set may have besides the built-in ones.
pub const MAX_CUSTOM: usize = 64;
/// How far from a keyword a match may begin.
const NEAR: usize = 256;
/// What a compiled pattern may take of the memory.
const MAX_SIZE: usize = 1024 * 1024;

/// Why a detector of a policy can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("detector {name:?}: {reason}")]
pub struct DetectorError {
    /// Which of the detectors, from 0.
    pub index: usize,
    /// Its name.
    pub name: String,
    /// What is wrong with it.
    pub reason: Reason,
}

impl DetectorError {
    /// Where in the pattern it is wrong, in characters from 1; `None` where the pattern is not at fault.
    pub fn column(&self) -> Option<usize> {
        match self.reason {
            Reason::Syntax { column, .. } | Reason::Unbounded { column } => Some(column),
            _ => None,
        }
    }
}

/// What is wrong with a detector of a policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// Not a name.
    #[error("the name must be of a-z, 0-9 and dashes, with a letter first, and have at most 63 characters")]
    Name,
    /// A second one of that name.
    #[error("another detector has this name")]
    Taken,
    /// No regular expression.
    #[error("column {column} of the pattern: {what}")]
    Syntax {
        /// In characters, from 1.
        column: usize,
        /// As the parser says it.
        what: String,
    },
    /// It matches what no window holds.
    #[error(
        "column {column} of the pattern: this repeats without bound, and the bytes around a secret are looked at only \
         so far; give a most, such as {{1,200}} in the place of +"
    )]
    Unbounded {
        /// In characters, from 1.
        column: usize,
    },
    /// It matches what no window holds.
    #[error("the pattern can match {0} bytes; at most {MAX_MATCH} are looked at")]
    TooLong(usize),
    /// It matches everywhere.
    #[error("the pattern matches the empty text, which stands everywhere")]
    Empty,
    /// It takes too much memory.
    #[error("the pattern is too large: give smaller repetitions, or fewer alternatives")]
    TooLarge,
    /// A keyword that is not one.
    #[error("a keyword must have 2 to 64 characters")]
    Keyword,
    /// Over the cap.
    #[error("there are more than {MAX_CUSTOM} detectors")]
    TooMany,
}

/// The detectors of policies, compiled.
#[derive(Debug, Default)]
pub(super) struct Customs {
    all: Vec<Custom>,
    /// The keywords of all, and whose each is.
    keywords: Option<AhoCorasick>,
    of_keyword: Vec<usize>,
    longest_keyword: usize,
}

#[derive(Debug)]
struct Custom {
    name: String,
    pattern: Regex,
    anywhere: bool,
}

/// Up to where in its text each detector has matched, so that matches don't overlap.
#[derive(Debug, Clone, Default)]
pub(super) struct Progress(Vec<u64>);

impl Customs {
    pub(super) fn new(detectors: &[CustomDetector]) -> Result<Self, DetectorError> {
        let mut customs = Self::default();
        let mut words: Vec<&str> = Vec::new();
        for (index, detector) in detectors.iter().enumerate() {
            let wrong = |reason| DetectorError {
                index,
                name: detector.name.clone(),
                reason,
            };
            if index >= MAX_CUSTOM {
                return Err(wrong(Reason::TooMany));
            }
            let custom = customs.compile(detector).map_err(wrong)?;
            customs.all.push(custom);
            for word in &detector.keywords {
                if !(2..=64).contains(&word.len()) {
                    return Err(wrong(Reason::Keyword));
                }
                words.push(word);
                customs.of_keyword.push(index);
                customs.longest_keyword = customs.longest_keyword.max(word.len());
            }
        }
        if !words.is_empty() {
            let automaton = AhoCorasick::builder()
                .match_kind(MatchKind::Standard)
                .ascii_case_insensitive(true)
                .build(&words);
            // The last detector stands for all: only their number could be too much.
            let index = detectors.len().saturating_sub(1);
            customs.keywords = Some(automaton.map_err(|_| DetectorError {
                index,
                name: detectors.get(index).map(|d| d.name.clone()).unwrap_or_default(),
                reason: Reason::TooLarge,
            })?);
        }
        Ok(customs)
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.all.iter().map(|custom| custom.name.as_str())
    }

    fn compile(&self, detector: &CustomDetector) -> Result<Custom, Reason> {
        let name = detector.name.as_str();
        let is_name = name.starts_with(|c: char| c.is_ascii_lowercase())
            && name.len() <= 63
            && name
                .bytes()
                .all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'));
        if !is_name {
            return Err(Reason::Name);
        }
        if KINDS.iter().any(|kind| kind.name == name) || self.names().any(|taken| taken == name) {
            return Err(Reason::Taken);
        }
        check(&detector.pattern)?;
        let pattern = RegexBuilder::new(&detector.pattern)
            .unicode(false)
            .size_limit(MAX_SIZE)
            .dfa_size_limit(MAX_SIZE)
            .build()
            .map_err(|_| Reason::TooLarge)?;
        Ok(Custom {
            name: name.to_owned(),
            pattern,
            anywhere: detector.keywords.is_empty(),
        })
    }

    /// Runs all of them over the places in a range of the text, which begins so far behind its own beginning.
    pub(super) fn run(
        &self,
        text: &[u8],
        places: Range<usize>,
        before: u64,
        progress: &mut Progress,
        found: &mut dyn FnMut(&str, Range<usize>),
    ) {
        if self.all.is_empty() {
            return;
        }
        progress.0.resize(self.all.len(), 0);
        for (custom, matched) in self.all.iter().zip(&mut progress.0) {
            if custom.anywhere {
                custom.find(text, places.clone(), before, matched, found);
            }
        }
        let Some(keywords) = &self.keywords else {
            return;
        };
        let stop = text.len().min(places.end + self.longest_keyword - 1);
        let mut hits: Vec<(usize, usize)> = keywords
            .find_overlapping_iter(Input::new(text).range(places.start..stop))
            .filter(|hit| hit.start() < places.end)
            .filter_map(|hit| Some((hit.start(), *self.of_keyword.get(hit.pattern().as_usize())?)))
            .collect();
        hits.sort_unstable();
        hits.dedup();
        for (at, index) in hits {
            if let (Some(custom), Some(matched)) = (self.all.get(index), progress.0.get_mut(index)) {
                let near = at.saturating_sub(NEAR)..at + NEAR;
                custom.find(text, near, before, matched, found);
            }
        }
    }
}

impl Custom {
    /// Finds matches that begin in a range, behind the last one.
    fn find(
        &self,
        text: &[u8],
        places: Range<usize>,
        before: u64,
        matched: &mut u64,
        found: &mut dyn FnMut(&str, Range<usize>),
    ) {
        // No match that begins in the range ends behind this, nor looks at more than a character there.
        let text = text
            .get(..text.len().min(places.end + MAX_MATCH + 4))
            .unwrap_or_default();
        let behind_last = usize::try_from(matched.saturating_sub(before)).unwrap_or(usize::MAX);
        let mut at = places.start.max(behind_last);
        while at < places.end.min(text.len()) {
            let Some(hit) = self.pattern.find_at(text, at) else {
                return;
            };
            if hit.start() >= places.end {
                return;
            }
            found(&self.name, hit.range());
            at = hit.end().max(hit.start() + 1);
            *matched = before + at as u64;
        }
    }
}

/// Checks what a pattern can match.
fn check(pattern: &str) -> Result<(), Reason> {
    let column = |span: &ast::Span| {
        let before = pattern.get(..span.start.offset);
        before.map_or(1, |text| text.chars().count() + 1)
    };
    let mut parser = ast::parse::ParserBuilder::new().nest_limit(64).build();
    let tree = parser.parse(pattern).map_err(|error| Reason::Syntax {
        column: column(error.span()),
        what: error.kind().to_string(),
    })?;
    let mut parser = ParserBuilder::new()
        .nest_limit(64)
        .unicode(false)
        .utf8(false)
        .build();
    let meaning = parser.parse(pattern).map_err(|error| match error {
        regex_syntax::Error::Parse(error) => Reason::Syntax {
            column: column(error.span()),
            what: error.kind().to_string(),
        },
        regex_syntax::Error::Translate(error) => Reason::Syntax {
            column: column(error.span()),
            what: error.kind().to_string(),
        },
        other => Reason::Syntax {
            column: 1,
            what: other.to_string(),
        },
    })?;
    let properties = meaning.properties();
    match properties.maximum_len() {
        Some(length) if length > MAX_MATCH => return Err(Reason::TooLong(length)),
        Some(_) => {}
        // It matches nothing at all, or without bound.
        None => {
            return Err(Reason::Unbounded {
                column: unbounded(&tree).map_or(1, column),
            });
        }
    }
    if properties.minimum_len().is_none_or(|length| length == 0) {
        return Err(Reason::Empty);
    }
    Ok(())
}

/// The operator of the first repetition without a bound.
fn unbounded(tree: &Ast) -> Option<&ast::Span> {
    match tree {
        Ast::Repetition(repetition) => match &repetition.op.kind {
            RepetitionKind::ZeroOrMore
            | RepetitionKind::OneOrMore
            | RepetitionKind::Range(RepetitionRange::AtLeast(_)) => Some(&repetition.op.span),
            _ => unbounded(&repetition.ast),
        },
        Ast::Group(group) => unbounded(&group.ast),
        Ast::Alternation(alternation) => alternation.asts.iter().find_map(unbounded),
        Ast::Concat(concat) => concat.asts.iter().find_map(unbounded),
        _ => None,
    }
}
