//! Several batches with one transaction, or one by one: each is charged once, and what is paid is
//! told of, whatever becomes of the others.

use std::{sync::Arc, time::Duration};

use alloy::{
    consensus::{Transaction, TxEnvelope},
    eips::eip2718::Decodable2718,
};
use spillway_disk::MemoryDisk;
use spillway_pay::{
    Call, Caps, Chain, ChainError, ChainFault, ChainOp, CommitChoice, PayFailure, PayRequest,
    Payments, PaymentsOptions, Plan, SignedTx, TxPurpose,
};
use spillway_types::{Atto, PaymentId, Wei, limits::MAX_COMMITS};

use crate::{
    on_both_chains,
    support::{
        Control, ETHER, LEAF_COST, SendFault, Stage, TOKENS, TestJournal, batch_mode, wallet,
    },
};

const TIP: u128 = 2;
const DRAWS: u8 = 3;
/// A batch of two leaves with its tips.
pub(crate) const COST: u128 = 2 * LEAF_COST + TIP * DRAWS as u128;

/// Batches of two leaves and three draws each, all with the same deadline.
pub(crate) async fn batches(stage: &Stage, names: impl IntoIterator<Item = u8>) -> Vec<Plan> {
    let first = stage.plan(0, 1).await;
    let mut plans = Vec::new();
    for name in names {
        let plan = stage.plan(name, 2).await;
        let mode = batch_mode(&plan.leaves, TIP, DRAWS);
        let (upload_by, valid_until) = (first.upload_by, first.valid_until);
        plans.push(Plan { mode, upload_by, valid_until, ..plan });
    }
    plans
}

fn ids(plans: &[Plan]) -> Vec<PaymentId> {
    plans.iter().map(Plan::id).collect()
}

fn purposes(txs: &[SignedTx]) -> Vec<TxPurpose> {
    txs.iter().map(|tx| tx.purpose.clone()).collect()
}

fn told(journal: &TestJournal) -> Vec<PaymentId> {
    journal.paid.iter().map(|paid| paid.payment).collect()
}

pub(crate) fn together(plans: &[Plan]) -> TxPurpose {
    TxPurpose::PayMany { payments: ids(plans) }
}

/// The same payer at another machine: nothing is shared but the chain.
pub(crate) fn elsewhere(stage: &Stage) -> Payments {
    let wallet_locks = Arc::new(MemoryDisk::new());
    Payments::new(PaymentsOptions { wallet_locks, ..stage.options() })
}

async fn one_transaction_pays_all_batches(stage: Stage) {
    let plans = batches(&stage, 1..4).await;
    let mut journal = TestJournal::new(&stage.chain);
    let paid = stage.payments().pay(stage.request(&plans, &[]), &mut journal).await.unwrap();
    let total = Atto(3 * COST);
    assert_eq!(purposes(&journal.signed), [TxPurpose::Approve { amount: total }, together(&plans)]);
    assert_eq!(paid.plans, journal.paid);
    assert_eq!(told(&journal), ids(&plans));
    assert!(paid.plans.iter().all(|plan| plan.tx == Some(journal.signed[1].hash)));
    assert!(paid.plans.iter().all(|plan| plan.total == Atto(COST)));
    assert_eq!((paid.spend.paid, paid.spend.tx_hashes.len()), (total, 2));
    stage.assert_charged(total).await;
    assert_eq!(stage.allowance().await, Atto::ZERO, "exact, with the tips");

    // Again, with everything that is known and with nothing.
    let mut again = TestJournal::new(&stage.chain);
    for earlier in [&journal.signed[..], &[]] {
        let second = stage.payments().pay(stage.request(&plans, earlier), &mut again).await;
        assert_eq!(second.unwrap().spend.paid, total);
    }
    assert!(again.signed.is_empty());
    stage.assert_charged(total).await;
}

async fn what_differs_in_kind_or_deadline_is_paid_apart(stage: Stage) {
    let mut plans = batches(&stage, 1..5).await;
    plans[2].valid_until.0 -= 1;
    plans[1].mode = spillway_pay::PlanMode::Direct;
    let mut journal = TestJournal::new(&stage.chain);
    stage.payments().pay(stage.request(&plans, &[]), &mut journal).await.unwrap();
    let alone = |plan: &Plan| TxPurpose::Pay { payment: plan.id() };
    let group = together(&[plans[0].clone(), plans[3].clone()]);
    assert_eq!(purposes(&journal.signed)[1..], [group, alone(&plans[1]), alone(&plans[2])]);
    stage.assert_charged(Atto(3 * COST + 2 * LEAF_COST)).await;
}

