//! How often, for how long and until when: fees, refusals, used nonces, outages, questions.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use spillway_pay::{At, Chain, ChainError, ChainFault, ChainOp, PayFailure, Plan, PlanStatus};
use spillway_types::Atto;

use crate::{
    gaps::{leave_allowance, memory, stop_before_paying},
    groups::batches,
    support::{FINALITY, LEAF_COST, SendFault, Stage, TestJournal, raw_creation},
};

/// Looks come after this, one as far from the next as from the first.
fn look_every(stage: &mut Stage, pause: Duration) {
    stage.timing.first_poll = pause;
    stage.timing.longest_poll = pause;
}

/// Why it fails, and how long that takes.
async fn failure(
    stage: &Stage,
    plans: &[Plan],
    journal: &mut TestJournal,
) -> (PayFailure, Duration) {
    let started = stage.clock.monotonic();
    let error = stage.payments().pay(stage.request(plans, &[]), journal).await.unwrap_err();
    (*error.failure, stage.clock.monotonic().saturating_sub(started))
}

/// Every transaction is answered with this.
fn refuse_transactions(stage: &Stage, error: ChainError) {
    let refuse = move |op| (op == ChainOp::SendRaw).then(|| ChainFault::Refuse(error.clone()));
    memory(stage).set_faults(Some(Box::new(refuse)));
}

#[tokio::test]
async fn a_fee_is_raised_ten_times_and_no_more() {
    let mut stage = Stage::memory().await;
    stage.timing.bump_after = Duration::from_millis(400);
    let plans = [stage.plan(1, 1).await];
    stage.control.set_automine(false).await;
    let mut journal = TestJournal::new(&stage.chain);
    let (failure, _) = failure(&stage, &plans, &mut journal).await;
    assert!(matches!(failure, PayFailure::NotMined { .. }), "{failure:?}");
    assert_eq!(journal.signed.len(), 1 + 10);
}

#[tokio::test]
async fn a_fee_that_a_server_finds_too_low_is_raised_ten_times_and_no_more() {
    let stage = Stage::memory().await;
    leave_allowance(&stage).await;
    let plans = [stage.plan(1, 1).await];
    refuse_transactions(&stage, ChainError::FeeTooLow);
    let mut journal = TestJournal::new(&stage.chain);
    let (failure, _) = failure(&stage, &plans, &mut journal).await;
    assert!(matches!(failure, PayFailure::NotMined { .. }), "{failure:?}");
    assert_eq!(journal.signed.len(), 1 + 10);
}

/// A server that calls it underpriced though it has nothing to replace.
#[tokio::test]
async fn a_fee_is_raised_when_nothing_waits_at_its_nonce() {
    let stage = Stage::memory().await;
    leave_allowance(&stage).await;
    let plans = [stage.plan(1, 1).await];
    let mut is_first = true;
    memory(&stage).set_faults(Some(Box::new(move |op| {
        let is_refused = op == ChainOp::SendRaw && std::mem::take(&mut is_first);
        is_refused.then_some(ChainFault::Refuse(ChainError::Underpriced))
    })));
    let mut journal = TestJournal::new(&stage.chain);
    let paid = stage.payments().pay(stage.request(&plans, &[]), &mut journal).await.unwrap();
    let [first, second] = &journal.signed[..] else { panic!("{:?}", journal.signed) };
    assert!((first.nonce, first.max_fee) < (second.nonce, second.max_fee));
    assert_eq!((first.nonce, paid.plans[0].tx), (second.nonce, Some(second.hash)));
    stage.assert_charged(Atto(LEAF_COST)).await;
}

