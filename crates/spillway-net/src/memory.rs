use std::{sync::Arc, time::Duration};

use spillway_types::{PeerKey, PeerSecret};

use crate::{Peers, RequestKind, Serve};

/// Peers in one process, without sockets: every call of one goes to the [`Serve`] of the other.
/// Every message passes through its wire form, so every limit of the wire holds. Nothing in it is
/// random: what happens depends on the calls and on [`Faults`] alone.
#[derive(Clone, Debug)]
pub struct MemoryNetwork {}

impl MemoryNetwork {
    /// A network in which everything arrives.
    pub fn new() -> Self {
        unimplemented!()
    }

    /// A network in which `faults` decides about every request.
    pub fn with_faults(faults: Arc<dyn Faults>) -> Self {
        unimplemented!()
    }

    /// Adds a peer. With a `serve` it is a node, that others find and ask; without it is a client.
    /// A peer that joins again takes its own place.
    pub fn join(&self, secret: PeerSecret, serve: Option<Arc<dyn Serve>>) -> Arc<dyn Peers> {
        unimplemented!()
    }

    /// Takes a peer away: from now on it cannot be reached.
    pub fn leave(&self, peer: PeerKey) {
        unimplemented!()
    }
}

/// Decides what happens to a request. A closure of the same arguments is one.
pub trait Faults: Send + Sync {
    /// What happens to the next request of this kind.
    fn decide(&self, from: PeerKey, to: PeerKey, kind: RequestKind) -> Fault;
}

impl<F> Faults for F
where
    F: Fn(PeerKey, PeerKey, RequestKind) -> Fault + Send + Sync,
{
    fn decide(&self, from: PeerKey, to: PeerKey, kind: RequestKind) -> Fault {
        self(from, to, kind)
    }
}

/// What happens to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is answered.
    Deliver,
    /// It is answered, but only after this time.
    Delay(Duration),
    /// The peer cannot be reached.
    Unreachable,
    /// The connection breaks before the request arrives.
    BreakBefore,
    /// The request is answered, but the connection breaks before the answer arrives.
    BreakAfter,
    /// Nothing is ever heard, until the deadline passes.
    Silence,
}