async fn a_transaction_pays_64_batches_at_most(stage: Stage) {
    let plans = batches(&stage, 0..=u8::try_from(MAX_COMMITS).unwrap()).await;
    let (payments, payer) = (stage.payments(), stage.payer.address());
    let estimate = payments.estimate(&plans, payer, CommitChoice::Together).await.unwrap();
    assert_eq!(estimate.transactions, 3);
    let one_by_one = payments.estimate(&plans, payer, CommitChoice::OneByOne).await.unwrap();
    assert_eq!(one_by_one.transactions, 66);
    assert!(one_by_one.gas > estimate.gas + 60 * 20_000);
    let mut journal = TestJournal::new(&stage.chain);
    stage.payments().pay(stage.request(&plans, &[]), &mut journal).await.unwrap();
    let last = TxPurpose::Pay { payment: plans[MAX_COMMITS].id() };
    assert_eq!(purposes(&journal.signed)[1..], [together(&plans[..MAX_COMMITS]), last]);
    stage.assert_charged(Atto(65 * COST)).await;
}

/// Runs until the crash after entry `crash_at` was written; returns the journal's entries.
async fn crash(stage: &Stage, plans: &[Plan], crash_at: usize) -> Vec<SignedTx> {
    let mut journal = TestJournal::new(&stage.chain);
    journal.crash_at = Some(crash_at);
    let error = stage.payments().pay(stage.request(plans, &[]), &mut journal).await.unwrap_err();
    assert!(matches!(*error.failure, PayFailure::Journal(_)), "{error:?}");
    journal.signed
}

async fn a_signed_group_goes_out_byte_for_byte(stage: Stage) {
    let plans = batches(&stage, 1..4).await;
    let earlier = crash(&stage, &plans, 1).await;
    assert!(!stage.chain.was_sent(&earlier[1].raw));
    let mut journal = TestJournal::new(&stage.chain);
    // Whatever is asked for now.
    let commit = CommitChoice::OneByOne;
    let request = PayRequest { commit, ..stage.request(&plans, &earlier) };
    let paid = stage.payments().pay(request, &mut journal).await.unwrap();
    assert!(journal.signed.is_empty(), "{:?}", journal.signed);
    assert!(stage.chain.was_sent(&earlier[1].raw));
    assert!(paid.plans.iter().all(|plan| plan.tx == Some(earlier[1].hash)));
    stage.assert_charged(Atto(3 * COST)).await;
}

async fn what_was_signed_before_the_approval_is_kept_together(stage: Stage) {
    let plans = batches(&stage, 1..4).await;
    let earlier = crash(&stage, &plans, 1).await;
    // The approval is gone, the group's bytes never went out.
    stage.control.reorg(1).await;
    assert_eq!(stage.allowance().await, Atto::ZERO);
    let mut journal = TestJournal::new(&stage.chain);
    let paid = stage.payments().pay(stage.request(&plans, &earlier), &mut journal).await.unwrap();
    assert!(journal.signed.is_empty(), "{:?}", journal.signed);
    assert_eq!(paid.spend.tx_hashes, [earlier[0].hash, earlier[1].hash]);
    stage.assert_charged(Atto(3 * COST)).await;
}

async fn a_batch_of_a_signed_group_that_is_paid_does_not_sink_the_others(stage: Stage) {
    let plans = batches(&stage, 1..4).await;
    let earlier = crash(&stage, &plans, 1).await;
    let mut other = TestJournal::new(&stage.chain);
    elsewhere(&stage).pay(stage.request(&plans[1..2], &[]), &mut other).await.unwrap();

    let mut journal = TestJournal::new(&stage.chain);
    let paid = stage.payments().pay(stage.request(&plans, &earlier), &mut journal).await.unwrap();
    let rest = together(&[plans[0].clone(), plans[2].clone()]);
    assert_eq!(purposes(&journal.signed), [rest]);
    let txs: Vec<_> = paid.plans.iter().map(|plan| plan.tx).collect();
    assert_eq!(txs, [Some(journal.signed[0].hash), None, Some(journal.signed[0].hash)]);
    stage.assert_charged(Atto(3 * COST)).await;
}

