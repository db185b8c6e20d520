use std::fmt;

use spillway_types::{ChunkAddress, PeerKey};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::{
    PeersError, RequestKind,
    exchange::{Outgoing, Reply},
};

/// What the actor is told to do.
pub(crate) enum Command {
    /// Ask a peer.
    Ask(Ask),
    /// Search the network for the peers nearest to an address.
    Closest {
        address: ChunkAddress,
        count: usize,
        answer: oneshot::Sender<Vec<PeerKey>>,
        /// The search's place among those that run at once.
        place: OwnedSemaphorePermit,
    },
    /// Tell the nearest peers of the routing table.
    KnownClosest { address: ChunkAddress, count: usize, answer: oneshot::Sender<Vec<PeerKey>> },
}

/// A request to a peer.
pub(crate) struct Ask {
    pub(crate) peer: PeerKey,
    pub(crate) kind: RequestKind,
    pub(crate) outgoing: Outgoing,
    pub(crate) answer: oneshot::Sender<Result<Reply, PeersError>>,
    /// The request's places: among those to this peer, and among all.
    pub(crate) places: (OwnedSemaphorePermit, OwnedSemaphorePermit),
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ask(ask) => write!(f, "Ask({} of {})", ask.kind, ask.peer),
            Self::Closest { address, count, .. } => write!(f, "Closest({count} to {address})"),
            Self::KnownClosest { address, count, .. } => {
                write!(f, "KnownClosest({count} to {address})")
            }
        }
    }
}
