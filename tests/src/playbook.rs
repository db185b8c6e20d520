use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use spillway_net::{AdmittedPut, RequestKind, Serve};
use spillway_types::{
    ChunkAddress, HasRequest, HasResponse, OfferRequest, PeerKey, PutRequest, PutResponse,
    QuoteRequest, QuoteResponse, Refusal, WinsRequest, WinsResponse,
};
use tokio::sync::watch;

use crate::{Admit, Tricks};

/// A request that has reached a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Which node.
    pub node: usize,
    /// For what.
    pub kind: RequestKind,
    /// Which chunk; of a request for many the first.
    pub address: ChunkAddress,
}

/// What each node of a network does otherwise than an honest one, and what they were asked. Clones
/// are the same.
#[derive(Clone, Debug)]
pub struct Playbook(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    tricks: Vec<Mutex<Arc<Tricks>>>,
    log: Mutex<Vec<Asked>>,
    /// Headers of puts, while they are kept.
    puts: Mutex<Option<Vec<PutRequest>>>,
    hanging: watch::Sender<usize>,
}

impl Playbook {
    /// So many honest nodes.
    pub fn new(nodes: usize) -> Self {
        Self(Arc::new(Inner {
            tricks: (0..nodes).map(|_| Mutex::default()).collect(),
            log: Mutex::default(),
            puts: Mutex::default(),
            hanging: watch::Sender::new(0),
        }))
    }

    /// How many nodes.
    pub fn nodes(&self) -> usize {
        self.0.tricks.len()
    }

    /// Node `index` before its tricks.
    pub fn wrap(&self, index: usize, honest: Arc<dyn Serve>) -> Arc<dyn Serve> {
        Arc::new(Tricky { index, inner: honest, book: self.clone() })
    }

    /// From now on node `index` does these tricks, and no others.
    pub fn play(&self, index: usize, tricks: Tricks) {
        *self.tricks(index) = Arc::new(tricks);
    }

    /// From now on all are honest.
    pub fn behave(&self) {
        for index in 0..self.nodes() {
            self.play(index, Tricks::default());
        }
    }

    /// The first so many chunks are stored, and of all others no put is ever answered.
    pub fn let_through(&self, chunks: usize) {
        let seen: Arc<Mutex<Vec<ChunkAddress>>> = Arc::default();
        for index in 0..self.nodes() {
            let seen = Arc::clone(&seen);
            let admit = move |put: &PutRequest| {
                let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
                let address = put.leaf.address;
                if seen.len() < chunks && !seen.contains(&address) {
                    seen.push(address);
                }
                if seen.contains(&address) { Admit::Serve } else { Admit::Hang }
            };
            self.play(index, Tricks { admit: Some(Box::new(admit)), ..Tricks::default() });
        }
    }

    /// The first so many chunks are given, and of all others no get is ever answered.
    pub fn give_only(&self, chunks: usize) {
        let seen: Arc<Mutex<Vec<ChunkAddress>>> = Arc::default();
        for index in 0..self.nodes() {
            let seen = Arc::clone(&seen);
            let hang = move |address: ChunkAddress| {
                let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
                if seen.len() < chunks && !seen.contains(&address) {
                    seen.push(address);
                }
                !seen.contains(&address)
            };
            self.play(index, Tricks { hang: Some(Box::new(hang)), ..Tricks::default() });
        }
    }

