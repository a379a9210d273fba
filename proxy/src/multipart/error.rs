//! Why a multipart body is refused.

use super::fields::FieldError;
use crate::coding::CodingError;

/// The way in which two readers could differ about a multipart body, or the cap that it is over.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MultipartError {
    /// There is not one readable `Content-Type`, or it is another kind of multipart than this call takes.
    #[error("the body needs exactly one Content-Type, of the kind of multipart that this call takes")]
    ContentType,
    /// The parameters of the `Content-Type` have more than one reading.
    #[error("the parameters of the multipart Content-Type cannot be read in one way only")]
    Parameters,
    /// There is no boundary.
    #[error("the multipart Content-Type has no boundary")]
    NoBoundary,
    /// The boundary has characters, a length or quotes that readers treat differently.
    #[error("the boundary of the multipart body is not one that every reader takes for the same")]
    Boundary,
    /// The body does not begin with its first delimiter.
    #[error("the multipart body does not begin with its delimiter")]
    Preamble,
    /// The body holds delimiters of both readings of a quoted boundary.
    #[error("the multipart body holds its boundary both with and without quotes")]
    TwoBoundaries,
    /// The delimiter stands where it is none: inside a line, in headers, after another line end, or with more
    /// behind it in its line.
    #[error("the multipart body holds its delimiter where it does not delimit")]
    StrayDelimiter,
    /// Not a single part.
    #[error("the multipart body has no parts")]
    NoParts,
    /// Over the cap.
    #[error("the multipart body has more than {0} parts")]
    TooManyParts(usize),
    /// Over the cap.
    #[error("the headers of a part take more than {0} bytes")]
    HeadTooLarge(usize),
    /// A part's headers have more than one reading.
    #[error("the headers of a part are malformed: {0}")]
    Fields(#[from] FieldError),
    /// A header that may stand once stands twice.
    #[error("a part has the header {0} twice")]
    RepeatedField(&'static str),
    /// A part is coded in a way that would have to be undone first.
    #[error("a part has a transfer or content encoding; only binary, 8bit and 7bit are taken")]
    Encoded,
    /// A part is a multipart body itself.
    #[error("a part is a multipart body itself")]
    Nested,
    /// A part's own `Content-Length` is not the length of its content.
    #[error("a part's Content-Length is not the length of what it holds")]
    PartLength,
    /// The final delimiter is missing.
    #[error("the multipart body ends before its final delimiter")]
    Unfinished,
    /// Something stands behind the final delimiter.
    #[error("the multipart body goes on after its final delimiter")]
    Epilogue,
    /// An upload has not exactly its metadata and its media.
    #[error("a multipart upload has two parts: its metadata, and its media")]
    NotTwoParts,
    /// The first part of an upload is not JSON.
    #[error("the metadata of the upload is not a JSON object")]
    MetadataNotJson,
    /// A name stands twice in an object of the metadata.
    #[error("the metadata of the upload names {0:?} twice in one object")]
    MetadataRepeats(String),
    /// Over the cap.
    #[error("the metadata of the upload takes more than {0} bytes")]
    MetadataTooLarge(usize),
    /// The body is coded, and cannot be decoded.
    #[error(transparent)]
    Coding(#[from] CodingError),
    /// The body did not arrive whole.
    #[error("the request's body broke off: {0}")]
    BrokeOff(String),
}

impl MultipartError {
    /// The reason code for answers, records and metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::ContentType => "MULTIPART_CONTENT_TYPE",
            Self::Parameters => "MULTIPART_PARAMETERS",
            Self::NoBoundary => "MULTIPART_NO_BOUNDARY",
            Self::Boundary => "MULTIPART_BOUNDARY",
            Self::Preamble => "MULTIPART_PREAMBLE",
            Self::TwoBoundaries => "MULTIPART_TWO_BOUNDARIES",
            Self::StrayDelimiter => "MULTIPART_STRAY_DELIMITER",
            Self::NoParts => "MULTIPART_NO_PARTS",
            Self::TooManyParts(_) => "MULTIPART_TOO_MANY_PARTS",
            Self::HeadTooLarge(_) => "MULTIPART_HEAD_TOO_LARGE",
            Self::Fields(_) => "MULTIPART_HEADERS",
            Self::RepeatedField(_) => "MULTIPART_REPEATED_HEADER",
            Self::Encoded => "MULTIPART_ENCODED_PART",
            Self::Nested => "MULTIPART_NESTED",
            Self::PartLength => "MULTIPART_PART_LENGTH",
            Self::Unfinished => "MULTIPART_UNFINISHED",
            Self::Epilogue => "MULTIPART_EPILOGUE",
            Self::NotTwoParts => "UPLOAD_NOT_TWO_PARTS",
            Self::MetadataNotJson => "UPLOAD_METADATA_NOT_JSON",
            Self::MetadataRepeats(_) => "UPLOAD_METADATA_REPEATS",
            Self::MetadataTooLarge(_) => "UPLOAD_METADATA_TOO_LARGE",
            Self::Coding(error) => error.reason(),
            Self::BrokeOff(_) => "BODY_BROKE_OFF",
        }
    }
}
