use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use bytes::Bytes;
use spillway_net::{AdmittedPut, Serve};
use spillway_types::{
    Atto, ChunkAddress, DirectProof, Domain, EvmAddress, HasRequest, HasResponse, Leaf, LeafHash,
    NetworkId, Nonce, OfferRequest, PaymentId, PaymentProof, PeerKey, PeerSecret, PutRequest,
    PutResponse, Quote, QuoteAnswer, QuoteItem, QuoteRequest, QuoteResponse, QuoteTerms, Receipt,
    ReceiptBody, Refusal, RewardAddress, Share, UnixTime,
};
use tokio::sync::watch;

pub(crate) fn secret(byte: u8) -> PeerSecret {
    PeerSecret::from_seed(&[byte; 32])
}

pub(crate) fn address(byte: u8) -> ChunkAddress {
    ChunkAddress([byte; 32])
}

/// Bytes that differ from place to place.
pub(crate) fn chunk(size: usize) -> Bytes {
    let mut random = fastrand::Rng::with_seed(size as u64);
    let mut bytes = vec![0; size];
    random.fill(&mut bytes);
    bytes.into()
}

pub(crate) fn domain() -> Domain {
    Domain { network: NetworkId([1; 32]), chain_id: 31_337, vault: EvmAddress([2; 20]) }
}

pub(crate) fn quote(secret: &PeerSecret, item: QuoteItem) -> Quote {
    let terms = QuoteTerms {
        domain: domain(),
        address: item.address,
        size: item.size,
        price: Atto(u128::from(item.size)),
        reward: RewardAddress([3; 20]),
        issued: UnixTime(1_000),
        expires: UnixTime(4_600),
        min_tip: Atto(0),
        max_prize: Atto(0),
        max_window_secs: 86_400,
        confirmations: 0,
    };
    terms.sign(secret)
}

pub(crate) fn receipt(
    secret: &PeerSecret,
    address: ChunkAddress,
    size: u32,
    nonce: Nonce,
) -> Receipt {
    let body = ReceiptBody {
        domain: domain(),
        payment: PaymentId([4; 32]),
        leaf: LeafHash([5; 32]),
        address,
        size,
        time: UnixTime(1_000),
        nonce,
    };
    body.sign(secret)
}

pub(crate) fn put(address: ChunkAddress, size: usize) -> PutRequest {
    let size = u32::try_from(size).unwrap();
    let quotes = [1, 2, 3, 4, 5].map(|byte| quote(&secret(byte), QuoteItem { address, size }));
    let shares = quotes.map(|q| Share { payee: q.terms.reward, amount: q.terms.price });
    let leaf = Leaf { address, shares };
    let (payer, upload_by) = (EvmAddress([6; 20]), UnixTime(100_000));
    let proof = DirectProof::for_leaves(payer, upload_by, std::slice::from_ref(&leaf));
    PutRequest {
        leaf,
        size,
        proof: PaymentProof::Direct(proof),
        quotes,
        relay_to: Vec::new(),
        nonce: Nonce([7; 16]),
    }
}

/// An offer of such a put with three receipts.
pub(crate) fn offer(address: ChunkAddress, size: usize) -> OfferRequest {
    let put = put(address, size);
    let receipts = [1, 2, 3].map(|byte| receipt(&secret(byte), address, put.size, put.nonce));
    OfferRequest { put, receipts: receipts.to_vec() }
}

pub(crate) fn quotes(count: usize) -> QuoteRequest {
    let item = |i: usize| QuoteItem {
        address: address(u8::try_from(i % 256).unwrap()),
        size: u32::try_from(i + 1).unwrap(),
    };
    QuoteRequest { items: (0..count).map(item).collect(), nonce: Nonce([8; 16]) }
}

/// What a node does that answers in its own way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    /// Everything that is asked.
    Willing,
    /// Refuses every put by its header, and every get.
    Refusing(Refusal),
    /// Answers one thing less than it was asked.
    Short,
    /// Takes its time over a put's header, for ever.
    Undecided,
}

/// A node that keeps chunks in memory and remembers who asked.
#[derive(Debug)]
pub(crate) struct TestNode {
    secret: PeerSecret,
    manner: Manner,
    chunks: Arc<Mutex<HashMap<ChunkAddress, Bytes>>>,
    asked_by: Mutex<Vec<PeerKey>>,
    admitted: watch::Sender<usize>,
}

