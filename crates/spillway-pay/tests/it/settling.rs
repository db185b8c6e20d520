//! After the upload window: the seed, settlements, refunds.

mod drand;
mod proofs;
mod terms;
mod times;

use std::time::Duration;

use spillway_pay::{
    BatchState, Chain, CommitChoice, OpenClaim, PayFailure, Payments, PaymentsOptions, Plan,
    ProofError, Refunded, SeedPosted, SeedWanted, SettleTerms, Settled, SkipReason, Spend, Stopped,
    SumTree, TxPurpose, verify,
};
use spillway_types::{Atto, BatchProof, PaymentId, Seed, UnixTime, Wei, Win};

use crate::{
    on_both_chains,
    support::{EPOCH, Stage, TOKENS, TestJournal, WINDOWS, batch_mode, payee, wallet},
};

const TIP: u128 = 7;
const SECOND: Duration = Duration::from_secs(1);

/// A batch that is paid.
async fn paid(stage: &Stage, name: u8, leaves: u8, draws: u8) -> Plan {
    paid_with(stage, name, (leaves, draws), TIP).await
}

async fn paid_with(stage: &Stage, name: u8, (leaves, draws): (u8, u8), tip: u128) -> Plan {
    let plan = stage.plan(name, leaves).await;
    let plan = Plan { mode: batch_mode(&plan.leaves, tip, draws), ..plan };
    let plans = [plan];
    let mut journal = TestJournal::new(&stage.chain);
    stage.payments().pay(stage.request(&plans, &[]), &mut journal).await.unwrap();
    let [plan] = plans;
    plan
}

/// Scripts count by them.
#[test]
fn reasons_have_names_of_one_word() {
    let time = UnixTime(1);
    for (reason, name) in [
        (SkipReason::NotRecorded, "not_recorded"),
        (SkipReason::ClaimOver { claim_end: time }, "claim_over"),
        (SkipReason::NoSeed { after: time }, "no_seed"),
        (SkipReason::NoSuchDraw { draws: 1 }, "no_such_draw"),
        (SkipReason::AlreadySettled, "already_settled"),
        (SkipReason::BadProof(ProofError::ZeroTotal), "bad_proof"),
        (SkipReason::NotDrawn { point: TOKENS, from: TOKENS, sum: TOKENS }, "not_drawn"),
        (SkipReason::NoTip, "no_tip"),
        (SkipReason::NotWorthIt { tips: TOKENS, gas_cost: Wei(1) }, "not_worth_it"),
        (SkipReason::Refused { reason: None }, "refused"),
    ] {
        assert_eq!(reason.name(), name);
    }
}

async fn go_to(stage: &Stage, time: UnixTime) {
    stage.control.advance(time.since(stage.time().await)).await;
    stage.control.mine(1).await;
}

/// The seed of a plan, from block hashes.
fn seed_of(plan: &Plan) -> SeedWanted {
    SeedWanted { upload_by: plan.upload_by, proof: Vec::new() }
}

/// Past the draw's time, the seed is posted while blocks are mined.
async fn draw(stage: &Stage, plan: &Plan) -> Seed {
    go_to(stage, WINDOWS.draw_time(plan.upload_by).saturating_add(EPOCH)).await;
    let (payments, sent) = (stage.payments(), stage.chain.sendings());
    let mut journal = TestJournal::new(&stage.chain);
    let blocks = async {
        stage.chain.wait_for_sendings(sent + 1).await;
        stage.wait_until_mined(stage.chain.last_hash()).await;
        stage.control.mine(3).await;
    };
    let wanted = seed_of(plan);
    let posted = payments.post_seed(&stage.deployer, &wanted, None, &mut journal);
    let (seed, ()) = tokio::join!(posted, blocks);
    let after = WINDOWS.draw_time(plan.upload_by);
    assert_eq!(journal.signed.len(), 2);
    assert!(journal.signed.iter().all(|tx| tx.purpose == TxPurpose::PostSeed { after }));
    let SeedPosted { seed, spend } = seed.unwrap();
    assert_eq!(spend.tx_hashes, journal.signed.iter().map(|tx| tx.hash).collect::<Vec<_>>());
    assert!(spend.gas_used > 2 * 21_000 && spend.gas_cost > Wei(0));
    seed.unwrap()
}

