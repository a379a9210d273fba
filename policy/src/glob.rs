//! Globs over method ids and resource names.
//!
//! A glob is a list of segments: `*` stands for any run of characters within one segment, `**`, alone in
//! its segment, for any number of whole segments, none included. Globs are parsed once, when a policy is
//! compiled; matching allocates nothing and takes time linear in practice (the classic two-pointer walk
//! with one point to come back to, on segments and again inside a segment).

use std::fmt;

use serde::{Deserialize, Serialize};

/// Why a glob cannot be used. The text is shown to the author of the policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GlobError {
    /// Nothing at all.
    #[error("the glob is empty")]
    Empty,
    /// `a..b` or `a//b`.
    #[error("segment {0} is empty")]
    EmptySegment(usize),
    /// `a**` or `***`.
    #[error("segment {0}: `**` must stand alone in its segment")]
    DeepInsideSegment(usize),
    /// A character that no method id or resource name has.
    #[error("character {0:?} at column {1} cannot occur here")]
    Character(char, usize),
    /// A resource glob such as `/projects/p` or `//storage.googleapis.com/...`.
    #[error("a resource name starts without a slash, for example projects/acme/**")]
    LeadingSlash,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Segment {
    Literal(Box<str>),
    /// `*`
    Any,
    /// `**`
    Deep,
    /// Text with at least one `*` among other characters.
    Pattern(Box<str>),
}

impl Segment {
    fn parse(text: &str, number: usize) -> Result<Self, GlobError> {
        match text {
            "" => Err(GlobError::EmptySegment(number)),
            "*" => Ok(Self::Any),
            "**" => Ok(Self::Deep),
            t if t.contains("**") => Err(GlobError::DeepInsideSegment(number)),
            t if t.contains('*') => Ok(Self::Pattern(t.into())),
            t => Ok(Self::Literal(t.into())),
        }
    }

    /// Whether one segment of a name matches; never called for `Deep`.
    fn matches(&self, name: &str) -> bool {
        match self {
            Self::Literal(text) => **text == *name,
            Self::Any | Self::Deep => true,
            Self::Pattern(pattern) => matches_pattern(pattern.as_bytes(), name.as_bytes()),
        }
    }
}

fn matches_pattern(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n) = (0, 0);
    let mut back: Option<(usize, usize)> = None;
    while n < name.len() {
        if p < pattern.len() && pattern[p] == b'*' {
            back = Some((p + 1, n));
            p += 1;
        } else if p < pattern.len() && pattern[p] == name[n] {
            p += 1;
            n += 1;
        } else if let Some((after, from)) = back {
            p = after;
            n = from + 1;
            back = Some((after, n));
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|b| *b == b'*')
}

/// Matches whole segments: the same walk as inside a segment, one level up.
fn matches_segments(glob: &[Segment], name: &str, separator: char) -> bool {
    // Offsets into `name` stand for positions between segments, so nothing is collected. `None` is the end.
    let (mut g, mut at) = (0, Some(0));
    let mut back: Option<(usize, Option<usize>)> = None;
    loop {
        let Some(offset) = at else {
            return glob[g..].iter().all(|s| *s == Segment::Deep);
        };
        let (segment, next) = split_at(name, offset, separator);
        if g < glob.len() && glob[g] == Segment::Deep {
            back = Some((g + 1, at));
            g += 1;
        } else if g < glob.len() && glob[g].matches(segment) {
            g += 1;
            at = next;
        } else if let Some((after, Some(from))) = back {
            let (_, following) = split_at(name, from, separator);
            g = after;
            at = following;
            back = Some((after, following));
        } else {
            return false;
        }
    }
}

fn split_at(name: &str, offset: usize, separator: char) -> (&str, Option<usize>) {
    let rest = &name[offset..];
    match rest.find(separator) {
        Some(i) => (&rest[..i], Some(offset + i + 1)),
        None => (rest, None),
    }
}

/// A glob over method ids: `storage.*.get`, `run.**`.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MethodGlob {
    text: Box<str>,
    segments: Box<[Segment]>,
}

