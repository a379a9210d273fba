//! The boundary of a multipart body: the client's, from its `Content-Type`, and ours.

use bytes::Bytes;
use http::HeaderValue;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::MultipartError;

/// Characters that a boundary may have at most (RFC 2046, section 5.1.1).
const LONGEST: usize = 70;
/// How our own boundaries begin.
const OURS: &str = "turnpike-";
/// Bytes of the digest in a boundary of ours. A body that holds its own boundary would be a fixed point of the
/// digest, which nobody finds at this length.
const DIGEST_BYTES: usize = 24;

/// The kinds of multipart that Google's APIs take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Metadata and media of an upload.
    Related,
    /// A batch of calls, or its answers.
    Mixed,
}

impl Kind {
    /// The media type, without parameters.
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Related => "multipart/related",
            Self::Mixed => "multipart/mixed",
        }
    }

    /// The whole `Content-Type` for a boundary of ours.
    pub(crate) fn content_type(self, boundary: &str) -> Result<HeaderValue, MultipartError> {
        let value = format!("{}; boundary={boundary}", self.media_type());
        HeaderValue::try_from(value).map_err(|_| MultipartError::Boundary)
    }
}

/// A client's boundary: what may stand between the dashes and the line end of a delimiter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Boundary {
    /// As the standards read it.
    pub(super) spelled: String,
    /// As it reads where single quotes are taken for quotes.
    pub(super) unquoted: Option<String>,
}

impl Boundary {
    /// Reads the boundary out of a `Content-Type` of this kind.
    ///
    /// # Errors
    /// [`MultipartError`] where the value has no boundary, or readers could differ about it.
    pub fn of(content_type: &str, kind: Kind) -> Result<Self, MultipartError> {
        let (media_type, mut rest) = match content_type.split_once(';') {
            Some((media_type, rest)) => (media_type, Some(rest)),
            None => (content_type, None),
        };
        if !trimmed(media_type).eq_ignore_ascii_case(kind.media_type()) {
            return Err(MultipartError::ContentType);
        }
        let mut seen: Vec<String> = Vec::new();
        let mut boundary = None;
        while let Some(parameters) = rest {
            let (name, after) = parameters.split_once('=').ok_or(MultipartError::Parameters)?;
            let name = name.trim_start_matches([' ', '\t']).to_ascii_lowercase();
            // A star begins the extensions of RFC 2231, which few readers know.
            if name.is_empty() || !name.bytes().all(is_token) || name.contains('*') || seen.contains(&name) {
                return Err(MultipartError::Parameters);
            }
            let (value, remaining) = value(after)?;
            if name == "boundary" {
                boundary = Some(Self::from_value(value)?);
            }
            seen.push(name);
            rest = remaining;
        }
        boundary.ok_or(MultipartError::NoBoundary)
    }

    fn from_value(text: &str) -> Result<Self, MultipartError> {
        let unquoted = match text.strip_prefix('\'') {
            Some(rest) => Some(rest.strip_suffix('\'').ok_or(MultipartError::Boundary)?),
            None => None,
        };
        let bare = unquoted.unwrap_or(text);
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"+_,-./:=?()".contains(&b);
        // Only dashes could be found shifted by one in their own delimiter.
        let readable = bare.bytes().all(plain) && bare.bytes().any(|b| b != b'-');
        if !readable || text.len() > LONGEST {
            return Err(MultipartError::Boundary);
        }
        Ok(Self {
            spelled: text.to_owned(),
            unquoted: unquoted.map(str::to_owned),
        })
    }
}

/// Takes a parameter's value off the front, without its double quotes; what is left are the parameters after
/// the next semicolon.
fn value(text: &str) -> Result<(&str, Option<&str>), MultipartError> {
    let (value, rest) = if let Some(quoted) = text.strip_prefix('"') {
        let (value, rest) = quoted.split_once('"').ok_or(MultipartError::Parameters)?;
        // Whether a backslash escapes is read both ways.
        if value.contains('\\') || !value.bytes().all(|b| b == b' ' || b.is_ascii_graphic()) {
            return Err(MultipartError::Parameters);
        }
        (value, rest)
    } else if text.starts_with('\'') {
        // Not a token where it holds an equals sign, as gcloud's boundaries do; the quotes delimit it then.
        let end = text.get(1..).and_then(|t| t.find('\'')).map(|at| at + 2);
        let (value, rest) = end
            .and_then(|end| text.split_at_checked(end))
            .ok_or(MultipartError::Parameters)?;
        if value.contains([';', ' ', '"', '\t']) {
            return Err(MultipartError::Parameters);
        }
        (value, rest)
    } else {
        let end = text.bytes().position(|b| !is_token(b)).unwrap_or(text.len());
        let (value, rest) = text.split_at_checked(end).ok_or(MultipartError::Parameters)?;
        if value.is_empty() {
            return Err(MultipartError::Parameters);
        }
        (value, rest)
    };
    let rest = trimmed(rest);
    match rest.strip_prefix(';') {
        Some(parameters) => Ok((value, Some(parameters))),
        None if rest.is_empty() => Ok((value, None)),
        None => Err(MultipartError::Parameters),
    }
}

/// A boundary that follows from the content, so that the same content has the same bytes. The lengths keep
/// two contents apart that are cut differently.
pub(crate) fn of_content<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut digest = Sha256::new();
    for piece in pieces {
        digest.update((piece.len() as u64).to_be_bytes());
        digest.update(piece);
    }
    let mut boundary = OURS.to_owned();
    for byte in digest.finalize().iter().take(DIGEST_BYTES) {
        boundary.push_str(&format!("{byte:02x}"));
    }
    boundary
}

/// A boundary for content that is still to come: nobody can have put it there.
pub(crate) fn unguessable() -> String {
    format!("{OURS}{}", Uuid::new_v4().simple())
}

/// The delimiter line that begins a part, and the one that ends the body.
pub(crate) fn delimiters(boundary: &str) -> (Bytes, Bytes) {
    (
        Bytes::from(format!("--{boundary}\r\n")),
        Bytes::from(format!("\r\n--{boundary}--\r\n")),
    )
}

/// Characters of a token (RFC 9110, section 5.6.2), but for the single quote.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&*+-.^_`|~".contains(&byte)
}

fn trimmed(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}
