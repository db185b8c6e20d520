use alloy::primitives::aliases::{U40, U96};
use spillway_pay::Chain;
use spillway_types::Atto;

use super::{ALWAYS, Sold, commit_of, commitCall, commitManyCall, leaves, words};
use crate::{
    on_both_chains,
    support::{Stage, TOKENS, WINDOWS},
};

async fn a_commit_takes_the_escrow_once(stage: Stage) {
    let sold = Sold::new(&stage, leaves(1, 5), 7, 3).await;
    let escrow = sold.terms.escrow();
    assert_eq!(escrow.0, sold.terms.total.0 + 21);
    stage.allow(10_000).await;
    assert_eq!(stage.record(sold.id(&stage)).await.recorded, None);
    stage.act(&stage.payer, commit_of(&sold.terms)).await;
    let record = stage.record(sold.id(&stage)).await;
    assert_eq!(record.recorded, Some(stage.time().await));
    assert_eq!(record.settled.count(), 0);
    stage.assert_charged(escrow).await;
    let left = Atto(10_000).saturating_sub(escrow);
    assert_eq!(stage.allowance().await, left);
    assert_eq!(stage.sum_of_credits().await, Atto::ZERO);

    let exists = Some(format!("Exists({})", sold.id(&stage)));
    assert_eq!(stage.refusal(&stage.payer, &commit_of(&sold.terms)).await, exists);
    let again = stage.send(&stage.payer, stage.deployed.vault, commit_of(&sold.terms)).await;
    assert!(!again.success);
    // The deadline is no part of the id, and a used id is told before a window that has closed.
    stage.go_to(sold.terms.upload_by.saturating_add(WINDOWS.max)).await;
    let later = commitCall { batch: words(&sold.terms), validUntil: ALWAYS - U40::ONE };
    assert_eq!(stage.refusal(&stage.payer, &later).await, exists);
    stage.assert_charged(escrow).await;
}

/// Each with all faults that are looked at later.
async fn refusals_in_their_order(stage: Stage) {
    let sold = Sold::new(&stage, leaves(1, 5), 7, 3).await;
    let vault = stage.deployed.vault;
    let now = stage.time().await;
    let (payer, other) = (stage.payer.address(), stage.deployer.address());
    let refusal = async |call: &commitCall| stage.refusal(&stage.payer, call).await.unwrap();

    let mut call = commit_of(&sold.terms);
    call.batch.total = U96::ZERO;
    call.batch.draws = 0;
    call.batch.uploadBy = U40::from(now.0);
    call.validUntil = U40::from(1_000);
    let foreign = stage.refusal(&stage.deployer, &call).await;
    assert_eq!(foreign, Some(format!("NotPayer({payer}, {other})")));
    assert!(refusal(&call).await.starts_with("Expired(1000, "));
    call.validUntil = ALWAYS;
    let said = refusal(&call).await;
    assert!(said.starts_with(&format!("BadUploadBy({}, ", now.0)), "{said}");
    call.batch.uploadBy = U40::from(now.0 + WINDOWS.max.as_secs() + 600);
    let said = refusal(&call).await;
    assert!(said.starts_with(&format!("BadUploadBy({}, ", call.batch.uploadBy)), "{said}");
    call.batch.uploadBy = U40::from(sold.terms.upload_by.0);
    assert_eq!(refusal(&call).await, "ZeroTotal()");
    for (total, draws, said) in [
        (5_u128, 0, "BadDraws(0, 5)"),
        (5, 6, "BadDraws(6, 5)"),
        (200, 201, "BadDraws(201, 200)"),
        (1 << 90, 255, "BadDraws(255, 200)"),
    ] {
        (call.batch.total, call.batch.draws) = (U96::from(total), draws);
        assert_eq!(refusal(&call).await, said);
    }
    (call.batch.total, call.batch.draws) = (U96::from(200), 200);
    let allowance = format!("ERC20InsufficientAllowance({vault}, 0, 1600)");
    assert_eq!(refusal(&call).await, allowance);
    stage.allow(u128::MAX).await;
    call.batch.total = U96::from(TOKENS.0);
    let needed = TOKENS.0 + 1_400;
    let balance = format!("ERC20InsufficientBalance({payer}, {}, {needed})", TOKENS.0);
    assert_eq!(refusal(&call).await, balance);
    stage.assert_charged(Atto::ZERO).await;
    assert_eq!(stage.record(sold.id(&stage)).await.recorded, None);
}

