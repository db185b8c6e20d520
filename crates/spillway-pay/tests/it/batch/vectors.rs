//! The batches of the vectors that contract and Rust share, checked without a chain.

use serde_json::Value;
use spillway_pay::{ProofError, SumTree, verify::batch_leaf};
use spillway_types::{
    Atto, BatchProof, BatchTerms, Domain, Leaf, NetworkId, NodeHash, RewardAddress, Seed, Share,
    Sibling, Side, UnixTime,
};

/// One tree of the vectors, or one proof that shows nothing.
pub(super) struct Vector {
    pub(super) name: String,
    pub(super) terms: BatchTerms,
    pub(super) value: Value,
}

pub(super) fn vectors() -> Value {
    serde_json::from_str(include_str!("../../../../../contracts/vectors/batch.json")).unwrap()
}

pub(super) fn list(value: &Value, key: &str) -> Vec<Value> {
    value[key].as_array().unwrap_or_else(|| panic!("{key}")).clone()
}

pub(super) fn text<'v>(value: &'v Value, key: &str) -> &'v str {
    value[key].as_str().unwrap_or_else(|| panic!("{key} in {value}"))
}

pub(super) fn number(value: &Value, key: &str) -> u128 {
    text(value, key).parse().unwrap()
}

fn bytes<const N: usize>(text: &str) -> [u8; N] {
    hex::decode(text.strip_prefix("0x").unwrap()).unwrap().try_into().unwrap()
}

pub(super) fn word(value: &Value) -> [u8; 32] {
    bytes(value.as_str().unwrap())
}

pub(super) fn leaf(value: &Value) -> Leaf {
    let share = |value: &Value| {
        let word = word(value);
        let mut amount = [0; 16];
        amount[4..].copy_from_slice(&word[20..]);
        Share {
            payee: RewardAddress(word[..20].try_into().unwrap()),
            amount: Atto(u128::from_be_bytes(amount)),
        }
    };
    let shares: Vec<Share> = list(value, "shares").iter().map(share).collect();
    Leaf { address: text(value, "chunk").parse().unwrap(), shares: shares.try_into().unwrap() }
}

/// The levels of a proof; `None` when a sum is over 128 bits, which no [`Sibling`] can say.
pub(super) fn siblings(value: &Value) -> Option<Vec<Sibling>> {
    let words: Vec<[u8; 32]> = list(value, "siblings").iter().map(word).collect();
    let sibling = |pair: &[[u8; 32]]| {
        let (mut high, low) = (pair[1], pair[1][16..].try_into().unwrap());
        let side = if high[0] & 0x80 == 0 { Side::Right } else { Side::Left };
        high[0] &= 0x7f;
        let sum = Atto(u128::from_be_bytes(low));
        (high[..16] == [0; 16]).then_some(Sibling { hash: NodeHash(pair[0]), sum, side })
    };
    words.chunks(2).map(sibling).collect()
}

fn terms(value: &Value) -> BatchTerms {
    BatchTerms {
        payer: text(value, "payer").parse().unwrap(),
        root: NodeHash(bytes(text(value, "root"))),
        total: Atto(number(value, "total")),
        tip: Atto(number(value, "tip")),
        upload_by: UnixTime(value["uploadBy"].as_u64().unwrap()),
        draws: value["draws"].as_u64().unwrap().try_into().unwrap(),
    }
}

pub(super) fn trees() -> Vec<Vector> {
    let tree = |value: &Value| Vector {
        name: text(value, "name").to_owned(),
        terms: terms(&value["terms"]),
        value: value.clone(),
    };
    list(&vectors(), "trees").iter().map(tree).collect()
}

pub(super) fn refused() -> Vec<Vector> {
    let proof = |value: &Value| Vector {
        name: text(value, "name").to_owned(),
        terms: BatchTerms {
            payer: spillway_types::EvmAddress([1; 20]),
            root: NodeHash(bytes(text(value, "root"))),
            total: Atto(number(value, "total")),
            tip: Atto::ZERO,
            upload_by: UnixTime(1),
            draws: 1,
        },
        value: value.clone(),
    };
    list(&vectors(), "refused").iter().map(proof).collect()
}

