//! HTTP/2 by hand (RFC 9113): frames that no client library would send.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf, split},
    net::TcpStream,
    sync::watch,
    task::JoinHandle,
};
use tokio_rustls::client::TlsStream;

use crate::turnpike::standalone::client::{Agent, Protocol};

/// Types of frames.
pub mod kind {
    /// DATA
    pub const DATA: u8 = 0;
    /// HEADERS
    pub const HEADERS: u8 = 1;
    /// PRIORITY
    pub const PRIORITY: u8 = 2;
    /// RST_STREAM
    pub const RESET: u8 = 3;
    /// SETTINGS
    pub const SETTINGS: u8 = 4;
    /// PING
    pub const PING: u8 = 6;
    /// GOAWAY
    pub const GOAWAY: u8 = 7;
    /// WINDOW_UPDATE
    pub const WINDOW_UPDATE: u8 = 8;
    /// CONTINUATION
    pub const CONTINUATION: u8 = 9;
}

/// END_STREAM, and ACK of SETTINGS and PING.
pub const END_STREAM: u8 = 1;
/// END_HEADERS
pub const END_HEADERS: u8 = 4;

/// One frame.
#[must_use]
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX).to_be_bytes();
    let mut frame = vec![length[1], length[2], length[3], kind, flags];
    frame.extend_from_slice(&stream.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

/// A setting of a SETTINGS frame.
#[must_use]
pub fn setting(id: u16, value: u32) -> Vec<u8> {
    [&id.to_be_bytes()[..], &value.to_be_bytes()[..]].concat()
}

/// Fields as literals that nobody keeps (RFC 7541, section 6.2.2), so that every block stands for itself.
#[must_use]
pub fn block<'a>(fields: impl IntoIterator<Item = (&'a str, &'a str)>) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            text_of(text.as_bytes(), &mut block);
        }
    }
    block
}

/// A field that the peer is to keep in its table (RFC 7541, section 6.2.1).
#[must_use]
pub fn kept(name: &str, value: &str) -> Vec<u8> {
    let mut block = vec![0x40];
    for text in [name, value] {
        text_of(text.as_bytes(), &mut block);
    }
    block
}

/// A string without Huffman's code, after its length in a prefix of seven bits.
fn text_of(text: &[u8], block: &mut Vec<u8>) {
    let mut length = text.len();
    if length < 127 {
        block.push(length as u8);
    } else {
        block.push(127);
        length -= 127;
        while length >= 128 {
            block.push((length % 128) as u8 | 0x80);
            length /= 128;
        }
        block.push(length as u8);
    }
    block.extend_from_slice(text);
}

/// What the proxy has said on a connection so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// Answers that have begun.
    pub heads: usize,
    /// Bytes of DATA.
    pub data: usize,
    /// Streams that it has reset.
    pub resets: usize,
    /// The code of its GOAWAY; the last one counts.
    pub goaway: Option<u32>,
    /// Acknowledged SETTINGS and PINGs.
    pub acks: usize,
    /// Whether the connection has ended.
    pub ended: bool,
}

/// A connection of HTTP/2 on which tests write bytes of their own. What comes back is read all the time, and counted.
#[derive(Debug)]
pub struct Raw {
    write: WriteHalf<TlsStream<TcpStream>>,
    said: watch::Receiver<Said>,
    reader: JoinHandle<()>,
}

impl Drop for Raw {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

impl Raw {
    /// Opens one: CONNECT, TLS, the preface and these settings.
    ///
    /// # Errors
    /// The proxy does not take it.
    pub async fn open(agent: &Agent, host: &str, settings: &[u8]) -> Result<Self> {
        let tunnel = agent.connect(&format!("{host}:443"), &[]).await?;
        let stream = agent.tls(tunnel, host, Protocol::Http2).await?;
        let (read, write) = split(stream);
        let (tell, said) = watch::channel(Said::default());
        let reader = tokio::spawn(async move {
            // Every end is one: closed, reset, or without a goodbye in TLS.
            count(read, &tell).await.ok();
            tell.send_modify(|said| said.ended = true);
        });
        let mut raw = Self { write, said, reader };
        let mut preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        preface.extend(frame(kind::SETTINGS, 0, 0, settings));
        raw.send(&preface).await;
        Ok(raw)
    }

    /// Writes bytes; says whether the proxy still takes them.
    pub async fn send(&mut self, bytes: &[u8]) -> bool {
        let written = async {
            self.write.write_all(bytes).await?;
            self.write.flush().await
        };
        // A proxy that reads nothing more has no room at some time: as good as an end.
        let limit = Duration::from_secs(5);
        matches!(tokio::time::timeout(limit, written).await, Ok(Ok(())))
    }

    /// What was said so far.
    #[must_use]
    pub fn said(&self) -> Said {
        self.said.borrow().clone()
    }

    /// Waits until what was said is as wanted.
    ///
    /// # Errors
    /// It is not in time.
    pub async fn until(&self, limit: Duration, wanted: impl Fn(&Said) -> bool) -> Result<Said> {
        let mut said = self.said.clone();
        let found = tokio::time::timeout(limit, said.wait_for(|said| wanted(said))).await;
        match found {
            Ok(said) => Ok(said.context("the reader ended")?.clone()),
            Err(_) => bail!("not within {limit:?}: {:?}", self.said()),
        }
    }
}

async fn count(mut read: ReadHalf<TlsStream<TcpStream>>, tell: &watch::Sender<Said>) -> Result<()> {
    loop {
        let mut head = [0; 9];
        read.read_exact(&mut head).await?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; usize::try_from(length)?];
        read.read_exact(&mut payload).await?;
        tell.send_modify(|said| match head[3] {
            kind::HEADERS => said.heads += 1,
            kind::DATA => said.data += payload.len(),
            kind::RESET => said.resets += 1,
            kind::GOAWAY => {
                said.goaway = payload
                    .get(4..8)
                    .map(|code| code.iter().fold(0, |all, byte| all << 8 | u32::from(*byte)));
            }
            kind::SETTINGS | kind::PING if head[4] & END_STREAM != 0 => said.acks += 1,
            _ => {}
        });
    }
}
