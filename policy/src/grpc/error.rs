//! The reasons for which a gRPC call is refused.

use super::wire;
use crate::{canonical, catalog::Unlisted};

/// Why a request is no gRPC call that can be decided.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Ungrpc {
    /// The path is not `/package.Service/Method`.
    #[error("{path} is no gRPC method; the path must be /package.Service/Method")]
    Path {
        /// The path asked for.
        path: String,
    },
    /// No Google API is known to be served there.
    #[error(
        "{host} is no Google API host that Turnpike knows; use the service's own host, such as secretmanager.googleapis.com"
    )]
    UnknownHost {
        /// The host asked for.
        host: String,
    },
    /// The service is not known: reflection, health checks, or an API that Google does not publish.
    #[error("{service} is no gRPC service that Turnpike knows; use a published Google API")]
    UnknownService {
        /// The service asked for.
        service: String,
    },
    /// The service is known, the method is not.
    #[error("{service} is not known to have a method {method}; check its name and version")]
    UnknownMethod {
        /// The service asked for.
        service: String,
        /// The method asked for.
        method: String,
    },
    /// The service is another host's.
    #[error("{host} does not serve {service}; send the call to {owner}")]
    ServiceNotOfHost {
        /// The host asked for.
        host: String,
        /// The service asked for.
        service: String,
        /// A host that serves it.
        owner: String,
    },
    /// The first message cannot be read in one way only.
    #[error("{0}; encode each field once, as the API's proto says")]
    Message(#[from] wire::Malformed),
    /// The message names nothing, and the method acts on something.
    #[error("the message does not say what {method} acts on; set the field that names the resource")]
    NameMissing {
        /// The method's full name.
        method: String,
    },
    /// A name has a form that the method does not know.
    #[error(
        "field {field} of the message has a form that {method} is not known to take; write the resource's full name"
    )]
    NameUnknown {
        /// The method's full name.
        method: String,
        /// Field numbers, from the outermost message inwards.
        field: String,
    },
    /// A name holds what no name may hold.
    #[error("a name in the message cannot be used: {0}")]
    Name(canonical::Malformed),
    /// The name is well-formed, but the catalogue has no method for it.
    #[error(transparent)]
    Unlisted(#[from] Unlisted),
    /// The table of this build is broken; nothing that needs it is let through.
    #[error("the table of gRPC methods is damaged at {method}")]
    Damaged {
        /// The method's full name.
        method: String,
    },
}

impl Ungrpc {
    /// The reason as a stable code.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Path { .. } => "GRPC_PATH_MALFORMED",
            Self::UnknownHost { .. } => "HOST_NOT_IN_CATALOG",
            Self::UnknownService { .. } => "GRPC_SERVICE_NOT_IN_CATALOG",
            Self::UnknownMethod { .. } => "GRPC_METHOD_NOT_IN_CATALOG",
            Self::ServiceNotOfHost { .. } => "GRPC_SERVICE_NOT_OF_HOST",
            Self::Message(wire::Malformed::Repeated) => "GRPC_FIELD_REPEATED",
            Self::Message(_) => "GRPC_MESSAGE_MALFORMED",
            Self::NameMissing { .. } => "GRPC_NAME_MISSING",
            Self::NameUnknown { .. } => "GRPC_NAME_NOT_IN_CATALOG",
            Self::Name(_) => "UNSAFE_RESOURCE_NAME",
            Self::Unlisted(why) => why.reason(),
            Self::Damaged { .. } => "GRPC_CATALOG_DAMAGED",
        }
    }
}
