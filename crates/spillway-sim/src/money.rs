//! What becomes of the money of batches: draws are settled, the rest comes back.

use std::{collections::BTreeMap, time::Duration};

use futures::FutureExt;
use spillway_client::{SettleOptions, refund, settle};
use spillway_disk::Disk;
use spillway_pay::{At, Chain, Wallet};
use spillway_types::{Atto, BatchTerms, DrawSet, PaymentId, Wei};

use crate::{
    End, Promise, Strike, Violation,
    chain::VAULT,
    oracle::Oracle,
    world::{DataDir, World},
};

/// Whoever settles, with coins for gas.
const SETTLER: [u8; 32] = [9; 32];

/// Time passes until draws are due; somebody settles what the nodes have won; a month later the
/// payer asks back what nobody claimed.
pub(crate) async fn settle_and_refund(
    world: &World,
    oracle: &mut Oracle,
    dirs: &[DataDir],
) -> Result<(), Violation> {
    let batches: Vec<(usize, PaymentId, BatchTerms)> = (0..)
        .zip(dirs)
        .flat_map(|(at, dir)| oracle.batches(world, dir).into_iter().map(move |b| (at, b)))
        .filter_map(|(at, (payment, plan))| Some((at, payment, plan.batch_terms()?)))
        .collect();
    if batches.is_empty() {
        return Ok(());
    }
    let settler = Wallet::from_bytes(&SETTLER).expect("invariant: a good key");
    world.sky.chain().set_coins(settler.address(), Wei(1_000_000_000_000_000_000_000));
    let windows = world.sky.windows();
    let latest = batches.iter().map(|(_, _, terms)| terms.upload_by).max().unwrap_or(world.now());
    // Two days later the seed is certainly known, and final.
    let drawn = windows.draw_time(latest).saturating_add(Duration::from_hours(48));
    world.wait(drawn.since(world.now())).await;
    for member in &world.members {
        member.tend().await;
    }
    settle_all(world, &dirs[0], &settler).await?;
    oracle.check(world, dirs)?;
    let over = windows.claim_end(latest).saturating_add(Duration::from_hours(1));
    world.wait(over.since(world.now())).await;
    for (at, dir) in dirs.iter().enumerate() {
        let here = batches.iter().filter(|(of, _, _)| *of == at);
        let here: Vec<(PaymentId, BatchTerms)> = here.map(|(_, id, terms)| (*id, *terms)).collect();
        refund_all(world, oracle, (dir, &here), &settler).await?;
    }
    oracle.check(world, dirs)
}

async fn settle_all(world: &World, dir: &DataDir, settler: &Wallet) -> Result<(), Violation> {
    world.fate.count(Strike::Settle);
    let life = dir.machine.start(End::Natural, None, &world.fate);
    let process = world.process(dir, life, false);
    let from = world.members.iter().map(|member| member.peer()).collect();
    let options = SettleOptions { from, ..SettleOptions::default() };
    let peers = world.peers(&process.life);
    let settled = settle(peers.as_ref(), &process.payments, settler, options).await;
    drop(process);
    dir.machine.forget_lives();
    settled.map(|_| ()).map_err(|error| {
        Violation::new(Promise::Finishes, "draws are settled in peace", format!("{error:?}"))
    })
}

fn drawn(world: &World, payment: PaymentId) -> DrawSet {
    let record = world.sky.chain().record(VAULT, payment, At::Depth(0)).now_or_never();
    let record = record.and_then(Result::ok);
    record.expect("invariant: the chain itself answers at once").settled
}

async fn refund_all(
    world: &World,
    oracle: &mut Oracle,
    (dir, batches): (&DataDir, &[(PaymentId, BatchTerms)]),
    settler: &Wallet,
) -> Result<(), Violation> {
    world.fate.count(Strike::Refund);
    let before: BTreeMap<PaymentId, DrawSet> =
        batches.iter().map(|(payment, _)| (*payment, drawn(world, *payment))).collect();
    let life = dir.machine.start(End::Natural, None, &world.fate);
    let process = world.process(dir, life.clone(), false);
    let data: std::sync::Arc<dyn Disk> = std::sync::Arc::new(life.disk());
    let report = refund(&process.payments, settler, &data, None).await;
    drop(process);
    dir.machine.forget_lives();
    let report = report.map_err(|error| {
        let found = format!("{error:?}");
        Violation::new(Promise::Finishes, "what nobody claimed comes back in peace", found)
    })?;
    let mut sum = Atto::ZERO;
    for (payment, terms) in batches {
        let (then, now) = (before[payment], drawn(world, *payment));
        let came = (0..terms.draws).filter(|&draw| !then.contains(draw) && now.contains(draw));
        let came = came.map(|draw| terms.prize(draw).saturating_add(terms.tip)).sum();
        oracle.note_refund(*payment, came);
        sum = sum.saturating_add(came);
    }
    if report.amount() == sum {
        return Ok(());
    }
    let found = format!("{} is reported", report.amount());
    Err(Violation::new(Promise::I6, format!("{sum} that came back is reported"), found))
}
