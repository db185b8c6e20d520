//! What settling may cost, what the vault refuses, and what is asked for wins that anybody shows.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use spillway_pay::{ChainFault, ChainOp, PayFailure, RefundRefused, Skipped};
use spillway_types::TokenRate;

use super::*;
use crate::support::Control;

pub(super) fn at_rate(rate: Wei) -> SettleTerms {
    SettleTerms { rate: Some(TokenRate(rate)), ..SettleTerms::default() }
}

async fn draws_without_a_tip_are_left_out_unless_at_a_loss(stage: Stage) {
    let plan = paid_with(&stage, 1, (6, 3), 0).await;
    let seed = draw(&stage, &plan).await;
    let all = wins(&plan, seed, 0..3);
    let expected: Vec<_> = (0..3).map(|draw| (plan.id(), draw, SkipReason::NoTip)).collect();
    let (done, journal) = settle(&stage, &all).await;
    assert_eq!((reasons(&done), journal.signed.len()), (expected.clone(), 0));
    let payments = stage.payments();
    let (open, skipped) = payments.settleable(&all, &[], SettleTerms::default()).await.unwrap();
    assert_eq!((open.len(), skipped.len()), (0, 3));
    // No rate makes nothing worth anything.
    let mut journal = TestJournal::new(&stage.chain);
    let done = settle_on(&stage, &all, at_rate(Wei(u128::MAX)), &mut journal).await.unwrap();
    assert_eq!((reasons(&done), journal.signed.len()), (expected, 0));

    let terms = SettleTerms { at_a_loss: true, ..at_rate(Wei(1)) };
    let done = settle_on(&stage, &all, terms, &mut journal).await.unwrap();
    assert_eq!((done.transactions, done.draws, done.tips), (1, 3, Atto::ZERO));
    assert_eq!(credits(&stage).await, plan.storage_cost());
}

async fn no_more_gas_is_paid_than_the_tips_are_worth(stage: Stage) {
    let plan = paid(&stage, 1, 6, 3).await;
    let seed = draw(&stage, &plan).await;
    let all = wins(&plan, seed, 0..3);
    let coins = stage.chain.coins(stage.deployer.address()).await.unwrap();
    let look = async |terms| {
        let payments = stage.payments();
        payments.settle_preview(stage.deployer.address(), &all, &[], terms).await.unwrap()
    };
    let dry = look(at_rate(Wei(10_u128.pow(18)))).await;
    assert_eq!((dry.wins.len(), dry.transactions, dry.gas_cost), (0, 0, Wei(0)));
    let mut journal = TestJournal::new(&stage.chain);
    // A token is worth a coin: 21 units of tips are nothing beside gas.
    let done = settle_on(&stage, &all, at_rate(Wei(10_u128.pow(18))), &mut journal).await.unwrap();
    assert_eq!((done.draws, done.transactions, journal.signed.len()), (0, 0, 0));
    assert_eq!(done.skipped.len(), 3);
    let is_the_same = |a: &Skipped, b: &Skipped| match (&a.reason, &b.reason) {
        (SkipReason::NotWorthIt { tips, .. }, SkipReason::NotWorthIt { tips: other, .. }) => {
            (a.payment, a.draw, tips) == (b.payment, b.draw, other)
        }
        _ => false,
    };
    assert_eq!(dry.skipped.len(), 3);
    assert!(dry.skipped.iter().zip(&done.skipped).all(|(a, b)| is_the_same(a, b)), "{dry:?}");
    let mut least = Wei(0);
    for skipped in &done.skipped {
        let SkipReason::NotWorthIt { tips, gas_cost } = skipped.reason else {
            panic!("{skipped:?}");
        };
        assert_eq!(tips, Atto(3 * TIP));
        assert!(gas_cost > Wei(21));
        least = gas_cost;
    }
    assert_eq!(stage.chain.coins(stage.deployer.address()).await.unwrap(), coins);

    // Just enough: twice the base fee is not kept in reserve.
    let rate = least.saturating_mul(11).0 / 10 / (3 * TIP) * 10_u128.pow(18);
    let dry = look(at_rate(Wei(rate))).await;
    assert_eq!((dry.wins.len(), dry.transactions, dry.skipped.len()), (3, 1, 0));
    let done = settle_on(&stage, &all, at_rate(Wei(rate)), &mut journal).await.unwrap();
    assert!(dry.gas.abs_diff(done.spend.gas_used) < 2_000, "{dry:?} {done:?}");
    assert_eq!((done.draws, done.tips), (3, Atto(3 * TIP)));
    assert!(journal.signed[0].max_cost() <= TokenRate(Wei(rate)).coins(done.tips));
    assert!(done.spend.gas_cost <= TokenRate(Wei(rate)).coins(done.tips));
}

