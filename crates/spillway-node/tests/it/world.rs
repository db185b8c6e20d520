//! One node among peers that only exist on paper, a chain that only knows records, and a client
//! that can be as hostile as it likes.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures::FutureExt;
use spillway_disk::{ManualClock, MemoryDisk};
use spillway_net::{AdmittedPut, Serve};
use spillway_node::{
    BatchLimits, Batches, BatchesOptions, ChainClock, NodeService, Price, ServiceOptions, Terms,
    limits::DEFAULT_MAX_PRIZE,
};
use spillway_pay::SumTree;
use spillway_store::{ChunkStore, MemoryStore};
use spillway_types::{
    Atto, BatchProof, BatchTerms, ChunkAddress, DirectProof, Domain, EvmAddress, Leaf, NetworkId,
    Nonce, PaymentId, PaymentProof, PeerKey, PeerSecret, PutRequest, Quote, QuoteAnswer, QuoteItem,
    QuoteRequest, QuoteTerms, Receipt, Refusal, RewardAddress, Share, UnixTime,
};

use crate::{fake_chain::FakeChain, fake_peers::FakePeers};

/// When the tests begin.
pub(crate) const START: UnixTime = UnixTime(1_800_000_000);
/// Who pays.
pub(crate) const PAYER: EvmAddress = EvmAddress([0xee; 20]);
/// Who asks.
pub(crate) const CLIENT: PeerKey = PeerKey([0xcc; 32]);
/// Length of the chunks of the tests, in bytes.
pub(crate) const CHUNK_BYTES: u32 = 10_000;
/// Free space of a node, in bytes.
pub(crate) const CAPACITY: u64 = 1 << 30;
/// How long the tests' payments leave to upload.
pub(crate) const WINDOW: Duration = Duration::from_hours(24);

pub(crate) fn domain() -> Domain {
    let vault = EvmAddress([0x11; 20]);
    Domain { network: NetworkId::named("test"), chain_id: 31_337, vault }
}

/// The key of the node with this number; 0 is the one that is tested.
pub(crate) fn secret(number: u8) -> PeerSecret {
    PeerSecret::from_seed(&[number + 1; 32])
}

pub(crate) fn reward(number: u8) -> RewardAddress {
    RewardAddress([number + 1; 20])
}

pub(crate) fn chunk(number: u32) -> Bytes {
    let mut random = fastrand::Rng::with_seed(number.into());
    std::iter::repeat_with(|| random.u8(..)).take(CHUNK_BYTES as usize).collect()
}

pub(crate) struct World<S = MemoryStore> {
    pub(crate) clock: ManualClock,
    pub(crate) chain: Arc<FakeChain>,
    pub(crate) peers: Arc<FakePeers>,
    pub(crate) store: Arc<S>,
    pub(crate) terms: Terms,
    /// Where further proofs and wins are kept.
    pub(crate) disk: MemoryDisk,
    pub(crate) batches: Batches,
    /// How long a silence of the chain may be from the next restart on.
    pub(crate) patience: Option<Duration>,
    /// How much is kept of batches from the next restart on.
    pub(crate) limits: BatchLimits,
    pub(crate) node: NodeService,
}

impl World {
    /// A node that stores in memory and knows the four others.
    pub(crate) fn new() -> Self {
        Self::with(MemoryStore::new(CAPACITY), |_| {})
    }

    pub(crate) fn with_terms(change: impl FnOnce(&mut Terms)) -> Self {
        Self::with(MemoryStore::new(CAPACITY), change)
    }
}

