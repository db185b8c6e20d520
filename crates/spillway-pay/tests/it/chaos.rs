//! Everything goes wrong at once, at random, for many seeds: every plan is charged at most once,
//! and in the end exactly those that the vault has recorded.

use std::time::Duration;

use spillway_pay::{
    At, Chain, ChainError, ChainFault, ChainOp, CommitChoice, MemoryChain, Mining, PayFailure,
    Plan, PlanStatus, SignedTx, TxPurpose,
};
use spillway_types::{Atto, Wei};

use crate::support::{Control, FINALITY, LEAF_COST, Stage, TestJournal, payee};

/// Seeds of one run of the test.
const SEEDS: u64 = 50;
/// How often an upload is begun again at most.
const ATTEMPTS: usize = 60;

fn fault(random: &mut fastrand::Rng, op: ChainOp) -> Option<ChainFault> {
    if random.u32(0..100) >= 12 {
        return None;
    }
    let errors = [
        ChainError::Unreachable { endpoint: "chaos".into() },
        ChainError::Timeout { endpoint: "chaos".into(), after: Duration::from_secs(1) },
        ChainError::RateLimited,
        ChainError::Behind,
    ];
    let error = errors[random.usize(0..errors.len())].clone();
    Some(match (op, random.u32(0..4)) {
        (ChainOp::SendRaw, 0) => ChainFault::Forget,
        (ChainOp::SendRaw, 1) => ChainFault::Refuse(ChainError::NonceTooLow),
        (ChainOp::SendRaw, _) if random.bool() => ChainFault::Lose(error),
        (_, 0 | 1) if op != ChainOp::SendRaw => ChainFault::Lag(random.u16(1..4)),
        _ => ChainFault::Refuse(error),
    })
}

/// What other people and the chain itself do between two runs.
async fn meanwhile(stage: &Stage, chain: &MemoryChain, random: &mut fastrand::Rng) {
    match random.u32(0..6) {
        0 => chain.mine(random.u64(1..4)),
        1 => chain.reorg(random.u64(1..=3)),
        2 => chain.set_mining(Mining::Manual),
        3 => chain.set_mining(Mining::Automatic),
        4 => stage.control.advance(Duration::from_secs(random.u64(1..1_200))).await,
        _ => {
            chain.set_faults(None);
            chain.mine(1);
            let other = stage.deployer.address();
            let _ = stage.hands(&stage.payer).send_coins(other, Wei(1)).await;
        }
    }
}

/// The charged amount must be what the recorded plans cost, whatever has happened.
async fn audit(stage: &Stage, plans: &[Plan], seed: u64) -> Atto {
    let mut recorded = Atto::ZERO;
    for plan in plans {
        let record = stage.chain.record(plan.domain.vault, plan.id(), At::Depth(0)).await.unwrap();
        if record.recorded.is_some() {
            recorded = recorded.saturating_add(plan.total());
        }
    }
    assert_eq!(stage.tokens_of_vault().await, recorded, "seed {seed}");
    let credit = if stage.batches.is_some() { 0 } else { recorded.0 / LEAF_COST };
    assert_eq!(stage.credit(payee(1)).await, Atto(credit), "seed {seed}");
    recorded
}

/// Leaves an allowance for many more payments behind, so that the exact one does not hide what the
/// vault's ids are for.
async fn leave_allowance(stage: &Stage) {
    let plans = [stage.plan(99, 100).await];
    let mut journal = TestJournal::new(&stage.chain);
    journal.fail_at = Some(1);
    stage.payments().pay(stage.request(&plans, &[]), &mut journal).await.unwrap_err();
    assert_eq!(stage.allowance().await, Atto(100 * LEAF_COST));
}

/// How a game ended.
struct End {
    /// All plans were paid.
    paid: bool,
    /// A plan was signed more than once, at different nonces.
    signed_again: bool,
}

