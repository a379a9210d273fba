//! Values that are given to a name such as `password`, `client_secret` or `apiKey`, where they look random.
//!
//! Read: `name = value` and `name: value` with and without quotes, JSON (also inside a string), XML elements, options of
//! commands, and the `name`/`value` pairs of manifests. A name says little, so the value decides: words, paths, code,
//! templates, dates and ids are none.

use std::ops::Range;

use super::{
    encoded::decode,
    pair, table,
    value::{entropy, is_placeholder},
    view::{Class, Hit, View, holds},
};

/// Characters of a name, on either side of the word.
const LONGEST_NAME: usize = 40;
/// Characters of a value.
const LONGEST: usize = 256;
const SHORTEST: usize = 8;
const NAME: Class = Class::URL_SAFE_DOT;

/// What follows the word in names of other things than the secret: where it is, what it is called, how it is checked.
const OTHER_ENDINGS: [&str; 40] = [
    "name", "file", "path", "url", "uri", "ref", "type", "len", "size", "count", "hash", "field", "label",
    "policy", "version", "kind", "expir", "ttl", "algo", "format", "prefix", "regex", "pattern", "hint",
    "prompt", "reset", "link", "ize", "sum", "stream", "set", "tree", "parse", "class", "scope", "index",
    "range", "span", "endpoint", "issuer",
];
/// What stands before `token` in names of other things.
const OTHER_TOKENS: [&str; 22] = [
    "page", "next", "sync", "csrf", "xsrf", "continu", "cursor", "request", "idempot", "resume", "max",
    "lex", "pars", "cancel", "first", "last", "start", "end", "special", "eos", "bos", "pad",
];
/// Words in values that are there for tests and documents.
const WORDS: [&str; 25] = [
    "pass",
    "p4ss",
    "secret",
    "token",
    "test",
    "fake",
    "mock",
    "demo",
    "sample",
    "default",
    "none",
    "null",
    "undefined",
    "todo",
    "insert",
    "replace",
    "hidden",
    "credential",
    "apikey",
    "api-key",
    "api_key",
    "1234",
    "abcd",
    "qwert",
    "value",
];

/// A value behind one of the words; `view.at` is where the word begins, and `word` its length.
pub(super) fn assignment(view: &View<'_>, word: usize) -> Option<Hit> {
    let before = view.run_before(view.at, NAME, LONGEST_NAME);
    let word_end = view.at + word;
    let behind = view.run(word_end, Class::URL_SAFE, LONGEST_NAME);
    let name = Name {
        before: view.slice(view.at - before..view.at),
        word: view.slice(view.at..word_end),
        behind: view.slice(word_end..word_end + behind),
    };
    if !name.is_secret() {
        return None;
    }
    let is_option = name.before.starts_with(b"--");
    let value = value(view, word_end + behind, is_option)?;
    let text = view.slice(value.range.clone());
    let kind = if name.is_key() && pair::is_secret(text) {
        if pair::has_id(view, value.range.start) {
            return None;
        }
        "aws-secret-key"
    } else if is_secret(text, value.quoted) && !is_other(view, &value.range) {
        "password"
    } else {
        return None;
    };
    Some(Hit {
        kind,
        value: value.range,
    })
}

/// A name, around the word.
struct Name<'t> {
    before: &'t [u8],
    word: &'t [u8],
    behind: &'t [u8],
}

impl Name<'_> {
    /// Whether what has such a name is the secret itself.
    fn is_secret(&self) -> bool {
        let plural = self.behind.eq_ignore_ascii_case(b"s");
        let is_token = self.word.eq_ignore_ascii_case(b"token");
        let other = OTHER_ENDINGS.iter().any(|word| holds(self.behind, word))
            || self.behind.to_ascii_lowercase().ends_with(b"id")
            || is_token && OTHER_TOKENS.iter().any(|word| holds(self.before, word));
        // The last of several words in a name is the one that stands for it.
        let last = !table::NAMES
            .iter()
            .any(|word| self.behind.windows(word.len()).any(|w| w == word.as_bytes()));
        last && !(other || plural && is_token)
    }

    /// Whether it is an AWS secret access key's.
    fn is_key(&self) -> bool {
        let all = [self.before, self.word, self.behind].concat();
        holds(&all, "secret")
            && (holds(&all, "aws")
                || holds(&all, "accesskey")
                || holds(&all, "access_key")
                || holds(&all, "access-key"))
    }
}

struct Value {
    range: Range<usize>,
    quoted: bool,
}

