//! Pooled connections to upstreams, by host.
//!
//! HTTP/2 connections are shared, up to a number of calls each; HTTP/1.1 connections are used by one call at
//! a time and come back when its answer was read to the end. A pooled connection that turns out to be closed
//! before the request left is replaced; after that nothing is retried.
//!
//! A shared connection has a window that covers the full windows of all calls it may carry, and a call counts
//! until its answer was read or given up. So an agent that does not read its answers slows down no other.

use std::{
    collections::{HashMap, VecDeque},
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body::{Body, Frame, SizeHint};
use hyper::{
    body::Incoming,
    client::conn::{http1, http2},
};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};

use super::{
    EgressError,
    dial::{Connection, Dialer},
};
use crate::{body::BoxError, fault::Told, inflight::Watch};

/// Idle HTTP/1.1 connections kept for a host, and for how long.
const MAX_IDLE: usize = 256;
const IDLE_FOR: Duration = Duration::from_secs(50);
/// Calls on one HTTP/2 connection before another one is opened. Google allows 100.
pub(super) const CALLS_PER_CONNECTION: usize = 90;
const H2_STREAM_WINDOW: u32 = 512 << 10;
/// Room for every call that a connection may carry, and some more for those that are just being given up.
const H2_CONNECTION_WINDOW: u32 = 64 << 20;
const _: () = assert!(CALLS_PER_CONNECTION * (H2_STREAM_WINDOW as usize) < H2_CONNECTION_WINDOW as usize);

type HostMap = HashMap<Box<str>, Arc<Host>>;

/// The pool.
#[derive(Debug)]
pub struct Pool {
    dialer: Dialer,
    hosts: arc_swap::ArcSwap<HostMap>,
}

#[derive(Debug, Default)]
struct Host {
    idle: Mutex<VecDeque<Idle>>,
    shared: Mutex<Vec<Shared>>,
}

#[derive(Debug)]
struct Idle {
    sender: http1::SendRequest<Told>,
    since: Instant,
}

#[derive(Debug, Clone)]
struct Shared {
    sender: http2::SendRequest<Told>,
    calls: Arc<AtomicUsize>,
}

impl Host {
    fn idle(&self) -> MutexGuard<'_, VecDeque<Idle>> {
        // Nothing that holds the lock can panic half-way through a change.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn shared(&self) -> MutexGuard<'_, Vec<Shared>> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take_idle(&self) -> Option<http1::SendRequest<Told>> {
        let mut idle = self.idle();
        // The youngest first: the old ones then get old enough to be dropped.
        while let Some(last) = idle.pop_back() {
            if !last.sender.is_closed() && last.since.elapsed() < IDLE_FOR {
                return Some(last.sender);
            }
        }
        None
    }

    fn put_idle(&self, sender: http1::SendRequest<Told>) {
        let mut idle = self.idle();
        while idle.len() >= MAX_IDLE || idle.front().is_some_and(|f| f.since.elapsed() >= IDLE_FOR) {
            idle.pop_front();
        }
        idle.push_back(Idle {
            sender,
            since: Instant::now(),
        });
    }

    fn take_shared(&self) -> Option<(Shared, Ticket)> {
        let mut shared = self.shared();
        shared.retain(|s| !s.sender.is_closed());
        let least = shared.iter().min_by_key(|s| s.calls.load(Ordering::Relaxed))?;
        if least.calls.load(Ordering::Relaxed) >= CALLS_PER_CONNECTION {
            return None;
        }
        Some((least.clone(), Ticket::take(&least.calls)))
    }
}

/// Counts a call on a shared connection until its answer was read or given up.
#[derive(Debug)]
struct Ticket(Arc<AtomicUsize>);

