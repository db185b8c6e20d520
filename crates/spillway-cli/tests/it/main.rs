//! The built program, run as a user runs it: help, errors and exit codes, word for word.
//!
//! All but `network` needs neither a network nor a chain.

#![expect(clippy::unwrap_used, reason = "a test that fails says where")]

mod bad_input;
mod batches;
mod devnet;
mod help;
mod network;
mod node;
mod program;
mod sessions;
mod wallet;