impl MethodGlob {
    /// Parses a glob.
    ///
    /// # Errors
    /// [`GlobError`] says what is wrong and where.
    pub fn parse(text: &str) -> Result<Self, GlobError> {
        if text.is_empty() {
            return Err(GlobError::Empty);
        }
        if let Some((i, c)) = text
            .char_indices()
            .find(|(_, c)| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '*' | '_' | '-')))
        {
            return Err(GlobError::Character(c, i + 1));
        }
        let segments = text
            .split('.')
            .enumerate()
            .map(|(i, s)| Segment::parse(s, i + 1))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            text: text.into(),
            segments,
        })
    }

    /// Whether a method id matches.
    pub fn matches(&self, method: &str) -> bool {
        matches_segments(&self.segments, method, '.')
    }

    /// The text that was parsed.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = GlobKey<'_>> {
        self.segments.iter().map(|s| match s {
            Segment::Literal(t) => GlobKey::Literal(t),
            Segment::Any => GlobKey::Pattern("*"),
            Segment::Pattern(t) => GlobKey::Pattern(t),
            Segment::Deep => GlobKey::Deep,
        })
    }
}

/// A segment of a method glob, as the index of a policy set files it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GlobKey<'a> {
    Literal(&'a str),
    Pattern(&'a str),
    Deep,
}

impl GlobKey<'_> {
    pub(crate) fn pattern_matches(pattern: &str, segment: &str) -> bool {
        pattern == "*" || matches_pattern(pattern.as_bytes(), segment.as_bytes())
    }
}

/// A glob over resource names: `projects/acme/**`, `projects/_/buckets/acme-*/objects/**`.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ResourceGlob {
    text: Box<str>,
    segments: Box<[Segment]>,
}

impl ResourceGlob {
    /// Parses a glob.
    ///
    /// # Errors
    /// [`GlobError`] says what is wrong and where.
    pub fn parse(text: &str) -> Result<Self, GlobError> {
        if text.is_empty() {
            return Err(GlobError::Empty);
        }
        if text.starts_with('/') {
            return Err(GlobError::LeadingSlash);
        }
        if let Some((i, c)) = text.char_indices().find(|(_, c)| c.is_control()) {
            return Err(GlobError::Character(c, i + 1));
        }
        let segments = text
            .split('/')
            .enumerate()
            .map(|(i, s)| Segment::parse(s, i + 1))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            text: text.into(),
            segments,
        })
    }

    /// Whether a resource name matches.
    pub fn matches(&self, name: &str) -> bool {
        matches_segments(&self.segments, name, '/')
    }

    /// Whether `name` and everything below it match: what an Allow rule needs for a call that creates a
    /// child whose name is not known before the body is read.
    pub fn covers_below(&self, name: &str) -> bool {
        self.segments.last() == Some(&Segment::Deep) && self.matches(name)
    }

    /// Whether something below `name` could match: enough for a rule that restricts.
    pub fn may_match_below(&self, name: &str) -> bool {
        if name.is_empty() {
            return true;
        }
        let mut globs = self.segments.iter();
        for segment in name.split('/') {
            match globs.next() {
                None => return false,
                Some(Segment::Deep) => return true,
                Some(glob) if glob.matches(segment) => {}
                Some(_) => return false,
            }
        }
        globs.next().is_some()
    }

    /// The text that was parsed.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The literal text that every matching name starts with: what the index of a policy set files the
    /// glob under.
    pub(crate) fn literal_prefix(&self) -> &str {
        let Some(star) = self.text.find('*') else {
            return &self.text;
        };
        let prefix = &self.text[..star];
        // `a/**` matches `a` too.
        if self.text[star..].starts_with("**") {
            prefix.strip_suffix('/').unwrap_or(prefix)
        } else {
            prefix
        }
    }
}

