//! Uploads: `media`, `multipart` and `resumable`, on `/upload/storage/v1` and, as gcloud
//! writes it, `/resumable/upload/storage/v1`.

use anyhow::{Context, Result, bail};
use http::header::{CONTENT_RANGE, CONTENT_TYPE, LOCATION, RANGE};
use http::{HeaderValue, StatusCode};
use serde_json::Value;

use super::content::{self, Content, Receiver};
use super::{Object, no_bucket};
use crate::standin::answer::{self, Answer};
use crate::standin::call::{Call, Payload};
use crate::standin::world::World;

/// A multipart body may not be longer: clients use resumable uploads past 8 MiB.
const MULTIPART_LIMIT: usize = 32 * 1024 * 1024;
const BINARY: &str = "application/octet-stream";
/// What Google answers an unfinished resumable upload.
const RESUME_INCOMPLETE: StatusCode = StatusCode::PERMANENT_REDIRECT;

/// A resumable upload under way.
#[derive(Debug)]
pub(super) struct Session {
    bucket: String,
    name: String,
    content_type: String,
    metadata: Option<Value>,
    received: Receiver,
}

pub(super) async fn answer(
    world: &World,
    call: &Call,
    payload: &mut Payload,
    bucket: &str,
) -> Result<Answer> {
    if !world.storage().buckets.contains_key(bucket) {
        return Ok(no_bucket());
    }
    if let Some(id) = call.query("upload_id") {
        return resume(world, call, payload, id).await;
    }
    match call.query("uploadType").or_else(|| call.query("upload_protocol")) {
        Some("media") => {
            let Some(name) = call.query("name") else {
                bail!("Required parameter: name")
            };
            let kind = call.header(CONTENT_TYPE.as_str()).unwrap_or(BINARY);
            let content = content::receive(payload).await?;
            Ok(store(world, call, bucket, name, kind, content, None))
        }
        Some("multipart") => {
            let body = payload.collect(MULTIPART_LIMIT).await?;
            let kind = call
                .header(CONTENT_TYPE.as_str())
                .context("Required header: Content-Type")?;
            let (resource, media_type, media) = parse_multipart(kind, &body)?;
            let content = Content::inline(body.slice_ref(media));
            let name = object_name(call, &resource)?;
            let kind = resource["contentType"].as_str().unwrap_or(&media_type);
            Ok(store(
                world,
                call,
                bucket,
                &name,
                kind,
                content,
                metadata(&resource),
            ))
        }
        Some("resumable") => begin(world, call, payload, bucket).await,
        other => bail!("unknown uploadType {other:?}"),
    }
}

async fn begin(world: &World, call: &Call, payload: &mut Payload, bucket: &str) -> Result<Answer> {
    let resource = payload.json().await?;
    let name = object_name(call, &resource)?;
    let kind = resource["contentType"]
        .as_str()
        .or_else(|| call.header("x-upload-content-type"))
        .unwrap_or(BINARY);
    let id = format!("standin-upload-{}", world.next());
    let path = call.segments().join("/");
    let location = format!("{}/{path}?uploadType=resumable&upload_id={id}", call.origin);
    let session = Session {
        bucket: bucket.to_owned(),
        name,
        content_type: kind.to_owned(),
        metadata: metadata(&resource),
        received: Receiver::new(),
    };
    world.storage().uploads.insert(id.clone(), session);
    let mut answer = answer::empty(StatusCode::OK);
    answer
        .headers_mut()
        .insert(LOCATION, HeaderValue::from_str(&location)?);
    answer
        .headers_mut()
        .insert("x-guploader-uploadid", HeaderValue::from_str(&id)?);
    Ok(answer)
}

/// A chunk, the last chunk, or the question how far it came (`bytes */N`).
async fn resume(world: &World, call: &Call, payload: &mut Payload, id: &str) -> Result<Answer> {
    // Taken out while its bytes stream in, so that no lock is held meanwhile.
    let Some(mut session) = world.storage().uploads.remove(id) else {
        return Ok(answer::not_found("Upload session"));
    };
    if call.method == http::Method::DELETE {
        return Ok(answer::empty(StatusCode::from_u16(499)?));
    }
    let total = call
        .header(CONTENT_RANGE.as_str())
        .and_then(|range| range.rsplit_once('/'))
        .map(|(_, total)| total);
    let total = match total {
        Some("*") => None,
        Some(total) => Some(total.parse::<u64>().context("Content-Range")?),
        // Without a range the body is the whole content.
        None => Some(u64::MAX),
    };
    while let Some(chunk) = payload.next().await? {
        session.received.push(&chunk);
    }
    let length = session.received.length();
    if total == Some(u64::MAX) || total == Some(length) {
        let Session {
            bucket,
            name,
            content_type,
            metadata,
            received,
        } = session;
        return Ok(store(
            world,
            call,
            &bucket,
            &name,
            &content_type,
            received.finish(),
            metadata,
        ));
    }
    world.storage().uploads.insert(id.to_owned(), session);
    let mut answer = answer::empty(RESUME_INCOMPLETE);
    if length > 0 {
        answer
            .headers_mut()
            .insert(RANGE, HeaderValue::from_str(&format!("bytes=0-{}", length - 1))?);
    }
    Ok(answer)
}

