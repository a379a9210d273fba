//! A connection of HTTP/1 inside TLS that takes bytes and reads whole answers.

use anyhow::{Context as _, Result, ensure};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_rustls::client::TlsStream;

use crate::turnpike::standalone::client::{Agent, Protocol};

/// One connection to one host.
#[derive(Debug)]
pub struct Lane {
    host: String,
    stream: TlsStream<TcpStream>,
    /// Bytes behind the last answer.
    read: Vec<u8>,
}

impl Lane {
    /// Opens one by CONNECT, with the same host in SNI.
    ///
    /// # Errors
    /// The host is refused.
    pub async fn open(agent: &Agent, host: &str) -> Result<Self> {
        let tunnel = agent.connect(&format!("{host}:443"), &[]).await?;
        Ok(Self {
            host: host.to_owned(),
            stream: agent.tls(tunnel, host, Protocol::Http1).await?,
            read: Vec::new(),
        })
    }

    /// The host.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Writes one request and waits for its answer. The connection comes back where it can be used again.
    pub async fn exchange(mut self, request: &[u8]) -> Option<Self> {
        let again = async {
            self.stream.write_all(request).await?;
            self.stream.flush().await?;
            self.answer(request.starts_with(b"HEAD ")).await
        };
        // A connection that breaks is a refusal; the next attempt opens another.
        match again.await {
            Ok((_, true)) => Some(self),
            Ok((_, false)) | Err(_) => None,
        }
    }

    /// The status of the next answer, and whether the connection lives on. That to a HEAD has no body.
    ///
    /// # Errors
    /// There is none.
    pub async fn answer(&mut self, bodyless: bool) -> Result<(u16, bool)> {
        let end = self.until(b"\r\n\r\n", 0).await?;
        let head = String::from_utf8_lossy(&self.read[..end]).to_ascii_lowercase();
        self.read.drain(..end);
        let status = head.split(' ').nth(1).context("no status")?.parse()?;
        let field = |name: &str| {
            let mut lines = head.lines();
            lines.find_map(|l| {
                l.strip_prefix(name)?
                    .strip_prefix(':')
                    .map(|v| v.trim().to_owned())
            })
        };
        if bodyless {
            // What its length says never comes.
        } else if let Some(length) = field("content-length") {
            let length: usize = length.parse()?;
            while self.read.len() < length {
                self.more().await?;
            }
            self.read.drain(..length);
        } else if field("transfer-encoding").is_some() {
            let end = match self.read.starts_with(b"0\r\n\r\n") {
                true => 5,
                false => self.until(b"\r\n0\r\n\r\n", 0).await?,
            };
            self.read.drain(..end);
        }
        Ok((status, field("connection").is_none_or(|c| c != "close")))
    }

    async fn until(&mut self, what: &[u8], from: usize) -> Result<usize> {
        loop {
            let found = self.read[from..].windows(what.len()).position(|w| w == what);
            if let Some(at) = found {
                return Ok(from + at + what.len());
            }
            self.more().await?;
        }
    }

    async fn more(&mut self) -> Result<()> {
        let mut buffer = [0; 8192];
        let count = self.stream.read(&mut buffer).await?;
        ensure!(count > 0, "the connection ended");
        self.read.extend_from_slice(&buffer[..count]);
        Ok(())
    }
}
