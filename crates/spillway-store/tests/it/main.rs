//! The chunk stores: one suite for both, and a model for the one on disk.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod conformance;
mod model;
