//! What must not lose a win: full tables, wrong answers of the chain, what fails for a while, and
//! whoever goes away in between.

use std::{
    panic::AssertUnwindSafe,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use bytes::Bytes;
use futures::FutureExt;
use spillway_disk::{DiskOp, Fault, FaultPlan, Faults, MemoryDisk};
use spillway_node::{Batches, BatchesOptions, ChainClock, Follower, limits::WALK_RETRY};
use spillway_store::ChunkStore;
use spillway_types::Refusal;

use crate::{
    fake_chain::{WINDOWS, boundary},
    slow_store::SlowStore,
    wins::{SEED, expected, many_batches, on_disk, stored_batch, told, upload_by},
    world::{World, domain, rebatch},
};

const EVERY: Duration = Duration::from_secs(12);

fn follower<S: ChunkStore + 'static>(world: &World<S>) -> Follower {
    let clock = ChainClock::new(Arc::new(world.clock.clone()));
    Follower::start(world.batches.clone(), world.store.clone(), clock, EVERY)
}

/// Many polls.
async fn time_passes<S: ChunkStore + 'static>(world: &World<S>, step: Duration) {
    for _ in 0..1_000 {
        world.clock.advance(step);
        tokio::task::yield_now().await;
    }
}

/// Leaves that the index had no room for are found when others were drawn.
#[tokio::test]
async fn a_full_index_loses_no_win() {
    let mut world = World::new();
    world.limits.indexed_leaves = 2;
    world.restart(|_| {});
    let deals = stored_batch(&world, &[1, 2, 3, 4, 5], 5, |terms| terms.draws = 50).await;
    world.chain.post_seed(upload_by(&deals), SEED);
    world.follow().await;
    assert!(world.batches.wins() < 50);
    let follower = follower(&world);
    // Each look at the head makes room for the next leaves; how many it takes is no matter.
    time_passes(&world, EVERY).await;
    let wins = expected(&deals, SEED);
    assert_eq!((wins.len(), told(&world).await), (50, wins));
    follower.shutdown().await;
}

/// Further leaves that the index had no room for are found when others were drawn, though no chunk's
/// evidence has them; also after a start.
#[tokio::test]
async fn a_full_index_loses_no_further_proof() {
    for restarts in [false, true] {
        let mut world = World::new();
        world.limits.indexed_leaves = 2;
        world.restart(|_| {});
        let deals = many_batches(&world, 7, Duration::from_secs(1)).await;
        if restarts {
            world.restart(|_| {});
        }
        world.chain.post_seed(upload_by(&deals), SEED);
        world.follow().await;
        assert_eq!(world.batches.wins(), 2);
        let follower = follower(&world);
        time_passes(&world, EVERY).await;
        assert_eq!(told(&world).await, expected(&deals, SEED));
        follower.shutdown().await;
    }
}

/// When the index is full, those are waited for that pay the node the most.
#[tokio::test]
async fn leaves_that_pay_the_node_more_take_the_place_of_others() {
    let mut world = World::new();
    world.limits.indexed_leaves = 1;
    world.restart(|_| {});
    let low = stored_batch(&world, &[1], 1, |_| {}).await;
    let mut high = world.deal_of(&[2]).await;
    high[0].put.leaf.shares[0].amount.0 += 1;
    rebatch(&mut high, |_| {});
    world.pay(&high[0]);
    world.put(&high[0]).await.unwrap();
    world.chain.post_seed(upload_by(&low), SEED);
    world.follow().await;
    assert_eq!(told(&world).await, expected(&high, SEED));
}

/// A body that is not the chunk costs nothing, so it takes no place either.
#[tokio::test]
async fn what_is_not_stored_takes_no_place_in_the_index() {
    let mut world = World::new();
    world.limits.indexed_leaves = 1;
    world.restart(|_| {});
    let wrong = world.paid_batch(1, |_| {}).await;
    let body = Bytes::from(vec![0; wrong.chunk.len()]);
    let refused = world.put_body(&wrong, body).await;
    assert!(matches!(refused, Err(Refusal::WrongHash { .. })), "{refused:?}");
    let good = stored_batch(&world, &[2], 1, |_| {}).await;
    world.chain.post_seed(upload_by(&good), SEED);
    world.follow().await;
    assert_eq!(told(&world).await, expected(&good, SEED));
}