/// The leaf that a draw falls on.
fn won(plan: &Plan, seed: Seed, draw: u8) -> Win {
    let (terms, tree) = (plan.batch_terms().unwrap(), SumTree::new(&plan.leaves).unwrap());
    let point = terms.draw_point(seed, plan.id(), draw);
    let spans = plan.leaves.iter().enumerate().map(|(index, leaf)| {
        let proof = BatchProof { terms, siblings: tree.siblings(index) };
        let span = verify::batch_leaf(&proof, leaf).unwrap();
        (span, Win { terms, draw, leaf: leaf.clone(), siblings: proof.siblings })
    });
    let mut winners = spans.filter(|(span, _)| span.contains(point));
    let (_, win) = winners.next().unwrap();
    assert!(winners.next().is_none());
    win
}

fn wins(plan: &Plan, seed: Seed, draws: impl IntoIterator<Item = u8>) -> Vec<Win> {
    draws.into_iter().map(|draw| won(plan, seed, draw)).collect()
}

async fn credits(stage: &Stage) -> Atto {
    let mut sum = 0;
    for number in 1..=5 {
        sum += stage.credit(payee(number)).await.0;
    }
    Atto(sum)
}

async fn tokens(stage: &Stage) -> Atto {
    stage.chain.tokens(stage.deployed.token, stage.deployer.address()).await.unwrap()
}

async fn settle_on(
    stage: &Stage,
    wins: &[Win],
    terms: SettleTerms,
    journal: &mut TestJournal,
) -> Result<Settled, Stopped<Settled>> {
    stage.payments().settle(&stage.deployer, wins, terms, journal).await
}

async fn settle(stage: &Stage, wins: &[Win]) -> (Settled, TestJournal) {
    let mut journal = TestJournal::new(&stage.chain);
    let done = settle_on(stage, wins, SettleTerms::default(), &mut journal).await.unwrap();
    (done, journal)
}

fn reasons(settled: &Settled) -> Vec<(PaymentId, u8, SkipReason)> {
    settled.skipped.iter().map(|win| (win.payment, win.draw, win.reason.clone())).collect()
}

async fn a_batch_from_its_payment_to_the_last_unit(stage: Stage) {
    let plan = paid(&stage, 1, 9, 4).await;
    let (terms, id) = (plan.batch_terms().unwrap(), plan.id());
    let payments = stage.payments();
    let open = payments.batch_state(&terms).await.unwrap();
    assert_eq!(open.claim_end, WINDOWS.claim_end(plan.upload_by));
    assert_eq!((open.seed, open.refundable), (None, plan.total()));
    assert!(open.recorded.is_some() && open.settled.count() == 0);
    let seed = draw(&stage, &plan).await;
    assert_eq!(payments.batch_state(&terms).await.unwrap().seed, Some(seed));

    let before = tokens(&stage).await;
    let (done, journal) = settle(&stage, &wins(&plan, seed, [0, 2, 3])).await;
    assert_eq!(journal.signed.len(), 1);
    assert_eq!(journal.signed[0].purpose, TxPurpose::Settle { payment: id });
    let prizes = Atto([0, 2, 3].map(|draw| terms.prize(draw).0).iter().sum());
    assert_eq!((done.transactions, done.draws), (1, 3));
    assert_eq!((done.tips, done.prizes), (Atto(3 * TIP), prizes));
    assert!(done.skipped.is_empty() && done.spend.gas_used > 21_000);
    assert_eq!(done.spend.tx_hashes, [journal.signed[0].hash]);
    assert_eq!(tokens(&stage).await, before.saturating_add(done.tips));
    assert_eq!(credits(&stage).await, prizes);
    // All that is gone is gone to somebody.
    let held = prizes.saturating_add(terms.prize(1)).saturating_add(terms.tip);
    assert_eq!(stage.tokens_of_vault().await, held);

    // Not yet.
    let mut journal = TestJournal::new(&stage.chain);
    let refundable = terms.prize(1).saturating_add(terms.tip);
    let claim_end = open.claim_end;
    let claim = OpenClaim { payment: id, refundable, claim_end };
    let early = payments.refund(&stage.deployer, &[terms], &mut journal).await.unwrap();
    assert_eq!(early, Refunded { not_yet: vec![claim], ..Refunded::default() });
    assert!(journal.signed.is_empty());

    go_to(&stage, claim_end.saturating_add(SECOND)).await;
    let (late, nothing) = settle(&stage, &wins(&plan, seed, [1])).await;
    assert_eq!(reasons(&late), [(id, 1, SkipReason::ClaimOver { claim_end })]);
    assert!(nothing.signed.is_empty());
    let before = stage.tokens_of_payer().await;
    let back = payments.refund(&stage.deployer, &[terms], &mut journal).await.unwrap();
    assert_eq!((back.batches, back.amount), (vec![(id, refundable)], refundable));
    assert_eq!(journal.signed[0].purpose, TxPurpose::Refund { payment: id });
    assert_eq!(back.spend.tx_hashes, [journal.signed[0].hash]);
    assert_eq!(stage.tokens_of_payer().await, before.saturating_add(refundable));
    assert_eq!(stage.tokens_of_vault().await, credits(&stage).await);
    let end = payments.batch_state(&terms).await.unwrap();
    assert_eq!((end.refundable, end.settled.count()), (Atto::ZERO, 4));

    let again = payments.refund(&stage.deployer, &[terms], &mut journal).await.unwrap();
    assert_eq!((again, journal.signed.len()), (Refunded::default(), 1));
}

