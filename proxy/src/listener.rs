//! Connections of agents: one port for CONNECT, for TLS as it is, and for plain HTTP.
//!
//! The first byte tells which: a TLS record begins with 0x16, everything else must be HTTP/1. CONNECT leads
//! to TLS inside the tunnel. TLS is always taken apart; nothing is ever tunnelled blindly.

mod activity;

use std::{convert::Infallible, net::SocketAddr, pin::Pin, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::graceful::GracefulConnection,
};
use secrecy::SecretString;
use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::LazyConfigAcceptor;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use turnpike_policy::canonical::Target;
use uuid::Uuid;

use self::activity::{Activity, Answer};
use crate::{
    body::AnswerBody,
    identity::bearer,
    journey::{self, Connection, Gateway, travel},
    refusal::Refusal,
    tls::Interceptor,
};

/// Limits on connections.
#[derive(Debug, Clone)]
pub struct ConnectionLimits {
    /// How long a TLS handshake, or the head of a request, may take; also how long a connection may idle.
    pub head_within: Duration,
    /// How long an answer may wait for the agent to take more of it, on the network or by HTTP/2's windows.
    pub taken_within: Duration,
    /// Largest head of a request, in bytes.
    pub head_bytes: usize,
    /// Calls at once on one HTTP/2 connection.
    pub streams: u32,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self {
            head_within: Duration::from_secs(60),
            taken_within: Duration::from_secs(300),
            head_bytes: 64 * 1024,
            streams: 128,
        }
    }
}

/// Accepts connections.
#[derive(Debug)]
pub struct Listener {
    /// Where calls go.
    pub gateway: Arc<Gateway>,
    /// Certificates.
    pub interceptor: Arc<Interceptor>,
    /// Domains that the issuing certificate may serve: clients would not believe another host's leaf.
    pub domains: Vec<String>,
    /// Limits.
    pub limits: ConnectionLimits,
}

/// When connections have to come to an end, and which are still open: tunnels outlive the connection that
/// opened them.
#[derive(Debug, Clone)]
struct Life {
    stop: CancellationToken,
    open: TaskTracker,
}

/// How long open calls may go on once the proxy is told to stop.
const DRAIN: Duration = Duration::from_secs(30);
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(10);

impl Listener {
    /// Accepts until it is told to stop, then lets open calls end.
    pub async fn run(self: Arc<Self>, socket: TcpListener, stop: CancellationToken) {
        let life = Life {
            stop,
            open: TaskTracker::new(),
        };
        loop {
            let (stream, peer) = tokio::select! {
                () = life.stop.cancelled() => break,
                accepted = socket.accept() => match accepted {
                    Ok(accepted) => accepted,
                    Err(error) => {
                        // Out of descriptors, most likely: others must end first.
                        tracing::warn!(%error, "a connection cannot be accepted");
                        tokio::time::sleep(Duration::from_millis(50)).await;
                        continue;
                    }
                },
            };
            let (listener, its) = (self.clone(), life.clone());
            life.open.spawn(async move {
                let counted = listener.gateway.metrics.connection();
                if let Err(error) = listener.serve(stream, peer, its).await {
                    tracing::debug!(%peer, error, "a connection ended");
                }
                drop(counted);
            });
        }
        // Nobody is kept waiting for a connection that will not be served.
        drop(socket);
        life.open.close();
        if tokio::time::timeout(DRAIN, life.open.wait()).await.is_err() {
            tracing::warn!(
                connections = life.open.len(),
                "connections were still open when the time to drain was over"
            );
        }
    }

    async fn serve(self: &Arc<Self>, stream: TcpStream, peer: SocketAddr, life: Life) -> Result<(), String> {
        stream.set_nodelay(true).map_err(|e| e.to_string())?;
        // What the agent's side never acknowledges or never reads ends here, whatever is said above TCP.
        SockRef::from(&stream)
            .set_tcp_user_timeout(Some(self.limits.taken_within))
            .map_err(|e| e.to_string())?;
        let mut first = [0u8; 1];
        let peeked = tokio::select! {
            () = life.stop.cancelled() => return Ok(()),
            peeked = tokio::time::timeout(self.limits.head_within, stream.peek(&mut first)) => peeked,
        };
        match peeked
            .map_err(|_| "it sent nothing")?
            .map_err(|e| e.to_string())?
        {
            0 => Ok(()),
            _ if first[0] == 0x16 => Box::pin(self.intercept(stream, peer, None, None, life.stop)).await,
            _ => self.plain(stream, peer, life).await,
        }
    }

