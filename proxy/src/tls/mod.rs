//! Interception: certificates for the hosts that agents call.
//!
//! [`ca`] makes and loads the two-level authority; [`leaf`] mints a certificate per host and keeps the
//! server configurations. Nothing here decides whether a host may be intercepted.

pub mod ca;
pub mod leaf;

pub use ca::{Authority, CaError};
pub use leaf::Interceptor;
