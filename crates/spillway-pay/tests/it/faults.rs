//! Lost replies, crashes, foreign nonces, reorganisations: charged once.

use std::time::Duration;

use spillway_pay::{Chain, PayError, PayFailure, SignedTx, TxPurpose};
use spillway_types::{Atto, Wei};

use crate::{
    on_both_chains_in_both_modes,
    support::{LEAF_COST, SendFault, Stage, TestJournal},
};

fn failure(error: PayError) -> PayFailure {
    *error.failure
}

async fn whatever_happens_to_a_sending_it_is_charged_once(stage: Stage) {
    let mut charged = 0;
    let faults =
        [SendFault::LostReply, SendFault::NeverArrived, SendFault::Forgotten, SendFault::Limited];
    for (name, fault) in (0..).zip(faults) {
        let plans = [stage.plan(name, 2).await];
        let mut journal = TestJournal::new(&stage.chain);
        // The approval's sending and the payment's; what did not arrive is sent again in between.
        let arrives = matches!(fault, SendFault::LostReply | SendFault::Limited);
        let again = if arrives { None } else { Some(SendFault::None) };
        stage.chain.fail([fault].into_iter().chain(again).chain([fault]));
        let paid = stage.payments().pay(stage.request(&plans, &[]), &mut journal).await.unwrap();
        charged += 2 * LEAF_COST;
        assert_eq!(journal.signed.len(), 2, "{fault:?}: nothing was signed twice");
        assert_eq!(paid.spend.tx_hashes.len(), 2, "{fault:?}");
        stage.assert_charged(Atto(charged)).await;
    }
}

async fn a_journal_that_fails_keeps_everything_here(stage: Stage) {
    let plans = [stage.plan(1, 2).await];
    let before = (stage.nonce().await, stage.coins_of_payer().await);
    let mut journal = TestJournal::new(&stage.chain);
    journal.fail_at = Some(0);
    let error = stage.payments().pay(stage.request(&plans, &[]), &mut journal).await.unwrap_err();
    assert_eq!(error.spend, spillway_pay::Spend::default());
    let PayFailure::Journal(cause) = failure(error) else { panic!("not the journal") };
    assert_eq!(cause.source.to_string(), "disk full");
    assert_eq!(stage.chain.sendings(), 0);
    assert_eq!((stage.nonce().await, stage.coins_of_payer().await), before);

    // At the payment: the approval is out, the payment is not.
    let mut journal = TestJournal::new(&stage.chain);
    journal.fail_at = Some(1);
    let error = stage.payments().pay(stage.request(&plans, &[]), &mut journal).await.unwrap_err();
    assert_eq!(error.spend.tx_hashes, [journal.signed[0].hash]);
    assert!(error.spend.gas_used > 0);
    assert_eq!(error.spend.paid, Atto::ZERO);
    assert!(matches!(failure(error), PayFailure::Journal(_)));
    stage.assert_charged(Atto::ZERO).await;
    assert_eq!(stage.nonce().await, before.0 + 1);
}

/// Runs until the crash after entry `crash_at` was written; returns the journal's entries.
async fn crash(stage: &Stage, plans: &[spillway_pay::Plan], crash_at: usize) -> Vec<SignedTx> {
    let mut journal = TestJournal::new(&stage.chain);
    journal.crash_at = Some(crash_at);
    let error = stage.payments().pay(stage.request(plans, &[]), &mut journal).await.unwrap_err();
    assert!(matches!(failure(error), PayFailure::Journal(_)));
    assert_eq!(journal.signed.len(), crash_at + 1);
    journal.signed
}

async fn after_a_crash_before_sending_the_identical_bytes_go_out(stage: Stage) {
    let plans = [stage.plan(1, 2).await];
    for crash_at in [0, 1] {
        let plans = &[plans[0].clone(), stage.plan(2 + crash_at, 1).await][..];
        let earlier = crash(&stage, plans, crash_at.into()).await;
        let last = earlier.last().unwrap();
        assert!(!stage.chain.was_sent(&last.raw));
        let mut journal = TestJournal::new(&stage.chain);
        stage.payments().pay(stage.request(plans, &earlier), &mut journal).await.unwrap();
        assert!(stage.chain.was_sent(&last.raw));
        let again: Vec<TxPurpose> = journal.signed.iter().map(|tx| tx.purpose.clone()).collect();
        assert!(!again.contains(&last.purpose), "{again:?}");
    }
    stage.assert_charged(Atto(4 * LEAF_COST)).await;
}

