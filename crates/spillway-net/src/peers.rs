use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use spillway_types::{
    ChunkAddress, HasRequest, HasResponse, OfferRequest, PeerKey, PutRequest, PutResponse,
    QuoteRequest, QuoteResponse, Refusal, Retry, WinsRequest, WinsResponse, WireError,
};

/// The outbound seam: finding peers and asking them.
///
/// Every call ends by itself: the implementation holds a deadline for each kind of request. A
/// refusal inside a response is an answer, not a [`PeersError`].
///
/// # Cancel safety
/// Dropping a call gives its answer up. A put that was dropped may have stored the chunk.
#[async_trait]
pub trait Peers: Send + Sync + std::fmt::Debug {
    /// This peer itself; it is never among the answers below.
    fn local(&self) -> PeerKey;

    /// The up to `count` peers nearest to `address`, nearest first, by asking the network.
    ///
    /// # Errors
    /// [`PeersError::NoPeers`] when nobody answers.
    async fn closest(
        &self,
        address: ChunkAddress,
        count: usize,
    ) -> Result<Vec<PeerKey>, PeersError>;

    /// The up to `count` peers nearest to `address` that are known already, nearest first, without
    /// asking anybody.
    async fn known_closest(
        &self,
        address: ChunkAddress,
        count: usize,
    ) -> Result<Vec<PeerKey>, PeersError>;

    /// Asks a peer for prices.
    ///
    /// # Errors
    /// When no answer to this request comes back.
    async fn quote(
        &self,
        peer: PeerKey,
        request: QuoteRequest,
    ) -> Result<QuoteResponse, PeersError>;

    /// Sends a chunk; `chunk` has exactly `request.size` bytes.
    ///
    /// # Errors
    /// When no answer to this request comes back: the chunk may or may not be stored.
    async fn put(
        &self,
        peer: PeerKey,
        request: PutRequest,
        chunk: Bytes,
    ) -> Result<PutResponse, PeersError>;

    /// Offers a chunk; `chunk` has exactly `request.put.size` bytes.
    ///
    /// # Errors
    /// When no answer to this request comes back: the chunk may or may not be stored.
    async fn offer(
        &self,
        peer: PeerKey,
        request: OfferRequest,
        chunk: Bytes,
    ) -> Result<PutResponse, PeersError>;

    /// Fetches a chunk. The bytes are what the peer sent: the caller hashes them. `None`: the peer
    /// does not have it.
    ///
    /// # Errors
    /// When no answer to this request comes back, or a refusal.
    async fn get(&self, peer: PeerKey, address: ChunkAddress) -> Result<Option<Bytes>, PeersError>;

    /// Asks which chunks a peer has.
    ///
    /// # Errors
    /// When no answer to this request comes back.
    async fn has(&self, peer: PeerKey, request: HasRequest) -> Result<HasResponse, PeersError>;

    /// Asks which draws a peer has won. The answer is the peer's word: nothing of it is checked but
    /// its limits.
    ///
    /// # Errors
    /// When no answer to this request comes back.
    async fn wins(&self, peer: PeerKey, request: WinsRequest) -> Result<WinsResponse, PeersError>;
}

/// Why no answer came.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PeersError {
    /// Nobody is known or nobody answers.
    #[error("no peer of the network can be reached")]
    NoPeers,
    /// The peer cannot be dialled.
    #[error("peer {peer} cannot be reached")]
    Unreachable {
        /// Which.
        peer: PeerKey,
    },
    /// The peer did not answer in time.
    #[error("peer {peer} did not answer within {} s", after.as_secs())]
    Timeout {
        /// Which.
        peer: PeerKey,
        /// The deadline that passed.
        after: Duration,
    },
    /// The connection broke before the answer was whole.
    #[error("the connection to peer {peer} broke")]
    Broken {
        /// Which.
        peer: PeerKey,
    },
    /// The peer does not speak this protocol, or answered something else than asked.
    #[error("peer {peer} does not speak this protocol")]
    Protocol {
        /// Which.
        peer: PeerKey,
    },
    /// The peer refused the whole request.
    #[error("peer {peer} refuses: {refusal}")]
    Refused {
        /// Which.
        peer: PeerKey,
        /// Why.
        refusal: Refusal,
    },
    /// The request breaks a limit of the protocol, or its body has another length than it says.
    /// Nothing was sent.
    #[error("the request cannot be sent")]
    Invalid(#[from] WireError),
    /// The network was shut down.
    #[error("the network is shut down")]
    Closed,
}

impl PeersError {
    /// Whether the same call may work later.
    pub fn retry(&self) -> Retry {
        match self {
            Self::NoPeers
            | Self::Unreachable { .. }
            | Self::Timeout { .. }
            | Self::Broken { .. } => Retry::Backoff,
            Self::Refused { refusal, .. } => refusal.retry(),
            Self::Protocol { .. } | Self::Invalid(_) | Self::Closed => Retry::Never,
        }
    }
}
