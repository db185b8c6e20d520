use std::time::Duration;

use fastrand::Rng;
use spillway_pay::{
    ASSUMED_UPLOAD_RATE, BatchInput, BeaconState, LeafSpan, PlanInput, PlanProofs, SumNode,
    SumTree, plan_batches, verify,
};
use spillway_types::{
    Atto, BatchProof, BatchTerms, ChunkAddress, Domain, EvmAddress, Leaf, NetworkId, PaymentId,
    Seed, Share, Sibling, Side, UnixTime, Win, limits,
};

use super::network::{Conduct, LEAST_PRICE, Network, payee, random_bytes};

/// What a client tries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Client {
    /// Pays for what it stores.
    Honest,
    /// Pays for twice as many chunks as it hands over.
    Withholding,
    /// Every second leaf pays its own accounts only; there is no such chunk.
    SelfPaying,
    /// One leaf to itself that is worth nine times all the others.
    Whale,
    /// One of the five payees of every leaf is itself, at ten times the price.
    OwnFifth,
    /// Every fourth leaf is there twice.
    Doubling,
    /// A tree made by hand, as uneven as a proof may be deep.
    Lopsided,
}

impl Client {
    pub(super) const ALL: [Self; 7] = [
        Self::Honest,
        Self::Withholding,
        Self::SelfPaying,
        Self::Whale,
        Self::OwnFifth,
        Self::Doubling,
        Self::Lopsided,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Honest => "honest",
            Self::Withholding => "withholds every second chunk",
            Self::SelfPaying => "pays itself with every second leaf",
            Self::Whale => "one leaf to itself, 90 % of the total",
            Self::OwnFifth => "itself among the five, at ten times the price",
            Self::Doubling => "every fourth leaf twice",
            Self::Lopsided => "uneven tree made by hand",
        }
    }

    /// Six of ten are honest.
    pub(super) fn pick(rng: &mut Rng) -> Self {
        Self::ALL[rng.usize(..15).saturating_sub(8)]
    }
}

/// One leaf and what became of its chunk.
#[derive(Debug)]
pub(super) struct Listed {
    pub(super) leaf: Leaf,
    /// The node behind each share; `None`: the client itself.
    pub(super) nodes: [Option<usize>; limits::CLOSE_GROUP],
    /// Who has chunk and proof when the draw comes.
    pub(super) kept: [bool; limits::CLOSE_GROUP],
    /// Whether the same leaf stands before it in the batch: it stores nothing more.
    pub(super) again: bool,
    /// Which points it covers.
    pub(super) span: LeafSpan,
}

impl Listed {
    /// Whether somebody settles when it is drawn: a node that has the proof, or the client where
    /// all of it is its own.
    pub(super) fn claimed(&self) -> bool {
        self.is_own() || self.kept.contains(&true)
    }

    /// Whether all of it pays the client.
    pub(super) fn is_own(&self) -> bool {
        self.nodes.iter().all(Option::is_none)
    }
}

/// One batch.
#[derive(Debug)]
pub(super) struct Upload {
    pub(super) client: Client,
    pub(super) leaves: Vec<Listed>,
    pub(super) terms: BatchTerms,
    pub(super) id: PaymentId,
    tree: Tree,
}

#[derive(Debug)]
enum Tree {
    Even(Box<SumTree>),
    /// Each leaf beside all that stand before it.
    Comb(Vec<Vec<Sibling>>),
}

/// The least and most leaves of a batch here.
const LEAVES: std::ops::RangeInclusive<usize> = 16..=limits::DEFAULT_BATCH_LEAVES;

/// What whoever settles gets a draw: about one node's price of a chunk.
const TIP: Atto = Atto(10 * LEAST_PRICE);

/// When every upload is planned.
const NOW: UnixTime = UnixTime(1_800_000_000);

impl Upload {
    /// The batch of a client, and what nodes make of its chunks.
    pub(super) fn new(number: usize, client: Client, network: &Network, rng: &mut Rng) -> Self {
        let leaves = leaves(number, client, network, rng);
        Self::of(number, client, leaves)
    }

    /// An honest client's batch of exactly as many leaves as one draw is for.
    pub(super) fn of_one_draw(number: usize, network: &Network, rng: &mut Rng) -> Self {
        let leaf = |_| node_leaf(number, Client::Honest, network, rng);
        let leaves = (0..limits::LEAVES_PER_DRAW).map(leaf).collect();
        Self::of(number, Client::Honest, leaves)
    }

    fn of(number: usize, client: Client, mut leaves: Vec<Listed>) -> Self {
        let mut from = Atto::ZERO;
        for listed in &mut leaves {
            listed.span = LeafSpan { from, sum: listed.leaf.total() };
            from = from.saturating_add(listed.span.sum);
        }
        let plain: Vec<Leaf> = leaves.iter().map(|listed| listed.leaf.clone()).collect();
        let payer = EvmAddress(payee(2, number).0);
        let (terms, tree) = match client {
            Client::Lopsided => {
                let (proofs, root) = comb(&plain);
                (by_hand(payer, root, plain.len()), Tree::Comb(proofs))
            }
            Client::Doubling => {
                let tree = SumTree::new(&plain).expect("invariant: the leaves are sound");
                (by_hand(payer, tree.root(), plain.len()), Tree::Even(Box::new(tree)))
            }
            _ => planned(payer, plain),
        };
        Self { client, leaves, terms, id: terms.id(&domain()), tree }
    }

