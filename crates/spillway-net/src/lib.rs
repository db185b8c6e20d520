//! Peers: how client and node reach each other.
//!
//! Owns the libp2p swarm as one actor, the streaming codec and all network limits; the [`Peers`]
//! seam (outbound) and the [`Serve`] seam (inbound), and an in-memory network that routes one to
//! the other. The only crate that names libp2p.
//!
//! Kademlia finds peers and stores nothing. One request, one response per stream.

mod actor;
mod address;
mod asking;
mod behaviour;
mod bootstrap;
mod codec;
mod command;
mod counted;
mod error;
mod exchange;
mod frame;
mod gate;
mod identity;
mod limits;
mod memory;
mod net;
mod net_peers;
mod options;
mod peers;
mod request_kind;
mod scoped;
mod serve;
mod traffic;
mod transport;
mod view;

pub use address::{Address, ParseAddressError};
pub use error::NetError;
pub use limits::{Deadlines, NetLimits};
pub use memory::{Fault, Faults, MemoryNetwork};
pub use net::Net;
pub use options::{NetOptions, Role, Transports};
pub use peers::{Peers, PeersError};
pub use request_kind::RequestKind;
pub use serve::{AdmittedPut, Serve};
pub use traffic::Traffic;
