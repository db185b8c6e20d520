//! Peers: how client and node reach each other.
//!
//! Owns the libp2p swarm as one actor, the streaming codec and all network limits; the [`Peers`]
//! seam (outbound) and the [`Serve`] seam (inbound), and an in-memory network that routes one to
//! the other. The only crate that names libp2p.
//!
//! Kademlia finds peers and stores nothing. One request, one response per stream.

mod peers;
mod serve;

pub use peers::{Peers, PeersError};
pub use serve::{AdmittedPut, Serve};
