//! Why a batch, or the answer to one, is refused.

use turnpike_policy::canonical::Malformed;

use crate::multipart::{FieldError, MultipartError};

/// Why a batch is refused. Calls are counted from one in what people read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// The path is neither of the two that batches have.
    #[error("a batch is sent to /batch or /batch/NAME/VERSION")]
    Path,
    /// Another verb than POST.
    #[error("a batch is sent with POST")]
    Verb,
    /// Parameters would count for all calls, or for none.
    #[error("a batch takes no query parameters: give them to its calls")]
    Query,
    /// Over the cap.
    #[error("a batch has at most {0} bytes")]
    TooLarge(usize),
    /// Over the cap.
    #[error("a batch has at most {0} calls")]
    TooManyCalls(usize),
    /// The multipart body.
    #[error(transparent)]
    Multipart(#[from] MultipartError),
    /// One of its parts.
    #[error("call {} of the batch: {malady}", .index + 1)]
    Part {
        /// Which, from zero.
        index: usize,
        /// What is wrong with it.
        malady: Malady,
    },
    /// The answer to a call is missing.
    #[error("the answer to call {} of the batch is missing", .0 + 1)]
    AnswerMissing(usize),
    /// There is more than one answer to a call.
    #[error("there are two answers to call {} of the batch", .0 + 1)]
    AnswerRepeated(usize),
    /// An answer is not to one of the calls.
    #[error("the batch has an answer to a call that it does not have")]
    AnswerUnknown,
    /// It cannot be written.
    #[error("the batch cannot be written again")]
    Unwritable,
}

impl BatchError {
    /// The reason code for answers, records and metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Path => "BATCH_PATH",
            Self::Verb => "BATCH_VERB",
            Self::Query => "BATCH_QUERY",
            Self::TooLarge(_) => "BATCH_TOO_LARGE",
            Self::TooManyCalls(_) => "BATCH_TOO_MANY_CALLS",
            Self::Multipart(error) => error.reason(),
            Self::Part { malady, .. } => malady.reason(),
            Self::AnswerMissing(_) => "BATCH_ANSWER_MISSING",
            Self::AnswerRepeated(_) => "BATCH_ANSWER_REPEATED",
            Self::AnswerUnknown => "BATCH_ANSWER_UNKNOWN",
            Self::Unwritable => "BATCH_UNWRITABLE",
        }
    }
}

/// What is wrong with one part of a batch.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Malady {
    /// Its type.
    #[error("it is not application/http")]
    NotHttp,
    /// Its id stands twice.
    #[error("another call has the same Content-ID")]
    RepeatedId,
    /// Its first line.
    #[error("its first line is not that of a message of HTTP/1.1")]
    FirstLine,
    /// Its headers.
    #[error("its headers are malformed: {0}")]
    Fields(#[from] FieldError),
    /// A header that may stand once stands twice.
    #[error("it has the header {0} twice")]
    RepeatedField(&'static str),
    /// It is chunked or coded.
    #[error("it has a transfer or content coding")]
    Coded,
    /// Its length.
    #[error("its Content-Length is not the length of its body")]
    Length,
    /// The request's verb.
    #[error("a batch has no calls with this verb")]
    Verb,
    /// The request's target.
    #[error("{0}")]
    Target(Malformed),
    /// The request's target is neither a path nor a URL.
    #[error("its target is neither a path nor an https URL")]
    TargetForm,
    /// Its target, or its Host header, is another host's.
    #[error("it is for another host than the batch")]
    AnotherHost,
    /// A batch in a batch.
    #[error("it is a batch itself")]
    Batch,
    /// Content in a batch.
    #[error("it uploads or downloads content, which no batch does")]
    Media,
    /// A body where none has a meaning.
    #[error("it is a GET with a body")]
    UnexpectedBody,
}

impl Malady {
    /// The reason code for answers, records and metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NotHttp => "BATCH_PART_NOT_HTTP",
            Self::RepeatedId => "BATCH_PART_REPEATED_ID",
            Self::FirstLine => "BATCH_PART_FIRST_LINE",
            Self::Fields(_) => "BATCH_PART_HEADERS",
            Self::RepeatedField(_) => "BATCH_PART_REPEATED_HEADER",
            Self::Coded => "BATCH_PART_CODED",
            Self::Length => "BATCH_PART_LENGTH",
            Self::Verb => "BATCH_PART_VERB",
            Self::Target(malformed) => malformed.reason(),
            Self::TargetForm => "BATCH_PART_TARGET",
            Self::AnotherHost => "BATCH_PART_ANOTHER_HOST",
            Self::Batch => "BATCH_PART_IS_BATCH",
            Self::Media => "BATCH_PART_MEDIA",
            Self::UnexpectedBody => "BATCH_PART_UNEXPECTED_BODY",
        }
    }

    /// The error about a part.
    pub(super) fn of(self, index: usize) -> BatchError {
        BatchError::Part { index, malady: self }
    }
}
