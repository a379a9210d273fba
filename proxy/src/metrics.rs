//! Prometheus metrics of the data path. Labels are bounded: verdicts, reason codes and kinds, never names.

use std::time::Duration;

use prometheus::{Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts, Registry};

/// Counters and histograms of calls.
#[derive(Debug)]
pub struct Metrics {
    calls: IntCounterVec,
    answers: IntCounterVec,
    duration: Histogram,
    upstream: Histogram,
    masked: IntCounterVec,
    held: IntGauge,
    connections: IntGauge,
    outcomes_lost: IntCounter,
    refusals_unrecorded: IntCounter,
    policies: IntGauge,
    replicas: IntGauge,
    reloads: IntCounterVec,
}

const SECONDS: &[f64] = &[
    0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0,
];

impl Metrics {
    /// Makes the metrics and registers them.
    ///
    /// # Errors
    /// When a name is registered already.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let vec = |name: &str, help: &str, labels: &[&str]| {
            let metric = IntCounterVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(metric.clone()))?;
            Ok::<_, prometheus::Error>(metric)
        };
        let gauge = |name: &str, help: &str| {
            let metric = IntGauge::new(name, help)?;
            registry.register(Box::new(metric.clone()))?;
            Ok::<_, prometheus::Error>(metric)
        };
        let histogram = |name: &str, help: &str| {
            let metric = Histogram::with_opts(HistogramOpts::new(name, help).buckets(SECONDS.to_vec()))?;
            registry.register(Box::new(metric.clone()))?;
            Ok::<_, prometheus::Error>(metric)
        };
        let counter = |name: &str, help: &str| {
            let metric = IntCounter::new(name, help)?;
            registry.register(Box::new(metric.clone()))?;
            Ok::<_, prometheus::Error>(metric)
        };
        Ok(Self {
            calls: vec(
                "turnpike_calls_total",
                "Calls by verdict and reason code",
                &["verdict", "reason"],
            )?,
            answers: vec(
                "turnpike_answers_total",
                "Answers that went upstream and back, by class of status",
                &["class"],
            )?,
            duration: histogram(
                "turnpike_call_duration_seconds",
                "From a call's arrival to the end of its answer",
            )?,
            upstream: histogram(
                "turnpike_upstream_duration_seconds",
                "From sending a call to the head of its answer",
            )?,
            masked: vec(
                "turnpike_masked_values_total",
                "Values masked in answers, by kind; other is every kind that policies name",
                &["kind"],
            )?,
            held: gauge("turnpike_held_calls", "Calls that wait for a person now")?,
            connections: gauge("turnpike_agent_connections", "Open connections of agents")?,
            outcomes_lost: counter(
                "turnpike_outcomes_lost_total",
                "Calls whose outcome could not be recorded; their intent is on record",
            )?,
            refusals_unrecorded: counter(
                "turnpike_refusals_unrecorded_total",
                "Refusals that could not be recorded; nothing went upstream",
            )?,
            policies: gauge("turnpike_policies", "Policies in force")?,
            replicas: gauge(
                "turnpike_replicas",
                "Replicas that the limits of agents are divided between; 0 in standalone mode",
            )?,
            reloads: vec(
                "turnpike_policy_reloads_total",
                "Policy sets taken or refused",
                &["result"],
            )?,
        })
    }

    /// So many replicas live.
    pub fn replicas(&self, count: u32) {
        self.replicas.set(i64::from(count));
    }

    /// A call was decided.
    pub fn decided(&self, verdict: &'static str, reason: &'static str) {
        self.calls.with_label_values(&[verdict, reason]).inc();
    }

    /// A call that went upstream is over.
    pub fn finished(&self, took: Duration, upstream_us: Option<u64>, status: u16) {
        let class = match status {
            0 => "none",
            100..=199 => "1xx",
            200..=299 => "2xx",
            300..=399 => "3xx",
            400..=499 => "4xx",
            _ => "5xx",
        };
        self.answers.with_label_values(&[class]).inc();
        self.duration.observe(took.as_secs_f64());
        if let Some(us) = upstream_us {
            self.upstream.observe(us as f64 / 1e6);
        }
    }

    /// Values of a kind were masked. Kinds that policies name are counted as one.
    pub fn masked(&self, kind: &str, count: u32) {
        let known = turnpike_policy::secrets::FIELDS.iter().any(|f| f.kind == kind);
        self.masked
            .with_label_values(&[if known { kind } else { "other" }])
            .inc_by(u64::from(count));
    }

    /// Counts a held call until the guard is dropped.
    pub fn hold(&self) -> Counted {
        Counted::new(&self.held)
    }

    /// Counts a connection until the guard is dropped.
    pub fn connection(&self) -> Counted {
        Counted::new(&self.connections)
    }

    /// An outcome could not be recorded.
    pub fn outcome_lost(&self) {
        self.outcomes_lost.inc();
    }

    /// A refusal could not be recorded.
    pub fn refusal_unrecorded(&self) {
        self.refusals_unrecorded.inc();
    }

    /// A policy set was taken.
    pub fn policies_taken(&self, count: usize) {
        self.policies.set(i64::try_from(count).unwrap_or(i64::MAX));
        self.reloads.with_label_values(&["taken"]).inc();
    }

    /// A policy set was refused; the last good one stays.
    pub fn policies_refused(&self) {
        self.reloads.with_label_values(&["refused"]).inc();
    }
}

/// Holds a gauge up by one.
#[derive(Debug)]
pub struct Counted(IntGauge);

impl Counted {
    fn new(gauge: &IntGauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}
