//! What can be wrong with a condition: when it is written, and when it is evaluated.

use std::{fmt, sync::Arc};

/// Why a text is no condition, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {message}")]
pub struct ConditionError {
    /// Line within the expression, from 1.
    pub line: u32,
    /// Column within the line, in characters, from 1.
    pub column: u32,
    /// What is wrong, and what to write instead.
    pub message: String,
}

/// Why a condition has no answer for a call. Every one of them tightens: it counts as a match of a rule that
/// denies or holds, and as no match of a rule that allows.
///
/// The text goes into records, so it names what the *policy* says, such as `request.body.name`, and never a
/// value of the request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EvalError {
    /// The call or the request does not have it, and no `has()` asked first.
    #[error("{0} is absent")]
    Absent(Part),
    /// The call tells only a part of the name: it acts on something below it, or on any (`-`).
    #[error("{0} is not known before the call is made")]
    Open(&'static str),
    /// The request is in a form that has it elsewhere, or for each of several calls: gRPC, the XML API, a batch.
    #[error("{0} is not known of a call in this form")]
    OtherForm(&'static str),
    /// Nobody read the body.
    #[error("the body of the request was not read")]
    BodyUnread,
    /// The body is not JSON, or too large.
    #[error("the body of the request cannot be read as JSON")]
    BodyUnreadable,
    /// Nobody scored the call.
    #[error("the risk of the call is not known")]
    RiskUnknown,
    /// A header or a parameter comes more than once, so it has no one value.
    #[error("{0} is given more than once")]
    Repeated(Part),
    /// The body or the query has it under the other spelling that Google reads as the same field
    /// (`fooBar` and `foo_bar`).
    #[error("{0} is given in another spelling")]
    OtherSpelling(Part),
    /// A value of the body is not of the type that the operation needs.
    #[error("{0} does not take a value of this type")]
    Type(&'static str),
    /// A number, a time or a duration left its range.
    #[error("{0} overflows")]
    Overflow(&'static str),
    /// Division by zero.
    #[error("division by zero")]
    DivisionByZero,
    /// An index past the end of a list, or below zero.
    #[error("{0} has no element at this index")]
    OutOfRange(Part),
    /// A conversion of a value that does not stand for one of the type.
    #[error("{0} cannot convert this value")]
    Conversion(&'static str),
    /// A list, a map or a text is larger than conditions look at.
    #[error("{0} is too large to look at")]
    TooLarge(&'static str),
    /// The evaluation took more steps than a condition may.
    #[error("the condition takes too many steps on this request")]
    TooCostly,
}

/// What a condition looks at, as it is written: `request.body.name`. To tell of it takes no memory.
#[derive(Clone)]
pub enum Part {
    /// The name of a field that all conditions may look at.
    Known(&'static str),
    /// What a condition has written.
    Written(Arc<str>),
}

impl Part {
    /// The words.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Known(text) => text,
            Self::Written(text) => text,
        }
    }
}

impl From<&'static str> for Part {
    fn from(text: &'static str) -> Self {
        Self::Known(text)
    }
}

impl From<&Arc<str>> for Part {
    fn from(text: &Arc<str>) -> Self {
        Self::Written(Arc::clone(text))
    }
}

impl PartialEq for Part {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for Part {}

impl fmt::Debug for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl EvalError {
    /// A short name of the kind, for metrics.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Absent(_) => "absent",
            Self::Open(_) => "open-name",
            Self::OtherForm(_) => "other-form",
            Self::BodyUnread => "body-unread",
            Self::BodyUnreadable => "body-unreadable",
            Self::RiskUnknown => "risk-unknown",
            Self::Repeated(_) => "repeated",
            Self::OtherSpelling(_) => "other-spelling",
            Self::Type(_) => "type",
            Self::Overflow(_) => "overflow",
            Self::DivisionByZero => "division-by-zero",
            Self::OutOfRange(_) => "out-of-range",
            Self::Conversion(_) => "conversion",
            Self::TooLarge(_) => "too-large",
            Self::TooCostly => "too-costly",
        }
    }
}