/// What waits there is another program's, for a higher fee.
#[tokio::test]
async fn a_fee_is_not_raised_over_what_waits_at_its_nonce() {
    let stage = Stage::memory().await;
    let plans = [stage.plan(1, 1).await];
    let earlier = stop_before_paying(&stage, &plans).await;
    stage.control.set_automine(false).await;
    let foreign = raw_creation(&stage, &stage.payer, Vec::new()).await;
    stage.chain.send_raw(&foreign).await.unwrap();
    let (payments, sendings) = (stage.payments(), stage.chain.sendings());
    let mut journal = TestJournal::new(&stage.chain);
    let meddle = async {
        stage.chain.wait_for_sendings(sendings + 3).await;
        stage.control.set_automine(true).await;
        stage.control.mine(1).await;
    };
    let (paid, ()) =
        tokio::join!(payments.pay(stage.request(&plans, &earlier), &mut journal), meddle);
    let nonces: Vec<u64> = journal.signed.iter().map(|tx| tx.nonce).collect();
    assert_eq!(nonces, [earlier[1].nonce + 1]);
    assert_eq!(paid.unwrap().plans[0].tx, Some(journal.signed[0].hash));
    stage.assert_charged(Atto(LEAF_COST)).await;
}

#[tokio::test]
async fn a_server_that_has_refused_three_times_is_not_asked_again() {
    let stage = Stage::memory().await;
    leave_allowance(&stage).await;
    let plans = [stage.plan(1, 1).await];
    let sendings = stage.chain.sendings();
    let detail = "no".to_owned();
    refuse_transactions(&stage, ChainError::Unexpected { method: "send", detail });
    let mut journal = TestJournal::new(&stage.chain);
    let (failure, _) = failure(&stage, &plans, &mut journal).await;
    let PayFailure::Chain(ChainError::Unexpected { .. }) = failure else { panic!("{failure:?}") };
    assert_eq!((journal.signed.len(), stage.chain.sendings() - sendings), (1, 3));
}

#[tokio::test]
async fn an_answer_that_is_not_understood_is_not_asked_for_again() {
    let stage = Stage::memory().await;
    let plans = [stage.plan(1, 1).await];
    let mut is_sent = false;
    memory(&stage).set_faults(Some(Box::new(move |op| {
        is_sent |= op == ChainOp::SendRaw;
        let error = ChainError::Unexpected { method: "receipt", detail: "0x".to_owned() };
        (is_sent && op == ChainOp::Receipt).then_some(ChainFault::Refuse(error))
    })));
    let mut journal = TestJournal::new(&stage.chain);
    let (failure, waited) = failure(&stage, &plans, &mut journal).await;
    let PayFailure::Chain(ChainError::Unexpected { .. }) = failure else { panic!("{failure:?}") };
    assert!(waited < stage.timing.outage / 2, "{waited:?}");
}

/// Servers that take nothing, and one that does not know the allowance.
#[tokio::test]
async fn an_outage_is_waited_for_to_the_instant() {
    for takes_nothing in [true, false] {
        let mut stage = Stage::memory().await;
        leave_allowance(&stage).await;
        let outage = stage.timing.outage;
        look_every(&mut stage, outage / 2);
        let plans = [stage.plan(1, 1).await];
        if takes_nothing {
            refuse_transactions(&stage, ChainError::RateLimited);
        } else {
            stage.chain.revert(stage.deployed.vault, usize::MAX);
        }
        let mut journal = TestJournal::new(&stage.chain);
        let (failure, waited) = failure(&stage, &plans, &mut journal).await;
        assert!(matches!(failure, PayFailure::Chain(_)), "{failure:?}");
        assert_eq!((waited, journal.signed.len()), (outage, usize::from(takes_nothing)));
    }
}

