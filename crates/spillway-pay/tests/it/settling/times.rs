//! The first and the last moment of seeds, settlements and refunds; servers that are behind, posts
//! of others, and what is worth exactly its gas.

use spillway_pay::{ChainError, ChainFault, ChainOp};
use spillway_types::TokenRate;

use super::{terms::at_rate, *};
use crate::{gaps::memory, support::ETHER};

async fn go_exactly_to(stage: &Stage, time: UnixTime) {
    stage.control.advance(time.since(stage.clock.now())).await;
    stage.control.mine(1).await;
    assert_eq!(stage.time().await, time);
}

/// A batch whose seed can be posted.
async fn due(stage: &Stage) -> Plan {
    let plan = paid(stage, 1, 2, 1).await;
    go_to(stage, WINDOWS.draw_time(plan.upload_by).saturating_add(EPOCH)).await;
    plan
}

#[tokio::test]
async fn a_seed_can_be_posted_from_the_end_of_the_epoch_on() {
    let stage = Stage::memory().await;
    let plan = paid(&stage, 1, 2, 1).await;
    let (payments, wanted) = (stage.payments(), seed_of(&plan));
    let due = payments.seed_needed(plan.upload_by).await.unwrap().due;
    let mut journal = TestJournal::new(&stage.chain);
    go_exactly_to(&stage, UnixTime(due.0 - 1)).await;
    let early = payments.post_seed(&stage.deployer, &wanted, None, &mut journal).await;
    assert_eq!((early.unwrap(), journal.signed.len()), (SeedPosted::default(), 0));
    go_exactly_to(&stage, due).await;
    let armed = payments.post_seed(&stage.deployer, &wanted, None, &mut journal).await;
    assert_eq!((armed.unwrap().seed, journal.signed.len()), (None, 1));
}

#[tokio::test]
async fn a_seed_is_not_posted_again_because_a_server_is_behind() {
    let stage = Stage::memory().await;
    let plan = due(&stage).await;
    let (payments, wanted) = (stage.payments(), seed_of(&plan));
    let mut journal = TestJournal::new(&stage.chain);
    let armed = payments.post_seed(&stage.deployer, &wanted, None, &mut journal).await;
    assert_eq!((armed.unwrap().seed, journal.signed.len()), (None, 1));
    stage.control.mine(3).await;
    // After the second post, what is asked ten times is of the block before it.
    let (mut is_sent, mut looks) = (false, 0);
    memory(&stage).set_faults(Some(Box::new(move |op| {
        is_sent |= op == ChainOp::SendRaw;
        let is_behind = is_sent && op == ChainOp::Read && looks < 30;
        looks += u32::from(is_behind);
        is_behind.then_some(ChainFault::Lag(1))
    })));
    let posted = payments.post_seed(&stage.deployer, &wanted, None, &mut journal).await;
    assert!(posted.unwrap().seed.is_some());
    assert_eq!(journal.signed.len(), 2);
}