impl TestNode {
    pub(crate) fn new(secret: PeerSecret, manner: Manner) -> Arc<Self> {
        Arc::new(Self {
            secret,
            manner,
            chunks: Arc::default(),
            asked_by: Mutex::default(),
            admitted: watch::Sender::new(0),
        })
    }

    pub(crate) fn keep(&self, address: ChunkAddress, chunk: Bytes) {
        self.chunks.lock().unwrap().insert(address, chunk);
    }

    pub(crate) fn chunk(&self, address: ChunkAddress) -> Option<Bytes> {
        self.chunks.lock().unwrap().get(&address).cloned()
    }

    pub(crate) fn chunks(&self) -> usize {
        self.chunks.lock().unwrap().len()
    }

    pub(crate) fn asked_by(&self) -> Vec<PeerKey> {
        self.asked_by.lock().unwrap().clone()
    }

    /// Puts that were admitted and neither stored nor given up.
    pub(crate) fn admitted(&self) -> usize {
        *self.admitted.borrow()
    }

    /// Waits until so many puts are admitted and neither stored nor given up.
    pub(crate) async fn admitted_are(&self, count: usize) {
        self.admitted.subscribe().wait_for(|admitted| *admitted == count).await.unwrap();
    }

    fn answers(&self, asked: usize) -> usize {
        if self.manner == Manner::Short { asked - 1 } else { asked }
    }

    fn note(&self, from: PeerKey) {
        self.asked_by.lock().unwrap().push(from);
    }
}

#[async_trait]
impl Serve for TestNode {
    async fn quote(&self, from: PeerKey, request: QuoteRequest) -> QuoteResponse {
        self.note(from);
        let count = self.answers(request.items.len());
        let answer = |item: &QuoteItem| QuoteAnswer::Offered {
            quote: quote(&self.secret, *item),
            receipt: self
                .chunk(item.address)
                .map(|_| receipt(&self.secret, item.address, item.size, request.nonce)),
        };
        QuoteResponse { answers: Ok(request.items[..count].iter().map(answer).collect()) }
    }

    async fn admit(
        &self,
        from: PeerKey,
        request: PutRequest,
    ) -> Result<Box<dyn AdmittedPut>, Refusal> {
        self.note(from);
        match &self.manner {
            Manner::Refusing(refusal) => return Err(refusal.clone()),
            Manner::Undecided => std::future::pending().await,
            Manner::Willing | Manner::Short => {}
        }
        self.admitted.send_modify(|admitted| *admitted += 1);
        Ok(Box::new(TestPut {
            chunks: Arc::clone(&self.chunks),
            receipt: receipt(&self.secret, request.leaf.address, request.size, request.nonce),
            admitted: self.admitted.clone(),
        }))
    }

    async fn admit_offer(
        &self,
        from: PeerKey,
        request: OfferRequest,
    ) -> Result<Box<dyn AdmittedPut>, Refusal> {
        self.admit(from, request.put).await
    }

    async fn get(&self, from: PeerKey, address: ChunkAddress) -> Result<Option<Bytes>, Refusal> {
        self.note(from);
        match &self.manner {
            Manner::Refusing(refusal) => Err(refusal.clone()),
            _ => Ok(self.chunk(address)),
        }
    }

    async fn has(&self, from: PeerKey, request: HasRequest) -> HasResponse {
        self.note(from);
        let count = self.answers(request.addresses.len());
        let has = |address: &ChunkAddress| self.chunk(*address).is_some();
        HasResponse { present: Ok(request.addresses[..count].iter().map(has).collect()) }
    }
}

struct TestPut {
    chunks: Arc<Mutex<HashMap<ChunkAddress, Bytes>>>,
    receipt: Receipt,
    admitted: watch::Sender<usize>,
}

#[async_trait]
impl AdmittedPut for TestPut {
    async fn store(self: Box<Self>, body: Bytes) -> PutResponse {
        self.chunks.lock().unwrap().insert(self.receipt.body.address, body);
        PutResponse { receipts: Ok(vec![self.receipt]) }
    }
}

impl Drop for TestPut {
    fn drop(&mut self) {
        self.admitted.send_modify(|admitted| *admitted -= 1);
    }
}
