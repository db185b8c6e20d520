//! Merkle-sum trees and the strict check of their proofs, against a tree that is built here by the
//! book, and against everything that somebody could do to a proof.

use alloy::primitives::keccak256;
use proptest::{
    prelude::{Strategy, prop},
    prop_assert, prop_assert_eq, proptest,
    test_runner::{Config, RngSeed},
};
use spillway_pay::{
    LeafSpan, ProofError, SumNode, SumTree, TreeError,
    verify::{batch_is_sound, batch_leaf, leaf_is_paid},
};
use spillway_types::{
    Atto, BatchProof, BatchTerms, Domain, EvmAddress, Leaf, NetworkId, NodeHash, PaymentProof,
    RewardAddress, Seed, Sibling, Side, UnixTime, limits::MAX_BATCH_LEAVES,
};

use crate::support::{leaf, payee};

/// The same cases in every run.
fn cases(cases: u32) -> Config {
    Config { cases, rng_seed: RngSeed::Fixed(0x5EA1), ..Config::default() }
}

/// Leaf `index` whose shares are these, to payees that repeat.
fn priced(index: usize, amounts: [u128; 5]) -> Leaf {
    let name = u16::try_from(index).unwrap().to_be_bytes();
    let mut leaf = leaf(name);
    for (share, amount) in leaf.shares.iter_mut().zip(amounts) {
        share.amount = Atto(amount);
        share.payee = payee(u8::try_from(amount % 7).unwrap());
    }
    leaf
}

/// Leaves with amounts over many orders of magnitude, some of them zero.
fn some_leaves(count: usize, seed: u64) -> Vec<Leaf> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut amount = || {
        let size = random.u32(..64);
        u128::from(random.u64(..)) >> size
    };
    let leaf = |index| priced(index, [amount() + 1, 0, amount(), amount(), amount()]);
    (0..count).map(leaf).collect()
}

/// A tree by the book, level by level from the leaves.
fn by_the_book(leaves: &[Leaf]) -> Vec<Vec<([u8; 32], u128)>> {
    let first = leaves.iter().map(|leaf| (leaf.hash().0, leaf.total().0)).collect();
    let mut levels: Vec<Vec<([u8; 32], u128)>> = vec![first];
    while levels.last().unwrap().len() > 1 {
        let above = levels.last().unwrap().chunks(2).map(|pair| match pair {
            [(left, left_sum), (right, right_sum)] => {
                let word = |sum: &u128| [[0; 16], sum.to_be_bytes()].concat();
                let words = [&left[..], &word(left_sum), &right[..], &word(right_sum)].concat();
                (keccak256(words).0, left_sum + right_sum)
            }
            alone => alone[0],
        });
        let above = above.collect();
        levels.push(above);
    }
    levels
}

fn siblings_by_the_book(levels: &[Vec<([u8; 32], u128)>], leaf: usize) -> Vec<Sibling> {
    let beside = |(height, level): (usize, &Vec<([u8; 32], u128)>)| {
        let other = (leaf >> height) ^ 1;
        let &(hash, sum) = level.get(other)?;
        let side = if other.is_multiple_of(2) { Side::Left } else { Side::Right };
        Some(Sibling { hash: NodeHash(hash), sum: Atto(sum), side })
    };
    levels[..levels.len() - 1].iter().enumerate().filter_map(beside).collect()
}

fn terms(root: SumNode) -> BatchTerms {
    BatchTerms {
        payer: EvmAddress([1; 20]),
        root: root.hash,
        total: root.sum,
        tip: Atto(3),
        upload_by: UnixTime(1_800_000_000),
        draws: 1,
    }
}

struct Grown {
    leaves: Vec<Leaf>,
    tree: SumTree,
    terms: BatchTerms,
}

fn grown(count: usize, seed: u64) -> Grown {
    let leaves = some_leaves(count, seed);
    let tree = SumTree::new(&leaves).unwrap();
    let terms = terms(tree.root());
    Grown { leaves, tree, terms }
}

