//! What is said of gas before paying, against what the chain takes.

use spillway_pay::{Caps, Chain, CommitChoice, PayRequest, Plan};
use spillway_types::{Atto, RewardAddress, Wei};

use crate::{
    groups::call_of,
    on_both_chains,
    support::{Control, Stage, TestJournal, batch_mode},
};

/// Not all can be asked for; most likely those are known that are paid most often.
#[tokio::test]
async fn of_many_payees_those_are_asked_for_that_are_paid_most_often() {
    let stage = Stage::memory().await;
    let often = RewardAddress([1; 20]);
    let mut many = stage.plan(1, 20).await;
    for (index, leaf) in (0..).zip(&mut many.leaves) {
        leaf.shares[0].payee = often;
        for (place, share) in (0..).zip(&mut leaf.shares[1..]) {
            share.payee = RewardAddress([2 + index * 4 + place; 20]);
        }
    }
    let plans = [many];
    let (payments, payer) = (stage.payments(), stage.payer.address());
    let pay = async |payee: Option<RewardAddress>| {
        let mut plan = stage.plan(2 + u8::from(payee.is_some()), 1).await;
        if let Some(payee) = payee {
            plan.leaves[0].shares.iter_mut().for_each(|share| share.payee = payee);
        }
        let mut journal = TestJournal::new(&stage.chain);
        payments.pay(stage.request(&[plan], &[]), &mut journal).await.unwrap();
        payments.estimate(&plans, payer, CommitChoice::default()).await.unwrap().gas
    };
    // The first fills the vault with what is others'.
    let (before, after) = (pay(None).await, pay(Some(often)).await);
    assert!(after + 10_000 < before, "{before} {after}");
}

/// Twenty payees, five a leaf.
async fn plan(stage: &Stage, name: u8, leaves: u8) -> spillway_pay::Plan {
    let mut plan = stage.plan(name, leaves).await;
    for (index, leaf) in (0..).zip(&mut plan.leaves) {
        for (place, share) in (0..).zip(&mut leaf.shares) {
            share.payee = RewardAddress([1 + (index % 20 * 3 + place * 7) % 20; 20]);
            // An amount of real size, for the cost of its call data.
            share.amount = Atto(1_000 + u128::from(index));
        }
    }
    plan
}

async fn the_estimate_is_at_least_what_is_used_and_not_far_above(stage: Stage) {
    for (name, leaves) in [(1, 1), (2, 16), (3, 100), (4, 16)] {
        let plans = [plan(&stage, name, leaves).await];
        let payments = stage.payments();
        let estimate =
            payments.estimate(&plans, stage.payer.address(), CommitChoice::Together).await.unwrap();
        let mut journal = TestJournal::new(&stage.chain);
        let paid = payments.pay(stage.request(&plans, &[]), &mut journal).await.unwrap();
        let used = paid.spend.gas_used;
        assert!(estimate.gas >= used, "{leaves} leaves: {} < {used}", estimate.gas);
        assert!(estimate.gas * 100 <= used * 115, "{leaves} leaves: {} {used}", estimate.gas);
        assert_eq!(estimate.transactions, 2);
        assert!(estimate.approval_gas > 20_000);
        assert!(estimate.cost >= paid.spend.gas_cost);
        let after =
            payments.estimate(&plans, stage.payer.address(), CommitChoice::Together).await.unwrap();
        assert_eq!((after.gas, after.transactions), (0, 0), "it is paid");
    }
}

/// A batch of real amounts: its call data costs what such words cost.
async fn batch(stage: &Stage, name: u8) -> Plan {
    let mut plan = plan(stage, name, 16).await;
    plan.mode = batch_mode(&plan.leaves, 1_000_003, 16);
    plan
}

