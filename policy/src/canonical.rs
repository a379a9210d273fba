//! One canonical request target, or a named refusal.
//!
//! Servers, proxies and libraries disagree about what `//`, `%2e%2e`, `;x` or a repeated parameter mean, and
//! each disagreement is a way round a gate. So a target is taken only where no two readers could differ, and
//! what goes upstream is this module's spelling of it, never the client's. The proxy and the CLI both use
//! [`Target`]; nothing here knows Google's methods, and headers are the proxy's to judge.
//!
//! Canonical form:
//! - host in lower case without `:443`;
//! - path segments with unreserved characters decoded (RFC 3986, section 6.2.2.2) and the other escapes in
//!   upper case. Reserved characters stay as they came, so `%2F` inside a segment does not split it;
//! - query parameters in their order, without client credentials, JSONP callbacks and `$ct`.

mod malformed;
mod query;

use std::borrow::Cow;

use percent_encoding::percent_decode_str;
use smallvec::SmallVec;

pub use malformed::Malformed;
pub use query::Alt;
use query::Query;
pub(crate) use query::is_system_parameter;

/// Segments a path may have; Firestore's deepest document has about 210.
pub const MAX_SEGMENTS: usize = 256;
/// Bytes that path and query may have together. Google answers 414 or 413 to longer ones.
pub const MAX_LENGTH: usize = 16 * 1024;

/// A request target in canonical form. Only [`Target::new`] and [`Target::from_url`] make one.
#[derive(Debug, Clone)]
pub struct Target {
    verb: String,
    host: String,
    path: String,
    segments: SmallVec<[Segment; 16]>,
    query: Query,
}

/// One segment of a path: where it stands in the path's text, and what to know before decoding it.
#[derive(Debug, Clone, Copy)]
struct Segment {
    start: u32,
    end: u32,
    /// Decoded, it would hold a `.` or `..` step between slashes or backslashes.
    hides_dots: bool,
}

impl Target {
    /// Takes a request line's parts; `authority` is the host with an optional `:443`.
    ///
    /// # Errors
    /// [`Malformed`] says in which way two readers could differ about the target.
    pub fn new(verb: &str, authority: &str, path_and_query: &str) -> Result<Self, Malformed> {
        if verb.is_empty() || verb.len() > 16 || !verb.bytes().all(|b| b.is_ascii_uppercase()) {
            return Err(Malformed::Verb);
        }
        if path_and_query.len() > MAX_LENGTH {
            return Err(Malformed::TooLong);
        }
        let host = canonical_host(authority)?;
        if path_and_query.contains('#') {
            return Err(Malformed::Fragment);
        }
        let (raw_path, raw_query) = match path_and_query.split_once('?') {
            Some((path, query)) => (path, query),
            None => (path_and_query, ""),
        };
        let (path, segments) = canonical_path(raw_path)?;
        if query::hides_override(&path) {
            return Err(Malformed::MethodOverride);
        }
        let query = Query::parse(raw_query)?;
        Ok(Self {
            verb: verb.to_owned(),
            host,
            path,
            segments,
            query,
        })
    }

    /// Takes a whole URL, `https://host/path?query`.
    ///
    /// # Errors
    /// As [`Target::new`], and [`Malformed::Scheme`].
    pub fn from_url(verb: &str, url: &str) -> Result<Self, Malformed> {
        const SCHEME: &str = "https://";
        let rest = match url.get(..SCHEME.len()) {
            Some(scheme) if scheme.eq_ignore_ascii_case(SCHEME) => &url[SCHEME.len()..],
            _ => return Err(Malformed::Scheme),
        };
        let at = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at(at);
        match target.as_bytes().first() {
            None => Self::new(verb, authority, "/"),
            Some(b'/') => Self::new(verb, authority, target),
            Some(b'#') => Err(Malformed::Fragment),
            Some(_) => Err(Malformed::PathNotAbsolute),
        }
    }

    /// The verb, upper case.
    pub fn verb(&self) -> &str {
        &self.verb
    }

