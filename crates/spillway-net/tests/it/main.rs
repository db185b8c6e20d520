//! The network from outside: one suite for the real one and its twin, and hostile peers.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod conformance;
mod fixture;
mod golden;
mod hostile;
mod lifecycle;
mod raw;
mod stage;