async fn what_cannot_be_settled_is_left_out_with_its_reason(stage: Stage) {
    let plan = paid(&stage, 1, 6, 3).await;
    let (terms, id) = (plan.batch_terms().unwrap(), plan.id());
    let unpaid = stage.plan(2, 2).await;
    let unpaid = Plan { mode: batch_mode(&unpaid.leaves, TIP, 1), ..unpaid };
    // Before the draw.
    let tree = SumTree::new(&plan.leaves).unwrap();
    let any = Win { terms, draw: 0, leaf: plan.leaves[0].clone(), siblings: tree.siblings(0) };
    let (early, _) = settle(&stage, std::slice::from_ref(&any)).await;
    let after = WINDOWS.draw_time(plan.upload_by);
    assert_eq!(reasons(&early), [(id, 0, SkipReason::NoSeed { after })]);

    let seed = draw(&stage, &plan).await;
    let [first, second, third] = [0, 1, 2].map(|draw| won(&plan, seed, draw));
    let mut no_proof = second.clone();
    no_proof.siblings.clear();
    let other = plan.leaves.iter().position(|leaf| *leaf != second.leaf).unwrap();
    let lost =
        Win { leaf: plan.leaves[other].clone(), siblings: tree.siblings(other), ..second.clone() };
    let beyond = Win { draw: 3, ..second.clone() };
    let foreign = won(&unpaid, seed, 0);
    let all =
        [no_proof, lost.clone(), beyond, foreign, first.clone(), first.clone(), third.clone()];
    let (done, journal) = settle(&stage, &all).await;
    assert_eq!((done.draws, done.transactions, journal.signed.len()), (2, 1, 1));
    let proof = BatchProof { terms, siblings: Vec::new() };
    let bad = verify::batch_leaf(&proof, &second.leaf).unwrap_err();
    let span =
        verify::batch_leaf(&BatchProof { terms, siblings: lost.siblings.clone() }, &lost.leaf)
            .unwrap();
    let point = terms.draw_point(seed, id, 1);
    let mut expected = vec![
        (id, 1, SkipReason::BadProof(bad)),
        (id, 1, SkipReason::NotDrawn { point, from: span.from, sum: span.sum }),
        (id, 3, SkipReason::NoSuchDraw { draws: 3 }),
        (id, 0, SkipReason::AlreadySettled),
        (unpaid.id(), 0, SkipReason::NotRecorded),
    ];
    let mut found = reasons(&done);
    let key = |skipped: &(PaymentId, u8, SkipReason)| format!("{skipped:?}");
    expected.sort_by_key(key);
    found.sort_by_key(key);
    assert_eq!(found, expected);

    // What is settled is, and nothing is sent for nothing.
    let sendings = stage.chain.sendings();
    let (again, journal) = settle(&stage, &[first, third]).await;
    assert!(again.skipped.iter().all(|win| win.reason == SkipReason::AlreadySettled));
    assert_eq!((again.skipped.len(), again.spend.clone()), (2, Spend::default()));
    assert!(journal.signed.is_empty());
    let (none, _) = settle(&stage, &[]).await;
    assert_eq!(none, Settled::default());
    assert_eq!(stage.chain.sendings(), sendings);
}

async fn many_draws_of_many_batches_share_transactions(stage: Stage) {
    let one = paid(&stage, 1, 100, 70).await;
    let two = paid(&stage, 2, 8, 2).await;
    let seed = draw(&stage, &one).await;
    let seed_of_two = {
        let state: BatchState =
            stage.payments().batch_state(&two.batch_terms().unwrap()).await.unwrap();
        state.seed.expect("paid within the same epoch")
    };
    let mut all = wins(&one, seed, 0..70);
    all.extend(wins(&two, seed_of_two, 0..2));
    let (done, journal) = settle(&stage, &all).await;
    assert_eq!((done.transactions, done.draws, journal.signed.len()), (3, 72, 3));
    assert_eq!(done.tips, Atto(72 * TIP));
    let sold = one.storage_cost().saturating_add(two.storage_cost());
    assert_eq!(done.prizes, sold);
    assert_eq!(credits(&stage).await, sold);
    assert_eq!(stage.tokens_of_vault().await, sold);
    assert_eq!(done.spend.tx_hashes.len(), 3);
}

