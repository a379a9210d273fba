//! A request, taken apart far enough to choose an answer, and its body as a stream.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use bytes::{Bytes, BytesMut};
use http::request::Parts;
use http::{HeaderMap, Method};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use percent_encoding::percent_decode_str;
use serde_json::Value;

use super::State;
use super::record::{BodyDigest, Ticket};

/// The head of a request.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) method: Method,
    /// Lower case, without port.
    pub(super) host: String,
    /// `scheme://authority` as the client reached it: the start of URLs in answers.
    pub(super) origin: String,
    segments: Vec<String>,
    query: Vec<(String, String)>,
    pub(super) headers: HeaderMap,
}

impl Call {
    pub(super) fn new(scheme: &str, authority: &str, head: &Parts) -> Self {
        let path = head.uri.path();
        let segments = path.trim_start_matches('/').split('/').map(decode).collect();
        let query = head
            .uri
            .query()
            .unwrap_or("")
            .split('&')
            .filter(|pair| !pair.is_empty());
        let query = query.map(|pair| match pair.split_once('=') {
            Some((key, value)) => (decode(key), decode(&value.replace('+', " "))),
            None => (decode(pair), String::new()),
        });
        Self {
            method: head.method.clone(),
            host: host_of(authority),
            origin: format!("{scheme}://{authority}"),
            segments,
            query: query.collect(),
            headers: head.headers.clone(),
        }
    }

    /// Decoded path segments.
    pub(super) fn segments(&self) -> Vec<&str> {
        self.segments.iter().map(String::as_str).collect()
    }

    /// Decoded path segments with a custom verb split off: `f:access` becomes `f`, `:access`.
    pub(super) fn segments_and_verb(&self) -> Vec<&str> {
        let mut segments = self.segments();
        if let Some(last) = segments.pop() {
            match last.rfind(':') {
                Some(colon) => segments.extend([&last[..colon], &last[colon..]]),
                None => segments.push(last),
            }
        }
        segments
    }

    /// The first value of a query parameter.
    pub(super) fn query(&self, name: &str) -> Option<&str> {
        self.query
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// A header, where it is text.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

/// The host of an authority, in lower case.
pub(super) fn host_of(authority: &str) -> String {
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => authority,
    };
    host.to_ascii_lowercase()
}

fn decode(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

/// A request's body: read once, and recorded as it goes by.
#[derive(Debug)]
pub(super) struct Payload {
    state: Arc<State>,
    ticket: Ticket,
    incoming: Incoming,
    digest: Option<BodyDigest>,
}

impl Payload {
    pub(super) fn new(state: Arc<State>, ticket: Ticket, incoming: Incoming) -> Self {
        Self {
            state,
            ticket,
            incoming,
            digest: Some(BodyDigest::new()),
        }
    }

    /// The next chunk, or `None` at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>> {
        while let Some(frame) = self.incoming.frame().await {
            let Ok(chunk) = frame.context("read the request body")?.into_data() else {
                continue;
            };
            if let Some(digest) = &mut self.digest {
                digest.update(&chunk);
            }
            return Ok(Some(chunk));
        }
        self.record(true);
        Ok(None)
    }

    /// The whole body, which may not be longer than `limit`.
    pub(super) async fn collect(&mut self, limit: usize) -> Result<Bytes> {
        let mut whole = BytesMut::new();
        while let Some(chunk) = self.next().await? {
            ensure!(
                whole.len() + chunk.len() <= limit,
                "the body is longer than {limit} bytes"
            );
            whole.extend_from_slice(&chunk);
        }
        Ok(whole.freeze())
    }

    /// The whole body as JSON; an empty one is an empty object.
    pub(super) async fn json(&mut self) -> Result<Value> {
        let bytes = self.collect(4 * 1024 * 1024).await?;
        if bytes.is_empty() {
            return Ok(Value::Object(serde_json::Map::new()));
        }
        serde_json::from_slice(&bytes).context("parse the request body")
    }

    /// Reads what is left, so that the record is complete.
    pub(super) async fn drain(&mut self) -> Result<()> {
        while self.next().await?.is_some() {}
        Ok(())
    }

    fn record(&mut self, complete: bool) {
        if let Some(digest) = self.digest.take() {
            self.state.recorder.body(self.ticket, digest, complete);
        }
    }
}

impl Drop for Payload {
    fn drop(&mut self) {
        self.record(false);
    }
}
