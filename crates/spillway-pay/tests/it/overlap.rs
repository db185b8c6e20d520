//! What is paid is told of, whatever becomes of the others.

use std::{
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use spillway_pay::{
    Caps, ChainError, ChainFault, ChainOp, PayFailure, PayRequest, Plan, TxPurpose,
};
use spillway_types::{Atto, PaymentId, Wei};

use crate::support::{Control, LEAF_COST, Stage, TestJournal, wallet};

fn told(journal: &TestJournal) -> Vec<PaymentId> {
    journal.paid.iter().map(|paid| paid.payment).collect()
}

/// A plan that is paid already, and what was signed for it.
async fn paid_plan(stage: &Stage, name: u8) -> (Plan, TestJournal) {
    let plans = [stage.plan(name, 1).await];
    let mut journal = TestJournal::new(&stage.chain);
    stage.payments().pay(stage.request(&plans, &[]), &mut journal).await.unwrap();
    let [plan] = plans;
    (plan, journal)
}

#[tokio::test]
async fn when_a_plan_fails_those_before_it_are_told_of_as_soon_as_they_are_deep() {
    let stage = Stage::memory().await;
    let plans = [stage.plan(1, 1).await, stage.plan(2, 1).await, stage.plan(3, 1).await];
    let request = PayRequest { confirmations: 2, ..stage.request(&plans, &[]) };
    let mut journal = TestJournal::new(&stage.chain);
    let payments = stage.payments();
    let meddle = async {
        stage.chain.wait_for_sendings(2).await;
        stage.control.set_coins(stage.payer.address(), Wei(0)).await;
        // Not deep enough yet when the second fails.
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
        stage.control.mine(2).await;
        pending::<()>().await;
    };
    let paid = tokio::select! {
        biased;
        () = meddle => unreachable!(),
        paid = payments.pay(request, &mut journal) => paid,
    };
    let error = paid.unwrap_err();
    assert_eq!(error.spend.paid, Atto(LEAF_COST));
    assert!(matches!(*error.failure, PayFailure::NotEnoughCoins { .. }), "{error:?}");
    assert_eq!(told(&journal), [plans[0].id()]);
}

#[tokio::test]
async fn a_deep_plan_is_told_of_while_the_next_one_waits() {
    let stage = Stage::memory().await;
    let plans = [stage.plan(1, 1).await, stage.plan(2, 1).await];
    let request = PayRequest { confirmations: 2, ..stage.request(&plans, &[]) };
    let mut journal = TestJournal::new(&stage.chain);
    let payments = stage.payments();
    stage.control.set_automine(false).await;
    let meddle = async {
        for sendings in 1..3 {
            stage.chain.wait_for_sendings(sendings).await;
            stage.control.mine(1).await;
        }
        stage.chain.wait_for_sendings(3).await;
        stage.control.drop_transaction(stage.chain.last_hash()).await;
        stage.control.mine(2).await;
        stage.chain.wait_for_sendings(5).await;
    };
    tokio::select! {
        biased;
        () = meddle => {}
        paid = payments.pay(request, &mut journal) => panic!("{paid:?}"),
    }
    assert_eq!(told(&journal), [plans[0].id()]);
    stage.assert_charged(Atto(LEAF_COST)).await;
}

#[tokio::test]
async fn a_payment_that_is_not_deep_enough_is_not_told_of() {
    let stage = Stage::memory().await;
    let plans = [stage.plan(1, 1).await];
    let Control::Memory { chain, .. } = &stage.control else { panic!("not in memory") };
    let looks = Arc::new(AtomicU32::new(0));
    let seen = Arc::clone(&looks);
    chain.set_faults(Some(Box::new(move |op| {
        seen.fetch_add(u32::from(op == ChainOp::Record), Ordering::SeqCst);
        None
    })));
    let request = PayRequest { confirmations: 2, ..stage.request(&plans, &[]) };
    let mut journal = TestJournal::new(&stage.chain);
    let payments = stage.payments();
    let meddle = async {
        stage.chain.wait_for_sendings(2).await;
        stage.control.mine(1).await;
        // One block is missing, however often it is asked for.
        let before = looks.load(Ordering::SeqCst);
        while looks.load(Ordering::SeqCst) < before + 6 {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        biased;
        () = meddle => {}
        paid = payments.pay(request, &mut journal) => panic!("{paid:?}"),
    }
    assert_eq!(told(&journal), []);
    stage.assert_charged(Atto(LEAF_COST)).await;
}

#[tokio::test]
async fn a_server_that_fails_while_a_payment_gets_deeper_is_asked_again() {
    let stage = Stage::memory().await;
    let plans = [stage.plan(1, 1).await];
    let Control::Memory { chain, .. } = &stage.control else { panic!("not in memory") };
    let request = PayRequest { confirmations: 2, ..stage.request(&plans, &[]) };
    let mut journal = TestJournal::new(&stage.chain);
    let payments = stage.payments();
    let meddle = async {
        stage.chain.wait_for_sendings(2).await;
        let looks = Arc::new(AtomicU32::new(0));
        let seen = Arc::clone(&looks);
        chain.set_faults(Some(Box::new(move |op| {
            let fails = op == ChainOp::Record && seen.fetch_add(1, Ordering::SeqCst) < 8;
            fails.then_some(ChainFault::Refuse(ChainError::RateLimited))
        })));
        // Some are at the depth, and some at the newest block.
        while looks.load(Ordering::SeqCst) < 8 {
            tokio::task::yield_now().await;
        }
        stage.control.mine(2).await;
    };
    // Nobody looks any more when it has failed.
    let pay = async { payments.pay(request, &mut journal).await.unwrap() };
    let (paid, ()) = tokio::join!(pay, meddle);
    assert_eq!(paid.plans.len(), 1);
    assert_eq!(told(&journal), [plans[0].id()]);
    stage.assert_charged(Atto(LEAF_COST)).await;
}

#[tokio::test]
async fn blocks_that_do_not_come_are_waited_for_once() {
    let stage = Stage::memory().await;
    let plans = [stage.plan(1, 1).await, stage.plan(2, 1).await];
    let request = PayRequest { confirmations: 2, ..stage.request(&plans, &[]) };
    // The second block after the first payment is missing, as are two after the last one.
    let mut journal = TestJournal::new(&stage.chain);
    let started = stage.clock.monotonic();
    let error = stage.payments().pay(request, &mut journal).await.unwrap_err();
    assert!(matches!(*error.failure, PayFailure::NotMined { .. }), "{error:?}");
    let waited = stage.clock.monotonic().saturating_sub(started);
    let patience = stage.timing.patience;
    assert!((patience..patience + patience / 2).contains(&waited), "{waited:?}");
    stage.assert_charged(Atto(2 * LEAF_COST)).await;
}

/// Those of the depth and those of the newest block.
#[tokio::test]
async fn an_answer_that_is_not_understood_ends_the_wait() {
    for refused in [10, 11] {
        let stage = Stage::memory().await;
        let plans = [stage.plan(1, 1).await];
        let Control::Memory { chain, .. } = &stage.control else { panic!("not in memory") };
        let mut looks = 0;
        chain.set_faults(Some(Box::new(move |op| {
            looks += u32::from(op == ChainOp::Record);
            let error = ChainError::Unexpected { method: "eth_call", detail: "0x".to_owned() };
            (op == ChainOp::Record && looks == refused).then_some(ChainFault::Refuse(error))
        })));
        let request = PayRequest { confirmations: 2, ..stage.request(&plans, &[]) };
        let mut journal = TestJournal::new(&stage.chain);
        let error = stage.payments().pay(request, &mut journal).await.unwrap_err();
        let PayFailure::Chain(ChainError::Unexpected { .. }) = *error.failure else {
            panic!("{refused}: {error:?}");
        };
        assert_eq!((error.spend.paid, told(&journal)), (Atto(LEAF_COST), vec![]));
    }
}

/// Nobody waits for the depth of a payment at servers that have not answered for so long.
#[tokio::test]
async fn after_an_outage_what_is_paid_is_not_waited_for() {
    let stage = Stage::memory().await;
    let plans = [stage.plan(1, 1).await, stage.plan(2, 1).await];
    let Control::Memory { chain, .. } = &stage.control else { panic!("not in memory") };
    let mut sendings = 0;
    chain.set_faults(Some(Box::new(move |op| {
        sendings += u32::from(op == ChainOp::SendRaw);
        let fails = op == ChainOp::SendRaw && sendings > 2;
        fails.then_some(ChainFault::Refuse(ChainError::RateLimited))
    })));
    let request = PayRequest { confirmations: 2, ..stage.request(&plans, &[]) };
    let mut journal = TestJournal::new(&stage.chain);
    let started = stage.clock.monotonic();
    let error = stage.payments().pay(request, &mut journal).await.unwrap_err();
    let waited = stage.clock.monotonic().saturating_sub(started);
    assert!(matches!(*error.failure, PayFailure::Chain(ChainError::RateLimited)), "{error:?}");
    let outage = stage.timing.outage;
    assert!((outage..2 * outage).contains(&waited), "{waited:?}");
    assert_eq!((error.spend.paid, told(&journal)), (Atto(LEAF_COST), vec![]));
}

#[tokio::test]
async fn payments_of_one_wallet_in_one_process_take_turns() {
    let stage = Stage::memory().await;
    let (first, second) = ([stage.plan(1, 1).await], [stage.plan(2, 1).await]);
    let payments = stage.payments();
    let (mut one, mut two) = (TestJournal::new(&stage.chain), TestJournal::new(&stage.chain));
    let (paid, also) = tokio::join!(
        payments.pay(stage.request(&first, &[]), &mut one),
        payments.pay(stage.request(&second, &[]), &mut two),
    );
    assert_eq!((paid.unwrap().plans.len(), also.unwrap().plans.len()), (1, 1));
    assert_eq!((told(&one), told(&two)), (vec![first[0].id()], vec![second[0].id()]));
    stage.assert_charged(Atto(2 * LEAF_COST)).await;
}

#[tokio::test]
async fn what_is_paid_is_looked_up_without_the_lock_and_by_anybody() {
    let stage = Stage::memory().await;
    let (plan, journal) = paid_plan(&stage, 1).await;
    let plans = [plan];
    let name = format!("31337-{}.lock", stage.payer.address());
    let _lock = stage.locks.lock(name.as_ref()).unwrap();
    let mut again = TestJournal::new(&stage.chain);
    let request = stage.request(&plans, &journal.signed);
    let paid = stage.payments().pay(request, &mut again).await.unwrap();
    assert_eq!((paid.plans, again.paid), (journal.paid.clone(), journal.paid.clone()));
    assert_eq!(paid.spend.tx_hashes.len(), 2);

    let other = wallet(3);
    let request = PayRequest { wallet: &other, ..stage.request(&plans, &[]) };
    let mut again = TestJournal::new(&stage.chain);
    let paid = stage.payments().pay(request, &mut again).await.unwrap();
    assert_eq!(paid.spend.paid, Atto(LEAF_COST));
    assert_eq!(told(&again), [plans[0].id()]);
    stage.assert_charged(Atto(LEAF_COST)).await;
}

#[tokio::test]
async fn questions_for_records_are_as_few_as_can_be() {
    let stage = Stage::memory().await;
    let Control::Memory { chain, .. } = &stage.control else { panic!("not in memory") };
    let looks = Arc::new(AtomicU32::new(0));
    let seen = Arc::clone(&looks);
    chain.set_faults(Some(Box::new(move |op| {
        seen.fetch_add(u32::from(op == ChainOp::Record), Ordering::SeqCst);
        None
    })));
    let (plan, journal) = paid_plan(&stage, 1).await;
    // Before the lock and with it, before it is sent and after.
    assert_eq!(looks.swap(0, Ordering::SeqCst), 4);
    let plans = [plan];
    let mut again = TestJournal::new(&stage.chain);
    stage.payments().pay(stage.request(&plans, &journal.signed), &mut again).await.unwrap();
    assert_eq!((looks.load(Ordering::SeqCst), again.paid), (1, journal.paid));
}

/// One look at a server that is behind makes neither a foreign plan nor a lock an error.
#[tokio::test]
async fn a_paid_plan_that_a_server_does_not_know_for_a_moment_is_waited_for() {
    let stage = Stage::memory().await;
    let (plan, _) = paid_plan(&stage, 1).await;
    let plans = [plan];
    let Control::Memory { chain, .. } = &stage.control else { panic!("not in memory") };
    let name = format!("31337-{}.lock", stage.payer.address());
    let _lock = stage.locks.lock(name.as_ref()).unwrap();
    let other = wallet(3);
    for (confirmations, wallet) in [(2, &stage.payer), (4, &other)] {
        let request = PayRequest { confirmations, wallet, ..stage.request(&plans, &[]) };
        let mut looks = 0;
        chain.set_faults(Some(Box::new(move |op| {
            looks += u32::from(op == ChainOp::Record);
            // Whether it is paid, whether it is deep (twice), whether it is still there.
            (op == ChainOp::Record && looks == 4).then_some(ChainFault::Lag(confirmations - 1))
        })));
        let mut journal = TestJournal::new(&stage.chain);
        let payments = stage.payments();
        let meddle = async {
            for _ in 0..20 {
                tokio::task::yield_now().await;
            }
            stage.control.mine(2).await;
            pending::<()>().await;
        };
        let paid = tokio::select! {
            biased;
            () = meddle => unreachable!(),
            paid = payments.pay(request, &mut journal) => paid.unwrap(),
        };
        assert_eq!(paid.plans, journal.paid);
        assert_eq!(told(&journal), [plans[0].id()]);
    }
    stage.assert_charged(Atto(LEAF_COST)).await;
}

#[tokio::test]
async fn a_paid_plan_is_told_of_when_the_others_are_refused() {
    let stage = Stage::memory().await;
    let (plan, _) = paid_plan(&stage, 1).await;
    let plans = [plan, stage.plan(2, 1).await];
    let caps = Caps { storage_cost: Some(Atto(2 * LEAF_COST - 1)), ..Caps::default() };
    let mut journal = TestJournal::new(&stage.chain);
    let request = PayRequest { caps, ..stage.request(&plans, &[]) };
    let error = stage.payments().pay(request, &mut journal).await.unwrap_err();
    assert!(matches!(*error.failure, PayFailure::OverCost { .. }), "{error:?}");
    assert_eq!(told(&journal), [plans[0].id()]);

    let other = wallet(3);
    let request = PayRequest { wallet: &other, ..stage.request(&plans, &[]) };
    let mut journal = TestJournal::new(&stage.chain);
    let error = stage.payments().pay(request, &mut journal).await.unwrap_err();
    match *error.failure {
        PayFailure::WrongWallet { payment, .. } => assert_eq!(payment, plans[1].id()),
        failure => panic!("{failure:?}"),
    }
    assert_eq!((told(&journal), journal.signed.len()), (vec![plans[0].id()], 0));
}

#[tokio::test]
async fn live_plans_are_paid_before_a_late_one_is_an_error() {
    let stage = Stage::memory().await;
    let (paid, _) = paid_plan(&stage, 1).await;
    let minute = Duration::from_mins(1);
    let late = stage.plan(2, 1).await;
    let valid_until = stage.time().await.saturating_add(minute);
    let late = Plan { valid_until, ..late };
    let plans = [late, paid, stage.plan(3, 1).await];
    stage.control.advance(2 * minute).await;
    let mut journal = TestJournal::new(&stage.chain);
    let error = stage.payments().pay(stage.request(&plans, &[]), &mut journal).await.unwrap_err();
    match *error.failure {
        PayFailure::Expired { payment, .. } => assert_eq!(payment, plans[0].id()),
        failure => panic!("{failure:?}"),
    }
    assert_eq!(told(&journal), [plans[1].id(), plans[2].id()]);
    let purposes: Vec<TxPurpose> = journal.signed.iter().map(|tx| tx.purpose.clone()).collect();
    let approve = TxPurpose::Approve { amount: Atto(LEAF_COST) };
    assert_eq!(purposes, [approve, TxPurpose::Pay { payment: plans[2].id() }]);
    stage.assert_charged(Atto(2 * LEAF_COST)).await;
}

/// The depth is answered by a server that knows the payment, the newest block by one that does not.
#[tokio::test]
async fn what_is_told_of_while_it_is_looked_for_again_is_told_of_once() {
    let stage = Stage::memory().await;
    let (plan, journal) = paid_plan(&stage, 1).await;
    stage.control.mine(2).await;
    let plans = [plan];
    let Control::Memory { chain, .. } = &stage.control else { panic!("not in memory") };
    let mut looks = 0;
    chain.set_faults(Some(Box::new(move |op| {
        looks += u32::from(op == ChainOp::Record);
        // How deep it is (twice), whether it is still there, and whether it is to be sent (twice).
        (op == ChainOp::Record && (2..=6).contains(&looks)).then_some(ChainFault::Lag(3))
    })));
    let request = PayRequest { confirmations: 2, ..stage.request(&plans, &journal.signed) };
    let mut again = TestJournal::new(&stage.chain);
    let paid = stage.payments().pay(request, &mut again).await.unwrap();
    assert_eq!((paid.plans, again.paid), (journal.paid.clone(), journal.paid));
    assert!(again.signed.is_empty(), "{:?}", again.signed);
    stage.assert_charged(Atto(LEAF_COST)).await;
}

#[tokio::test]
async fn a_payment_whose_depth_cannot_be_read_does_not_hide_the_next() {
    let stage = Stage::memory().await;
    let plans = [paid_plan(&stage, 1).await.0, paid_plan(&stage, 2).await.0];
    stage.control.mine(2).await;
    let Control::Memory { chain, .. } = &stage.control else { panic!("not in memory") };
    let mut looks = 0;
    chain.set_faults(Some(Box::new(move |op| {
        looks += u32::from(op == ChainOp::Record);
        let error = ChainError::Unexpected { method: "eth_call", detail: "0x".to_owned() };
        // After one for each plan, both are for the first one's depth.
        (op == ChainOp::Record && (3..=4).contains(&looks)).then_some(ChainFault::Refuse(error))
    })));
    let request = PayRequest { confirmations: 2, ..stage.request(&plans, &[]) };
    let mut journal = TestJournal::new(&stage.chain);
    let error = stage.payments().pay(request, &mut journal).await.unwrap_err();
    let PayFailure::Chain(ChainError::Unexpected { .. }) = *error.failure else {
        panic!("{error:?}");
    };
    assert_eq!(told(&journal), [plans[1].id()]);
}

#[tokio::test]
async fn when_the_journal_fails_nothing_is_waited_for() {
    let stage = Stage::memory().await;
    let plans = [stage.plan(1, 1).await, stage.plan(2, 1).await];
    let request = PayRequest { confirmations: 2, ..stage.request(&plans, &[]) };
    let mut journal = TestJournal::new(&stage.chain);
    journal.fail_at = Some(2);
    let started = stage.clock.monotonic();
    let error = stage.payments().pay(request, &mut journal).await.unwrap_err();
    let waited = stage.clock.monotonic().saturating_sub(started);
    assert!(matches!(*error.failure, PayFailure::Journal(_)), "{error:?}");
    assert!(waited < stage.timing.outage, "{waited:?}");
    assert_eq!((error.spend.paid, told(&journal)), (Atto(LEAF_COST), vec![]));
}

/// The receipt comes from a server that knows more than the one that is asked for the record.
#[tokio::test]
async fn a_receipt_alone_does_not_make_a_plan_paid() {
    let stage = Stage::memory().await;
    let plans = [stage.plan(1, 1).await];
    let Control::Memory { chain, .. } = &stage.control else { panic!("not in memory") };
    let (mut sendings, mut looks) = (0, 0);
    chain.set_faults(Some(Box::new(move |op| {
        sendings += u32::from(op == ChainOp::SendRaw);
        let is_behind = op == ChainOp::Record && sendings == 2 && looks < 5;
        looks += u32::from(is_behind);
        is_behind.then_some(ChainFault::Lag(1))
    })));
    let mut journal = TestJournal::new(&stage.chain);
    let paid = stage.payments().pay(stage.request(&plans, &[]), &mut journal).await.unwrap();
    assert_eq!((paid.plans.len(), journal.signed.len()), (1, 2));
    assert_eq!(told(&journal), [plans[0].id()]);
    stage.assert_charged(Atto(LEAF_COST)).await;
}