async fn a_settlement_that_another_one_runs_ahead_of_is_no_error(stage: Stage) {
    let plan = paid(&stage, 1, 6, 3).await;
    let id = plan.id();
    let seed = draw(&stage, &plan).await;
    let (mine, all) = (wins(&plan, seed, [0, 1]), wins(&plan, seed, [0, 1, 2]));
    let rival = wallet(9);
    stage.control.set_coins(rival.address(), crate::support::ETHER).await;
    stage.control.set_automine(false).await;
    let (ours, theirs) = (stage.payments(), stage.payments());
    let mut rivals = TestJournal::new(&stage.chain);
    rivals.lenient = true;
    let mut journal = TestJournal::new(&stage.chain);
    journal.lenient = true;
    let sent = stage.chain.sendings();
    // The rival's is first in the pool, for two of three.
    let later = async {
        stage.chain.wait_for_sendings(sent + 1).await;
        let end = async {
            stage.chain.wait_for_sendings(sent + 2).await;
            stage.control.set_automine(true).await;
            stage.control.mine(1).await;
        };
        tokio::join!(ours.settle(&stage.deployer, &all, SettleTerms::default(), &mut journal), end)
            .0
    };
    let (first, second) =
        tokio::join!(theirs.settle(&rival, &mine, SettleTerms::default(), &mut rivals), later);
    let (first, second) = (first.unwrap(), second.unwrap());
    // Whoever was first, each draw was paid once, and all of it is told right.
    assert_eq!(first.draws + second.draws, 3, "{first:?} {second:?}");
    for (end, asked) in [(&first, 2), (&second, 3)] {
        assert_eq!(end.done.len(), end.draws as usize, "{end:?}");
        assert!(end.skipped.iter().all(|win| win.reason == SkipReason::AlreadySettled), "{end:?}");
        assert_eq!(end.done.len() + end.skipped.len(), asked, "{end:?}");
        assert_eq!((end.transactions, end.spend.tx_hashes.len()), (1, 1));
    }
    let gained = stage.chain.tokens(stage.deployed.token, rival.address()).await.unwrap();
    assert_eq!(first.tips, gained);
    assert_eq!(first.tips.saturating_add(second.tips), Atto(3 * TIP));
    assert_eq!(credits(&stage).await, plan.storage_cost());
    let vault = stage.deployed.vault;
    let record = stage.chain.record(vault, id, spillway_pay::At::Depth(0)).await.unwrap();
    assert_eq!(record.settled.count(), 3);
}

async fn a_seed_comes_neither_early_nor_twice(stage: Stage) {
    let plan = paid(&stage, 1, 2, 1).await;
    let payments = stage.payments();
    let mut journal = TestJournal::new(&stage.chain);
    let early = payments.post_seed(&stage.deployer, &seed_of(&plan), None, &mut journal).await;
    assert_eq!(early.unwrap(), SeedPosted::default());
    // After the draw's time, before the end of its epoch.
    go_to(&stage, WINDOWS.draw_time(plan.upload_by).saturating_add(SECOND)).await;
    let early = payments.post_seed(&stage.deployer, &seed_of(&plan), None, &mut journal).await;
    let epoch = EPOCH.as_secs();
    let due = (WINDOWS.draw_time(plan.upload_by).0 / epoch + 1) * epoch;
    if stage.time().await.0 < due {
        assert_eq!(early.unwrap(), SeedPosted::default());
        assert!(journal.signed.is_empty());
    }
    let seed = draw(&stage, &plan).await;
    let again = payments.post_seed(&stage.deployer, &seed_of(&plan), None, &mut journal).await;
    assert_eq!((again.unwrap().seed, journal.signed.len()), (Some(seed), 0));
}

