//! Everything that can be wrong is found before anything is signed.

use std::sync::Arc;

use spillway_disk::Disk;
use spillway_pay::{
    Caps, Chain, ChainError, ChainFault, ChainOp, CommitChoice, PayFailure, PayRequest, Payments,
    PaymentsOptions, Plan, PlanMode, ProofError, Spend, SumTree, TreeError,
};
use spillway_types::{Atto, Domain, EvmAddress, NetworkId, NodeHash, Retry, RewardAddress, Wei};

use crate::{
    on_both_chains,
    support::{Control, ETHER, LEAF_COST, Stage, TOKENS, TestJournal, batch_mode, wallet},
};

/// Pays, expects a refusal, and that nothing at all has happened.
async fn refused(stage: &Stage, payments: Payments, request: PayRequest<'_>) -> PayFailure {
    let before = (stage.nonce().await, stage.coins_of_payer().await, stage.chain.sendings());
    let mut journal = TestJournal::new(&stage.chain);
    let error = payments.pay(request, &mut journal).await.unwrap_err();
    assert_eq!(error.spend, Spend::default());
    assert!(journal.signed.is_empty() && journal.paid.is_empty());
    let after = (stage.nonce().await, stage.coins_of_payer().await, stage.chain.sendings());
    assert_eq!(after, before);
    stage.assert_charged(Atto::ZERO).await;
    *error.failure
}

async fn the_wrong_chain(stage: Stage) {
    let plans = [stage.plan(1, 1).await];
    stage.chain.lie(1);
    match refused(&stage, stage.payments(), stage.request(&plans, &[])).await {
        PayFailure::WrongChain { expected: 31_337, found: 1 } => {}
        other => panic!("{other:?}"),
    }
}

async fn no_vault_or_one_of_another_token(stage: Stage) {
    let token = stage.deployed.token;
    for vault in [EvmAddress([9; 20]), token] {
        let domain = Domain { vault, ..stage.domain };
        let plans = [spillway_pay::Plan { domain, ..stage.plan(1, 1).await }];
        let payments = Payments::new(PaymentsOptions { domain, ..stage.options() });
        match refused(&stage, payments, stage.request(&plans, &[])).await {
            PayFailure::NoVault { vault: named } => assert_eq!(named, vault),
            other => panic!("{other:?}"),
        }
    }
    let plans = [stage.plan(1, 1).await];
    let expected = EvmAddress([7; 20]);
    let options = PaymentsOptions { token: Some(expected), ..stage.options() };
    match refused(&stage, Payments::new(options), stage.request(&plans, &[])).await {
        PayFailure::WrongToken { expected: named, found } => {
            assert_eq!((named, found), (expected, token));
        }
        other => panic!("{other:?}"),
    }
}

async fn plans_of_others(stage: Stage) {
    let plan = stage.plan(1, 1).await;
    let other = wallet(3);
    stage.control.set_coins(other.address(), ETHER).await;
    let plans = [plan.clone()];
    let request = PayRequest { wallet: &other, ..stage.request(&plans, &[]) };
    match refused(&stage, stage.payments(), request).await {
        PayFailure::WrongWallet { payment, payer, wallet } => {
            assert_eq!(payment, plan.id());
            assert_eq!((payer, wallet), (stage.payer.address(), other.address()));
        }
        failure => panic!("{failure:?}"),
    }
    assert_eq!(stage.chain.coins(other.address()).await.unwrap(), ETHER);
    let network = NetworkId::named("another");
    let plans = [spillway_pay::Plan { domain: Domain { network, ..plan.domain }, ..plan }];
    match refused(&stage, stage.payments(), stage.request(&plans, &[])).await {
        PayFailure::ForeignPlan { payment, expected, found } => {
            assert_eq!(payment, plans[0].id());
            assert_eq!((*expected, *found), (stage.domain, plans[0].domain));
        }
        failure => panic!("{failure:?}"),
    }
}

async fn plans_that_the_vault_would_refuse(stage: Stage) {
    let mut nobody = stage.plan(1, 2).await;
    nobody.leaves[1].shares[2].payee = RewardAddress::ZERO;
    let mut nothing = stage.plan(1, 1).await;
    nothing.leaves[0].shares.iter_mut().for_each(|share| share.amount = Atto::ZERO);
    let mut large = stage.plan(1, 1).await;
    large.leaves[0].shares[4].amount = Atto(1 << 96);
    let mut many = stage.plan(1, 101).await;
    many.leaves[100].shares[0].amount = Atto(9);
    for (plan, expected) in [
        (nobody, ProofError::ZeroPayee { index: 7 }),
        (nothing, ProofError::ZeroTotal),
        (large, ProofError::AmountTooLarge { index: 4 }),
        (many, ProofError::EntryCount { found: 505 }),
    ] {
        let plans = [plan];
        match refused(&stage, stage.payments(), stage.request(&plans, &[])).await {
            PayFailure::BadPlan { payment, source } => {
                assert_eq!((payment, source), (plans[0].id(), expected));
            }
            failure => panic!("{failure:?}"),
        }
    }
}