async fn play(seed: u64, mut stage: Stage) -> End {
    stage.timing.patience = Duration::from_secs(5);
    stage.timing.bump_after = Duration::from_secs(1);
    let Control::Memory { chain, .. } = &stage.control else { panic!("not in memory") };
    if seed % 2 == 1 {
        leave_allowance(&stage).await;
    }
    // No reorganisation reaches the contracts.
    chain.mine(4);
    let mut random = fastrand::Rng::with_seed(seed);
    let plans = [stage.plan(1, 2).await, stage.plan(2, 1).await, stage.plan(3, 3).await];
    let mut earlier: Vec<SignedTx> = Vec::new();
    let mut paid = false;
    for _ in 0..ATTEMPTS {
        let mut faults = random.fork();
        chain.set_faults(Some(Box::new(move |op| fault(&mut faults, op))));
        let mut journal = TestJournal::new(&stage.chain);
        journal.lenient = true;
        match random.u32(0..4) {
            0 => journal.crash_at = Some(random.usize(0..4)),
            1 => journal.fail_at = Some(random.usize(0..4)),
            _ => {}
        }
        let result = stage.payments().pay(stage.request(&plans, &earlier), &mut journal).await;
        chain.set_faults(None);
        earlier.append(&mut journal.signed);
        audit(&stage, &plans, seed).await;
        match result.map_err(|error| *error.failure) {
            Ok(_) => {
                paid = true;
                break;
            }
            Err(PayFailure::Expired { .. }) => break,
            Err(_) => meanwhile(&stage, chain, &mut random).await,
        }
        audit(&stage, &plans, seed).await;
    }
    finish(&stage, chain, &plans, &earlier, seed).await;
    let signed_again = plans.iter().any(|plan| {
        let id = plan.id();
        let mut nonces: Vec<u64> =
            earlier.iter().filter(|tx| tx.purpose.pays(id)).map(|tx| tx.nonce).collect();
        nonces.dedup();
        nonces.len() > 1
    });
    End { paid, signed_again }
}

/// Calm: what is paid is final, what is dropped stays unpaid even if every byte is sent again.
async fn finish(
    stage: &Stage,
    chain: &MemoryChain,
    plans: &[Plan],
    earlier: &[SignedTx],
    seed: u64,
) {
    chain.set_mining(Mining::Automatic);
    chain.mine(1);
    stage.control.advance(Duration::from_hours(2)).await;
    chain.mine(2 * FINALITY);
    let charged = audit(stage, plans, seed).await;
    let mut paid = Atto::ZERO;
    for plan in plans {
        match stage.payments().status(plan).await.unwrap() {
            PlanStatus::Paid { .. } => paid = paid.saturating_add(plan.total()),
            PlanStatus::Dropped => {}
            PlanStatus::Open => panic!("seed {seed}: open after finality"),
        }
    }
    assert_eq!(paid, charged, "seed {seed}");
    for tx in earlier {
        let _ = stage.chain.send_raw(&tx.raw).await;
    }
    chain.mine(1);
    assert_eq!(audit(stage, plans, seed).await, charged, "seed {seed}");
    for tx in earlier {
        if let TxPurpose::Approve { amount } = tx.purpose {
            let all: Atto = plans.iter().map(Plan::total).sum();
            assert!(amount <= all, "seed {seed}: {amount}");
        }
    }
}

/// At least so many of [`SEEDS`] games must have led to a second signature.
async fn play_all(batches: Option<CommitChoice>, least_signed_again: u64) {
    let (mut paid, mut signed_again) = (0, 0);
    for seed in 0..SEEDS {
        let stage = Stage { batches, ..Stage::memory().await };
        let end = Box::pin(play(seed, stage)).await;
        paid += u64::from(end.paid);
        signed_again += u64::from(end.signed_again);
    }
    // Otherwise the test would prove little.
    assert!(paid * 2 > SEEDS, "{paid} of {SEEDS} were paid in the end");
    assert!(signed_again >= least_signed_again, "{signed_again} of {SEEDS} were signed again");
}

#[tokio::test]
async fn whatever_happens_each_plan_is_charged_at_most_once() {
    play_all(None, 3).await;
}

#[tokio::test]
async fn whatever_happens_each_batch_is_charged_at_most_once() {
    play_all(Some(CommitChoice::OneByOne), 3).await;
}

#[tokio::test]
async fn whatever_happens_batches_that_are_paid_together_are_charged_at_most_once() {
    // One transaction pays for all.
    play_all(Some(CommitChoice::Together), 1).await;
}
