//! Nonces whose transactions are gone, fees that rose, servers that are behind.

use std::{future::pending, time::Duration};

use spillway_pay::{
    Call, Chain, ChainError, ChainFault, ChainOp, MemoryChain, PayFailure, PayRequest, Plan,
    SignedTx, TxPurpose,
};
use spillway_types::{Atto, Wei};

use crate::{
    groups::{COST, batches, elsewhere, together},
    support::{Control, LEAF_COST, SendFault, Stage, TestJournal, payee},
};

pub(crate) fn memory(stage: &Stage) -> &MemoryChain {
    let Control::Memory { chain, .. } = &stage.control else { panic!("not in memory") };
    chain
}

/// A replica that has not seen the newest block answers everything but looks at records.
fn lag(stage: &Stage) {
    let lag = |op| (op == ChainOp::Read).then_some(ChainFault::Lag(1));
    memory(stage).set_faults(Some(Box::new(lag)));
}

/// Another program sends something of the same wallet.
async fn use_a_nonce(stage: &Stage) {
    let other = stage.deployer.address();
    stage.hands(&stage.payer).send_coins(other, Wei(1)).await.unwrap();
}

/// Leaves more of an allowance than the plans of these tests cost.
pub(crate) async fn leave_allowance(stage: &Stage) {
    let large = [stage.plan(9, 100).await];
    let mut journal = TestJournal::new(&stage.chain);
    journal.fail_at = Some(1);
    stage.payments().pay(stage.request(&large, &[]), &mut journal).await.unwrap_err();
}

