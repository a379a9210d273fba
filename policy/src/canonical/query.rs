//! The query of a request: system parameters by one table, the rest kept as it came.
//!
//! Google reads `x`, `$x` and `%24x` as one parameter, so names are decoded and stripped of `$` before the
//! table is asked; credentials are found whatever their case. Parameters of methods are not judged here.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;
use smallvec::SmallVec;

use super::{Malformed, escape};

/// The form of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Alt {
    /// JSON, the default.
    #[default]
    Json,
    /// The content itself: an object's bytes, an exported file.
    Media,
}

/// What happens to a system parameter.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Action {
    /// Goes upstream.
    Keep,
    /// Is left out.
    Strip,
    /// Chooses the answer's form.
    Alt,
    /// The request is refused.
    Override,
}

/// System parameters, in lower case and without `$`. Names with `bare` are system parameters without the `$`
/// too; the others are only with it, because methods have parameters of that name, or nobody writes them so.
const SYSTEM: &[(&str, bool, Action)] = &[
    ("alt", true, Action::Alt),
    ("httpmethod", true, Action::Override),
    ("access_token", true, Action::Strip),
    ("accesstoken", true, Action::Strip),
    ("oauth_token", true, Action::Strip),
    ("oauthtoken", true, Action::Strip),
    ("bearer_token", true, Action::Strip),
    ("bearertoken", true, Action::Strip),
    ("key", true, Action::Strip),
    ("apikey", false, Action::Strip),
    ("api_key", false, Action::Strip),
    ("callback", true, Action::Strip),
    ("ct", true, Action::Strip),
    ("fields", true, Action::Keep),
    ("prettyprint", true, Action::Keep),
    ("pp", true, Action::Keep),
    ("quotauser", true, Action::Keep),
    ("userip", true, Action::Keep),
    // Whom a call is billed to is the gateway's to say.
    ("userproject", true, Action::Strip),
    ("upload_protocol", true, Action::Keep),
    ("uploadtype", true, Action::Keep),
    ("apiversion", false, Action::Keep),
    (".xgafv", false, Action::Keep),
];

/// A parsed query: canonical text, and where each parameter stands in it.
#[derive(Debug, Clone)]
pub(super) struct Query {
    text: String,
    pairs: SmallVec<[Pair; 4]>,
    alt: Alt,
}

#[derive(Debug, Clone, Copy)]
struct Pair {
    start: u32,
    /// The end of the name.
    name_end: u32,
    end: u32,
}

impl Query {
    pub(super) fn parse(raw: &str) -> Result<Self, Malformed> {
        let mut query = Self {
            text: String::with_capacity(raw.len()),
            pairs: SmallVec::new(),
            alt: Alt::Json,
        };
        let mut alt: Option<Alt> = None;
        for pair in raw.split('&').filter(|p| !p.is_empty()) {
            check_characters(pair)?;
            let (raw_name, raw_value) = pair.split_once('=').unwrap_or((pair, ""));
            let name = decode(raw_name)?;
            let value = decode(raw_value)?;
            if name.contains('%') {
                // No parameter's name has one: decoded twice, it would be another parameter.
                return Err(Malformed::DoubleEncoding);
            }
            let action = action(&name)?;
            if raw_name.contains(';') || (raw_value.contains(';') && action != Action::Alt) {
                return Err(Malformed::Semicolon);
            }
            match action {
                Action::Keep => {}
                Action::Strip => continue,
                Action::Override => return Err(Malformed::MethodOverride),
                Action::Alt => {
                    let this = alt_of(&value)?;
                    if alt.is_some_and(|other| other != this) {
                        return Err(Malformed::RepeatedParameter);
                    }
                    alt = Some(this);
                    query.alt = this;
                }
            }
            if !query.text.is_empty() {
                query.text.push('&');
            }
            let start = query.text.len();
            query.text.push_str(pair);
            query.pairs.push(Pair {
                start: start as u32,
                name_end: (start + raw_name.len()) as u32,
                end: query.text.len() as u32,
            });
        }
        Ok(query)
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    pub(super) fn alt(&self) -> Alt {
        self.alt
    }

    pub(super) fn pairs(&self) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
        self.pairs.iter().map(|pair| {
            let name = &self.text[pair.start as usize..pair.name_end as usize];
            let value = &self.text[pair.name_end as usize..pair.end as usize];
            (
                decode_checked(name),
                decode_checked(value.strip_prefix('=').unwrap_or(value)),
            )
        })
    }

