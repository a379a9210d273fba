//! Agents that abuse a connection: frames of HTTP/2 made by hand ([`frames`]), and a look at what the proxy pays for
//! them ([`Watch`]). Everything is bounded in count and time.

pub mod frames;
mod watch;

pub use watch::{Cost, Watch};

use std::time::Duration;

use anyhow::{Context, Result};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Something that takes bytes until it ends.
pub trait Sink {
    /// Writes; says whether the other side may still take more.
    fn put(&mut self, bytes: &[u8]) -> impl Future<Output = bool> + Send;
}

impl Sink for frames::Raw {
    async fn put(&mut self, bytes: &[u8]) -> bool {
        self.send(bytes).await && !self.said().ended
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Sink for S {
    async fn put(&mut self, bytes: &[u8]) -> bool {
        let mut read = [0; 4096];
        let exchanged = async {
            self.write_all(bytes).await?;
            self.flush().await?;
            // What is said is read, so that the end of the connection shows; saying nothing is no end.
            match tokio::time::timeout(Duration::from_millis(1), self.read(&mut read)).await {
                Ok(Ok(0)) => Err(std::io::ErrorKind::UnexpectedEof.into()),
                Ok(read) => read,
                Err(_) => Ok(0),
            }
        };
        exchanged.await.is_ok()
    }
}

/// Writes a little again and again until the other side ends the connection.
///
/// # Errors
/// It does not end within `limit`.
pub async fn trickle<S: Sink>(
    sink: &mut S,
    every: Duration,
    limit: Duration,
    mut more: impl FnMut() -> Vec<u8>,
) -> Result<()> {
    let ended = async {
        let mut ticks = tokio::time::interval(every);
        while sink.put(&more()).await {
            ticks.tick().await;
        }
    };
    tokio::time::timeout(limit, ended)
        .await
        .with_context(|| format!("it is still open after {limit:?}"))
}
