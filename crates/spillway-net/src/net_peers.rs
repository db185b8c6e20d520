use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use bytes::Bytes;
use spillway_types::{
    ChunkAddress, HasRequest, HasResponse, OfferRequest, PeerKey, PutRequest, PutResponse,
    QuoteRequest, QuoteResponse, Request, Response, WinsRequest, WinsResponse,
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use crate::{
    Deadlines, NetLimits, Peers, PeersError, RequestKind,
    asking::{self, Ask},
    command::{self, Command},
    exchange::{Outgoing, Reply},
};

/// [`Peers`] over the actor.
#[derive(Debug)]
pub(crate) struct NetPeers {
    local: PeerKey,
    commands: mpsc::Sender<Command>,
    deadlines: Deadlines,
    outbound: Arc<Semaphore>,
    searches: Arc<Semaphore>,
    places: Places,
}

impl NetPeers {
    pub(crate) fn new(
        local: PeerKey,
        commands: mpsc::Sender<Command>,
        limits: &NetLimits,
        deadlines: Deadlines,
    ) -> Self {
        Self {
            local,
            commands,
            deadlines,
            outbound: semaphore(limits.outbound),
            searches: semaphore(limits.searches),
            places: Places { limit: limits.outbound_per_peer, peers: Mutex::default() },
        }
    }
}

fn semaphore(places: usize) -> Arc<Semaphore> {
    Arc::new(Semaphore::new(places.clamp(1, Semaphore::MAX_PERMITS)))
}

async fn place(semaphore: Arc<Semaphore>) -> Result<OwnedSemaphorePermit, PeersError> {
    semaphore.acquire_owned().await.map_err(|_| PeersError::Closed)
}

/// The requests on their way to each peer.
#[derive(Debug)]
struct Places {
    limit: usize,
    peers: Mutex<HashMap<PeerKey, Arc<Semaphore>>>,
}

impl Places {
    fn of(&self, peer: PeerKey) -> Arc<Semaphore> {
        let mut peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        // Peers that nothing is on its way to are forgotten, so there are at most as many as
        // requests.
        peers.retain(|_, semaphore| Arc::strong_count(semaphore) > 1);
        Arc::clone(peers.entry(peer).or_insert_with(|| semaphore(self.limit)))
    }
}

#[async_trait]
impl Ask for NetPeers {
    async fn ask(
        &self,
        peer: PeerKey,
        request: &Request,
        header: Vec<u8>,
        body: Bytes,
    ) -> Result<(Response, Bytes), PeersError> {
        let kind = RequestKind::of(request);
        let deadline = self.deadlines.of(kind);
        // The narrow one first: who waits for it must not hold a place that others could use.
        let here = place(self.places.of(peer)).await?;
        let places = (here, place(Arc::clone(&self.outbound)).await?);
        let given_up = CancellationToken::new();
        let _when_dropped = given_up.clone().drop_guard();
        let (answer, answered) = oneshot::channel();
        let outgoing = Outgoing { header, body, deadline, given_up };
        let ask = command::Ask { peer, kind, outgoing, answer, places };
        self.commands.send(Command::Ask(ask)).await.map_err(|_| PeersError::Closed)?;
        match timeout(self.deadlines.connect + deadline, answered).await {
            Err(_) => Err(PeersError::Timeout { peer, after: deadline }),
            Ok(Err(_)) => Err(PeersError::Closed),
            Ok(Ok(reply)) => {
                let Reply { response, body, memory } = reply?;
                // From here on the body is the caller's to count.
                drop(memory);
                Ok((response, body))
            }
        }
    }
}

#[async_trait]
impl Peers for NetPeers {
    fn local(&self) -> PeerKey {
        self.local
    }

    async fn closest(
        &self,
        address: ChunkAddress,
        count: usize,
    ) -> Result<Vec<PeerKey>, PeersError> {
        if count == 0 {
            return Ok(Vec::new());
        }
        let place = place(Arc::clone(&self.searches)).await?;
        let (answer, answered) = oneshot::channel();
        let search = Command::Closest { address, count, answer, place };
        self.commands.send(search).await.map_err(|_| PeersError::Closed)?;
        let peers = answered.await.map_err(|_| PeersError::Closed)?;
        if peers.is_empty() { Err(PeersError::NoPeers) } else { Ok(peers) }
    }

    async fn known_closest(
        &self,
        address: ChunkAddress,
        count: usize,
    ) -> Result<Vec<PeerKey>, PeersError> {
        let (answer, answered) = oneshot::channel();
        let question = Command::KnownClosest { address, count, answer };
        self.commands.send(question).await.map_err(|_| PeersError::Closed)?;
        answered.await.map_err(|_| PeersError::Closed)
    }

    async fn quote(
        &self,
        peer: PeerKey,
        request: QuoteRequest,
    ) -> Result<QuoteResponse, PeersError> {
        asking::quote(self, peer, request).await
    }

    async fn put(
        &self,
        peer: PeerKey,
        request: PutRequest,
        chunk: Bytes,
    ) -> Result<PutResponse, PeersError> {
        asking::put(self, peer, request, chunk).await
    }

    async fn offer(
        &self,
        peer: PeerKey,
        request: OfferRequest,
        chunk: Bytes,
    ) -> Result<PutResponse, PeersError> {
        asking::offer(self, peer, request, chunk).await
    }

    async fn get(&self, peer: PeerKey, address: ChunkAddress) -> Result<Option<Bytes>, PeersError> {
        asking::get(self, peer, address).await
    }

    async fn has(&self, peer: PeerKey, request: HasRequest) -> Result<HasResponse, PeersError> {
        asking::has(self, peer, request).await
    }

    async fn wins(&self, peer: PeerKey, request: WinsRequest) -> Result<WinsResponse, PeersError> {
        asking::wins(self, peer, request).await
    }
}
