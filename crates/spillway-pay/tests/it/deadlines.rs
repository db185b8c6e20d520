//! What happens when a plan's deadline passes.

use std::time::Duration;

use spillway_pay::{
    At, Chain, ChainError, ChainFault, ChainOp, PayFailure, Plan, PlanStatus, Spend,
};
use spillway_types::Atto;

use crate::{
    on_both_chains_in_both_modes,
    support::{Control, FINALITY, LEAF_COST, Stage, TestJournal},
};

const HOUR: Duration = Duration::from_hours(1);

async fn an_expired_plan_is_open_until_a_finalized_block_says_otherwise(stage: Stage) {
    let plans = [stage.plan(1, 1).await];
    let payments = stage.payments();
    assert_eq!(payments.status(&plans[0]).await.unwrap(), PlanStatus::Open);
    stage.control.advance(HOUR).await;
    stage.control.mine(1).await;
    assert!(stage.time().await > plans[0].valid_until);
    for _ in 0..FINALITY - 1 {
        assert_eq!(payments.status(&plans[0]).await.unwrap(), PlanStatus::Open);
        stage.control.mine(1).await;
    }
    assert_eq!(payments.status(&plans[0]).await.unwrap(), PlanStatus::Open);
    stage.control.mine(1).await;
    assert!(stage.chain.block(At::Finalized).await.unwrap().time > plans[0].valid_until);
    assert_eq!(payments.status(&plans[0]).await.unwrap(), PlanStatus::Dropped);
}

async fn a_paid_plan_is_never_dropped(stage: Stage) {
    let plans = [stage.plan(1, 1).await];
    let payments = stage.payments();
    let mut journal = TestJournal::new(&stage.chain);
    let paid = payments.pay(stage.request(&plans, &[]), &mut journal).await.unwrap();
    stage.control.advance(HOUR).await;
    stage.control.mine(2 * FINALITY).await;
    let recorded = paid.plans[0].recorded;
    assert_eq!(payments.status(&plans[0]).await.unwrap(), PlanStatus::Paid { recorded });
    // And paying it again after its deadline finds it paid.
    let earlier = journal.signed.clone();
    let again = payments.pay(stage.request(&plans, &earlier), &mut journal).await.unwrap();
    assert_eq!(again, paid);
}

/// A young chain, or a server that was just started, knows of no finalized block.
#[tokio::test]
async fn without_a_finalized_block_a_plan_is_open() {
    let stage = Stage::memory().await;
    let plans = [stage.plan(1, 1).await];
    let payments = stage.payments();
    let Control::Memory { chain, .. } = &stage.control else { panic!("memory") };
    let mut looks = 0;
    chain.set_faults(Some(Box::new(move |op| {
        looks += u32::from(op == ChainOp::Record);
        (op == ChainOp::Record && looks == 2).then_some(ChainFault::Refuse(ChainError::Behind))
    })));
    assert_eq!(payments.status(&plans[0]).await.unwrap(), PlanStatus::Open);
    chain.set_faults(None);
    let mut journal = TestJournal::new(&stage.chain);
    payments.pay(stage.request(&plans, &[]), &mut journal).await.unwrap();
}

/// The newest state is asked of a replica that lags, the finalized one is not.
#[tokio::test]
async fn a_paid_plan_is_paid_though_the_server_was_behind() {
    let stage = Stage::memory().await;
    let plans = [stage.plan(1, 1).await];
    let payments = stage.payments();
    let mut journal = TestJournal::new(&stage.chain);
    let paid = payments.pay(stage.request(&plans, &[]), &mut journal).await.unwrap();
    stage.control.mine(2 * FINALITY).await;
    let Control::Memory { chain, .. } = &stage.control else { panic!("memory") };
    let mut looks = 0;
    chain.set_faults(Some(Box::new(move |op| {
        looks += u32::from(op == ChainOp::Record);
        let before_it = u16::try_from(2 * FINALITY + 1).unwrap();
        (op == ChainOp::Record && looks == 1).then_some(ChainFault::Lag(before_it))
    })));
    let recorded = paid.plans[0].recorded;
    assert_eq!(payments.status(&plans[0]).await.unwrap(), PlanStatus::Paid { recorded });
}