fn store(
    world: &World,
    call: &Call,
    bucket: &str,
    name: &str,
    kind: &str,
    content: Content,
    metadata: Option<Value>,
) -> Answer {
    let stored: Option<Object> = world.storage().insert(bucket, name, kind, content, metadata);
    match stored {
        Some(object) => answer::ok(&object.json(bucket, name, &call.origin)),
        None => no_bucket(),
    }
}

/// The name in the URL, or the one in the resource; two that differ are refused.
fn object_name(call: &Call, resource: &Value) -> Result<String> {
    match (call.query("name"), resource["name"].as_str()) {
        (Some(url), Some(body)) if url != body => {
            bail!("the object is named {url} in the URL and {body} in the body")
        }
        (Some(name), _) | (None, Some(name)) => Ok(name.to_owned()),
        (None, None) => bail!("Required parameter: name"),
    }
}

fn metadata(resource: &Value) -> Option<Value> {
    resource
        .get("metadata")
        .filter(|metadata| metadata.is_object())
        .cloned()
}

/// The resource, the media's type and the media of a `multipart/related` body.
///
/// gcloud puts the boundary in single quotes that are not part of it, and ends lines with a
/// bare LF; both are taken.
fn parse_multipart<'a>(content_type: &str, body: &'a [u8]) -> Result<(Value, String, &'a [u8])> {
    let boundary = content_type
        .split(';')
        .map(str::trim)
        .find_map(|part| part.strip_prefix("boundary="));
    let boundary = boundary
        .context("no boundary in the Content-Type")?
        .trim_matches(['"', '\'']);
    let delimiter = format!("--{boundary}").into_bytes();
    let mut parts = Vec::new();
    let mut rest = body;
    let mut begun = false;
    while let Some(at) = find(rest, &delimiter) {
        if begun {
            let part = &rest[..at];
            parts.push(
                part.strip_suffix(b"\r\n")
                    .or_else(|| part.strip_suffix(b"\n"))
                    .unwrap_or(part),
            );
        }
        begun = true;
        rest = &rest[at + delimiter.len()..];
        if rest.starts_with(b"--") {
            break;
        }
        rest = rest
            .strip_prefix(b"\r\n")
            .or_else(|| rest.strip_prefix(b"\n"))
            .unwrap_or(rest);
    }
    let [resource, media] = parts.as_slice() else {
        bail!("expected two parts, found {}", parts.len())
    };
    let (_, resource) = split_part(resource)?;
    let (head, media) = split_part(media)?;
    let resource = serde_json::from_slice(resource).context("parse the resource of a multipart upload")?;
    let kind = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-type")
            .then(|| value.trim().to_owned())
    });
    Ok((resource, kind.unwrap_or_else(|| BINARY.to_owned()), media))
}

fn split_part(part: &[u8]) -> Result<(&str, &[u8])> {
    let crlf = find(part, b"\r\n\r\n").map(|at| (at, at + 4));
    let lf = find(part, b"\n\n").map(|at| (at, at + 2));
    let (end, start) = match (crlf, lf) {
        (Some(crlf), Some(lf)) => crlf.min(lf),
        (Some(one), None) | (None, Some(one)) => one,
        (None, None) => bail!("a part without an empty line after its head"),
    };
    Ok((
        std::str::from_utf8(&part[..end]).context("the head of a part")?,
        &part[start..],
    ))
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn multipart_bodies_of_real_clients_are_read() {
        let crlf = "--b1\r\nContent-Type: application/json\r\n\r\n{\"name\":\"a\"}\r\n\
            --b1\r\nContent-Type: text/plain\r\n\r\nhello\r\nworld\r\n--b1--";
        let lf = "--=b=\nContent-Type: application/json\n\n{\"name\":\"a\"}\n\
            --=b=\ncontent-type: text/plain\n\nhello\r\nworld\n--=b=--";
        for (content_type, body) in [
            ("multipart/related; boundary=\"b1\"", crlf),
            ("multipart/related; boundary='=b='", lf),
        ] {
            let parsed = parse_multipart(content_type, body.as_bytes()).expect("parses");
            let expected = (
                json!({"name": "a"}),
                "text/plain".to_owned(),
                &b"hello\r\nworld"[..],
            );
            assert_eq!(parsed, expected, "{content_type}");
        }
    }

    #[test]
    fn a_body_of_another_number_of_parts_is_refused() {
        assert!(parse_multipart("multipart/related; boundary=b", b"--b\r\n\r\n{}\r\n--b--").is_err());
        assert!(parse_multipart("multipart/related", b"").is_err());
    }
}