impl Grown {
    fn proof(&self, leaf: usize) -> BatchProof {
        BatchProof { terms: self.terms, siblings: self.tree.siblings(leaf) }
    }

    /// That root and proofs are those of the book, and that the spans of all leaves fill the total.
    fn check_all(&self) {
        let levels = by_the_book(&self.leaves);
        let (hash, sum) = levels.last().unwrap()[0];
        assert_eq!(self.tree.root(), SumNode { hash: NodeHash(hash), sum: Atto(sum) });
        let mut from = Atto::ZERO;
        for (index, leaf) in self.leaves.iter().enumerate() {
            let proof = self.proof(index);
            assert_eq!(proof.siblings, siblings_by_the_book(&levels, index), "{index}");
            let sum = leaf.total();
            assert_eq!(batch_leaf(&proof, leaf), Ok(LeafSpan { from, sum }), "{index}");
            from = from.saturating_add(sum);
        }
        assert_eq!(from, self.terms.total);
    }
}

#[test]
fn every_small_size_and_all_around_powers_of_two() {
    let around = [127, 128, 129, 255, 257, 511, 513, 1_023, 1_025, 2_049, 4_097, 5_000];
    for count in (1..=70).chain(around) {
        grown(count, 1).check_all();
    }
}

#[test]
fn the_largest_tree() {
    let grown = grown(MAX_BATCH_LEAVES, 2);
    let mut from = Atto::ZERO;
    for (index, leaf) in grown.leaves.iter().enumerate() {
        if [0, 1, 32_767, 32_768, 65_534, 65_535].contains(&index) {
            let proof = grown.proof(index);
            assert_eq!(proof.siblings.len(), 16);
            assert_eq!(batch_leaf(&proof, leaf), Ok(LeafSpan { from, sum: leaf.total() }));
        }
        from = from.saturating_add(leaf.total());
    }
    assert_eq!(grown.terms.total, from);
}

#[test]
#[should_panic(expected = "leaf 3 of 3")]
fn there_are_no_siblings_of_a_leaf_that_is_not_there() {
    grown(3, 1).tree.siblings(3);
}

proptest! {
    #![proptest_config(cases(16))]

    #[test]
    fn the_leaves_of_any_tree_fill_its_total(count in 1_usize..=5_000, seed: u64) {
        grown(count, seed).check_all();
    }

    #[test]
    fn a_point_has_one_leaf(
        count in 1_usize..=300,
        random: u64,
        seed in prop::array::uniform32(0_u8..),
        draws in 1_u8..=200,
    ) {
        let mut grown = grown(count, random);
        grown.terms.draws = draws;
        let domain = Domain {
            network: NetworkId::named("test"),
            chain_id: 1,
            vault: EvmAddress([2; 20]),
        };
        let id = grown.terms.id(&domain);
        let spans: Vec<LeafSpan> = (0..count)
            .map(|index| batch_leaf(&grown.proof(index), &grown.leaves[index]).unwrap())
            .collect();
        for draw in 0..draws {
            let point = grown.terms.draw_point(Seed(seed), id, draw);
            prop_assert!(point < grown.terms.total);
            prop_assert_eq!(spans.iter().filter(|span| span.contains(point)).count(), 1);
        }
    }
}

#[test]
fn a_span_ends_before_the_next_one_begins() {
    let span = LeafSpan { from: Atto(3), sum: Atto(4) };
    let points: Vec<u128> = (0..10).filter(|&point| span.contains(Atto(point))).collect();
    assert_eq!(points, [3, 4, 5, 6]);
}

#[test]
fn a_leaf_of_all_that_96_bits_hold_is_a_batch() {
    let mut leaf = priced(0, [0, Atto::MAX_SHARE.0, 0, 0, 0]);
    let tree = SumTree::new(std::slice::from_ref(&leaf)).unwrap();
    let proof = BatchProof { terms: terms(tree.root()), siblings: tree.siblings(0) };
    let span = LeafSpan { from: Atto::ZERO, sum: Atto::MAX_SHARE };
    assert_eq!(batch_leaf(&proof, &leaf), Ok(span));
    leaf.shares[1].amount = Atto(Atto::MAX_SHARE.0 + 1);
    assert_eq!(batch_leaf(&proof, &leaf), Err(ProofError::ShareTooLarge { index: 1 }));
}

