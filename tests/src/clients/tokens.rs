//! Where Google's libraries get the agent's own token from, so that they send it as their bearer: an exchange
//! that gives back the token it is given (RFC 8693), and the metadata server's answer for those that exchange
//! with nobody but Google.

use std::net::Ipv4Addr;

use anyhow::{Context, Result};
use axum::Json;
use axum::http::{HeaderName, StatusCode};
use axum::routing::{get, post};
use serde_json::{Value, json};
use tokio_util::sync::{CancellationToken, DropGuard};

/// What a metadata server answers with, which libraries know it by.
const FLAVOR: [(HeaderName, &str); 1] = [(HeaderName::from_static("metadata-flavor"), "Google")];

/// A running endpoint of one agent; dropping it stops it.
#[derive(Debug)]
pub(super) struct TokenEndpoint {
    port: u16,
    _stop: DropGuard,
}

impl TokenEndpoint {
    /// Serves an agent's token on a free port of the loopback interface.
    pub(super) async fn start(token: String) -> Result<Self> {
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .context("bind the token endpoint")?;
        let port = listener.local_addr()?.port();
        let stop = CancellationToken::new();
        let stopped = stop.clone().cancelled_owned();
        let metadata = move || {
            let token = answer(&token);
            async move { (FLAVOR, Json(token)) }
        };
        let router = axum::Router::new()
            .route("/v1/token", post(exchange))
            .route("/", get(|| async { (FLAVOR, "computeMetadata/\n") }))
            .route(
                "/computeMetadata/v1/instance/service-accounts/default/token",
                get(metadata),
            );
        tokio::spawn(async move {
            let server = axum::serve(listener, router).with_graceful_shutdown(stopped);
            if let Err(error) = server.await {
                eprintln!("token endpoint: {error}");
            }
        });
        Ok(Self {
            port,
            _stop: stop.drop_guard(),
        })
    }

    /// `127.0.0.1:PORT`.
    pub(super) fn addr(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }
}

/// The request is a form.
async fn exchange(body: String) -> Result<Json<Value>, StatusCode> {
    let token = form_value(&body, "subject_token").ok_or(StatusCode::BAD_REQUEST)?;
    Ok(Json(answer(&token)))
}

fn answer(token: &str) -> Value {
    json!({
        "access_token": token,
        "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
        "token_type": "Bearer",
        "expires_in": 3600,
    })
}

fn form_value(form: &str, name: &str) -> Option<String> {
    let value = form
        .split('&')
        .find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))?;
    let text = percent_encoding::percent_decode_str(value).decode_utf8().ok()?;
    Some(text.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_names_its_values() {
        let form = "subject_token_type=jwt&subject_token=a%2Eb&x=";
        assert_eq!(form_value(form, "subject_token").as_deref(), Some("a.b"));
        assert_eq!(form_value(form, "token"), None);
    }
}
