//! The listener: plain HTTP, and TLS and `CONNECT` where there is an authority.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use http::{Method, Request, StatusCode, Version};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::State;
use super::answer::{self, Answer};
use super::call::{Call, Payload, host_of};
use super::{grpc, services};

/// The first byte of a TLS handshake record.
const TLS_HANDSHAKE: u8 = 0x16;

/// Binds at once after a former stand-in left the address.
pub(super) fn bind(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = if addr.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    socket.set_reuseaddr(true)?;
    socket.bind(addr)?;
    socket.listen(1024)
}

/// Accepts until `stop`.
pub(super) async fn serve(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    state: Arc<State>,
    stop: CancellationToken,
    tracker: TaskTracker,
) {
    let shared = Arc::new(Shared {
        tls,
        state,
        stop: stop.clone(),
        tracker: tracker.clone(),
    });
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                let shared = Arc::clone(&shared);
                let stop = stop.clone();
                tracker.spawn(async move {
                    tokio::select! {
                        () = stop.cancelled() => {}
                        () = shared.connection(stream) => {}
                    }
                });
            }
            // Out of file descriptors, or the client was gone already: the next one may do.
            Err(error) => eprintln!("stand-in: accept: {error}"),
        }
    }
}

struct Shared {
    tls: Option<TlsAcceptor>,
    state: Arc<State>,
    stop: CancellationToken,
    tracker: TaskTracker,
}

/// A fault cut the connection.
#[derive(Debug, thiserror::Error)]
#[error("closed by an injected fault")]
pub(super) struct Closed;

impl Shared {
    async fn connection(self: Arc<Self>, stream: TcpStream) {
        if let Err(error) = stream.set_nodelay(true) {
            eprintln!("stand-in: TCP_NODELAY: {error}");
        }
        let mut first = [0_u8];
        match stream.peek(&mut first).await {
            Ok(1..) => {}
            // Closed before it said anything.
            Ok(_) | Err(_) => return,
        }
        if first[0] == TLS_HANDSHAKE && self.tls.is_some() {
            self.tls(stream).await;
        } else {
            self.http(stream, "http").await;
        }
    }

    async fn tls<I>(self: Arc<Self>, io: I)
    where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let Some(acceptor) = &self.tls else { return };
        // A client that does not trust the certificate says so to its own user.
        let Ok(stream) = acceptor.accept(io).await else {
            return;
        };
        self.http(stream, "https").await;
    }

    async fn http<I>(self: Arc<Self>, io: I, scheme: &'static str)
    where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let service = service_fn(|request: Request<Incoming>| {
            let shared = Arc::clone(&self);
            async move {
                if request.method() == Method::CONNECT && scheme == "http" {
                    return Ok(shared.connect(request));
                }
                respond(&shared.state, scheme, request).await
            }
        });
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder
            .http2()
            .max_concurrent_streams(1024)
            .initial_stream_window_size(1 << 20);
        builder.http2().initial_connection_window_size(1 << 22);
        // The client went away or a fault cut it: either is the client's to report.
        builder
            .serve_connection_with_upgrades(TokioIo::new(io), service)
            .await
            .ok();
    }

    /// Takes a tunnel to any host and ends it here.
    fn connect(self: &Arc<Self>, request: Request<Incoming>) -> Answer {
        let shared = Arc::clone(self);
        let stop = self.stop.clone();
        self.tracker.spawn(async move {
            let tunnel = async {
                if let Ok(upgraded) = hyper::upgrade::on(request).await {
                    shared.tls(TokioIo::new(upgraded)).await;
                }
            };
            tokio::select! {
                () = stop.cancelled() => {}
                () = tunnel => {}
            }
        });
        answer::empty(StatusCode::OK)
    }
}

/// Records the request, applies faults, and asks the services.
async fn respond(state: &Arc<State>, scheme: &str, request: Request<Incoming>) -> Result<Answer, Closed> {
    let (head, incoming) = request.into_parts();
    let authority = match (head.uri.authority(), head.headers.get(http::header::HOST)) {
        (Some(authority), _) => authority.as_str().to_owned(),
        (None, Some(host)) => String::from_utf8_lossy(host.as_bytes()).into_owned(),
        (None, None) => String::new(),
    };
    let host = host_of(&authority);
    let ticket = state.recorder.arrived(scheme, &host, &head);
    let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
    let fault = state.faults.take(&host, head.method.as_str(), path);
    if grpc::is_call(&head) {
        return grpc::respond(state, ticket, fault, &head, incoming).await;
    }
    let mut payload = Payload::new(Arc::clone(state), ticket, incoming);
    let mut faulty = None;
    if let Some(fault) = fault {
        if let Some(delay) = fault.delay() {
            tokio::time::sleep(delay).await;
        }
        if fault.close {
            return Err(Closed);
        }
        faulty = fault
            .status
            .map(|status| fault_answer(status, fault.body.as_ref()));
    }
    let answer = match faulty.or_else(|| refuse_token(state, &host, &head)) {
        Some(answer) => answer,
        None => {
            let call = Call::new(scheme, &authority, &head);
            match services::answer(&state.world, &call, &mut payload).await {
                Ok(answer) => answer,
                Err(error) => answer::error(StatusCode::BAD_REQUEST, &format!("{error:#}")),
            }
        }
    };
    if payload.drain().await.is_err() {
        return Err(Closed);
    }
    state.recorder.answered(ticket, answer.status().as_u16());
    let mut answer = if wants_gzip(&head) {
        answer::gzip(answer).await.map_err(|_| Closed)?
    } else {
        answer
    };
    if head.version < Version::HTTP_2 {
        answer.headers_mut().insert(
            http::header::SERVER,
            http::HeaderValue::from_static("turnpike-standin"),
        );
    }
    Ok(answer)
}

fn fault_answer(status: u16, body: Option<&serde_json::Value>) -> Answer {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    match body {
        Some(body) => answer::json_bytes(status, body.to_string().into()),
        None => answer::error(status, "injected fault"),
    }
}

fn refuse_token(state: &State, host: &str, head: &http::request::Parts) -> Option<Answer> {
    let prefix = state.require_token.as_deref()?;
    if services::issues_tokens(host, head.uri.path()) {
        return None;
    }
    let sent = head
        .headers
        .get(http::header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok());
    let token = sent.and_then(|value| value.strip_prefix("Bearer "));
    if token.is_some_and(|token| token.starts_with(prefix)) {
        return None;
    }
    Some(answer::error(
        StatusCode::UNAUTHORIZED,
        "Request had invalid authentication credentials. The stand-in expects a token that it issued.",
    ))
}

fn wants_gzip(head: &http::request::Parts) -> bool {
    let says = |name| {
        let value = head
            .headers
            .get(name)
            .and_then(|value: &http::HeaderValue| value.to_str().ok());
        value.is_some_and(|value| value.contains("gzip"))
    };
    says(http::header::ACCEPT_ENCODING) && says(http::header::USER_AGENT)
}