macro_rules! text_traits {
    ($type:ty) => {
        impl TryFrom<String> for $type {
            type Error = GlobError;
            fn try_from(text: String) -> Result<Self, GlobError> {
                Self::parse(&text)
            }
        }
        impl From<$type> for String {
            fn from(glob: $type) -> String {
                glob.text.into()
            }
        }
        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", self.text)
            }
        }
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.text)
            }
        }
    };
}
text_traits!(MethodGlob);
text_traits!(ResourceGlob);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods() {
        let cases = [
            ("storage.*.get", "storage.objects.get", true),
            ("storage.*.get", "storage.objects.list", false),
            ("storage.*.get", "storage.projects.hmacKeys.get", false),
            ("run.**.get", "run.projects.locations.services.get", true),
            ("run.**.get", "run.get", true),
            ("run.**.get", "run.projects.getter", false),
            ("**", "anything.at.all", true),
            ("**.delete", "storage.objects.delete", true),
            ("**.get*", "iam.projects.serviceAccounts.getIamPolicy", true),
            ("**.get*", "iam.projects.serviceAccounts.setIamPolicy", false),
            ("a.**.b.**.c", "a.b.b.x.c", true),
            ("a.**.b.**.c", "a.x.c", false),
            ("storage.objects.*", "storage.objects", false),
            ("storage.objects.**", "storage.objects", true),
            ("st*ge.o*.*t", "storage.objects.list", true),
        ];
        for (glob, method, expected) in cases {
            assert_eq!(
                MethodGlob::parse(glob).unwrap().matches(method),
                expected,
                "{glob} against {method}"
            );
        }
    }

    #[test]
    fn resources() {
        let cases = [
            ("projects/acme/**", "projects/acme", true),
            ("projects/acme/**", "projects/acme/locations/us/functions/f", true),
            ("projects/acme/**", "projects/acme-prod/locations/us", false),
            (
                "projects/_/buckets/acme-*/**",
                "projects/_/buckets/acme-x/objects/a/b/c",
                true,
            ),
            (
                "projects/_/buckets/acme-*/objects/*.csv",
                "projects/_/buckets/acme-x/objects/a.csv",
                true,
            ),
            (
                "projects/_/buckets/acme-*/objects/*.csv",
                "projects/_/buckets/acme-x/objects/d/a.csv",
                false,
            ),
            (
                "projects/_/buckets/b/objects/**/*.csv",
                "projects/_/buckets/b/objects/d/e/a.csv",
                true,
            ),
            ("**", "", true),
            ("*", "", true),
            ("projects/*", "projects/a/b", false),
        ];
        for (glob, name, expected) in cases {
            assert_eq!(
                ResourceGlob::parse(glob).unwrap().matches(name),
                expected,
                "{glob} against {name}"
            );
        }
    }

    #[test]
    fn below() {
        let cases = [
            // glob, name, covers everything below, may match something below
            ("projects/_/buckets/b/**", "projects/_/buckets/b", true, true),
            ("projects/_/buckets/b", "projects/_/buckets/b", false, false),
            (
                "projects/_/buckets/b/objects/secret/*",
                "projects/_/buckets/b",
                false,
                true,
            ),
            (
                "projects/_/buckets/c/objects/**",
                "projects/_/buckets/b",
                false,
                false,
            ),
            ("**/secret", "projects/_/buckets/b", false, true),
            ("**", "", true, true),
            ("projects/p", "", false, true),
        ];
        for (glob, name, covers, may) in cases {
            let parsed = ResourceGlob::parse(glob).unwrap();
            assert_eq!(
                (parsed.covers_below(name), parsed.may_match_below(name)),
                (covers, may),
                "{glob} {name}"
            );
        }
    }

    #[test]
    fn errors() {
        assert_eq!(MethodGlob::parse(""), Err(GlobError::Empty));
        assert_eq!(MethodGlob::parse("a..b"), Err(GlobError::EmptySegment(2)));
        assert_eq!(MethodGlob::parse("a.b**"), Err(GlobError::DeepInsideSegment(2)));
        assert_eq!(MethodGlob::parse("a.b/c"), Err(GlobError::Character('/', 4)));
        assert_eq!(ResourceGlob::parse("/projects"), Err(GlobError::LeadingSlash));
        assert_eq!(
            ResourceGlob::parse("projects//x"),
            Err(GlobError::EmptySegment(2))
        );
    }
}
