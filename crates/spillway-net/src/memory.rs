use std::{
    collections::BTreeMap,
    fmt,
    future::pending,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use spillway_types::{
    ChunkAddress, HasRequest, HasResponse, OfferRequest, PeerKey, PeerSecret, PutRequest,
    PutResponse, QuoteRequest, QuoteResponse, Request, Response, WinsRequest, WinsResponse,
};
use tokio::time::{sleep, timeout};

use crate::{
    Deadlines, NetLimits, Peers, PeersError, RequestKind, Serve,
    asking::{self, Ask},
    exchange::{ReceivedPut, Reply},
    gate::{BUSY, BodyRequest, Gate},
    limits::MAX_SEARCH_RESULTS,
};

/// Peers in one process, without sockets: every call of one goes to the [`Serve`] of the other.
/// Every message passes through its wire form, so every limit of the wire holds, and the same gate
/// stands before `Serve` as in a [`Net`](crate::Net). Nothing in it is random: what happens depends
/// on the calls and on [`Faults`] alone.
#[derive(Clone)]
pub struct MemoryNetwork(Arc<Inner>);

struct Inner {
    members: Mutex<BTreeMap<PeerKey, Member>>,
    faults: Arc<dyn Faults>,
    limits: NetLimits,
    deadlines: Deadlines,
}

/// Who joined. A client has nothing that others could reach.
type Member = Option<Arc<Gate>>;

impl MemoryNetwork {
    /// A network in which everything arrives.
    pub fn new() -> Self {
        Self::with_faults(Arc::new(|_, _, _| Fault::Deliver))
    }

    /// A network in which `faults` decides about every request.
    pub fn with_faults(faults: Arc<dyn Faults>) -> Self {
        Self(Arc::new(Inner {
            members: Mutex::default(),
            faults,
            limits: NetLimits::default(),
            deadlines: Deadlines::default(),
        }))
    }

    /// Adds a peer. With a `serve` it is a node, that others find and ask; without it is a client.
    /// A peer that joins again takes its own place.
    #[expect(clippy::needless_pass_by_value, reason = "a key belongs to one peer, as in `Net`")]
    pub fn join(&self, secret: PeerSecret, serve: Option<Arc<dyn Serve>>) -> Arc<dyn Peers> {
        let local = secret.peer();
        let member = serve.map(|serve| {
            let gate = Gate::new(self.0.limits.clone(), self.0.deadlines.clone());
            gate.set(Some(serve));
            Arc::new(gate)
        });
        self.members().insert(local, member);
        Arc::new(MemoryPeers { local, network: self.clone() })
    }

    /// Takes a peer away: from now on it cannot be reached, and its own calls end with
    /// [`PeersError::Closed`].
    pub fn leave(&self, peer: PeerKey) {
        self.members().remove(&peer);
    }

    fn members(&self) -> std::sync::MutexGuard<'_, BTreeMap<PeerKey, Member>> {
        self.0.members.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for MemoryNetwork {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryNetwork").field("members", &self.members().len()).finish()
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

/// [`Peers`] over a [`MemoryNetwork`].
#[derive(Debug)]
struct MemoryPeers {
    local: PeerKey,
    network: MemoryNetwork,
}

impl MemoryPeers {
    /// The nodes, nearest first, without this peer.
    fn nearest(&self, address: ChunkAddress, count: usize) -> Result<Vec<PeerKey>, PeersError> {
        let members = self.network.members();
        if !members.contains_key(&self.local) {
            return Err(PeersError::Closed);
        }
        let nodes = members.iter().filter(|(peer, node)| **peer != self.local && node.is_some());
        let mut nodes: Vec<_> = nodes.map(|(peer, _)| *peer).collect();
        nodes.sort_by_cached_key(|peer| peer.distance(&address));
        nodes.truncate(count);
        Ok(nodes)
    }

    async fn deliver(
        &self,
        peer: PeerKey,
        gate: &Gate,
        header: &[u8],
        body: Bytes,
    ) -> Result<(Response, Bytes), PeersError> {
        let kind = header.first().copied().and_then(RequestKind::of_header);
        let request = Request::decode(header)?;
        let reply = match gate.enter() {
            None => Reply::bare(kind.unwrap_or(RequestKind::of(&request)).refuse(BUSY)),
            Some(_place) => match BodyRequest::of(request) {
                Ok(request) => match gate.admit(self.local, request).await {
                    Ok((admitted, memory)) => {
                        gate.store(ReceivedPut { admitted, body, memory }).await
                    }
                    Err(refusal) => Reply::bare(RequestKind::Put.refuse(refusal)),
                },
                Err(request) => gate.answer(self.local, *request).await,
            },
        };
        // What cannot be written breaks the stream; what cannot be read is no answer.
        let header = reply.response.encode().map_err(|_| PeersError::Broken { peer })?;
        let response = Response::decode(&header).map_err(|_| PeersError::Protocol { peer })?;
        Ok((response, reply.body))
    }
}

#[async_trait]
impl Ask for MemoryPeers {
    async fn ask(
        &self,
        peer: PeerKey,
        request: &Request,
        header: Vec<u8>,
        body: Bytes,
    ) -> Result<(Response, Bytes), PeersError> {
        let kind = RequestKind::of(request);
        let member = {
            let members = self.network.members();
            if !members.contains_key(&self.local) {
                return Err(PeersError::Closed);
            }
            members.get(&peer).cloned().flatten()
        };
        let gate = member.filter(|_| peer != self.local).ok_or(PeersError::Unreachable { peer })?;
        let after = self.network.0.deadlines.of(kind);
        let fault = self.network.0.faults.decide(self.local, peer, kind);
        let answered = async {
            match fault {
                Fault::Deliver => self.deliver(peer, &gate, &header, body).await,
                Fault::Delay(delay) => {
                    sleep(delay).await;
                    self.deliver(peer, &gate, &header, body).await
                }
                Fault::Unreachable => Err(PeersError::Unreachable { peer }),
                Fault::BreakBefore => Err(PeersError::Broken { peer }),
                Fault::BreakAfter => {
                    self.deliver(peer, &gate, &header, body).await?;
                    Err(PeersError::Broken { peer })
                }
                Fault::Silence => pending().await,
            }
        };
        timeout(after, answered).await.map_err(|_| PeersError::Timeout { peer, after })?
    }
}

#[async_trait]
impl Peers for MemoryPeers {
    fn local(&self) -> PeerKey {
        self.local
    }

    async fn closest(
        &self,
        address: ChunkAddress,
        count: usize,
    ) -> Result<Vec<PeerKey>, PeersError> {
        let nearest = self.nearest(address, count.min(MAX_SEARCH_RESULTS))?;
        if nearest.is_empty() && count > 0 { Err(PeersError::NoPeers) } else { Ok(nearest) }
    }

    async fn known_closest(
        &self,
        address: ChunkAddress,
        count: usize,
    ) -> Result<Vec<PeerKey>, PeersError> {
        self.nearest(address, count)
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
