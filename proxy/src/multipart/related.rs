//! Uploads of metadata with media: `multipart/related` with two parts.
//!
//! The metadata is read whole, because it names the object; the media passes as it comes. What goes upstream
//! is written anew around the media: one form, with a boundary of ours.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, header};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, combinators::UnsyncBoxBody};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::{
    Boundary, Event, Kind, Limits, MultipartError, Splitter,
    boundary::{delimiters, of_content, unguessable},
    object, parse,
};
use crate::{body::BoxError, coding::CodingError, fault::find};

/// The largest metadata that is read.
pub const MAX_METADATA: usize = 1024 * 1024;
/// Metadata and media.
const LIMITS: Limits = Limits::parts(2);

/// An upload whose metadata was read and whose media is still to come.
#[derive(Debug)]
pub struct Related<B> {
    /// The metadata: every name stands once in its object.
    pub metadata: Map<String, Value>,
    /// The media's type, if it has one.
    pub media_type: Option<HeaderValue>,
    /// The media.
    pub media: Media<B>,
}

impl<B> Related<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    /// Reads an upload up to its media.
    ///
    /// # Errors
    /// [`MultipartError`].
    pub async fn begin(content_type: &str, mut body: B) -> Result<Self, MultipartError> {
        let mut splitter = Splitter::new(Boundary::of(content_type, Kind::Related)?, LIMITS);
        let mut first: Option<HeaderMap> = None;
        let mut metadata = BytesMut::new();
        loop {
            match splitter.next()? {
                Some(Event::Part(headers)) if first.is_none() => {
                    json_type(&headers)?;
                    first = Some(headers);
                }
                Some(Event::Part(mut headers)) => {
                    return Ok(Self {
                        metadata: object(&metadata)?,
                        media_type: headers.remove(header::CONTENT_TYPE),
                        media: Media {
                            splitter,
                            body,
                            state: Reading::Open,
                        },
                    });
                }
                Some(Event::Data(data)) => {
                    if metadata.len() + data.len() > MAX_METADATA {
                        return Err(MultipartError::MetadataTooLarge(MAX_METADATA));
                    }
                    metadata.extend_from_slice(&data);
                }
                Some(Event::End) => {}
                None => match body.frame().await {
                    Some(Ok(frame)) => {
                        if let Ok(data) = frame.into_data() {
                            splitter.push(data);
                        }
                    }
                    Some(Err(error)) => return Err(broke_off(error)),
                    None => {
                        splitter.finish()?;
                        return Err(MultipartError::NotTwoParts);
                    }
                },
            }
        }
    }

    /// The upload as it goes upstream, and its `Content-Type`.
    ///
    /// # Errors
    /// [`MultipartError::MetadataNotJson`] where the metadata cannot be written again.
    pub fn rebuild(self) -> Result<(HeaderValue, Rebuilt<Media<B>>), MultipartError> {
        Rebuilt::new(self.metadata, self.media_type, self.media)
    }
}

/// An upload in memory.
#[derive(Debug, Clone, PartialEq)]
pub struct WholeRelated {
    /// The metadata: every name stands once in its object.
    pub metadata: Map<String, Value>,
    /// The media's type, if it has one.
    pub media_type: Option<HeaderValue>,
    /// The media.
    pub media: Bytes,
}

impl WholeRelated {
    /// Takes an upload apart: the agent's, or one that [`Related::rebuild`] wrote.
    ///
    /// # Errors
    /// [`MultipartError`].
    pub fn parse(content_type: &str, body: &Bytes) -> Result<Self, MultipartError> {
        let parts = parse(content_type, Kind::Related, body, LIMITS)?;
        let [metadata, media] =
            <[super::Part; 2]>::try_from(parts).map_err(|_| MultipartError::NotTwoParts)?;
        json_type(&metadata.headers)?;
        if metadata.body.len() > MAX_METADATA {
            return Err(MultipartError::MetadataTooLarge(MAX_METADATA));
        }
        Ok(Self {
            metadata: object(&metadata.body)?,
            media_type: media.headers.get(header::CONTENT_TYPE).cloned(),
            media: media.body,
        })
    }

