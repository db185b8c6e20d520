//! Peers that are known and never asked.

use std::sync::Mutex;

use async_trait::async_trait;
use bytes::Bytes;
use spillway_net::{Peers, PeersError};
use spillway_types::{
    ChunkAddress, HasRequest, HasResponse, PeerKey, PutRequest, PutResponse, QuoteRequest,
    QuoteResponse,
};

#[derive(Debug)]
pub(crate) struct FakePeers {
    local: PeerKey,
    known: Mutex<Vec<PeerKey>>,
}

impl FakePeers {
    pub(crate) fn new(local: PeerKey, known: Vec<PeerKey>) -> Self {
        Self { local, known: Mutex::new(known) }
    }

    /// Knows these from now on.
    pub(crate) fn know(&self, known: Vec<PeerKey>) {
        *self.known.lock().unwrap() = known;
    }
}

#[async_trait]
impl Peers for FakePeers {
    fn local(&self) -> PeerKey {
        self.local
    }

    async fn known_closest(
        &self,
        address: ChunkAddress,
        count: usize,
    ) -> Result<Vec<PeerKey>, PeersError> {
        let mut known = self.known.lock().unwrap().clone();
        known.sort_by_key(|peer| peer.distance(&address));
        known.truncate(count);
        Ok(known)
    }

    async fn closest(&self, _: ChunkAddress, _: usize) -> Result<Vec<PeerKey>, PeersError> {
        unreachable!("a check asks nobody")
    }

    async fn quote(&self, _: PeerKey, _: QuoteRequest) -> Result<QuoteResponse, PeersError> {
        unreachable!("a check asks nobody")
    }

    async fn put(&self, _: PeerKey, _: PutRequest, _: Bytes) -> Result<PutResponse, PeersError> {
        unreachable!("a check asks nobody")
    }

    async fn get(&self, _: PeerKey, _: ChunkAddress) -> Result<Option<Bytes>, PeersError> {
        unreachable!("a check asks nobody")
    }

    async fn has(&self, _: PeerKey, _: HasRequest) -> Result<HasResponse, PeersError> {
        unreachable!("a check asks nobody")
    }
}