/// The group's transaction is lost, and its nonce is used to pay one of its batches.
async fn a_group_that_is_torn_while_it_is_under_way_is_put_together_anew(stage: Stage) {
    let plans = batches(&stage, 1..5).await;
    let payments = stage.payments();
    let mut journal = TestJournal::new(&stage.chain);
    stage.chain.fail([SendFault::None, SendFault::Forgotten]);
    let meddle = async {
        stage.chain.wait_for_sendings(2).await;
        let mut other = TestJournal::new(&stage.chain);
        other.lenient = true;
        elsewhere(&stage).pay(stage.request(&plans[2..3], &[]), &mut other).await.unwrap();
    };
    let (paid, ()) = tokio::join!(payments.pay(stage.request(&plans, &[]), &mut journal), meddle);
    let paid = paid.unwrap();
    let rest = [plans[0].clone(), plans[1].clone(), plans[3].clone()];
    let signed = purposes(&journal.signed);
    assert_eq!(signed[1], together(&plans));
    assert_eq!(*signed.last().unwrap(), together(&rest));
    assert_eq!(paid.plans.len(), 4);
    assert_eq!(journal.paid.len(), 4);
    stage.assert_charged(Atto(4 * COST)).await;
}

/// One of the batches waits in the pool already, by a journal that is lost.
async fn a_group_that_fails_on_chain_is_paid_without_what_made_it_fail(stage: Stage) {
    // So that the allowance is not what stops a second charge.
    let large = [stage.plan(9, 100).await];
    let mut journal = TestJournal::new(&stage.chain);
    journal.fail_at = Some(1);
    stage.payments().pay(stage.request(&large, &[]), &mut journal).await.unwrap_err();

    let plans = batches(&stage, 1..4).await;
    stage.control.set_automine(false).await;
    let mut lost = TestJournal::new(&stage.chain);
    let sendings = stage.chain.sendings();
    let away = elsewhere(&stage);
    tokio::select! {
        biased;
        _ = away.pay(stage.request(&plans[..1], &[]), &mut lost) => panic!("nothing is mined"),
        () = stage.chain.wait_for_sendings(sendings + 1) => {}
    }
    let payments = stage.payments();
    let mut journal = TestJournal::new(&stage.chain);
    let meddle = async {
        // Anvil sees the waiting transaction when it is asked for gas, the twin does not.
        tokio::select! {
            () = stage.chain.wait_for_sendings(sendings + 2) => {}
            () = stage.chain.wait_for_estimates(3) => {}
        }
        stage.control.set_automine(true).await;
        stage.control.mine(1).await;
    };
    let (paid, ()) = tokio::join!(payments.pay(stage.request(&plans, &[]), &mut journal), meddle);
    let paid = paid.unwrap();
    assert_eq!(paid.plans[0].tx, None, "not by a transaction of this journal");
    assert_eq!(journal.signed.last().unwrap().purpose, together(&plans[1..]));
    stage.assert_charged(Atto(3 * COST)).await;
    if matches!(stage.control, Control::Memory { .. }) {
        assert_eq!(journal.signed[0].purpose, together(&plans));
        let failed = stage.chain.receipt(journal.signed[0].hash).await.unwrap().unwrap();
        assert!(!failed.success);
        assert_eq!(paid.spend.tx_hashes[0], failed.hash, "what failed is counted");
    }
}

async fn a_group_that_a_reorganisation_takes_back_is_sent_again(stage: Stage) {
    let plans = batches(&stage, 1..4).await;
    let mut journal = TestJournal::new(&stage.chain);
    let payments = stage.payments();
    let request = PayRequest { confirmations: 2, ..stage.request(&plans, &[]) };
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
    assert!(paid.plans.iter().all(|plan| plan.tx == Some(journal.signed[1].hash)));
    assert_eq!(told(&journal), ids(&plans));
    stage.assert_charged(Atto(3 * COST)).await;
}

async fn a_stuck_group_gets_a_higher_fee_at_the_same_nonce(mut stage: Stage) {
    stage.timing.bump_after = Duration::from_millis(400);
    let plans = batches(&stage, 1..4).await;
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
    assert_eq!(paid.unwrap().spend.tx_hashes.len(), 2);
    let pays: Vec<&SignedTx> =
        journal.signed.iter().filter(|tx| tx.purpose == together(&plans)).collect();
    assert!(pays.len() >= 2, "{pays:?}");
    assert!(pays.windows(2).all(|pair| pair[0].nonce == pair[1].nonce));
    stage.assert_charged(Atto(3 * COST)).await;
}

