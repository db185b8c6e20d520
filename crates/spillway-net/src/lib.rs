//! Peers: how client and node reach each other.
//!
//! Owns the libp2p swarm as one actor, the streaming codec and all network limits; the [`Peers`]
//! seam (outbound) and the [`Serve`] seam (inbound), and an in-memory network that routes one to
//! the other. The only crate that names libp2p.
//!
//! Kademlia finds peers and stores nothing. One request, one response per stream.
//!
//! Tasks: the actor, which owns the swarm; the answers that it is making, in a `JoinSet` of its
//! own; one task a connection, in a `TaskTracker` of [`Net`], where the codec reads, asks
//! [`Serve::admit`] and writes. [`Net::shutdown`] ends them in this order: no new requests, answers
//! written, connections closed, all joined.
//!
//! Invariants: lengths are checked before memory is taken; the body of a put is read only after it
//! was admitted, and within one budget for all bodies; every queue, fan-out and wait has a limit,
//! all of them in [`NetLimits`], [`Deadlines`] and the constants beside them; a peer is an Ed25519
//! key, proven by the connection's handshake; who is over a limit is refused in words for as long
//! as there is room to say them.
//!
//! A crash leaves nothing: there is no state on disk. Deliberately absent: retries (whoever asked
//! knows best), judgement of what peers say, relaying, crossing routers, names in DNS.

mod actor;
mod address;
mod asking;
mod behaviour;
mod bootstrap;
mod codec;
mod command;
mod counted;
mod crowds;
mod error;
mod exchange;
mod frame;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod gate;
mod identity;
mod limits;
mod memory;
mod net;
mod net_peers;
mod options;
mod peers;
mod reach;
mod request_kind;
mod scoped;
mod serve;
mod shares;
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