async fn nothing_is_signed_for_an_expired_plan(stage: Stage) {
    let plans = [stage.plan(1, 1).await];
    stage.control.advance(HOUR).await;
    stage.control.mine(1).await;
    let mut journal = TestJournal::new(&stage.chain);
    let error = stage.payments().pay(stage.request(&plans, &[]), &mut journal).await.unwrap_err();
    assert_eq!(error.spend, Spend::default());
    match *error.failure {
        PayFailure::Expired { payment, valid_until, .. } => {
            assert_eq!((payment, valid_until), (plans[0].id(), plans[0].valid_until));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!((journal.signed.len(), stage.chain.sendings()), (0, 0));
}

async fn a_payment_that_is_mined_too_late_is_too_late(stage: Stage) {
    let plans = [stage.plan(1, 1).await];
    let mut journal = TestJournal::new(&stage.chain);
    let payments = stage.payments();
    stage.control.set_automine(false).await;
    let meddle = async {
        stage.chain.wait_for_sendings(1).await;
        stage.control.mine(1).await;
        stage.chain.wait_for_sendings(2).await;
        stage.control.advance(HOUR).await;
        stage.control.mine(1).await;
    };
    let (paid, ()) = tokio::join!(payments.pay(stage.request(&plans, &[]), &mut journal), meddle);
    let error = paid.unwrap_err();
    assert_eq!(error.spend.paid, Atto::ZERO);
    assert_eq!(error.spend.tx_hashes.len(), 2, "the failed one is counted");
    match *error.failure {
        PayFailure::Expired { payment, valid_until, now } => {
            assert_eq!((payment, valid_until), (plans[0].id(), plans[0].valid_until));
            assert!(now > valid_until);
        }
        other => panic!("{other:?}"),
    }
    stage.assert_charged(Atto::ZERO).await;
    assert_eq!(stage.allowance().await, Atto(LEAF_COST));
}

/// A deadline that has not passed explains nothing.
#[tokio::test]
async fn what_fails_in_the_last_second_is_not_late() {
    let stage = Stage::memory().await;
    let Control::Memory { chain, .. } = &stage.control else { panic!("memory") };
    let plans = [stage.plan(1, 1).await];
    let mut journal = TestJournal::new(&stage.chain);
    let payments = stage.payments();
    stage.control.set_automine(false).await;
    let meddle = async {
        stage.chain.wait_for_sendings(1).await;
        stage.control.mine(1).await;
        stage.chain.wait_for_sendings(2).await;
        chain.set_tokens(stage.deployed.token, stage.payer.address(), Atto::ZERO);
        stage.control.advance(plans[0].valid_until.since(stage.clock.now())).await;
        stage.control.mine(1).await;
        assert_eq!(stage.time().await, plans[0].valid_until);
    };
    let (paid, ()) = tokio::join!(payments.pay(stage.request(&plans, &[]), &mut journal), meddle);
    let error = paid.unwrap_err();
    match *error.failure {
        PayFailure::Failed { tx, .. } => assert_eq!(tx, journal.signed[1].hash),
        other => panic!("{other:?}"),
    }
}

async fn a_plan_that_is_mined_too_late_does_not_keep_a_live_one_from_being_paid(stage: Stage) {
    let short = stage.plan(1, 1).await;
    let valid_until = stage.time().await.saturating_add(Duration::from_mins(10));
    let plans = [Plan { valid_until, ..short }, stage.plan(2, 1).await];
    let mut journal = TestJournal::new(&stage.chain);
    let payments = stage.payments();
    stage.control.set_automine(false).await;
    let meddle = async {
        stage.chain.wait_for_new_bytes(1).await;
        stage.control.mine(1).await;
        stage.chain.wait_for_new_bytes(2).await;
        stage.control.advance(Duration::from_mins(20)).await;
        stage.control.mine(1).await;
        stage.control.set_automine(true).await;
    };
    let (paid, ()) = tokio::join!(payments.pay(stage.request(&plans, &[]), &mut journal), meddle);
    let error = paid.unwrap_err();
    match *error.failure {
        PayFailure::Expired { payment, .. } => assert_eq!(payment, plans[0].id()),
        other => panic!("{other:?}"),
    }
    let told: Vec<_> = journal.paid.iter().map(|paid| paid.payment).collect();
    assert_eq!(told, [plans[1].id()]);
    assert_eq!(error.spend.tx_hashes.len(), 3, "the failed one is counted");
    stage.assert_charged(Atto(LEAF_COST)).await;
}

on_both_chains_in_both_modes!(
    an_expired_plan_is_open_until_a_finalized_block_says_otherwise,
    a_paid_plan_is_never_dropped,
    nothing_is_signed_for_an_expired_plan,
    a_payment_that_is_mined_too_late_is_too_late,
    a_plan_that_is_mined_too_late_does_not_keep_a_live_one_from_being_paid,
);