/// One chunk twice in a batch is two leaves, each of which wins.
#[tokio::test]
async fn a_leaf_that_is_twice_in_a_batch_wins_twice() {
    for restarts in [false, true] {
        let mut world = World::new();
        let deals = stored_batch(&world, &[1, 1], 2, |terms| terms.draws = 10).await;
        // Whichever comes again.
        for deal in &deals {
            world.put(deal).await.unwrap();
        }
        if restarts {
            world.restart(|_| {});
            world.batches.walk(world.store.as_ref()).await;
        }
        world.chain.post_seed(upload_by(&deals), SEED);
        world.follow().await;
        let wins = expected(&deals, SEED);
        assert_eq!((wins.len(), told(&world).await), (10, wins));
    }
}

/// A sender who goes away while the store writes leaves a chunk whose draw is waited for.
#[tokio::test]
async fn a_put_whose_sender_goes_away_wins() {
    let world = World::with(SlowStore::new(), |_| {});
    let deals = vec![world.paid_batch(1, |_| {}).await];
    let mut put = Box::pin(world.put(&deals[0]));
    let mut waiting = world.store.waiting.subscribe();
    tokio::select! {
        biased;
        _ = &mut put => panic!("the store waits"),
        seen = waiting.wait_for(|waiting| *waiting == 1) => drop(seen.unwrap()),
    }
    drop(put);
    world.store.open.send_replace(true);
    assert!(world.node.drain(Duration::from_mins(1)).await);
    assert!(world.store.has(deals[0].put.leaf.address));
    world.chain.post_seed(upload_by(&deals), SEED);
    world.follow().await;
    assert_eq!(world.batches.wins(), 1);
}

/// However long the disk takes, a receipt is not of a time after the window.
#[tokio::test]
async fn a_receipt_is_of_the_time_that_was_checked() {
    let world = World::with(SlowStore::new(), |_| {});
    let deal = world.paid_batch(1, |_| {}).await;
    let until = deal.put.proof.upload_by();
    let late = async {
        world.store.waiting.subscribe().wait_for(|waiting| *waiting == 1).await.unwrap();
        world.clock.set(until.saturating_add(Duration::from_secs(1)));
        world.store.open.send_replace(true);
    };
    let (receipt, ()) = tokio::join!(world.put(&deal), late);
    assert!(receipt.unwrap().body.time <= until);
}

/// One answer of another chain deletes nothing, and what it hid is found again.
#[tokio::test]
async fn a_wrong_time_of_the_chain_deletes_nothing() {
    let mut world = World::new();
    world.put(&world.paid_deal(1).await).await.unwrap();
    let mut deals = stored_batch(&world, &[1], 1, |_| {}).await;
    deals.extend(stored_batch(&world, &[2], 1, |_| {}).await);
    let wins = expected(&deals, SEED);
    world.chain.post_seed(upload_by(&deals), SEED);
    let far = WINDOWS.claim_end(upload_by(&deals)).saturating_add(Duration::from_hours(1));
    // A start with it, which leaves everything out.
    world.chain.finalize(Some(far));
    world.restart(|_| {});
    let follower = follower(&world);
    world.batches.walk(world.store.as_ref()).await;
    world.batches.tend(world.store.as_ref()).await;
    assert_eq!(told(&world).await, []);
    world.chain.finalize(None);
    time_passes(&world, EVERY).await;
    assert_eq!(told(&world).await, wins);
    follower.shutdown().await;
    // A newest block of any time, and a final one once.
    world.chain.finalize(Some(boundary(upload_by(&deals))));
    world.chain.mine(far);
    world.follow().await;
    world.follow().await;
    assert_eq!(told(&world).await, wins);
    world.chain.finalize(Some(far));
    world.follow().await;
    assert_eq!((told(&world).await, on_disk(&world.disk)), (wins.clone(), wins));
    world.follow().await;
    assert_eq!((told(&world).await, on_disk(&world.disk)), (Vec::new(), Vec::new()));
}

/// A look that is given up in the middle of a batch is made up for by the next.
#[tokio::test]
async fn a_dropped_look_loses_nothing() {
    let world = World::new();
    let deals = stored_batch(&world, &[1], 1, |terms| terms.draws = 3).await;
    world.chain.post_seed(upload_by(&deals), SEED);
    world.batches.hear().await.unwrap();
    world.chain.hold(true);
    assert_eq!(world.batches.tend(world.store.as_ref()).now_or_never(), None);
    assert_eq!(told(&world).await, []);
    world.chain.hold(false);
    world.batches.tend(world.store.as_ref()).await;
    assert_eq!(told(&world).await, expected(&deals, SEED));
}