    /// The host: lower case, no port.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The canonical path, starting with a slash.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The canonical query without its question mark; empty where there is none.
    pub fn query(&self) -> &str {
        self.query.text()
    }

    /// What to send upstream as the request's target.
    pub fn path_and_query(&self) -> String {
        let query = self.query();
        let mut target = String::with_capacity(self.path.len() + query.len() + 1);
        target.push_str(&self.path);
        if !query.is_empty() {
            target.push('?');
            target.push_str(query);
        }
        target
    }

    /// The parameters of the canonical query, decoded, in their order.
    pub fn query_pairs(&self) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
        self.query.pairs()
    }

    /// The decoded value of a parameter of the canonical query; names are compared exactly.
    ///
    /// # Errors
    /// [`Malformed::RepeatedParameter`] where it is given twice with different values.
    pub fn query_value(&self, name: &str) -> Result<Option<Cow<'_, str>>, Malformed> {
        self.query.value(name)
    }

    /// The form of the answer that the query asks for.
    pub fn alt(&self) -> Alt {
        self.query.alt()
    }

    /// Number of path segments.
    pub fn segment_count(&self) -> usize {
        self.segments.len()
    }

    /// A path segment as it stands in the canonical path, undecoded; empty past the end.
    pub fn segment(&self, index: usize) -> &str {
        self.segments
            .get(index)
            .map_or("", |s| &self.path[s.start as usize..s.end as usize])
    }

    /// Whether a segment, decoded, would hold a `.` or `..` step. Legal only where the whole segment is an
    /// opaque name, such as that of a storage object.
    pub fn segment_hides_dots(&self, index: usize) -> bool {
        self.segments.get(index).is_some_and(|s| s.hides_dots)
    }
}

/// Decodes a segment once. With `keep_slash` an encoded slash stays `%2F`, as Google's transcoding has it for
/// variables that span several segments.
pub(crate) fn decode_segment(segment: &str, keep_slash: bool) -> Cow<'_, str> {
    if !segment.contains('%') {
        return Cow::Borrowed(segment);
    }
    if !keep_slash || !segment.contains("%2F") {
        // `Target::new` saw that the bytes are UTF-8, so nothing is lost.
        return percent_decode_str(segment).decode_utf8_lossy();
    }
    let pieces: Vec<_> = segment
        .split("%2F")
        .map(|p| percent_decode_str(p).decode_utf8_lossy())
        .collect();
    Cow::Owned(pieces.join("%2F"))
}

fn canonical_host(authority: &str) -> Result<String, Malformed> {
    if authority.is_empty() {
        return Err(Malformed::HostMissing);
    }
    if authority.contains('@') {
        return Err(Malformed::UserInfo);
    }
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let end = rest.find(']').ok_or(Malformed::Host)?;
            let (literal, after) = authority.split_at(end + 2);
            if literal[1..=end].parse::<std::net::Ipv6Addr>().is_err() {
                return Err(Malformed::Host);
            }
            match after.strip_prefix(':') {
                Some(port) => (literal, Some(port)),
                None if after.is_empty() => (literal, None),
                None => return Err(Malformed::Host),
            }
        }
        None => match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        },
    };
    if !matches!(port, None | Some("443")) {
        return Err(Malformed::Port);
    }
    if host.starts_with('[') {
        return Ok(host.to_ascii_lowercase());
    }
    if host.is_empty() {
        return Err(Malformed::HostMissing);
    }
    if host.ends_with('.') {
        return Err(Malformed::HostTrailingDot);
    }
    let label = |l: &str| {
        !l.is_empty()
            && l.len() <= 63
            && l.bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    if host.len() > 253 || !host.split('.').all(label) {
        return Err(Malformed::Host);
    }
    Ok(host.to_ascii_lowercase())
}