    pub(super) fn value(&self, name: &str) -> Result<Option<Cow<'_, str>>, Malformed> {
        let mut found: Option<Cow<'_, str>> = None;
        for (n, value) in self.pairs() {
            if n != name {
                continue;
            }
            if found.as_ref().is_some_and(|other| *other != value) {
                return Err(Malformed::RepeatedParameter);
            }
            found = Some(value);
        }
        Ok(found)
    }
}

fn action(name: &str) -> Result<Action, Malformed> {
    let (plain, dollar) = match name.strip_prefix('$') {
        Some(plain) => (plain, true),
        None => (name, false),
    };
    match system(plain, dollar) {
        Some(action) => Ok(action),
        None if dollar => Err(Malformed::SystemParameter),
        None => Ok(Action::Keep),
    }
}

fn system(plain: &str, dollar: bool) -> Option<Action> {
    let known = SYSTEM
        .iter()
        .find(|(n, bare, _)| (*bare || dollar) && plain.eq_ignore_ascii_case(n));
    known.map(|(_, _, action)| *action)
}

/// Whether a parameter of a canonical query, decoded, is one that Google has for all methods. Others with `$` do not get
/// into a canonical query.
pub(crate) fn is_system_parameter(name: &str) -> bool {
    name.starts_with('$') || system(name, false).is_some()
}

/// Whether a canonical path holds an encoded question mark with an override of the verb behind it: who decodes before
/// looking for the query would find that one. Names with a question mark are legal otherwise.
pub(super) fn hides_override(path: &str) -> bool {
    let Some((_, behind)) = path.split_once("%3F") else {
        return false;
    };
    let behind = percent_decode_str(behind).decode_utf8_lossy();
    behind.split(['&', '?', ';', '/']).any(|pair| {
        let name = pair.split('=').next().unwrap_or(pair);
        matches!(action(name), Ok(Action::Override))
    })
}

fn alt_of(value: &str) -> Result<Alt, Malformed> {
    match value {
        "json" | "json;enum-encoding=int" => Ok(Alt::Json),
        "media" => Ok(Alt::Media),
        _ => Err(Malformed::Alt),
    }
}

fn check_characters(pair: &str) -> Result<(), Malformed> {
    let bytes = pair.as_bytes();
    for (i, byte) in bytes.iter().enumerate() {
        match byte {
            b'%' if escape(bytes, i)? == 0 => return Err(Malformed::ControlCharacter),
            b' ' => return Err(Malformed::Space),
            b'\\' => return Err(Malformed::Backslash),
            0..=0x1f | 0x7f => return Err(Malformed::ControlCharacter),
            0x80.. => return Err(Malformed::NonAscii),
            b'"' | b'<' | b'>' => return Err(Malformed::IllegalCharacter),
            _ => {}
        }
    }
    Ok(())
}

/// Decodes form text: plus signs are spaces.
fn decode(raw: &str) -> Result<Cow<'_, str>, Malformed> {
    if raw.contains('+') {
        let spaced = raw.replace('+', " ");
        let text = percent_decode_str(&spaced)
            .decode_utf8()
            .map_err(|_| Malformed::NotUtf8)?;
        return Ok(Cow::Owned(text.into_owned()));
    }
    percent_decode_str(raw)
        .decode_utf8()
        .map_err(|_| Malformed::NotUtf8)
}

/// Decodes text that [`Query::parse`] has decoded before, so that nothing can be lost.
fn decode_checked(raw: &str) -> Cow<'_, str> {
    if raw.contains('+') {
        let spaced = raw.replace('+', " ");
        return Cow::Owned(percent_decode_str(&spaced).decode_utf8_lossy().into_owned());
    }
    percent_decode_str(raw).decode_utf8_lossy()
}