impl<S: ChunkStore + 'static> World<S> {
    pub(crate) fn with(store: S, change: impl FnOnce(&mut Terms)) -> Self {
        let clock = ManualClock::new(START);
        let chain = Arc::new(FakeChain::new(domain().chain_id, domain().vault, START));
        let known = (1..5).map(|number| secret(number).peer()).collect();
        let peers = Arc::new(FakePeers::new(secret(0).peer(), known));
        let mut terms = Terms::new(reward(0));
        terms.confirmations = 0;
        terms.price = Price::per_mib(Atto(1 << 30)).unwrap();
        // Batches without tips.
        terms.max_prize = Some(DEFAULT_MAX_PRIZE);
        change(&mut terms);
        let store = Arc::new(store);
        let disk = MemoryDisk::new();
        let heard = ChainClock::new(Arc::new(clock.clone()));
        let limits = BatchLimits::default();
        let batches = open(heard.clone(), &chain, &disk, terms, limits);
        let node = service(heard, &chain, &peers, store.clone(), &batches, terms);
        Self { clock, chain, peers, store, terms, disk, batches, patience: None, limits, node }
    }

    /// Ends the node and starts it anew with what it keeps; `change` is what its operator changed.
    pub(crate) fn restart(&mut self, change: impl FnOnce(&mut Terms)) {
        change(&mut self.terms);
        let Self { clock, chain, peers, store, disk, terms, .. } = &*self;
        let mut heard = ChainClock::new(Arc::new(clock.clone()));
        if let Some(patience) = self.patience {
            heard = heard.with_patience(patience);
        }
        let batches = open(heard.clone(), chain, disk, *terms, self.limits);
        self.node = service(heard, chain, peers, store.clone(), &batches, *terms);
        self.batches = batches;
    }

    pub(crate) async fn ask(&self, address: ChunkAddress, size: u32) -> QuoteAnswer {
        self.ask_all(CLIENT, vec![QuoteItem { address, size }]).await.unwrap().remove(0)
    }

    pub(crate) async fn ask_all(
        &self,
        from: PeerKey,
        items: Vec<QuoteItem>,
    ) -> Result<Vec<QuoteAnswer>, Refusal> {
        let request = QuoteRequest { items, nonce: Nonce([9; 16]) };
        self.node.quote(from, request).await.answers
    }

    /// The node's own quote.
    pub(crate) async fn quote(&self, address: ChunkAddress, size: u32) -> Quote {
        match self.ask(address, size).await {
            QuoteAnswer::Offered { quote, .. } => quote,
            QuoteAnswer::Refused(refusal) => panic!("no quote: {refusal}"),
        }
    }

    /// An honest put of a chunk, which nobody has paid for yet.
    pub(crate) async fn deal(&self, number: u32) -> Deal {
        self.deal_of(&[number]).await.remove(0)
    }

    /// A put of a chunk that only has an address and a size.
    pub(crate) async fn deal_for(&self, address: ChunkAddress, size: u32) -> Deal {
        let quotes = quotes_like(&self.quote(address, size).await);
        let leaf = leaf(address, &quotes);
        let upload_by = START.saturating_add(WINDOW);
        let leaves = [leaf.clone()];
        let proof = PaymentProof::Direct(DirectProof::for_leaves(PAYER, upload_by, &leaves));
        let relay_to = Vec::new();
        let put = PutRequest { leaf, size, proof, quotes, relay_to, nonce: Nonce([5; 16]) };
        Deal { put, chunk: Bytes::new() }
    }

    /// Honest puts of chunks that one payment pays for.
    pub(crate) async fn deal_of(&self, numbers: &[u32]) -> Vec<Deal> {
        let mut priced = Vec::new();
        for number in numbers {
            let chunk = chunk(*number);
            let address = ChunkAddress::of(&chunk);
            let own = self.quote(address, CHUNK_BYTES).await;
            let quotes = quotes_like(&own);
            priced.push((chunk, leaf(address, &quotes), quotes));
        }
        let leaves: Vec<Leaf> = priced.iter().map(|(_, leaf, _)| leaf.clone()).collect();
        let proof = DirectProof::for_leaves(PAYER, START.saturating_add(WINDOW), &leaves);
        let deal = |(chunk, leaf, quotes): (Bytes, Leaf, [Quote; 5])| {
            let size = u32::try_from(chunk.len()).unwrap();
            let proof = PaymentProof::Direct(proof.clone());
            let relay_to = Vec::new();
            let put = PutRequest { leaf, size, proof, quotes, relay_to, nonce: Nonce([5; 16]) };
            Deal { put, chunk }
        };
        priced.into_iter().map(deal).collect()
    }

    /// Honest puts of chunks of one batch, which nobody has paid for yet; `change` is made to its
    /// terms before the leaves are proven.
    pub(crate) async fn batch_of(
        &self,
        numbers: &[u32],
        change: impl FnOnce(&mut BatchTerms),
    ) -> Vec<Deal> {
        let mut deals = self.deal_of(numbers).await;
        rebatch(&mut deals, change);
        deals
    }

    /// A batch of one chunk, paid for now.
    pub(crate) async fn paid_batch(
        &self,
        number: u32,
        change: impl FnOnce(&mut BatchTerms),
    ) -> Deal {
        let deal = self.batch_of(&[number], change).await.remove(0);
        self.pay(&deal);
        deal
    }

    /// Hears the chain and does what follows.
    pub(crate) async fn follow(&self) {
        self.batches.hear().await.unwrap();
        self.batches.tend(self.store.as_ref()).await;
    }

    /// An honest put, paid for now.
    pub(crate) async fn paid_deal(&self, number: u32) -> Deal {
        let deal = self.deal(number).await;
        self.pay(&deal);
        deal
    }

    /// Records the payment of this put now.
    pub(crate) fn pay(&self, deal: &Deal) {
        use spillway_disk::Clock;
        self.chain.record_payment(deal.payment(), self.clock.now());
    }

    pub(crate) async fn admit(&self, put: &PutRequest) -> Result<Box<dyn AdmittedPut>, Refusal> {
        self.node.admit(CLIENT, put.clone()).await
    }

    /// The whole put.
    pub(crate) async fn put(&self, deal: &Deal) -> Result<Receipt, Refusal> {
        self.put_body(deal, deal.chunk.clone()).await
    }

    pub(crate) async fn put_body(&self, deal: &Deal, body: Bytes) -> Result<Receipt, Refusal> {
        let receipts = self.admit(&deal.put).await?.store(body).await.receipts?;
        assert_eq!(receipts.len(), 1);
        Ok(receipts[0])
    }

    /// Asserts that nothing was stored and nothing is held for it.
    pub(crate) fn assert_nothing_stored(&self) {
        assert_eq!(self.store.chunks(), 0);
        assert_eq!(self.store.capacity().used_bytes, 0);
    }
}

