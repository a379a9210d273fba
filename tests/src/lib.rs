//! The test bench of Turnpike: what its tests, demo and benchmarks run against.

pub mod standin;
