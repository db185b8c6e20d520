//! The built program, run as a user runs it: help, errors and exit codes, word for word.
//!
//! Nothing here needs a network or a chain; what does is in the workspace's end-to-end tests.

#![expect(clippy::unwrap_used, reason = "a test that fails says where")]

mod bad_input;
mod devnet;
mod help;
mod node;
mod program;
mod wallet;
