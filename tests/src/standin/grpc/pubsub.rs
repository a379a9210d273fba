//! `google.pubsub.v1`: publishing, and a stream both ways that confirms what it is told. Nothing is delivered.

use super::Reply;
use super::message::{Builder, Message};
use super::status::Status;
use super::wire::{Messages, Replies};
use crate::standin::world::World;

/// `Publisher.Publish`: every message gets an id.
pub(super) fn publish(world: &World, request: &[u8]) -> Result<Reply, Status> {
    let request = Message::parse(request)?;
    if request.text(1)?.is_empty() {
        return Err(Status::invalid("topic is required"));
    }
    let ids = request.all(2).fold(Builder::default(), |ids, _| {
        ids.bytes(1, world.next().to_string())
    });
    Ok(ids.finish())
}

/// `Subscriber.StreamingPull`: the first request is answered with one message, whose data is the subscription's
/// name; each further one by a confirmation of what it acknowledges. The client ends it.
pub(super) async fn streaming_pull(messages: &mut Messages, replies: &Replies) -> Result<(), Status> {
    let first = messages
        .next()
        .await?
        .ok_or_else(|| Status::invalid("no request"))?;
    let first = Message::parse(&first)?;
    let subscription = first.text(1)?;
    if subscription.is_empty() {
        return Err(Status::invalid("the first request names no subscription"));
    }
    let message = Builder::default().bytes(1, subscription).bytes(3, "1");
    let received = Builder::default().bytes(1, "ack-1").message(2, message);
    replies
        .send(Builder::default().message(1, received).finish())
        .await?;
    while let Some(request) = messages.next().await? {
        let request = Message::parse(&request)?;
        let acknowledged = request
            .all(2)
            .fold(Builder::default(), |all, id| all.bytes(1, id));
        replies
            .send(Builder::default().message(5, acknowledged).finish())
            .await?;
    }
    Ok(())
}
