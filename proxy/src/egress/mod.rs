//! The way out: sealed requests go upstream here, and nothing else does.
//!
//! [`Outbound::seal`] takes the permit of a decision, the receipt of a durable record and a minted
//! credential, and consumes the first two; [`Egress::send`] takes only an `Outbound`. So a call that was
//! not decided or not recorded does not compile. A call is never sent twice: what fails after a byte may
//! have left is an error, not a retry.

mod dial;
mod pool;
#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use http::{HeaderValue, Request, Response, Uri, header};
use http_body::Body as _;
use turnpike_policy::{Permit, canonical::Target};

pub use dial::{Dialer, RouteTransport, UpstreamRoute, is_loopback};
pub use pool::{Pool, UpstreamBody};

use crate::{
    body::RequestBody,
    credential::Credential,
    fault::{Fault, Told},
    refusal::Refusal,
    spool::{OutcomeRoom, Receipt},
};

/// Why a call did not get an answer.
#[derive(Debug, thiserror::Error)]
pub enum EgressError {
    /// No connection.
    #[error("cannot connect to {host}: {reason}")]
    Connect {
        /// The host.
        host: String,
        /// Why.
        reason: String,
    },
    /// The connection broke, or the peer did not speak HTTP. Whether the call was executed is unknown.
    #[error("no answer from {host}: {reason}")]
    Exchange {
        /// The host.
        host: String,
        /// Why.
        reason: String,
    },
    /// The request's body did not reach its end, and that is the agent's doing. Whether the call was executed is
    /// unknown.
    #[error("{}", .0.message)]
    Body(Box<Refusal>),
    /// No answer in time.
    #[error("{host} did not answer within {seconds} s")]
    Timeout {
        /// The host.
        host: String,
        /// The limit.
        seconds: u64,
    },
}

impl EgressError {
    /// The reason code for answers, records and metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Connect { .. } => "UPSTREAM_UNREACHABLE",
            Self::Exchange { .. } => "UPSTREAM_BROKE_OFF",
            Self::Body(refusal) => refusal.reason,
            Self::Timeout { .. } => "UPSTREAM_TIMEOUT",
        }
    }
}

/// A call that may go upstream.
#[derive(Debug)]
pub struct Outbound {
    host: Arc<str>,
    request: Request<Told>,
    fault: Option<Fault>,
    http2: bool,
}

/// A request in canonical form, without any credential.
#[derive(Debug)]
pub struct Canonical {
    /// Where it goes and what it is.
    pub target: Target,
    /// The target as a URI, built from its canonical form.
    pub uri: Uri,
    /// The `Host` header, built from it too.
    pub host: HeaderValue,
    /// HTTP verb.
    pub method: http::Method,
    /// Headers that may pass; hop-by-hop headers and credentials are gone.
    pub headers: http::HeaderMap,
    /// Whether only HTTP/2 carries it, as gRPC.
    pub http2: bool,
    /// Whether it carries no credential, because the URL is one.
    pub anonymous: bool,
}

impl Outbound {
    /// Seals a request: its only credential is the minted one. The permit is consumed, because it is good
    /// for one call; the receipt gives back the room that the spool holds for the call's outcome.
    pub fn seal(
        canonical: Canonical,
        body: RequestBody,
        permit: Permit,
        receipt: Receipt,
        credential: Credential,
    ) -> (Self, OutcomeRoom) {
        drop(permit);
        let Canonical {
            target,
            uri,
            host,
            method,
            mut headers,
            http2,
            anonymous,
        } = canonical;
        headers.remove(header::AUTHORIZATION);
        if !anonymous {
            headers.insert(header::AUTHORIZATION, credential.into_header());
        }
        headers.insert(header::HOST, host);
        // Google answers 411 to such a request without a length.
        if body.is_end_stream()
            && matches!(
                method,
                http::Method::POST | http::Method::PUT | http::Method::PATCH
            )
        {
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        let (body, fault) = Told::new(body);
        let mut request = Request::new(body);
        *request.method_mut() = method;
        *request.uri_mut() = uri;
        *request.headers_mut() = headers;
        (
            Self {
                host: Arc::from(target.host()),
                request,
                fault,
                http2,
            },
            receipt.into_room(),
        )
    }
}

/// How long the head of an answer may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Within {
    /// As long as the gateway's own limit says.
    Usual,
    /// What is left of the time that the agent gives its call.
    Deadline(Duration),
    /// A stream's head may come with its first message, whenever there is one.
    AsLongAsItTakes,
}

/// Sends sealed requests over pooled connections.
#[derive(Debug)]
pub struct Egress {
    pool: Pool,
    answer_within: Duration,
}

impl Egress {
    /// An egress over this pool; an answer's head must arrive within the given time.
    pub fn new(pool: Pool, answer_within: Duration) -> Self {
        Self { pool, answer_within }
    }

    /// Sends a sealed request and waits for the head of the answer.
    ///
    /// # Errors
    /// [`EgressError`]; after `Exchange` and `Timeout` nobody knows whether the call was executed.
    pub async fn send(
        &self,
        outbound: Outbound,
        within: Within,
    ) -> Result<Response<UpstreamBody>, EgressError> {
        let Outbound {
            host,
            request,
            fault,
            http2,
        } = outbound;
        let sending = self.pool.send(&host, request, http2);
        let limit = match within {
            Within::Usual => Some(self.answer_within),
            Within::Deadline(left) => Some(left),
            Within::AsLongAsItTakes => None,
        };
        let answered = match limit {
            None => sending.await,
            Some(limit) => tokio::time::timeout(limit, sending).await.unwrap_or_else(|_| {
                Err(EgressError::Timeout {
                    host: host.to_string(),
                    seconds: limit.as_secs(),
                })
            }),
        };
        answered.map_err(|error| match fault.and_then(|fault| fault.refusal()) {
            Some(refusal) => EgressError::Body(Box::new(refusal)),
            None => error,
        })
    }

    /// Exchanges a source token for that of an impersonated service account (IAM Credentials API,
    /// `generateAccessToken`). It is the gateway's own call, made with its own credential.
    ///
    /// # Errors
    /// [`EgressError`].
    pub(crate) async fn own_call(
        &self,
        host: &str,
        request: Request<RequestBody>,
    ) -> Result<Response<UpstreamBody>, EgressError> {
        let request = request.map(|body| Told::new(body).0);
        self.pool.send(&Arc::from(host), request, false).await
    }
}
