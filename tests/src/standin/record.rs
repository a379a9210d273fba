//! What arrived at the stand-in, for tests to compare with what should have.
//!
//! A request is recorded when its head arrives, and completed when its body has been
//! read and its answer is known. Only the latest are kept.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::sync::{Mutex, PoisonError};

use http::request::Parts;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Bodies up to this size that are UTF-8 are kept as text.
const TEXT_LIMIT: usize = 64 * 1024;

/// One request as it arrived.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RecordedRequest {
    /// Counts up from 0 since the start, also past [`super::Standin::clear_requests`].
    pub sequence: u64,
    /// When its head arrived, RFC 3339.
    pub time: String,
    /// `https` where it came by TLS, else `http`.
    pub scheme: String,
    /// The authority or `Host` header, lower case, without port.
    pub host: String,
    /// The verb.
    pub method: String,
    /// Path and query, as sent.
    pub path: String,
    /// `HTTP/1.1` or `HTTP/2.0`.
    pub version: String,
    /// Names in lower case, values as sent (Latin-1 where not UTF-8), in the order of arrival.
    pub headers: Vec<(String, String)>,
    /// Bytes of the body that were read.
    pub body_length: u64,
    /// SHA-256 of the body in hex, once it was read to its end.
    pub body_sha256: Option<String>,
    /// The body, where it is UTF-8 and at most 64 KiB long.
    pub body_text: Option<String>,
    /// The status it was answered with; `None` while it is under way or where a fault cut it.
    pub status: Option<u16>,
    /// What more there is to a call by gRPC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rpc: Option<RecordedRpc>,
}

/// A call by gRPC: its method is the path, its metadata the headers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RecordedRpc {
    /// The messages that were read, unpacked, up to 64 KiB of each.
    pub messages: Vec<Vec<u8>>,
    /// How many of them came compressed.
    pub compressed: usize,
    /// The code that it ended with (`google.rpc.Code`); `None` while it is under way.
    pub code: Option<u32>,
    /// Whether the client ended it before it was answered.
    pub cancelled: bool,
}

impl RecordedRpc {
    /// Whether one of its messages holds a text.
    #[must_use]
    pub fn holds(&self, text: &str) -> bool {
        let text = text.as_bytes();
        self.messages
            .iter()
            .any(|message| message.windows(text.len()).any(|part| part == text))
    }
}

impl RecordedRequest {
    /// The first value of a header, by its lower-case name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// `METHOD host/path` without the query: what tests compare.
    #[must_use]
    pub fn line(&self) -> String {
        let path = self.path.split('?').next().unwrap_or(&self.path);
        format!("{} {}{path}", self.method, self.host)
    }
}

/// Keeps the latest requests.
#[derive(Debug)]
pub(super) struct Recorder {
    limit: usize,
    log: Mutex<Log>,
}

#[derive(Debug, Default)]
struct Log {
    next: u64,
    requests: VecDeque<RecordedRequest>,
}

/// Names a recorded request, to complete it; `None` where nothing is recorded.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ticket(Option<u64>);

impl Recorder {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit,
            log: Mutex::default(),
        }
    }

    pub(super) fn arrived(&self, scheme: &str, host: &str, head: &Parts) -> Ticket {
        if self.limit == 0 {
            return Ticket(None);
        }
        let headers = head.headers.iter().map(|(name, value)| {
            let text = match value.to_str() {
                Ok(text) => text.to_owned(),
                Err(_) => value.as_bytes().iter().map(|byte| char::from(*byte)).collect(),
            };
            (name.as_str().to_owned(), text)
        });
        let mut request = RecordedRequest {
            sequence: 0,
            time: jiff::Timestamp::now().to_string(),
            scheme: scheme.to_owned(),
            host: host.to_owned(),
            method: head.method.to_string(),
            path: head
                .uri
                .path_and_query()
                .map_or_else(|| "/".to_owned(), ToString::to_string),
            version: format!("{:?}", head.version),
            headers: headers.collect(),
            body_length: 0,
            body_sha256: None,
            body_text: None,
            status: None,
            rpc: None,
        };
        let mut log = self.lock();
        request.sequence = log.next;
        log.next += 1;
        if log.requests.len() == self.limit {
            log.requests.pop_front();
        }
        let ticket = Ticket(Some(request.sequence));
        log.requests.push_back(request);
        ticket
    }

    /// Notes what was read of the body.
    pub(super) fn body(&self, ticket: Ticket, digest: BodyDigest, complete: bool) {
        self.update(ticket, |request| {
            request.body_length = digest.length;
            if complete {
                request.body_sha256 = Some(hex(&digest.sha256.finalize()));
                request.body_text = digest.text.and_then(|text| String::from_utf8(text).ok());
            }
        });
    }

    /// Notes a message of a call by gRPC.
    pub(super) fn rpc_message(&self, ticket: Ticket, message: &[u8], compressed: bool) {
        self.update(ticket, |request| {
            let rpc = request.rpc.get_or_insert_default();
            rpc.compressed += usize::from(compressed);
            rpc.messages
                .push(message[..message.len().min(TEXT_LIMIT)].to_vec());
        });
    }

    /// Notes the end of a call by gRPC: its code, or that the client gave it up.
    pub(super) fn rpc_ended(&self, ticket: Ticket, code: Option<u32>) {
        self.update(ticket, |request| {
            let rpc = request.rpc.get_or_insert_default();
            rpc.code = code;
            rpc.cancelled = code.is_none();
        });
    }

    /// Notes how it was answered.
    pub(super) fn answered(&self, ticket: Ticket, status: u16) {
        self.update(ticket, |request| request.status = Some(status));
    }

    pub(super) fn all(&self) -> Vec<RecordedRequest> {
        self.lock().requests.iter().cloned().collect()
    }

    pub(super) fn clear(&self) {
        self.lock().requests.clear();
    }

    fn update(&self, ticket: Ticket, change: impl FnOnce(&mut RecordedRequest)) {
        let Ticket(Some(sequence)) = ticket else { return };
        let mut log = self.lock();
        if let Some(request) = log
            .requests
            .iter_mut()
            .rev()
            .find(|request| request.sequence == sequence)
        {
            change(request);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Length and hash of a body as it streams by, and its text while that is short.
#[derive(Debug)]
pub(super) struct BodyDigest {
    length: u64,
    sha256: Sha256,
    text: Option<Vec<u8>>,
}

impl BodyDigest {
    pub(super) fn new() -> Self {
        Self {
            length: 0,
            sha256: Sha256::new(),
            text: Some(Vec::new()),
        }
    }

    pub(super) fn update(&mut self, chunk: &[u8]) {
        self.length += chunk.len() as u64;
        self.sha256.update(chunk);
        match &mut self.text {
            Some(text) if text.len() + chunk.len() <= TEXT_LIMIT => text.extend_from_slice(chunk),
            _ => self.text = None,
        }
    }
}

/// Lower-case hex.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            // Writing to a String cannot fail.
            write!(text, "{byte:02x}").ok();
            text
        })
}