/// One bit of a proof, its leaf, or the terms that it must end in.
#[derive(Clone, Copy, Debug)]
enum Bit {
    Chunk(usize),
    Payee(usize, usize),
    Amount(usize, usize),
    Hash(usize, usize),
    Sum(usize, usize),
    Side(usize),
    Root(usize),
    Total(usize),
}

impl Bit {
    fn all(levels: usize) -> Vec<Self> {
        let mut bits = Vec::new();
        bits.extend((0..256).map(Self::Chunk));
        bits.extend((0..256).map(Self::Root));
        bits.extend((0..128).map(Self::Total));
        for share in 0..5 {
            bits.extend((0..160).map(|bit| Self::Payee(share, bit)));
            bits.extend((0..128).map(|bit| Self::Amount(share, bit)));
        }
        for level in 0..levels {
            bits.extend((0..256).map(|bit| Self::Hash(level, bit)));
            bits.extend((0..128).map(|bit| Self::Sum(level, bit)));
            bits.push(Self::Side(level));
        }
        bits
    }

    fn flip(self, proof: &mut BatchProof, leaf: &mut Leaf) {
        let one = |bytes: &mut [u8], bit: usize| bytes[bit / 8] ^= 1 << (bit % 8);
        match self {
            Self::Chunk(bit) => one(&mut leaf.address.0, bit),
            Self::Payee(share, bit) => one(&mut leaf.shares[share].payee.0, bit),
            Self::Amount(share, bit) => leaf.shares[share].amount.0 ^= 1 << bit,
            Self::Hash(level, bit) => one(&mut proof.siblings[level].hash.0, bit),
            Self::Sum(level, bit) => proof.siblings[level].sum.0 ^= 1 << bit,
            Self::Side(level) => {
                let side = &mut proof.siblings[level].side;
                *side = if *side == Side::Left { Side::Right } else { Side::Left };
            }
            Self::Root(bit) => one(&mut proof.terms.root.0, bit),
            Self::Total(bit) => proof.terms.total.0 ^= 1 << bit,
        }
    }
}

#[test]
fn every_bit_of_a_small_trees_proofs_counts() {
    // Of the odd sizes above three, leaves that move up alone and such that do not.
    for (count, indices) in [(1, 0..1), (2, 0..2), (3, 0..3), (5, 3..5), (7, 6..7)] {
        let grown = grown(count, 3);
        for index in indices {
            let good = grown.proof(index);
            for bit in Bit::all(good.siblings.len()) {
                let (mut proof, mut leaf) = (good.clone(), grown.leaves[index].clone());
                bit.flip(&mut proof, &mut leaf);
                let verdict = batch_leaf(&proof, &leaf);
                assert!(verdict.is_err(), "{index} of {count}: {bit:?}: {verdict:?}");
            }
        }
    }
}

fn any_tree() -> impl Strategy<Value = (usize, usize, u64)> {
    (1_usize..=5_000, 0_usize..5_000, 0_u64..)
        .prop_map(|(count, index, seed)| (count, index % count, seed))
}

