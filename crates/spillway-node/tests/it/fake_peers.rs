//! Peers that are known, or found when they are searched for, and never asked.

use std::sync::Mutex;

use async_trait::async_trait;
use bytes::Bytes;
use spillway_net::{Peers, PeersError};
use spillway_types::{
    ChunkAddress, HasRequest, HasResponse, OfferRequest, PeerKey, PutRequest, PutResponse,
    QuoteRequest, QuoteResponse, WinsRequest, WinsResponse,
};
use tokio::sync::watch;

#[derive(Debug)]
pub(crate) struct FakePeers {
    local: PeerKey,
    known: Mutex<Vec<PeerKey>>,
    found: Mutex<Result<Vec<PeerKey>, PeersError>>,
    searches: watch::Sender<usize>,
    held: watch::Sender<bool>,
}

impl FakePeers {
    pub(crate) fn new(local: PeerKey, known: Vec<PeerKey>) -> Self {
        Self {
            local,
            known: Mutex::new(known),
            found: Mutex::new(Ok(Vec::new())),
            searches: watch::Sender::new(0),
            held: watch::Sender::new(false),
        }
    }

    /// Knows these from now on.
    pub(crate) fn know(&self, known: Vec<PeerKey>) {
        *self.known.lock().unwrap() = known;
    }

    /// Finds these, too, when it searches.
    pub(crate) fn find(&self, found: Result<Vec<PeerKey>, PeersError>) {
        *self.found.lock().unwrap() = found;
    }

    /// Holds searches back, or lets them go.
    pub(crate) fn hold(&self, hold: bool) {
        self.held.send_replace(hold);
    }

    /// How often the network was searched.
    pub(crate) fn searches(&self) -> usize {
        *self.searches.borrow()
    }

    /// Returns when it was searched so often.
    pub(crate) async fn wait_until_searched(&self, count: usize) {
        self.searches.subscribe().wait_for(|searches| *searches >= count).await.unwrap();
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
        self.searches.send_modify(|searches| *searches += 1);
        self.held.subscribe().wait_for(|held| !held).await.unwrap();
        self.found.lock().unwrap().clone()
    }

    async fn quote(&self, _: PeerKey, _: QuoteRequest) -> Result<QuoteResponse, PeersError> {
        unreachable!("a check asks nobody")
    }

    async fn put(&self, _: PeerKey, _: PutRequest, _: Bytes) -> Result<PutResponse, PeersError> {
        unreachable!("a check asks nobody")
    }

    async fn offer(
        &self,
        _: PeerKey,
        _: OfferRequest,
        _: Bytes,
    ) -> Result<PutResponse, PeersError> {
        unreachable!("a check asks nobody")
    }

    async fn get(&self, _: PeerKey, _: ChunkAddress) -> Result<Option<Bytes>, PeersError> {
        unreachable!("a check asks nobody")
    }

    async fn has(&self, _: PeerKey, _: HasRequest) -> Result<HasResponse, PeersError> {
        unreachable!("a check asks nobody")
    }

    async fn wins(&self, _: PeerKey, _: WinsRequest) -> Result<WinsResponse, PeersError> {
        unreachable!("a check asks nobody")
    }
}