async fn batches_take_what_is_said_whatever_they_hold(stage: Stage) {
    let payments = stage.payments();
    let payer = stage.payer.address();
    let mut name = 0;
    // The first pays for the vault's own slot in the token, too.
    for (count, ceiling, commit) in [
        (1, 95_000, CommitChoice::Together),
        (1, 75_000, CommitChoice::Together),
        (2, 75_000 + 30_000, CommitChoice::Together),
        (5, 75_000 + 4 * 30_000, CommitChoice::Together),
        (3, 3 * 75_000, CommitChoice::OneByOne),
    ] {
        let hands = stage.hands(&stage.deployer);
        hands.send_tokens(stage.deployed.token, payer, Atto(count * 17_000_000)).await.unwrap();
        let mut plans: Vec<Plan> = Vec::new();
        for _ in 0..count {
            name += 1;
            plans.push(batch(&stage, name).await);
        }
        let valid_until = plans[0].valid_until;
        for plan in &mut plans {
            plan.valid_until = valid_until;
        }
        let estimate = payments.estimate(&plans, payer, commit).await.unwrap();
        let mut journal = TestJournal::new(&stage.chain);
        let request = PayRequest { commit, ..stage.request(&plans, &[]) };
        let paid = payments.pay(request, &mut journal).await.unwrap();
        let used = paid.spend.gas_used;
        assert!(estimate.gas >= used, "{count}: {} < {used}", estimate.gas);
        assert!(estimate.gas * 100 <= used * 115, "{count}: {} {used}", estimate.gas);
        assert_eq!(estimate.transactions as usize, journal.signed.len());
        let approval = stage.chain.receipt(journal.signed[0].hash).await.unwrap().unwrap();
        let vault = used - approval.gas_used;
        assert!(vault <= ceiling, "{count}: {vault}");
    }
}

async fn every_gas_limit_suffices_with_room(stage: Stage) {
    let plans = [plan(&stage, 1, 100).await];
    let mut journal = TestJournal::new(&stage.chain);
    stage.payments().pay(stage.request(&plans, &[]), &mut journal).await.unwrap();
    for tx in &journal.signed {
        let used = stage.chain.receipt(tx.hash).await.unwrap().unwrap().gas_used;
        let room = used + used / 10..2 * used;
        assert!(room.contains(&tx.gas_limit), "{} {used}", tx.gas_limit);
    }
}

/// Fees double between the checks and the signature, and what there is buys exactly the gas that is
/// needed then, without room.
#[tokio::test]
async fn coins_or_a_cap_that_just_suffice_pay() {
    for is_cap in [false, true] {
        let stage = Stage::memory().await;
        let Control::Memory { chain, .. } = &stage.control else { panic!("memory") };
        let plans = [plan(&stage, 1, 2).await];
        let payer = stage.payer.address();
        let mut journal = TestJournal::new(&stage.chain);
        journal.crash_at = Some(1);
        let payments = stage.payments();
        payments.pay(stage.request(&plans, &[]), &mut journal).await.unwrap_err();
        let gas = stage.chain.estimate_gas(&call_of(&journal.signed[1], payer)).await.unwrap();
        let fees = stage.chain.fees().await.unwrap();
        let price = 2 * (fees.base.0 + fees.priority.0);
        let enough = Wei(price * u128::from(gas));
        let caps = Caps { gas_cost: is_cap.then_some(enough), ..Caps::default() };
        if !is_cap {
            stage.control.set_coins(payer, enough).await;
        }
        // It is estimated anew after each pause.
        stage.chain.revert(stage.deployed.vault, 3);
        let rise = async {
            stage.chain.wait_for_estimates(1).await;
            chain.set_base_fee(Wei(price - fees.priority.0));
        };
        let request = PayRequest { caps, ..stage.request(&plans, &[]) };
        let mut journal = TestJournal::new(&stage.chain);
        let ((), paid) = tokio::join!(rise, payments.pay(request, &mut journal));
        paid.unwrap();
        let [signed] = &journal.signed[..] else { panic!("{:?}", journal.signed) };
        assert_eq!((signed.gas_limit, signed.max_fee), (gas, Wei(price)));
    }
}

on_both_chains!(
    the_estimate_is_at_least_what_is_used_and_not_far_above,
    batches_take_what_is_said_whatever_they_hold,
    every_gas_limit_suffices_with_room,
);
