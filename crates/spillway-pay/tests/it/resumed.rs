//! What is signed already goes out as it is, and first; what has failed is signed again.

use spillway_pay::{CommitChoice, PayFailure, PayRequest, SignedTx, TxPurpose};
use spillway_types::{Atto, Wei};

use crate::{
    gaps::{memory, stop_before_paying},
    groups::{COST, batches, elsewhere},
    support::{LEAF_COST, Stage, TOKENS, TestJournal},
};

fn hashes(txs: &[SignedTx]) -> Vec<spillway_types::TxHash> {
    txs.iter().map(|tx| tx.hash).collect()
}

/// In the order of nonces, whatever the order of the plans.
#[tokio::test]
async fn what_is_signed_goes_out_before_what_is_not() {
    let stage = Stage::memory().await;
    let plans = [stage.plan(1, 1).await, stage.plan(2, 1).await];
    let earlier = stop_before_paying(&stage, &plans[1..]).await;
    let mut journal = TestJournal::new(&stage.chain);
    let paid = stage.payments().pay(stage.request(&plans, &earlier), &mut journal).await.unwrap();
    let purposes: Vec<TxPurpose> = journal.signed.iter().map(|tx| tx.purpose.clone()).collect();
    let approval = TxPurpose::Approve { amount: Atto(LEAF_COST) };
    assert_eq!(purposes, [approval, TxPurpose::Pay { payment: plans[0].id() }]);
    assert_eq!(paid.plans[1].tx, Some(earlier[1].hash));
    stage.assert_charged(Atto(2 * LEAF_COST)).await;
}

/// Two groups and their approval are taken back; and batches are to be paid one by one now.
#[tokio::test]
async fn groups_whose_approval_is_gone_stay_as_they_were_signed() {
    let stage = Stage::memory().await;
    let mut plans = batches(&stage, 1..5).await;
    plans[2].valid_until.0 -= 1;
    plans[3].valid_until.0 -= 1;
    let payments = stage.payments();
    let mut journal = TestJournal::new(&stage.chain);
    payments.pay(stage.request(&plans, &[]), &mut journal).await.unwrap();
    assert_eq!(journal.signed.len(), 3);
    stage.control.reorg(3).await;
    assert_eq!(stage.allowance().await, Atto::ZERO);

    let mut again = TestJournal::new(&stage.chain);
    let commit = CommitChoice::OneByOne;
    let request = PayRequest { commit, ..stage.request(&plans, &journal.signed) };
    let paid = payments.pay(request, &mut again).await.unwrap();
    assert_eq!((again.signed.len(), stage.allowance().await), (0, Atto::ZERO));
    assert_eq!(paid.spend.tx_hashes, hashes(&journal.signed));
    stage.assert_charged(Atto(4 * COST)).await;
}

/// What failed before says nothing of what is signed now.
#[tokio::test]
async fn a_payment_that_failed_on_chain_is_signed_again() {
    let stage = Stage::memory().await;
    let (token, payer) = (stage.deployed.token, stage.payer.address());
    let plans = [stage.plan(1, 1).await];
    let mut journal = TestJournal::new(&stage.chain);
    let payments = stage.payments();
    stage.control.set_automine(false).await;
    let meddle = async {
        stage.chain.wait_for_sendings(1).await;
        stage.control.mine(1).await;
        stage.chain.wait_for_sendings(2).await;
        memory(&stage).set_tokens(token, payer, Atto::ZERO);
        stage.control.mine(1).await;
    };
    let (paid, ()) = tokio::join!(payments.pay(stage.request(&plans, &[]), &mut journal), meddle);
    let error = paid.unwrap_err();
    assert!(matches!(*error.failure, PayFailure::Failed { .. }), "{error:?}");

    memory(&stage).set_tokens(token, payer, TOKENS);
    stage.control.set_automine(true).await;
    let mut again = TestJournal::new(&stage.chain);
    let request = stage.request(&plans, &journal.signed);
    let paid = payments.pay(request, &mut again).await.unwrap();
    assert_eq!((again.signed.len(), paid.spend.tx_hashes.len()), (1, 3));
    assert_eq!(paid.plans[0].tx, Some(again.signed[0].hash));
    stage.assert_charged(Atto(LEAF_COST)).await;
}

/// It waits for an approval that was taken back and that is in no journal.
#[tokio::test]
async fn what_is_signed_does_not_take_the_place_of_its_approval() {
    let stage = Stage::memory().await;
    let plans = [stage.plan(1, 1).await];
    let earlier = stop_before_paying(&stage, &plans).await;
    stage.control.reorg(1).await;
    // So that another approval has other bytes.
    memory(&stage).set_base_fee(Wei(900_000_000));
    let mut journal = TestJournal::new(&stage.chain);
    let request = stage.request(&plans, &earlier[1..]);
    let paid = stage.payments().pay(request, &mut journal).await.unwrap();
    let purposes: Vec<TxPurpose> = journal.signed.iter().map(|tx| tx.purpose.clone()).collect();
    assert_eq!(purposes, [TxPurpose::Approve { amount: Atto(LEAF_COST) }]);
    assert_eq!(paid.plans[0].tx, Some(earlier[1].hash));
    stage.assert_charged(Atto(LEAF_COST)).await;
}

/// A group, and what was signed for the rest of it when one of its batches was paid elsewhere, are
/// taken back together.
#[tokio::test]
async fn of_two_signed_groups_that_share_batches_the_first_goes_out() {
    let stage = Stage::memory().await;
    let plans = batches(&stage, 1..4).await;
    let mut earlier = stop_before_paying(&stage, &plans).await;
    let mut other = TestJournal::new(&stage.chain);
    elsewhere(&stage).pay(stage.request(&plans[1..2], &[]), &mut other).await.unwrap();
    let payments = stage.payments();
    let mut journal = TestJournal::new(&stage.chain);
    payments.pay(stage.request(&plans, &earlier), &mut journal).await.unwrap();
    assert_eq!(journal.signed.len(), 1);
    earlier.append(&mut journal.signed);
    stage.control.reorg(3).await;
    assert_eq!(stage.allowance().await, Atto::ZERO);

    let mut again = TestJournal::new(&stage.chain);
    let paid = payments.pay(stage.request(&plans, &earlier), &mut again).await.unwrap();
    // The approval that was signed covers it, and no more is allowed.
    assert_eq!((again.signed.len(), stage.allowance().await), (0, Atto::ZERO));
    assert!(paid.plans.iter().all(|plan| plan.tx == Some(earlier[1].hash)), "{paid:?}");
    stage.assert_charged(Atto(3 * COST)).await;
}
