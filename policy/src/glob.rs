//! Globs over method ids and resource names.
//!
//! A glob is a list of segments: `*` stands for any run of characters within one segment, `**`, alone in
//! its segment, for any number of whole segments, none included. Globs are parsed once, when a policy is
//! compiled; matching allocates nothing and takes time linear in practice (the classic two-pointer walk
//! with one point to come back to, on segments and again inside a segment).
//!
//! Some segments of a resource name are *open*: they stand for more than their own text. `-` is Google's
//! wildcard for all of a collection (`locations/-`), as `*` is for some servers, and a project's number stands
//! for a project whose id is not known here. What a name with an open segment may stand for is judged against
//! the author: a glob [matches](ResourceGlob::matches) it only if it matches whatever it may stand for, and
//! [may match](ResourceGlob::may_match) it if it matches any of that. What a number stands for is not
//! looked up, and a glob that names a number is not taken for the project's id.
//!
//! In the place of a glob over method ids can stand a [group](crate::groups), `group:storage.read`.

use std::{fmt, ops::Range};

use serde::{Deserialize, Serialize};

use crate::groups::{self, GroupId, Groups};

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
    /// `group:` and a name that no group has.
    #[error("no group is called {0:?}")]
    UnknownGroup(Box<str>),
    /// The table of groups, or the catalogue below it, cannot be read, which is a defect of the build.
    #[error("the method groups of this build cannot be read: {0}")]
    NoGroups(Box<str>),
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

    fn key(&self) -> GlobKey<'_> {
        match self {
            Self::Literal(text) => GlobKey::Literal(text),
            Self::Any => GlobKey::Pattern("*"),
            Self::Pattern(text) => GlobKey::Pattern(text),
            Self::Deep => GlobKey::Deep,
        }
    }

    /// Whether one segment of a name, as it is written, matches; never called for `Deep`.
    fn matches(&self, name: &str) -> bool {
        match self {
            Self::Literal(text) => **text == *name,
            Self::Any | Self::Deep => true,
            Self::Pattern(pattern) => matches_pattern(pattern.as_bytes(), name.as_bytes()),
        }
    }

    /// Whether the segment at `at` matches whatever it may stand for. A pattern is true of some of that only;
    /// a literal equal to an open segment was meant by its author.
    fn surely_matches(&self, name: &str, at: Range<usize>) -> bool {
        match self {
            Self::Pattern(_) if is_open(name, at.clone()) => false,
            _ => self.matches(&name[at]),
        }
    }

    /// Whether the segment at `at` matches something that it may stand for.
    fn may_match(&self, name: &str, at: Range<usize>) -> bool {
        self.matches(&name[at.clone()]) || is_open(name, at)
    }
}

/// Whether the segment at `at` of a resource name stands for more than its text: `-`, asterisks, or digits after
/// `projects`. An object of a bucket can be called `-` too and is taken for open: the stricter way.
fn is_open(name: &str, at: Range<usize>) -> bool {
    match name[at.clone()].as_bytes() {
        [b'-'] | [b'*'] | [b'*', b'*'] => true,
        segment @ [b'0'..=b'9', ..] => {
            segment.iter().all(u8::is_ascii_digit)
                && name[..at.start]
                    .strip_suffix("projects/")
                    .is_some_and(|before| before.is_empty() || before.ends_with('/'))
        }
        _ => false,
    }
}

/// Where the first open segment of a resource name begins.
pub(crate) fn first_open(name: &str) -> Option<usize> {
    let mut at = Some(0);
    while let Some(start) = at {
        let (segment, next) = segment_at(name, start, '/');
        if is_open(name, segment) {
            return Some(start);
        }
        at = next;
    }
    None
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

/// Matches whole segments: the same walk as inside a segment, one level up. `fits` tells whether a segment
/// of the glob matches that of the name.
fn matches_segments(
    glob: &[Segment],
    name: &str,
    separator: char,
    fits: impl Fn(&Segment, Range<usize>) -> bool,
) -> bool {
    // Offsets into `name` stand for positions between segments, so nothing is collected. `None` is the end.
    let (mut g, mut at) = (0, Some(0));
    let mut back: Option<(usize, Option<usize>)> = None;
    loop {
        let Some(offset) = at else {
            return glob[g..].iter().all(|s| *s == Segment::Deep);
        };
        let (segment, next) = segment_at(name, offset, separator);
        if g < glob.len() && glob[g] == Segment::Deep {
            back = Some((g + 1, at));
            g += 1;
        } else if g < glob.len() && fits(&glob[g], segment) {
            g += 1;
            at = next;
        } else if let Some((after, Some(from))) = back {
            let (_, following) = segment_at(name, from, separator);
            g = after;
            at = following;
            back = Some((after, following));
        } else {
            return false;
        }
    }
}

/// The segment that begins at an offset, and where the next one does.
fn segment_at(name: &str, offset: usize, separator: char) -> (Range<usize>, Option<usize>) {
    match name[offset..].find(separator) {
        Some(i) => (offset..offset + i, Some(offset + i + 1)),
        None => (offset..name.len(), None),
    }
}

/// A glob over method ids, `storage.*.get`, `run.**`, or a group of them, `group:storage.read`.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MethodGlob {
    text: Box<str>,
    form: Form,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Form {
    Glob(Box<[Segment]>),
    Group(GroupId),
}

impl MethodGlob {
    /// Parses a glob, or the name of a group.
    ///
    /// # Errors
    /// [`GlobError`] says what is wrong and where.
    pub fn parse(text: &str) -> Result<Self, GlobError> {
        if text.is_empty() {
            return Err(GlobError::Empty);
        }
        if let Some(name) = text.strip_prefix(groups::PREFIX) {
            let group = groups::find(name).ok_or_else(|| GlobError::UnknownGroup(name.into()))?;
            // Where matching could not work, there must be no glob that seems to.
            Groups::embedded().map_err(|error| GlobError::NoGroups(error.to_string().into()))?;
            return Ok(Self {
                text: text.into(),
                form: Form::Group(group),
            });
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
            form: Form::Glob(segments),
        })
    }

    /// Whether a method id matches, or is one of the group.
    pub fn matches(&self, method: &str) -> bool {
        match &self.form {
            Form::Glob(segments) => {
                matches_segments(segments, method, '.', |glob, at| glob.matches(&method[at]))
            }
            Form::Group(group) => Groups::embedded().is_ok_and(|all| all.of_id(method).has(*group)),
        }
    }

    /// The text that was parsed.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The group that stands in the place of a glob.
    pub fn group(&self) -> Option<GroupId> {
        match self.form {
            Form::Group(group) => Some(group),
            Form::Glob(_) => None,
        }
    }

    /// The segments of a glob; a group has none.
    pub(crate) fn keys(&self) -> impl Iterator<Item = GlobKey<'_>> {
        let segments: &[Segment] = match &self.form {
            Form::Glob(segments) => segments,
            Form::Group(_) => &[],
        };
        segments.iter().map(Segment::key)
    }
}

