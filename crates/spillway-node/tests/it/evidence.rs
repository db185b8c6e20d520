//! What is kept with a chunk: golden bytes, and what is no evidence.

use spillway_node::{Evidence, EvidenceError};
use spillway_store::MAX_EVIDENCE_BYTES;
use spillway_types::{
    Atto, BatchProof, BatchTerms, ChunkAddress, DirectProof, Leaf, LeafHash, NodeHash, Nonce,
    PaymentId, PaymentProof, QuoteTerms, ReceiptBody, Share, Sibling, Side, UnixTime,
};

use crate::world::{PAYER, domain, leaf, quotes_like, reward, secret};

/// The bytes that version 1 writes for [`sample`], in hexadecimal digits.
const GOLDEN: &str = include_str!("../golden/evidence-v1.hex");

/// The bytes that version 1 writes for [`batch_sample`].
const GOLDEN_BATCH: &str = include_str!("../golden/evidence-batch-v1.hex");

fn sample(receipts: u8) -> Evidence {
    let address = ChunkAddress::of(b"chunk");
    let terms = QuoteTerms {
        domain: domain(),
        address,
        size: 5,
        price: Atto(1_000_000_007),
        reward: reward(0),
        issued: UnixTime(1_800_000_000),
        expires: UnixTime(1_800_003_600),
        min_tip: Atto(3),
        max_prize: Atto(4),
        max_window_secs: 1_209_600,
        confirmations: 3,
    };
    let quotes = quotes_like(&terms.sign(&secret(0)));
    let leaf = leaf(address, &quotes);
    let upload_by = UnixTime(1_800_090_000);
    let leaves = [leaf.clone()];
    let proof = PaymentProof::Direct(DirectProof::for_leaves(PAYER, upload_by, &leaves));
    let receipt = |number: u8| {
        let body = ReceiptBody {
            domain: domain(),
            payment: PaymentId([1; 32]),
            leaf: LeafHash([2; 32]),
            address,
            size: 5,
            time: UnixTime(1_800_000_009),
            nonce: Nonce([3; 16]),
        };
        body.sign(&secret(number))
    };
    Evidence {
        stored_at: UnixTime(1_800_000_010),
        leaf,
        size: 5,
        proof,
        quotes,
        receipts: (0..receipts).map(receipt).collect(),
    }
}

#[test]
fn golden_bytes() {
    let golden = hex::decode(GOLDEN.split_whitespace().collect::<String>()).unwrap();
    assert_eq!(hex::encode(sample(2).encode().unwrap()), hex::encode(&golden));
    assert_eq!(Evidence::decode(&golden), Ok(sample(2)));
}

/// The same, paid by a batch.
fn batch_sample() -> Evidence {
    let mut evidence = sample(0);
    let terms = BatchTerms {
        payer: PAYER,
        root: NodeHash([0xaa; 32]),
        total: Atto(1_000_000_007),
        tip: Atto(9),
        upload_by: UnixTime(1_800_090_000),
        draws: 200,
    };
    let sibling = |side| Sibling { hash: NodeHash([0xbb; 32]), sum: Atto(300), side };
    let siblings = vec![sibling(Side::Left), sibling(Side::Right)];
    evidence.proof = PaymentProof::Batch(BatchProof { terms, siblings });
    evidence
}

#[test]
fn golden_bytes_of_a_batch() {
    let golden = hex::decode(GOLDEN_BATCH.split_whitespace().collect::<String>()).unwrap();
    assert_eq!(hex::encode(batch_sample().encode().unwrap()), hex::encode(&golden));
    assert_eq!(Evidence::decode(&golden), Ok(batch_sample()));
}

#[test]
fn the_payment_is_computed_from_the_proof() {
    let evidence = sample(0);
    let decoded = Evidence::decode(&evidence.encode().unwrap()).unwrap();
    assert_eq!(decoded.payment(), evidence.proof.id(&domain()));
    assert_eq!(*decoded.domain(), domain());
}