    /// The leaf that a draw falls on, and what it pays each share. The product's own check says where
    /// the leaf lies, and the product says who gets how much.
    pub(super) fn drawn(&self, seed: Seed, draw: u8) -> (usize, [u128; limits::CLOSE_GROUP]) {
        let point = self.terms.draw_point(seed, self.id, draw);
        let index = self.leaves.partition_point(|listed| listed.span.from <= point) - 1;
        let listed = &self.leaves[index];
        let span = self.checked_span(index);
        assert_eq!(span, listed.span, "the proof says where the leaf lies");
        assert!(span.contains(point), "the leaf contains the point");
        (index, self.payouts(index, draw))
    }

    /// What a draw pays each share of a leaf.
    pub(super) fn payouts(&self, index: usize, draw: u8) -> [u128; limits::CLOSE_GROUP] {
        let leaf = self.leaves[index].leaf.clone();
        let win = Win { terms: self.terms, draw, leaf, siblings: Vec::new() };
        win.payouts().map(|share| share.amount.0)
    }

    /// Where a leaf lies by its proof.
    pub(super) fn checked_span(&self, index: usize) -> LeafSpan {
        let siblings = match &self.tree {
            Tree::Even(tree) => tree.siblings(index),
            Tree::Comb(proofs) => proofs[index].clone(),
        };
        let proof = BatchProof { terms: self.terms, siblings };
        verify::batch_leaf(&proof, &self.leaves[index].leaf)
            .expect("invariant: every leaf is in its batch")
    }

    /// The first leaf with a shorter way to the root than the first one has: it and all after it
    /// moved up without a sibling. None of a tree made by hand.
    pub(super) fn promoted_from(&self) -> usize {
        match &self.tree {
            Tree::Even(tree) => {
                let depth = tree.siblings(0).len();
                let places: Vec<usize> = (0..self.leaves.len()).collect();
                places.partition_point(|&index| tree.siblings(index).len() == depth)
            }
            Tree::Comb(_) => self.leaves.len(),
        }
    }
}

/// Where everything happens.
pub(super) fn domain() -> Domain {
    Domain { network: NetworkId([0; 32]), chain_id: 31_337, vault: EvmAddress([9; 20]) }
}

/// As [`Upload::payouts`], for amounts whose products fit 128 bits: the sweep asks millions of times.
pub(super) fn quick_payouts(leaf: &Leaf, prize: Atto) -> [u128; limits::CLOSE_GROUP] {
    let sum = leaf.total().0;
    let mut rest = prize.0;
    let mut parts = leaf.shares.map(|share| prize.0 * share.amount.0 / sum);
    let (last, others) = parts.split_last_mut().expect("invariant: five shares");
    rest -= others.iter().sum::<u128>();
    *last = rest;
    parts
}

/// What the planner makes of an upload.
fn planned(payer: EvmAddress, leaves: Vec<Leaf>) -> (BatchTerms, Tree) {
    let input = PlanInput {
        domain: domain(),
        payer,
        leaves,
        now: NOW,
        first_expiry: NOW.saturating_add(limits::QUOTE_LIFETIME),
        upload_bytes: 0,
        upload_rate: ASSUMED_UPLOAD_RATE,
        min_window: Duration::from_mins(15),
        max_window: limits::MAX_UPLOAD_WINDOW,
    };
    let beacon =
        BeaconState { beacon: EvmAddress([8; 20]), epoch: Duration::from_hours(24), latest: NOW };
    let batch = BatchInput {
        max_leaves: limits::MAX_BATCH_LEAVES,
        min_tip: TIP,
        max_prize: Atto::MAX_SHARE,
        beacon,
    };
    let plans = plan_batches(input, batch).expect("invariant: prices and times are sound");
    let [plan] = plans.as_slice() else { panic!("invariant: one batch holds all") };
    match plan.proofs().expect("invariant: the leaves are sound") {
        PlanProofs::Batch { terms, tree } => (terms, Tree::Even(tree)),
        PlanProofs::Direct(_) => panic!("invariant: a batch was planned"),
    }
}

/// What a client asks for that does not use the planner: as many draws as the planner would take.
fn by_hand(payer: EvmAddress, root: SumNode, leaves: usize) -> BatchTerms {
    let draws = leaves.div_ceil(limits::LEAVES_PER_DRAW).min(limits::MAX_DRAWS);
    BatchTerms {
        payer,
        root: root.hash,
        total: root.sum,
        tip: TIP,
        upload_by: NOW.saturating_add(limits::MIN_UPLOAD_WINDOW),
        draws: u8::try_from(draws).expect("invariant: at most 200"),
    }
}