/// The value behind a name that ends here.
fn value(view: &View<'_>, name_end: usize, is_option: bool) -> Option<Value> {
    let mut at = quote_end(view, name_end);
    at = spaces(view, at);
    let separator = match view.slice(at..at + 3) {
        [b'=', b'>', ..] => 2,
        [b':', b'=', ..] => 2,
        [b'=', b'=', ..] | [b':', b':', ..] => return None,
        [b'=' | b':', ..] => 1,
        // `<password>...`
        [b'>', ..] if at == name_end => 1,
        _ if is_option && at > name_end => 0,
        _ => {
            at = pair_value(view, at)?;
            0
        }
    };
    at = spaces(view, at + separator);
    if separator == 1 && view.before(at) != Some(b'=') {
        at = behind_type(view, at);
    }
    quoted(view, at).or_else(|| bare(view, at))
}

/// Skips what closes a quoted name: quotes, also escaped ones, and a bracket.
fn quote_end(view: &View<'_>, mut at: usize) -> usize {
    while view.byte(at) == Some(b'\\') {
        at += 1;
    }
    if matches!(view.byte(at), Some(b'"' | b'\'' | b'`')) {
        at += 1;
    }
    if view.byte(at) == Some(b']') {
        at += 1;
    }
    at
}

fn spaces(view: &View<'_>, at: usize) -> usize {
    at + view
        .slice(at..at + 16)
        .iter()
        .take_while(|b| matches!(b, b' ' | b'\t'))
        .count()
}

/// Skips a type between a name and its value: `password: &str = `.
fn behind_type(view: &View<'_>, at: usize) -> usize {
    let text = view.slice(at..at + 32);
    let length = text
        .iter()
        .take_while(|b| Class::WORD.has(**b) || matches!(b, b'&' | b'\'' | b' ' | b'<' | b'>'))
        .count();
    match text.get(length) {
        Some(b'=') if text.get(..length).is_some_and(|t| t.ends_with(b" ")) => spaces(view, at + length + 1),
        _ => at,
    }
}

/// The value of a `name`/`value` pair whose name ended here: `- name: DB_PASSWORD`, `  value: ...`.
fn pair_value(view: &View<'_>, at: usize) -> Option<usize> {
    let between = view.slice(at..at + 48);
    let word = between
        .windows(5)
        .position(|w| w.eq_ignore_ascii_case(b"value"))?;
    let is_gap = |b: &u8| b.is_ascii_whitespace() || matches!(b, b',' | b'"' | b'\'' | b'\\' | b'n' | b'-');
    if word == 0 || !between.get(..word)?.iter().all(is_gap) {
        return None;
    }
    let at = spaces(view, quote_end(view, at + word + 5));
    matches!(view.byte(at)?, b':' | b'=').then(|| spaces(view, at + 1))
}

/// A value in quotes, which may be escaped themselves.
fn quoted(view: &View<'_>, at: usize) -> Option<Value> {
    let escapes = view.slice(at..at + 4).iter().take_while(|b| **b == b'\\').count();
    let quote = view
        .byte(at + escapes)
        .filter(|b| matches!(b, b'"' | b'\'' | b'`'))?;
    let start = at + escapes + 1;
    let text = view.slice(start..start + LONGEST + 1);
    let end = text
        .iter()
        .position(|b| *b == quote || *b == b'\\' || *b == b'\n')?;
    let closed = text.get(end) == Some(&quote) && escapes == 0 || text.get(end) == Some(&b'\\');
    closed.then_some(Value {
        range: start..start + end,
        quoted: true,
    })
}

/// A value without quotes, up to what ends one in any of the forms.
fn bare(view: &View<'_>, at: usize) -> Option<Value> {
    let text = view.slice(at..at + LONGEST + 1);
    let ends = |b: &u8| {
        !b.is_ascii_graphic() || matches!(b, b'&' | b';' | b',' | b'<' | b'"' | b'\'' | b'`' | b'\\')
    };
    let end = text.iter().position(ends).unwrap_or(text.len());
    let code = matches!(text.get(end), Some(b'"' | b'\'' | b'`'));
    (end <= LONGEST && !code).then_some(Value {
        range: at..at + end,
        quoted: false,
    })
}

/// Whether another detector knows the value.
fn is_other(view: &View<'_>, value: &Range<usize>) -> bool {
    let text = view.slice(value.clone());
    let is_id = ["AKIA", "ASIA", "GOOG"]
        .iter()
        .any(|id| text.starts_with(id.as_bytes()))
        && text.iter().all(|b| Class::UPPER_DIGIT.has(*b));
    is_id
        || text.starts_with(b"eyJ")
        || text.windows(8).any(|w| w == b"T3BlbkFJ")
        || table::is_token(view, value.start)
}

