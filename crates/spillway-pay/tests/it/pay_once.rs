//! A plan is charged once, whatever is called how often.

use spillway_pay::{PaidPlan, PlanStatus, TxPurpose};
use spillway_types::Atto;

use crate::{
    on_both_chains_in_both_modes,
    support::{LEAF_COST, Stage, TestJournal, payee},
};

async fn pays_two_plans_and_says_what_they_cost(stage: Stage) {
    let plans = [stage.plan(1, 3).await, stage.plan(2, 1).await];
    let total = Atto(4 * LEAF_COST);
    let coins = stage.coins_of_payer().await;
    let mut journal = TestJournal::new(&stage.chain);

    let paid = stage.payments().pay(stage.request(&plans, &[]), &mut journal).await.unwrap();

    stage.assert_charged(total).await;
    for number in 1..=5 {
        // A batch pays nobody before its draws.
        let credit = if stage.batches.is_some() { 0 } else { 4 * u128::from(number) };
        assert_eq!(stage.credit(payee(number)).await, Atto(credit));
    }
    assert_eq!(stage.allowance().await, Atto::ZERO, "exact");
    let purposes: Vec<TxPurpose> = journal.signed.iter().map(|tx| tx.purpose.clone()).collect();
    assert_eq!(
        purposes,
        [
            TxPurpose::Approve { amount: total },
            TxPurpose::Pay { payment: plans[0].id() },
            TxPurpose::Pay { payment: plans[1].id() },
        ]
    );
    for tx in &journal.signed {
        let plan = |payment| plans.iter().find(|plan| plan.id() == payment);
        assert_eq!(tx.check(&stage.domain, plan), Ok(()), "its bytes say what is beside them");
    }
    let hashes: Vec<_> = journal.signed.iter().map(|tx| tx.hash).collect();
    assert_eq!(paid.spend.tx_hashes, hashes);
    assert_eq!(paid.spend.paid, total);
    assert_eq!(stage.coins_of_payer().await, coins.saturating_sub(paid.spend.gas_cost));
    let mut expected = Vec::new();
    for (plan, tx) in plans.iter().zip(&hashes[1..]) {
        let status = stage.payments().status(plan).await.unwrap();
        let PlanStatus::Paid { recorded } = status else { panic!("{status:?}") };
        expected.push(PaidPlan {
            payment: plan.id(),
            recorded,
            total: plan.total(),
            tx: Some(*tx),
        });
    }
    assert_eq!(paid.plans, expected);
    assert_eq!(journal.paid, expected);
}

async fn a_paid_plan_costs_nothing_again(stage: Stage) {
    let plans = [stage.plan(1, 2).await];
    let payments = stage.payments();
    let mut journal = TestJournal::new(&stage.chain);
    let first = payments.pay(stage.request(&plans, &[]), &mut journal).await.unwrap();
    let (nonce, sendings) = (stage.nonce().await, stage.chain.sendings());

    // With the journal, everything is known; without it, what the chain says.
    let mut again = TestJournal::new(&stage.chain);
    let second = payments.pay(stage.request(&plans, &journal.signed), &mut again).await.unwrap();
    assert_eq!(second, first);
    let third = payments.pay(stage.request(&plans, &[]), &mut again).await.unwrap();
    assert_eq!(third.spend.paid, first.spend.paid);
    assert_eq!(third.plans[0].tx, None);

    assert!(again.signed.is_empty());
    assert_eq!(again.paid.len(), 2);
    assert_eq!((stage.nonce().await, stage.chain.sendings()), (nonce, sendings));
    stage.assert_charged(Atto(2 * LEAF_COST)).await;
}

async fn the_same_plan_twice_in_a_request_is_one(stage: Stage) {
    let plan = stage.plan(1, 2).await;
    let plans = [plan.clone(), plan.clone()];
    let mut journal = TestJournal::new(&stage.chain);
    let paid = stage.payments().pay(stage.request(&plans, &[]), &mut journal).await.unwrap();
    assert_eq!(paid.plans.len(), 1);
    assert_eq!(paid.spend.paid, Atto(2 * LEAF_COST));
    assert_eq!(journal.signed.len(), 2);
    assert_eq!(journal.paid.len(), 1);
    stage.assert_charged(Atto(2 * LEAF_COST)).await;
}

async fn withdrawing_pays_the_payee_and_leaves_one_unit(stage: Stage) {
    let plans = [stage.plan(1, 10).await];
    let mut journal = TestJournal::new(&stage.chain);
    let payments = stage.payments();
    payments.pay(stage.request(&plans, &[]), &mut journal).await.unwrap();

    let mut journal = TestJournal::new(&stage.chain);
    let done = payments.withdraw(&stage.deployer, payee(5), &mut journal).await.unwrap();
    assert_eq!(done.amount, Atto(49));
    assert_eq!(done.spend.tx_hashes, [journal.signed[0].hash]);
    assert_eq!(journal.signed[0].purpose, TxPurpose::Withdraw { payee: payee(5) });
    assert_eq!(stage.credit(payee(5)).await, Atto(1));
    let account = spillway_types::EvmAddress(payee(5).0);
    let token = stage.deployed.token;
    let chain = payments.chain();
    assert_eq!(chain.tokens(token, account).await.unwrap(), Atto(49));

    let again = payments.withdraw(&stage.deployer, payee(5), &mut journal).await.unwrap();
    assert_eq!((again.amount, again.spend.gas_used), (Atto::ZERO, 0));
    assert_eq!(journal.signed.len(), 1);
}

on_both_chains_in_both_modes!(
    pays_two_plans_and_says_what_they_cost,
    a_paid_plan_costs_nothing_again,
    the_same_plan_twice_in_a_request_is_one,
);

mod direct {
    use super::withdrawing_pays_the_payee_and_leaves_one_unit;

    crate::on_both_chains!(withdrawing_pays_the_payee_and_leaves_one_unit);
}