proptest! {
    #![proptest_config(cases(24))]

    #[test]
    fn bits_of_a_large_trees_proofs_count((count, index, seed) in any_tree(), picks: [u64; 32]) {
        let grown = grown(count, seed);
        let good = grown.proof(index);
        let bits = Bit::all(good.siblings.len());
        for pick in picks {
            let bit = bits[usize::try_from(pick % bits.len() as u64).unwrap()];
            let (mut proof, mut leaf) = (good.clone(), grown.leaves[index].clone());
            bit.flip(&mut proof, &mut leaf);
            prop_assert!(batch_leaf(&proof, &leaf).is_err(), "{:?}", bit);
        }
    }

    /// Whatever is added, left out or put elsewhere.
    #[test]
    fn no_other_list_of_siblings_will_do((count, index, seed) in any_tree()) {
        let grown = grown(count, seed);
        let good = grown.proof(index);
        let levels = good.siblings.len();
        let nothing = Sibling { hash: NodeHash([0; 32]), sum: Atto::ZERO, side: Side::Right };
        let mut others = Vec::new();
        for level in 0..=levels {
            for extra in [nothing, Sibling { side: Side::Left, ..nothing }] {
                let mut longer = good.siblings.clone();
                longer.insert(level, extra);
                others.push(longer);
            }
        }
        for level in 0..levels {
            let mut shorter = good.siblings.clone();
            let taken = shorter.remove(level);
            others.push(shorter.clone());
            for place in (0..=shorter.len()).filter(|&place| place != level) {
                let mut moved = shorter.clone();
                moved.insert(place, taken);
                others.push(moved);
            }
            let mut twice = good.siblings.clone();
            twice.insert(level, taken);
            others.push(twice);
            others.push(good.siblings[..level].to_vec());
            others.push(good.siblings[level + 1..].to_vec());
        }
        for siblings in others {
            prop_assert!(siblings != good.siblings);
            let proof = BatchProof { siblings, ..good.clone() };
            prop_assert!(batch_leaf(&proof, &grown.leaves[index]).is_err());
        }
        // Nor the proof of another leaf.
        for other in [0, count / 2, count - 1] {
            if other != index {
                prop_assert!(batch_leaf(&grown.proof(other), &grown.leaves[index]).is_err());
            }
        }
    }
}

#[test]
fn sums_are_looked_at_before_they_are_added() {
    let leaves = [priced(0, [10, 0, 0, 0, 0]), priced(1, [20, 0, 0, 0, 0])];
    let tree = SumTree::new(&leaves).unwrap();
    let good = BatchProof { terms: terms(tree.root()), siblings: tree.siblings(0) };
    assert_eq!(batch_leaf(&good, &leaves[0]), Ok(LeafSpan { from: Atto::ZERO, sum: Atto(10) }));
    for side in [Side::Left, Side::Right] {
        for (sum, error) in [
            (21, ProofError::SumTooLarge { level: 1 }),
            (31, ProofError::SumTooLarge { level: 1 }),
            (Atto::MAX_SHARE.0, ProofError::SumTooLarge { level: 1 }),
            (u128::MAX, ProofError::SumTooLarge { level: 1 }),
            (u128::MAX - 9, ProofError::SumTooLarge { level: 1 }),
            (19, ProofError::NotInBatch),
        ] {
            let mut proof = good.clone();
            (proof.siblings[0].sum, proof.siblings[0].side) = (Atto(sum), side);
            assert_eq!(batch_leaf(&proof, &leaves[0]), Err(error), "{sum}");
        }
    }
    // A root over sums that wrap around to a total that fits: built as nobody honest would.
    let huge = SumNode { hash: NodeHash([9; 32]), sum: Atto(u128::MAX - 9) };
    assert_eq!(SumNode::above(SumNode::leaf(&leaves[0]), huge), None);
    let most = SumNode { hash: NodeHash([9; 32]), sum: Atto::MAX_SHARE };
    assert_eq!(SumNode::above(SumNode::leaf(&leaves[0]), most), None);
    let short = BatchProof { terms: BatchTerms { total: Atto(9), ..good.terms }, ..good.clone() };
    assert_eq!(batch_leaf(&short, &leaves[0]), Err(ProofError::SumTooLarge { level: 0 }));
    let none = BatchProof { siblings: vec![], ..good };
    assert_eq!(batch_leaf(&none, &leaves[0]), Err(ProofError::NotInBatch));
}

