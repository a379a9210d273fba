//! What the spool counts.

use std::time::Duration;

use prometheus::core::Collector;
use prometheus::{Histogram, HistogramOpts, IntCounter, IntGauge, Opts, Registry};

/// Metrics of a spool. Clones share their values.
#[derive(Debug, Clone)]
pub struct SpoolMetrics {
    bytes: IntGauge,
    events: IntGauge,
    failed: IntGauge,
    appended: IntCounter,
    written: IntCounter,
    commits: Histogram,
    full: IntCounter,
    damaged: IntCounter,
    cursor_failures: IntCounter,
}

impl SpoolMetrics {
    pub(super) fn new() -> Result<Self, prometheus::Error> {
        let gauge = |name, help| IntGauge::with_opts(Opts::new(name, help));
        let counter = |name, help| IntCounter::with_opts(Opts::new(name, help));
        Ok(Self {
            bytes: gauge(
                "turnpike_spool_bytes",
                "Bytes of audit events that wait to be published.",
            )?,
            events: gauge("turnpike_spool_events", "Audit events that wait to be published.")?,
            failed: gauge(
                "turnpike_spool_failed",
                "1 when the spool has failed and every call is refused.",
            )?,
            appended: counter("turnpike_spool_appended_total", "Audit events made durable.")?,
            written: counter(
                "turnpike_spool_written_bytes_total",
                "Bytes written to the spool.",
            )?,
            commits: Histogram::with_opts(
                HistogramOpts::new(
                    "turnpike_spool_commit_seconds",
                    "Time of a group's write and sync.",
                )
                .buckets(vec![
                    0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1.0,
                ]),
            )?,
            full: counter(
                "turnpike_spool_full_total",
                "Audit events that were refused because the spool was full.",
            )?,
            damaged: counter(
                "turnpike_spool_damaged_lines_total",
                "Lines of the spool that did not verify and were skipped.",
            )?,
            cursor_failures: counter(
                "turnpike_spool_cursor_failures_total",
                "Times the last published position could not be written.",
            )?,
        })
    }

    /// Adds the metrics to a registry.
    ///
    /// # Errors
    ///
    /// When a metric of that name is registered already.
    pub fn register(&self, registry: &Registry) -> Result<(), prometheus::Error> {
        let collectors: [Box<dyn Collector>; 9] = [
            Box::new(self.bytes.clone()),
            Box::new(self.events.clone()),
            Box::new(self.failed.clone()),
            Box::new(self.appended.clone()),
            Box::new(self.written.clone()),
            Box::new(self.commits.clone()),
            Box::new(self.full.clone()),
            Box::new(self.damaged.clone()),
            Box::new(self.cursor_failures.clone()),
        ];
        for collector in collectors {
            registry.register(collector)?;
        }
        Ok(())
    }

    pub(super) fn pending(&self, events: u64, bytes: u64) {
        self.events.set(clamp(events));
        self.bytes.set(clamp(bytes));
    }

    pub(super) fn committed(&self, events: u64, bytes: usize, took: Duration) {
        self.appended.inc_by(events);
        self.written.inc_by(bytes as u64);
        self.commits.observe(took.as_secs_f64());
    }

    pub(super) fn refused_full(&self) {
        self.full.inc();
    }

    pub(super) fn failed(&self) {
        self.failed.set(1);
    }

    pub(super) fn damaged(&self, lines: u64) {
        self.damaged.inc_by(lines);
    }

    pub(super) fn cursor_failed(&self) {
        self.cursor_failures.inc();
    }
}

fn clamp(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
