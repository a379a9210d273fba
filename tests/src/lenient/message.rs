//! Messages of HTTP as bytes, read as leniently as any server was ever seen to. This does not say what a message
//! calls.

use http::{HeaderMap, request::Parts};

/// A request as it arrived.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// The verb.
    pub verb: String,
    /// The target as it stands in the request line.
    pub target: String,
    /// Headers, `:authority` as `host`, and trailers, which a lax server takes for headers. Names in lower case.
    pub fields: Vec<(String, String)>,
    /// The body without its framing.
    pub body: Vec<u8>,
    /// Whether this is what a server sees that frames the connection in another way than its neighbours.
    pub hidden: bool,
}

/// A body without its framing.
#[derive(Clone)]
struct Body {
    /// Bytes that it takes.
    length: usize,
    bytes: Vec<u8>,
    trailers: Vec<(String, String)>,
}

/// The first message of some bytes.
pub(super) struct Read {
    pub(super) message: Message,
    /// Bytes that it takes.
    pub(super) length: usize,
    /// What stands in them for servers that frame it otherwise.
    pub(super) hidden: Vec<Message>,
}

impl Message {
    /// The values of a header or trailer.
    pub fn values<'m>(&'m self, name: &'m str) -> impl Iterator<Item = &'m str> {
        let found = self.fields.iter().filter(move |(n, _)| n == name);
        found.map(|(_, value)| value.as_str())
    }

    /// One that came by HTTP/2.
    pub(super) fn of(head: &Parts, trailers: &HeaderMap, body: &[u8]) -> Self {
        let mut fields: Vec<(String, String)> = Vec::new();
        fields.extend(head.uri.authority().map(|a| ("host".to_owned(), a.to_string())));
        for (name, value) in head.headers.iter().chain(trailers) {
            fields.push((
                name.to_string(),
                String::from_utf8_lossy(value.as_bytes()).into_owned(),
            ));
        }
        Self {
            verb: head.method.to_string(),
            target: head.uri.path_and_query().map_or(String::new(), |p| p.to_string()),
            fields,
            body: body.to_vec(),
            hidden: false,
        }
    }

    pub(super) fn expects_continue(&self) -> bool {
        self.values("expect")
            .any(|v| v.eq_ignore_ascii_case("100-continue"))
            && self.body.is_empty()
    }
}

/// The first message, once it is complete in its plainest framing: chunked where that is said, else by its
/// length.
pub(super) fn read(bytes: &[u8]) -> Option<Read> {
    let (mut message, head) = head(bytes)?;
    let rest = &bytes[head..];
    let lengths: Vec<usize> = message.values("content-length").flat_map(numbers).collect();
    let coded = message
        .values("transfer-encoding")
        .any(|v| v.to_ascii_lowercase().contains("chunked"));
    let measured = |length: usize, bytes: &[u8]| Body {
        length,
        bytes: bytes.to_vec(),
        trailers: Vec::new(),
    };
    let mut framings: Vec<Body> = Vec::new();
    if coded && let Some(chunked) = chunks(rest) {
        framings.push(chunked);
    }
    for length in &lengths {
        if let Some(body) = rest.get(..*length) {
            framings.push(measured(*length, body));
        }
    }
    if !coded && lengths.is_empty() {
        framings.push(measured(0, &[]));
    }
    let Body {
        length,
        bytes: body,
        trailers,
    } = framings.first().cloned()?;
    // The other framings end sooner or later: what follows there, up to where this one ends or beyond.
    let mut hidden = Vec::new();
    for other in &framings[1..] {
        if other.length < length {
            hidden.extend(all(&rest[other.length..length]));
        }
    }
    if coded && !lengths.is_empty() && length > 0 {
        hidden.extend(all(&body));
    }
    for found in &mut hidden {
        found.hidden = true;
    }
    message.body = body;
    message.fields.extend(trailers);
    Some(Read {
        message,
        length: head + length,
        hidden,
    })
}

/// What a connection ends with: a message whose body has not come whole, too.
pub(super) fn torn(bytes: &[u8]) -> Option<Message> {
    let (mut message, head) = head(bytes)?;
    message.body = bytes[head..].to_vec();
    Some(message)
}

/// All messages of some bytes, one behind the other.
fn all(mut bytes: &[u8]) -> Vec<Message> {
    let mut found = Vec::new();
    while let Some(read) = read(bytes) {
        bytes = &bytes[read.length..];
        found.push(read.message);
        found.extend(read.hidden);
    }
    found.extend(torn(bytes));
    found
}

/// A request line and headers, and how many bytes they take. Lines may end in LF or CR alone; lines that go on are
/// joined; names are trimmed; no version is needed.
fn head(bytes: &[u8]) -> Option<(Message, usize)> {
    let mut at = bytes.iter().take_while(|b| b.is_ascii_whitespace()).count();
    let (line, next) = line(bytes, at)?;
    let line = String::from_utf8_lossy(line).into_owned();
    let mut words = line.split_whitespace();
    let (verb, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    if verb.contains(|c: char| !c.is_ascii_alphabetic()) {
        return None;
    }
    let mut message = Message {
        verb,
        target,
        ..Message::default()
    };
    at = next;
    if words.next().is_none() {
        // HTTP/0.9: the line is all.
        return Some((message, at));
    }
    loop {
        let (field, next) = self::line(bytes, at)?;
        at = next;
        if field.is_empty() {
            return Some((message, at));
        }
        let field = String::from_utf8_lossy(field).into_owned();
        match (field.starts_with([' ', '\t']), message.fields.last_mut()) {
            (true, Some((_, value))) => value.push_str(&field),
            _ => message.fields.extend(named(&field)),
        }
    }
}

fn named(field: &str) -> Option<(String, String)> {
    let (name, value) = field.split_once(':')?;
    let strip = |text: &str| {
        text.trim_matches(|c: char| c.is_whitespace() || c.is_control())
            .to_owned()
    };
    Some((strip(name).to_ascii_lowercase(), strip(value)))
}

/// A line without its end, and where the next begins.
fn line(bytes: &[u8], at: usize) -> Option<(&[u8], usize)> {
    let rest = bytes.get(at..)?;
    let end = rest.iter().position(|b| matches!(b, b'\n' | b'\r'))?;
    let next = match rest.get(end..end + 2) {
        Some(b"\r\n") => end + 2,
        _ => end + 1,
    };
    Some((&rest[..end], at + next))
}

/// Chunks and their trailers. Sizes are read as far as they are digits.
fn chunks(bytes: &[u8]) -> Option<Body> {
    let (mut at, mut body, mut trailers) = (0, Vec::new(), Vec::new());
    loop {
        let (size, next) = line(bytes, at)?;
        at = next;
        let digits = String::from_utf8_lossy(size);
        let digits: String = digits
            .trim()
            .chars()
            .take_while(char::is_ascii_hexdigit)
            .collect();
        let size = usize::from_str_radix(&digits, 16).ok()?;
        if size == 0 {
            break;
        }
        body.extend_from_slice(bytes.get(at..at.checked_add(size)?)?);
        at += size;
        (_, at) = line(bytes, at)?;
    }
    loop {
        let (field, next) = line(bytes, at)?;
        at = next;
        if field.is_empty() {
            return Some(Body {
                length: at,
                bytes: body,
                trailers,
            });
        }
        trailers.extend(named(&String::from_utf8_lossy(field)));
    }
}

/// The numbers in a length, whatever else stands there.
fn numbers(value: &str) -> Vec<usize> {
    let digits = value.split(|c: char| !c.is_ascii_digit());
    digits.filter_map(|d| d.parse().ok()).collect()
}
