//! The name that was probably meant by one that is unknown.

/// Names that people know from elsewhere, and ours.
const KNOWN_ELSEWHERE: &[(&str, &str)] = &[
    ("kind", "type"),
    ("method", "verb"),
    ("http_method", "verb"),
    ("params", "query"),
    ("parameters", "query"),
    ("length", "size"),
    ("content", "body"),
    ("payload", "body"),
    ("region", "location"),
    ("zone", "location"),
    ("name", "serviceAccount"),
    ("service", "api"),
    ("principal", "agent"),
    ("caller", "agent"),
    ("time", "now"),
    ("score", "risk"),
];

/// The one of `known` that was probably meant by `written`.
pub(super) fn meant<'k>(written: &str, known: &[&'k str]) -> Option<&'k str> {
    let other = KNOWN_ELSEWHERE
        .iter()
        .find(|(there, _)| *there == written)
        .map(|(_, here)| *here);
    let mut best: Option<(usize, &'k str)> = None;
    for name in known.iter().copied() {
        if other == Some(name) || name.eq_ignore_ascii_case(written) {
            return Some(name);
        }
        let edits = distance(written, name);
        let shorter = name.len().min(written.len());
        if edits < shorter && edits <= (shorter / 3).max(1) && best.is_none_or(|(least, _)| edits < least) {
            best = Some((edits, name));
        }
    }
    best.filter(|(edits, _)| *edits <= 2).map(|(_, name)| name)
}

/// Characters to put in, take out, change or swap with the next one between two short names.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    // Rows of the distances between what `a` and `b` start with; three of them are at hand.
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let at = |row: &[usize], index: usize| row.get(index).copied().unwrap_or(usize::MAX - 1);
            let mut least = (at(&above, j) + usize::from(x != y))
                .min(at(&above, j + 1) + 1)
                .min(at(&row, j) + 1);
            let swapped = i > 0 && j > 0 && a.get(i - 1) == Some(y) && b.get(j - 1) == Some(x);
            if swapped {
                least = least.min(at(&before, j - 1) + 1);
            }
            row.push(least);
        }
        before = std::mem::replace(&mut above, row);
    }
    above.last().copied().unwrap_or(a.len())
}

/// `did you mean X?`, or all that there is.
pub(super) fn hint(written: &str, known: &[&str]) -> String {
    match meant(written, known) {
        Some(name) => format!("did you mean `{name}`?"),
        None => format!("there are {}", known.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::condition::environment::{self, Object};

    #[test]
    fn edit_distances() {
        let rows = [
            ("", "", 0),
            ("abc", "abc", 0),
            ("abc", "abd", 1),
            ("abc", "ab", 1),
            ("", "abc", 3),
            ("verb", "ver", 1),
            ("nmae", "name", 1),
            ("kitten", "sitting", 3),
        ];
        for (a, b, edits) in rows {
            assert_eq!((distance(a, b), distance(b, a)), (edits, edits), "{a} {b}");
        }
    }

    #[test]
    fn names_that_were_meant() {
        let rows = [
            ("nmae", Some("name")),
            ("kind", Some("type")),
            ("Project", Some("project")),
            ("projct", Some("project")),
            ("colour", None),
            ("i", None),
            ("x", None),
        ];
        let names: Vec<&str> = environment::field_names(Object::Resource).collect();
        for (written, expected) in rows {
            assert_eq!(meant(written, &names), expected, "{written}");
        }
    }
}