async fn a_gas_cap_stops_with_what_was_done(stage: Stage) {
    let (one, two) = (paid(&stage, 1, 4, 3).await, paid(&stage, 2, 4, 1).await);
    let seed = draw(&stage, &one).await;
    // The first makes the payees known to the vault, so that the next cost as much as the second.
    settle(&stage, &wins(&one, seed, [0])).await;
    let (second, _) = settle(&stage, &wins(&one, seed, [1])).await;
    let cap = Wei(second.spend.gas_cost.0 * 6 / 5);
    let mut both = wins(&one, seed, [2]);
    both.extend(wins(&two, seed, [0]));
    let terms = SettleTerms { gas_cap: Some(cap), ..SettleTerms::default() };
    let mut journal = TestJournal::new(&stage.chain);
    let sender = stage.deployer.address();
    let dry = stage.payments().settle_preview(sender, &both, &[], terms).await.unwrap_err();
    assert!(matches!(*dry.error.failure, PayFailure::OverGasCost { .. }), "{dry:?}");
    assert_eq!((dry.done.wins.len(), dry.done.transactions), (1, 1));
    let stopped = settle_on(&stage, &both, terms, &mut journal).await.unwrap_err();
    match *stopped.error.failure {
        PayFailure::OverGasCost { cap: found, .. } => assert_eq!(found, cap),
        other => panic!("{other:?}"),
    }
    assert_eq!((stopped.done.draws, stopped.done.tips), (1, Atto(TIP)));
    let done = &dry.done.wins[0];
    assert_eq!(stopped.done.done, [(done.terms.id(&stage.domain), done.draw)]);
    assert_eq!(stopped.done.spend, stopped.error.spend);
    assert!(stopped.done.spend.gas_cost > Wei(0) && stopped.done.spend.gas_cost <= cap);
    assert_eq!(journal.signed.len(), 1);
}

/// The vault knows better than what we have asked it before.
#[tokio::test]
async fn draws_that_the_vault_refuses_do_not_sink_the_others() {
    let stage = Stage::memory().await;
    let plan = paid(&stage, 1, 9, 9).await;
    let seed = draw(&stage, &plan).await;
    let all = wins(&plan, seed, 0..9);
    let bad = all[4].leaf.address;
    let reason = "NotWinner(0, 1, 2, 3)";
    stage.chain.refuse_calls_with(&bad.0, reason);
    let (sender, terms) = (stage.deployer.address(), SettleTerms::default());
    let dry = stage.payments().settle_preview(sender, &all, &[], terms).await.unwrap();
    let started = stage.clock.monotonic();
    let (done, journal) = settle(&stage, &all).await;
    let waited = stage.clock.monotonic().saturating_sub(started);
    assert!(waited < stage.timing.outage, "{waited:?}");
    let mut expected: Vec<_> = all
        .iter()
        .filter(|win| win.leaf.address == bad)
        .map(|win| (plan.id(), win.draw, SkipReason::Refused { reason: Some(reason.into()) }))
        .collect();
    let mut found = reasons(&done);
    expected.sort_by_key(|skipped| skipped.1);
    found.sort_by_key(|skipped| skipped.1);
    assert_eq!(found, expected);
    let mut found: Vec<_> =
        dry.skipped.iter().map(|win| (win.payment, win.draw, win.reason.clone())).collect();
    found.sort_by_key(|skipped| skipped.1);
    assert_eq!((found, dry.wins.len()), (expected.clone(), done.draws as usize));
    assert!(expected.len() < 9);
    assert_eq!(done.draws as usize, 9 - expected.len());
    assert_eq!(done.transactions as usize, journal.signed.len());
}

/// A token that does not let a payer have anything is that payer's trouble alone.
#[tokio::test]
async fn a_batch_that_is_refused_does_not_keep_the_others_from_coming_back() {
    let stage = Stage::memory().await;
    let (one, two) = (paid(&stage, 1, 2, 1).await, paid(&stage, 2, 3, 2).await);
    let terms = [&one, &two].map(|plan| plan.batch_terms().unwrap());
    go_to(&stage, WINDOWS.claim_end(two.upload_by).saturating_add(SECOND)).await;
    stage.chain.refuse_calls_with(&terms[0].root.0, "TransferFailed()");
    let mut journal = TestJournal::new(&stage.chain);
    let payments = stage.payments();
    let done = payments.refund(&stage.deployer, &terms, &mut journal).await.unwrap();
    assert_eq!((done.batches, done.amount), (vec![(two.id(), two.total())], two.total()));
    let reason = Some("TransferFailed()".into());
    let refused = RefundRefused { payment: one.id(), refundable: one.total(), reason };
    assert_eq!(done.refused, [refused]);
    assert_eq!(done.spend.tx_hashes, [journal.signed[0].hash]);
}

