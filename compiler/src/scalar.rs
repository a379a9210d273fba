//! Places within a YAML scalar: where each character of its value stands in the file.
//!
//! What a policy holds in a string (a condition, a glob) has errors with a line and a column of its own. A YAML
//! reader tells where the scalar begins, not how its quotes, escapes, folds and indentation shift what is in it. So
//! the scalar is read once more here, along the value that the reader made of it; where the two do not agree, there
//! is no place, and the error points at the scalar's beginning.

/// Line and column of the file, both from 1.
pub(crate) type Position = (u64, u64);

/// Where a place within a scalar's value (line and column from 1) stands in the file. `start` is where the scalar
/// begins. `None` where the scalar is not understood.
pub(crate) fn locate(source: &str, start: Position, value: &str, place: Position) -> Option<Position> {
    let target = index_of(value, place);
    let found = Reader::new(source, start)?.along(value)?;
    match found.get(target) {
        Some(position) => Some(*position),
        // The end of the text: behind its last character.
        None => found.last().map(|(line, column)| (*line, column + 1)),
    }
}

/// The number of the character at a place of a text; that of its end where it has no such place.
fn index_of(text: &str, (line, column): Position) -> usize {
    let mut at = (1, 1);
    for (index, c) in text.chars().enumerate() {
        if at == (line, column) {
            return index;
        }
        at = if c == '\n' {
            (at.0 + 1, 1)
        } else {
            (at.0, at.1 + 1)
        };
    }
    text.chars().count()
}

/// The lines of a file, and where a scalar begins: a block scalar with its first text, others with their first
/// character.
struct Reader {
    lines: Vec<Vec<char>>,
    row: usize,
    column: usize,
}

impl Reader {
    fn new(source: &str, (line, column): Position) -> Option<Self> {
        let chars = |line: &str| line.strip_suffix('\r').unwrap_or(line).chars().collect();
        let mut reader = Self {
            lines: source.split('\n').map(chars).collect(),
            row: usize::try_from(line.checked_sub(1)?).ok()?,
            column: usize::try_from(column.checked_sub(1)?).ok()?,
        };
        reader.skip_properties()?;
        Some(reader)
    }

    /// A tag and an anchor stand before the scalar itself.
    fn skip_properties(&mut self) -> Option<()> {
        let line = self.lines.get(self.row)?;
        while let Some('!' | '&') = line.get(self.column) {
            let rest = line.get(self.column..)?;
            let word = rest.iter().position(|c| *c == ' ')?;
            let blanks = rest.get(word..)?.iter().position(|c| *c != ' ')?;
            self.column += word + blanks;
        }
        Some(())
    }

    /// The position of each character of the value: by the first way to read the scalar that gives the value.
    fn along(&self, value: &str) -> Option<Vec<Position>> {
        let wanted: Vec<char> = value.chars().collect();
        let attempt = |read: &dyn Fn(&mut Found<'_>) -> Option<()>| {
            let mut found = Found {
                wanted: &wanted,
                places: Vec::with_capacity(wanted.len()),
            };
            read(&mut found).map(|()| found.places)
        };
        let quote = match self.lines.get(self.row)?.get(self.column) {
            Some('\'') => Quote::Single,
            Some('"') => Quote::Double,
            _ => Quote::None,
        };
        attempt(&|found| {
            let (header, folded) = self.header()?;
            self.block(value, found, header, folded)
        })
        .or_else(|| attempt(&|found| self.flow(found, quote)))
    }

    /// The row of the header above the scalar's text, `|` or `>` with what may stand behind it, and whether it folds.
    fn header(&self) -> Option<(usize, bool)> {
        let blank = |line: &&Vec<char>| line.iter().all(|c| *c == ' ' || *c == '\t');
        let above = self.lines.get(..self.row)?;
        let row = above
            .len()
            .checked_sub(1 + above.iter().rev().take_while(blank).count())?;
        let line: String = above.get(row)?.iter().collect();
        let code = line.split(" #").next().unwrap_or(&line).trim_end();
        let sign = code.trim_end_matches(|c: char| c.is_ascii_digit() || c == '+' || c == '-');
        match sign.chars().next_back()? {
            '|' => Some((row, false)),
            '>' => Some((row, true)),
            _ => None,
        }
    }

