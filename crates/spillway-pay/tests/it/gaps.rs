//! Nonces whose transactions are gone, fees that rose, servers that are behind.

use std::{future::pending, time::Duration};

use spillway_pay::{Chain, ChainError, PayFailure, PayRequest, Plan, SignedTx, TxPurpose};
use spillway_types::{Atto, Wei};

use crate::support::{LEAF_COST, SendFault, Stage, TestJournal};

/// Approves, writes the payment down and stops before it is sent.
async fn stop_before_paying(stage: &Stage, plans: &[Plan]) -> Vec<SignedTx> {
    let mut journal = TestJournal::new(&stage.chain);
    journal.crash_at = Some(1);
    let error = stage.payments().pay(stage.request(plans, &[]), &mut journal).await.unwrap_err();
    assert!(matches!(*error.failure, PayFailure::Journal(_)), "{error:?}");
    journal.signed
}

#[tokio::test]
async fn what_a_reorganisation_takes_with_a_payment_is_sent_again_before_it() {
    let stage = Stage::memory().await;
    let plans = [stage.plan(1, 1).await];
    let request = PayRequest { confirmations: 2, ..stage.request(&plans, &[]) };
    let mut journal = TestJournal::new(&stage.chain);
    let payments = stage.payments();
    let meddle = async {
        stage.chain.wait_for_sendings(2).await;
        // The approval, too.
        stage.control.reorg(2).await;
        stage.chain.wait_for_sendings(4).await;
        stage.control.mine(2).await;
        pending::<()>().await;
    };
    let paid = tokio::select! {
        biased;
        () = meddle => unreachable!(),
        paid = payments.pay(request, &mut journal) => paid.unwrap(),
    };
    let hashes: Vec<_> = journal.signed.iter().map(|tx| tx.hash).collect();
    assert_eq!(hashes.len(), 2, "the identical bytes");
    assert_eq!(paid.plans[0].tx, Some(hashes[1]));
    assert_eq!(paid.spend.tx_hashes, hashes);
    stage.assert_charged(Atto(LEAF_COST)).await;
}

#[tokio::test]
async fn of_two_payments_of_a_plan_the_lower_nonce_goes_out_first() {
    let stage = Stage::memory().await;
    let plans = [stage.plan(1, 1).await];
    let mut earlier = stop_before_paying(&stage, &plans).await;
    let other = stage.deployer.address();
    stage.hands(&stage.payer).send_coins(other, Wei(1)).await.unwrap();
    let mut journal = TestJournal::new(&stage.chain);
    stage.payments().pay(stage.request(&plans, &earlier), &mut journal).await.unwrap();
    earlier.append(&mut journal.signed);
    assert_eq!(earlier[2].nonce, earlier[1].nonce + 1);
    // The other program's transaction is gone with the payment.
    stage.control.reorg(2).await;
    assert_eq!(stage.nonce().await, earlier[1].nonce);

    let mut journal = TestJournal::new(&stage.chain);
    let paid = stage.payments().pay(stage.request(&plans, &earlier), &mut journal).await.unwrap();
    assert!(journal.signed.is_empty(), "{:?}", journal.signed);
    assert_eq!(paid.plans[0].tx, Some(earlier[1].hash));
    assert_eq!(stage.nonce().await, earlier[2].nonce, "the higher one was not needed");
    stage.assert_charged(Atto(LEAF_COST)).await;
}

#[tokio::test]
async fn a_server_that_does_not_know_the_approval_yet_is_waited_for() {
    let stage = Stage::memory().await;
    let plans = [stage.plan(1, 1).await];
    let mut journal = TestJournal::new(&stage.chain);
    // Longer than until bytes are sent again, less than an outage.
    stage.chain.revert(stage.deployed.vault, 20);
    stage.payments().pay(stage.request(&plans, &[]), &mut journal).await.unwrap();
    assert_eq!(journal.signed.len(), 2);
    stage.assert_charged(Atto(LEAF_COST)).await;

    let plans = [stage.plan(2, 1).await];
    stage.chain.revert(stage.deployed.vault, usize::MAX);
    let started = stage.clock.monotonic();
    let error = stage.payments().pay(stage.request(&plans, &[]), &mut journal).await.unwrap_err();
    let reason = Some("ERC20InsufficientAllowance".to_owned());
    match *error.failure {
        PayFailure::Chain(error) => assert_eq!(error, ChainError::Reverted { reason }),
        failure => panic!("{failure:?}"),
    }
    let waited = stage.clock.monotonic().saturating_sub(started);
    assert!(waited >= stage.timing.outage && waited < 2 * stage.timing.outage, "{waited:?}");
}