async fn a_nonce_that_something_else_used_leads_to_the_same_plan_signed_again(stage: Stage) {
    let plans = [stage.plan(1, 2).await];
    let earlier = crash(&stage, &plans, 1).await;
    // Another program sends from the same wallet.
    let other = stage.deployer.address();
    stage.hands(&stage.payer).send_coins(other, Wei(1)).await.unwrap();

    let mut journal = TestJournal::new(&stage.chain);
    let paid = stage.payments().pay(stage.request(&plans, &earlier), &mut journal).await.unwrap();
    assert_eq!(journal.signed.len(), 1);
    assert_eq!(journal.signed[0].purpose, TxPurpose::Pay { payment: plans[0].id() });
    assert_eq!(journal.signed[0].nonce, earlier[1].nonce + 1);
    assert_eq!(paid.plans[0].tx, Some(journal.signed[0].hash));
    stage.assert_charged(Atto(2 * LEAF_COST)).await;
}

async fn a_lost_journal_costs_gas_and_not_tokens(stage: Stage) {
    // So that the allowance is not what stops a second charge.
    let large = [stage.plan(9, 100).await];
    let mut journal = TestJournal::new(&stage.chain);
    journal.fail_at = Some(1);
    stage.payments().pay(stage.request(&large, &[]), &mut journal).await.unwrap_err();

    let plans = [stage.plan(1, 2).await];
    let payments = stage.payments();
    stage.control.set_automine(false).await;
    let mut lost = TestJournal::new(&stage.chain);
    let sendings = stage.chain.sendings();
    // The first process is killed while its transaction waits.
    tokio::select! {
        biased;
        _ = payments.pay(stage.request(&plans, &[]), &mut lost) => panic!("nothing is mined"),
        () = stage.chain.wait_for_sendings(sendings + 1) => {}
    }
    let mut journal = TestJournal::new(&stage.chain);
    let meddle = async {
        // Anvil sees in the waiting transaction that the plan will be paid, and says so when it is
        // asked for gas; the twin does not look ahead, so there a second one is sent.
        tokio::select! {
            () = stage.chain.wait_for_sendings(sendings + 2) => {}
            () = stage.chain.wait_for_estimates(3) => {}
        }
        stage.control.mine(1).await;
    };
    let (paid, ()) = tokio::join!(payments.pay(stage.request(&plans, &[]), &mut journal), meddle);
    let paid = paid.unwrap();
    stage.assert_charged(Atto(2 * LEAF_COST)).await;
    assert_eq!(paid.plans[0].tx, None, "not by a transaction of this journal");
    assert_eq!(lost.signed.len(), 1);
    let mut wasted = 0;
    for second in &journal.signed {
        assert_eq!(second.nonce, lost.signed[0].nonce + 1);
        let receipt = stage.chain.receipt(second.hash).await.unwrap().unwrap();
        assert!(!receipt.success);
        wasted += receipt.gas_used;
    }
    assert_eq!(paid.spend.gas_used, wasted);
    let on_twin = matches!(stage.control, crate::support::Control::Memory { .. });
    assert_eq!(journal.signed.len(), usize::from(on_twin));
}

async fn a_payment_that_a_reorganisation_takes_back_is_sent_again(stage: Stage) {
    let plans = [stage.plan(1, 2).await];
    let mut journal = TestJournal::new(&stage.chain);
    stage.payments().pay(stage.request(&plans, &[]), &mut journal).await.unwrap();
    stage.control.reorg(2).await;
    stage.assert_charged(Atto::ZERO).await;

    let mut again = TestJournal::new(&stage.chain);
    let paid =
        stage.payments().pay(stage.request(&plans, &journal.signed), &mut again).await.unwrap();
    assert!(again.signed.is_empty(), "the identical bytes, {:?}", again.signed);
    assert_eq!(paid.spend.tx_hashes, [journal.signed[0].hash, journal.signed[1].hash]);
    stage.assert_charged(Atto(2 * LEAF_COST)).await;
}

