//! How a call by gRPC ends.

use http::{HeaderMap, HeaderValue};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

/// What may not stand in `grpc-message` as it is.
const MESSAGE: &AsciiSet = &CONTROLS.add(b'%');

/// The codes of `google.rpc.Code` that the stand-in ends calls with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Code {
    Ok = 0,
    Cancelled = 1,
    InvalidArgument = 3,
    DeadlineExceeded = 4,
    NotFound = 5,
    AlreadyExists = 6,
    PermissionDenied = 7,
    ResourceExhausted = 8,
    Unimplemented = 12,
    Internal = 13,
    Unavailable = 14,
    Unauthenticated = 16,
}

impl Code {
    /// The code of an HTTP status, which faults are given by.
    pub(super) fn of_http(status: u16) -> Self {
        match status {
            400 => Self::InvalidArgument,
            401 => Self::Unauthenticated,
            403 => Self::PermissionDenied,
            404 => Self::NotFound,
            409 => Self::AlreadyExists,
            429 => Self::ResourceExhausted,
            501 => Self::Unimplemented,
            503 => Self::Unavailable,
            504 => Self::DeadlineExceeded,
            _ => Self::Internal,
        }
    }
}

/// A code and what it is about.
#[derive(Clone, Debug)]
pub(super) struct Status {
    code: Code,
    message: String,
}

impl Status {
    pub(super) fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
        }
    }

    pub(super) fn ok() -> Self {
        Self::new(Code::Ok, "")
    }

    /// The client gave the call up; nobody is told.
    pub(super) fn cancelled() -> Self {
        Self::new(Code::Cancelled, "")
    }

    pub(super) fn is_cancelled(&self) -> bool {
        self.code == Code::Cancelled
    }

    /// A request that cannot be read.
    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self::new(Code::InvalidArgument, message)
    }

    pub(super) fn not_found(what: &str) -> Self {
        Self::new(Code::NotFound, format!("{what} not found."))
    }

    /// `google.rpc.Code` as a number.
    pub(super) fn number(&self) -> u32 {
        self.code as u32
    }

    /// `grpc-status`, and `grpc-message` where there is one.
    pub(super) fn trailers(&self) -> HeaderMap {
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", HeaderValue::from(self.number()));
        let message = utf8_percent_encode(&self.message, MESSAGE).to_string();
        match HeaderValue::from_str(&message) {
            Ok(message) if !self.message.is_empty() => {
                trailers.insert("grpc-message", message);
            }
            // Encoded text is always a header's value.
            _ => {}
        }
        trailers
    }
}
