//! Refusals for gRPC: a status in the place of an answer, with the same details that REST clients get.

use base64::{Engine, prelude::BASE64_STANDARD_NO_PAD};
use http::{HeaderMap, HeaderValue, Response, header};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use prost::Message;
use uuid::Uuid;

use crate::{body::AnswerBody, refusal::Refusal};

/// What `grpc-message` may hold as it is: printable ASCII but the percent sign.
const ESCAPED: &AsciiSet = &CONTROLS.add(b'%');
/// Longest message; clients limit what headers may hold.
const MESSAGE_BYTES: usize = 1500;

/// google.rpc.Status.
#[derive(Clone, PartialEq, Message)]
struct Status {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<Any>,
}

/// google.protobuf.Any.
#[derive(Clone, PartialEq, Message)]
struct Any {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

/// google.rpc.ErrorInfo.
#[derive(Clone, PartialEq, Message)]
struct ErrorInfo {
    #[prost(string, tag = "1")]
    reason: String,
    #[prost(string, tag = "2")]
    domain: String,
    #[prost(btree_map = "string, string", tag = "3")]
    metadata: std::collections::BTreeMap<String, String>,
}

/// google.rpc.RetryInfo.
#[derive(Clone, PartialEq, Message)]
struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    retry_delay: Option<Delay>,
}

/// google.protobuf.Duration.
#[derive(Clone, PartialEq, Message)]
struct Delay {
    #[prost(int64, tag = "1")]
    seconds: i64,
}

/// The number of a canonical code (google.rpc.Code).
fn code(status: &str) -> i32 {
    match status {
        "INVALID_ARGUMENT" => 3,
        "DEADLINE_EXCEEDED" => 4,
        "PERMISSION_DENIED" => 7,
        "RESOURCE_EXHAUSTED" => 8,
        "INTERNAL" => 13,
        "UNAVAILABLE" => 14,
        "UNAUTHENTICATED" => 16,
        _ => 2,
    }
}

/// The fields that tell of a refusal, in an answer's head or behind its last message.
pub(crate) fn fields(refusal: &Refusal, call: Uuid) -> HeaderMap {
    let mut message = refusal.message.as_str();
    if message.len() > MESSAGE_BYTES {
        let end = (0..=MESSAGE_BYTES).rev().find(|at| message.is_char_boundary(*at));
        message = &message[..end.unwrap_or(0)];
    }
    let mut metadata: std::collections::BTreeMap<String, String> = refusal
        .metadata
        .iter()
        .map(|(k, v)| ((*k).to_owned(), v.clone()))
        .collect();
    metadata.insert("call".to_owned(), call.to_string());
    let info = ErrorInfo {
        reason: refusal.reason.to_owned(),
        domain: "turnpike.dev".to_owned(),
        metadata,
    };
    let mut details = vec![Any {
        type_url: "type.googleapis.com/google.rpc.ErrorInfo".to_owned(),
        value: info.encode_to_vec(),
    }];
    if let Some(seconds) = refusal.retry_after {
        let retry = RetryInfo {
            retry_delay: Some(Delay {
                seconds: i64::from(seconds),
            }),
        };
        details.push(Any {
            type_url: "type.googleapis.com/google.rpc.RetryInfo".to_owned(),
            value: retry.encode_to_vec(),
        });
    }
    let code = code(refusal.status);
    let status = Status {
        code,
        message: message.to_owned(),
        details,
    };
    let mut fields = HeaderMap::new();
    fields.insert("grpc-status", HeaderValue::from(code));
    let texts = [
        ("grpc-message", utf8_percent_encode(message, ESCAPED).to_string()),
        (
            "grpc-status-details-bin",
            BASE64_STANDARD_NO_PAD.encode(status.encode_to_vec()),
        ),
    ];
    for (name, text) in texts {
        // Both are ASCII now.
        if let Ok(value) = HeaderValue::try_from(text) {
            fields.insert(name, value);
        }
    }
    fields
}

/// A refusal as an answer that has no message.
pub(crate) fn response(refusal: &Refusal, call: Uuid) -> Response<AnswerBody> {
    let mut response = Response::new(AnswerBody::Whole(None));
    let headers = response.headers_mut();
    headers.extend(fields(refusal, call));
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    if let Some(seconds) = refusal.retry_after {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_a_status_with_its_reason() {
        let refusal = Refusal::denied("RULE_DENIED", "100 % no: ask \u{2026}").with("rule", "keep");
        let call = Uuid::nil();
        let response = response(&refusal, call);
        let text = |name: &str| response.headers()[name].to_str().expect("text").to_owned();
        assert_eq!(response.status(), http::StatusCode::OK);
        assert_eq!(text("content-type"), "application/grpc");
        assert_eq!(text("grpc-status"), "7");
        assert_eq!(text("grpc-message"), "100 %25 no: ask %E2%80%A6");
        let details = BASE64_STANDARD_NO_PAD
            .decode(text("grpc-status-details-bin"))
            .expect("base64");
        let status = Status::decode(details.as_slice()).expect("a status");
        assert_eq!(
            (status.code, status.message.as_str()),
            (7, "100 % no: ask \u{2026}")
        );
        let info = ErrorInfo::decode(status.details[0].value.as_slice()).expect("an error info");
        let metadata: Vec<(&str, &str)> = info
            .metadata
            .iter()
            .map(|(k, v)| (k.as_str(), v.as_str()))
            .collect();
        assert_eq!(
            (info.reason.as_str(), info.domain.as_str()),
            ("RULE_DENIED", "turnpike.dev")
        );
        assert_eq!(
            metadata,
            [("call", "00000000-0000-0000-0000-000000000000"), ("rule", "keep")]
        );
    }

    #[test]
    fn long_messages_are_cut_between_characters() {
        let refusal = Refusal::denied("R", "\u{e9}".repeat(2000));
        let fields = fields(&refusal, Uuid::nil());
        assert_eq!(fields["grpc-message"].len(), 3 * MESSAGE_BYTES);
    }
}