async fn a_dropped_transaction_is_sent_again(stage: Stage) {
    let plans = [stage.plan(1, 2).await];
    let mut journal = TestJournal::new(&stage.chain);
    stage.control.set_automine(false).await;
    let payments = stage.payments();
    let meddle = async {
        stage.chain.wait_for_sendings(1).await;
        stage.control.mine(1).await;
        stage.chain.wait_for_sendings(2).await;
        let hash = stage.chain.last_hash();
        stage.control.drop_transaction(hash).await;
        let sent = stage.chain.sendings();
        stage.chain.wait_for_sendings(sent + 1).await;
        assert_eq!(stage.chain.last_hash(), hash);
        stage.control.mine(1).await;
    };
    let (paid, ()) = tokio::join!(payments.pay(stage.request(&plans, &[]), &mut journal), meddle);
    assert_eq!(paid.unwrap().spend.tx_hashes.len(), 2);
    assert_eq!(journal.signed.len(), 2);
    stage.assert_charged(Atto(2 * LEAF_COST)).await;
}

async fn a_stuck_payment_gets_a_higher_fee_at_the_same_nonce(mut stage: Stage) {
    stage.timing.bump_after = Duration::from_millis(400);
    let plans = [stage.plan(1, 2).await];
    let mut journal = TestJournal::new(&stage.chain);
    stage.control.set_automine(false).await;
    let payments = stage.payments();
    let meddle = async {
        stage.chain.wait_for_sendings(1).await;
        stage.control.mine(1).await;
        stage.chain.wait_for_new_bytes(3).await;
        stage.control.mine(1).await;
    };
    let (paid, ()) = tokio::join!(payments.pay(stage.request(&plans, &[]), &mut journal), meddle);
    let paid = paid.unwrap();
    let pays: Vec<&SignedTx> = journal
        .signed
        .iter()
        .filter(|tx| tx.purpose == TxPurpose::Pay { payment: plans[0].id() })
        .collect();
    assert!(pays.len() >= 2, "{pays:?}");
    assert!(pays.windows(2).all(|pair| pair[0].nonce == pair[1].nonce));
    assert!(pays.windows(2).all(|pair| pair[1].max_fee.0 * 1000 >= pair[0].max_fee.0 * 1125));
    assert_eq!(paid.spend.tx_hashes.len(), 2);
    stage.assert_charged(Atto(2 * LEAF_COST)).await;
    // And when it is gone on with, the receipt is found whichever of them was mined.
    let mut again = TestJournal::new(&stage.chain);
    let second = payments.pay(stage.request(&plans, &journal.signed), &mut again).await.unwrap();
    assert_eq!(second, paid);
}

#[tokio::test]
async fn fees_that_rose_before_the_bytes_went_out_are_paid_at_the_same_nonce() {
    let stage = Stage::memory().await;
    let plans = [stage.plan(1, 2).await];
    let earlier = crash(&stage, &plans, 1).await;
    let crate::support::Control::Memory { chain, .. } = &stage.control else { panic!("memory") };
    chain.set_base_fee(Wei(20_000_000_000));

    let mut journal = TestJournal::new(&stage.chain);
    let paid = stage.payments().pay(stage.request(&plans, &earlier), &mut journal).await.unwrap();
    assert_eq!(journal.signed.len(), 1);
    assert_eq!(journal.signed[0].nonce, earlier[1].nonce);
    assert!(stage.chain.was_sent(&earlier[1].raw), "the identical bytes came first");
    assert_eq!(paid.plans[0].tx, Some(journal.signed[0].hash));
    stage.assert_charged(Atto(2 * LEAF_COST)).await;
}

/// The pool took the payment, lost it, and another program used its nonce.
async fn an_accepted_payment_whose_nonce_was_used_is_signed_again(stage: Stage) {
    let plans = [stage.plan(1, 2).await];
    let earlier = crash(&stage, &plans, 1).await;
    stage.control.set_automine(false).await;
    let payments = stage.payments();
    let mut journal = TestJournal::new(&stage.chain);
    let meddle = async {
        let sent = stage.chain.sendings();
        stage.chain.wait_for_sendings(sent + 1).await;
        stage.control.drop_transaction(earlier[1].hash).await;
        stage.control.set_automine(true).await;
        let other = stage.deployer.address();
        stage.hands(&stage.payer).send_coins(other, Wei(1)).await.unwrap();
    };
    let (paid, ()) =
        tokio::join!(payments.pay(stage.request(&plans, &earlier), &mut journal), meddle);
    assert_eq!(paid.unwrap().plans[0].tx, Some(journal.signed[0].hash));
    assert_eq!(journal.signed[0].nonce, earlier[1].nonce + 1);
    stage.assert_charged(Atto(2 * LEAF_COST)).await;
}

