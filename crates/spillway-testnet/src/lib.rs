//! A whole network on one machine: Anvil, deployed contracts and N nodes in one process, each with
//! its own directory, sockets, key and reward address.
//!
//! Owns [`Testnet`], which starts and ends all of it, the [`Manifest`] that tells clients how to
//! reach it, and [`TestClock`], which follows the chain when a test sets it forward. Behind
//! `spillway devnet`, the end-to-end tests and the benchmarks.
//!
//! Tasks: those of the nodes, and one that tends the beacon, so that batches are drawn; Anvil is a
//! child process. [`Testnet::shutdown`] ends all.
//!
//! Invariants: everything that is written is in one fresh directory below the one that was named,
//! and goes with the network. What a crash leaves: that directory, named `testnet-…`, and perhaps
//! Anvil.
//!
//! Deliberately absent: anything that stands in for the real thing. Sockets, chain and files are
//! real; only the keys that nodes are paid to are made up.

mod error;
mod hostile_node;
mod keys;
mod manifest;
mod options;
mod seed_keeper;
mod test_client;
mod test_clock;
mod test_node;
mod testnet;

pub use error::TestnetError;
pub use manifest::Manifest;
pub use options::{ChangeNode, TestnetOptions, WrapServe};
pub use test_client::TestClient;
pub use test_clock::TestClock;
pub use test_node::TestNode;
pub use testnet::Testnet;

// What a caller needs to fill the options or to let disks fail, so that this crate is the only one
// to name.
pub use spillway_disk::{Fault, FaultPlan, Faults};
pub use spillway_net::Transports;
pub use spillway_node::NodeOptions;
pub use spillway_pay::{Anvil, AnvilError, FindOptions, Windows};