fn domain() -> Domain {
    let domain = &vectors()["domain"];
    Domain {
        network: NetworkId::named("whichever"),
        chain_id: domain["chainId"].as_u64().unwrap(),
        vault: text(domain, "vault").parse().unwrap(),
    }
}

#[test]
fn ids_roots_and_proofs() {
    let (mut trees_checked, mut proofs_checked) = (0, 0);
    for Vector { name, terms, value } in trees() {
        assert_eq!(terms.id(&domain()).to_string(), text(&value, "id"), "{name}");
        let leaves: Vec<Leaf> = list(&value, "leaves").iter().map(leaf).collect();
        let tree = SumTree::new(&leaves).unwrap();
        assert_eq!((tree.root().hash, tree.root().sum), (terms.root, terms.total), "{name}");
        for expected in list(&value, "proofs") {
            let index = usize::try_from(expected["leaf"].as_u64().unwrap()).unwrap();
            let found = tree.siblings(index);
            assert_eq!(found, siblings(&expected).unwrap(), "{name} {index}");
            let words: Vec<[u8; 32]> = found.iter().flat_map(Sibling::words).collect();
            let there: Vec<[u8; 32]> = list(&expected, "siblings").iter().map(word).collect();
            assert_eq!(words, there, "{name} {index}");
            assert_eq!(leaves[index].hash().to_string(), text(&expected, "hash"), "{name}");
            let span = batch_leaf(&BatchProof { terms, siblings: found }, &leaves[index]).unwrap();
            assert_eq!(span.from.0, number(&expected, "offset"), "{name} {index}");
            assert_eq!(span.sum.0, number(&expected, "sum"), "{name} {index}");
            proofs_checked += 1;
        }
        trees_checked += 1;
    }
    assert!(trees_checked >= 18 && proofs_checked >= 100, "{trees_checked} {proofs_checked}");
}

#[test]
fn draws_prizes_and_payouts() {
    let mut checked = 0;
    for Vector { name, terms, value } in trees() {
        let id = terms.id(&domain());
        let leaves: Vec<Leaf> = list(&value, "leaves").iter().map(leaf).collect();
        let tree = SumTree::new(&leaves).unwrap();
        for seed in list(&value, "seeds") {
            let wins = list(&seed, "wins");
            let seed = Seed(bytes(text(&seed, "seed")));
            assert_eq!(wins.len(), usize::from(terms.draws), "{name}");
            for expected in wins {
                let draw = u8::try_from(expected["draw"].as_u64().unwrap()).unwrap();
                let point = terms.draw_point(seed, id, draw);
                assert_eq!(point.0, number(&expected, "point"), "{name} {draw}");
                assert_eq!(terms.prize(draw).0, number(&expected, "prize"), "{name} {draw}");
                let winner = usize::try_from(expected["leaf"].as_u64().unwrap()).unwrap();
                let proof = BatchProof { terms, siblings: tree.siblings(winner) };
                let span = batch_leaf(&proof, &leaves[winner]).unwrap();
                assert!(span.contains(point), "{name} {draw}");
                let leaf = leaves[winner].clone();
                let win = spillway_types::Win { terms, draw, leaf, siblings: proof.siblings };
                let paid: Vec<String> =
                    win.payouts().iter().map(|share| share.amount.0.to_string()).collect();
                assert_eq!(Value::from(paid), expected["paid"], "{name} {draw}");
                checked += 1;
            }
        }
    }
    assert!(checked >= 500, "{checked}");
}

#[test]
fn proofs_that_show_nothing() {
    let mut unsayable = 0;
    for Vector { name, terms, value } in refused() {
        let Some(siblings) = siblings(&value) else {
            unsayable += 1;
            continue;
        };
        let error = batch_leaf(&BatchProof { terms, siblings }, &leaf(&value)).unwrap_err();
        match name.as_str() {
            "33 levels" => assert_eq!(error, ProofError::TooDeep { found: 33 }),
            "a leaf of sum 0" => assert_eq!(error, ProofError::ZeroLeaf),
            _ => assert!(
                matches!(error, ProofError::NotInBatch | ProofError::SumTooLarge { .. }),
                "{name}: {error}"
            ),
        }
    }
    assert!(refused().len() >= 20 && unsayable <= 3, "{unsayable}");
}