async fn the_largest_allowance_is_not_used_up(stage: Stage) {
    let sold = Sold::new(&stage, leaves(1, 2), 0, 1).await;
    let spender = alloy::primitives::Address::new(stage.deployed.vault.0);
    let all = super::approveCall { spender, value: alloy::primitives::U256::MAX };
    assert!(stage.send(&stage.payer, stage.deployed.token, all).await.success);
    stage.act(&stage.payer, commit_of(&sold.terms)).await;
    assert_eq!(stage.allowance().await, Atto(u128::MAX));
    stage.assert_charged(sold.terms.total).await;
}

async fn many_together_or_none(stage: Stage) {
    let mut sold = Vec::new();
    for (name, draws) in [(1, 1), (2, 5), (3, 9)] {
        sold.push(Sold::new(&stage, leaves(name, 6), u128::from(name), draws).await);
    }
    let escrow: Atto = sold.iter().map(|sold| sold.terms.escrow()).sum();
    let batches: Vec<_> = sold.iter().map(|sold| words(&sold.terms)).collect();
    let call = |batches: &[super::Batch], valid_until: U40| commitManyCall {
        batches: batches.to_vec(),
        validUntil: valid_until,
    };
    let refusal = async |batches: &[super::Batch], valid_until| {
        stage.refusal(&stage.payer, &call(batches, valid_until)).await.unwrap()
    };
    assert!(refusal(&[], U40::from(9)).await.starts_with("Expired(9, "));
    assert_eq!(refusal(&[], ALWAYS).await, "NoBatches()");
    let [first, second, third] = &batches[..] else { panic!("three") };
    let twice = [first.clone(), second.clone(), first.clone()];
    assert_eq!(refusal(&twice, ALWAYS).await, format!("Exists({})", sold[0].id(&stage)));
    let (payer, other) = (stage.payer.address(), stage.deployer.address());
    let mut foreign = batches.clone();
    foreign[2].payer = alloy::primitives::Address::new(other.0);
    assert_eq!(refusal(&foreign, ALWAYS).await, format!("NotPayer({other}, {payer})"));
    let mut empty = batches.clone();
    empty[1].draws = 0;
    let most = second.total.min(U96::from(200));
    assert_eq!(refusal(&empty, ALWAYS).await, format!("BadDraws(0, {most})"));

    stage.allow(escrow.0 - 1).await;
    let short = stage.send(&stage.payer, stage.deployed.vault, call(&batches, ALWAYS)).await;
    assert!(!short.success);
    for sold in &sold {
        assert_eq!(stage.record(sold.id(&stage)).await.recorded, None);
    }
    stage.assert_charged(Atto::ZERO).await;
    stage.allow(escrow.0).await;
    stage.act(&stage.payer, call(&batches, ALWAYS)).await;
    for sold in &sold {
        assert_eq!(stage.record(sold.id(&stage)).await.recorded, Some(stage.time().await));
    }
    stage.assert_charged(escrow).await;
    assert_eq!(stage.allowance().await, Atto::ZERO);
    assert_eq!(
        refusal(std::slice::from_ref(third), ALWAYS).await,
        format!("Exists({})", sold[2].id(&stage))
    );
}

#[tokio::test]
async fn the_twin_says_that_it_knows_no_signatures() {
    let stage = Stage::memory().await;
    let sold = Sold::new(&stage, leaves(1, 2), 0, 1).await;
    let batch = words(&sold.terms);
    let said = Some("the chain in memory knows no signatures of tokens".to_owned());
    let (r, s) = (alloy::primitives::B256::ZERO, alloy::primitives::B256::ZERO);
    let permit =
        super::commitWithPermitCall { batch: batch.clone(), validUntil: ALWAYS, v: 27, r, s };
    assert_eq!(stage.refusal(&stage.payer, &permit).await, said);
    let signed = super::commitWithAuthorizationCall {
        batch: batch.clone(),
        validUntil: ALWAYS,
        v: 27,
        r,
        s,
    };
    assert_eq!(stage.refusal(&stage.payer, &signed).await, said);
    let many = super::commitManyWithAuthorizationCall {
        batches: vec![batch],
        validUntil: ALWAYS,
        v: 27,
        r,
        s,
    };
    assert_eq!(stage.refusal(&stage.payer, &many).await, said);
    let sent = stage.send(&stage.payer, stage.deployed.vault, permit).await;
    assert!(!sent.success);
    assert!(stage.chain.has_code(stage.deployed.beacon).await.unwrap());
}

on_both_chains!(
    a_commit_takes_the_escrow_once,
    refusals_in_their_order,
    the_largest_allowance_is_not_used_up,
    many_together_or_none,
);
