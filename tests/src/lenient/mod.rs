//! A stand-in for the laxest Google there could be. It records every request that it gets, byte for byte, and says
//! which methods a server would execute that believes everything: every override, every spelling of a path,
//! every way to frame a message ([`reading`]). What it never says of a request, no Google executes.
//!
//! It answers every request with an empty object, but for those that hand out a URL: the session of an upload, and a
//! signed one. For answers in Google's shapes there is the other stand-in.

mod message;
pub mod names;
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
            let answer = handed_out_in_text(&read.message);
            lock(messages).extend(std::iter::once(read.message).chain(read.hidden));
            if expects {
                stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
            }
            stream.write_all(answer.as_bytes()).await?;
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

/// What a message is answered with: a `location`, where there is one, and the body.
fn handed_out(message: &Message) -> (Option<String>, String) {
    let target = &message.target;
    let host = message.values("host").next().unwrap_or_default();
    if target.contains("uploadType=resumable") && !target.contains("upload_id") {
        let session = format!("https://{host}{target}&upload_id=session-of-google");
        return (Some(session), "{}".to_owned());
    }
    if target.ends_with(":generateDownloadUrl") {
        let url = "https://storage.googleapis.com/open-1/source.zip?X-Goog-Algorithm=GOOG4-RSA-SHA256\
                   &X-Goog-Date=20991231T000000Z&X-Goog-Expires=1800&X-Goog-Signature=00";
        return (None, format!(r#"{{"downloadUrl":"{url}"}}"#));
    }
    (None, "{}".to_owned())
}

/// The same as HTTP/1 has it.
fn handed_out_in_text(message: &Message) -> String {
    let (location, body) = handed_out(message);
    let location = location.map_or(String::new(), |l| format!("location: {l}\r\n"));
    let length = body.len();
    format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n{location}content-length: {length}\r\n\r\n{body}"
    )
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
            let answer = if grpc {
                empty()
            } else {
                plain(handed_out(&message))
            };
            lock(&messages).push(message);
            Ok::<_, hyper::Error>(answer)
        }
    });
    hyper::server::conn::http2::Builder::new(TokioExecutor::new())
        .serve_connection(TokioIo::new(stream), service)
        .await?;
    Ok(())
}

type Answer = Response<UnsyncBoxBody<Bytes, std::convert::Infallible>>;

/// An empty message of gRPC.
fn empty() -> Answer {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    let data = Frame::data(Bytes::from_static(b"\0\0\0\0\0"));
    of_frames("application/grpc", vec![data, Frame::trailers(trailers)])
}

fn plain((location, body): (Option<String>, String)) -> Answer {
    let mut answer = of_frames("application/json", vec![Frame::data(body.into())]);
    if let Some(location) = location.and_then(|l| HeaderValue::from_str(&l).ok()) {
        answer.headers_mut().insert("location", location);
    }
    answer
}

fn of_frames(kind: &'static str, frames: Vec<Frame<Bytes>>) -> Answer {
    let frames = futures::stream::iter(frames.into_iter().map(Ok));
    let mut answer = Response::new(StreamBody::new(frames).boxed_unsync());
    let kind = HeaderValue::from_static(kind);
    answer.headers_mut().insert("content-type", kind);
    answer
}
