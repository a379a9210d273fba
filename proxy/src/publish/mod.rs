//! The publisher: takes durable events from the spool, hands them to a
//! [`Sink`] and acknowledges what arrived.
//!
//! # Invariants
//!
//! - Nothing is acknowledged to the spool before the sink says it has it.
//! - Events of one ordering key are handed over in order, and a later one never
//!   before an earlier one is through.
//! - A sink that fails is tried again for as long as it takes; events wait in
//!   the spool meanwhile, and [`PublishState`] says so. Nothing is dropped.
//! - At most one batch is in flight, so memory is bounded however long the sink
//!   is away.
//!
//! Consumers may see an event twice and tell by its id. An event that a sink
//! refuses for good holds up those behind it: losing a record silently would be
//! worse, and the spool's limit ends it where a person must look.

mod local;
mod message;
mod metrics;
mod pubsub;
mod run;
mod sink;
#[cfg(test)]
mod tests;

use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::spool::{Spool, SpoolError};

pub use local::LocalTopic;
pub use message::Message;
pub use metrics::PublishMetrics;
pub use pubsub::{PubSub, PubSubConfig};
pub use sink::{Sink, SinkError};

/// How the publisher paces itself.
#[derive(Debug, Clone)]
pub struct PublisherConfig {
    /// Most events in flight.
    pub max_events: usize,
    /// About the most bytes in flight.
    pub max_bytes: u64,
    /// Least time between the starts of two batches that are not full, so that
    /// events share a request. An event that comes after a pause goes at once.
    pub interval: Duration,
    /// How long one attempt may take; longer than the sink's own limit.
    pub attempt_timeout: Duration,
    /// First wait after a failure.
    pub min_backoff: Duration,
    /// Longest wait after a failure.
    pub max_backoff: Duration,
    /// How long to go on after shutdown was asked for.
    pub drain: Duration,
}

impl Default for PublisherConfig {
    fn default() -> Self {
        Self {
            max_events: 1000,
            max_bytes: 4 * 1024 * 1024,
            interval: Duration::from_millis(50),
            attempt_timeout: Duration::from_secs(30),
            min_backoff: Duration::from_millis(200),
            max_backoff: Duration::from_secs(15),
            drain: Duration::from_secs(10),
        }
    }
}

/// Whether events reach the sink.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PublishState {
    /// The last attempt succeeded, or there was none yet.
    Publishing,
    /// Events wait in the spool.
    Behind {
        /// Since when.
        since: Timestamp,
        /// What the last attempt failed with.
        error: String,
    },
}

/// Publishes what a spool holds.
#[derive(Debug)]
pub struct Publisher {
    config: PublisherConfig,
    state: watch::Sender<PublishState>,
    metrics: PublishMetrics,
}

impl Publisher {
    /// A publisher that has yet to [`run`](Publisher::run).
    ///
    /// # Errors
    ///
    /// When its metrics are malformed.
    pub fn new(config: PublisherConfig) -> Result<Self, prometheus::Error> {
        Ok(Self {
            config,
            state: watch::Sender::new(PublishState::Publishing),
            metrics: PublishMetrics::new()?,
        })
    }

    /// Whether events reach the sink.
    #[must_use]
    pub fn state(&self) -> PublishState {
        self.state.borrow().clone()
    }

    /// The state and its changes.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<PublishState> {
        self.state.subscribe()
    }

    /// The publisher's metrics, to be registered.
    #[must_use]
    pub fn metrics(&self) -> &PublishMetrics {
        &self.metrics
    }

    /// Publishes until `shutdown`, then what is left, for
    /// [`PublisherConfig::drain`] at most.
    ///
    /// # Errors
    ///
    /// [`SpoolError::ReaderTaken`] when the spool is published already.
    pub async fn run(
        &self,
        spool: &Spool,
        sink: &mut dyn Sink,
        shutdown: CancellationToken,
    ) -> Result<(), SpoolError> {
        run::run(self, spool, sink, shutdown).await
    }

    fn succeeded(&self) {
        self.state.send_if_modified(|state| {
            if let PublishState::Behind { since, .. } = state {
                tracing::info!(%since, "audit events are published again");
                *state = PublishState::Publishing;
                true
            } else {
                false
            }
        });
        self.metrics.behind(false);
    }

    fn failed(&self, error: String) {
        self.state.send_if_modified(|state| {
            let (since, changed) = match state {
                PublishState::Publishing => (Timestamp::now(), true),
                PublishState::Behind { since, error: before } => (*since, *before != error),
            };
            if changed {
                tracing::warn!(%since, %error, "audit events cannot be published; they wait in the spool");
                *state = PublishState::Behind { since, error };
            }
            changed
        });
        self.metrics.behind(true);
    }
}
