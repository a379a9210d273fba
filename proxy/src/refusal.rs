//! Refusals, in the shape of Google's own errors (google.rpc.Status with google.rpc.ErrorInfo and RetryInfo), so that
//! gcloud and every client library print them.

use http::{HeaderValue, Response, StatusCode, header};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::body::AnswerBody;

/// A call that is answered by Turnpike itself.
#[derive(Debug, Clone)]
pub struct Refusal {
    /// HTTP status.
    pub http: StatusCode,
    /// Canonical status (google.rpc.Code).
    pub status: &'static str,
    /// Reason code: what programs look at.
    pub reason: &'static str,
    /// What people read: what happened, which rule, and what to do next.
    pub message: String,
    /// More for programs: policy, rule, method, approval request.
    pub metadata: Vec<(&'static str, String)>,
    /// Seconds after which the same call may be made again.
    pub retry_after: Option<u32>,
}

impl Refusal {
    /// A refusal with 403.
    pub fn denied(reason: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "PERMISSION_DENIED", reason, message)
    }

    /// A refusal with 401.
    pub fn unauthenticated(reason: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "UNAUTHENTICATED", reason, message)
    }

    /// A refusal with 400.
    pub fn invalid(reason: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "INVALID_ARGUMENT", reason, message)
    }

    /// A refusal with 503: it may work later.
    pub fn unavailable(reason: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE", reason, message)
    }

    /// A refusal with 429: there is too much of something now, and may be less after some seconds.
    pub fn exhausted(reason: &'static str, message: impl Into<String>, retry_after: u32) -> Self {
        Self {
            retry_after: Some(retry_after),
            ..Self::new(
                StatusCode::TOO_MANY_REQUESTS,
                "RESOURCE_EXHAUSTED",
                reason,
                message,
            )
        }
    }

    /// A refusal.
    pub fn new(
        http: StatusCode,
        status: &'static str,
        reason: &'static str,
        message: impl Into<String>,
    ) -> Self {
        Self {
            http,
            status,
            reason,
            message: message.into(),
            metadata: Vec::new(),
            retry_after: None,
        }
    }

    /// Adds a fact for programs.
    #[must_use]
    pub fn with(mut self, key: &'static str, value: impl Into<String>) -> Self {
        self.metadata.push((key, value.into()));
        self
    }

    /// The answer. The call's id is what to look for in the audit log.
    pub fn into_response(self, call: Uuid) -> Response<AnswerBody> {
        let mut metadata: Map<String, Value> = self
            .metadata
            .into_iter()
            .map(|(k, v)| (k.to_owned(), Value::String(v)))
            .collect();
        metadata.insert("call".to_owned(), Value::String(call.to_string()));
        let mut details = vec![json!({
            "@type": "type.googleapis.com/google.rpc.ErrorInfo",
            "reason": self.reason,
            "domain": "turnpike.dev",
            "metadata": metadata,
        })];
        if let Some(seconds) = self.retry_after {
            details.push(json!({
                "@type": "type.googleapis.com/google.rpc.RetryInfo",
                "retryDelay": format!("{seconds}s"),
            }));
        }
        let body = json!({
            "error": {
                "code": self.http.as_u16(),
                "message": self.message,
                // The older form, which gsutil, bq and the storage libraries read.
                "errors": [{"message": self.message, "domain": "turnpike.dev", "reason": self.reason}],
                "status": self.status,
                "details": details,
            }
        });
        let mut response = Response::new(AnswerBody::whole(body.to_string()));
        *response.status_mut() = self.http;
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/json; charset=UTF-8"),
        );
        headers.insert(
            header::CACHE_CONTROL,
            HeaderValue::from_static("private, no-store"),
        );
        if self.http == StatusCode::UNAUTHORIZED {
            headers.insert(
                header::WWW_AUTHENTICATE,
                HeaderValue::from_static("Bearer realm=\"turnpike\""),
            );
        }
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}