    /// Plain HTTP/1: CONNECT, and a health check.
    async fn plain(self: &Arc<Self>, stream: TcpStream, peer: SocketAddr, life: Life) -> Result<(), String> {
        let listener = self.clone();
        let stopped = life.stop.clone();
        let service = service_fn(move |request: Request<Incoming>| {
            let (listener, life) = (listener.clone(), life.clone());
            async move { Ok::<_, Infallible>(listener.plain_request(request, peer, life).await) }
        });
        let connection = self
            .http1()
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades();
        let mut connection = std::pin::pin!(connection);
        tokio::select! {
            done = connection.as_mut() => done.map_err(|e| e.to_string()),
            () = stopped.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await.map_err(|e| e.to_string())
            }
        }
    }

    async fn plain_request(
        self: &Arc<Self>,
        request: Request<Incoming>,
        peer: SocketAddr,
        life: Life,
    ) -> Response<AnswerBody> {
        if request.method() == Method::CONNECT {
            return match self.connect(request, peer, life).await {
                Ok(answer) => answer,
                Err(refusal) => refusal.into_response(Uuid::now_v7()),
            };
        }
        if request.uri().authority().is_none()
            && request.method() == Method::GET
            && request.uri().path() == "/healthz"
        {
            return Response::new(AnswerBody::whole(Bytes::from_static(b"ok\n")));
        }
        let refusal = Refusal::invalid(
            "PLAINTEXT",
            "Google's APIs are called over TLS: use this proxy by CONNECT (HTTPS_PROXY), not by plain HTTP",
        );
        refusal.into_response(Uuid::now_v7())
    }

    async fn connect(
        self: &Arc<Self>,
        request: Request<Incoming>,
        peer: SocketAddr,
        life: Life,
    ) -> Result<Response<AnswerBody>, Refusal> {
        let named = request
            .uri()
            .authority()
            .map(|a| a.as_str().to_owned())
            .unwrap_or_default();
        let host = self.host(&named)?;
        let proof = match bearer::proxy_authorization(request.headers()) {
            None => None,
            Some(token) => {
                self.gateway.identifier.verify(&token).await.map_err(|error| {
                    let mut refusal = journey::unidentified(&error);
                    if refusal.http == StatusCode::UNAUTHORIZED {
                        refusal.http = StatusCode::PROXY_AUTHENTICATION_REQUIRED;
                    }
                    refusal
                })?;
                Some(Arc::new(SecretString::from(token)))
            }
        };
        let listener = self.clone();
        let stop = life.stop.clone();
        life.open.spawn(async move {
            let counted = listener.gateway.metrics.connection();
            let tunnelled = async {
                let upgraded = hyper::upgrade::on(request).await.map_err(|e| e.to_string())?;
                let intercepted = listener.intercept(TokioIo::new(upgraded), peer, Some(host), proof, stop);
                Box::pin(intercepted).await
            };
            if let Err(error) = tunnelled.await {
                tracing::debug!(%peer, error, "a tunnel ended");
            }
            drop(counted);
        });
        Ok(Response::new(AnswerBody::Whole(None)))
    }

    /// The canonical form of an authority that Turnpike serves.
    fn host(&self, authority: &str) -> Result<Arc<str>, Refusal> {
        let target = Target::new("CONNECT", authority, "/").map_err(crate::normalise::malformed)?;
        if !self.gateway.catalog.is_google_host(target.host()) {
            return Err(Refusal::denied(
                "HOST_UNKNOWN",
                format!(
                    "{} is no host of a Google API, and Turnpike lets nothing else pass",
                    target.host()
                ),
            ));
        }
        if !self.domains.iter().any(|domain| is_within(target.host(), domain)) {
            return Err(Refusal::denied(
                "HOST_NOT_SERVED",
                format!(
                    "{} is in none of the domains that this gateway is set up for: {}",
                    target.host(),
                    self.domains.join(", ")
                ),
            ));
        }
        Ok(Arc::from(target.host()))
    }

    /// Ends the agent's TLS and serves what is inside.
    async fn intercept<I>(
        self: &Arc<Self>,
        io: I,
        peer: SocketAddr,
        connect: Option<Arc<str>>,
        proof: Option<Arc<SecretString>>,
        stop: CancellationToken,
    ) -> Result<(), String>
    where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let handshake = async {
            let start = LazyConfigAcceptor::new(rustls::server::Acceptor::default(), io)
                .await
                .map_err(|e| format!("no TLS: {e}"))?;
            let hello = start.client_hello();
            let sni = hello
                .server_name()
                .ok_or("the TLS handshake names no server (SNI)")?;
            let host = self.host(sni).map_err(|r| r.message)?;
            if connect.as_ref().is_some_and(|c| *c != host) {
                return Err(format!(
                    "CONNECT names {} and SNI {host}",
                    connect.as_deref().unwrap_or_default()
                ));
            }
            let config = self.interceptor.config_for(&host).map_err(|e| e.to_string())?;
            let stream = start.into_stream(config).await.map_err(|e| format!("TLS: {e}"))?;
            Ok((Box::new(stream), host))
        };
        // What a connection needs for a while only stands in a box, so that it costs nothing while it idles.
        let (stream, authority) = tokio::time::timeout(HANDSHAKE_WITHIN, Box::pin(handshake))
            .await
            .map_err(|_| "the TLS handshake took too long")??;
        let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        let connection = Connection {
            peer,
            authority,
            proof,
        };
        let gateway = self.gateway.clone();
        let activity = Arc::new(Activity::default());
        let active = activity.clone();
        let service = service_fn(move |request: Request<Incoming>| {
            let (gateway, connection, call) = (gateway.clone(), connection.clone(), active.call());
            // In a box, because hyper keeps room for a call on every connection of HTTP/1.
            Box::pin(async move {
                let answer = Box::pin(travel(gateway, connection, request)).await;
                Ok::<_, Infallible>(answer.map(|body| Answer::new(body, call)))
            })
        });
        let io = TokioIo::new(stream);
        let ConnectionLimits {
            head_within,
            taken_within,
            ..
        } = self.limits;
        let served = async {
            if !http2 {
                // HTTP/1 has the limit for idling in hyper.
                let served = Box::pin(self.http1().serve_connection(io, service));
                return drain(served, stop, std::future::pending()).await;
            }
            let served = Box::pin(self.http2().serve_connection(io, service));
            tokio::select! {
                done = drain(served, stop, activity.idle_for(head_within)) => done,
                () = activity.never_begun(head_within) => Err("it made no call".to_owned()),
                () = async {
                    activity.idle_for(head_within).await;
                    activity.idle_for(taken_within).await;
                } => Err("it was told to end and stays".to_owned()),
            }
        };
        tokio::select! {
            done = served => done,
            () = activity.stalled_for(taken_within) => Err("the agent does not take its answer".to_owned()),
        }
    }

    fn http1(&self) -> http1::Builder {
        let mut builder = http1::Builder::new();
        builder
            .timer(TokioTimer::new())
            .header_read_timeout(self.limits.head_within)
            .max_buf_size(self.limits.head_bytes.max(8192));
        builder
    }

    fn http2(&self) -> hyper::server::conn::http2::Builder<TokioExecutor> {
        let mut builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .max_concurrent_streams(self.limits.streams)
            .max_header_list_size(u32::try_from(self.limits.head_bytes).unwrap_or(u32::MAX))
            .initial_stream_window_size(1 << 20)
            .initial_connection_window_size(2 << 20)
            // Bytes of one answer that wait for the network.
            .max_send_buf_size(64 * 1024)
            // Streams that were broken off by the agent, or by its own faults, before anybody looked at them.
            .max_pending_accept_reset_streams(20)
            .max_local_error_reset_streams(128)
            .keep_alive_interval(Duration::from_secs(30))
            .keep_alive_timeout(Duration::from_secs(20));
        builder
    }
}

/// Whether a host in lower case is a domain or below it, as a name constraint has it.
fn is_within(host: &str, domain: &str) -> bool {
    let domain = domain.trim_start_matches('.').to_ascii_lowercase();
    host.strip_suffix(domain.as_str())
        .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

/// Serves a connection to its end, and tells it to come to one when the proxy stops or it has idled long
/// enough.
async fn drain<C>(
    mut connection: Pin<Box<C>>,
    stop: CancellationToken,
    idle: impl Future<Output = ()>,
) -> Result<(), String>
where
    C: GracefulConnection,
    C::Error: std::fmt::Display,
{
    tokio::select! {
        done = connection.as_mut() => return done.map_err(|e| e.to_string()),
        () = stop.cancelled() => connection.as_mut().graceful_shutdown(),
        () = idle => connection.as_mut().graceful_shutdown(),
    }
    connection.await.map_err(|e| e.to_string())
}