#[test]
fn every_prefix_is_refused() {
    let bytes = sample(1).encode().unwrap();
    for length in 0..bytes.len() {
        match Evidence::decode(&bytes[..length]) {
            Err(EvidenceError::NoVersion) => assert!(length < 2),
            Err(EvidenceError::Malformed(_)) => assert!(length >= 2),
            other => panic!("{length} bytes: {other:?}"),
        }
    }
}

#[test]
fn what_follows_is_refused() {
    let mut bytes = sample(1).encode().unwrap();
    bytes.extend([0; 3]);
    assert_eq!(Evidence::decode(&bytes), Err(EvidenceError::Trailing { count: 3 }));
}

#[test]
fn other_versions_are_told_apart() {
    let mut bytes = sample(1).encode().unwrap();
    bytes[0] = 2;
    assert_eq!(Evidence::decode(&bytes), Err(EvidenceError::Newer { found: 2 }));
    bytes[..2].copy_from_slice(&0x0101_u16.to_le_bytes());
    assert_eq!(Evidence::decode(&bytes), Err(EvidenceError::Newer { found: 257 }));
    bytes[..2].copy_from_slice(&[0, 0]);
    assert_eq!(Evidence::decode(&bytes), Err(EvidenceError::NoVersion));
}

#[test]
fn lists_have_limits() {
    let limit = |what, found, limit| EvidenceError::Limit { what, found, limit };
    assert!(sample(5).encode().is_ok());
    assert_eq!(sample(6).encode(), Err(limit("receipts", 6, 5)));
    let mut many = sample(0);
    let PaymentProof::Direct(direct) = &mut many.proof else { panic!("direct") };
    let entry = direct.entries[0];
    direct.entries.resize(501, entry);
    assert_eq!(many.encode(), Err(limit("entries", 501, 500)));
    // The largest that there is fits what a store keeps.
    let PaymentProof::Direct(direct) = &mut many.proof else { panic!("direct") };
    let share = Share { payee: reward(1), amount: Atto(u128::MAX) };
    direct.entries.fill(spillway_types::DirectEntry { share, ..entry });
    direct.entries.truncate(500);
    many.leaf = Leaf { shares: [share; 5], ..many.leaf };
    many.receipts = sample(5).receipts;
    let bytes = many.encode().unwrap();
    assert!(bytes.len() <= MAX_EVIDENCE_BYTES as usize, "{}", bytes.len());
    assert_eq!(Evidence::decode(&bytes), Ok(many));
}

/// A count that promises more than the bytes hold is refused, and too many bytes are not read.
#[test]
fn lengths_are_checked_before_anything_is_read() {
    let found = MAX_EVIDENCE_BYTES as usize + 1;
    assert_eq!(Evidence::decode(&vec![1; found]), Err(EvidenceError::TooLong { found }));
    let mut bytes = sample(0).encode().unwrap();
    // The count of receipts is the last byte; this one says 2^35 − 1.
    bytes.pop();
    bytes.extend([0xff, 0xff, 0xff, 0xff, 0x7f]);
    assert!(matches!(Evidence::decode(&bytes), Err(EvidenceError::Malformed(_))));
}

proptest::proptest! {
    /// Whatever the bytes are: an error or evidence that encodes to them again.
    #[test]
    fn no_bytes_confuse_it(flips in proptest::collection::vec((0_usize..2_000, 0_u8..8), 1..6)) {
        let mut bytes = sample(1).encode().unwrap();
        for (at, bit) in flips {
            let at = at % bytes.len();
            bytes[at] ^= 1 << bit;
        }
        if let Ok(evidence) = Evidence::decode(&bytes) {
            let again = Evidence::decode(&evidence.encode().unwrap());
            proptest::prop_assert_eq!(again, Ok(evidence));
        }
    }
}
