//! Messages in their frames: a flag, four bytes of length, the message.

use std::io::Read as _;
use std::sync::Arc;

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use flate2::read::GzDecoder;
use http_body::Frame;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::sync::mpsc;

use super::Reply;
use super::status::{Code, Status};
use crate::standin::State;
use crate::standin::record::Ticket;

/// The length of a message, at most: what Google's servers take.
const MOST: usize = 4 * 1024 * 1024;
/// Flag and length.
const HEAD: usize = 5;

/// What the client sends, recorded as it comes.
#[derive(Debug)]
pub(super) struct Messages {
    state: Arc<State>,
    ticket: Ticket,
    incoming: Incoming,
    buffer: BytesMut,
}

impl Messages {
    pub(super) fn new(state: Arc<State>, ticket: Ticket, incoming: Incoming) -> Self {
        Self {
            state,
            ticket,
            incoming,
            buffer: BytesMut::new(),
        }
    }

    /// The next message, or `None` when the client has said all.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Status> {
        loop {
            if let Some((compressed, message)) = self.framed()? {
                let message = if compressed { unpack(&message)? } else { message };
                self.state.recorder.rpc_message(self.ticket, &message, compressed);
                return Ok(Some(message));
            }
            match self.incoming.frame().await {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.buffer.extend_from_slice(&data);
                    }
                }
                Some(Err(_)) => return Err(Status::cancelled()),
                None if self.buffer.is_empty() => return Ok(None),
                None => return Err(Status::new(Code::Internal, "a message is cut off")),
            }
        }
    }

    /// The one message of a call that has one.
    pub(super) async fn only(&mut self) -> Result<Bytes, Status> {
        let message = self
            .next()
            .await?
            .ok_or_else(|| Status::new(Code::Internal, "no message"))?;
        match self.next().await? {
            None => Ok(message),
            Some(_) => Err(Status::new(Code::Internal, "more than one message")),
        }
    }

    fn framed(&mut self) -> Result<Option<(bool, Bytes)>, Status> {
        let Some(mut head) = self.buffer.get(..HEAD) else {
            return Ok(None);
        };
        let compressed = match head.get_u8() {
            0 => false,
            1 => true,
            flag => return Err(Status::new(Code::Internal, format!("unknown flag {flag}"))),
        };
        let length = usize::try_from(head.get_u32()).unwrap_or(usize::MAX);
        if length > MOST {
            return Err(too_long());
        }
        if self.buffer.len() < HEAD + length {
            return Ok(None);
        }
        self.buffer.advance(HEAD);
        Ok(Some((compressed, self.buffer.split_to(length).freeze())))
    }
}

fn unpack(packed: &[u8]) -> Result<Bytes, Status> {
    let mut plain = Vec::new();
    let read = GzDecoder::new(packed)
        .take(MOST as u64 + 1)
        .read_to_end(&mut plain);
    read.map_err(|error| Status::new(Code::Internal, format!("gzip: {error}")))?;
    if plain.len() > MOST {
        return Err(too_long());
    }
    Ok(Bytes::from(plain))
}

fn too_long() -> Status {
    Status::new(
        Code::ResourceExhausted,
        format!("a message is longer than {MOST} bytes"),
    )
}

/// What the client gets.
#[derive(Debug)]
pub(super) struct Replies(mpsc::Sender<Frame<Bytes>>);

impl Replies {
    pub(super) fn new(sender: mpsc::Sender<Frame<Bytes>>) -> Self {
        Self(sender)
    }

    /// Sends a message as soon as the client takes it.
    pub(super) async fn send(&self, message: Reply) -> Result<(), Status> {
        let length = u32::try_from(message.len()).map_err(|_| too_long())?;
        let mut frame = BytesMut::with_capacity(HEAD + message.len());
        frame.put_u8(0);
        frame.put_u32(length);
        frame.put_slice(&message);
        let sent = self.0.send(Frame::data(frame.freeze())).await;
        sent.map_err(|_| Status::cancelled())
    }
}