/// Two children swapped with their offsets would be another leaf's span: the side is in the hash.
#[test]
fn a_span_cannot_be_moved() {
    let one = priced(0, [10, 0, 0, 0, 0]);
    let twin = Leaf { ..one.clone() };
    let tree = SumTree::new(&[one.clone(), twin]).unwrap();
    // The same leaf twice: both places are proven, each with its own side.
    let proof = |index| BatchProof { terms: terms(tree.root()), siblings: tree.siblings(index) };
    let from = |index| batch_leaf(&proof(index), &one).unwrap().from;
    assert_eq!((from(0), from(1)), (Atto::ZERO, Atto(10)));
}

#[test]
fn a_leaf_is_no_node_and_a_node_no_leaf() {
    let Grown { leaves, tree, terms, .. } = grown(4, 4);
    // A leaf whose chunk and shares are what stands under a node has another preimage: 96 bytes
    // beside 128.
    let (left, right) = (SumNode::leaf(&leaves[0]), SumNode::leaf(&leaves[1]));
    let node = SumNode::above(left, right).unwrap();
    let mut forged = leaves[0].clone();
    forged.address.0 = left.hash.0;
    for share in 0..5 {
        forged.shares[share].payee.0.copy_from_slice(&right.hash.0[..20]);
        forged.shares[share].amount = Atto(node.sum.0 / 5);
    }
    assert_ne!(forged.hash().0, node.hash.0);
    let upper = BatchProof { terms, siblings: tree.siblings(0)[1..].to_vec() };
    assert!(batch_leaf(&upper, &forged).is_err());
    assert!(batch_leaf(&upper, &leaves[0]).is_err());
    // A batch whose root is a leaf's hash has one leaf, and nothing below it.
    let single = SumTree::new(&leaves[..1]).unwrap();
    assert_eq!(single.root(), SumNode::leaf(&leaves[0]));
    let below = BatchProof { terms: self::terms(single.root()), siblings: tree.siblings(0) };
    assert!(batch_leaf(&below, &leaves[0]).is_err());
}

#[test]
fn leaves_that_make_no_batch() {
    let good = some_leaves(3, 5);
    let with = |change: &dyn Fn(&mut Vec<Leaf>)| {
        let mut leaves = good.clone();
        change(&mut leaves);
        SumTree::new(&leaves).map(|tree| tree.root()).unwrap_err()
    };
    assert_eq!(with(&|leaves| leaves.clear()), TreeError::LeafCount { found: 0 });
    let many = vec![good[0].clone(); MAX_BATCH_LEAVES + 1];
    let found = MAX_BATCH_LEAVES + 1;
    assert_eq!(SumTree::new(&many).unwrap_err(), TreeError::LeafCount { found });
    let nothing = TreeError::ZeroLeaf { index: 2 };
    assert_eq!(with(&|leaves| leaves[2] = priced(2, [0; 5])), nothing);
    // 2^96 and 2^96 + 1 have the words of 0 and 1.
    for amount in [1 << 96, (1 << 96) + 1, u128::MAX] {
        let large = TreeError::ShareTooLarge { index: 1 };
        assert_eq!(with(&|leaves| leaves[1].shares[4].amount = Atto(amount)), large);
    }
    let most = Atto::MAX_SHARE.0;
    assert_eq!(with(&|leaves| leaves[1] = priced(1, [most, 1, 0, 0, 0])), TreeError::TotalTooLarge);
    assert_eq!(with(&|leaves| leaves[2] = priced(2, [most; 5])), TreeError::TotalTooLarge);
    let all = [priced(0, [most - 1, 0, 0, 0, 0]), priced(1, [1, 0, 0, 0, 0])];
    assert_eq!(SumTree::new(&all).unwrap().root().sum, Atto::MAX_SHARE);
}