    /// A plain or quoted scalar, whose line breaks are folded.
    fn flow(&self, found: &mut Found<'_>, quote: Quote) -> Option<()> {
        let mut row = self.row;
        let mut at = self.column + usize::from(quote != Quote::None);
        while !found.is_complete() {
            let line = self.lines.get(row)?;
            let end = line
                .iter()
                .rposition(|c| *c != ' ' && *c != '\t')
                .map_or(0, |last| last + 1);
            let here = (row as u64 + 1, at as u64 + 1);
            let rest = line.get(at..).unwrap_or_default();
            match (quote, rest) {
                (Quote::Double, ['\\']) => {
                    // The line goes on, without a blank between.
                    row += 1;
                    at = indentation(self.lines.get(row)?);
                }
                (Quote::Double, ['\\', escape, digits @ ..]) => {
                    let (c, length) = unescape(*escape, digits)?;
                    found.take(c, here)?;
                    at += 2 + length;
                }
                (Quote::Single, ['\'', '\'', ..]) => {
                    found.take('\'', here)?;
                    at += 2;
                }
                (_, [c, ..]) if at < end => {
                    found.take(*c, here)?;
                    at += 1;
                }
                // Blanks before a quote or a break; before a break they are no part of the value.
                (_, [c, ..])
                    if quote != Quote::None
                        && line.get(end).is_some()
                        && found.next() == Some(*c)
                        && self.ends(row, at, found) =>
                {
                    found.take(*c, here)?;
                    at += 1;
                }
                _ => {
                    let mut breaks = 1;
                    row += 1;
                    while self.lines.get(row)?.iter().all(|c| *c == ' ' || *c == '\t') {
                        breaks += 1;
                        row += 1;
                    }
                    match breaks {
                        1 => found.take(' ', here)?,
                        _ => (1..breaks).try_for_each(|_| found.take('\n', here))?,
                    }
                    at = indentation(self.lines.get(row)?);
                }
            }
        }
        Some(())
    }

    /// Whether the rest of a line of blanks is all that is left of the value.
    fn ends(&self, row: usize, at: usize, found: &Found<'_>) -> bool {
        let rest = self
            .lines
            .get(row)
            .and_then(|line| line.get(at..))
            .unwrap_or_default();
        found.rest() == rest
    }

    /// A block scalar: `|` keeps line breaks, `>` folds those between lines of the same indentation.
    fn block(&self, value: &str, found: &mut Found<'_>, header: usize, folded: bool) -> Option<()> {
        let filled = |line: &&str| !line.trim_matches([' ', '\t']).is_empty();
        let inner = value.split('\n').find(filled)?;
        let inner = inner.chars().take_while(|c| *c == ' ').count();
        let blank = |line: &[char]| line.iter().all(|c| *c == ' ');
        let outer = self.lines.iter().skip(header + 1).find(|line| !blank(line))?;
        let indent = indentation(outer).checked_sub(inner)?;
        // Whether the line before was text that a break after it folds, and how many empty lines followed.
        let mut before: Option<bool> = None;
        let mut empty = 0;
        for (row, line) in self.lines.iter().enumerate().skip(header + 1) {
            if found.is_complete() {
                break;
            }
            let number = row as u64 + 1;
            let text = line.get(indent..).unwrap_or_default();
            if text.is_empty() {
                empty += 1;
                continue;
            }
            let folds = folded && !matches!(text, [' ' | '\t', ..]);
            let here = (number, indent as u64 + 1);
            match before {
                Some(true) if folds && empty == 0 => found.take(' ', here)?,
                Some(true) if folds => (0..empty).try_for_each(|_| found.take('\n', here))?,
                Some(_) => (0..=empty).try_for_each(|_| found.take('\n', here))?,
                None => (0..empty).try_for_each(|_| found.take('\n', here))?,
            }
            for (at, c) in text.iter().enumerate() {
                found.take(*c, (number, (indent + at) as u64 + 1))?;
            }
            before = Some(folds);
            empty = 0;
            // What is left are the breaks at the end, which belong behind this line.
            if found.rest().iter().all(|c| *c == '\n') {
                let end = (number, line.len() as u64 + 1);
                while !found.is_complete() {
                    found.take('\n', end)?;
                }
            }
        }
        found.is_complete().then_some(())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Quote {
    None,
    Single,
    Double,
}

/// The positions found so far of a value that is known.
struct Found<'v> {
    wanted: &'v [char],
    places: Vec<Position>,
}

impl Found<'_> {
    fn next(&self) -> Option<char> {
        self.rest().first().copied()
    }

    fn rest(&self) -> &[char] {
        self.wanted.get(self.places.len()..).unwrap_or_default()
    }

    fn is_complete(&self) -> bool {
        self.rest().is_empty()
    }

    /// Gives the next character its place; `None` where the value goes on with another.
    fn take(&mut self, c: char, at: Position) -> Option<()> {
        (self.next() == Some(c)).then(|| self.places.push(at))
    }
}

fn indentation(line: &[char]) -> usize {
    line.iter().take_while(|c| **c == ' ').count()
}