#[tokio::test]
async fn a_proof_that_the_beacon_refuses_is_refused_at_once() {
    let stage = Stage::memory().await;
    let plan = due(&stage).await;
    let wanted = SeedWanted { proof: vec![0xab; 48], ..seed_of(&plan) };
    stage.chain.refuse_calls_with(&wanted.proof, "BadSignature()");
    let mut journal = TestJournal::new(&stage.chain);
    let started = stage.clock.monotonic();
    let posted = stage.payments().post_seed(&stage.deployer, &wanted, None, &mut journal).await;
    match *posted.unwrap_err().failure {
        PayFailure::Chain(ChainError::Reverted { reason }) => {
            assert_eq!(reason.as_deref(), Some("BadSignature()"));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!((stage.clock.monotonic(), journal.signed.len()), (started, 0));
}

#[tokio::test]
async fn a_post_that_no_server_takes_is_an_error() {
    let stage = Stage::memory().await;
    let plan = due(&stage).await;
    memory(&stage).set_faults(Some(Box::new(|op| {
        (op == ChainOp::SendRaw).then_some(ChainFault::Refuse(ChainError::RateLimited))
    })));
    let mut journal = TestJournal::new(&stage.chain);
    let (payments, wanted) = (stage.payments(), seed_of(&plan));
    let posted = payments.post_seed(&stage.deployer, &wanted, None, &mut journal).await;
    let failure = *posted.unwrap_err().failure;
    assert!(matches!(failure, PayFailure::Chain(ChainError::RateLimited)), "{failure:?}");
}

/// It comes between the look and our signature; then no blocks come.
#[tokio::test]
async fn after_a_post_of_somebody_else_blocks_are_waited_for() {
    let stage = Stage::memory().await;
    let plan = due(&stage).await;
    let after = WINDOWS.draw_time(plan.upload_by).0.to_be_bytes();
    stage.chain.refuse_calls_after(1, &after, "NotMinedYet(1, 2)");
    let mut journal = TestJournal::new(&stage.chain);
    let (payments, wanted) = (stage.payments(), seed_of(&plan));
    let started = stage.clock.monotonic();
    let posted = payments.post_seed(&stage.deployer, &wanted, None, &mut journal).await;
    assert_eq!((posted.unwrap().seed, journal.signed.len()), (None, 0));
    assert!(stage.clock.monotonic().saturating_sub(started) >= stage.timing.patience);
}

#[tokio::test]
async fn in_the_last_second_draws_are_settled_and_not_refunded() {
    let stage = Stage::memory().await;
    let plan = paid(&stage, 1, 6, 3).await;
    let terms = plan.batch_terms().unwrap();
    let seed = draw(&stage, &plan).await;
    go_exactly_to(&stage, WINDOWS.claim_end(plan.upload_by)).await;
    let name = format!("31337-{}.lock", stage.deployer.address());
    // Nothing is to be sent, so nobody is waited for.
    let lock = stage.locks.lock(name.as_ref()).unwrap();
    let mut journal = TestJournal::new(&stage.chain);
    let early = stage.payments().refund(&stage.deployer, &[terms], &mut journal).await.unwrap();
    assert_eq!((early.not_yet.len(), early.refused.len(), early.amount), (1, 0, Atto::ZERO));
    drop(lock);
    let (done, _) = settle(&stage, &wins(&plan, seed, 0..3)).await;
    assert_eq!((done.draws, done.skipped.len()), (3, 0));
}

/// Our clock is ahead of the chain's.
#[tokio::test]
async fn what_the_chain_does_not_refund_yet_is_not_refused() {
    let stage = Stage::memory().await;
    let plan = paid(&stage, 1, 2, 1).await;
    let terms = plan.batch_terms().unwrap();
    let claim_end = WINDOWS.claim_end(plan.upload_by);
    go_to(&stage, claim_end.saturating_add(SECOND)).await;
    stage.chain.refuse_calls_with(&terms.root.0, "ClaimOpen(2, 1)");
    let mut journal = TestJournal::new(&stage.chain);
    let done = stage.payments().refund(&stage.deployer, &[terms], &mut journal).await.unwrap();
    let claim = OpenClaim { payment: plan.id(), refundable: plan.total(), claim_end };
    assert_eq!(done, Refunded { not_yet: vec![claim], ..Refunded::default() });
}

#[tokio::test]
async fn a_settlement_waits_for_a_server_that_does_not_know_the_batch_yet() {
    let stage = Stage::memory().await;
    let plan = paid(&stage, 1, 6, 3).await;
    let seed = draw(&stage, &plan).await;
    stage.chain.revert(stage.deployed.vault, 3);
    let (done, journal) = settle(&stage, &wins(&plan, seed, [1])).await;
    assert_eq!((done.draws, done.skipped.len(), journal.signed.len()), (1, 0, 1));
}

#[tokio::test]
async fn tips_that_are_worth_just_the_gas_are_enough() {
    let stage = Stage::memory().await;
    let plan = paid(&stage, 1, 6, 3).await;
    let seed = draw(&stage, &plan).await;
    let all = wins(&plan, seed, 0..3);
    let (payments, sender) = (stage.payments(), stage.deployer.address());
    let look = async |terms| payments.settle_preview(sender, &all, &[], terms).await;
    let cost = look(SettleTerms::default()).await.unwrap().gas_cost;
    // At which all tips are worth so much.
    let rate = |coins: u128| {
        let rate = Wei((coins * 10_u128.pow(18)).div_ceil(3 * TIP));
        assert_eq!(TokenRate(rate).coins(Atto(3 * TIP)), Wei(coins));
        at_rate(rate)
    };
    let less = look(rate(cost.0 - 1)).await.unwrap();
    assert_eq!((less.wins.len(), less.skipped.len()), (0, 3));
    let just = SettleTerms { gas_cap: Some(cost), ..rate(cost.0) };
    let dry = look(just).await.unwrap();
    assert_eq!((dry.wins.len(), dry.gas_cost), (3, cost));

    // The cap is no question of what it is worth.
    let low = SettleTerms { gas_cap: Some(Wei(cost.0 - 1)), ..rate(cost.0) };
    let mut journal = TestJournal::new(&stage.chain);
    for error in [
        look(low).await.unwrap_err().error,
        settle_on(&stage, &all, low, &mut journal).await.unwrap_err().error,
    ] {
        assert!(matches!(*error.failure, PayFailure::OverGasCost { .. }), "{error:?}");
    }
    let done = settle_on(&stage, &all, just, &mut journal).await.unwrap();
    assert_eq!((done.draws, done.skipped.len(), journal.signed.len()), (3, 0, 1));
}

/// While ours waits for fees to fall, a rival settles one of its draws; and when it is mined, the
/// vault has no tokens for a moment.
#[tokio::test]
async fn what_is_left_of_a_settlement_that_failed_is_sent_again() {
    let mut stage = Stage::memory().await;
    stage.timing.resend_after = Duration::from_hours(1);
    let plan = paid(&stage, 1, 6, 3).await;
    let seed = draw(&stage, &plan).await;
    let all = wins(&plan, seed, 0..3);
    let rival = wallet(9);
    stage.control.set_coins(rival.address(), ETHER).await;
    let (token, vault) = (stage.deployed.token, stage.deployed.vault);
    let chain = memory(&stage);
    stage.control.set_automine(false).await;
    let sent = stage.chain.sendings();
    let meddle = async {
        stage.chain.wait_for_sendings(sent + 1).await;
        chain.set_base_fee(Wei(4_000_000_000));
        stage.control.set_automine(true).await;
        let mut rivals = TestJournal::new(&stage.chain);
        let (payments, terms) = (stage.payments(), SettleTerms::default());
        let first = payments.settle(&rival, &all[..1], terms, &mut rivals).await.unwrap();
        assert_eq!(first.draws, 1);
        let held = stage.tokens_of_vault().await;
        chain.set_tokens(token, vault, Atto::ZERO);
        chain.set_base_fee(Wei(1_000_000_000));
        stage.control.mine(1).await;
        chain.set_tokens(token, vault, held);
    };
    let mut journal = TestJournal::new(&stage.chain);
    let settling = settle_on(&stage, &all, SettleTerms::default(), &mut journal);
    let (done, ()) = tokio::join!(settling, meddle);
    let done = done.unwrap();
    assert_eq!((done.draws, done.transactions, journal.signed.len()), (2, 2, 2));
    assert_eq!(reasons(&done), [(plan.id(), 0, SkipReason::AlreadySettled)]);
}

/// The block that holds it is another one then, of the same number.
#[tokio::test]
async fn a_post_that_is_taken_back_is_made_again_without_another_block() {
    let stage = Stage::memory().await;
    let plan = due(&stage).await;
    let (payments, wanted) = (stage.payments(), seed_of(&plan));
    let mut journal = TestJournal::new(&stage.chain);
    let meddle = async {
        // To look, to sign, and to look again: so its receipt was seen.
        stage.chain.wait_for_estimates(3).await;
        stage.control.reorg(1).await;
    };
    let posting = payments.post_seed(&stage.deployer, &wanted, None, &mut journal);
    let (posted, ()) = tokio::join!(posting, meddle);
    assert_eq!((posted.unwrap().seed, journal.signed.len()), (None, 2));
}
