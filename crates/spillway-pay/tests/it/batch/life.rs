//! From the commit to the last unit.

use std::collections::BTreeMap;

use spillway_pay::Chain;
use spillway_types::{Atto, Leaf, RewardAddress};

use super::{leaves, refund_of, settle_of};
use crate::{
    on_both_chains,
    support::{Stage, TOKENS, WINDOWS, payee},
};

/// What a draw pays the shares of its leaf: pro rata, and the rest of the division to the last.
fn pay(books: &mut BTreeMap<RewardAddress, u128>, leaf: &Leaf, prize: u128) {
    let (last, others) = leaf.shares.split_last().unwrap();
    let mut left = prize;
    for share in others {
        let part = prize * share.amount.0 / leaf.total().0;
        *books.entry(share.payee).or_default() += part;
        left -= part;
    }
    *books.entry(last.payee).or_default() += left;
}

async fn winners_are_paid_to_the_last_unit(stage: Stage) {
    let sold = stage.committed(leaves(1, 9), 7, 4).await;
    let (id, terms) = (sold.id(&stage), sold.terms);
    let seed = stage.draw(&terms).await;
    let by = &stage.deployer;
    let before = stage.tokens_of(by.address()).await;
    let mut books = BTreeMap::new();
    let total = terms.total.0;
    let prizes = [total / 4 + total % 4, total / 4, total / 4, total / 4];

    // One alone.
    stage.act(by, settle_of(&terms, vec![sold.right(&stage, seed, 2)])).await;
    pay(&mut books, &sold.leaves[sold.winner(&stage, seed, 2)], prizes[2]);
    assert_credits(&stage, &books).await;
    let record = stage.record(id).await;
    assert_eq!(format!("{:?}", record.settled), "{2}");
    assert!(record.recorded.is_some());
    assert_eq!(stage.tokens_of(by.address()).await.0, before.0 + 7);

    // The same again: no money moves, whatever the proof says.
    let mut nonsense = sold.win(0, 2);
    nonsense.siblings.clear();
    stage.act(by, settle_of(&terms, vec![nonsense.clone()])).await;
    stage.act(by, settle_of(&terms, vec![])).await;
    assert_credits(&stage, &books).await;
    assert_eq!(stage.tokens_of(by.address()).await.0, before.0 + 7);

    // With others, one of them twice.
    let wins = [nonsense, sold.right(&stage, seed, 3), sold.win(0, 3), sold.right(&stage, seed, 0)];
    stage.act(by, settle_of(&terms, wins.to_vec())).await;
    for draw in [3, 0] {
        let winner = sold.winner(&stage, seed, draw);
        pay(&mut books, &sold.leaves[winner], prizes[usize::from(draw)]);
    }
    assert_credits(&stage, &books).await;
    assert_eq!(format!("{:?}", stage.record(id).await.settled), "{0, 2, 3}");
    assert_eq!(stage.tokens_of(by.address()).await.0, before.0 + 21);
    // What is left is one prize and one tip, for the payer when the time has come.
    let held = stage.sum_of_credits().await.0 + prizes[1] + 7;
    assert_eq!(stage.tokens_of_vault().await, Atto(held));

    let end = WINDOWS.claim_end(terms.upload_by);
    stage.go_to(end.saturating_add(std::time::Duration::from_secs(1))).await;
    stage.act(&stage.deployer, refund_of(&terms)).await;
    let paid = total - prizes[1] + 21;
    assert_eq!(stage.tokens_of_payer().await, TOKENS.saturating_sub(Atto(paid)));
    assert_eq!(format!("{:?}", stage.record(id).await.settled), "{0, 1, 2, 3}");
    assert_credits(&stage, &books).await;
    assert_eq!(stage.tokens_of_vault().await, stage.sum_of_credits().await);
}

async fn assert_credits(stage: &Stage, books: &BTreeMap<RewardAddress, u128>) {
    for (payee, credit) in stage.credits().await {
        assert_eq!(credit, books.get(&payee).copied().unwrap_or(0), "{payee}");
    }
}

