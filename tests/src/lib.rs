//! The test bench of Turnpike: what its tests, demo and benchmarks run against.
//!
//! Real programs where they are to be had (kube-apiserver, etcd, kubectl, gcloud, the Pub/Sub
//! emulator, fake-gcs-server), and a stand-in for the rest of Google. Every one of them is a
//! value that stops what it started when it is dropped.

pub mod abuse;
pub mod bypass;
pub mod clients;
pub mod control_plane;
pub mod gcloud;
pub mod gcs;
pub mod lenient;
pub mod process;
pub mod pubsub;
pub mod raw;
pub mod standin;
pub mod tools;
pub mod turnpike;