    /// The upload as it goes upstream, and its `Content-Type`. The same upload has the same bytes, so that a
    /// call that is made again meets its approval.
    ///
    /// # Errors
    /// [`MultipartError::MetadataNotJson`] where the metadata cannot be written again.
    pub fn rebuild(&self) -> Result<(HeaderValue, Bytes), MultipartError> {
        let digest = Sha256::digest(&self.media).into();
        let (content_type, head, tail) = settled(&self.metadata, self.media_type.as_ref(), &digest)?;
        let mut whole = BytesMut::with_capacity(head.len() + self.media.len() + tail.len());
        for piece in [&head, &self.media, &tail] {
            whole.extend_from_slice(piece);
        }
        Ok((content_type, whole.freeze()))
    }
}

/// What stands before and behind media with this SHA-256, and the `Content-Type` of all: the same for the same upload.
///
/// # Errors
/// [`MultipartError::MetadataNotJson`] where the metadata cannot be written again.
pub fn settled(
    metadata: &Map<String, Value>,
    media_type: Option<&HeaderValue>,
    media: &[u8; 32],
) -> Result<(HeaderValue, Bytes, Bytes), MultipartError> {
    let metadata = written(metadata)?;
    let kind = media_type.map_or(&[][..], |v| v.as_bytes());
    let boundary = of_content([metadata.as_slice(), kind, media]);
    let (head, tail) = around(&boundary, &metadata, media_type);
    Ok((Kind::Related.content_type(&boundary)?, head, tail))
}

/// The media of an upload, as it arrives. It ends well only behind the final delimiter.
#[derive(Debug)]
pub struct Media<B> {
    splitter: Splitter,
    body: B,
    state: Reading,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reading {
    /// More may arrive.
    Open,
    /// The client's body has ended, or has failed.
    Over,
}

impl<B> Body for Media<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        if this.state == Reading::Over {
            return Poll::Ready(None);
        }
        let failed = loop {
            match this.splitter.next() {
                Ok(Some(Event::Data(data))) => return Poll::Ready(Some(Ok(Frame::data(data)))),
                Ok(Some(Event::End)) => continue,
                Ok(Some(Event::Part(_))) => break MultipartError::NotTwoParts,
                Ok(None) => {}
                Err(MultipartError::TooManyParts(_)) => break MultipartError::NotTwoParts,
                Err(error) => break error,
            }
            match ready!(Pin::new(&mut this.body).poll_frame(cx)) {
                Some(Ok(frame)) => {
                    // Trailers are nobody's to trust.
                    if let Ok(data) = frame.into_data() {
                        this.splitter.push(data);
                    }
                }
                Some(Err(error)) => break broke_off(error),
                None => match this.splitter.finish() {
                    Ok(()) => {
                        this.state = Reading::Over;
                        return Poll::Ready(None);
                    }
                    Err(error) => break error,
                },
            }
        };
        this.state = Reading::Over;
        Poll::Ready(Some(Err(failed.into())))
    }

    fn is_end_stream(&self) -> bool {
        self.state == Reading::Over
    }
}

/// An upload on its way upstream, written around its media.
#[derive(Debug)]
pub struct Rebuilt<M> {
    metadata: Map<String, Value>,
    media_type: Option<HeaderValue>,
    head: Option<Bytes>,
    media: M,
    tail: Option<Bytes>,
}

impl<M> Rebuilt<M> {
    /// An upload of this media, and its `Content-Type`. The boundary is a new one every time: see [`settled`] for one
    /// that follows from the content.
    ///
    /// # Errors
    /// [`MultipartError::MetadataNotJson`] where the metadata cannot be written again.
    pub fn new(
        metadata: Map<String, Value>,
        media_type: Option<HeaderValue>,
        media: M,
    ) -> Result<(HeaderValue, Self), MultipartError> {
        let boundary = unguessable();
        let (head, tail) = around(&boundary, &written(&metadata)?, media_type.as_ref());
        let upload = Self {
            metadata,
            media_type,
            head: Some(head),
            media,
            tail: Some(tail),
        };
        Ok((Kind::Related.content_type(&boundary)?, upload))
    }

