//! `google.storage.v2`: objects read as a stream and written by one, the same objects as over REST.

use bytes::Bytes;

use super::Reply;
use super::message::{Builder, Message};
use super::status::Status;
use super::wire::{Messages, Replies};
use crate::standin::services::storage::{object_size, read_chunk, write_object};
use crate::standin::world::World;

/// Bytes of content in one message of an answer.
const CHUNK: usize = 64 * 1024;
/// Bytes of an upload, at most.
const LARGEST_UPLOAD: usize = 16 * 1024 * 1024;

/// `Storage.ReadObject`, from an offset, in messages of 64 KiB. The first one tells of the object, too.
pub(super) async fn read(world: &World, request: &[u8], replies: &Replies) -> Result<(), Status> {
    let request = Message::parse(request)?;
    let (bucket, object) = (bucket_id(request.text(1)?)?, request.text(2)?);
    let missing = || Status::not_found(&format!("Object {bucket}/{object}"));
    let (generation, size) = object_size(world, bucket, object).ok_or_else(missing)?;
    let start = request.number(4).min(size);
    let end = match request.number(5) {
        0 => size,
        limit => start.saturating_add(limit).min(size),
    };
    let range = Builder::default().number(1, start).number(2, end).number(3, size);
    let mut reply = Builder::default()
        .message(3, range)
        .message(4, described(bucket, object, generation, size));
    let mut at = start;
    loop {
        let most = usize::try_from(end - at).map_or(CHUNK, |left| left.min(CHUNK));
        let chunk = read_chunk(world, bucket, object, at, most).ok_or_else(missing)?;
        let data = Builder::default()
            .bytes(1, &chunk)
            .fixed32(2, crc32c::crc32c(&chunk));
        replies.send(reply.message(1, data).finish()).await?;
        at += chunk.len() as u64;
        if at >= end || chunk.is_empty() {
            return Ok(());
        }
        reply = Builder::default();
    }
}

/// `Storage.WriteObject`: the first message names the object, the last one finishes it, and then it is answered.
pub(super) async fn write(world: &World, messages: &mut Messages) -> Result<Reply, Status> {
    let mut upload = Upload::default();
    while let Some(request) = messages.next().await? {
        let request = Message::parse(&request)?;
        upload.take(&request, request.number(7) != 0)?;
    }
    upload.answer(world)
}

/// `Storage.BidiWriteObject`: the same, answered whenever the client asks how far it is.
pub(super) async fn write_both_ways(
    world: &World,
    messages: &mut Messages,
    replies: &Replies,
) -> Result<(), Status> {
    let mut upload = Upload::default();
    while let Some(request) = messages.next().await? {
        let request = Message::parse(&request)?;
        upload.take(&request, request.number(9) != 0)?;
        let asked = request.number(7) != 0 || request.number(8) != 0;
        if asked || upload.finished {
            replies.send(upload.answer(world)?).await?;
        }
    }
    Ok(())
}

/// What has come of an upload.
#[derive(Debug, Default)]
struct Upload {
    /// Bucket and object.
    target: Option<(String, String)>,
    content: Vec<u8>,
    finished: bool,
}

impl Upload {
    fn take(&mut self, request: &Message<'_>, finish: bool) -> Result<(), Status> {
        if self.target.is_none() {
            let resource = request.message(2)?.message(1)?;
            let bucket = bucket_id(resource.text(2)?)?.to_owned();
            self.target = Some((bucket, resource.text(1)?.to_owned()));
        }
        self.content.extend_from_slice(request.message(4)?.bytes(1));
        if self.content.len() > LARGEST_UPLOAD {
            return Err(Status::invalid(
                "the stand-in takes no upload of this size by gRPC",
            ));
        }
        self.finished |= finish;
        Ok(())
    }

    /// The object where it is finished, else how much of it is there.
    fn answer(&mut self, world: &World) -> Result<Bytes, Status> {
        let target = self.target.as_ref();
        let (bucket, object) = target.ok_or_else(|| Status::invalid("no request"))?;
        let size = self.content.len() as u64;
        if !self.finished {
            return Ok(Builder::default().number(1, size).finish());
        }
        let content = std::mem::take(&mut self.content);
        let generation = write_object(world, bucket, object, content);
        let generation = generation.ok_or_else(|| Status::not_found(&format!("Bucket {bucket}")))?;
        let resource = described(bucket, object, generation, size);
        Ok(Builder::default().message(2, resource).finish())
    }
}

/// An `Object`.
fn described(bucket: &str, object: &str, generation: u64, size: u64) -> Builder {
    Builder::default()
        .bytes(1, object)
        .bytes(2, format!("projects/_/buckets/{bucket}"))
        .number(3, generation)
        .number(6, size)
}

/// The id of `projects/_/buckets/ID`.
fn bucket_id(name: &str) -> Result<&str, Status> {
    name.strip_prefix("projects/_/buckets/")
        .ok_or_else(|| Status::invalid(format!("{name:?} names no bucket")))
}
