//! The patterns of `matches()`: compiled with the condition, and weighed, so that looking for one has a bound.
//!
//! The engine is linear in the text, but the factor is the pattern's: where texts defeat its cached automaton, each
//! byte is tried in every state that is open. The steps are counted for that case.

use regex::{Regex, RegexBuilder};
use regex_automata::nfa::thompson::NFA;

use super::{error::EvalError, operations::Steps};

/// Bytes that a compiled pattern may take.
const PATTERN_SIZE: usize = 256 * 1024;
/// How deep groups of a pattern may be nested.
const PATTERN_DEPTH: u32 = 24;
/// Bytes of a text that a pattern is looked for in.
const MAX_MATCHED: usize = 64 * 1024;
/// Tries of a byte in a state that count as one step.
const STEP: usize = 16;

/// A pattern in RE2 syntax.
#[derive(Debug)]
pub(super) struct Pattern {
    regex: Regex,
    states: usize,
}

impl Pattern {
    /// Compiles a pattern, or says what is wrong with it.
    pub(super) fn compile(text: &str) -> Result<Self, String> {
        let text = with_ascii_classes(text);
        let regex = RegexBuilder::new(&text)
            .size_limit(PATTERN_SIZE)
            .dfa_size_limit(PATTERN_SIZE)
            .nest_limit(PATTERN_DEPTH)
            .build()
            .map_err(|error| match error {
                regex::Error::CompiledTooBig(_) => too_large(),
                error => wrong(&error.to_string()),
            })?;
        let states = NFA::compiler()
            .configure(NFA::config().nfa_size_limit(Some(PATTERN_SIZE)))
            .build(&text)
            .map_err(|_| too_large())?
            .states()
            .len();
        Ok(Self { regex, states })
    }

    /// Whether the pattern is found in a text.
    pub(super) fn is_in(&self, text: &str, steps: &mut Steps) -> Result<bool, EvalError> {
        if text.len() > MAX_MATCHED {
            return Err(EvalError::TooLarge("a text that matches() looks through"));
        }
        steps.spend(text.len().saturating_mul(self.states) / STEP)?;
        Ok(self.regex.is_match(text))
    }
}

/// The pattern with `\d`, `\s`, `\w` and their opposites of ASCII, as RE2 has them; the engine would take those of
/// all Unicode.
fn with_ascii_classes(text: &str) -> String {
    let mut made = String::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        if c != '\\' {
            made.push(c);
            continue;
        }
        // Classes may stand within classes, so that one text does for both places.
        match rest.next() {
            Some('d') => made.push_str("[0-9]"),
            Some('D') => made.push_str("[^0-9]"),
            Some('s') => made.push_str(r"[\t\n\f\r ]"),
            Some('S') => made.push_str(r"[^\t\n\f\r ]"),
            Some('w') => made.push_str("[0-9A-Za-z_]"),
            Some('W') => made.push_str("[^0-9A-Za-z_]"),
            escaped => {
                made.push(c);
                made.extend(escaped);
            }
        }
    }
    made
}

fn too_large() -> String {
    "this pattern is too large when it is compiled".to_owned()
}

/// The last line of what the compiler says, which is what is wrong; the others draw the pattern.
fn wrong(error: &str) -> String {
    let last = error.lines().last().unwrap_or("").trim();
    format!("not a pattern: {}", last.strip_prefix("error: ").unwrap_or(last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_those_of_re2() {
        let rows = [
            (r"^\d+$", "42", true),
            (r"^\d+$", "٤٢", false),
            (r"^\w+$", "a_1", true),
            (r"^\w+$", "é", false),
            (r"^[\w-]+$", "a-b", true),
            (r"^[^\w-]+$", "a-b", false),
            (r"^[^\s/]+$", "a b", false),
            (r"^\W\D\S$", "-é!", true),
            (r"^\\d$", r"\d", true),
            (r"^\\d$", "4", false),
            (r"a\.b", "a.b", true),
            (r"a\.b", "axb", false),
            (r"^.$", "é", true),
            (r"(?i)^GET$", "get", true),
            ("b", "abc", true),
        ];
        for (pattern, text, found) in rows {
            let pattern = Pattern::compile(pattern).unwrap_or_else(|error| panic!("{pattern}: {error}"));
            assert_eq!(
                pattern.is_in(text, &mut Steps::all()),
                Ok(found),
                "{pattern:?} {text}"
            );
        }
    }

    #[test]
    fn what_is_no_pattern_says_why() {
        let rows = [
            ("(", "not a pattern: unclosed group"),
            (
                r"a\",
                "not a pattern: incomplete escape sequence, reached end of pattern prematurely",
            ),
            (r"(a)\1", "not a pattern: backreferences are not supported"),
            (
                "(?=a)",
                "not a pattern: look-around, including look-ahead and look-behind, is not supported",
            ),
            (r"\pL{1000}", "this pattern is too large when it is compiled"),
            ("a{1000}{1000}", "this pattern is too large when it is compiled"),
        ];
        for (pattern, expected) in rows {
            assert_eq!(
                Pattern::compile(pattern).map(|_| ()),
                Err(expected.to_owned()),
                "{pattern}"
            );
        }
    }
}