async fn batches_that_the_vault_would_refuse(stage: Stage) {
    let good = stage.plan(1, 2).await;
    let batch = |tip, draws| Plan { mode: batch_mode(&good.leaves, tip, draws), ..good.clone() };
    let expected = NodeHash([7; 32]);
    let found = SumTree::new(&good.leaves).unwrap().root().hash;
    let root = PlanMode::Batch { root: expected, tip: Atto(1), draws: 1 };
    let mut free = batch(1, 1);
    free.leaves[1].shares.iter_mut().for_each(|share| share.amount = Atto::ZERO);
    let none = Plan { leaves: Vec::new(), ..batch(1, 1) };
    for (plan, expected) in [
        (batch(1, 0), ProofError::Draws { found: 0, most: 30 }),
        // Not more draws than units.
        (batch(1, 31), ProofError::Draws { found: 31, most: 30 }),
        (batch(1 << 96, 1), ProofError::TipTooLarge),
        (Plan { mode: root, ..good.clone() }, ProofError::WrongRoot { expected, found }),
        (free, ProofError::Tree(TreeError::ZeroLeaf { index: 1 })),
        (none, ProofError::Tree(TreeError::LeafCount { found: 0 })),
    ] {
        let plans = [plan];
        match refused(&stage, stage.payments(), stage.request(&plans, &[])).await {
            PayFailure::BadPlan { payment, source } => {
                assert_eq!((payment, source), (plans[0].id(), expected));
            }
            failure => panic!("{failure:?}"),
        }
    }
    // 201 draws of enough units.
    let many = stage.plan(2, 20).await;
    let plans = [Plan { mode: batch_mode(&many.leaves, 1, 201), ..many }];
    match refused(&stage, stage.payments(), stage.request(&plans, &[])).await {
        PayFailure::BadPlan { source, .. } => {
            assert_eq!(source, ProofError::Draws { found: 201, most: 200 });
        }
        failure => panic!("{failure:?}"),
    }
}

async fn the_last_token_can_be_spent(stage: Stage) {
    let mut plan = stage.plan(1, 1).await;
    let rest = plan.total().saturating_sub(plan.leaves[0].shares[0].amount);
    plan.leaves[0].shares[0].amount = TOKENS.saturating_sub(rest);
    let mut journal = TestJournal::new(&stage.chain);
    stage.payments().pay(stage.request(&[plan], &[]), &mut journal).await.unwrap();
    stage.assert_charged(TOKENS).await;
}

async fn too_little_money(stage: Stage) {
    let mut plan = stage.plan(1, 1).await;
    plan.leaves[0].shares[0].amount = TOKENS;
    let needed = plan.total();
    let plans = [plan];
    match refused(&stage, stage.payments(), stage.request(&plans, &[])).await {
        PayFailure::NotEnoughTokens { needed: n, found } => {
            assert_eq!((n, found), (needed, TOKENS));
        }
        failure => panic!("{failure:?}"),
    }
    let poor = Wei(1_000);
    stage.control.set_coins(stage.payer.address(), poor).await;
    let plans = [stage.plan(1, 1).await];
    let estimate = stage
        .payments()
        .estimate(&plans, stage.payer.address(), CommitChoice::default())
        .await
        .unwrap();
    match refused(&stage, stage.payments(), stage.request(&plans, &[])).await {
        PayFailure::NotEnoughCoins { needed, found } => {
            assert_eq!((needed, found), (estimate.cost, poor));
        }
        failure => panic!("{failure:?}"),
    }
}

/// On the twin, since its fees stay as they are.
#[tokio::test]
async fn coins_that_just_suffice_are_enough() {
    let stage = Stage::memory().await;
    let plans = [stage.plan(1, 1).await];
    let payer = stage.payer.address();
    let payments = stage.payments();
    let estimate = payments.estimate(&plans, payer, CommitChoice::default()).await.unwrap();
    stage.control.set_coins(payer, Wei(estimate.cost.0 - 1)).await;
    match refused(&stage, stage.payments(), stage.request(&plans, &[])).await {
        PayFailure::NotEnoughCoins { needed, .. } => assert_eq!(needed, estimate.cost),
        failure => panic!("{failure:?}"),
    }
    stage.control.set_coins(payer, estimate.cost).await;
    let mut journal = TestJournal::new(&stage.chain);
    payments.pay(stage.request(&plans, &[]), &mut journal).await.unwrap();
    stage.assert_charged(Atto(LEAF_COST)).await;
}

