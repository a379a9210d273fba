//! The admin port: recorded requests, faults, and the certificate to trust.

use std::sync::Arc;

use axum::extract::State as Shared;
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};

use super::State;
use super::fault::Fault;
use super::record::RecordedRequest;

/// `GET|DELETE /requests`, `GET|POST|DELETE /faults`, `GET /ca.pem`, `GET /healthz`.
pub(super) fn router(state: Arc<State>, ca_pem: Option<String>) -> Router {
    let ca = move || async move { ca_pem.ok_or(StatusCode::NOT_FOUND) };
    Router::new()
        .route("/healthz", get(|| async { "ok" }))
        .route("/ca.pem", get(ca))
        .route("/requests", get(requests).delete(clear_requests))
        .route("/faults", get(faults).post(inject).delete(clear_faults))
        .with_state(state)
}

async fn requests(Shared(state): Shared<Arc<State>>) -> Json<Vec<RecordedRequest>> {
    Json(state.recorder.all())
}

async fn clear_requests(Shared(state): Shared<Arc<State>>) -> StatusCode {
    state.recorder.clear();
    StatusCode::NO_CONTENT
}

async fn faults(Shared(state): Shared<Arc<State>>) -> Json<Vec<Fault>> {
    Json(state.faults.all())
}

async fn inject(Shared(state): Shared<Arc<State>>, Json(fault): Json<Fault>) -> StatusCode {
    state.faults.add(fault);
    StatusCode::NO_CONTENT
}

async fn clear_faults(Shared(state): Shared<Arc<State>>) -> StatusCode {
    state.faults.clear();
    StatusCode::NO_CONTENT
}
