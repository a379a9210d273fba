//! One row of the table, and which methods it means.

use crate::{call::Traits, catalog::LoadError, glob::MethodGlob};

/// What a group is made for. Both kinds can be used with any effect; this is where they lean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Nothing is in it that a reader of its name would not expect: for rules that allow.
    Allow,
    /// Everything is in it that could be meant: for rules that deny or want an approval.
    Restrict,
}

/// One group.
#[derive(Debug)]
pub struct Row {
    /// Its name, without `group:`.
    pub name: &'static str,
    /// One sentence, or two.
    pub about: &'static str,
    /// What it is made for.
    pub purpose: Purpose,
    /// Its methods: those of any part.
    pub parts: &'static [Part],
}

impl Row {
    /// A group for rules that allow.
    pub(super) const fn allow(name: &'static str, about: &'static str, parts: &'static [Part]) -> Self {
        Self {
            name,
            about,
            purpose: Purpose::Allow,
            parts,
        }
    }

    /// A group for rules that restrict.
    pub(super) const fn restrict(name: &'static str, about: &'static str, parts: &'static [Part]) -> Self {
        Self {
            name,
            about,
            purpose: Purpose::Restrict,
            parts,
        }
    }

    /// Names the place of each method that belongs to the group, some of them more than once.
    ///
    /// # Errors
    /// A glob of the table is none, which is a defect of the build.
    pub(super) fn expand(
        &self,
        ids: &[&'static str],
        traits: &[Traits],
        mut visit: impl FnMut(usize),
    ) -> Result<(), LoadError> {
        for part in self.parts {
            let exclude = globs(part.exclude)?;
            for glob in globs(part.include)? {
                let (from, to) = range(ids, &glob);
                let places = (from..to).zip(ids.get(from..to).unwrap_or_default());
                for ((at, id), traits) in places.zip(traits.get(from..to).unwrap_or_default()) {
                    let suits = traits.contains(part.with) && traits.bits() & part.without.bits() == 0;
                    if suits && glob.matches(id) && !exclude.iter().any(|no| no.matches(id)) {
                        visit(at);
                    }
                }
            }
        }
        Ok(())
    }
}

/// Methods of a group.
#[derive(Debug)]
pub struct Part {
    /// Globs, any of which must match.
    pub include: &'static [&'static str],
    /// Globs, none of which may match.
    pub exclude: &'static [&'static str],
    /// Traits that a method must have, all of them.
    pub with: Traits,
    /// Traits of which a method may have none.
    pub without: Traits,
}

impl Part {
    /// The methods that any of these globs matches.
    pub(super) const fn of(include: &'static [&'static str]) -> Self {
        Self {
            include,
            exclude: &[],
            with: Traits::NONE,
            without: Traits::NONE,
        }
    }

    /// But for those that any of these globs matches.
    pub(super) const fn but(mut self, exclude: &'static [&'static str]) -> Self {
        self.exclude = exclude;
        self
    }

    /// Those with these traits.
    pub(super) const fn with(mut self, traits: Traits) -> Self {
        self.with = self.with.union(traits);
        self
    }

    /// Those without any of these traits.
    pub(super) const fn without(mut self, traits: Traits) -> Self {
        self.without = self.without.union(traits);
        self
    }
}

fn globs(texts: &[&str]) -> Result<Vec<MethodGlob>, LoadError> {
    texts
        .iter()
        .map(|text| MethodGlob::parse(text).map_err(|_| LoadError::Format))
        .collect()
}

/// Where the ids that begin as a glob does stand among all, which are sorted.
fn range(ids: &[&str], glob: &MethodGlob) -> (usize, usize) {
    let text = glob.as_str();
    let literal = text.find('*').map_or(text, |star| &text[..star]);
    // `a.**` matches `a` too.
    let literal = literal.strip_suffix('.').unwrap_or(literal);
    let from = ids.partition_point(|id| *id < literal);
    let after = ids.get(from..).unwrap_or_default();
    let to = from + after.partition_point(|id| id.starts_with(literal));
    (from, to)
}
