//! The reasons for which a target is refused.

/// Why a target is refused. Each variant is one reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Malformed {
    /// The verb is not upper-case letters.
    #[error("the verb must be upper-case letters, such as GET")]
    Verb,
    /// The URL is not `https://`.
    #[error("the URL must start with https://")]
    Scheme,
    /// There is no host.
    #[error("the request names no host")]
    HostMissing,
    /// `user@host`.
    #[error("the authority carries user information; put only the host there")]
    UserInfo,
    /// A port other than 443.
    #[error("the port must be 443")]
    Port,
    /// `host.`
    #[error("the host ends in a dot; write it without")]
    HostTrailingDot,
    /// A character that no host has, or an empty label.
    #[error("the host is not a DNS name or an IP literal")]
    Host,
    /// The path does not start with `/`.
    #[error("the path must start with a slash")]
    PathNotAbsolute,
    /// `//`, or a slash at the end.
    #[error("the path has an empty segment; write each slash once and none at the end")]
    EmptySegment,
    /// `.` or `..`, also percent-encoded.
    #[error("the path has a `.` or `..` segment; write the path it leads to")]
    DotSegment,
    /// `%25` before two hexadecimal digits that would decode again.
    #[error("the path is percent-encoded twice; encode it once")]
    DoubleEncoding,
    /// `;` in the path, or in the query outside `alt`.
    #[error("a semicolon must be written as %3B")]
    Semicolon,
    /// `\`.
    #[error("a backslash must be written as %5C")]
    Backslash,
    /// A control character, also percent-encoded; in the query only NUL where encoded.
    #[error("the target has a control character")]
    ControlCharacter,
    /// A space.
    #[error("a space must be written as %20")]
    Space,
    /// A byte over 127.
    #[error("characters outside ASCII must be percent-encoded")]
    NonAscii,
    /// A character that RFC 3986 does not allow there.
    #[error("a character that is not allowed in a URL must be percent-encoded")]
    IllegalCharacter,
    /// `%` without two hexadecimal digits.
    #[error("a percent sign must be followed by two hexadecimal digits; write a literal one as %25")]
    BadEscape,
    /// Escapes that decode to no UTF-8.
    #[error("percent-encoded text must be UTF-8")]
    NotUtf8,
    /// `#`.
    #[error("a request has no fragment; write a number sign as %23")]
    Fragment,
    /// More than [`MAX_SEGMENTS`](super::MAX_SEGMENTS).
    #[error("the path has too many segments")]
    TooManySegments,
    /// More than [`MAX_LENGTH`](super::MAX_LENGTH).
    #[error("the target is too long")]
    TooLong,
    /// `$httpMethod`: the verb that Google would execute is not the one on the request line.
    #[error("the query overrides the verb; send the request with its real verb")]
    MethodOverride,
    /// `alt` other than `json` and `media`.
    #[error("only alt=json and alt=media are understood, so that answers can be masked")]
    Alt,
    /// `$x` that is no system parameter we know.
    #[error("the query has a system parameter that is not known")]
    SystemParameter,
    /// A parameter that matters is given twice, with different values.
    #[error("a query parameter is given twice with different values; give it once")]
    RepeatedParameter,
}

impl Malformed {
    /// The reason as a stable code.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Verb => "VERB_MALFORMED",
            Self::Scheme => "SCHEME_NOT_HTTPS",
            Self::HostMissing => "HOST_MISSING",
            Self::UserInfo => "HOST_USERINFO",
            Self::Port => "PORT_NOT_443",
            Self::HostTrailingDot => "HOST_TRAILING_DOT",
            Self::Host => "HOST_MALFORMED",
            Self::PathNotAbsolute => "PATH_NOT_ABSOLUTE",
            Self::EmptySegment => "PATH_EMPTY_SEGMENT",
            Self::DotSegment => "PATH_DOT_SEGMENT",
            Self::DoubleEncoding => "PATH_DOUBLE_ENCODING",
            Self::Semicolon => "SEMICOLON",
            Self::Backslash => "BACKSLASH",
            Self::ControlCharacter => "CONTROL_CHARACTER",
            Self::Space => "SPACE",
            Self::NonAscii => "NON_ASCII",
            Self::IllegalCharacter => "ILLEGAL_CHARACTER",
            Self::BadEscape => "BAD_ESCAPE",
            Self::NotUtf8 => "NOT_UTF8",
            Self::Fragment => "FRAGMENT",
            Self::TooManySegments => "PATH_TOO_MANY_SEGMENTS",
            Self::TooLong => "TARGET_TOO_LONG",
            Self::MethodOverride => "QUERY_METHOD_OVERRIDE",
            Self::Alt => "QUERY_ALT_NOT_ALLOWED",
            Self::SystemParameter => "QUERY_SYSTEM_PARAMETER_UNKNOWN",
            Self::RepeatedParameter => "QUERY_PARAMETER_REPEATED",
        }
    }
}
