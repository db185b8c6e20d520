use spillway_types::PeerSecret;

use crate::{Address, Deadlines, NetLimits};

/// How a [`Net`](crate::Net) is started.
#[derive(Clone, Debug)]
pub struct NetOptions {
    /// The key that this peer is known by.
    pub secret: PeerSecret,
    /// Whether others may find and ask this peer.
    pub role: Role,
    /// Where to accept connections; port 0 takes a free one. A client needs none.
    pub listen: Vec<Address>,
    /// Where others reach this peer, where that differs from `listen`.
    pub external: Vec<Address>,
    /// Peers to find the others through. Empty only for the first node of a network.
    pub bootstrap: Vec<Address>,
    /// What connections run over.
    pub transports: Transports,
    /// What this peer takes on at once.
    pub limits: NetLimits,
    /// How long things may take.
    pub deadlines: Deadlines,
}

impl NetOptions {
    /// A client that finds its peers through `bootstrap`.
    pub fn client(secret: PeerSecret, bootstrap: Vec<Address>) -> Self {
        Self::new(secret, Role::Client, Vec::new(), bootstrap)
    }

    /// A node that accepts connections at `listen`.
    pub fn node(secret: PeerSecret, listen: Vec<Address>, bootstrap: Vec<Address>) -> Self {
        Self::new(secret, Role::Node, listen, bootstrap)
    }

    fn new(secret: PeerSecret, role: Role, listen: Vec<Address>, bootstrap: Vec<Address>) -> Self {
        Self {
            secret,
            role,
            listen,
            external: Vec::new(),
            bootstrap,
            transports: Transports::default(),
            limits: NetLimits::default(),
            deadlines: Deadlines::default(),
        }
    }
}

/// What a peer is to the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Asks, and is never found by others.
    Client,
    /// Is found and asked.
    Node,
}

/// What connections run over. Where both are on and a peer offers both, TCP gets a head start: it
/// moves about twice the bytes a second on one processor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transports {
    /// QUIC over UDP.
    pub quic: bool,
    /// TCP with Noise and Yamux.
    pub tcp: bool,
}

impl Default for Transports {
    fn default() -> Self {
        Self { quic: true, tcp: true }
    }
}