impl Ticket {
    fn take(calls: &Arc<AtomicUsize>) -> Self {
        calls.fetch_add(1, Ordering::Relaxed);
        Self(calls.clone())
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The body of an upstream's answer.
#[derive(Debug)]
pub struct UpstreamBody {
    inner: Incoming,
    /// Keeps the call counted on its shared connection.
    ticket: Option<Ticket>,
    /// Cuts it off with its call.
    watch: Option<Watch>,
}

impl UpstreamBody {
    fn answer(answer: Response<Incoming>, ticket: Option<Ticket>) -> Response<Self> {
        answer.map(|inner| Self {
            inner,
            ticket,
            watch: None,
        })
    }

    /// Cuts the body off with its call: from then on it is an error.
    pub(crate) fn watched(mut self, watch: Watch) -> Self {
        self.watch = Some(watch);
        self
    }
}

impl Body for UpstreamBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let Self { inner, watch, .. } = &mut *self;
        let frame = ready!(match watch {
            Some(watch) => watch.poll_frame(Pin::new(inner), cx),
            None => Pin::new(inner)
                .poll_frame(cx)
                .map(|frame| frame.map(|f| f.map_err(BoxError::from))),
        });
        if !matches!(&frame, Some(Ok(_))) || self.inner.is_end_stream() {
            self.ticket = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl Pool {
    /// A pool that opens its connections with this dialer.
    pub fn new(dialer: Dialer) -> Self {
        Self {
            dialer,
            hosts: arc_swap::ArcSwap::from_pointee(HostMap::new()),
        }
    }

    fn host(&self, name: &str) -> Arc<Host> {
        if let Some(host) = self.hosts.load().get(name) {
            return host.clone();
        }
        self.hosts.rcu(|hosts| {
            let mut hosts = HostMap::clone(hosts);
            hosts.entry(name.into()).or_default();
            hosts
        });
        self.hosts.load().get(name).cloned().unwrap_or_default()
    }

    pub(super) async fn send(
        &self,
        name: &Arc<str>,
        mut request: Request<Told>,
        http2: bool,
    ) -> Result<Response<UpstreamBody>, EgressError> {
        let host = self.host(name);
        let broken = |reason: String| EgressError::Exchange {
            host: name.to_string(),
            reason,
        };
        // A pooled connection may have been closed by the peer meanwhile; the request comes back unsent then.
        loop {
            if let Some((mut shared, ticket)) = host.take_shared() {
                match shared.sender.try_send_request(request).await {
                    Ok(answer) => return Ok(UpstreamBody::answer(answer, Some(ticket))),
                    Err(mut error) => match error.take_message() {
                        Some(unsent) => {
                            drop(ticket);
                            request = unsent;
                            continue;
                        }
                        None => return Err(broken(reason(&error.into_error()))),
                    },
                }
            }
            if http2 {
                break;
            }
            let Some(sender) = host.take_idle() else { break };
            match exchange(&host, sender, request).await {
                Ok(answer) => return Ok(UpstreamBody::answer(answer, None)),
                Err((Some(unsent), _)) => request = unsent,
                Err((None, why)) => return Err(broken(why)),
            }
        }
        match self.dialer.dial(name).await? {
            Connection::Tls { stream, http2: true } => self
                .shared(&host, TokioIo::new(stream), request)
                .await
                .map_err(broken),
            // Without TLS, both sides must know beforehand that this is HTTP/2.
            Connection::Plain(stream) if http2 => self
                .shared(&host, TokioIo::new(stream), request)
                .await
                .map_err(broken),
            Connection::Tls { http2: false, .. } if http2 => {
                Err(broken("it does not speak HTTP/2, which gRPC needs".to_owned()))
            }
            Connection::Tls { stream, http2: false } => self
                .first(&host, TokioIo::new(stream), request)
                .await
                .map(|answer| UpstreamBody::answer(answer, None))
                .map_err(broken),
            Connection::Plain(stream) => self
                .first(&host, TokioIo::new(stream), request)
                .await
                .map(|answer| UpstreamBody::answer(answer, None))
                .map_err(broken),
        }
    }

    /// The first call on a new HTTP/2 connection, which others share from now on.
    async fn shared<I>(
        &self,
        host: &Arc<Host>,
        io: I,
        request: Request<Told>,
    ) -> Result<Response<UpstreamBody>, String>
    where
        I: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
    {
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .initial_stream_window_size(H2_STREAM_WINDOW)
            .initial_connection_window_size(H2_CONNECTION_WINDOW)
            .keep_alive_interval(Duration::from_secs(30))
            .keep_alive_timeout(Duration::from_secs(10))
            .handshake(io)
            .await
            .map_err(|e| reason(&e))?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "an upstream connection ended");
            }
        });
        let mut shared = Shared {
            sender,
            calls: Arc::default(),
        };
        let ticket = Ticket::take(&shared.calls);
        host.shared().push(shared.clone());
        shared
            .sender
            .send_request(request)
            .await
            .map(|answer| UpstreamBody::answer(answer, Some(ticket)))
            .map_err(|e| reason(&e))
    }

    async fn first<I>(
        &self,
        host: &Arc<Host>,
        io: I,
        request: Request<Told>,
    ) -> Result<Response<Incoming>, String>
    where
        I: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
    {
        let (sender, connection) = http1::Builder::new()
            .handshake(io)
            .await
            .map_err(|e| reason(&e))?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "an upstream connection ended");
            }
        });
        exchange(host, sender, request).await.map_err(|(_, why)| why)
    }
}

type Unsent = (Option<Request<Told>>, String);

/// One exchange over HTTP/1.1; the connection goes (back) to the pool when the answer was read.
async fn exchange(
    host: &Arc<Host>,
    mut sender: http1::SendRequest<Told>,
    mut request: Request<Told>,
) -> Result<Response<Incoming>, Unsent> {
    // HTTP/1.1 wants origin-form; the Host header carries the authority.
    let origin = request.uri().path_and_query().cloned().map(Uri::from);
    let absolute = match origin {
        Some(origin) => std::mem::replace(request.uri_mut(), origin),
        None => request.uri().clone(),
    };
    match sender.try_send_request(request).await {
        Ok(answer) => {
            let host = host.clone();
            tokio::spawn(async move {
                if sender.ready().await.is_ok() {
                    host.put_idle(sender);
                }
            });
            Ok(answer)
        }
        Err(mut error) => {
            let unsent = error.take_message().map(|mut request| {
                *request.uri_mut() = absolute;
                request
            });
            Err((unsent, reason(&error.into_error())))
        }
    }
}

/// hyper's error with its cause, which holds the part that helps.
fn reason(error: &hyper::Error) -> String {
    use std::error::Error;
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}
