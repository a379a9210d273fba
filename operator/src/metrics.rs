//! Metrics of the operator. Labels come from enums, never from messages or from names that a tenant chooses.

use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};

/// All metrics, in a registry of their own.
#[derive(Debug)]
pub(crate) struct Metrics {
    pub(crate) registry: Registry,
    /// Reconciles by kind and result (success, conflict, error).
    pub(crate) reconciles: IntCounterVec,
    /// Failed reconciles by kind and error.
    pub(crate) reconcile_errors: IntCounterVec,
    /// Time of a reconcile by kind.
    pub(crate) reconcile_seconds: HistogramVec,
    /// Interrupted watches by kind.
    pub(crate) watch_errors: IntCounterVec,
    /// Objects seen that do not have the form of their type, by kind.
    pub(crate) unreadable_objects: IntCounterVec,
    /// Events that could not be published, by cause.
    pub(crate) event_failures: IntCounterVec,
    /// 1 on the leader, 0 elsewhere.
    pub(crate) leader: IntGauge,
    /// Size of all bundles together.
    pub(crate) bundle_bytes: IntGauge,
    /// Bundles in the cluster.
    pub(crate) bundles: IntGauge,
    /// Policies by the status of their Accepted condition.
    pub(crate) policies: IntGaugeVec,
    /// Approval requests by phase.
    pub(crate) approval_requests: IntGaugeVec,
    /// On the leader: 1 while a forged review is refused.
    pub(crate) approval_guard_ready: IntGauge,
    /// Live proxy replicas.
    pub(crate) proxy_replicas: IntGauge,
    /// Keys that wait, by queue.
    pub(crate) queue_length: IntGaugeVec,
}

impl Metrics {
    /// Makes and registers all metrics.
    pub(crate) fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let counters = |name: &str, help: &str, labels: &[&str]| {
            let metric = IntCounterVec::new(Opts::new(format!("turnpike_operator_{name}"), help), labels)?;
            registry.register(Box::new(metric.clone()))?;
            Ok::<_, prometheus::Error>(metric)
        };
        let gauges = |name: &str, help: &str, labels: &[&str]| {
            let metric = IntGaugeVec::new(Opts::new(format!("turnpike_operator_{name}"), help), labels)?;
            registry.register(Box::new(metric.clone()))?;
            Ok::<_, prometheus::Error>(metric)
        };
        let gauge = |name: &str, help: &str| {
            let metric = IntGauge::new(format!("turnpike_operator_{name}"), help)?;
            registry.register(Box::new(metric.clone()))?;
            Ok::<_, prometheus::Error>(metric)
        };
        let reconcile_seconds = HistogramVec::new(
            HistogramOpts::new("turnpike_operator_reconcile_seconds", "Time of a reconcile.").buckets(vec![
                0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0,
            ]),
            &["kind"],
        )?;
        registry.register(Box::new(reconcile_seconds.clone()))?;
        #[cfg(target_os = "linux")]
        registry.register(Box::new(
            prometheus::process_collector::ProcessCollector::for_self(),
        ))?;

        Ok(Self {
            reconciles: counters(
                "reconciles_total",
                "Reconciles by kind and result.",
                &["kind", "result"],
            )?,
            reconcile_errors: counters(
                "reconcile_errors_total",
                "Failed reconciles by kind and error.",
                &["kind", "error"],
            )?,
            reconcile_seconds,
            watch_errors: counters("watch_errors_total", "Interrupted watches by kind.", &["kind"])?,
            unreadable_objects: counters(
                "unreadable_objects_total",
                "Objects seen that do not have the form of their type, by kind.",
                &["kind"],
            )?,
            event_failures: counters(
                "event_failures_total",
                "Kubernetes Events that could not be published, by cause.",
                &["cause"],
            )?,
            leader: gauge("leader", "1 on the leader, 0 elsewhere.")?,
            bundle_bytes: gauge("bundle_bytes", "Size of all bundles together.")?,
            bundles: gauge("bundles", "Bundles in the cluster.")?,
            policies: gauges(
                "policies",
                "Policies by the status of their Accepted condition.",
                &["accepted"],
            )?,
            approval_requests: gauges("approval_requests", "Approval requests by phase.", &["phase"])?,
            approval_guard_ready: gauge(
                "approval_guard_ready",
                "On the leader: 1 while the API server refuses a forged review, 0 while approvals do not count.",
            )?,
            proxy_replicas: gauge("proxy_replicas", "Live proxy replicas.")?,
            queue_length: gauges("queue_length", "Keys that wait, by queue.", &["kind"])?,
            registry,
        })
    }
}
