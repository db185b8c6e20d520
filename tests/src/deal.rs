use std::{ops::Range, time::Duration};

use bytes::Bytes;
use spillway_disk::Clock;
use spillway_pay::{Plan, PlanMode, SumTree};
use spillway_testnet::TestClient;
use spillway_types::{
    Atto, ChunkAddress, Leaf, Nonce, PeerKey, PutRequest, Quote, QuoteAnswer, QuoteItem,
    QuoteRequest, QuoteTerms, Receipt, Refusal, Share, Sibling,
    limits::{CLOSE_GROUP, MIN_UPLOAD_WINDOW},
};

use crate::{Network, noise};

/// How long the payment of a hand-made plan may take: less than quotes live.
const TIME_TO_PAY: Duration = Duration::from_mins(50);

/// What the nodes answered to a put, by their number.
pub type Answers = Vec<(usize, Result<Vec<Receipt>, Refusal>)>;

/// Chunks with real quotes, in the hands of a client that makes its plans itself, so that it can
/// make them wrong.
#[derive(Clone, Debug)]
pub struct Deal {
    /// The chunks.
    pub chunks: Vec<Bytes>,
    /// Five quotes each, nearest first.
    pub quotes: Vec<[Quote; CLOSE_GROUP]>,
    /// What the quotes ask.
    pub leaves: Vec<Leaf>,
}

impl Deal {
    /// Chunks of `len` bytes, one a seed, at most 128, quoted by their five nearest nodes.
    pub async fn ask(
        network: &Network,
        client: &TestClient,
        seeds: Range<u64>,
        len: usize,
    ) -> Self {
        let chunks: Vec<Bytes> = seeds.map(|seed| noise(seed, len).into()).collect();
        let size = u32::try_from(len).unwrap();
        let item = |chunk: &Bytes| QuoteItem { address: ChunkAddress::of(chunk), size };
        let items: Vec<QuoteItem> = chunks.iter().map(item).collect();
        let mut offered: Vec<Vec<Quote>> = vec![Vec::new(); chunks.len()];
        for node in network.testnet.running() {
            let request = QuoteRequest { items: items.clone(), nonce: Nonce([1; 16]) };
            let response = client.net().peers().quote(node.peer(), request).await.unwrap();
            for (quotes, answer) in offered.iter_mut().zip(response.answers.unwrap()) {
                let QuoteAnswer::Offered { quote, .. } = answer else { panic!("{answer:?}") };
                quotes.push(quote);
            }
        }
        let nearest = |(mut quotes, item): (Vec<Quote>, &QuoteItem)| {
            quotes.sort_by_key(|quote| quote.peer.distance(&item.address));
            quotes.truncate(CLOSE_GROUP);
            <[Quote; CLOSE_GROUP]>::try_from(quotes).unwrap()
        };
        let quotes: Vec<_> = offered.into_iter().zip(&items).map(nearest).collect();
        let leaf = |(quotes, item): (&[Quote; CLOSE_GROUP], &QuoteItem)| {
            let share =
                |quote: Quote| Share { payee: quote.terms.reward, amount: quote.terms.price };
            Leaf { address: item.address, shares: quotes.map(share) }
        };
        let leaves = quotes.iter().zip(&items).map(leaf).collect();
        Self { chunks, quotes, leaves }
    }

    /// The least tip that all take.
    pub fn min_tip(&self) -> Atto {
        self.terms().map(|terms| terms.min_tip).max().unwrap()
    }

    /// The largest prize that all take.
    pub fn max_prize(&self) -> Atto {
        self.terms().map(|terms| terms.max_prize).min().unwrap()
    }

    /// What all quotes say.
    pub fn terms(&self) -> impl Iterator<Item = &QuoteTerms> {
        self.quotes.iter().flatten().map(|quote| &quote.terms)
    }

    /// A batch over all leaves that everybody should take, with so many draws.
    pub fn batch(&self, network: &Network, draws: u8) -> Plan {
        self.plan(
            network,
            PlanMode::Batch { root: self.tree().root().hash, tip: self.min_tip(), draws },
        )
    }

    /// A direct payment for all leaves.
    pub fn direct(&self, network: &Network) -> Plan {
        self.plan(network, PlanMode::Direct)
    }

    /// What proves leaf `index`.
    pub fn siblings(&self, index: usize) -> Vec<Sibling> {
        self.tree().siblings(index)
    }

    fn tree(&self) -> SumTree {
        SumTree::new(&self.leaves).unwrap()
    }

    /// A plan by the testnet's wallet that ends with the shortest window that clients plan.
    fn plan(&self, network: &Network, mode: PlanMode) -> Plan {
        let now = network.testnet.clock().now();
        Plan {
            domain: *network.testnet.domain(),
            mode,
            payer: network.testnet.wallet().address(),
            leaves: self.leaves.clone(),
            upload_by: now.saturating_add(MIN_UPLOAD_WINDOW),
            valid_until: now.saturating_add(TIME_TO_PAY),
        }
    }

    /// The header that puts chunk `index` for this plan.
    pub fn put(&self, plan: &Plan, index: usize) -> PutRequest {
        PutRequest {
            leaf: plan.leaves[index].clone(),
            size: u32::try_from(self.chunks[index].len()).unwrap(),
            proof: (*plan.proofs().unwrap().of(index)).clone(),
            quotes: self.quotes[index],
            relay_to: Vec::new(),
            nonce: Nonce([2; 16]),
        }
    }

    /// Puts chunk `index` for this plan on its five nodes, those that run.
    pub async fn store(
        &self,
        network: &Network,
        client: &TestClient,
        plan: &Plan,
        index: usize,
    ) -> Answers {
        send(network, client, &self.put(plan, index), &self.chunks[index]).await
    }
}

/// Sends a put to the five nodes that it names, those that run.
pub async fn send(
    network: &Network,
    client: &TestClient,
    put: &PutRequest,
    chunk: &Bytes,
) -> Answers {
    let quoted: Vec<PeerKey> = put.quotes.iter().map(|quote| quote.peer).collect();
    let mut answers = Vec::new();
    for node in network.testnet.running().filter(|node| quoted.contains(&node.peer())) {
        let response = client.net().peers().put(node.peer(), put.clone(), chunk.clone()).await;
        answers.push((node.index(), response.unwrap().receipts));
    }
    answers
}