/// The character of an escape (YAML 1.2, section 5.7), and how many digits belong to it.
fn unescape(escape: char, digits: &[char]) -> Option<(char, usize)> {
    let length = match escape {
        'x' => 2,
        'u' => 4,
        'U' => 8,
        _ => 0,
    };
    if length > 0 {
        let text: String = digits.get(..length)?.iter().collect();
        return Some((char::from_u32(u32::from_str_radix(&text, 16).ok()?)?, length));
    }
    let c = match escape {
        '0' => '\0',
        'a' => '\u{7}',
        'b' => '\u{8}',
        't' | '\t' => '\t',
        'n' => '\n',
        'v' => '\u{b}',
        'f' => '\u{c}',
        'r' => '\r',
        'e' => '\u{1b}',
        'N' => '\u{85}',
        '_' => '\u{a0}',
        'L' => '\u{2028}',
        'P' => '\u{2029}',
        ' ' | '"' | '/' | '\\' => escape,
        _ => return None,
    };
    Some((c, 0))
}

#[cfg(test)]
mod tests {
    use serde_saphyr::Spanned;

    use super::*;

    #[derive(serde::Deserialize)]
    struct Document {
        v: Spanned<String>,
    }

    /// Each character of the value that stands in the file as it is, is found there.
    #[test]
    fn every_character_is_found_where_it_stands() {
        let documents = [
            "v: a == 1 && b",
            "v:   a == 1   # comment",
            "v: a ==\n  1 &&\n\n  b\nw: 1",
            "{v: a == 1, w: 2}",
            "v: 'a == ''x'' && b'",
            "v: 'a ==\n   1  &&   \n\n\n   b'",
            "v: 'ends with blanks   '",
            "v: \"a == \\\"x\\\" && b\"",
            "v: \"a\\u00e9\\x41 == \\\n   b\\tc\"",
            "v: \"a\n  b\n\n  c\"",
            "v: |\n  a == 1\n  && b\n",
            "v: |-\n  a == 1\n  && b\n\n\nw: 1",
            "v: |+\n  a\n\n\nw: 1",
            "v: |2\n    a\n   b\n",
            "v: | # comment\n\n\n      a\n        deeper\n\n      b\n",
            "v: >\n  a == 1\n  && b\n",
            "v: >-\n  a == 1\n  && b\n\n  && c\n    deeper\n    still\n  d\n\n\n",
            "v: >\n\n  a\n  b\n",
            "v: !!str a == b",
            "v: &x \"a == b\"",
            "v: é == ü && b",
            "v: \"é == 😀 b\"",
            "v:\n  a == b",
            "v:\n  - \n",
            "v: |\r\n  a == 1\r\n  && b\r\n",
        ];
        let mut checked = 0;
        for source in documents {
            let Ok(document) = serde_saphyr::from_str::<Document>(source) else {
                assert!(source.contains('-') && source.ends_with("- \n"), "{source:?}");
                continue;
            };
            let value = &document.v.value;
            let start = (document.v.defined.line(), document.v.defined.column());
            let lines: Vec<Vec<char>> = source.split('\n').map(|l| l.chars().collect()).collect();
            let mut place = (1, 1);
            for c in value.chars() {
                let (line, column) = locate(source, start, value, place).unwrap_or_else(|| {
                    panic!("{source:?}: {value:?} at {place:?} is not found from {start:?}")
                });
                let there = lines[line as usize - 1].get(column as usize - 1).copied();
                let same = there == Some(c) || there == Some('\\') || c == ' ' || c == '\n';
                assert!(
                    same,
                    "{source:?}: {c:?} of {place:?} at {line}:{column}, where {there:?} is"
                );
                checked += 1;
                place = if c == '\n' {
                    (place.0 + 1, 1)
                } else {
                    (place.0, place.1 + 1)
                };
            }
            assert!(
                locate(source, start, value, place).is_some(),
                "{source:?}: its end"
            );
        }
        assert!(checked > 200, "{checked}");
    }

    #[test]
    fn what_is_not_understood_has_no_place() {
        assert_eq!(locate("v: abc", (1, 4), "abd", (1, 1)), None);
        assert_eq!(locate("v: abc", (7, 4), "abc", (1, 1)), None);
        assert_eq!(locate("", (0, 0), "abc", (1, 1)), None);
        assert_eq!(locate("v: *x", (1, 4), "abc", (1, 1)), None);
        assert_eq!(locate("v: abc", (1, 4), "abc", (1, 3)), Some((1, 6)));
        assert_eq!(locate("v: abc", (1, 4), "abc", (9, 9)), Some((1, 7)));
    }
}
