//! Health, readiness and metrics, on a port of their own.

use std::{net::SocketAddr, sync::Arc};

use axum::{Router, extract::State, http::StatusCode, routing::get};
use prometheus::{Registry, TextEncoder};
use tokio::{net::TcpListener, sync::watch};
use tokio_util::sync::CancellationToken;

use crate::{publish::PublishState, spool::Spool};

/// What readiness depends on.
#[derive(Debug, Clone)]
pub struct Readiness {
    /// Where records wait.
    pub spool: Arc<Spool>,
    /// Whether they are published.
    pub publisher: watch::Receiver<PublishState>,
    /// Whether the first policies have arrived.
    pub policies: watch::Receiver<bool>,
    /// Cancelled when the proxy stops.
    pub stop: CancellationToken,
}

#[derive(Clone)]
struct Admin {
    readiness: Readiness,
    registry: Arc<Registry>,
}

/// Serves until it is told to stop.
///
/// # Errors
/// When the port cannot be used.
pub async fn serve(
    address: SocketAddr,
    readiness: Readiness,
    registry: Arc<Registry>,
) -> std::io::Result<()> {
    let stop = readiness.stop.clone();
    let router = Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(Admin { readiness, registry });
    let socket = TcpListener::bind(address).await?;
    tokio::spawn(async move {
        let served =
            axum::serve(socket, router).with_graceful_shutdown(async move { stop.cancelled().await });
        if let Err(error) = served.await {
            tracing::error!(%error, "the admin port broke down");
        }
    });
    Ok(())
}

/// 200 while calls can be taken. A publisher that is behind is told, and is no reason to take no calls:
/// events wait in the spool.
async fn readyz(State(admin): State<Admin>) -> (StatusCode, String) {
    let Readiness {
        spool,
        publisher,
        policies,
        stop,
    } = &admin.readiness;
    let state = spool.state();
    let mut ready = true;
    let mut text = String::new();
    let mut line = |good: bool, needed: bool, what: String| {
        ready &= good || !needed;
        text.push_str(match (good, needed) {
            (true, _) => "[+] ",
            (false, true) => "[-] ",
            (false, false) => "[!] ",
        });
        text.push_str(&what);
        text.push('\n');
    };
    line(!stop.is_cancelled(), true, "running".to_owned());
    line(*policies.borrow(), true, "policies".to_owned());
    let spool_text = format!(
        "spool: {} events, {} of {} bytes",
        state.events_pending, state.bytes, state.max_bytes
    );
    match &state.failed {
        Some(why) => line(false, true, format!("{spool_text}; failed: {why}")),
        None => line(!state.is_full(), true, spool_text),
    }
    match &*publisher.borrow() {
        PublishState::Publishing => line(true, false, "publisher".to_owned()),
        PublishState::Behind { since, error } => {
            line(
                false,
                false,
                format!("publisher: behind since {since}: {error} (calls go on, events wait in the spool)"),
            );
        }
    }
    (
        if ready {
            StatusCode::OK
        } else {
            StatusCode::SERVICE_UNAVAILABLE
        },
        text,
    )
}

async fn metrics(State(admin): State<Admin>) -> Result<String, StatusCode> {
    TextEncoder::new()
        .encode_to_string(&admin.registry.gather())
        .map_err(|error| {
            tracing::error!(%error, "the metrics cannot be written");
            StatusCode::INTERNAL_SERVER_ERROR
        })
}