fn canonical_path(raw: &str) -> Result<(String, SmallVec<[Segment; 16]>), Malformed> {
    let rest = raw.strip_prefix('/').ok_or(Malformed::PathNotAbsolute)?;
    let mut path = String::with_capacity(raw.len());
    let mut segments = SmallVec::new();
    if rest.is_empty() {
        path.push('/');
        return Ok((path, segments));
    }
    for segment in rest.split('/') {
        if segments.len() == MAX_SEGMENTS {
            return Err(Malformed::TooManySegments);
        }
        path.push('/');
        let start = path.len();
        let escaped = push_segment(segment, &mut path)?;
        let canonical = &path[start..];
        if canonical.is_empty() {
            return Err(Malformed::EmptySegment);
        }
        if is_dots(canonical) {
            return Err(Malformed::DotSegment);
        }
        let hides_dots = escaped && check_decoded(canonical)?;
        segments.push(Segment {
            start: start as u32,
            end: path.len() as u32,
            hides_dots,
        });
    }
    Ok((path, segments))
}

/// Writes a segment in canonical form; says whether escapes are left in it.
fn push_segment(raw: &str, out: &mut String) -> Result<bool, Malformed> {
    let bytes = raw.as_bytes();
    let begin = out.len();
    let mut escaped = false;
    let mut i = 0;
    while i < bytes.len() {
        let byte = bytes[i];
        if byte == b'%' {
            let value = escape(bytes, i)?;
            if is_unreserved(value) {
                out.push(char::from(value));
            } else {
                out.push('%');
                out.push(char::from(bytes[i + 1].to_ascii_uppercase()));
                out.push(char::from(bytes[i + 2].to_ascii_uppercase()));
                escaped = true;
            }
            i += 3;
            continue;
        }
        match byte {
            b';' => return Err(Malformed::Semicolon),
            b'\\' => return Err(Malformed::Backslash),
            b' ' => return Err(Malformed::Space),
            0..=0x1f | 0x7f => return Err(Malformed::ControlCharacter),
            0x80.. => return Err(Malformed::NonAscii),
            b'"' | b'<' | b'>' | b'[' | b']' | b'^' | b'`' | b'{' | b'|' | b'}' => {
                return Err(Malformed::IllegalCharacter);
            }
            _ => out.push(char::from(byte)),
        }
        i += 1;
    }
    if escaped && is_encoded_twice(&out.as_bytes()[begin..]) {
        return Err(Malformed::DoubleEncoding);
    }
    Ok(escaped)
}

/// Whether a canonical segment holds `%25` and the digits of an escape: decoded twice, it would be that escape's
/// character. The digits may have been escapes themselves, so what was sent does not show it.
fn is_encoded_twice(canonical: &[u8]) -> bool {
    let percents = canonical.windows(3).enumerate().filter(|(_, w)| w == b"%25");
    percents
        .map(|(at, _)| at)
        .any(|at| escape(canonical, at + 2).is_ok_and(is_visible))
}

/// Looks at what a canonical segment decodes to: refuses control characters and bytes that are no text, and
/// says whether it holds a `.` or `..` step for a reader that decodes before it splits.
fn check_decoded(canonical: &str) -> Result<bool, Malformed> {
    let decoded = percent_decode_str(canonical)
        .decode_utf8()
        .map_err(|_| Malformed::NotUtf8)?;
    if decoded.bytes().any(|b| b < 0x20 || b == 0x7f) {
        return Err(Malformed::ControlCharacter);
    }
    // `..;x` is a `..` to servers that cut path parameters off.
    Ok(decoded
        .split(['/', '\\'])
        .any(|step| is_dots(step.split(';').next().unwrap_or(step))))
}

fn is_dots(segment: &str) -> bool {
    segment == "." || segment == ".."
}

/// The byte that the escape at `at` (a percent sign) stands for.
fn escape(bytes: &[u8], at: usize) -> Result<u8, Malformed> {
    let digit = |i: usize| {
        bytes
            .get(i)
            .and_then(|b| char::from(*b).to_digit(16))
            .and_then(|d| u8::try_from(d).ok())
            .ok_or(Malformed::BadEscape)
    };
    Ok(digit(at + 1)? * 16 + digit(at + 2)?)
}

/// Reserved, unreserved or the percent sign: what a second decoding could give a meaning.
fn is_visible(byte: u8) -> bool {
    is_unreserved(byte) || b":/?#[]@!$&'()*+,;=%\\".contains(&byte)
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}
