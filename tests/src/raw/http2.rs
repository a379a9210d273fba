//! A connection of HTTP/2 that takes fields as they are, whatever the protocol says of them.

use anyhow::Result;

use super::PATIENCE;
use crate::{
    abuse::frames::{END_HEADERS, END_STREAM, Raw, block, frame, kind},
    turnpike::standalone::client::Agent,
};

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
