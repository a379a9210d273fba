//! The library behind the `turnpike-proxy` binary; private to it.

pub mod publish;
pub mod spool;
