//! Turnpike's operator: turns `AgentPolicy` resources into the bundles that proxies run, and settles
//! `ApprovalRequest`s.
//!
//! Watches fill caches and put keys into two work queues (`watch`); the elected leader's workers (`worker`)
//! take them out and bring the cluster in line: [`policies`] for one namespace at a time, [`approvals`] for
//! one request at a time. Replicas that do not lead keep their caches warm and write nothing.
//!
//! This library exists for the binary and for its tests; no other crate uses it.

mod admin;
pub mod approvals;
mod config;
mod events;
mod guard;
pub mod leader;
mod metrics;
pub mod policies;
mod queue;
mod replicas;
mod run;
pub mod telemetry;
mod watch;
mod worker;

pub use config::{Args, Config, InvalidConfig, LeaseTimings};
pub use run::{RunError, run};

/// Name under which the operator owns fields, elects leaders and reports events.
pub const FIELD_MANAGER: &str = "turnpike-operator";