#[test]
fn what_no_vault_could_read_is_refused_before_it_is_hashed() {
    let Grown { leaves, tree, terms } = grown(5, 6);
    let good = BatchProof { terms, siblings: tree.siblings(2) };
    // 2^96 more has the same word.
    let mut alias = leaves[2].clone();
    alias.shares[3].amount.0 += 1 << 96;
    assert_eq!(alias.hash(), leaves[2].hash());
    assert_eq!(batch_leaf(&good, &alias), Err(ProofError::ShareTooLarge { index: 3 }));
    // A leaf of nothing with an honest proof.
    let nothing = priced(9, [0; 5]);
    let node = SumNode::above(SumNode::leaf(&nothing), SumNode::leaf(&leaves[0])).unwrap();
    let beside = SumNode::leaf(&leaves[0]);
    let siblings = vec![Sibling { hash: beside.hash, sum: beside.sum, side: Side::Right }];
    let proof = BatchProof { terms: self::terms(node), siblings };
    assert_eq!(batch_leaf(&proof, &nothing), Err(ProofError::ZeroLeaf));
    let deep = BatchProof { siblings: vec![good.siblings[0]; 33], ..good.clone() };
    assert_eq!(batch_leaf(&deep, &leaves[2]), Err(ProofError::TooDeep { found: 33 }));

    let with = |change: &dyn Fn(&mut BatchTerms)| {
        let mut terms = terms;
        change(&mut terms);
        let verdict = batch_is_sound(&terms);
        let proof = BatchProof { terms, ..good.clone() };
        assert_eq!(batch_leaf(&proof, &leaves[2]).map(drop), verdict);
        verdict
    };
    assert_eq!(with(&|_| {}), Ok(()));
    assert_eq!(with(&|terms| terms.total = Atto::ZERO), Err(ProofError::ZeroTotal));
    let over = Atto(Atto::MAX_SHARE.0 + 1);
    assert_eq!(with(&|terms| terms.total = over), Err(ProofError::TotalTooLarge));
    assert_eq!(with(&|terms| terms.tip = over), Err(ProofError::TipTooLarge));
    assert_eq!(with(&|terms| terms.tip = Atto::MAX_SHARE), Ok(()));
    let draws = |found| Err(ProofError::Draws { found, most: 200 });
    assert_eq!(with(&|terms| terms.draws = 0), draws(0));
    assert_eq!(with(&|terms| terms.draws = 201), draws(201));
    assert_eq!(with(&|terms| terms.draws = 200), Ok(()));
    let late = |seconds| move |terms: &mut BatchTerms| terms.upload_by = UnixTime(seconds);
    assert_eq!(with(&late((1 << 40) - 1)), Ok(()));
    assert_eq!(with(&late(1 << 40)), Err(ProofError::UploadByTooLate));
    assert_eq!(with(&late(u64::MAX)), Err(ProofError::UploadByTooLate));
}

/// The vault settles such a leaf and burns the share; nodes do not take it, as in direct payments.
#[test]
fn a_leaf_that_pays_nobody_is_not_taken() {
    let mut leaves = some_leaves(3, 7);
    leaves[1].shares[4].payee = RewardAddress::ZERO;
    let tree = SumTree::new(&leaves).unwrap();
    let proof = |index| {
        let siblings = tree.siblings(index);
        PaymentProof::Batch(BatchProof { terms: terms(tree.root()), siblings })
    };
    assert_eq!(leaf_is_paid(&proof(0), &leaves[0]), Ok(()));
    let refused = Err(ProofError::ZeroPayee { index: 4 });
    assert_eq!(leaf_is_paid(&proof(1), &leaves[1]), refused);
}

#[test]
fn a_node_is_48_bytes() {
    let node = SumNode { hash: NodeHash([7; 32]), sum: Atto(5) };
    let bytes = Vec::from(node);
    assert_eq!(bytes.len(), 48);
    assert_eq!(SumNode::try_from(bytes.clone()), Ok(node));
    for wrong in [vec![], bytes[..47].to_vec(), [bytes, vec![0]].concat()] {
        let error = SumNode::try_from(wrong.clone()).unwrap_err();
        assert_eq!(error.to_string(), format!("a node has 48 bytes, these are {}", wrong.len()));
    }
}
