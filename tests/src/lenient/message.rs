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
struct Body {
    /// Bytes that it takes.
    length: usize,
    bytes: Vec<u8>,
    trailers: Vec<(String, String)>,
    /// Whether somebody could frame it otherwise.
    odd: bool,
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
/// length. Where anything is odd about its framing, every request that stands in it is one to somebody.
pub(super) fn read(bytes: &[u8]) -> Option<Read> {
    let (mut message, head) = head(bytes)?;
    let rest = &bytes[head..];
    let coded = message
        .values("transfer-encoding")
        .any(|v| v.to_ascii_lowercase().contains("chunked"));
    let said = message.values("content-length").find_map(number);
    let body = if coded {
        chunks(rest)?
    } else {
        let length = said.unwrap_or(0);
        Body {
            length,
            bytes: rest.get(..length)?.to_vec(),
            trailers: Vec::new(),
            odd: false,
        }
    };
    let mut hidden = Vec::new();
    if body.odd || is_odd(&bytes[..head], &message) {
        hidden = anywhere(&bytes[..head + body.length]);
    }
    message.body = body.bytes;
    message.fields.extend(body.trailers);
    Some(Read {
        message,
        length: head + body.length,
        hidden,
    })
}

/// What a connection ends with: a message whose body did not come whole, which is nothing but that where its framing
/// is plain, and whatever could be a request in it where it is not.
pub(super) fn torn(bytes: &[u8]) -> Vec<Message> {
    match head(bytes) {
        Some((mut message, head))
            if !is_odd(&bytes[..head], &message) && !is_uncountable(&message, &bytes[head..]) =>
        {
            message.body = bytes[head..].to_vec();
            vec![message]
        }
        _ => anywhere(bytes),
    }
}

/// Whether a body comes in chunks the first of which has no size.
fn is_uncountable(message: &Message, body: &[u8]) -> bool {
    let size = line(body, 0).map_or(body, |(line, _)| line);
    let digits = size.len() < 16 && size.iter().all(u8::is_ascii_hexdigit);
    message.values("transfer-encoding").count() > 0 && !digits
}

/// Whether somebody could frame a message otherwise than by its plain reading.
fn is_odd(head: &[u8], message: &Message) -> bool {
    let text = String::from_utf8_lossy(head);
    let bare = text.replace("\r\n", "").contains(['\r', '\n', '\0']);
    let names = text.lines().skip(1).any(|line| {
        let name = line.split(':').next().unwrap_or(line);
        line.starts_with([' ', '\t']) || name.ends_with([' ', '\t']) || name.contains('_')
    });
    let lengths: Vec<&str> = message.values("content-length").collect();
    let digits = |v: &&str| !v.is_empty() && v.bytes().all(|b| b.is_ascii_digit());
    let codings: Vec<&str> = message.values("transfer-encoding").collect();
    let framing = lengths.len() + codings.len() > 1
        || !lengths.iter().all(digits)
        || codings.iter().any(|coding| *coding != "chunked");
    let told = ["expect", "upgrade"]
        .iter()
        .any(|name| message.values(name).count() > 0)
        || message
            .values("connection")
            .any(|v| v.to_ascii_lowercase().contains("content-length"));
    let verb = !message.verb.bytes().all(|b| b.is_ascii_alphabetic());
    let more = text
        .lines()
        .next()
        .is_some_and(|line| line.split(' ').count() > 3);
    bare || names || framing || told || verb || more
}

/// Every request that begins with a line, or in the middle of the first.
fn anywhere(bytes: &[u8]) -> Vec<Message> {
    let mut starts = vec![0];
    starts.extend(
        (0..bytes.len())
            .filter(|at| matches!(bytes[*at], b'\n' | b'\r'))
            .map(|at| at + 1),
    );
    let first = bytes.iter().position(|b| *b == b'\n').unwrap_or(bytes.len());
    starts.extend((0..first).filter(|at| bytes[*at] == b' ').map(|at| at + 1));
    let mut found: Vec<Message> = Vec::new();
    for at in starts {
        // What has no end ends here.
        let closed = [&bytes[at..], b"\r\n\r\n"].concat();
        if let Some((mut message, head)) = head(&closed)
            && (message.target.starts_with('/') || message.target.contains("://"))
        {
            message.body = bytes.get(at + head..).unwrap_or_default().to_vec();
            message.hidden = true;
            found.push(message);
        }
    }
    found
}

/// A request line and headers, and how many bytes they take. Lines may end in LF or CR alone; lines that go on are
/// both joined to the last and taken for themselves; names are trimmed; no version is needed.
fn head(bytes: &[u8]) -> Option<(Message, usize)> {
    let mut at = bytes.iter().take_while(|b| b.is_ascii_whitespace()).count();
    let (line, next) = line(bytes, at)?;
    let line = String::from_utf8_lossy(line).into_owned();
    let mut words = line.split_whitespace();
    let (verb, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut message = Message {
        verb,
        target,
        ..Message::default()
    };
    at = next;
    loop {
        let Some((field, next)) = self::line(bytes, at) else {
            // HTTP/0.9: the line is all.
            return words.next().is_none().then_some((message, at));
        };
        at = next;
        if field.is_empty() {
            return Some((message, at));
        }
        let field = String::from_utf8_lossy(field).into_owned();
        if let (true, Some((_, value))) = (field.starts_with([' ', '\t']), message.fields.last_mut()) {
            value.push_str(&field);
        }
        message.fields.extend(named(&field));
    }
}

fn named(field: &str) -> Option<(String, String)> {
    // A pseudo-header of HTTP/2 begins with a colon.
    let at = field.trim_start_matches(':').find(':')? + field.len() - field.trim_start_matches(':').len();
    let (name, value) = (&field[..at], &field[at + 1..]);
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
    let mut chunked = Body {
        length: 0,
        bytes: Vec::new(),
        trailers: Vec::new(),
        odd: false,
    };
    let mut at = 0;
    loop {
        let (line, next) = line(bytes, at)?;
        chunked.odd |= !line.iter().all(u8::is_ascii_hexdigit) || bytes.get(next - 2) != Some(&b'\r');
        at = next;
        let text = String::from_utf8_lossy(line);
        let digits: String = text.trim().chars().take_while(char::is_ascii_hexdigit).collect();
        let size = usize::from_str_radix(&digits, 16).ok()?;
        if size == 0 {
            break;
        }
        chunked
            .bytes
            .extend_from_slice(bytes.get(at..at.checked_add(size)?)?);
        at += size;
        let (rest, next) = self::line(bytes, at)?;
        chunked.odd |= !rest.is_empty();
        at = next;
    }
    loop {
        let (field, next) = line(bytes, at)?;
        at = next;
        if field.is_empty() {
            chunked.length = at;
            return Some(chunked);
        }
        // Who knows no trailers takes them for the next request.
        chunked.odd = true;
        chunked.trailers.extend(named(&String::from_utf8_lossy(field)));
    }
}

/// The number that a length begins with.
fn number(value: &str) -> Option<usize> {
    let digits: String = value.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}
