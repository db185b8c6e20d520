use std::{
    fmt,
    sync::{Arc, PoisonError, RwLock},
};

use spillway_types::{
    ChunkAddress, GetResponse, HasResponse, OfferRequest, PeerKey, PutRequest, PutResponse,
    QuoteResponse, Refusal, Request, Response, WinsResponse, limits::MAX_CHUNK_BYTES,
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use crate::{
    AdmittedPut, Deadlines, NetLimits, RequestKind, Serve,
    exchange::{ReceivedPut, Reply},
    limits::{BUSY_MS, HEADER_BYTES},
    shares::Shares,
};

/// Bytes that one permit of the memory for bodies stands for.
const PERMIT_BYTES: usize = 1_024;

/// A refusal that asks to come again.
pub(crate) const BUSY: Refusal = Refusal::Busy { after_ms: BUSY_MS };

/// A body's share of the memory for bodies, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Memory {
    /// Of the budget for all.
    all: OwnedSemaphorePermit,
    /// Of the budget of the peer that asked; our own requests have none.
    peer: Option<OwnedSemaphorePermit>,
}

impl Memory {
    /// Gives back what is over so many bytes.
    fn shrink(&mut self, bytes: usize) {
        for permit in [Some(&mut self.all), self.peer.as_mut()].into_iter().flatten() {
            let spare = permit.num_permits().saturating_sub(bytes.div_ceil(PERMIT_BYTES));
            drop(permit.split(spare));
        }
    }
}

/// A request that a body follows.
pub(crate) enum BodyRequest {
    Put(PutRequest),
    Offer(OfferRequest),
}

impl BodyRequest {
    /// The request, unless no body follows it: then it is given back.
    pub(crate) fn of(request: Request) -> Result<Self, Box<Request>> {
        match request {
            Request::Put(put) => Ok(Self::Put(put)),
            Request::Offer(offer) => Ok(Self::Offer(offer)),
            request => Err(Box::new(request)),
        }
    }

    /// Length of the body, in bytes.
    pub(crate) fn body_bytes(&self) -> usize {
        match self {
            Self::Put(put) | Self::Offer(OfferRequest { put, .. }) => put.size as usize,
        }
    }
}

/// What stands between the wire and [`Serve`]: who answers, and how much at once.
pub(crate) struct Gate {
    serve: RwLock<Option<Arc<dyn Serve>>>,
    bodies: Arc<Semaphore>,
    bodies_of: Shares,
    requests: Arc<Semaphore>,
    requests_of: Shares,
    /// Memory for large headers; a permit is a byte.
    pub(crate) headers: Semaphore,
    pub(crate) limits: NetLimits,
    pub(crate) deadlines: Deadlines,
}

impl Gate {
    pub(crate) fn new(limits: NetLimits, deadlines: Deadlines) -> Self {
        // Less than one chunk could never be read; more than a semaphore counts is no limit.
        let bodies = limits.body_bytes.max(MAX_CHUNK_BYTES) / PERMIT_BYTES;
        let share = limits.body_bytes_per_peer.max(MAX_CHUNK_BYTES) / PERMIT_BYTES;
        Self {
            serve: RwLock::new(None),
            bodies_of: Shares::new(share),
            requests_of: Shares::new(limits.requests_per_peer),
            bodies: Arc::new(Semaphore::new(bodies.min(Semaphore::MAX_PERMITS))),
            requests: Arc::new(Semaphore::new(limits.requests.min(Semaphore::MAX_PERMITS))),
            headers: Semaphore::new(HEADER_BYTES),
            limits,
            deadlines,
        }
    }

    /// Answers with this from now on; with `None` everything is refused as busy.
    pub(crate) fn set(&self, serve: Option<Arc<dyn Serve>>) {
        *self.serve.write().unwrap_or_else(PoisonError::into_inner) = serve;
    }

    fn serve(&self) -> Option<Arc<dyn Serve>> {
        self.serve.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A place among the requests that are answered at once.
    pub(crate) fn enter(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.requests).try_acquire_owned().ok()
    }

    /// The places of one peer among the requests that are answered at once, for all of its
    /// connections.
    pub(crate) fn places_of(&self, peer: PeerKey) -> Arc<Semaphore> {
        self.requests_of.of(peer)
    }

    /// Memory for a body of ours. Waits for it as long as the caller does.
    pub(crate) async fn memory(&self, bytes: usize) -> Option<Memory> {
        let all = take(Arc::clone(&self.bodies), bytes).await?;
        Some(Memory { all, peer: None })
    }

