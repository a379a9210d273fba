//! Why a request to the XML API is refused.

/// Why a request to the XML API is refused. Each text says what to send instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum XmlRefusal {
    /// A signed URL that this gateway did not hand out: a credential of somebody's.
    #[error(
        "the query carries a signature ({parameter}): a signed URL is a credential, and only one that was handed out \
         through Turnpike to this agent is taken; make the call with the token of this agent"
    )]
    SignedUrl {
        /// The parameter.
        parameter: String,
    },
    /// A parameter that the method does not have.
    #[error("the XML API's {verb} here has no parameter {parameter}; leave it out, or use the JSON API")]
    Parameter {
        /// The parameter.
        parameter: String,
        /// The verb.
        verb: String,
    },
    /// A name of a parameter that is escaped: readers differ about whether it is one.
    #[error("write the parameter {parameter} without escapes")]
    EscapedParameter {
        /// The parameter.
        parameter: String,
    },
    /// A parameter that chooses a method, in a form that leaves open which.
    #[error("the query says {parameter} in a way that can be read in two; give it once, {form}")]
    AmbiguousParameter {
        /// The parameter.
        parameter: String,
        /// The form to give it in.
        form: &'static str,
    },
    /// A parameter is missing.
    #[error("the XML API's {verb} needs the parameter {parameter} here")]
    MissingParameter {
        /// The parameter.
        parameter: &'static str,
        /// The verb.
        verb: String,
    },
    /// No method of the XML API has this verb there.
    #[error("the XML API has no {verb} of a {level}; use the JSON API")]
    Verb {
        /// The verb.
        verb: String,
        /// What the path names.
        level: &'static str,
    },
    /// What is acted on stands in an XML body, which is not read.
    #[error(
        "{what} names its objects in the body; use {instead} of the JSON API, which names them one by one"
    )]
    NamesInBody {
        /// What the request is.
        what: &'static str,
        /// The JSON method to use.
        instead: &'static str,
    },
    /// The path would be one of the JSON API on another host.
    #[error(
        "the path reads like one of the JSON API; use storage.googleapis.com for that, or another object name"
    )]
    LooksLikeJson,
    /// A header that makes the request another one, or that nobody knows.
    #[error("the header {name} {why}")]
    Header {
        /// The header.
        name: String,
        /// Why it is refused, and what to do.
        why: &'static str,
    },
    /// The project is named in two ways that differ.
    #[error(
        "x-goog-project-id names {header}, and the service account belongs to {owner}; name the same project"
    )]
    Project {
        /// The project of the header.
        header: String,
        /// The project of the service account.
        owner: String,
    },
    /// The catalogue has no such method: a defect of this build's table.
    #[error("the catalogue does not know {method}, which this request is")]
    Table {
        /// The method.
        method: &'static str,
    },
}

impl XmlRefusal {
    /// The reason as a stable code.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::SignedUrl { .. } => "SIGNED_URL_NOT_OURS",
            Self::Parameter { .. }
            | Self::EscapedParameter { .. }
            | Self::AmbiguousParameter { .. }
            | Self::MissingParameter { .. } => "STORAGE_XML_PARAMETER",
            Self::Verb { .. } | Self::LooksLikeJson | Self::Table { .. } => "STORAGE_XML_API",
            Self::NamesInBody { .. } => "STORAGE_XML_BODY",
            Self::Header { .. } => "STORAGE_XML_HEADER",
            Self::Project { .. } => "PROJECT_CONFLICT",
        }
    }
}