/// What cannot be read while the store is walked is read when the disk answers again.
#[tokio::test]
async fn evidence_that_cannot_be_read_for_a_while_is_read_later() {
    let mut world = World::with(SlowStore::new(), |_| {});
    world.store.open.send_replace(true);
    let deals = stored_batch(&world, &[1, 2], 2, |terms| terms.draws = 3).await;
    world.restart(|_| {});
    world.chain.post_seed(upload_by(&deals), SEED);
    world.store.fails.store(true, Ordering::Relaxed);
    let follower = follower(&world);
    time_passes(&world, EVERY).await;
    assert_eq!(world.batches.wins(), 0);
    world.store.fails.store(false, Ordering::Relaxed);
    time_passes(&world, WALK_RETRY).await;
    assert_eq!(told(&world).await, expected(&deals, SEED));
    follower.shutdown().await;
}

/// The same of the files that a start reads: each reading fails once.
#[tokio::test]
async fn files_that_cannot_be_read_at_the_start_are_read_later() {
    let mut unread = 0;
    for at in 1.. {
        let faults = Arc::new(Faults::default());
        let mut world = World::new();
        world.disk = MemoryDisk::new().with_faults(faults.clone());
        world.restart(|_| {});
        world.put(&world.paid_deal(1).await).await.unwrap();
        let mut deals = stored_batch(&world, &[1], 1, |_| {}).await;
        deals.extend(stored_batch(&world, &[1], 1, |terms| terms.tip.0 = 1).await);
        faults.arm(FaultPlan::once(at, Fault::Io).only(DiskOp::Read));
        let opened = Batches::open(BatchesOptions {
            disk: Arc::new(world.disk.clone()),
            chain: world.chain.clone(),
            domain: domain(),
            terms: world.terms,
            clock: ChainClock::new(Arc::new(world.clock.clone())),
        });
        let opened = opened.await;
        let reached = faults.count() >= at;
        faults.disarm();
        // A start that fails says so.
        if let Ok(batches) = opened {
            world.batches = batches;
            world.chain.post_seed(upload_by(&deals), SEED);
            world.follow().await;
            unread += usize::from(world.batches.wins() < 2);
            assert!(world.batches.walk(world.store.as_ref()).await);
            world.follow().await;
            assert_eq!(world.batches.wins(), 2, "step {at}");
            let mut noted = on_disk(&world.disk);
            noted.sort_by_key(|win| (win.terms.id(&domain()), win.draw));
            assert_eq!(noted, expected(&deals, SEED));
        }
        if !reached {
            break;
        }
    }
    assert_eq!(unread, 2);
}

/// A settlement that a reorganisation takes back is no reason to forget a win; one that is final is
/// a reason not to note it again.
#[tokio::test]
async fn only_what_is_settled_for_good_is_dropped() {
    let mut world = World::new();
    let deals = stored_batch(&world, &[1], 1, |terms| terms.draws = 2).await;
    world.chain.post_seed(upload_by(&deals), SEED);
    world.follow().await;
    world.chain.hold_finality(true);
    world.chain.settle(deals[0].payment(), [1]);
    world.follow().await;
    assert_eq!(told(&world).await, expected(&deals, SEED));
    world.chain.hold_finality(false);
    world.follow().await;
    assert_eq!(told(&world).await, expected(&deals, SEED)[..1]);
    world.chain.settle(deals[0].payment(), [0]);
    world.follow().await;
    // Nothing is written for it.
    let faults = Arc::new(Faults::default());
    world.disk = world.disk.clone().with_faults(faults.clone());
    world.restart(|_| {});
    world.batches.walk(world.store.as_ref()).await;
    let before = faults.count();
    world.follow().await;
    assert_eq!((told(&world).await, faults.count()), (Vec::new(), before));
}

/// A question that always fails does not keep the others from being asked.
#[tokio::test]
async fn one_failing_question_is_not_in_the_way_of_the_others() {
    let world = World::with_terms(|terms| terms.max_window = Duration::from_hours(24 * 365));
    let deals = many_batches(&world, 3, Duration::from_hours(24)).await;
    for deal in &deals {
        world.chain.post_seed(deal.put.proof.upload_by(), SEED);
    }
    world.chain.fail_seed(upload_by(&deals));
    world.follow().await;
    world.follow().await;
    assert_eq!(told(&world).await, expected(&deals[1..], SEED));
}

/// A task that panics goes on, and the shutdown says that it did.
#[tokio::test]
async fn a_task_that_panics_goes_on() {
    let world = World::new();
    let deals = stored_batch(&world, &[1], 1, |_| {}).await;
    world.chain.post_seed(upload_by(&deals), SEED);
    world.batches.hear().await.unwrap();
    world.chain.panic_once();
    let follower = follower(&world);
    time_passes(&world, EVERY).await;
    assert_eq!(told(&world).await, expected(&deals, SEED));
    assert!(AssertUnwindSafe(follower.shutdown()).catch_unwind().await.is_err());
}
