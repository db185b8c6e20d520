//! Everything goes wrong at once, at random, for many seeds: every plan is charged at most once, and
//! in the end exactly those that the vault has recorded.

use std::time::Duration;

use spillway_pay::{
    At, Chain, ChainError, ChainFault, ChainOp, MemoryChain, Mining, PayFailure, Plan, PlanStatus,
    SignedTx, TxPurpose,
};
use spillway_types::{Atto, Wei};

use crate::support::{Control, FINALITY, LEAF_COST, Stage, TestJournal, payee};

/// Seeds of one run of the test.
const SEEDS: u64 = 100;
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
    assert_eq!(stage.credit(payee(1)).await, Atto(recorded.0 / LEAF_COST), "seed {seed}");
    recorded
}

async fn play(seed: u64) -> bool {
    let mut stage = Stage::memory().await;
    stage.timing.patience = Duration::from_secs(5);
    stage.timing.bump_after = Duration::from_secs(1);
    let Control::Memory { chain, .. } = &stage.control else { panic!("not in memory") };
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
    paid
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
    stage.control.advance(Duration::from_secs(2 * 60 * 60)).await;
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

#[tokio::test]
async fn whatever_happens_each_plan_is_charged_at_most_once() {
    let mut paid = 0;
    for seed in 0..SEEDS {
        paid += u64::from(Box::pin(play(seed)).await);
    }
    // Otherwise the test would prove little.
    assert!(paid * 2 > SEEDS, "{paid} of {SEEDS} were paid in the end");
}