    /// The metadata, as it goes upstream.
    pub fn metadata(&self) -> Value {
        Value::Object(self.metadata.clone())
    }

    /// The same around media that something is done with on its way.
    pub fn map_media<N>(self, map: impl FnOnce(M) -> N) -> Rebuilt<N> {
        Rebuilt {
            metadata: self.metadata,
            media_type: self.media_type,
            head: self.head,
            media: map(self.media),
            tail: self.tail,
        }
    }

    /// The parts of an upload of which nothing was sent.
    pub fn into_parts(self) -> (Map<String, Value>, Option<HeaderValue>, M) {
        (self.metadata, self.media_type, self.media)
    }
}

impl<M> Rebuilt<M>
where
    M: Body<Data = Bytes> + Send + 'static,
    M::Error: Into<BoxError>,
{
    /// The same, whatever its media comes from.
    pub fn boxed(self) -> Rebuilt<UnsyncBoxBody<Bytes, BoxError>> {
        Rebuilt {
            metadata: self.metadata,
            media_type: self.media_type,
            head: self.head,
            media: UnsyncBoxBody::new(self.media.map_err(Into::into)),
            tail: self.tail,
        }
    }
}

impl<M> Body for Rebuilt<M>
where
    M: Body<Data = Bytes> + Unpin,
    M::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Some(head) = self.head.take() {
            return Poll::Ready(Some(Ok(Frame::data(head))));
        }
        if self.tail.is_none() {
            return Poll::Ready(None);
        }
        match ready!(Pin::new(&mut self.media).poll_frame(cx)) {
            Some(Err(error)) => {
                // The final delimiter is never sent, so upstream has no complete upload.
                self.tail = None;
                Poll::Ready(Some(Err(error.into())))
            }
            Some(frame) => Poll::Ready(Some(frame.map_err(Into::into))),
            None => Poll::Ready(self.tail.take().map(|tail| Ok(Frame::data(tail)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.tail.is_none()
    }
}

/// What stands before and behind the media.
fn around(boundary: &str, metadata: &[u8], media_type: Option<&HeaderValue>) -> (Bytes, Bytes) {
    let (delimiter, end) = delimiters(boundary);
    let mut head = BytesMut::with_capacity(metadata.len() + 512);
    head.extend_from_slice(&delimiter);
    head.extend_from_slice(b"Content-Type: application/json; charset=UTF-8\r\n\r\n");
    head.extend_from_slice(metadata);
    head.extend_from_slice(b"\r\n");
    head.extend_from_slice(&delimiter);
    if let Some(media_type) = media_type {
        head.extend_from_slice(b"Content-Type: ");
        head.extend_from_slice(media_type.as_bytes());
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(b"\r\n");
    (head.freeze(), end)
}

fn written(metadata: &Map<String, Value>) -> Result<Vec<u8>, MultipartError> {
    serde_json::to_vec(metadata).map_err(|_| MultipartError::MetadataNotJson)
}

/// Metadata in another form than JSON in UTF-8 would be read by other rules than these.
fn json_type(headers: &HeaderMap) -> Result<(), MultipartError> {
    let value = headers
        .get(header::CONTENT_TYPE)
        .and_then(|v| v.to_str().ok())
        .ok_or(MultipartError::MetadataNotJson)?;
    let mut pieces = value.split(';').map(str::trim);
    let json = pieces
        .next()
        .is_some_and(|m| m.eq_ignore_ascii_case("application/json"));
    let utf8 = pieces
        .all(|p| p.eq_ignore_ascii_case("charset=utf-8") || p.eq_ignore_ascii_case("charset=\"utf-8\""));
    match json && utf8 {
        true => Ok(()),
        false => Err(MultipartError::MetadataNotJson),
    }
}

fn broke_off(error: impl Into<BoxError>) -> MultipartError {
    let error = error.into();
    match find::<CodingError>(error.as_ref()) {
        Some(coding) => MultipartError::Coding(coding.clone()),
        None => MultipartError::BrokeOff(error.to_string()),
    }
}

#[cfg(test)]
mod tests;