    /// Every request that reached a node since the last call.
    pub fn take_log(&self) -> Vec<Asked> {
        std::mem::take(&mut self.0.log.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// From now on keeps the header of every put that reaches a node.
    pub fn keep_puts(&self) {
        *self.puts() = Some(Vec::new());
    }

    /// The headers that were kept, and keeps none from now on.
    pub fn take_puts(&self) -> Vec<PutRequest> {
        self.puts().take().unwrap_or_default()
    }

    fn puts(&self) -> MutexGuard<'_, Option<Vec<PutRequest>>> {
        self.0.puts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns when so many puts and gets hang or have hung since [`Playbook::forget_hanging`].
    pub async fn wait_for_hanging(&self, count: usize) {
        self.0.hanging.subscribe().wait_for(|&now| now >= count).await.unwrap();
    }

    /// Counts what hangs from zero.
    pub fn forget_hanging(&self) {
        self.0.hanging.send_replace(0);
    }

    fn tricks(&self, index: usize) -> MutexGuard<'_, Arc<Tricks>> {
        self.0.tricks[index].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An honest node behind a test's tricks.
struct Tricky {
    index: usize,
    inner: Arc<dyn Serve>,
    book: Playbook,
}

impl Tricky {
    fn tricks(&self) -> Arc<Tricks> {
        Arc::clone(&self.book.tricks(self.index))
    }

    fn note(&self, kind: RequestKind, address: ChunkAddress) {
        let mut log = self.book.0.log.lock().unwrap_or_else(PoisonError::into_inner);
        log.push(Asked { node: self.index, kind, address });
    }
}

#[async_trait]
impl Serve for Tricky {
    async fn quote(&self, from: PeerKey, request: QuoteRequest) -> QuoteResponse {
        self.note(RequestKind::Quote, request.items[0].address);
        let honest = self.inner.quote(from, request.clone()).await;
        match &self.tricks().quote {
            Some(trick) => trick(&request, honest),
            None => honest,
        }
    }

    async fn admit(
        &self,
        from: PeerKey,
        request: PutRequest,
    ) -> Result<Box<dyn AdmittedPut>, Refusal> {
        self.note(RequestKind::Put, request.leaf.address);
        if let Some(puts) = self.book.puts().as_mut() {
            puts.push(request.clone());
        }
        let tricks = self.tricks();
        match tricks.admit.as_ref().map_or(Admit::Serve, |trick| trick(&request)) {
            Admit::Serve => {
                let inner = self.inner.admit(from, request).await?;
                Ok(Box::new(TrickyPut { inner, tricks }))
            }
            Admit::Refuse(refusal) => Err(refusal),
            Admit::Hang => {
                self.book.0.hanging.send_modify(|count| *count += 1);
                std::future::pending().await
            }
        }
    }

    async fn admit_offer(
        &self,
        from: PeerKey,
        request: OfferRequest,
    ) -> Result<Box<dyn AdmittedPut>, Refusal> {
        self.note(RequestKind::Offer, request.put.leaf.address);
        self.inner.admit_offer(from, request).await
    }

    async fn get(&self, from: PeerKey, address: ChunkAddress) -> Result<Option<Bytes>, Refusal> {
        self.note(RequestKind::Get, address);
        if self.tricks().hang.as_ref().is_some_and(|hangs| hangs(address)) {
            self.book.0.hanging.send_modify(|count| *count += 1);
            return std::future::pending().await;
        }
        let honest = self.inner.get(from, address).await?;
        Ok(match &self.tricks().get {
            Some(trick) => trick(address, honest),
            None => honest,
        })
    }

    async fn has(&self, from: PeerKey, request: HasRequest) -> HasResponse {
        self.note(RequestKind::Has, request.addresses[0]);
        let addresses = request.addresses.clone();
        let honest = self.inner.has(from, request).await;
        match &self.tricks().has {
            Some(trick) => {
                let answer = |present: Vec<bool>| {
                    addresses.iter().zip(present).map(|(address, is)| trick(*address, is)).collect()
                };
                HasResponse { present: honest.present.map(answer) }
            }
            None => honest,
        }
    }

    async fn wins(&self, from: PeerKey, request: WinsRequest) -> WinsResponse {
        self.inner.wins(from, request).await
    }
}

struct TrickyPut {
    inner: Box<dyn AdmittedPut>,
    tricks: Arc<Tricks>,
}

#[async_trait]
impl AdmittedPut for TrickyPut {
    async fn store(self: Box<Self>, body: Bytes) -> PutResponse {
        let response = self.inner.store(body).await;
        let Some(trick) = &self.tricks.receipt else {
            return response;
        };
        PutResponse { receipts: response.receipts.map(|all| all.into_iter().map(trick).collect()) }
    }
}