fn open(
    clock: ChainClock,
    chain: &Arc<FakeChain>,
    disk: &MemoryDisk,
    terms: Terms,
    limits: BatchLimits,
) -> Batches {
    let (disk, chain, domain) = (Arc::new(disk.clone()), chain.clone(), domain());
    let options = BatchesOptions { disk, chain, domain, terms, clock };
    // Nothing of this world waits.
    Batches::open_with(options, limits).now_or_never().unwrap().unwrap()
}

fn service(
    clock: ChainClock,
    chain: &Arc<FakeChain>,
    peers: &Arc<FakePeers>,
    store: Arc<dyn ChunkStore>,
    batches: &Batches,
    terms: Terms,
) -> NodeService {
    NodeService::new(ServiceOptions {
        secret: secret(0),
        domain: domain(),
        terms,
        store,
        chain: chain.clone(),
        batches: batches.clone(),
        clock,
        peers: peers.clone(),
    })
}

/// Makes one batch of the leaves of these puts, as they are now.
pub(crate) fn rebatch(deals: &mut [Deal], change: impl FnOnce(&mut BatchTerms)) {
    let leaves: Vec<Leaf> = deals.iter().map(|deal| deal.put.leaf.clone()).collect();
    let tree = SumTree::new(&leaves).unwrap();
    let mut terms = BatchTerms {
        payer: PAYER,
        root: tree.root().hash,
        total: tree.root().sum,
        tip: Atto::ZERO,
        upload_by: START.saturating_add(WINDOW),
        draws: 1,
    };
    change(&mut terms);
    for (index, deal) in deals.iter_mut().enumerate() {
        let siblings = tree.siblings(index);
        deal.put.proof = PaymentProof::Batch(BatchProof { terms, siblings });
    }
}

/// A put and its chunk.
#[derive(Clone, Debug)]
pub(crate) struct Deal {
    pub(crate) put: PutRequest,
    pub(crate) chunk: Bytes,
}

impl Deal {
    pub(crate) fn payment(&self) -> PaymentId {
        self.put.proof.id(&domain())
    }

    /// Changes the terms of one quote and signs them again with the key of the node of this number.
    pub(crate) fn requote(&mut self, number: u8, change: impl FnOnce(&mut QuoteTerms)) {
        let quote = &mut self.put.quotes[usize::from(number)];
        let mut terms = quote.terms;
        change(&mut terms);
        *quote = terms.sign(&secret(number));
    }

    /// Makes a new proof of the leaf as it is now.
    pub(crate) fn prove(&mut self) {
        let upload_by = self.put.proof.upload_by();
        let leaves = [self.put.leaf.clone()];
        self.put.proof = PaymentProof::Direct(DirectProof::for_leaves(PAYER, upload_by, &leaves));
    }

    /// Changes one share, and the proof with it.
    pub(crate) fn share(&mut self, index: usize, change: impl FnOnce(&mut Share)) {
        change(&mut self.put.leaf.shares[index]);
        self.prove();
    }

    /// Another window, and the proof with it.
    pub(crate) fn upload_by(&mut self, upload_by: UnixTime) {
        let PaymentProof::Direct(direct) = &mut self.put.proof else { panic!("direct") };
        direct.upload_by = upload_by;
    }

    pub(crate) fn batch(&mut self) -> &mut BatchProof {
        match &mut self.put.proof {
            PaymentProof::Batch(batch) => batch,
            _ => panic!("batch"),
        }
    }

    pub(crate) fn direct(&mut self) -> &mut DirectProof {
        match &mut self.put.proof {
            PaymentProof::Direct(direct) => direct,
            _ => panic!("direct"),
        }
    }
}

/// The node's quote and the like of four others.
pub(crate) fn quotes_like(own: &Quote) -> [Quote; 5] {
    let mut quotes = [*own; 5];
    for (number, quote) in (0..).zip(&mut quotes).skip(1) {
        let terms = QuoteTerms { reward: reward(number), ..own.terms };
        *quote = terms.sign(&secret(number));
    }
    quotes
}

/// The leaf that pays these quotes exactly.
pub(crate) fn leaf(address: ChunkAddress, quotes: &[Quote; 5]) -> Leaf {
    let share = |quote: Quote| Share { payee: quote.terms.reward, amount: quote.terms.price };
    Leaf { address, shares: quotes.map(share) }
}
