//! Where events are published to.

use futures::future::BoxFuture;

use super::message::Message;

/// Takes events. Implementations: [`PubSub`](super::PubSub) and
/// [`LocalTopic`](super::LocalTopic).
pub trait Sink: Send {
    /// Publishes messages and answers for each, in their order. A message that
    /// is answered with `Ok` is the sink's to keep.
    ///
    /// Once a message fails, later ones of the same ordering key must fail too;
    /// the publisher hands them in again, in order. The future may be dropped at
    /// any time, and what was not answered is then handed in again.
    fn publish<'a>(&'a mut self, messages: &'a [Message]) -> BoxFuture<'a, Vec<Result<(), SinkError>>>;
}

/// Why an event was not published.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SinkError {
    /// The service cannot be reached or refuses.
    #[error("publishing failed: {0}")]
    Rpc(String),
    /// The client cannot be made: credentials or endpoint.
    #[error("cannot connect: {0}")]
    Connect(String),
    /// An earlier event with the same ordering key failed.
    #[error("an earlier event of the same session failed")]
    Paused,
    /// The file cannot be written.
    #[error("the local topic cannot be written: {0}")]
    Io(String),
    /// The attempt took too long.
    #[error("publishing took too long")]
    TimedOut,
    /// The sink did not answer for the event.
    #[error("the sink did not answer")]
    Unanswered,
}

impl SinkError {
    /// Label of the failure in metrics.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Rpc(_) => "rpc",
            Self::Connect(_) => "connect",
            Self::Paused => "paused",
            Self::Io(_) => "io",
            Self::TimedOut => "timeout",
            Self::Unanswered => "unanswered",
        }
    }
}