async fn whatever_happens_to_a_sending_a_group_is_charged_once(stage: Stage) {
    let mut charged = 0;
    let faults =
        [SendFault::LostReply, SendFault::NeverArrived, SendFault::Forgotten, SendFault::Limited];
    for (name, fault) in (0..).step_by(2).zip(faults) {
        let plans = batches(&stage, [10 + name, 11 + name]).await;
        let mut journal = TestJournal::new(&stage.chain);
        stage.chain.fail([SendFault::None, fault]);
        stage.payments().pay(stage.request(&plans, &[]), &mut journal).await.unwrap();
        charged += 2 * COST;
        assert_eq!(journal.signed.len(), 2, "{fault:?}: nothing was signed twice");
        stage.assert_charged(Atto(charged)).await;
    }
}

async fn a_late_group_is_an_error_after_the_others_are_paid(stage: Stage) {
    let mut plans = batches(&stage, 1..5).await;
    let soon = stage.time().await.saturating_add(Duration::from_mins(1));
    plans[0].valid_until = soon;
    plans[2].valid_until = soon;
    stage.control.advance(Duration::from_mins(2)).await;
    stage.control.mine(1).await;
    let mut journal = TestJournal::new(&stage.chain);
    let error = stage.payments().pay(stage.request(&plans, &[]), &mut journal).await.unwrap_err();
    match *error.failure {
        PayFailure::Expired { payment, .. } => assert_eq!(payment, plans[0].id()),
        failure => panic!("{failure:?}"),
    }
    let live = [plans[1].clone(), plans[3].clone()];
    assert_eq!(told(&journal), ids(&live));
    assert_eq!(purposes(&journal.signed)[1..], [together(&live)]);
    let mut paid = ids(&live);
    paid.sort_unstable();
    assert_eq!((error.spend.paid, error.spend.payments), (Atto(2 * COST), paid));
    stage.assert_charged(Atto(2 * COST)).await;
}

async fn a_group_that_is_mined_too_late_charges_nothing(stage: Stage) {
    let plans = batches(&stage, 1..4).await;
    let mut journal = TestJournal::new(&stage.chain);
    let payments = stage.payments();
    stage.control.set_automine(false).await;
    let meddle = async {
        stage.chain.wait_for_sendings(1).await;
        stage.control.mine(1).await;
        stage.chain.wait_for_sendings(2).await;
        stage.control.advance(Duration::from_hours(1)).await;
        stage.control.mine(1).await;
    };
    let (paid, ()) = tokio::join!(payments.pay(stage.request(&plans, &[]), &mut journal), meddle);
    let error = paid.unwrap_err();
    assert_eq!(error.spend.tx_hashes.len(), 2, "the failed one is counted");
    match *error.failure {
        PayFailure::Expired { payment, valid_until, now } => {
            assert_eq!((payment, valid_until), (plans[0].id(), plans[0].valid_until));
            assert!(now > valid_until);
        }
        other => panic!("{other:?}"),
    }
    stage.assert_charged(Atto::ZERO).await;
}

async fn the_cap_counts_tips(stage: Stage) {
    let plans = batches(&stage, 1..4).await;
    let cap = Atto(3 * COST - 1);
    let caps = Caps { storage_cost: Some(cap), ..Caps::default() };
    let mut journal = TestJournal::new(&stage.chain);
    let request = PayRequest { caps, ..stage.request(&plans, &[]) };
    let error = stage.payments().pay(request, &mut journal).await.unwrap_err();
    match *error.failure {
        PayFailure::OverCost { cost, cap: named } => {
            assert_eq!((cost, named), (Atto(3 * COST), cap));
        }
        failure => panic!("{failure:?}"),
    }
    assert!(journal.signed.is_empty());
    stage.assert_charged(Atto::ZERO).await;
}

/// The call that a signed transaction makes.
pub(crate) fn call_of(tx: &SignedTx, from: spillway_types::EvmAddress) -> Call {
    let envelope = TxEnvelope::decode_2718_exact(&tx.raw).unwrap();
    let to = spillway_types::EvmAddress(envelope.to().unwrap().into_array());
    Call { from, to, data: envelope.input().to_vec() }
}

/// The very calls, from an account with coins, tokens and an allowance.
async fn another_account_cannot_pay(stage: Stage) {
    let other = wallet(7);
    stage.control.set_coins(other.address(), ETHER).await;
    let hands = stage.hands(&stage.deployer);
    hands.send_tokens(stage.deployed.token, other.address(), TOKENS).await.unwrap();
    let plans = batches(&stage, 1..4).await;
    let (one, many) = (crash(&stage, &plans[..1], 1).await, crash(&stage, &plans, 1).await);
    let approval = call_of(&many[0], other.address());
    assert!(stage.send_call(&other, &approval).await.success);
    for tx in [&one[1], &many[1]] {
        let call = call_of(tx, other.address());
        let expected = format!("NotPayer({}, {})", stage.payer.address(), other.address());
        let refused = stage.chain.estimate_gas(&call).await.unwrap_err();
        assert_eq!(refused, ChainError::Reverted { reason: Some(expected) });
        assert!(!stage.send_call(&other, &call).await.success);
    }
    stage.assert_charged(Atto::ZERO).await;
    assert_eq!(stage.chain.tokens(stage.deployed.token, other.address()).await.unwrap(), TOKENS);
}