async fn a_payment_that_is_not_mined_is_given_up_and_gone_on_with(mut stage: Stage) {
    let plans = [stage.plan(1, 2).await];
    stage.timing.patience = Duration::from_millis(500);
    stage.control.set_automine(false).await;
    let mut journal = TestJournal::new(&stage.chain);
    let error = stage.payments().pay(stage.request(&plans, &[]), &mut journal).await.unwrap_err();
    let PayFailure::NotMined { tx, .. } = failure(error) else { panic!("not given up") };
    assert_eq!(tx, journal.signed[0].hash);

    stage.control.mine(1).await;
    stage.control.set_automine(true).await;
    let mut again = TestJournal::new(&stage.chain);
    let earlier = journal.signed;
    stage.payments().pay(stage.request(&plans, &earlier), &mut again).await.unwrap();
    assert_eq!(again.signed.len(), 1, "the approval was mined meanwhile");
    stage.assert_charged(Atto(2 * LEAF_COST)).await;
}

async fn a_payment_counts_when_it_is_deep_enough(stage: Stage) {
    let plans = [stage.plan(1, 1).await, stage.plan(2, 1).await];
    let mut journal = TestJournal::new(&stage.chain);
    let payments = stage.payments();
    let request = spillway_pay::PayRequest { confirmations: 2, ..stage.request(&plans, &[]) };
    let meddle = async {
        stage.chain.wait_for_sendings(3).await;
        stage.control.mine(2).await;
    };
    let (paid, ()) = tokio::join!(payments.pay(request, &mut journal), meddle);
    assert_eq!(paid.unwrap().plans.len(), 2);
    assert_eq!(journal.paid.len(), 2);
    for plan in &plans {
        let vault = stage.deployed.vault;
        let deep = stage.chain.record(vault, plan.id(), spillway_pay::At::Depth(2)).await.unwrap();
        assert!(deep.recorded.is_some());
    }
    stage.assert_charged(Atto(2 * LEAF_COST)).await;
}

async fn a_payment_that_vanishes_while_it_gets_deeper_is_sent_again(stage: Stage) {
    let plans = [stage.plan(1, 1).await];
    let mut journal = TestJournal::new(&stage.chain);
    let payments = stage.payments();
    let request = spillway_pay::PayRequest { confirmations: 2, ..stage.request(&plans, &[]) };
    let meddle = async {
        stage.chain.wait_for_sendings(2).await;
        // Anvil acknowledges before it mines.
        stage.wait_until_mined(stage.chain.last_hash()).await;
        stage.control.reorg(1).await;
        stage.chain.wait_for_sendings(3).await;
        stage.wait_until_mined(stage.chain.last_hash()).await;
        stage.control.mine(2).await;
    };
    let (paid, ()) = tokio::join!(payments.pay(request, &mut journal), meddle);
    let paid = paid.unwrap();
    assert_eq!(journal.signed.len(), 2, "the identical bytes");
    assert_eq!(paid.plans[0].tx, Some(journal.signed[1].hash));
    assert_eq!(paid.spend.tx_hashes.len(), 2);
    stage.assert_charged(Atto(LEAF_COST)).await;
}

on_both_chains_in_both_modes!(
    a_payment_that_vanishes_while_it_gets_deeper_is_sent_again,
    whatever_happens_to_a_sending_it_is_charged_once,
    a_journal_that_fails_keeps_everything_here,
    after_a_crash_before_sending_the_identical_bytes_go_out,
    a_nonce_that_something_else_used_leads_to_the_same_plan_signed_again,
    a_lost_journal_costs_gas_and_not_tokens,
    a_payment_that_a_reorganisation_takes_back_is_sent_again,
    a_dropped_transaction_is_sent_again,
    a_stuck_payment_gets_a_higher_fee_at_the_same_nonce,
    a_payment_that_is_not_mined_is_given_up_and_gone_on_with,
    an_accepted_payment_whose_nonce_was_used_is_signed_again,
    a_payment_counts_when_it_is_deep_enough,
);
