//! The stand-in by gRPC: HTTP/2 with `application/grpc`, all four kinds of streams, on the same port as REST.
//!
//! It answers from the same world as REST does. Messages are taken apart by hand, as few of their fields as the
//! answers need. It honours deadlines and takes messages compressed by gzip; its own are never compressed.

mod message;
mod pubsub;
mod secrets;
mod status;
mod storage;
mod wire;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt as _, stream};
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Incoming;
use tokio::sync::mpsc;

use super::State;
use super::answer::{self, Answer};
use super::fault::Fault;
use super::record::Ticket;
use super::server::Closed;
use super::world::World;
use status::{Code, Status};
use wire::{Messages, Replies};

/// Messages that may wait for a slow client, so that a server stream feels its flow control.
const WAITING: usize = 2;

/// Whether a request is a call by gRPC.
pub(super) fn is_call(head: &Parts) -> bool {
    let kind = head.headers.get(CONTENT_TYPE);
    kind.is_some_and(|kind| matches!(kind.as_bytes(), b"application/grpc" | b"application/grpc+proto"))
}

/// Answers a call, with its status in the trailers, or in the head where nothing comes before it.
pub(super) async fn respond(
    state: &Arc<State>,
    ticket: Ticket,
    fault: Option<Fault>,
    head: &Parts,
    incoming: Incoming,
) -> Result<Answer, Closed> {
    if let Some(delay) = fault.as_ref().and_then(Fault::delay) {
        tokio::time::sleep(delay).await;
    }
    if fault.as_ref().is_some_and(|fault| fault.close) {
        return Err(Closed);
    }
    let early = match fault.and_then(|fault| fault.status) {
        Some(status) => Err(Status::new(Code::of_http(status), "injected fault")),
        None => authenticated(state, &head.headers),
    };
    let (sender, mut receiver) = mpsc::channel(WAITING);
    let call = Call {
        state: Arc::clone(state),
        path: head.uri.path().to_owned(),
        deadline: timeout(&head.headers),
    };
    let messages = Messages::new(Arc::clone(state), ticket, incoming);
    tokio::spawn(async move {
        let ended = tokio::select! {
            // The client has reset the stream, or is gone.
            () = sender.closed() => Err(Status::cancelled()),
            ended = call.run(early, messages, Replies::new(sender.clone())) => ended,
        };
        let status = Some(ended.err().unwrap_or_else(Status::ok)).filter(|status| !status.is_cancelled());
        call.state
            .recorder
            .rpc_ended(ticket, status.as_ref().map(Status::number));
        if let Some(status) = status {
            // Nobody waits for it where the client left in this very moment.
            sender.send(Frame::trailers(status.trailers())).await.ok();
        }
    });
    let first = receiver.recv().await.ok_or(Closed)?;
    state.recorder.answered(ticket, StatusCode::OK.as_u16());
    let mut answer = match first.into_trailers() {
        Ok(trailers) => {
            let mut answer = answer::empty(StatusCode::OK);
            answer.headers_mut().extend(trailers);
            answer
        }
        Err(first) => {
            let rest = stream::poll_fn(move |context| receiver.poll_recv(context));
            let frames = stream::once(async { first }).chain(rest);
            Response::new(StreamBody::new(frames.map(Ok::<_, io::Error>)).boxed_unsync())
        }
    };
    let grpc = HeaderValue::from_static("application/grpc");
    answer.headers_mut().insert(CONTENT_TYPE, grpc);
    Ok(answer)
}

/// The head of a call.
struct Call {
    state: Arc<State>,
    /// `/SERVICE/METHOD`
    path: String,
    deadline: Option<Duration>,
}

impl Call {
    async fn run(
        &self,
        early: Result<(), Status>,
        messages: Messages,
        replies: Replies,
    ) -> Result<(), Status> {
        early?;
        let served = self.serve(&self.state.world, messages, replies);
        match self.deadline {
            None => served.await,
            Some(deadline) => tokio::time::timeout(deadline, served)
                .await
                .unwrap_or_else(|_| Err(Status::new(Code::DeadlineExceeded, "the deadline has passed"))),
        }
    }

    async fn serve(&self, world: &World, mut messages: Messages, replies: Replies) -> Result<(), Status> {
        let unknown = || {
            Status::new(
                Code::Unimplemented,
                format!("the stand-in does not know {}", self.path),
            )
        };
        let mut parts = self.path.split('/').skip(1);
        let (Some(service), Some(method), None) = (parts.next(), parts.next(), parts.next()) else {
            return Err(unknown());
        };
        match (service, method) {
            ("google.cloud.secretmanager.v1.SecretManagerService", method) => {
                let request = messages.only().await?;
                let reply = secrets::answer(world, method, &request)?.ok_or_else(unknown)?;
                replies.send(reply).await
            }
            ("google.pubsub.v1.Publisher", "Publish") => {
                let request = messages.only().await?;
                replies.send(pubsub::publish(world, &request)?).await
            }
            ("google.pubsub.v1.Subscriber", "Acknowledge" | "ModifyAckDeadline") => {
                messages.only().await?;
                replies.send(Reply::new()).await
            }
            ("google.pubsub.v1.Subscriber", "StreamingPull") => {
                pubsub::streaming_pull(&mut messages, &replies).await
            }
            ("google.storage.v2.Storage", "ReadObject") => {
                let request = messages.only().await?;
                storage::read(world, &request, &replies).await
            }
            ("google.storage.v2.Storage", "WriteObject") => {
                replies.send(storage::write(world, &mut messages).await?).await
            }
            ("google.storage.v2.Storage", "BidiWriteObject") => {
                storage::write_both_ways(world, &mut messages, &replies).await
            }
            _ => Err(unknown()),
        }
    }
}

/// A call without the token that the stand-in expects is refused as Google refuses it.
fn authenticated(state: &State, headers: &HeaderMap) -> Result<(), Status> {
    let Some(prefix) = state.require_token.as_deref() else {
        return Ok(());
    };
    let sent = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    match sent.and_then(|value| value.strip_prefix("Bearer ")) {
        Some(token) if token.starts_with(prefix) => Ok(()),
        _ => Err(Status::new(
            Code::Unauthenticated,
            "Request had invalid authentication credentials. The stand-in expects a token that it issued.",
        )),
    }
}

/// `grpc-timeout`: at most eight digits and a unit. One that cannot be read is none.
fn timeout(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let count: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(count * 3600)),
        "M" => Some(Duration::from_secs(count * 60)),
        "S" => Some(Duration::from_secs(count)),
        "m" => Some(Duration::from_millis(count)),
        "u" => Some(Duration::from_micros(count)),
        "n" => Some(Duration::from_nanos(count)),
        _ => None,
    }
}

/// A message on its way to the client.
type Reply = Bytes;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_read_in_its_unit() {
        let cases = [
            ("60S", Some(Duration::from_secs(60))),
            ("1500m", Some(Duration::from_millis(1500))),
            ("2M", Some(Duration::from_secs(120))),
            ("7", None),
            ("", None),
            ("xS", None),
        ];
        for (text, expected) in cases {
            let headers = HeaderMap::from_iter([(
                http::HeaderName::from_static("grpc-timeout"),
                HeaderValue::from_static(text),
            )]);
            assert_eq!(timeout(&headers), expected, "{text:?}");
        }
    }
}
