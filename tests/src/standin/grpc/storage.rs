//! `google.storage.v2`: objects read as a stream and written by one, the same objects as over REST.

use super::Reply;
use super::message::{Builder, Message};
use super::status::Status;
use super::wire::{Messages, Replies};
use crate::standin::services::storage::{read_chunk, write_object};
use crate::standin::world::World;

/// Bytes of content in one message of an answer.
const CHUNK: usize = 64 * 1024;
/// Bytes of an upload, at most.
const LARGEST_UPLOAD: usize = 16 * 1024 * 1024;

/// `Storage.ReadObject`, from an offset, in messages of 64 KiB.
pub(super) async fn read(world: &World, request: &[u8], replies: &Replies) -> Result<(), Status> {
    let request = Message::parse(request)?;
    let (bucket, object) = (bucket_id(request.text(1)?)?, request.text(2)?);
    let mut at = request.number(4);
    let end = match request.number(5) {
        0 => u64::MAX,
        limit => at.saturating_add(limit),
    };
    loop {
        let most = usize::try_from(end - at).map_or(CHUNK, |left| left.min(CHUNK));
        let chunk = read_chunk(world, bucket, object, at, most);
        let chunk = chunk.ok_or_else(|| Status::not_found(&format!("Object {bucket}/{object}")))?;
        if chunk.is_empty() {
            return Ok(());
        }
        let data = Builder::default()
            .bytes(1, &chunk)
            .fixed32(2, crc32c::crc32c(&chunk));
        replies.send(Builder::default().message(1, data).finish()).await?;
        at += chunk.len() as u64;
    }
}

/// `Storage.WriteObject`: the first message names the object, the last one finishes it.
pub(super) async fn write(world: &World, messages: &mut Messages) -> Result<Reply, Status> {
    let (mut target, mut content, mut finished) = (None, Vec::new(), false);
    while let Some(request) = messages.next().await? {
        let request = Message::parse(&request)?;
        if target.is_none() {
            let resource = request.message(2)?.message(1)?;
            let bucket = bucket_id(resource.text(2)?)?.to_owned();
            target = Some((bucket, resource.text(1)?.to_owned()));
        }
        content.extend_from_slice(request.message(4)?.bytes(1));
        if content.len() > LARGEST_UPLOAD {
            return Err(Status::invalid(
                "the stand-in takes no upload of this size by gRPC",
            ));
        }
        finished = request.number(7) != 0;
    }
    let (bucket, object) = target.ok_or_else(|| Status::invalid("no request"))?;
    if !finished {
        return Ok(Builder::default().number(1, content.len() as u64).finish());
    }
    let size = content.len() as u64;
    let generation = write_object(world, &bucket, &object, content);
    let generation = generation.ok_or_else(|| Status::not_found(&format!("Bucket {bucket}")))?;
    let resource = Builder::default()
        .bytes(1, object)
        .bytes(2, format!("projects/_/buckets/{bucket}"))
        .number(3, generation)
        .number(6, size);
    Ok(Builder::default().message(2, resource).finish())
}

/// The id of `projects/_/buckets/ID`.
fn bucket_id(name: &str) -> Result<&str, Status> {
    name.strip_prefix("projects/_/buckets/")
        .ok_or_else(|| Status::invalid(format!("{name:?} names no bucket")))
}
