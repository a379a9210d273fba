//! The pure core of Turnpike: what a request is, and what may happen to it.
//!
//! A request target becomes a [`canonical`] form, the [`catalog`] says which [`call`] it is, [`mod@decide`]
//! says what happens to it under a policy [`set`], and a [`mask`] plan says what the agent may not see of
//! the answer. Nothing here does I/O, reads a clock or knows tokio, hyper or Kubernetes: the same function
//! decides on the data path, in the offline check and in a replay.

pub mod call;
pub mod caller;
pub mod canonical;
pub mod catalog;
pub mod condition;
pub mod decide;
pub mod definition;
pub mod detect;
pub mod digest;
pub mod explain;
pub mod glob;
pub mod groups;
pub mod grpc;
pub mod json;
pub mod mask;
pub mod request;
pub mod risk;
mod scores;
pub mod secrets;
pub mod set;
pub mod similar;
pub mod storage_body;
pub mod terms;
pub mod whatif;

pub use decide::{Decision, Facts, Permit, Verdict, decide, resume};
pub use definition::PolicyDef;
pub use set::PolicySet;
