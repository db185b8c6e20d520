//! A storage node: it prices, checks that it was paid, stores, and signs for what it stored.
//!
//! Owns [`NodeService`], which answers peers; what is kept with a chunk ([`Evidence`]); further
//! proofs of batches and the draws that they win ([`Batches`]); the price ([`Price`]); the node's key
//! ([`Identity`]); and [`Node`], which puts these onto a real network, disk and chain. A node holds no
//! key that could spend money: it only reads the chain.
//!
//! Tasks: three of [`Follower`], which [`Node`] owns: one asks for the chain's newest block, beacon
//! and price of gas, one walks the store for proofs that wait for their draw, one notes and drops
//! wins. Everything else is driven by the network's tasks.
//!
//! Invariants: a chunk is stored only after every check of its header passed, in their order, the
//! chain asked last and the body read after that; nothing is stored after a payment's upload window;
//! a receipt is signed only when its chunk and the proof of its batch are durable; a quote binds
//! until it expires, whatever the price is since, and none is given while the chain is not heard;
//! what nobody paid for holds no place of what somebody did; every table is bounded ([`limits`]).
//!
//! A crash leaves the key, the chunks with their evidence, further proofs, wins, and nothing
//! half-written. Quotes are not kept: each carries the node's own signature back. Space that was set
//! aside for them is not remembered across a restart; wins are found again from the proofs.
//!
//! Deliberately absent: relaying, replication and repair, settling of batches (any wallet can do it
//! with the wins that a node tells: [`read_wins`]), and any decision to drop a chunk.

mod admitted;
mod batches;
mod chain_clock;
mod checks;
mod error;
mod evidence;
mod follower;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod held;
mod identity;
mod kept;
pub mod limits;
mod lru;
mod neighbourhood;
mod node;
mod options;
mod peer_rates;
mod price;
mod promises;
mod quoting;
mod read_wins;
mod records;
mod service;
mod slots;
mod tip;
mod to_the_end;

pub use batches::{BatchLimits, Batches, BatchesOptions};
pub use chain_clock::ChainClock;
pub use error::NodeError;
pub use evidence::{Evidence, EvidenceError};
pub use follower::Follower;
pub use identity::{Damage, Identity, IdentityError};
pub use node::Node;
pub use options::NodeOptions;
pub use price::Price;
pub use read_wins::read_wins;
pub use service::{NodeService, ServiceOptions, Terms};
pub use spillway_store::StoreError;
