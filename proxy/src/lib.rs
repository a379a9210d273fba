//! The library behind the `turnpike-proxy` binary; private to it.
//!
//! [`listener`] accepts, [`tls`] intercepts, [`journey`] takes each call from arrival to answer by way of
//! [`normalise`], [`identity`], [`hold`] with its [`gate`], [`record`] on its [`spool`], [`credential`],
//! [`egress`] and [`answer`]. [`publish`] empties the spool.

pub mod admin;
mod answer;
pub mod batch;
mod body;
pub mod budget;
mod charge;
pub mod cluster;
pub mod coding;
pub mod config;
pub mod credential;
pub mod egress;
mod fault;
mod files;
pub mod gate;
pub mod grpc;
mod held_body;
pub mod history;
mod hold;
pub mod identity;
mod inflight;
pub mod journey;
mod judge;
pub mod kept;
pub mod keys;
pub mod limits;
pub mod listener;
pub mod metrics;
pub mod multipart;
mod normalise;
mod outcome;
pub mod policies;
pub mod publish;
pub mod record;
pub mod recording;
mod refusal;
pub mod scan;
mod search;
pub mod server;
pub mod session;
mod shape;
mod sight;
pub mod spool;
pub mod standalone;
pub mod tls;