fn leaves(number: usize, client: Client, network: &Network, rng: &mut Rng) -> Vec<Listed> {
    let count = match client {
        Client::Lopsided => 2 + rng.usize(..limits::MAX_PROOF_DEPTH),
        _ => size(rng),
    };
    let mut leaves: Vec<Listed> = Vec::with_capacity(count + 1);
    for place in 0..count {
        let own = client == Client::SelfPaying && place % 2 == 1;
        let again = client == Client::Doubling && place % 4 == 3;
        let listed = match leaves.last() {
            Some(before) if again => Listed {
                leaf: before.leaf.clone(),
                nodes: before.nodes,
                kept: before.kept,
                again: true,
                span: before.span,
            },
            _ if own => own_leaf(number, network.share(rng.usize(..10), rng).amount, rng),
            _ => node_leaf(number, client, network, rng),
        };
        leaves.push(listed);
    }
    if client == Client::Whale {
        let others: u128 = leaves.iter().map(|listed| listed.leaf.total().0).sum();
        let place = rng.usize(..=leaves.len());
        leaves.insert(place, own_leaf(number, Atto(others * 9 / 5), rng));
    }
    leaves
}

/// How many leaves: as many uploads have 16 to 32 as 32 to 64, and so on.
fn size(rng: &mut Rng) -> usize {
    let low = LEAVES.start() << rng.u32(..8);
    rng.usize(low..=(2 * low).min(*LEAVES.end()))
}

/// A leaf whose five payees are the client's own accounts.
fn own_leaf(number: usize, each: Atto, rng: &mut Rng) -> Listed {
    let share = Share { payee: payee(3, number), amount: each };
    Listed {
        leaf: Leaf { address: ChunkAddress(random_bytes(rng)), shares: [share; 5] },
        nodes: [None; 5],
        kept: [false; 5],
        again: false,
        span: LeafSpan { from: Atto::ZERO, sum: Atto::ZERO },
    }
}

/// A leaf that pays the chunk's close group, and what the group does with the chunk.
fn node_leaf(number: usize, client: Client, network: &Network, rng: &mut Rng) -> Listed {
    let address = ChunkAddress(random_bytes(rng));
    let group = network.close_group(&address);
    let mut nodes = group.map(Some);
    let mut shares = group.map(|node| network.share(node, rng));
    if client == Client::OwnFifth {
        let place = rng.usize(..5);
        nodes[place] = None;
        let amount = shares[place].amount.saturating_mul(10);
        shares[place] = Share { payee: payee(3, number), amount };
    }
    let sent = client != Client::Withholding || rng.bool();
    let kept = nodes.map(|node| {
        let keeps =
            node.is_some_and(|node| network.nodes[node].conduct == Conduct::Reliable || rng.bool());
        keeps && sent
    });
    Listed {
        leaf: Leaf { address, shares },
        nodes,
        kept,
        again: false,
        span: LeafSpan { from: Atto::ZERO, sum: Atto::ZERO },
    }
}

/// A tree in which each leaf stands beside all before it: the first two are the deepest.
fn comb(leaves: &[Leaf]) -> (Vec<Vec<Sibling>>, SumNode) {
    let mut proofs: Vec<Vec<Sibling>> = vec![Vec::new(); leaves.len()];
    let mut node = SumNode::leaf(&leaves[0]);
    for (index, leaf) in leaves.iter().enumerate().skip(1) {
        let beside = SumNode::leaf(leaf);
        for proof in &mut proofs[..index] {
            proof.push(Sibling { hash: beside.hash, sum: beside.sum, side: Side::Right });
        }
        proofs[index].push(Sibling { hash: node.hash, sum: node.sum, side: Side::Left });
        node = SumNode::above(node, beside).expect("invariant: small sums");
    }
    (proofs, node)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_leaf_lies_where_its_proof_says() {
        let mut rng = Rng::with_seed(3);
        let network = Network::new(20, &mut rng);
        for client in Client::ALL {
            let upload = Upload::new(1, client, &network, &mut rng);
            for (index, listed) in upload.leaves.iter().enumerate().take(300) {
                assert_eq!(upload.checked_span(index), listed.span, "{client:?}, leaf {index}");
            }
            let end = upload.leaves.last().unwrap().span;
            assert_eq!(end.from.saturating_add(end.sum), upload.terms.total, "{client:?}");
        }
    }

    #[test]
    fn the_quick_payouts_are_the_products() {
        let mut rng = Rng::with_seed(5);
        let network = Network::new(20, &mut rng);
        for client in Client::ALL {
            let upload = Upload::new(1, client, &network, &mut rng);
            for index in 0..upload.leaves.len().min(100) {
                let leaf = &upload.leaves[index].leaf;
                let quick = quick_payouts(leaf, upload.terms.prize(0));
                assert_eq!(quick, upload.payouts(index, 0), "{client:?}, leaf {index}");
            }
        }
    }
}
