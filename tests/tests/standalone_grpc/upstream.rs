//! Google by gRPC, as far as these tests need it: HTTP/2 without TLS, every kind of stream.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use anyhow::Result;
use bytes::{BufMut, Bytes, BytesMut};
use futures::{StreamExt, stream};
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody, combinators::UnsyncBoxBody};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{net::TcpListener, sync::watch};
use tokio_util::sync::{CancellationToken, DropGuard};

/// Bytes of one message of `ReadObject`.
pub const CHUNK: usize = 64 * 1024;

/// A field of a message: its number, and text, bytes or a message.
pub fn field(number: u8, value: impl AsRef<[u8]>) -> Vec<u8> {
    let value = value.as_ref();
    let mut out = vec![number << 3 | 2];
    let mut length = value.len();
    while length >= 0x80 {
        out.push(length as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
    out.extend_from_slice(value);
    out
}

/// A message in its frame.
pub fn framed(message: &[u8]) -> Bytes {
    let mut out = BytesMut::new();
    out.put_u8(0);
    out.put_u32(message.len() as u32);
    out.put_slice(message);
    out.freeze()
}

/// What arrived of one call.
#[derive(Clone, Debug)]
pub struct Seen {
    pub path: String,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

/// A running upstream.
pub struct Upstream {
    pub addr: SocketAddr,
    shared: Arc<Shared>,
    /// Tells connections to come to an end, as a server does that is restarted.
    goaway: watch::Sender<u32>,
    _stop: DropGuard,
}

#[derive(Default)]
struct Shared {
    seen: Mutex<Vec<Seen>>,
    /// Bytes of `ReadObject` that were taken off its hands.
    sent: AtomicU64,
    cancelled: AtomicBool,
    connections: AtomicU64,
}

impl Upstream {
    pub async fn start() -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let addr = listener.local_addr()?;
        let shared = Arc::new(Shared::default());
        let stop = CancellationToken::new();
        let (goaway, restarts) = watch::channel(0);
        tokio::spawn(
            stop.clone()
                .run_until_cancelled_owned(accept(listener, shared.clone(), restarts)),
        );
        Ok(Self {
            addr,
            shared,
            goaway,
            _stop: stop.drop_guard(),
        })
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.shared.seen.lock().expect("no test panics with it").clone()
    }

    pub fn sent(&self) -> u64 {
        self.shared.sent.load(Ordering::Relaxed)
    }

    pub fn cancelled(&self) -> bool {
        self.shared.cancelled.load(Ordering::Relaxed)
    }

    pub fn connections(&self) -> u64 {
        self.shared.connections.load(Ordering::Relaxed)
    }

    /// GOAWAY on every open connection.
    pub fn restart(&self) {
        self.goaway.send_modify(|n| *n += 1);
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>, restarts: watch::Receiver<u32>) {
    while let Ok((stream, _)) = listener.accept().await {
        shared.connections.fetch_add(1, Ordering::Relaxed);
        let (shared, mut restarts) = (shared.clone(), restarts.clone());
        restarts.mark_unchanged();
        tokio::spawn(async move {
            let service = service_fn(move |request| answer(request, shared.clone()));
            let connection = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                .serve_connection(TokioIo::new(stream), service);
            let mut connection = std::pin::pin!(connection);
            tokio::select! {
                // How a connection ends is the client's to report.
                _ = connection.as_mut() => return,
                _ = restarts.changed() => connection.as_mut().graceful_shutdown(),
            }
            connection.await.ok();
        });
    }
}

type Body = UnsyncBoxBody<Bytes, hyper::Error>;

async fn answer(request: Request<Incoming>, shared: Arc<Shared>) -> Result<Response<Body>, hyper::Error> {
    let (head, body) = request.into_parts();
    let path = head.uri.path().to_owned();
    let at = {
        let mut seen = shared.seen.lock().expect("no test panics with it");
        seen.push(Seen {
            path: path.clone(),
            headers: head.headers,
            body: Vec::new(),
        });
        seen.len() - 1
    };
    let took = {
        let shared = shared.clone();
        move |data: &[u8]| {
            let mut seen = shared.seen.lock().expect("no test panics with it");
            seen[at].body.extend_from_slice(data);
        }
    };
    let method = path.rsplit('/').next().unwrap_or_default().to_owned();
    let frames = match method.as_str() {
        // Every message back as it comes, and the end when the client ends.
        "StreamingPull" => BodyExt::boxed_unsync(StreamBody::new(
            body.into_data_stream()
                .map(move |data| {
                    data.map(|data| {
                        took(&data);
                        Frame::data(data)
                    })
                })
                .chain(stream::iter([Ok(end())])),
        )),
        "ReadObject" => {
            took(&body.collect().await?.to_bytes());
            let chunk = framed(&field(1, vec![7; CHUNK]));
            let frames = stream::iter(0..1024).map(move |_| {
                shared.sent.fetch_add(chunk.len() as u64, Ordering::Relaxed);
                Ok(Frame::data(chunk.clone()))
            });
            BodyExt::boxed_unsync(StreamBody::new(frames.chain(stream::iter([Ok(end())]))))
        }
        "ListSecrets" => {
            // Answers never; notices when nobody waits any more.
            struct Notices(Arc<Shared>);
            impl Drop for Notices {
                fn drop(&mut self) {
                    self.0.cancelled.store(true, Ordering::Relaxed);
                }
            }
            took(&body.collect().await?.to_bytes());
            let _notices = Notices(shared);
            std::future::pending::<()>().await;
            BodyExt::boxed_unsync(StreamBody::new(stream::iter([Ok(end())])))
        }
        other => {
            let sent = body.collect().await?.to_bytes();
            took(&sent);
            // SecretVersion: name. AccessSecretVersionResponse: name, payload {data}.
            let mut message = field(1, "projects/acme/secrets/s/versions/1");
            if other == "AccessSecretVersion" {
                message.extend(field(2, field(1, b"stand-in secret")));
            }
            let frames = [Ok(Frame::data(framed(&message))), Ok(end())];
            BodyExt::boxed_unsync(StreamBody::new(stream::iter(frames)))
        }
    };
    let mut response = Response::new(frames);
    response
        .headers_mut()
        .insert("content-type", HeaderValue::from_static("application/grpc"));
    Ok(response)
}

fn end() -> Frame<Bytes> {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    trailers.insert("x-from-upstream", HeaderValue::from_static("yes"));
    Frame::trailers(trailers)
}
