//! A storage node: it prices, checks that it was paid, stores, and signs for what it stored.
//!
//! Owns [`NodeService`], which answers peers; what is kept with a chunk ([`Evidence`]); the price
//! ([`Price`]); the node's key ([`Identity`]); and [`Node`], which puts these onto a real network,
//! disk and chain. A node holds no key that could spend money: it only reads the chain.
//!
//! Tasks: one that asks for the chain's time, owned by [`Node`]. Everything else is driven by the
//! network's tasks.
//!
//! Invariants: a chunk is stored only after every check of its header passed, in their order, the
//! chain asked last and the body read after that; a receipt is signed only when its chunk is
//! durable; a quote binds until it expires, whatever the price is since, and none is given while
//! the chain is not heard; what nobody paid for holds no place of what somebody did; every table is
//! bounded ([`limits`]).
//!
//! A crash leaves the key, the chunks with their evidence, and nothing half-written. Quotes are not
//! kept: each carries the node's own signature back. Space that was set aside for them is not
//! remembered across a restart.
//!
//! Deliberately absent: relaying, replication and repair, settling of batches, and any decision to
//! drop a chunk.

mod admitted;
mod chain_clock;
mod checks;
mod error;
mod evidence;
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
mod records;
mod service;
mod slots;

pub use chain_clock::ChainClock;
pub use error::NodeError;
pub use evidence::{Evidence, EvidenceError};
pub use identity::{Damage, Identity, IdentityError};
pub use node::Node;
pub use options::NodeOptions;
pub use price::Price;
pub use service::{NodeService, ServiceOptions, Terms};
pub use spillway_store::StoreError;