    /// Memory for the body of another's request, first out of the peer's own share. For that it
    /// waits longer, as it takes nothing from others: a slow line with many chunks on it is no
    /// reason for a refusal. Then no longer than for a stalled sender.
    async fn memory_for(&self, peer: PeerKey, bytes: usize) -> Option<Memory> {
        let patience = self.deadlines.answer / 4;
        let share = timeout(patience, take(self.bodies_of.of(peer), bytes)).await.ok()??;
        let all = take(Arc::clone(&self.bodies), bytes);
        let all = timeout(self.deadlines.stall, all).await.ok()??;
        Some(Memory { all, peer: Some(share) })
    }

    /// Judges a put or an offer by its header and, when it is admitted, sets memory for its body aside.
    pub(crate) async fn admit(
        &self,
        from: PeerKey,
        request: BodyRequest,
    ) -> Result<(Box<dyn AdmittedPut>, Memory), Refusal> {
        let serve = self.serve().ok_or(BUSY)?;
        let size = request.body_bytes();
        let admitted = async {
            match request {
                BodyRequest::Put(put) => serve.admit(from, put).await,
                BodyRequest::Offer(offer) => serve.admit_offer(from, offer).await,
            }
        };
        let admitted = timeout(self.deadlines.answer / 2, admitted).await.map_err(|_| BUSY)??;
        let memory = self.memory_for(from, size).await.ok_or(BUSY)?;
        Ok((admitted, memory))
    }

    /// Stores a put's body. The memory is given back when it is durable.
    pub(crate) async fn store(&self, put: ReceivedPut) -> Reply {
        let ReceivedPut { admitted, body, memory } = put;
        let stored = timeout(self.deadlines.put, admitted.store(body)).await;
        drop(memory);
        let put = stored.unwrap_or(PutResponse { receipts: Err(BUSY) });
        Reply::bare(Response::Put(put))
    }

    /// Answers a request without a body.
    pub(crate) async fn answer(&self, from: PeerKey, request: Request) -> Reply {
        let kind = RequestKind::of(&request);
        let Some(serve) = self.serve() else { return Reply::bare(kind.refuse(BUSY)) };
        match request {
            Request::Quote(quote) => {
                let answer = timeout(self.deadlines.quote, serve.quote(from, quote)).await;
                let busy = QuoteResponse { answers: Err(BUSY) };
                Reply::bare(Response::Quote(answer.unwrap_or(busy)))
            }
            Request::Has(has) => {
                let answer = timeout(self.deadlines.has, serve.has(from, has)).await;
                let busy = HasResponse { present: Err(BUSY) };
                Reply::bare(Response::Has(answer.unwrap_or(busy)))
            }
            Request::Wins(wins) => {
                let answer = timeout(self.deadlines.has, serve.wins(from, wins)).await;
                let busy = WinsResponse { page: Err(BUSY) };
                Reply::bare(Response::Wins(answer.unwrap_or(busy)))
            }
            Request::Get(address) => self.fetch(&*serve, from, address).await,
            // What has a body comes by `admit` and `store`.
            Request::Put(_) | Request::Offer(_) => Reply::bare(kind.refuse(Refusal::Malformed)),
        }
    }

    async fn fetch(&self, serve: &dyn Serve, from: PeerKey, address: ChunkAddress) -> Reply {
        let refuse = |refusal| Reply::bare(RequestKind::Get.refuse(refusal));
        // Its size is not known before it is read.
        let Some(mut memory) = self.memory_for(from, MAX_CHUNK_BYTES).await else {
            return refuse(BUSY);
        };
        match timeout(self.deadlines.get, serve.get(from, address)).await {
            Err(_) => refuse(BUSY),
            Ok(Err(refusal)) => refuse(refusal),
            Ok(Ok(None)) => Reply::bare(Response::Get(GetResponse::NotFound)),
            Ok(Ok(Some(body))) => match u32::try_from(body.len()) {
                Ok(size) if (1..=MAX_CHUNK_BYTES).contains(&body.len()) => {
                    memory.shrink(body.len());
                    let response = Response::Get(GetResponse::Found { size });
                    Reply { response, body, memory: Some(memory) }
                }
                _ => refuse(Refusal::StorageFailed),
            },
        }
    }
}