/// Nobody mines: after patience it is given up, and gone on with later.
#[tokio::test]
async fn a_seed_that_no_blocks_come_for_is_waited_for_and_gone_on_with() {
    let stage = Stage::memory().await;
    let plan = paid(&stage, 1, 2, 1).await;
    go_to(&stage, WINDOWS.draw_time(plan.upload_by).saturating_add(EPOCH)).await;
    let payments = stage.payments();
    let mut journal = TestJournal::new(&stage.chain);
    let (wanted, cap) = (seed_of(&plan), Wei(1_000));
    let poor = payments.post_seed(&stage.deployer, &wanted, Some(cap), &mut journal).await;
    let poor = *poor.unwrap_err().failure;
    assert!(matches!(poor, PayFailure::OverGasCost { cap: Wei(1_000), .. }), "{poor:?}");
    assert!(journal.signed.is_empty());
    let started = stage.clock.monotonic();
    let seed = payments.post_seed(&stage.deployer, &wanted, None, &mut journal).await;
    assert_eq!((seed.unwrap().seed, journal.signed.len()), (None, 1));
    assert!(stage.clock.monotonic().saturating_sub(started) >= stage.timing.patience);
    stage.control.mine(3).await;
    let seed = payments.post_seed(&stage.deployer, &seed_of(&plan), None, &mut journal).await;
    assert!(seed.unwrap().seed.is_some());
    assert_eq!(journal.signed.len(), 2);
}

async fn settling_and_refunding_keep_to_chain_and_lock(stage: Stage) {
    let plan = paid(&stage, 1, 3, 1).await;
    let terms = plan.batch_terms().unwrap();
    let seed = draw(&stage, &plan).await;
    let won = wins(&plan, seed, [0]);
    let name = format!("31337-{}.lock", stage.deployer.address());
    let lock = stage.locks.lock(name.as_ref()).unwrap();
    let mut journal = TestJournal::new(&stage.chain);
    let payments = stage.payments();
    let terms_of_settling = SettleTerms::default();
    let stopped =
        payments.settle(&stage.deployer, &won, terms_of_settling, &mut journal).await.unwrap_err();
    let error = stopped.error;
    assert!(matches!(*error.failure, PayFailure::Locked { .. }), "{error:?}");
    drop(lock);
    stage.chain.lie(1);
    for failure in [
        payments
            .settle(&stage.deployer, &won, terms_of_settling, &mut journal)
            .await
            .unwrap_err()
            .error
            .failure,
        payments.refund(&stage.deployer, &[terms], &mut journal).await.unwrap_err().error.failure,
        payments
            .post_seed(&stage.deployer, &seed_of(&plan), None, &mut journal)
            .await
            .unwrap_err()
            .failure,
    ] {
        assert!(
            matches!(*failure, PayFailure::WrongChain { expected: 31_337, found: 1 }),
            "{failure:?}"
        );
    }
    assert!(journal.signed.is_empty());
    // A batch of another vault is not this one's.
    stage.chain.lie(31_337);
    let domain = spillway_types::Domain {
        network: spillway_types::NetworkId::named("another"),
        ..stage.domain
    };
    let elsewhere = Payments::new(PaymentsOptions { domain, ..stage.options() });
    let state = elsewhere.batch_state(&terms).await.unwrap();
    assert!(state.recorded.is_some(), "the network's name is no part of the vault's id");
}

async fn two_refunds_and_one_that_is_not_there(stage: Stage) {
    let stage = stage.in_batches(CommitChoice::Together);
    let (one, two) = (paid(&stage, 1, 2, 1).await, paid(&stage, 2, 3, 2).await);
    let never = stage.plan(3, 1).await;
    let terms = [&one, &never, &two].map(|plan| plan.batch_terms().unwrap());
    let end = WINDOWS.claim_end(one.upload_by.max(two.upload_by));
    go_to(&stage, end.saturating_add(SECOND)).await;
    let open = stage.payments().batch_state(&terms[0]).await.unwrap();
    assert!(open.can_refund(open.claim_end.saturating_add(SECOND)));
    assert!(!open.can_refund(open.claim_end));
    let mut journal = TestJournal::new(&stage.chain);
    let back = stage.payments().refund(&stage.payer, &terms, &mut journal).await.unwrap();
    assert_eq!(back.batches, [(one.id(), one.total()), (two.id(), two.total())]);
    assert_eq!(back.amount, one.total().saturating_add(two.total()));
    assert!(back.not_yet.is_empty());
    assert_eq!(journal.signed.len(), 2);
    stage.assert_charged(Atto::ZERO).await;
    let state = stage.payments().batch_state(&terms[1]).await.unwrap();
    assert_eq!((state.recorded, state.refundable), (None, Atto::ZERO));
    assert!(!state.can_refund(end.saturating_add(SECOND)));
}

on_both_chains!(
    a_batch_from_its_payment_to_the_last_unit,
    what_cannot_be_settled_is_left_out_with_its_reason,
    many_draws_of_many_batches_share_transactions,
    a_settlement_that_another_one_runs_ahead_of_is_no_error,
    a_seed_comes_neither_early_nor_twice,
    settling_and_refunding_keep_to_chain_and_lock,
    two_refunds_and_one_that_is_not_there,
);
