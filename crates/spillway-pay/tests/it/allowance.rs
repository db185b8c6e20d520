//! Exact, never unlimited, never lowered.

use spillway_pay::{Chain, PayFailure, TxPurpose};
use spillway_types::Atto;

use crate::{
    on_both_chains_in_both_modes,
    support::{LEAF_COST, Stage, TestJournal},
};

/// Leaves an allowance of the plan's cost behind: approved, then stopped before paying.
async fn leave_allowance(stage: &Stage, leaves: u8) {
    let plans = [stage.plan(200, leaves).await];
    let mut journal = TestJournal::new(&stage.chain);
    journal.fail_at = Some(1);
    let error = stage.payments().pay(stage.request(&plans, &[]), &mut journal).await.unwrap_err();
    assert!(matches!(*error.failure, PayFailure::Journal(_)));
    assert_eq!(stage.allowance().await, Atto(u128::from(leaves) * LEAF_COST));
}

async fn what_is_there_is_used_and_the_rest_stays(stage: Stage) {
    leave_allowance(&stage, 5).await;
    let plans = [stage.plan(1, 2).await];
    let mut journal = TestJournal::new(&stage.chain);
    stage.payments().pay(stage.request(&plans, &[]), &mut journal).await.unwrap();
    assert_eq!(journal.signed.len(), 1, "no approval");
    assert_eq!(stage.allowance().await, Atto(3 * LEAF_COST));
    stage.assert_charged(Atto(2 * LEAF_COST)).await;
}

async fn what_is_just_enough_is_not_approved_again(stage: Stage) {
    leave_allowance(&stage, 2).await;
    let plans = [stage.plan(1, 2).await];
    let request = stage.request(&plans, &[]);
    let payments = stage.payments();
    let payer = stage.payer.address();
    let estimate = payments.estimate(&plans, payer, request.commit).await.unwrap();
    assert_eq!((estimate.approval_gas, estimate.transactions), (0, 1));
    let mut journal = TestJournal::new(&stage.chain);
    payments.pay(request, &mut journal).await.unwrap();
    assert_eq!(journal.signed.len(), 1);
    assert_eq!(stage.allowance().await, Atto::ZERO);
}

async fn too_little_is_raised_to_exactly_what_is_needed(stage: Stage) {
    leave_allowance(&stage, 1).await;
    let plans = [stage.plan(1, 2).await, stage.plan(2, 2).await];
    let mut journal = TestJournal::new(&stage.chain);
    stage.payments().pay(stage.request(&plans, &[]), &mut journal).await.unwrap();
    assert_eq!(journal.signed[0].purpose, TxPurpose::Approve { amount: Atto(4 * LEAF_COST) });
    assert_eq!(journal.signed.len(), 3);
    assert_eq!(stage.allowance().await, Atto::ZERO);
}

async fn paid_plans_are_left_out_of_it(stage: Stage) {
    let first = stage.plan(1, 3).await;
    let mut journal = TestJournal::new(&stage.chain);
    let one = [first.clone()];
    stage.payments().pay(stage.request(&one, &[]), &mut journal).await.unwrap();
    let both = [first, stage.plan(2, 1).await];
    let mut next = TestJournal::new(&stage.chain);
    let paid =
        stage.payments().pay(stage.request(&both, &journal.signed), &mut next).await.unwrap();
    assert_eq!(next.signed[0].purpose, TxPurpose::Approve { amount: Atto(LEAF_COST) });
    assert_eq!(stage.allowance().await, Atto::ZERO);
    assert_eq!(paid.spend.paid, Atto(4 * LEAF_COST));
    assert_eq!(paid.spend.tx_hashes.len(), 4);
    // What was said of gas is what the chain took.
    let mut gas = 0;
    for hash in &paid.spend.tx_hashes {
        gas += stage.chain.receipt(*hash).await.unwrap().unwrap().gas_used;
    }
    assert_eq!(paid.spend.gas_used, gas);
}

on_both_chains_in_both_modes!(
    what_is_there_is_used_and_the_rest_stays,
    what_is_just_enough_is_not_approved_again,
    too_little_is_raised_to_exactly_what_is_needed,
    paid_plans_are_left_out_of_it,
);