/// A segment of a glob, as others read it.
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

    /// Whether a resource name matches, whatever its open segments stand for: what an Allow rule needs.
    pub fn matches(&self, name: &str) -> bool {
        matches_segments(&self.segments, name, '/', |glob, at| {
            glob.surely_matches(name, at)
        })
    }

    /// Whether something that a resource name stands for could match: enough for a rule that restricts.
    pub fn may_match(&self, name: &str) -> bool {
        matches_segments(&self.segments, name, '/', |glob, at| glob.may_match(name, at))
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
        let mut at = Some(0);
        while let Some(start) = at {
            let (segment, next) = segment_at(name, start, '/');
            match globs.next() {
                None => return false,
                Some(Segment::Deep) => return true,
                Some(glob) if glob.may_match(name, segment) => at = next,
                Some(_) => return false,
            }
        }
        globs.next().is_some()
    }

    /// The text that was parsed.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = GlobKey<'_>> {
        self.segments.iter().map(Segment::key)
    }

    /// The literal text that every matching name starts with, as far as that has no open segment: what the
    /// index of a policy set files the glob under.
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
            ("projects/acme/secrets/s", "projects/-/secrets", false, true),
            ("projects/acme/secrets/s", "projects/12/secrets", false, true),
            ("projects/acme/secrets/s", "projects/-/topics", false, false),
            ("projects/acme/**", "projects/-", false, true),
            ("projects/*/**", "projects/-", true, true),
            ("projects/a*/**", "projects/12", false, true),
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
    fn open_segments() {
        let cases = [
            // glob, name, matches whatever it stands for, may match
            ("projects/acme/**", "projects/-", false, true),
            (
                "projects/acme/**",
                "projects/-/locations/us/functions/f",
                false,
                true,
            ),
            ("projects/acme", "projects/-/locations/us", false, false),
            (
                "projects/*/locations/us/**",
                "projects/-/locations/-",
                false,
                true,
            ),
            ("projects/*/locations/*", "projects/-/locations/-", true, true),
            ("projects/*/locations/us-*", "projects/p/locations/-", false, true),
            ("projects/*/locations/*-*", "projects/p/locations/-", false, true),
            ("projects/p/locations/-", "projects/p/locations/-", true, true),
            ("projects/p/locations/eu", "projects/p/locations/--", false, false),
            ("projects/p/locations/eu", "projects/p/locations/-x", false, false),
            ("**/keys/k", "projects/p/-/-", false, true),
            ("projects/p/**/a/**/b", "projects/p/x/-/y/b", false, true),
            ("projects/p/**/a/**/b", "projects/p/x/y/b", false, false),
            ("projects/acme/**", "projects/100000000001/x", false, true),
            ("projects/acme-*/**", "projects/100000000001/x", false, true),
            ("projects/1*/**", "projects/100000000001/x", false, true),
            ("projects/100000000001/**", "projects/100000000001/x", true, true),
            ("projects/100000000002/**", "projects/100000000001/x", false, true),
            ("projects/*/**", "projects/100000000001/x", true, true),
            ("**", "projects/100000000001/x", true, true),
            ("projects/acme/**", "projects/1x/x", false, false),
            ("projects/acme/**", "folders/1/x", false, false),
            ("services/s/projects/acme", "services/s/projects/12", false, true),
            ("projects/p/secrets/db", "projects/p/secrets/*", false, true),
            ("projects/p/secrets/db-*", "projects/p/secrets/**", false, true),
            ("projects/p/secrets/*", "projects/p/secrets/*", true, true),
            ("projects/p/secrets/db", "projects/p/secrets/*b", false, false),
            (
                "services/s/myprojects/acme",
                "services/s/myprojects/12",
                false,
                false,
            ),
            (
                "projects/p/zones/z/instances/i",
                "projects/p/zones/z/instances/1",
                false,
                false,
            ),
        ];
        for (glob, name, surely, may) in cases {
            let parsed = ResourceGlob::parse(glob).unwrap();
            assert_eq!(
                (parsed.matches(name), parsed.may_match(name)),
                (surely, may),
                "{glob} against {name}"
            );
        }
        let places = [
            ("", None),
            ("projects/acme/locations/us", None),
            ("projects/acme/locations/-/x", Some(24)),
            ("projects/12/locations/-", Some(9)),
            ("-", Some(0)),
            ("projects", None),
        ];
        for (name, at) in places {
            assert_eq!(first_open(name), at, "{name}");
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