/// A server that lags shows draws as open that were settled just before the claim window ended.
#[tokio::test]
async fn what_came_back_is_what_was_sent_and_not_what_was_read_before() {
    let stage = Stage::memory().await;
    let plan = paid(&stage, 1, 6, 3).await;
    let terms = plan.batch_terms().unwrap();
    let seed = draw(&stage, &plan).await;
    let (done, _) = settle(&stage, &wins(&plan, seed, [1])).await;
    assert_eq!(done.draws, 1);
    go_to(&stage, WINDOWS.claim_end(plan.upload_by).saturating_add(SECOND)).await;
    let Control::Memory { chain, .. } = &stage.control else { panic!("not in memory") };
    let mut is_first = true;
    chain.set_faults(Some(Box::new(move |op| {
        let lags = op == ChainOp::Record && std::mem::take(&mut is_first);
        lags.then_some(ChainFault::Lag(2))
    })));
    let before = stage.tokens_of_payer().await;
    let mut journal = TestJournal::new(&stage.chain);
    let back = stage.payments().refund(&stage.deployer, &[terms], &mut journal).await.unwrap();
    let gained = stage.tokens_of_payer().await.saturating_sub(before);
    let held = terms.prize(0).saturating_add(terms.prize(2)).saturating_add(Atto(2 * TIP));
    assert_eq!((gained, back.amount), (held, held));
    assert_eq!(back.batches, [(plan.id(), held)]);
}

#[tokio::test]
async fn what_was_settled_is_told_whatever_becomes_of_the_balance() {
    let stage = Stage::memory().await;
    let plan = paid(&stage, 1, 6, 3).await;
    let seed = draw(&stage, &plan).await;
    let all = wins(&plan, seed, 0..3);
    let Control::Memory { chain, .. } = &stage.control else { panic!("not in memory") };
    assert!(tokens(&stage).await > Atto(1_000));
    stage.control.set_automine(false).await;
    let sent = stage.chain.sendings();
    // While it waits, the wallet's tokens are spent on something else.
    let spent = async {
        stage.chain.wait_for_sendings(sent + 1).await;
        chain.set_tokens(stage.deployed.token, stage.deployer.address(), Atto::ZERO);
        stage.control.set_automine(true).await;
        stage.control.mine(1).await;
    };
    let mut journal = TestJournal::new(&stage.chain);
    journal.lenient = true;
    let (done, ()) =
        tokio::join!(settle_on(&stage, &all, SettleTerms::default(), &mut journal), spent);
    let done = done.unwrap();
    assert_eq!((done.transactions, done.draws, done.tips), (1, 3, Atto(3 * TIP)));
    assert_eq!((done.prizes, done.skipped.len()), (plan.storage_cost(), 0));
    assert_eq!(done.done, [0, 1, 2].map(|draw| (plan.id(), draw)));
}

#[tokio::test]
async fn little_is_asked_for_wins_that_are_none() {
    let stage = Stage::memory().await;
    let (one, two) = (paid(&stage, 1, 4, 1).await, paid(&stage, 2, 4, 1).await);
    let seed = draw(&stage, &one).await;
    let Control::Memory { chain, .. } = &stage.control else { panic!("not in memory") };
    let records = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&records);
    chain.set_faults(Some(Box::new(move |op| {
        counted.fetch_add(usize::from(op == ChainOp::Record), Ordering::Relaxed);
        None
    })));
    let asked = |seeds: usize| {
        (records.swap(0, Ordering::Relaxed), stage.chain.seeds_asked().saturating_sub(seeds))
    };
    let payments = stage.payments();

    // Nobody paid for these: they cost one question each, and no seed.
    let mut shown = Vec::new();
    for name in 10..20 {
        let plan = stage.plan(name, 2).await;
        shown.extend(wins(&Plan { mode: batch_mode(&plan.leaves, TIP, 1), ..plan }, seed, [0]));
    }
    let before = stage.chain.seeds_asked();
    let (open, _) = payments.settleable(&shown, &[], SettleTerms::default()).await.unwrap();
    assert_eq!((open.len(), asked(before)), (0, (10, 0)));
    // No proof, no question.
    for win in &mut shown {
        win.siblings.clear();
    }
    let (open, _) = payments.settleable(&shown, &[], SettleTerms::default()).await.unwrap();
    assert_eq!((open.len(), asked(before)), (0, (0, 0)));
    // One epoch has one seed.
    let mut real = wins(&one, seed, [0]);
    real.extend(wins(&two, seed, [0]));
    let (open, _) = payments.settleable(&real, &[], SettleTerms::default()).await.unwrap();
    assert_eq!((open.len(), asked(before)), (2, (2, 1)));
}

on_both_chains!(
    draws_without_a_tip_are_left_out_unless_at_a_loss,
    no_more_gas_is_paid_than_the_tips_are_worth,
    a_gas_cap_stops_with_what_was_done,
);
