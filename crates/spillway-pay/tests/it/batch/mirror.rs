//! The strict verifier beside the vault: what one takes the other takes, and both say the same of
//! where a leaf lies.

use alloy::primitives::{Address, B256, U256, aliases::U40};
use spillway_pay::{SumTree, verify::batch_leaf};
use spillway_types::{Atto, BatchProof, BatchTerms, Leaf, Seed, Sibling, Side};

use super::{
    ALWAYS, HOUR, Sold, Win, approveCall, commitManyCall, leaves, settle_of,
    vectors::{self, Vector, list, number, siblings, word},
    win, words,
};
use crate::{on_both_chains, support::Stage};

/// Commits these batches in the deployer's name, who has the tokens; all have the same seed.
async fn committed(stage: &Stage, vectors: Vec<Vector>) -> (Vec<Vector>, Seed) {
    let spender = Address::new(stage.deployed.vault.0);
    let all = approveCall { spender, value: U256::MAX };
    assert!(stage.send(&stage.deployer, stage.deployed.token, all).await.success);
    let upload_by = stage.time().await.saturating_add(HOUR);
    let mut batches: Vec<BatchTerms> = Vec::new();
    let mut ours = Vec::new();
    for vector in vectors {
        let payer = stage.deployer.address();
        let terms = BatchTerms { payer, upload_by, ..vector.terms };
        if !batches.contains(&terms) {
            batches.push(terms);
        }
        ours.push(Vector { terms, ..vector });
    }
    let call = commitManyCall { batches: batches.iter().map(words).collect(), validUntil: ALWAYS };
    stage.act(&stage.deployer, call).await;
    let seed = stage.draw(&batches[0]).await;
    (ours, seed)
}

fn raw_win(value: &serde_json::Value) -> Win {
    Win {
        siblings: list(value, "siblings").iter().map(word).map(B256::new).collect(),
        ..win(&vectors::leaf(value), &[], 0)
    }
}

async fn every_proof_of_the_vectors_is_taken(stage: Stage) {
    let (trees, seed) = committed(&stage, vectors::trees()).await;
    let (mut taken, mut elsewhere) = (0, 0);
    for Vector { name, terms, value } in trees {
        let leaves: Vec<Leaf> = list(&value, "leaves").iter().map(vectors::leaf).collect();
        let id = terms.id(&stage.domain);
        let draw = terms.draws - 1;
        let point = terms.draw_point(seed, id, draw).0;
        for proof in list(&value, "proofs") {
            let index = usize::try_from(proof["leaf"].as_u64().unwrap()).unwrap();
            let win = win(&leaves[index], &siblings(&proof).unwrap(), draw);
            let said = stage.refusal(&stage.payer, &settle_of(&terms, vec![win])).await;
            let from = number(&proof, "offset");
            let to = from + number(&proof, "sum");
            if (from..to).contains(&point) {
                assert_eq!(said, None, "{name} {index}");
                taken += 1;
            } else {
                let expected = format!("NotWinner(0, {point}, {from}, {to})");
                assert_eq!(said, Some(expected), "{name} {index}");
                elsewhere += 1;
            }
        }
    }
    assert!(taken >= 5 && elsewhere >= 80, "{taken} {elsewhere}");
}

async fn every_proof_that_shows_nothing_is_refused(stage: Stage) {
    let (refused, _) = committed(&stage, vectors::refused()).await;
    for Vector { name, terms, value } in refused {
        let call = settle_of(&terms, vec![raw_win(&value)]);
        let said = stage.refusal(&stage.payer, &call).await;
        assert_eq!(said, Some("BadProof(0)".into()), "{name}");
    }
}

