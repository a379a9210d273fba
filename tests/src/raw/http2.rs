//! A connection of HTTP/2 that takes fields as they are, whatever the protocol says of them.

use anyhow::Result;

use super::PATIENCE;
use crate::{
    abuse::frames::{END_HEADERS, END_STREAM, Raw, block, frame, kind},
    turnpike::standalone::client::Agent,
};

/// What a front end that minds nothing makes of a stream for a server of HTTP/1, which then reads whatever stands in
/// the fields. Of pseudo-headers that stand twice it takes the first or the last, and it says how long a body is or not:
/// all of that is given.
#[must_use]
pub fn downgraded(
    fields: &[(String, String)],
    body: Option<&[u8]>,
    trailers: &[(String, String)],
) -> Vec<Vec<u8>> {
    let all = |name: &str| -> Vec<&str> {
        let found = fields.iter().filter(|(n, _)| n == name);
        found.map(|(_, value)| value.as_str()).collect()
    };
    let verb = all(":method");
    let path = all(":path");
    let host = all(":authority");
    let mut rest = String::new();
    let known = [":method", ":path", ":authority", ":scheme"];
    let headers = fields.iter().filter(|(name, _)| !known.contains(&name.as_str()));
    for (name, value) in headers {
        rest.push_str(&format!("{}: {value}\r\n", name.trim_start_matches(':')));
    }
    // Who knows no trailers takes them for headers.
    for (name, value) in trailers {
        rest.push_str(&format!("{name}: {value}\r\n"));
    }
    let body = body.unwrap_or_default();
    let length = format!("content-length: {}\r\n", body.len());
    let framed = body.is_empty() || all("content-length").len() + all("transfer-encoding").len() > 0;
    let one = |values: &[&str], last: bool| {
        let found = if last { values.last() } else { values.first() };
        found.copied().unwrap_or_default().to_owned()
    };
    let mut found = Vec::new();
    for last in [false, true] {
        let (verb, path, host) = (one(&verb, last), one(&path, last), one(&host, last));
        let head = format!("{verb} {path} HTTP/1.1\r\nhost: {host}\r\n{rest}");
        found.push([head.as_bytes(), b"\r\n", body].concat());
        if !framed {
            found.push([head.as_bytes(), length.as_bytes(), b"\r\n", body].concat());
        }
    }
    found
}

/// One connection to one host.
#[derive(Debug)]
pub struct Lane {
    host: String,
    raw: Raw,
    next: u32,
}

impl Lane {
    /// Opens one by CONNECT, with the same host in SNI.
    ///
    /// # Errors
    /// The host is refused.
    pub async fn open(agent: &Agent, host: &str) -> Result<Self> {
        Ok(Self {
            host: host.to_owned(),
            raw: Raw::open(agent, host, &[]).await?,
            next: 1,
        })
    }

    /// The host.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Sends one stream and waits until it is answered or refused. The connection comes back where it can be used
    /// again.
    pub async fn exchange(
        mut self,
        fields: &[(String, String)],
        body: Option<&[u8]>,
        trailers: &[(String, String)],
    ) -> Option<Self> {
        let before = self.raw.said();
        let text = |fields: &[(String, String)]| block(fields.iter().map(|(n, v)| (n.as_str(), v.as_str())));
        let last = |more: bool| if more { 0 } else { END_STREAM };
        let more = body.is_some() || !trailers.is_empty();
        let mut bytes = frame(kind::HEADERS, END_HEADERS | last(more), self.next, &text(fields));
        if let Some(body) = body {
            bytes.extend(frame(kind::DATA, last(!trailers.is_empty()), self.next, body));
        }
        if !trailers.is_empty() {
            let flags = END_HEADERS | END_STREAM;
            bytes.extend(frame(kind::HEADERS, flags, self.next, &text(trailers)));
        }
        self.next += 2;
        self.raw.send(&bytes).await;
        let answered = self.raw.until(PATIENCE, |said| {
            said.heads + said.resets > before.heads + before.resets || said.goaway.is_some() || said.ended
        });
        let said = answered.await.ok()?;
        (said.goaway.is_none() && !said.ended).then_some(self)
    }
}
