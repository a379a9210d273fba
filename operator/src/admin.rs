//! The admin server: `/healthz`, `/readyz` and `/metrics`. It answers everybody and changes nothing.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use prometheus::TextEncoder;
use tokio::{net::TcpListener, sync::watch};
use tokio_util::sync::CancellationToken;
use turnpike_crds::{Phase, condition};

use crate::{
    guard::Guard,
    metrics::Metrics,
    watch::{Caches, Queues},
    worker::chain,
};

/// What the admin server shows.
#[derive(Clone)]
pub(crate) struct Admin {
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) caches: Caches,
    pub(crate) queues: Queues,
    /// Whether the caches were filled once. A replica that stands by is ready too.
    pub(crate) synced: Arc<AtomicBool>,
    /// Whether approvals count; known to the leader alone.
    pub(crate) guard: watch::Receiver<Guard>,
}

/// Serves until `stop` is cancelled.
pub(crate) async fn serve(
    listener: TcpListener,
    admin: Admin,
    stop: CancellationToken,
) -> std::io::Result<()> {
    let router = Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(admin);
    axum::serve(listener, router)
        .with_graceful_shutdown(stop.cancelled_owned())
        .await
}

async fn ready(State(admin): State<Admin>) -> Response {
    if admin.synced.load(Ordering::Acquire) {
        // Policies are compiled all the same, and denials settled: the operator is ready, and says what is not.
        match admin.guard.borrow().problem() {
            Some(problem) if admin.metrics.leader.get() == 1 => {
                format!("ok\napprovals do not count: {problem}\n").into_response()
            }
            _ => "ok\n".into_response(),
        }
    } else {
        (
            StatusCode::SERVICE_UNAVAILABLE,
            "not ready: the caches are not filled yet\n",
        )
            .into_response()
    }
}

async fn metrics(State(admin): State<Admin>) -> Response {
    admin.count();
    match TextEncoder::new().encode_to_string(&admin.metrics.registry.gather()) {
        Ok(text) => ([(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, chain(&error)).into_response(),
    }
}

impl Admin {
    /// Sets the gauges that count what is in the caches.
    fn count(&self) {
        let metrics = &self.metrics;
        let as_i64 = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);

        let (mut accepted, mut refused, mut unknown) = (0, 0, 0);
        for policy in self.caches.policies.state() {
            let conditions = policy
                .0
                .as_ref()
                .ok()
                .and_then(|p| p.status.as_ref())
                .map(|s| &s.conditions);
            let status = conditions.and_then(|c| c.iter().find(|c| c.type_ == condition::ACCEPTED));
            match status.map(|c| c.status.as_str()) {
                Some("True") => accepted += 1,
                Some("False") => refused += 1,
                _ => unknown += 1,
            }
        }
        for (label, count) in [("true", accepted), ("false", refused), ("unknown", unknown)] {
            metrics.policies.with_label_values(&[label]).set(count);
        }

        let phases = [
            ("pending", Phase::Pending),
            ("approved", Phase::Approved),
            ("denied", Phase::Denied),
            ("expired", Phase::Expired),
            ("consumed", Phase::Consumed),
            ("superseded", Phase::Superseded),
        ];
        let requests = self.caches.requests.state();
        for (label, phase) in phases {
            let has =
                |r: &turnpike_crds::ApprovalRequest| r.status.as_ref().and_then(|s| s.phase) == Some(phase);
            let count = requests.iter().filter(|r| r.0.as_ref().is_ok_and(has)).count();
            metrics
                .approval_requests
                .with_label_values(&[label])
                .set(as_i64(count));
        }

        let bundles = self.caches.bundles.state();
        let bytes = bundles
            .iter()
            .flat_map(|b| b.data.iter().flat_map(|d| d.values()))
            .map(String::len)
            .sum();
        metrics.bundles.set(as_i64(bundles.len()));
        metrics.bundle_bytes.set(as_i64(bytes));
        metrics
            .proxy_replicas
            .set(as_i64(self.caches.replicas.borrow().live()));
        metrics
            .queue_length
            .with_label_values(&["policies"])
            .set(as_i64(self.queues.namespaces.len()));
        metrics
            .queue_length
            .with_label_values(&["approvals"])
            .set(as_i64(self.queues.requests.len()));
    }
}
