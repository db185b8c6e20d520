use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use bytes::Bytes;
use spillway_net::{AdmittedPut, RequestKind, Serve};
use spillway_store::ChunkStore;
use spillway_types::{
    ChunkAddress, HasRequest, HasResponse, PeerKey, PeerSecret, PutRequest, PutResponse,
    QuoteRequest, QuoteResponse, Receipt, Refusal, RewardAddress,
};
use tokio::sync::watch;

type QuoteTrick = Box<dyn Fn(&QuoteRequest, QuoteResponse) -> QuoteResponse + Send + Sync>;
type AdmitTrick = Box<dyn Fn(&PutRequest) -> Admit + Send + Sync>;
type ReceiptTrick = Box<dyn Fn(Receipt) -> Receipt + Send + Sync>;
type GetTrick = Box<dyn Fn(ChunkAddress, Option<Bytes>) -> Option<Bytes> + Send + Sync>;

/// What a node does with a put before it looks at it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Admit {
    /// What an honest node does.
    Serve,
    /// Refuses it.
    Refuse(Refusal),
    /// Never answers.
    Hang,
}

/// What a node does otherwise than an honest one.
#[derive(Default)]
pub struct Tricks {
    /// Changes its prices.
    pub quote: Option<QuoteTrick>,
    /// Judges puts.
    pub admit: Option<AdmitTrick>,
    /// Changes its receipts for puts.
    pub receipt: Option<ReceiptTrick>,
    /// Changes what it gives.
    pub get: Option<GetTrick>,
}

impl fmt::Debug for Tricks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tricks")
    }
}

/// A request that has reached a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Whom.
    pub node: PeerKey,
    /// For what.
    pub kind: RequestKind,
    /// Which chunk; of a request for many the first.
    pub address: ChunkAddress,
}

/// One node of a cluster.
#[derive(Debug)]
pub struct Member {
    /// Its key.
    pub secret: PeerSecret,
    /// Where it wants to be paid.
    pub reward: RewardAddress,
    /// What it has stored.
    pub store: Arc<dyn ChunkStore>,
    pub(crate) tricks: Arc<Mutex<Arc<Tricks>>>,
}

impl Member {
    /// The node.
    pub fn peer(&self) -> PeerKey {
        self.secret.peer()
    }

    /// From now on it does these tricks, and no others.
    pub fn play(&self, tricks: Tricks) {
        *self.tricks.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(tricks);
    }

    /// From now on it is honest.
    pub fn behave(&self) {
        self.play(Tricks::default());
    }
}

/// An honest node behind a test's tricks.
pub(crate) struct Tricky {
    pub(crate) node: PeerKey,
    pub(crate) inner: Arc<dyn Serve>,
    pub(crate) tricks: Arc<Mutex<Arc<Tricks>>>,
    pub(crate) log: Arc<Mutex<Vec<Asked>>>,
    pub(crate) hanging: watch::Sender<usize>,
}

impl Tricky {
    fn tricks(&self) -> Arc<Tricks> {
        Arc::clone(&self.tricks.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn log(&self) -> MutexGuard<'_, Vec<Asked>> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, kind: RequestKind, address: ChunkAddress) {
        self.log().push(Asked { node: self.node, kind, address });
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
        let tricks = self.tricks();
        match tricks.admit.as_ref().map_or(Admit::Serve, |trick| trick(&request)) {
            Admit::Serve => {
                let inner = self.inner.admit(from, request).await?;
                Ok(Box::new(TrickyPut { inner, tricks }))
            }
            Admit::Refuse(refusal) => Err(refusal),
            Admit::Hang => {
                self.hanging.send_modify(|count| *count += 1);
                std::future::pending().await
            }
        }
    }

    async fn get(&self, from: PeerKey, address: ChunkAddress) -> Result<Option<Bytes>, Refusal> {
        self.note(RequestKind::Get, address);
        let honest = self.inner.get(from, address).await?;
        Ok(match &self.tricks().get {
            Some(trick) => trick(address, honest),
            None => honest,
        })
    }

    async fn has(&self, from: PeerKey, request: HasRequest) -> HasResponse {
        self.note(RequestKind::Has, request.addresses[0]);
        self.inner.has(from, request).await
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
