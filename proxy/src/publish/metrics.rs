//! What the publisher counts.

use std::time::Duration;

use prometheus::core::Collector;
use prometheus::{Gauge, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts, Registry};

/// Metrics of a publisher. Clones share their values.
#[derive(Debug, Clone)]
pub struct PublishMetrics {
    published: IntCounter,
    failures: IntCounterVec,
    attempts: Histogram,
    lag: Gauge,
    behind: IntGauge,
}

impl PublishMetrics {
    pub(super) fn new() -> Result<Self, prometheus::Error> {
        Ok(Self {
            published: IntCounter::new(
                "turnpike_published_total",
                "Audit events that the topic has acknowledged.",
            )?,
            failures: IntCounterVec::new(
                Opts::new(
                    "turnpike_publish_failures_total",
                    "Audit events that an attempt did not deliver, by reason; they are tried again.",
                ),
                &["reason"],
            )?,
            attempts: Histogram::with_opts(
                HistogramOpts::new(
                    "turnpike_publish_seconds",
                    "Time of an attempt to publish a batch.",
                )
                .buckets(vec![
                    0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0,
                ]),
            )?,
            lag: Gauge::new(
                "turnpike_publish_lag_seconds",
                "Age of the oldest audit event that is not published.",
            )?,
            behind: IntGauge::new(
                "turnpike_publish_behind",
                "1 while audit events cannot be published and wait in the spool.",
            )?,
        })
    }

    /// Adds the metrics to a registry.
    ///
    /// # Errors
    ///
    /// When a metric of that name is registered already.
    pub fn register(&self, registry: &Registry) -> Result<(), prometheus::Error> {
        let collectors: [Box<dyn Collector>; 5] = [
            Box::new(self.published.clone()),
            Box::new(self.failures.clone()),
            Box::new(self.attempts.clone()),
            Box::new(self.lag.clone()),
            Box::new(self.behind.clone()),
        ];
        for collector in collectors {
            registry.register(collector)?;
        }
        Ok(())
    }

    pub(super) fn published(&self, events: u64) {
        self.published.inc_by(events);
    }

    pub(super) fn failure(&self, reason: &str, events: usize) {
        self.failures.with_label_values(&[reason]).inc_by(events as u64);
    }

    pub(super) fn attempt(&self, took: Duration) {
        self.attempts.observe(took.as_secs_f64());
    }

    pub(super) fn lag(&self, seconds: f64) {
        self.lag.set(seconds);
    }

    pub(super) fn behind(&self, behind: bool) {
        self.behind.set(i64::from(behind));
    }
}