/// As Anvil says it to bytes that wait in its pool already.
#[tokio::test]
async fn a_fee_below_the_base_fee_is_raised_though_the_transaction_waits() {
    let stage = Stage::memory().await;
    let plans = [stage.plan(1, 1).await];
    let earlier = stop_before_paying(&stage, &plans).await;
    stage.control.set_automine(false).await;
    stage.chain.send_raw(&earlier[1].raw).await.unwrap();
    stage.chain.fail([SendFault::FeeTooLow]);
    let mut journal = TestJournal::new(&stage.chain);
    let payments = stage.payments();
    let started = stage.clock.monotonic();
    let meddle = async {
        stage.chain.wait_for_new_bytes(3).await;
        stage.control.mine(1).await;
        pending::<()>().await;
    };
    let paid = tokio::select! {
        biased;
        () = meddle => unreachable!(),
        paid = payments.pay(stage.request(&plans, &earlier), &mut journal) => paid.unwrap(),
    };
    assert_eq!(journal.signed.len(), 1);
    assert_eq!(journal.signed[0].nonce, earlier[1].nonce);
    assert_eq!(paid.plans[0].tx, Some(journal.signed[0].hash));
    let waited = stage.clock.monotonic().saturating_sub(started);
    assert!(waited < Duration::from_secs(1), "{waited:?}");
    stage.assert_charged(Atto(LEAF_COST)).await;
}

/// Two sessions of one wallet: the first one's payment waits when its process dies. The second knows
/// nothing of it but its nonce.
async fn two_sessions(stage: &Stage) -> ([Plan; 1], [Plan; 1], Vec<SignedTx>) {
    let (first, second) = ([stage.plan(1, 1).await], [stage.plan(2, 1).await]);
    let mut journal = TestJournal::new(&stage.chain);
    journal.lenient = true;
    let payments = stage.payments();
    let dies = async {
        stage.chain.wait_for_new_bytes(1).await;
        stage.control.set_automine(false).await;
        stage.chain.wait_for_new_bytes(2).await;
        // Until the server has it.
        while stage.nonce().await < 2 {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        biased;
        () = dies => {}
        paid = payments.pay(stage.request(&first, &[]), &mut journal) => panic!("{paid:?}"),
    }
    assert_eq!(journal.signed.len(), 2);
    (first, second, journal.signed)
}

#[tokio::test]
async fn a_nonce_that_another_session_has_left_free_is_filled_with_the_same_payment() {
    let stage = Stage::memory().await;
    let (first, second, earlier) = two_sessions(&stage).await;
    let payments = stage.payments();
    let mut journal = TestJournal::new(&stage.chain);
    let meddle = async {
        // The second session's payment comes after one that the pool then drops.
        stage.chain.wait_for_new_bytes(3).await;
        stage.control.drop_transaction(earlier[1].hash).await;
        stage.control.set_automine(true).await;
        pending::<()>().await;
    };
    let paid = tokio::select! {
        biased;
        () = meddle => unreachable!(),
        paid = payments.pay(stage.request(&second, &[]), &mut journal) => paid.unwrap(),
    };
    let nonces: Vec<u64> = journal.signed.iter().map(|tx| tx.nonce).collect();
    assert_eq!(nonces, [earlier[1].nonce + 1, earlier[1].nonce]);
    assert!(journal.signed.iter().all(|tx| tx.purpose.pays(second[0].id())));
    assert_eq!(paid.plans[0].tx, Some(journal.signed[1].hash));
    stage.assert_charged(Atto(LEAF_COST)).await;
    // The first goes on, and neither is charged twice.
    let mut journal = TestJournal::new(&stage.chain);
    payments.pay(stage.request(&first, &earlier), &mut journal).await.unwrap();
    stage.assert_charged(Atto(2 * LEAF_COST)).await;
}

#[tokio::test]
async fn an_allowance_that_another_session_uses_first_is_raised_again() {
    let stage = Stage::memory().await;
    let (first, second, earlier) = two_sessions(&stage).await;
    let payments = stage.payments();
    let mut journal = TestJournal::new(&stage.chain);
    let meddle = async {
        // It counts on the allowance that the payment before it takes.
        stage.chain.wait_for_new_bytes(3).await;
        stage.control.set_automine(true).await;
        stage.control.mine(1).await;
        pending::<()>().await;
    };
    let paid = tokio::select! {
        biased;
        () = meddle => unreachable!(),
        paid = payments.pay(stage.request(&second, &[]), &mut journal) => paid.unwrap(),
    };
    let purposes: Vec<TxPurpose> = journal.signed.iter().map(|tx| tx.purpose.clone()).collect();
    let pay = TxPurpose::Pay { payment: second[0].id() };
    assert_eq!(purposes, [pay.clone(), TxPurpose::Approve { amount: Atto(LEAF_COST) }, pay]);
    assert_eq!(paid.spend.tx_hashes.len(), 3, "the failed one is counted");
    let mut journal = TestJournal::new(&stage.chain);
    payments.pay(stage.request(&first, &earlier), &mut journal).await.unwrap();
    assert!(journal.signed.is_empty());
    stage.assert_charged(Atto(2 * LEAF_COST)).await;
}