/// One random change of a proof, its leaf or nothing at all.
fn change(random: &mut fastrand::Rng, leaf: &mut Leaf, siblings: &mut Vec<Sibling>, total: Atto) {
    let level = random.usize(..siblings.len());
    let other = random.usize(..siblings.len());
    match random.u8(..12) {
        0 => siblings[level].hash.0[random.usize(..32)] ^= 1 << random.u8(..8),
        1 => siblings[level].sum.0 ^= 1 << random.u8(..128),
        2 => siblings[level].sum = total,
        3 => {
            let flipped = if siblings[level].side == Side::Left { Side::Right } else { Side::Left };
            siblings[level].side = flipped;
        }
        4 => siblings.swap(level, other),
        5 => drop(siblings.remove(level)),
        6 => siblings.insert(level, siblings[other]),
        7 => siblings.push(Sibling { sum: Atto::ZERO, ..siblings[other] }),
        8 => leaf.address.0[random.usize(..32)] ^= 1 << random.u8(..8),
        9 => leaf.shares[random.usize(..5)].amount.0 ^= 1 << random.u8(..96),
        10 => leaf.shares.swap(random.usize(..5), random.usize(..5)),
        _ => {}
    }
}

async fn verifier_and_vault_agree_on_changed_proofs(stage: Stage) {
    let sold = Sold::new(&stage, leaves(1, 13), 0, 1).await;
    stage.allow(sold.terms.total.0).await;
    stage.act(&stage.payer, super::commit_of(&sold.terms)).await;
    let seed = stage.draw(&sold.terms).await;
    let point = sold.terms.draw_point(seed, sold.id(&stage), 0).0;
    let mut random = fastrand::Rng::with_seed(7);
    let (mut good, mut bad) = (0, 0);
    for _ in 0..250 {
        let index = random.usize(..13);
        let (mut leaf, mut siblings) = (sold.leaves[index].clone(), sold.tree.siblings(index));
        change(&mut random, &mut leaf, &mut siblings, sold.terms.total);
        let call = settle_of(&sold.terms, vec![win(&leaf, &siblings, 0)]);
        let said = stage.refusal(&stage.deployer, &call).await;
        match batch_leaf(&BatchProof { terms: sold.terms, siblings }, &leaf) {
            Ok(span) => {
                let (from, to) = (span.from.0, span.from.0 + span.sum.0);
                let won = (from..to).contains(&point);
                let elsewhere = format!("NotWinner(0, {point}, {from}, {to})");
                assert_eq!(said, (!won).then_some(elsewhere));
                good += 1;
            }
            Err(error) => {
                assert_eq!(said, Some("BadProof(0)".into()), "{error}");
                bad += 1;
            }
        }
    }
    assert!(good >= 15 && bad >= 150, "{good} {bad}");
}

/// Proofs as deep as both take them: a tree of that many leaves nobody has, but its path is known.
async fn the_deepest_proof(stage: Stage) {
    for (depth, taken) in [(32_usize, true), (33, false)] {
        let leaf = leaves(u8::try_from(depth).unwrap(), 1).remove(0);
        let beside = SumTree::new(&leaves(100, 1)).unwrap().root();
        let mut node = SumTree::new(std::slice::from_ref(&leaf)).unwrap().root();
        let mut path = Vec::new();
        for level in 0..depth {
            let is_left = level % 2 == 0;
            let side = if is_left { Side::Left } else { Side::Right };
            path.push(Sibling { hash: beside.hash, sum: beside.sum, side });
            let (left, right) = if is_left { (beside, node) } else { (node, beside) };
            node = spillway_pay::SumNode::above(left, right).unwrap();
        }
        let terms = BatchTerms {
            payer: stage.payer.address(),
            root: node.hash,
            total: node.sum,
            tip: Atto::ZERO,
            upload_by: stage.time().await.saturating_add(HOUR),
            draws: 1,
        };
        stage.allow(terms.total.0).await;
        let commit = super::commitCall { batch: words(&terms), validUntil: U40::MAX };
        stage.act(&stage.payer, commit).await;
        stage.draw(&terms).await;
        let call = settle_of(&terms, vec![win(&leaf, &path, 0)]);
        let said = stage.refusal(&stage.deployer, &call).await;
        let verdict = batch_leaf(&BatchProof { terms, siblings: path }, &leaf);
        assert_eq!(verdict.is_ok(), taken, "{verdict:?}");
        assert_eq!(said == Some("BadProof(0)".into()), !taken, "{said:?}");
    }
}

on_both_chains!(
    every_proof_of_the_vectors_is_taken,
    every_proof_that_shows_nothing_is_refused,
    verifier_and_vault_agree_on_changed_proofs,
    the_deepest_proof,
);