/// It was most likely itself that has used the nonce: that is believed after three times as long.
#[tokio::test]
async fn the_nonce_of_what_was_accepted_counts_as_used_late() {
    let mut stage = Stage::memory().await;
    leave_allowance(&stage).await;
    let pause = stage.timing.resend_after / 2;
    look_every(&mut stage, pause);
    let plans = [stage.plan(1, 1).await];
    let mut sendings = 0;
    memory(&stage).set_faults(Some(Box::new(move |op| {
        sendings += u32::from(op == ChainOp::SendRaw);
        match (op, sendings) {
            (ChainOp::SendRaw, 1) => Some(ChainFault::Forget),
            (ChainOp::SendRaw, 2..=8) => Some(ChainFault::Refuse(ChainError::NonceTooLow)),
            _ => None,
        }
    })));
    let started = stage.clock.monotonic();
    let mut journal = TestJournal::new(&stage.chain);
    let paid = stage.payments().pay(stage.request(&plans, &[]), &mut journal).await.unwrap();
    // Sent again at the second look; six looks later it has gone on for long enough. Then another
    // one is signed, which needs the first before it; the tenth look sees the effect.
    assert_eq!(stage.clock.monotonic().saturating_sub(started), 10 * pause);
    let [first, second] = &journal.signed[..] else { panic!("{:?}", journal.signed) };
    assert_eq!((second.nonce, paid.plans[0].tx), (first.nonce + 1, Some(first.hash)));
    stage.assert_charged(Atto(LEAF_COST)).await;
}

/// How often records and receipts are asked for while these are paid.
async fn questions(stage: &Stage, plans: &[Plan]) -> (u32, u32) {
    let counts = Arc::new([AtomicU32::new(0), AtomicU32::new(0)]);
    let seen = Arc::clone(&counts);
    memory(stage).set_faults(Some(Box::new(move |op| {
        for (count, kind) in seen.iter().zip([ChainOp::Record, ChainOp::Receipt]) {
            count.fetch_add(u32::from(op == kind), Ordering::SeqCst);
        }
        None
    })));
    let mut journal = TestJournal::new(&stage.chain);
    journal.lenient = true;
    stage.payments().pay(stage.request(plans, &[]), &mut journal).await.unwrap();
    assert_eq!(journal.signed.len(), 2);
    (counts[0].load(Ordering::SeqCst), counts[1].load(Ordering::SeqCst))
}

#[tokio::test]
async fn a_receipt_that_is_there_is_asked_for_once() {
    let stage = Stage::memory().await;
    let plans = [stage.plan(1, 1).await];
    let (_, receipts) = questions(&stage, &plans).await;
    assert_eq!(receipts, 2, "of the approval and of the payment");
}

#[tokio::test]
async fn of_a_group_the_first_is_asked_for_until_it_is_recorded() {
    let stage = Stage::memory().await;
    let plans = batches(&stage, 1..4).await;
    let (records, _) = questions(&stage, &plans).await;
    // All before the lock and with it, the first before it is sent and after, then all.
    assert_eq!(records, 3 + 3 + 1 + 1 + 3);
}

/// A pool that forgets what it takes is offered the same bytes again.
#[tokio::test]
async fn nothing_is_signed_anew_while_bytes_are_forgotten() {
    let stage = Stage::memory().await;
    leave_allowance(&stage).await;
    let plans = [stage.plan(1, 1).await];
    stage.chain.fail([SendFault::Forgotten; 20]);
    let sendings = stage.chain.sendings();
    let mut journal = TestJournal::new(&stage.chain);
    stage.payments().pay(stage.request(&plans, &[]), &mut journal).await.unwrap();
    assert_eq!((journal.signed.len(), stage.chain.sendings() - sendings), (1, 21));
}

/// That of the newest and of the finalized block, too.
#[tokio::test]
async fn a_plan_can_be_paid_in_its_last_second() {
    let stage = Stage::memory().await;
    let plans = [stage.plan(1, 1).await];
    let last = plans[0].valid_until;
    stage.control.advance(last.since(stage.clock.now())).await;
    stage.control.mine(FINALITY + 1).await;
    assert_eq!(stage.chain.block(At::Finalized).await.unwrap().time, last);
    let payments = stage.payments();
    assert_eq!(payments.status(&plans[0]).await.unwrap(), PlanStatus::Open);
    let mut journal = TestJournal::new(&stage.chain);
    payments.pay(stage.request(&plans, &[]), &mut journal).await.unwrap();
    assert_eq!(stage.clock.now(), last, "no second later");
    stage.assert_charged(Atto(LEAF_COST)).await;
}