/// Approves, writes the payment down and stops before it is sent.
pub(crate) async fn stop_before_paying(stage: &Stage, plans: &[Plan]) -> Vec<SignedTx> {
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
    use_a_nonce(&stage).await;
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
    let mut stage = Stage::memory().await;
    // Looks fall on the moment at which it was free for long enough.
    stage.timing.first_poll = stage.timing.resend_after / 2;
    stage.timing.longest_poll = stage.timing.first_poll;
    let (first, second, earlier) = two_sessions(&stage).await;
    let payments = stage.payments();
    let mut journal = TestJournal::new(&stage.chain);
    let sendings = stage.chain.sendings();
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
    // The first again when the free nonce is found; the next time the second.
    assert_eq!(stage.chain.sendings() - sendings, 3);
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

#[tokio::test]
async fn after_a_used_nonce_the_next_is_taken_though_the_server_is_behind() {
    let stage = Stage::memory().await;
    let plans = [stage.plan(1, 1).await];
    let earlier = stop_before_paying(&stage, &plans).await;
    use_a_nonce(&stage).await;
    lag(&stage);
    let mut journal = TestJournal::new(&stage.chain);
    stage.payments().pay(stage.request(&plans, &earlier), &mut journal).await.unwrap();
    let nonces: Vec<u64> = journal.signed.iter().map(|tx| tx.nonce).collect();
    assert_eq!(nonces, [earlier[1].nonce + 1]);
    memory(&stage).set_faults(None);
    stage.assert_charged(Atto(LEAF_COST)).await;
}

/// Another program is always first.
#[tokio::test]
async fn a_goal_is_signed_for_four_nonces_and_no_more() {
    let stage = Stage::memory().await;
    leave_allowance(&stage).await;
    let plans = [stage.plan(1, 1).await];
    let used = |op| (op == ChainOp::SendRaw).then_some(ChainFault::Refuse(ChainError::NonceTooLow));
    memory(&stage).set_faults(Some(Box::new(used)));
    let next = stage.nonce().await;
    let mut journal = TestJournal::new(&stage.chain);
    let error = stage.payments().pay(stage.request(&plans, &[]), &mut journal).await.unwrap_err();
    let PayFailure::Chain(ChainError::NonceTooLow) = *error.failure else { panic!("{error:?}") };
    let nonces: Vec<u64> = journal.signed.iter().map(|tx| tx.nonce).collect();
    assert_eq!(nonces, (next..next + 4).collect::<Vec<u64>>());
}

#[tokio::test]
async fn a_nonce_that_only_one_look_finds_free_is_not_signed_for() {
    let stage = Stage::memory().await;
    leave_allowance(&stage).await;
    use_a_nonce(&stage).await;
    let plans = [stage.plan(1, 1).await];
    let mut journal = TestJournal::new(&stage.chain);
    journal.crash_at = Some(0);
    stage.payments().pay(stage.request(&plans, &[]), &mut journal).await.unwrap_err();
    let [earlier] = &journal.signed[..] else { panic!("{:?}", journal.signed) };
    lag(&stage);
    assert_eq!(stage.nonce().await, earlier.nonce - 1);
    let mut again = TestJournal::new(&stage.chain);
    let request = stage.request(&plans, &journal.signed);
    let paid = stage.payments().pay(request, &mut again).await.unwrap();
    assert_eq!((again.signed.len(), paid.plans[0].tx), (0, Some(earlier.hash)));
    memory(&stage).set_faults(None);
    stage.assert_charged(Atto(LEAF_COST)).await;
}

/// Another program takes each allowance back while the payment is tried: only approvals are signed.
/// How many, and why the payment is refused in the end.
async fn approvals(stage: &Stage) -> (usize, Option<String>) {
    let plans = [stage.plan(1, 1).await];
    let mut data = vec![0x09, 0x5e, 0xa7, 0xb3];
    data.extend([0; 12]);
    data.extend(stage.deployed.vault.0);
    data.extend([0; 32]);
    let nothing = Call { from: stage.payer.address(), to: stage.deployed.token, data };
    let mut journal = TestJournal::new(&stage.chain);
    let payments = stage.payments();
    let meddle = async {
        for _ in 0..1_000 {
            stage.chain.wait_for_estimates(1).await;
            if stage.allowance().await > Atto::ZERO {
                // Of the payment: so the allowance was seen.
                stage.chain.wait_for_estimates(2).await;
                assert!(stage.send_call(&stage.payer, &nothing).await.success);
            }
        }
    };
    let paid = tokio::select! {
        biased;
        () = meddle => panic!("it does not end"),
        paid = payments.pay(stage.request(&plans, &[]), &mut journal) => paid,
    };
    let error = paid.unwrap_err();
    let PayFailure::Chain(ChainError::Reverted { reason }) = *error.failure else {
        panic!("{error:?}");
    };
    let approval = TxPurpose::Approve { amount: Atto(LEAF_COST) };
    assert!(journal.signed.iter().all(|tx| tx.purpose == approval), "{:?}", journal.signed);
    assert_eq!(stage.allowance().await, Atto::ZERO);
    (journal.signed.len(), reason)
}

#[tokio::test]
async fn an_allowance_is_raised_three_times_and_no_more() {
    let stage = Stage::memory().await;
    stage.chain.revert(stage.deployed.vault, usize::MAX);
    let (approvals, _) = approvals(&stage).await;
    assert_eq!(approvals, 1 + 3);
}

#[tokio::test]
async fn an_allowance_is_not_raised_for_another_reason() {
    let stage = Stage::memory().await;
    stage.chain.refuse_calls_with(&payee(1).0, "Paused()");
    assert_eq!(approvals(&stage).await, (1, Some("Paused()".to_owned())));
}

/// Its fee was enough when it was signed; it is of another plan.
#[tokio::test]
async fn a_nonce_whose_transaction_offers_too_little_now_is_filled_with_the_payment() {
    let stage = Stage::memory().await;
    leave_allowance(&stage).await;
    let (first, second) = ([stage.plan(1, 1).await], [stage.plan(2, 1).await]);
    let payments = stage.payments();
    let mut journal = TestJournal::new(&stage.chain);
    for plans in [&first, &second] {
        payments.pay(stage.request(plans, &[]), &mut journal).await.unwrap();
    }
    stage.control.reorg(2).await;
    memory(&stage).set_base_fee(Wei(20_000_000_000));
    let mut again = TestJournal::new(&stage.chain);
    let request = stage.request(&second, &journal.signed);
    let paid = payments.pay(request, &mut again).await.unwrap();
    let nonces: Vec<u64> = again.signed.iter().map(|tx| tx.nonce).collect();
    assert_eq!(nonces, [journal.signed[1].nonce, journal.signed[0].nonce]);
    assert_eq!(paid.plans[0].tx, Some(again.signed[1].hash));
    stage.assert_charged(Atto(LEAF_COST)).await;
}

#[tokio::test]
async fn the_next_nonce_is_known_though_the_server_is_behind() {
    let stage = Stage::memory().await;
    leave_allowance(&stage).await;
    let plans = [stage.plan(1, 1).await, stage.plan(2, 1).await];
    let next = stage.nonce().await;
    let mut is_sent = false;
    memory(&stage).set_faults(Some(Box::new(move |op| {
        is_sent |= op == ChainOp::SendRaw;
        (is_sent && op == ChainOp::Read).then_some(ChainFault::Lag(1))
    })));
    let mut journal = TestJournal::new(&stage.chain);
    stage.payments().pay(stage.request(&plans, &[]), &mut journal).await.unwrap();
    let nonces: Vec<u64> = journal.signed.iter().map(|tx| tx.nonce).collect();
    assert_eq!(nonces, [next, next + 1]);
}

/// Another session has paid for one of its batches; a replica that has not seen it is asked first.
#[tokio::test]
async fn a_group_that_failed_is_looked_at_as_a_whole() {
    let stage = Stage::memory().await;
    leave_allowance(&stage).await;
    let plans = batches(&stage, 1..4).await;
    stage.control.set_automine(false).await;
    let mut lost = TestJournal::new(&stage.chain);
    let sendings = stage.chain.sendings();
    let away = elsewhere(&stage);
    tokio::select! {
        biased;
        _ = away.pay(stage.request(&plans[1..2], &[]), &mut lost) => panic!("nothing is mined"),
        () = stage.chain.wait_for_sendings(sendings + 1) => {}
    }
    let payments = stage.payments();
    let mut journal = TestJournal::new(&stage.chain);
    let meddle = async {
        stage.chain.wait_for_sendings(sendings + 2).await;
        let mut is_behind = true;
        memory(&stage).set_faults(Some(Box::new(move |op| {
            is_behind &= op != ChainOp::Receipt;
            (is_behind && op == ChainOp::Record).then_some(ChainFault::Lag(1))
        })));
        stage.control.set_automine(true).await;
        stage.control.mine(1).await;
    };
    let (paid, ()) = tokio::join!(payments.pay(stage.request(&plans, &[]), &mut journal), meddle);
    let paid = paid.unwrap();
    let purposes: Vec<TxPurpose> = journal.signed.iter().map(|tx| tx.purpose.clone()).collect();
    let rest = [plans[0].clone(), plans[2].clone()];
    assert_eq!(purposes, [together(&plans), together(&rest)]);
    assert_eq!((paid.plans.len(), paid.plans[1].tx), (3, None));
    stage.assert_charged(Atto(3 * COST)).await;
}
