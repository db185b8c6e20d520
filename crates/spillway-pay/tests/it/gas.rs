//! What is said of gas before paying, against what the chain takes.

use spillway_pay::Chain;
use spillway_types::{Atto, RewardAddress};

use crate::{
    on_both_chains,
    support::{Stage, TestJournal},
};

/// Twenty payees, five a leaf.
async fn plan(stage: &Stage, name: u8, leaves: u8) -> spillway_pay::Plan {
    let mut plan = stage.plan(name, leaves).await;
    for (index, leaf) in (0..).zip(&mut plan.leaves) {
        for (place, share) in (0..).zip(&mut leaf.shares) {
            share.payee = RewardAddress([1 + (index % 20 * 3 + place * 7) % 20; 20]);
            // An amount of real size, for the cost of its call data.
            share.amount = Atto(1_000 + u128::from(index));
        }
    }
    plan
}

async fn the_estimate_is_at_least_what_is_used_and_not_far_above(stage: Stage) {
    for (name, leaves) in [(1, 1), (2, 16), (3, 100), (4, 16)] {
        let plans = [plan(&stage, name, leaves).await];
        let payments = stage.payments();
        let estimate =
            payments.estimate(&plans, stage.payer.address(), Default::default()).await.unwrap();
        let mut journal = TestJournal::new(&stage.chain);
        let paid = payments.pay(stage.request(&plans, &[]), &mut journal).await.unwrap();
        let used = paid.spend.gas_used;
        assert!(estimate.gas >= used, "{leaves} leaves: {} < {used}", estimate.gas);
        assert!(estimate.gas * 100 <= used * 115, "{leaves} leaves: {} {used}", estimate.gas);
        assert_eq!(estimate.transactions, 2);
        assert!(estimate.approval_gas > 20_000);
        assert!(estimate.cost >= paid.spend.gas_cost);
        let after =
            payments.estimate(&plans, stage.payer.address(), Default::default()).await.unwrap();
        assert_eq!((after.gas, after.transactions), (0, 0), "it is paid");
    }
}

async fn every_gas_limit_suffices_with_room(stage: Stage) {
    let plans = [plan(&stage, 1, 100).await];
    let mut journal = TestJournal::new(&stage.chain);
    stage.payments().pay(stage.request(&plans, &[]), &mut journal).await.unwrap();
    for tx in &journal.signed {
        let used = stage.chain.receipt(tx.hash).await.unwrap().unwrap().gas_used;
        assert!(tx.gas_limit > used && tx.gas_limit < 2 * used, "{} {used}", tx.gas_limit);
    }
}

on_both_chains!(
    the_estimate_is_at_least_what_is_used_and_not_far_above,
    every_gas_limit_suffices_with_room,
);