/// Whether a value looks like a secret that somebody made up, or a machine; as it is, or in base64, as in manifests.
fn is_secret(value: &[u8], quoted: bool) -> bool {
    match decode(value) {
        Some(text) if text.len() >= SHORTEST && text.iter().all(|b| b.is_ascii_graphic() || *b == b' ') => {
            looks_made(text.trim_ascii_end(), true)
        }
        _ => looks_made(value, quoted),
    }
}

fn looks_made(value: &[u8], quoted: bool) -> bool {
    let count = |class: Class| value.iter().filter(|b| class.has(**b)).count();
    let (lower, upper, digits) = (count(Class::LOWER), count(Class::UPPER), count(Class::DIGIT));
    let symbols = value
        .iter()
        .filter(|b| !Class::ALNUM.with(b'-').with(b'_').with(b'.').has(**b))
        .count();
    let kinds = [lower, upper, digits, symbols].iter().filter(|n| **n > 0).count();
    value.len() >= SHORTEST
        && value.iter().all(u8::is_ascii_graphic)
        && digits > 0
        && lower + upper >= 3
        && kinds >= if value.len() < 12 { 3 } else { 2 }
        && (quoted || upper > 0 && lower > 0 || symbols > 0 || upper == 0 && digits >= 4 && value.len() >= 16)
        && !is_code(value, quoted)
        && !is_placeholder(value)
        && !WORDS.iter().any(|word| holds(value, word))
        && entropy(value) >= if value.len() < 12 { 2.75 } else { 3.0 }
        && changes(value) * 4 >= value.len() - 1
        && longest_word(value) < 8
}

/// Whether a value is a piece of code, a template, a path, a URL, an address or an id.
fn is_code(value: &[u8], quoted: bool) -> bool {
    let has = |what: &[u8]| value.windows(what.len()).any(|w| w == what);
    let begins = |what: &str| value.starts_with(what.as_bytes());
    let template =
        begins("$") || begins("%") || has(b"${") || has(b"$(") || has(b"{{") || has(b"<") || has(b"{");
    let path = begins("/")
        || begins("./")
        || begins("~")
        || has(b"://")
        || has(b"::")
        || value.iter().filter(|b| **b == b'/').count() > 3.max(value.len() / 16);
    let address = has(b"@") && (has(b".com") || has(b".org") || has(b".net") || has(b".iam"));
    let segments = value.split(|b| *b == b'.');
    let member = has(b".")
        && segments
            .clone()
            .all(|s| s.first().is_some_and(u8::is_ascii_alphabetic));
    let index = has(b"[") && has(b"]");
    let operators = value
        .iter()
        .any(|b| matches!(b, b'(' | b')' | b'[' | b']' | b'{' | b'}' | b'|' | b'=' | b'*'));
    let code = index || !quoted && (member || operators && !value.ends_with(b"="));
    let regex = has(b"\\") || has(b"[a-") || has(b"[A-") || has(b"[0-") || has(b"(?");
    let tail = value.get(value.len().saturating_sub(36)..);
    template || path || address || code || regex || tail.is_some_and(is_uuid)
}

fn is_uuid(value: &[u8]) -> bool {
    value.len() == 36
        && value.iter().enumerate().all(|(i, b)| {
            matches!(i, 8 | 13 | 18 | 23) == (*b == b'-') && (*b == b'-' || b.is_ascii_hexdigit())
        })
}

/// How often the kind of character changes. A capital before small letters is none, nor is what joins words.
fn changes(value: &[u8]) -> usize {
    #[derive(Clone, Copy, PartialEq)]
    enum Kind {
        Lower,
        Upper,
        Digit,
        Symbol,
        Joiner,
    }
    let kind = |byte: u8| match byte {
        b'a'..=b'z' => Kind::Lower,
        b'A'..=b'Z' => Kind::Upper,
        b'0'..=b'9' => Kind::Digit,
        b'-' | b'_' | b'.' => Kind::Joiner,
        _ => Kind::Symbol,
    };
    let changed = |pair: &&[u8]| match pair {
        [a, b] => {
            let (a, b) = (kind(*a), kind(*b));
            a != b && (a, b) != (Kind::Upper, Kind::Lower) && a != Kind::Joiner && b != Kind::Joiner
        }
        _ => false,
    };
    value.windows(2).filter(changed).count()
}

/// The longest run of small letters.
fn longest_word(value: &[u8]) -> usize {
    value
        .split(|b| !b.is_ascii_lowercase())
        .map(<[u8]>::len)
        .max()
        .unwrap_or(0)
}
