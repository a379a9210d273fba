//! The publisher's loop.

use std::pin::pin;
use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBackoff, ExponentialBuilder};
use jiff::Timestamp;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::message::Message;
use super::sink::{Sink, SinkError};
use super::{Publisher, PublisherConfig};
use crate::spool::{Batch, Spool, SpoolError, SpoolReader};

/// How often the lag is looked at.
const LAG_INTERVAL: Duration = Duration::from_secs(1);

pub(super) async fn run(
    publisher: &Publisher,
    spool: &Spool,
    sink: &mut dyn Sink,
    shutdown: CancellationToken,
) -> Result<(), SpoolError> {
    let mut pump = Pump {
        publisher,
        spool,
        sink,
        shutdown: &shutdown,
        reader: spool.reader()?,
        pending: Vec::new(),
        batch_end: 0,
        backoff: backoff(&publisher.config),
        next_batch_at: Instant::now(),
    };
    let end = async {
        shutdown.cancelled().await;
        sleep(publisher.config.drain).await;
    };
    let watch_lag = async {
        loop {
            show_lag(publisher, spool);
            sleep(LAG_INTERVAL).await;
        }
    };
    tokio::select! {
        () = pump.run() => {}
        () = end => tracing::warn!(
            events = spool.state().events_pending,
            "audit events are left in the spool; the next start publishes them"
        ),
        () = watch_lag => {}
    }
    show_lag(publisher, spool);
    pump.reader.persist().await;
    Ok(())
}

fn backoff(config: &PublisherConfig) -> ExponentialBackoff {
    ExponentialBuilder::default()
        .with_min_delay(config.min_backoff)
        .with_max_delay(config.max_backoff)
        .with_jitter()
        .without_max_times()
        .build()
}

fn show_lag(publisher: &Publisher, spool: &Spool) {
    let lag = spool.state().oldest.map_or(0.0, |oldest| {
        Timestamp::now().duration_since(oldest).as_secs_f64()
    });
    publisher.metrics.lag(lag.max(0.0));
}

struct Pump<'a> {
    publisher: &'a Publisher,
    spool: &'a Spool,
    sink: &'a mut dyn Sink,
    shutdown: &'a CancellationToken,
    reader: SpoolReader,
    /// Read and not yet delivered, in order.
    pending: Vec<Message>,
    /// Number of the last event of the batch that is being delivered.
    batch_end: u64,
    backoff: ExponentialBackoff,
    next_batch_at: Instant,
}

impl Pump<'_> {
    /// Runs until shutdown was asked for and all is delivered.
    async fn run(&mut self) {
        loop {
            if self.pending.is_empty() {
                match self.next_batch().await {
                    Ok(Some(batch)) => {
                        self.batch_end = batch.last_seq().unwrap_or(self.batch_end);
                        self.pending = batch.events.into_iter().map(Message::new).collect();
                    }
                    Ok(None) => return,
                    Err(error) => {
                        self.publisher.metrics.failure("spool", 1);
                        self.publisher.failed(error.to_string());
                        self.wait_to_retry().await;
                        continue;
                    }
                }
            }
            if let Err(error) = self.attempt().await {
                self.publisher.failed(error.to_string());
                self.wait_to_retry().await;
            } else {
                self.publisher.succeeded();
                self.backoff = backoff(&self.publisher.config);
            }
        }
    }

    /// The next events; `None` when there will be none.
    async fn next_batch(&mut self) -> Result<Option<Batch>, SpoolError> {
        let PublisherConfig {
            max_events,
            max_bytes,
            interval,
            ..
        } = self.publisher.config;
        if !self.shutdown.is_cancelled() {
            tokio::select! {
                () = sleep_until(self.next_batch_at) => {}
                () = self.shutdown.cancelled() => {}
            }
            tokio::select! {
                biased;
                batch = self.reader.next_batch(max_events, max_bytes) => match batch {
                    Ok(batch) => {
                        let is_full = batch.events.len() >= max_events;
                        let pause = if is_full { Duration::ZERO } else { interval };
                        self.next_batch_at = Instant::now() + pause;
                        return Ok(Some(batch));
                    }
                    Err(SpoolError::Closed) => return Ok(None),
                    // All that is durable is published, and the proxy refuses
                    // calls: nothing more will come.
                    Err(SpoolError::Failed(_)) => self.shutdown.cancelled().await,
                    Err(error) => return Err(error),
                },
                () = self.shutdown.cancelled() => {}
            }
        }
        if let Err(error) = self.spool.flush().await {
            tracing::warn!(%error, "the last audit events may not be durable");
        }
        let batch = self.reader.try_batch(max_events, max_bytes).await?;
        Ok((!batch.events.is_empty()).then_some(batch))
    }

    /// Hands over what is pending and keeps what failed.
    async fn attempt(&mut self) -> Result<(), SinkError> {
        let started = Instant::now();
        let limit = self.publisher.config.attempt_timeout;
        let results = match timeout(limit, self.sink.publish(&self.pending)).await {
            Ok(results) => results,
            Err(_) => {
                self.publisher
                    .metrics
                    .failure(SinkError::TimedOut.reason(), self.pending.len());
                return Err(SinkError::TimedOut);
            }
        };
        self.publisher.metrics.attempt(started.elapsed());

        let mut first_error = None;
        let mut delivered = 0;
        let mut results = results.into_iter();
        self.pending.retain(|_| match results.next() {
            Some(Ok(())) => {
                delivered += 1;
                false
            }
            Some(Err(error)) => {
                self.publisher.metrics.failure(error.reason(), 1);
                // That a key is paused tells nothing of why.
                if first_error.is_none() || matches!(first_error, Some(SinkError::Paused)) {
                    first_error = Some(error);
                }
                true
            }
            // A sink that answers for fewer has not delivered the rest.
            None => true,
        });
        self.publisher.metrics.published(delivered);

        let done = self
            .pending
            .first()
            .map_or(self.batch_end, |message| message.seq() - 1);
        self.reader.ack(done).await;
        match first_error {
            Some(error) => Err(error),
            None if self.pending.is_empty() => Ok(()),
            None => Err(SinkError::Unanswered),
        }
    }

    /// Backs off; not for long when the end is near.
    async fn wait_to_retry(&mut self) {
        // The iterator is without end.
        let delay = self.backoff.next().unwrap_or(self.publisher.config.max_backoff);
        if self.shutdown.is_cancelled() {
            sleep(delay.min(self.publisher.config.min_backoff)).await;
            return;
        }
        let mut delay = pin!(sleep(delay));
        tokio::select! {
            () = &mut delay => {}
            () = self.shutdown.cancelled() => {}
        }
    }
}