/// However many are paid before one cannot be: those are told of and stay, the rest is paid once.
#[tokio::test]
async fn one_by_one_what_comes_before_a_failure_is_kept() {
    for (count, failing) in (1..=8_u8).flat_map(|n| (0..n).map(move |k| (n, k))) {
        let stage = Stage::memory().await.in_batches(CommitChoice::OneByOne);
        let plans = batches(&stage, 0..count).await;
        let Control::Memory { chain, .. } = &stage.control else { panic!("memory") };
        // The approval is the first.
        let before = usize::from(failing);
        let mut left = before + 1;
        chain.set_faults(Some(Box::new(move |op| {
            if op != ChainOp::SendRaw {
                return None;
            }
            if left > 0 {
                left -= 1;
                return None;
            }
            let detail = "no".to_owned();
            Some(ChainFault::Refuse(ChainError::Unexpected { method: "send", detail }))
        })));
        let mut journal = TestJournal::new(&stage.chain);
        let payments = stage.payments();
        let error = payments.pay(stage.request(&plans, &[]), &mut journal).await.unwrap_err();
        let charged = Atto(u128::from(failing) * COST);
        assert_eq!(told(&journal), ids(&plans[..before]));
        assert_eq!(error.spend.paid, charged);
        assert_eq!(error.spend.tx_hashes.len(), before + 1);
        stage.assert_charged(charged).await;

        chain.set_faults(None);
        let mut again = TestJournal::new(&stage.chain);
        let request = stage.request(&plans, &journal.signed);
        let paid = payments.pay(request, &mut again).await.unwrap();
        assert_eq!(told(&again), ids(&plans));
        assert_eq!(paid.spend.paid, Atto(u128::from(count) * COST));
        // What was signed and refused went out as it was.
        assert_eq!(again.signed.len(), plans.len() - before - 1);
        stage.assert_charged(Atto(u128::from(count) * COST)).await;
    }
}

/// A group that fails after another one was paid.
#[tokio::test]
async fn what_one_group_has_paid_is_told_of_when_the_next_fails() {
    let stage = Stage::memory().await;
    let mut plans = batches(&stage, 1..5).await;
    plans[2].valid_until.0 -= 1;
    plans[3].valid_until.0 -= 1;
    let request = PayRequest { confirmations: 1, ..stage.request(&plans, &[]) };
    let mut journal = TestJournal::new(&stage.chain);
    let payments = stage.payments();
    let meddle = async {
        stage.chain.wait_for_sendings(2).await;
        stage.control.set_coins(stage.payer.address(), Wei(0)).await;
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
        stage.control.mine(1).await;
        std::future::pending::<()>().await;
    };
    let paid = tokio::select! {
        biased;
        () = meddle => unreachable!(),
        paid = payments.pay(request, &mut journal) => paid,
    };
    let error = paid.unwrap_err();
    assert!(matches!(*error.failure, PayFailure::NotEnoughCoins { .. }), "{error:?}");
    assert_eq!(told(&journal), ids(&plans[..2]));
    assert_eq!(error.spend.paid, Atto(2 * COST));
}

on_both_chains!(
    one_transaction_pays_all_batches,
    what_differs_in_kind_or_deadline_is_paid_apart,
    a_transaction_pays_64_batches_at_most,
    a_signed_group_goes_out_byte_for_byte,
    what_was_signed_before_the_approval_is_kept_together,
    a_batch_of_a_signed_group_that_is_paid_does_not_sink_the_others,
    a_group_that_is_torn_while_it_is_under_way_is_put_together_anew,
    a_group_that_fails_on_chain_is_paid_without_what_made_it_fail,
    a_group_that_a_reorganisation_takes_back_is_sent_again,
    a_stuck_group_gets_a_higher_fee_at_the_same_nonce,
    whatever_happens_to_a_sending_a_group_is_charged_once,
    a_late_group_is_an_error_after_the_others_are_paid,
    a_group_that_is_mined_too_late_charges_nothing,
    the_cap_counts_tips,
    another_account_cannot_pay,
);