async fn take(from: Arc<Semaphore>, bytes: usize) -> Option<OwnedSemaphorePermit> {
    let permits = u32::try_from(bytes.div_ceil(PERMIT_BYTES)).ok()?;
    from.acquire_many_owned(permits).await.ok()
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate")
            .field("limits", &self.limits)
            .field("bodies", &self.bodies)
            .field("requests", &self.requests)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use async_trait::async_trait;
    use bytes::Bytes;
    use spillway_types::{HasRequest, QuoteRequest};
    use tokio::time::Instant;

    use super::*;

    /// Has every chunk, and no time for anything else.
    struct Stuck;

    #[async_trait]
    impl Serve for Stuck {
        async fn quote(&self, _: PeerKey, _: QuoteRequest) -> QuoteResponse {
            pending().await
        }

        async fn admit(&self, _: PeerKey, _: PutRequest) -> Result<Box<dyn AdmittedPut>, Refusal> {
            pending().await
        }

        async fn get(&self, _: PeerKey, _: ChunkAddress) -> Result<Option<Bytes>, Refusal> {
            Ok(Some(Bytes::from_static(&[1; 3_000])))
        }

        async fn has(&self, _: PeerKey, _: HasRequest) -> HasResponse {
            pending().await
        }
    }

    const PEER: PeerKey = PeerKey([1; 32]);
    const OTHER: PeerKey = PeerKey([2; 32]);
    const GET: Request = Request::Get(ChunkAddress([1; 32]));

    fn gate(body_bytes: usize) -> Gate {
        let gate =
            Gate::new(NetLimits { body_bytes, ..NetLimits::default() }, Deadlines::default());
        gate.set(Some(Arc::new(Stuck)));
        gate
    }

    #[tokio::test(start_paused = true)]
    async fn bodies_share_one_budget() {
        // Room for one whole chunk, which is the least that a gate has.
        let gate = gate(1);
        let first = gate.answer(PEER, GET).await;
        assert_eq!(first.response, Response::Get(GetResponse::Found { size: 3_000 }));
        // It was cut down to its size, but what is left is not enough for a chunk of any size.
        assert_eq!(gate.bodies.available_permits(), 4_096 - 3);
        let started = Instant::now();
        let second = gate.answer(OTHER, GET).await;
        assert_eq!(second.response, Response::Get(GetResponse::Refused(BUSY)));
        assert_eq!(started.elapsed(), gate.deadlines.stall);
        // Sent: its memory is free.
        drop(first);
        let third = gate.answer(PEER, GET).await;
        assert_eq!(third.response, Response::Get(GetResponse::Found { size: 3_000 }));
        drop(third);
        assert_eq!(gate.bodies.available_permits(), 4_096);
    }

    #[tokio::test(start_paused = true)]
    async fn one_peer_cannot_hold_all_memory() {
        let gate = gate(NetLimits::default().body_bytes);
        let chunk = MAX_CHUNK_BYTES;
        let mut held = Vec::new();
        while let Some(memory) = gate.memory_for(PEER, chunk).await {
            held.push(memory);
        }
        assert_eq!(held.len() * chunk, gate.limits.body_bytes_per_peer);
        assert_eq!(gate.answer(PEER, GET).await.response, RequestKind::Get.refuse(BUSY));
        // Nobody else waits for it.
        let started = Instant::now();
        let other = gate.answer(OTHER, GET).await;
        assert_eq!(other.response, Response::Get(GetResponse::Found { size: 3_000 }));
        assert_eq!(started.elapsed(), std::time::Duration::ZERO);
        // What a body does not need goes back into the peer's share, too.
        held.pop();
        let reply = gate.answer(PEER, GET).await;
        assert_eq!(gate.bodies_of.of(PEER).available_permits(), 4_096 - 3);
        drop((held, reply));
        assert_eq!(gate.bodies_of.of(PEER).available_permits(), 4 * 4_096);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_has_a_deadline() {
        let gate = gate(0);
        let request = HasRequest { addresses: vec![ChunkAddress([1; 32])] };
        let started = Instant::now();
        let reply = gate.answer(PEER, Request::Has(request)).await;
        assert_eq!(reply.response, Response::Has(HasResponse { present: Err(BUSY) }));
        assert_eq!(started.elapsed(), gate.deadlines.has);
    }

    #[tokio::test(start_paused = true)]
    async fn requests_are_limited() {
        let limits = NetLimits { requests: 2, ..NetLimits::default() };
        let gate = Gate::new(limits, Deadlines::default());
        let places = (gate.enter().unwrap(), gate.enter().unwrap());
        assert!(gate.enter().is_none());
        drop(places);
        assert!(gate.enter().is_some());
    }
}
