//! A stand-in for the laxest Google there could be. It records every request that it gets, byte for byte, and says
//! which methods a server would execute that believes everything: every override, every spelling of a path,
//! every way to frame a message ([`reading`]). What it never says of a request, no Google executes.
//!
//! It answers every request with an empty object; for answers in Google's shapes there is the other stand-in.

mod message;
pub mod reading;
mod table;

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::Result;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody, combinators::UnsyncBoxBody};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::turnpike::standalone::Route;

pub use message::Message;
pub use table::Table;

/// A message that stays incomplete for so long is taken as it is.
const PATIENCE: Duration = Duration::from_secs(2);
/// The most that one message may be.
const MOST: usize = 8 << 20;

type Messages = Arc<Mutex<Vec<Message>>>;

/// A running stand-in. Dropping it stops it.
#[derive(Debug)]
pub struct Lenient {
    addr: SocketAddr,
    messages: Messages,
    _stop: DropGuard,
}

impl From<&Lenient> for Route {
    fn from(stand_in: &Lenient) -> Self {
        Self::Plain(stand_in.addr)
    }
}

impl Lenient {
    /// Starts one on loopback. It takes HTTP/1 and HTTP/2 in plain text on one port.
    ///
    /// # Errors
    /// No port is free.
    pub async fn start() -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let addr = listener.local_addr()?;
        let messages = Messages::default();
        let stop = CancellationToken::new();
        let accepting = accept(listener, messages.clone(), stop.clone());
        tokio::spawn(stop.clone().run_until_cancelled_owned(accepting));
        Ok(Self {
            addr,
            messages,
            _stop: stop.drop_guard(),
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// What has arrived so far, oldest first.
    #[must_use]
    pub fn messages(&self) -> Vec<Message> {
        lock(&self.messages).clone()
    }

    /// Takes what has arrived so far away.
    #[must_use]
    pub fn take(&self) -> Vec<Message> {
        std::mem::take(&mut *lock(&self.messages))
    }
}

fn lock(messages: &Messages) -> std::sync::MutexGuard<'_, Vec<Message>> {
    messages.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn accept(listener: TcpListener, messages: Messages, stop: CancellationToken) {
    // An accept that fails ends the stand-in, which the test sees as one that is down.
    while let Ok((stream, _)) = listener.accept().await {
        let messages = messages.clone();
        tokio::spawn(stop.clone().run_until_cancelled_owned(async move {
            // How a connection ends is the client's to report.
            serve(stream, &messages).await.ok();
        }));
    }
}

async fn serve(stream: TcpStream, messages: &Messages) -> Result<()> {
    let mut first = [0; 3];
    loop {
        match stream.peek(&mut first).await? {
            0 => return Ok(()),
            3 => break,
            read if !b"PRI".starts_with(&first[..read]) => break,
            // The next byte is on its way.
            _ => tokio::task::yield_now().await,
        }
    }
    if &first == b"PRI" {
        return http2(stream, messages.clone()).await;
    }
    http1(stream, messages).await
}

/// Reads messages one by one and answers each, framed as its first reading has it. The other readings of its
/// framing are recorded as the messages that a server would see that frames it so.
async fn http1(mut stream: TcpStream, messages: &Messages) -> Result<()> {
    let mut bytes = Vec::new();
    let mut buffer = vec![0; 16 * 1024];
    loop {
        while let Some(read) = message::read(&bytes) {
            bytes.drain(..read.length);
            let expects = read.message.expects_continue();
            lock(messages).extend(std::iter::once(read.message).chain(read.hidden));
            if expects {
                stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
            }
            stream
                .write_all(
                    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}",
                )
                .await?;
        }
        let read = tokio::time::timeout(PATIENCE, stream.read(&mut buffer)).await;
        match read {
            Ok(Ok(0)) | Ok(Err(_)) => break,
            Ok(Ok(count)) => bytes.extend_from_slice(&buffer[..count]),
            // Nobody is in the middle of anything: the connection is kept.
            Err(_) if bytes.is_empty() => continue,
            Err(_) => break,
        }
        if bytes.len() > MOST {
            break;
        }
    }
    // A server that acts on what it has does so at the end, too.
    lock(messages).extend(message::torn(&bytes));
    Ok(())
}

async fn http2(stream: TcpStream, messages: Messages) -> Result<()> {
    let service = service_fn(move |request: Request<Incoming>| {
        let messages = messages.clone();
        async move {
            let (head, body) = request.into_parts();
            let grpc = head
                .headers
                .get("content-type")
                .is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"));
            let whole = body.collect().await?;
            let trailers = whole.trailers().cloned().unwrap_or_default();
            let message = Message::of(&head, &trailers, &whole.to_bytes());
            lock(&messages).push(message);
            Ok::<_, hyper::Error>(answer(grpc))
        }
    });
    hyper::server::conn::http2::Builder::new(TokioExecutor::new())
        .serve_connection(TokioIo::new(stream), service)
        .await?;
    Ok(())
}

fn answer(grpc: bool) -> Response<UnsyncBoxBody<Bytes, std::convert::Infallible>> {
    let mut trailers = HeaderMap::new();
    let (kind, body) = if grpc {
        trailers.insert("grpc-status", HeaderValue::from_static("0"));
        ("application/grpc", &b"\0\0\0\0\0"[..])
    } else {
        ("application/json", &b"{}"[..])
    };
    let mut frames = vec![Ok(Frame::data(Bytes::from_static(body)))];
    if grpc {
        frames.push(Ok(Frame::trailers(trailers)));
    }
    let mut answer = Response::new(StreamBody::new(futures::stream::iter(frames)).boxed_unsync());
    answer
        .headers_mut()
        .insert("content-type", HeaderValue::from_static(kind));
    answer
}
