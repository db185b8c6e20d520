use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use spillway_net::{Peers, PeersError};
use spillway_types::{
    ChunkAddress, HasRequest, HasResponse, OfferRequest, PeerKey, PutRequest, PutResponse,
    QuoteRequest, QuoteResponse, WinsRequest, WinsResponse,
};

use crate::{Fate, Life, Strike};

/// The network as one process of a client sees it. What happens to a message on its way is decided
/// by the network's own faults; here a call may be the process's last, and a request may be sent
/// twice.
#[derive(Debug)]
pub struct SimPeers {
    inner: Arc<dyn Peers>,
    life: Life,
    fate: Fate,
}

impl SimPeers {
    /// The network of this process.
    pub fn new(inner: Arc<dyn Peers>, life: Life, fate: Fate) -> Self {
        Self { inner, life, fate }
    }

    async fn search<T>(
        &self,
        search: impl Future<Output = Result<T, PeersError>> + Send,
    ) -> Result<T, PeersError> {
        self.life.pass().await;
        let found = if self.fate.strikes(Strike::NetNoPeers) {
            Err(PeersError::NoPeers)
        } else {
            search.await
        };
        self.life.pass().await;
        found
    }

    /// Asks once, or twice.
    async fn ask<T, F>(
        &self,
        name: &str,
        peer: PeerKey,
        ask: impl Fn() -> F + Send + Sync,
    ) -> Result<T, PeersError>
    where
        F: Future<Output = Result<T, PeersError>> + Send,
        T: Send,
    {
        self.life.pass().await;
        if self.fate.strikes(Strike::NetDuplicate) {
            // What is said to the first is not heard.
            let _ = ask().await;
            self.life.pass().await;
        }
        let answer = ask().await;
        // The first bytes of a key tell 15 peers apart, and a peer id takes long to spell.
        let [a, b, c, d, ..] = peer.0;
        let said = match &answer {
            Ok(_) => "answered",
            Err(PeersError::Unreachable { .. }) => "unreachable",
            Err(PeersError::Timeout { .. }) => "timeout",
            Err(PeersError::Broken { .. }) => "broken",
            Err(PeersError::Refused { .. }) => "refused",
            Err(_) => "failed",
        };
        self.fate.note(format_args!("net {name} {a:02x}{b:02x}{c:02x}{d:02x}: {said}"));
        self.life.pass().await;
        answer
    }
}

#[async_trait]
impl Peers for SimPeers {
    fn local(&self) -> PeerKey {
        self.inner.local()
    }

    async fn closest(
        &self,
        address: ChunkAddress,
        count: usize,
    ) -> Result<Vec<PeerKey>, PeersError> {
        self.search(self.inner.closest(address, count)).await
    }

    async fn known_closest(
        &self,
        address: ChunkAddress,
        count: usize,
    ) -> Result<Vec<PeerKey>, PeersError> {
        self.search(self.inner.known_closest(address, count)).await
    }

    async fn quote(
        &self,
        peer: PeerKey,
        request: QuoteRequest,
    ) -> Result<QuoteResponse, PeersError> {
        self.ask("quote", peer, || self.inner.quote(peer, request.clone())).await
    }

    async fn put(
        &self,
        peer: PeerKey,
        request: PutRequest,
        chunk: Bytes,
    ) -> Result<PutResponse, PeersError> {
        self.ask("put", peer, || self.inner.put(peer, request.clone(), chunk.clone())).await
    }

    async fn offer(
        &self,
        peer: PeerKey,
        request: OfferRequest,
        chunk: Bytes,
    ) -> Result<PutResponse, PeersError> {
        self.ask("offer", peer, || self.inner.offer(peer, request.clone(), chunk.clone())).await
    }

    async fn get(&self, peer: PeerKey, address: ChunkAddress) -> Result<Option<Bytes>, PeersError> {
        self.ask("get", peer, || self.inner.get(peer, address)).await
    }

    async fn has(&self, peer: PeerKey, request: HasRequest) -> Result<HasResponse, PeersError> {
        self.ask("has", peer, || self.inner.has(peer, request.clone())).await
    }

    async fn wins(&self, peer: PeerKey, request: WinsRequest) -> Result<WinsResponse, PeersError> {
        self.ask("wins", peer, || self.inner.wins(peer, request.clone())).await
    }
}