async fn draws_without_tips_and_a_leaf_that_wins_them_all(stage: Stage) {
    let mut dear = leaves(1, 1);
    dear[0].shares.iter_mut().for_each(|share| share.amount.0 *= 100);
    let sold = stage.committed(dear, 0, 5).await;
    let seed = stage.draw(&sold.terms).await;
    let wins = (0..5).map(|draw| sold.right(&stage, seed, draw)).collect();
    let before = stage.tokens_of(stage.deployer.address()).await;
    stage.act(&stage.deployer, settle_of(&sold.terms, wins)).await;
    assert_eq!(stage.tokens_of(stage.deployer.address()).await, before);
    assert_eq!(stage.sum_of_credits().await, sold.terms.total);
    let mut books = BTreeMap::new();
    for draw in 0..5 {
        pay(&mut books, &sold.leaves[0], sold.terms.prize(draw).0);
    }
    assert_credits(&stage, &books).await;
    // Credits of prizes are sent as all others are.
    let hands = stage.payments();
    let mut journal = crate::support::TestJournal::new(&stage.chain);
    let sent = hands.withdraw(&stage.deployer, payee(1), &mut journal).await.unwrap();
    let owed = books[&payee(1)];
    assert_eq!(sent.amount, Atto(owed - 1));
    assert_eq!(stage.credit(payee(1)).await, Atto(1));
}

async fn a_share_of_nothing_and_one_of_nobody(stage: Stage) {
    let mut all = leaves(1, 1);
    all[0].shares[1].amount = Atto::ZERO;
    all[0].shares[2].payee = RewardAddress::ZERO;
    let sold = stage.committed(all, 3, 2).await;
    let seed = stage.draw(&sold.terms).await;
    let wins = vec![sold.right(&stage, seed, 1)];
    stage.act(&stage.deployer, settle_of(&sold.terms, wins)).await;
    let mut books = BTreeMap::new();
    pay(&mut books, &sold.leaves[0], sold.terms.prize(1).0);
    assert_eq!(stage.credit(RewardAddress::ZERO).await.0, books[&RewardAddress::ZERO]);
    assert!(books[&RewardAddress::ZERO] > 0);
    assert_credits(&stage, &books).await;
}

async fn all_comes_back_when_nobody_settles(stage: Stage) {
    let sold = stage.committed(leaves(1, 3), 11, 3).await;
    stage.assert_charged(sold.terms.escrow()).await;
    let end = WINDOWS.claim_end(sold.terms.upload_by);
    stage.go_to(end.saturating_add(std::time::Duration::from_secs(1))).await;
    // Even without a seed, and by anybody.
    let vault = stage.deployed.vault;
    assert_eq!(stage.chain.seed(vault, sold.terms.upload_by).await, Ok(None));
    stage.act(&stage.deployer, refund_of(&sold.terms)).await;
    stage.assert_charged(Atto::ZERO).await;
    assert_eq!(stage.record(sold.id(&stage)).await.settled.count(), 3);
}

async fn two_batches_do_not_touch_each_other(stage: Stage) {
    let one = stage.committed(leaves(1, 4), 5, 2).await;
    let two = stage.committed(leaves(2, 4), 5, 2).await;
    assert_ne!(one.id(&stage), two.id(&stage));
    let seed = stage.draw(&one.terms).await;
    // Another draw, for the ids differ: a leaf of the other tree proves nothing here.
    let foreign = settle_of(&two.terms, vec![one.right(&stage, seed, 0)]);
    assert_eq!(stage.refusal(&stage.deployer, &foreign).await, Some("BadProof(0)".into()));
    let wins = vec![one.right(&stage, seed, 0), one.right(&stage, seed, 1)];
    stage.act(&stage.deployer, settle_of(&one.terms, wins)).await;
    assert_eq!(stage.record(one.id(&stage)).await.settled.count(), 2);
    assert_eq!(stage.record(two.id(&stage)).await.settled.count(), 0);
    assert_eq!(stage.sum_of_credits().await, one.terms.total);
    let held = one.terms.total.saturating_add(two.terms.escrow());
    assert_eq!(stage.tokens_of_vault().await, held);
}

on_both_chains!(
    winners_are_paid_to_the_last_unit,
    draws_without_tips_and_a_leaf_that_wins_them_all,
    a_share_of_nothing_and_one_of_nobody,
    all_comes_back_when_nobody_settles,
    two_batches_do_not_touch_each_other,
);
