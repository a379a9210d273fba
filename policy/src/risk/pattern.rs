//! Patterns of method ids and what they stand for, indexed so that a look-up asks few of them.
//!
//! They are written as in rules; these are `'static`, and looked up for every call that may change something.

use rustc_hash::FxHashMap;

/// Patterns with a value each.
#[derive(Debug)]
pub(super) struct Patterns<T> {
    /// Whole ids.
    exact: FxHashMap<&'static str, Vec<T>>,
    /// What stands before a last `*`, where that is all of the wildcards.
    parents: FxHashMap<&'static str, Vec<T>>,
    /// All others by their first segment, which may be `**`.
    others: FxHashMap<&'static str, Vec<(&'static str, T)>>,
}

impl<T> Patterns<T> {
    pub(super) fn new(rows: impl Iterator<Item = (&'static str, T)>) -> Self {
        let mut patterns = Self {
            exact: FxHashMap::default(),
            parents: FxHashMap::default(),
            others: FxHashMap::default(),
        };
        for (pattern, value) in rows {
            let parent = pattern.strip_suffix(".*").filter(|parent| !parent.contains('*'));
            if let Some(parent) = parent {
                patterns.parents.entry(parent).or_default().push(value);
            } else if pattern.contains('*') {
                let others = patterns.others.entry(first(pattern)).or_default();
                others.push((pattern, value));
            } else {
                patterns.exact.entry(pattern).or_default().push(value);
            }
        }
        patterns
    }

    /// The values of the patterns that match an id, one for each pattern.
    pub(super) fn of(&self, id: &str) -> impl Iterator<Item = &T> {
        let parent = id.rsplit_once('.').map(|(parent, _)| parent);
        let indexed = [
            self.exact.get(id),
            parent.and_then(|parent| self.parents.get(parent)),
        ];
        let others = [first(id), "**"].map(|service| self.others.get(service));
        indexed.into_iter().flatten().flatten().chain(
            others
                .into_iter()
                .flatten()
                .flatten()
                .filter(move |(pattern, _)| fits(pattern, id))
                .map(|(_, value)| value),
        )
    }
}

/// The first segment of an id.
fn first(id: &str) -> &str {
    id.split_once('.').map_or(id, |(first, _)| first)
}

/// Whether a pattern matches an id. Its cost is bounded by the length of ids, of which there are few dots.
pub(super) fn fits(pattern: &str, id: &str) -> bool {
    let (segment, rest) = split(pattern);
    if segment == "**" {
        let Some(rest) = rest else { return true };
        let mut id = Some(id);
        while let Some(tail) = id {
            if fits(rest, tail) {
                return true;
            }
            id = split(tail).1;
        }
        return false;
    }
    let (own, tail) = split(id);
    (segment == "*" || segment == own)
        && match (rest, tail) {
            (Some(rest), Some(tail)) => fits(rest, tail),
            (Some(rest), None) => rest == "**",
            (None, None) => true,
            _ => false,
        }
}

fn split(dotted: &str) -> (&str, Option<&str>) {
    match dotted.split_once('.') {
        Some((first, rest)) => (first, Some(rest)),
        None => (dotted, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [&str; 8] = [
        "a.b.c", "a.b.*", "a.*.c", "a.**.c", "a.**", "**.c", "**", "a.b.**.c",
    ];

    #[test]
    fn a_lookup_finds_what_fits() {
        let patterns = Patterns::new(ALL.into_iter().map(|pattern| (pattern, pattern)));
        for (id, wanted) in [
            ("a.b.c", &ALL[..]),
            ("a.b.d", &["a.b.*", "a.**", "**"]),
            ("a.b.d.c", &["a.**.c", "a.**", "**.c", "**", "a.b.**.c"]),
            ("a.c", &["a.**.c", "a.**", "**.c", "**"]),
            ("b.c", &["**.c", "**"]),
            ("c", &["**.c", "**"]),
            ("a", &["a.**", "**"]),
            ("a.b", &["a.**", "**"]),
        ] {
            let mut found: Vec<_> = patterns.of(id).copied().collect();
            found.sort_by_key(|pattern| ALL.iter().position(|known| known == pattern));
            assert_eq!(found, wanted, "{id}");
            let fitting: Vec<_> = ALL.into_iter().filter(|pattern| fits(pattern, id)).collect();
            assert_eq!(found, fitting, "{id}");
        }
    }

    /// The patterns mean what they mean in rules.
    #[test]
    fn patterns_fit_as_globs_of_rules_do() {
        for pattern in ALL {
            let glob = crate::glob::MethodGlob::parse(pattern).expect("is a glob");
            for id in [
                "a.b.c",
                "a.b.d",
                "a.b.d.c",
                "a.c",
                "b.c",
                "c",
                "a",
                "a.b",
                "a.b.c.d.c",
            ] {
                assert_eq!(fits(pattern, id), glob.matches(id), "{pattern} {id}");
            }
        }
    }
}