/// It is refused for good when a server has said so three times, and not when one is busy.
#[tokio::test]
async fn a_server_that_is_busy_does_not_refuse() {
    let stage = Stage::memory().await;
    let Control::Memory { chain, .. } = &stage.control else { panic!("not in memory") };
    let plans = [stage.plan(1, 1).await];
    let mut sendings = 0;
    chain.set_faults(Some(Box::new(move |op| {
        sendings += u32::from(op == ChainOp::SendRaw);
        let error = match (op, sendings) {
            (ChainOp::SendRaw, 2..=5) => ChainError::RateLimited,
            (ChainOp::SendRaw, 6..=7) => {
                ChainError::Unexpected { method: "send", detail: "no".to_owned() }
            }
            _ => return None,
        };
        Some(ChainFault::Refuse(error))
    })));
    let mut journal = TestJournal::new(&stage.chain);
    stage.payments().pay(stage.request(&plans, &[]), &mut journal).await.unwrap();
    assert_eq!((journal.signed.len(), stage.chain.sendings()), (2, 8));
    stage.assert_charged(Atto(LEAF_COST)).await;
}

async fn over_a_cap(stage: Stage) {
    let plans = [stage.plan(1, 2).await, stage.plan(2, 1).await];
    let cap = Atto(3 * LEAF_COST - 1);
    let caps = Caps { storage_cost: Some(cap), ..Caps::default() };
    let request = PayRequest { caps, ..stage.request(&plans, &[]) };
    match refused(&stage, stage.payments(), request).await {
        PayFailure::OverCost { cost, cap: named } => {
            assert_eq!((cost, named), (Atto(3 * LEAF_COST), cap));
        }
        failure => panic!("{failure:?}"),
    }
    let estimate = stage
        .payments()
        .estimate(&plans, stage.payer.address(), CommitChoice::default())
        .await
        .unwrap();
    let cap = Wei(estimate.cost.0 - 1);
    let caps = Caps { gas_cost: Some(cap), ..Caps::default() };
    let request = PayRequest { caps, ..stage.request(&plans, &[]) };
    match refused(&stage, stage.payments(), request).await {
        PayFailure::OverGasCost { cost, cap: named } => {
            assert_eq!((cost, named), (estimate.cost, cap));
        }
        failure => panic!("{failure:?}"),
    }
    // Exactly at both caps it is paid, and gas stays below its cap.
    let caps = Caps { storage_cost: Some(Atto(3 * LEAF_COST)), gas_cost: Some(estimate.cost) };
    let request = PayRequest { caps, ..stage.request(&plans, &[]) };
    let mut journal = TestJournal::new(&stage.chain);
    let paid = stage.payments().pay(request, &mut journal).await.unwrap();
    assert!(paid.spend.gas_cost <= estimate.cost, "{paid:?} {estimate:?}");
}

async fn a_wallet_that_is_locked(stage: Stage) {
    let plans = [stage.plan(1, 1).await];
    let name = format!("31337-{}.lock", stage.payer.address());
    let lock = stage.locks.lock(name.as_ref()).unwrap();
    let failure = refused(&stage, stage.payments(), stage.request(&plans, &[])).await;
    assert_eq!(failure.retry(), Retry::Backoff);
    match failure {
        PayFailure::Locked { wallet } => assert_eq!(wallet, stage.payer.address()),
        failure => panic!("{failure:?}"),
    }
    drop(lock);
    let mut journal = TestJournal::new(&stage.chain);
    stage.payments().pay(stage.request(&plans, &[]), &mut journal).await.unwrap();
    // It is free again afterwards.
    let lock: Arc<dyn Disk> = Arc::clone(&stage.locks);
    drop(lock.lock(name.as_ref()).unwrap());
}

on_both_chains!(
    the_wrong_chain,
    no_vault_or_one_of_another_token,
    plans_of_others,
    plans_that_the_vault_would_refuse,
    batches_that_the_vault_would_refuse,
    the_last_token_can_be_spent,
    too_little_money,
    over_a_cap,
    a_wallet_that_is_locked,
);
