//! Calls that share a connection, on a real HTTP/2 upstream.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use hyper::{body::Incoming, server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::{RootCertStore, ServerConfig, crypto::aws_lc_rs, pki_types::PrivateKeyDer};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::{Dialer, Pool, RouteTransport, UpstreamBody, UpstreamRoute, pool::CALLS_PER_CONNECTION};
use crate::{body::RequestBody, fault::Told};

const HOST: &str = "storage.googleapis.com";
const SOON: Duration = Duration::from_secs(10);

/// What an upstream saw.
#[derive(Debug, Default)]
struct Seen {
    connections: AtomicUsize,
    /// Bytes of endless answers that were handed to HTTP/2.
    bytes: AtomicUsize,
}

/// `/endless` never ends; everything else is answered with one word.
enum Answer {
    Endless(Arc<Seen>),
    Word(Option<Bytes>),
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(match &mut *self {
            Self::Endless(seen) => {
                static BLOCK: [u8; 16 << 10] = [0; 16 << 10];
                seen.bytes.fetch_add(BLOCK.len(), Ordering::Relaxed);
                Some(Ok(Frame::data(Bytes::from_static(&BLOCK))))
            }
            Self::Word(word) => word.take().map(|w| Ok(Frame::data(w))),
        })
    }
}

/// An upstream over HTTP/2, and a pool that reaches it.
async fn upstream() -> (Arc<Seen>, Pool) {
    let certified = rcgen::generate_simple_self_signed(vec![HOST.to_owned()]).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(certified.cert.der().clone()).unwrap();
    let provider = Arc::new(aws_lc_rs::default_provider());
    let key = PrivateKeyDer::Pkcs8(certified.signing_key.serialize_der().into());
    let mut config = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certified.cert.der().clone()], key)
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let seen = Arc::new(Seen::default());
    let counted = seen.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = socket.accept().await {
            counted.connections.fetch_add(1, Ordering::Relaxed);
            let (acceptor, seen) = (acceptor.clone(), counted.clone());
            tokio::spawn(async move {
                let stream = acceptor.accept(stream).await.unwrap();
                let answer = service_fn(move |request: Request<Incoming>| {
                    let body = match request.uri().path() {
                        "/endless" => Answer::Endless(seen.clone()),
                        _ => Answer::Word(Some(Bytes::from_static(b"word"))),
                    };
                    async move { Ok::<_, Infallible>(Response::new(body)) }
                });
                http2::Builder::new(TokioExecutor::new())
                    .serve_connection(TokioIo::new(stream), answer)
                    .await
                    .ok();
            });
        }
    });
    let route = UpstreamRoute {
        host: HOST.to_owned(),
        address: Some(address.to_string()),
        transport: RouteTransport::TlsWithRoots(Arc::new(roots)),
    };
    (seen, Pool::new(Dialer::new(vec![route], &provider).unwrap()))
}

async fn get(pool: &Pool, path: &str) -> Response<UpstreamBody> {
    let request = Request::get(format!("https://{HOST}{path}"))
        .body(Told::new(RequestBody::Whole(None)).0)
        .unwrap();
    tokio::time::timeout(SOON, pool.send(&Arc::from(HOST), request, false))
        .await
        .expect("an answer in time")
        .unwrap()
}

async fn word(pool: &Pool) -> Bytes {
    let body = get(pool, "/word").await.into_body();
    let read = tokio::time::timeout(SOON, body.collect()).await;
    read.expect("a body in time").unwrap().to_bytes()
}

#[tokio::test]
async fn answers_that_nobody_reads_hold_up_no_others() {
    let (seen, pool) = upstream().await;
    let mut unread = Vec::new();
    for _ in 0..16 {
        unread.push(get(&pool, "/endless").await);
    }
    // As much as will come: nobody makes room for more.
    let mut before = usize::MAX;
    tokio::time::timeout(SOON, async {
        while before != seen.bytes.load(Ordering::Relaxed) {
            before = seen.bytes.load(Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    })
    .await
    .expect("the upstream stops when nobody reads");
    assert_eq!(word(&pool).await, "word");
    assert_eq!(seen.connections.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_call_counts_on_its_connection_until_its_answer_ends() {
    let (seen, pool) = upstream().await;
    let connections = || seen.connections.load(Ordering::Relaxed);
    let mut unread = Vec::new();
    for _ in 0..CALLS_PER_CONNECTION {
        unread.push(get(&pool, "/endless").await);
    }
    assert_eq!(connections(), 1);
    assert_eq!(word(&pool).await, "word");
    assert_eq!(connections(), 2, "the first is taken");

    // What is given up makes room, and so does what was read to its end.
    unread.pop();
    let (mut first, mut second) = (Vec::new(), Vec::new());
    for _ in 0..CALLS_PER_CONNECTION {
        second.push(get(&pool, "/endless").await);
    }
    for _ in 0..CALLS_PER_CONNECTION {
        first.push(word(&pool).await);
    }
    assert_eq!(connections(), 2);
}
