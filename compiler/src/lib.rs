//! From `AgentPolicy` resources to bundles, with an error for each wrong field.
//!
//! One parser serves the reconciler, the offline check and standalone mode: what one accepts, all can
//! enforce. Everything here is pure: no I/O, no clock, no client.

pub mod approval;
mod bundle;
mod compile;
mod duration;
mod error;
pub mod forgery;
pub mod load;
mod namespaces;
mod scalar;
mod schema;
mod selector;
pub mod unproved;

pub use bundle::{Bundle, BundleError};
pub use compile::{Context, NamespaceLabels, compile};
pub use duration::{DurationError, parse_duration};
pub use error::{FieldError, FieldErrors, Inside};
pub use namespaces::namespaces;
pub use schema::validate;
pub use turnpike_policy::{definition::PolicyDef, similar};
