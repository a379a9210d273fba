//! An agent that says what no library would, on sockets of its own: bytes of HTTP/1, frames of HTTP/2, authorities
//! and names in TLS by choice. [`ways`] is what it tries to get round the gate by, [`case`] with which methods,
//! [`proof`] tries them all. What comes back counts for nothing here: what matters is what arrived at the stand-in.

pub mod case;
mod http1;
mod http2;
pub mod proof;
pub mod ways;

use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

pub use http1::Lane;
pub use http2::{Lane as Http2Lane, downgraded};

use crate::turnpike::standalone::client::{Agent, Protocol};

/// How long one answer may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// A connection on which nothing is said for so long has no more to say.
const QUIET: Duration = Duration::from_millis(400);

/// One try to get round the gate.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// What is tried, such as `CL.TE`.
    pub way: &'static str,
    /// How it is sent.
    pub how: How,
}

/// What is sent, and over what.
#[derive(Clone, Debug)]
pub enum How {
    /// One whole request of HTTP/1, on a connection that others use too.
    Request {
        /// In CONNECT and SNI.
        host: String,
        /// The bytes.
        bytes: Vec<u8>,
    },
    /// Bytes on a connection of their own inside TLS.
    Bytes {
        /// In CONNECT, with its port; none for TLS straight to the port.
        connect: Option<String>,
        /// In SNI; an address for none.
        sni: String,
        /// The bytes.
        bytes: Vec<u8>,
    },
    /// One stream of HTTP/2.
    Stream {
        /// In CONNECT and SNI.
        host: String,
        /// Fields as they stand in the block.
        fields: Vec<(String, String)>,
        /// DATA, where there is any.
        body: Option<Vec<u8>>,
        /// A second block behind it.
        trailers: Vec<(String, String)>,
    },
    /// Bytes on the port as it is, without TLS.
    Plain(Vec<u8>),
}

/// Says bytes on a connection of their own and gives all that comes back.
///
/// # Errors
/// The connection is not to be had.
pub async fn say(agent: &Agent, connect: Option<&str>, sni: &str, bytes: &[u8]) -> Result<Vec<u8>> {
    let stream = match connect {
        Some(authority) => agent.connect(authority, &[]).await?,
        None => agent.tcp().await?,
    };
    let mut stream = agent.tls(stream, sni, Protocol::Http1).await?;
    Ok(converse(&mut stream, bytes).await)
}

/// Says bytes on the port as it is and gives all that comes back.
///
/// # Errors
/// The connection is not to be had.
pub async fn say_plain(agent: &Agent, bytes: &[u8]) -> Result<Vec<u8>> {
    let mut stream = agent.tcp().await?;
    Ok(converse(&mut stream, bytes).await)
}

/// Says bytes and listens until the other side ends the connection or has been quiet for a while.
pub async fn converse<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S, bytes: &[u8]) -> Vec<u8> {
    let mut said = Vec::new();
    let mut buffer = [0; 8192];
    let talk = async {
        // Who takes no more has refused; what was said until then still counts.
        stream.write_all(bytes).await?;
        stream.flush().await?;
        while let Ok(read) = tokio::time::timeout(QUIET, stream.read(&mut buffer)).await {
            match read? {
                0 => break,
                count => said.extend_from_slice(&buffer[..count]),
            }
        }
        Ok::<_, std::io::Error>(())
    };
    // The end of a connection that is refused comes as an error as often as not.
    tokio::time::timeout(PATIENCE, talk).await.ok();
    said
}

/// Connections that are used for one attempt after the other.
#[derive(Debug)]
pub struct Lanes {
    agent: Agent,
    http1: Option<Lane>,
    http2: Option<Http2Lane>,
}

impl Lanes {
    /// None are open yet.
    #[must_use]
    pub fn new(agent: Agent) -> Self {
        Self {
            agent,
            http1: None,
            http2: None,
        }
    }

    /// Makes one attempt. It is over once it was answered or refused, whatever the answer is.
    ///
    /// # Errors
    /// The proxy does not answer in time, which no attempt may come to.
    pub async fn attempt(&mut self, attempt: &Attempt) -> Result<()> {
        let made = tokio::time::timeout(PATIENCE * 2, self.make(&attempt.how)).await;
        made.with_context(|| format!("{}: neither answered nor refused", attempt.way))
    }

    async fn make(&mut self, how: &How) {
        match how {
            How::Request { host, bytes } => {
                let lane = match self.http1.take() {
                    Some(lane) if lane.host() == host => Some(lane),
                    // A host that is refused is one way to be refused.
                    _ => Lane::open(&self.agent, host).await.ok(),
                };
                if let Some(lane) = lane {
                    self.http1 = lane.exchange(bytes).await;
                }
            }
            How::Bytes { connect, sni, bytes } => {
                say(&self.agent, connect.as_deref(), sni, bytes).await.ok();
            }
            How::Stream {
                host,
                fields,
                body,
                trailers,
            } => {
                let lane = match self.http2.take() {
                    Some(lane) if lane.host() == host => Some(lane),
                    _ => Http2Lane::open(&self.agent, host).await.ok(),
                };
                if let Some(lane) = lane {
                    self.http2 = lane.exchange(fields, body.as_deref(), trailers).await;
                }
            }
            How::Plain(bytes) => {
                say_plain(&self.agent, bytes).await.ok();
            }
        }
    }
}
