//! Draws that the node's chunks have won: noted, shown, kept through crashes, and dropped.

use std::{path::Path, sync::Arc, time::Duration};

use spillway_disk::{Disk, Fault, FaultPlan, Faults, MemoryDisk, Overwrite, Survival};
use spillway_net::Serve;
use spillway_node::{
    limits::{MAX_SEED_QUESTIONS, MAX_SETTLED_QUESTIONS, WINS_PAGES_BURST, WINS_PAGES_PER_SECOND},
    read_wins,
};
use spillway_pay::{ChainError, verify::batch_leaf};
use spillway_store::{ChunkStore, MemoryStore};
use spillway_types::{
    BatchProof, BatchTerms, PaymentId, PeerKey, Refusal, Seed, UnixTime, Win, WinsPage,
    WinsRequest, limits::MAX_WINS_ITEMS,
};

use crate::{
    fake_chain::{WINDOWS, boundary},
    world::{CAPACITY, CLIENT, Deal, World, domain},
};

pub(crate) const SEED: Seed = Seed([0x5e; 32]);

pub(crate) async fn page<S: ChunkStore + 'static>(
    world: &World<S>,
    after: Option<(PaymentId, u8)>,
) -> WinsPage {
    world.node.wins(CLIENT, WinsRequest { after }).await.page.unwrap()
}

/// All wins that the node tells, page by page.
pub(crate) async fn told<S: ChunkStore + 'static>(world: &World<S>) -> Vec<Win> {
    let mut wins: Vec<Win> = Vec::new();
    loop {
        let after = wins.last().map(|win| (win.terms.id(&domain()), win.draw));
        let next = page(world, after).await;
        assert!(next.wins.len() <= MAX_WINS_ITEMS && (next.more || wins.len() < 1_000));
        wins.extend(next.wins);
        if !next.more {
            return wins;
        }
    }
}

fn draws(wins: &[Win]) -> Vec<u8> {
    wins.iter().map(|win| win.draw).collect()
}

/// The wins of these puts' leaves, by the definition: each draw's point falls into the leaf's span.
pub(crate) fn expected(deals: &[Deal], seed: Seed) -> Vec<Win> {
    let mut wins = Vec::new();
    for deal in deals {
        let proof = deal.clone().batch().clone();
        let span = batch_leaf(&proof, &deal.put.leaf).unwrap();
        let BatchProof { terms, siblings } = proof;
        for draw in 0..terms.draws {
            if span.contains(terms.draw_point(seed, deal.payment(), draw)) {
                let (leaf, siblings) = (deal.put.leaf.clone(), siblings.clone());
                wins.push(Win { terms, draw, leaf, siblings });
            }
        }
    }
    wins.sort_by_key(|win| (win.terms.id(&domain()), win.draw));
    wins
}

/// A batch of these chunks, of which the node stores the first `stored`.
pub(crate) async fn stored_batch<S: ChunkStore + 'static>(
    world: &World<S>,
    numbers: &[u32],
    stored: usize,
    change: impl FnOnce(&mut BatchTerms),
) -> Vec<Deal> {
    let mut deals = world.batch_of(numbers, change).await;
    world.pay(&deals[0]);
    deals.truncate(stored);
    for deal in &deals {
        world.put(deal).await.unwrap();
    }
    deals
}

pub(crate) fn upload_by(deals: &[Deal]) -> UnixTime {
    deals[0].put.proof.upload_by()
}

/// What its directory says, in order.
pub(crate) fn on_disk(disk: &MemoryDisk) -> Vec<Win> {
    read_wins(disk).unwrap()
}

#[tokio::test]
async fn wins_are_noted_when_the_seed_is_known_and_not_before() {
    let world = World::new();
    let deals = stored_batch(&world, &[1, 2, 3, 4, 5, 6, 7, 8], 3, |terms| terms.draws = 40).await;
    let mut wins = expected(&deals, SEED);
    assert!((1..40).contains(&wins.len()), "{}", wins.len());
    // The draw time is over, and no seed later than that is known: nobody needs to be asked.
    world.chain.mine(boundary(upload_by(&deals)));
    world.chain.set_latest(UnixTime(boundary(upload_by(&deals)).0 - 1));
    world.follow().await;
    assert_eq!((world.chain.seeds_asked(), told(&world).await), (0, Vec::new()));
    // Later seeds are known, this one is not.
    world.chain.set_latest(boundary(upload_by(&deals)));
    world.follow().await;
    assert_eq!((world.chain.seeds_asked(), told(&world).await), (1, Vec::new()));
    world.chain.post_seed(upload_by(&deals), SEED);
    assert_eq!(told(&world).await, Vec::new());
    world.follow().await;
    assert_eq!(told(&world).await, wins);
    assert_eq!((world.batches.wins(), world.chain.seeds_asked()), (wins.len(), 2));
    // Durably, and nothing more is asked or written for it.
    assert_eq!(on_disk(&world.disk.crash(Survival::Nothing)), wins);
    world.follow().await;
    assert_eq!(world.chain.seeds_asked(), 2);
    wins.truncate(1);
    let first = (deals[0].payment(), wins[0].draw);
    assert_eq!(page(&world, Some(first)).await.wins, told(&world).await[1..]);
}

#[tokio::test]
async fn a_node_without_leaves_that_won_notes_nothing() {
    let world = World::new();
    // The others have all draws of this seed.
    for seed in (0..=u8::MAX).map(|byte| Seed([byte; 32])) {
        let deals = world.batch_of(&[1, 2, 3, 4, 5, 6, 7, 8], |_| {}).await;
        if expected(&deals[..1], seed).is_empty() {
            world.pay(&deals[0]);
            world.put(&deals[0]).await.unwrap();
            world.chain.post_seed(upload_by(&deals), seed);
            world.follow().await;
            assert_eq!((told(&world).await, on_disk(&world.disk)), (Vec::new(), Vec::new()));
            return;
        }
    }
    panic!("a draw is never won by one leaf of eight with every seed");
}

#[tokio::test]
async fn further_proofs_win_too() {
    let world = World::new();
    world.put(&world.paid_deal(1).await).await.unwrap();
    let deals = stored_batch(&world, &[1, 2], 1, |terms| terms.draws = 9).await;
    let wins = expected(&deals, SEED);
    assert!((1..9).contains(&wins.len()), "{}", wins.len());
    world.chain.post_seed(upload_by(&deals), SEED);
    world.follow().await;
    assert_eq!(told(&world).await, wins);
}

#[tokio::test]
async fn a_restart_finds_proofs_and_wins_again() {
    let mut world = World::new();
    world.put(&world.paid_deal(1).await).await.unwrap();
    let further = stored_batch(&world, &[1], 1, |terms| terms.draws = 2).await;
    let stored = stored_batch(&world, &[2, 3, 4], 2, |terms| terms.draws = 20).await;
    let mut deals = further.clone();
    deals.extend(stored);
    // The power goes before the seed is there.
    world.disk = world.disk.crash(Survival::Nothing);
    world.restart(|_| {});
    world.chain.post_seed(upload_by(&deals), SEED);
    world.follow().await;
    // Further proofs are there at once, the others when the store was walked.
    assert_eq!(told(&world).await, expected(&further, SEED));
    world.batches.walk(world.store.as_ref()).await;
    world.follow().await;
    let wins = expected(&deals, SEED);
    assert_eq!(told(&world).await, wins);
    // It goes again, and all chunks are lost: what was noted stays.
    world.disk = world.disk.crash(Survival::Nothing);
    world.store = Arc::new(MemoryStore::new(CAPACITY));
    world.restart(|_| {});
    assert_eq!(told(&world).await, wins);
    world.batches.walk(world.store.as_ref()).await;
    world.follow().await;
    assert_eq!((told(&world).await, on_disk(&world.disk)), (wins.clone(), wins));
}

/// A chunk that is lost before the draw takes its proof along.
#[tokio::test]
async fn a_lost_chunk_wins_nothing() {
    let mut world = World::new();
    let deals = stored_batch(&world, &[1], 1, |terms| terms.draws = 2).await;
    world.store = Arc::new(MemoryStore::new(CAPACITY));
    world.chain.post_seed(upload_by(&deals), SEED);
    world.follow().await;
    assert_eq!(told(&world).await, Vec::new());
}

/// Every step of the disk fails once: what was told is on the disk, and the rest is found again.
#[tokio::test]
async fn a_failing_disk_loses_no_win() {
    let mut failed = 0;
    for at in 1.. {
        let faults = Arc::new(Faults::default());
        let mut world = World::new();
        world.disk = MemoryDisk::new().with_faults(faults.clone());
        world.restart(|_| {});
        world.put(&world.paid_deal(1).await).await.unwrap();
        let mut deals = stored_batch(&world, &[1], 1, |terms| terms.draws = 2).await;
        deals.extend(stored_batch(&world, &[2], 1, |terms| terms.draws = 2).await);
        let wins = expected(&deals, SEED);
        assert_eq!(wins.len(), 4);
        world.chain.post_seed(upload_by(&deals), SEED);
        faults.arm(FaultPlan::once(at, Fault::Io));
        world.follow().await;
        let reached = faults.count() >= at;
        faults.disarm();
        let noted = told(&world).await;
        let durable = on_disk(&world.disk.crash(Survival::Nothing));
        assert!(noted.iter().all(|win| durable.contains(win)));
        failed += usize::from(noted.len() < 4);
        world.follow().await;
        assert_eq!(told(&world).await, wins);
        // Or after a crash in that moment.
        world.disk = world.disk.crash(Survival::Nothing);
        world.restart(|_| {});
        world.batches.walk(world.store.as_ref()).await;
        world.follow().await;
        assert_eq!((told(&world).await, on_disk(&world.disk)), (wins.clone(), wins));
        if !reached {
            break;
        }
    }
    assert!(failed >= 8, "{failed} steps failed");
}

#[tokio::test]
async fn a_chain_that_is_out_of_reach_is_asked_again() {
    let world = World::new();
    let deals = stored_batch(&world, &[1], 1, |_| {}).await;
    world.chain.post_seed(upload_by(&deals), SEED);
    world.batches.hear().await.unwrap();
    world.chain.fail(Some(ChainError::Behind));
    world.batches.tend(world.store.as_ref()).await;
    assert_eq!(told(&world).await, Vec::new());
    world.chain.fail(None);
    world.batches.tend(world.store.as_ref()).await;
    assert_eq!(told(&world).await, expected(&deals, SEED));
}

#[tokio::test]
async fn wins_are_dropped_when_their_claim_window_is_over() {
    let mut world = World::new();
    let deals = stored_batch(&world, &[1], 1, |terms| terms.draws = 3).await;
    world.chain.post_seed(upload_by(&deals), SEED);
    world.follow().await;
    let end = WINDOWS.claim_end(upload_by(&deals));
    world.chain.mine(end);
    world.chain.set_latest(end);
    world.follow().await;
    assert_eq!(told(&world).await.len(), 3);
    world.chain.mine(end.saturating_add(Duration::from_secs(1)));
    // Once more than one answer says so.
    world.follow().await;
    assert_eq!(told(&world).await.len(), 3);
    world.follow().await;
    assert_eq!((told(&world).await, on_disk(&world.disk)), (Vec::new(), Vec::new()));
    // The chunk and its proof are there, and win nothing any more.
    let asked = world.chain.seeds_asked();
    world.restart(|_| {});
    world.batches.walk(world.store.as_ref()).await;
    world.follow().await;
    assert_eq!((told(&world).await, world.chain.seeds_asked()), (Vec::new(), asked));
}

#[tokio::test]
async fn wins_are_dropped_when_they_are_settled() {
    let mut world = World::new();
    let deals = stored_batch(&world, &[1], 1, |terms| terms.draws = 5).await;
    let other = stored_batch(&world, &[2], 1, |terms| terms.draws = 2).await;
    world.chain.post_seed(upload_by(&deals), SEED);
    world.follow().await;
    assert_eq!(told(&world).await.len(), 7);
    world.chain.settle(deals[0].payment(), [0, 3]);
    // Out of reach: nothing is believed to be settled.
    world.chain.fail(Some(ChainError::Behind));
    world.batches.tend(world.store.as_ref()).await;
    assert_eq!(told(&world).await.len(), 7);
    world.chain.fail(None);
    let asked = world.chain.asked();
    world.follow().await;
    // One question a batch.
    assert_eq!(world.chain.asked(), asked + 2);
    let of = |wins: &[Win], deals: &[Deal]| {
        let own = |win: &&Win| win.terms.id(&domain()) == deals[0].payment();
        draws(&wins.iter().filter(own).cloned().collect::<Vec<_>>())
    };
    let wins = told(&world).await;
    assert_eq!((of(&wins, &deals), of(&wins, &other)), (vec![1, 2, 4], vec![0, 1]));
    assert_eq!(on_disk(&world.disk), wins);
    // A walk finds settled draws again, and they are not noted.
    world.restart(|_| {});
    world.batches.walk(world.store.as_ref()).await;
    world.follow().await;
    assert_eq!(told(&world).await, wins);
    world.chain.settle(deals[0].payment(), 0..5);
    world.chain.settle(other[0].payment(), 0..2);
    world.follow().await;
    assert_eq!((told(&world).await, on_disk(&world.disk)), (Vec::new(), Vec::new()));
    let asked = world.chain.asked();
    world.follow().await;
    assert_eq!(world.chain.asked(), asked);
}

/// A further leaf of many batches.
pub(crate) async fn many_batches<S: ChunkStore + 'static>(
    world: &World<S>,
    count: usize,
    apart: Duration,
) -> Vec<Deal> {
    let first = world.deal(1).await;
    world.pay(&first);
    world.put(&first).await.unwrap();
    let mut deals = Vec::new();
    for number in 0..u32::try_from(count).unwrap() {
        let later = apart * number;
        let change = |terms: &mut BatchTerms| {
            terms.upload_by = terms.upload_by.saturating_add(later);
            terms.tip.0 += u128::from(number);
        };
        deals.extend(stored_batch(world, &[1], 1, change).await);
    }
    deals
}

#[tokio::test]
async fn one_question_for_all_batches_of_an_epoch() {
    let world = World::new();
    let deals = many_batches(&world, 20, Duration::from_secs(1)).await;
    assert_eq!(boundary(upload_by(&deals)), boundary(upload_by(&deals[19..])));
    world.chain.post_seed(upload_by(&deals), SEED);
    world.follow().await;
    assert_eq!((told(&world).await.len(), world.chain.seeds_asked()), (20, 1));
}

/// However many epochs and batches there are, each look asks only so much, and all get their turn.
#[tokio::test]
async fn questions_are_limited_and_come_in_turn() {
    // As much as the window lets be: 13 epochs more.
    let world = World::with_terms(|terms| terms.max_window = Duration::from_hours(24 * 365));
    let count = MAX_SEED_QUESTIONS + 4;
    let deals = many_batches(&world, count, Duration::from_hours(24)).await;
    // Seeds of the first are never posted, those of the last four are.
    world.chain.set_latest(boundary(upload_by(&deals[count - 1..])));
    for deal in &deals[count - 4..] {
        world.chain.post_seed(deal.put.proof.upload_by(), SEED);
    }
    world.follow().await;
    assert_eq!((told(&world).await.len(), world.chain.seeds_asked()), (0, MAX_SEED_QUESTIONS));
    world.follow().await;
    assert_eq!((told(&world).await.len(), world.chain.seeds_asked()), (4, 2 * MAX_SEED_QUESTIONS));
    // The same for what is settled.
    for deal in &deals {
        world.chain.post_seed(deal.put.proof.upload_by(), SEED);
    }
    world.follow().await;
    world.follow().await;
    let noted = told(&world).await.len();
    assert_eq!(noted, count);
    for deal in &deals {
        world.chain.settle(deal.payment(), [0]);
    }
    let asked = world.chain.asked();
    world.follow().await;
    assert_eq!(world.chain.asked(), asked + MAX_SETTLED_QUESTIONS);
    assert_eq!(told(&world).await.len(), count - MAX_SETTLED_QUESTIONS);
    world.follow().await;
    assert_eq!(told(&world).await, Vec::new());
}

#[tokio::test]
async fn pages_follow_the_order_of_payment_and_draw() {
    let world = World::new();
    let mut deals = stored_batch(&world, &[1], 1, |terms| terms.draws = 200).await;
    deals.extend(stored_batch(&world, &[2], 1, |terms| terms.draws = 3).await);
    world.chain.post_seed(upload_by(&deals), SEED);
    world.follow().await;
    let wins = expected(&deals, SEED);
    assert_eq!((wins.len(), told(&world).await), (203, wins.clone()));
    assert_eq!(on_disk(&world.disk), wins);
    let keys: Vec<_> = wins.iter().map(|win| (win.terms.id(&domain()), win.draw)).collect();
    let first = page(&world, None).await;
    assert_eq!((first.wins.as_slice(), first.more), (&wins[..MAX_WINS_ITEMS], true));
    // The last page is full or not, and knows that nothing follows.
    let at = keys.len() - MAX_WINS_ITEMS;
    let last = page(&world, Some(keys[at - 1])).await;
    assert_eq!((last.wins.as_slice(), last.more), (&wins[at..], false));
    let before = page(&world, Some(keys[at - 2])).await;
    assert_eq!((before.wins.len(), before.more), (MAX_WINS_ITEMS, true));
    let last = page(&world, keys.last().copied()).await;
    assert_eq!((last.wins.len(), last.more), (0, false));
    // One that is not there any more is a place in the order all the same.
    let between = Some((PaymentId([0xff; 32]), 0));
    assert_eq!(page(&world, between).await.wins, []);
}

#[tokio::test]
async fn pages_for_a_peer_and_for_all() {
    let world = World::new();
    let ask = async |from| world.node.wins(from, WinsRequest { after: None }).await.page;
    for _ in 0..WINS_PAGES_BURST {
        assert!(ask(CLIENT).await.is_ok());
    }
    let busy = Refusal::Busy { after_ms: 1_000 / WINS_PAGES_PER_SECOND };
    assert_eq!(ask(CLIENT).await, Err(busy));
    assert!(ask(PeerKey([1; 32])).await.is_ok());
    world.clock.advance(Duration::from_millis(1_000 / u64::from(WINS_PAGES_PER_SECOND)));
    assert!(ask(CLIENT).await.is_ok());
    world.node.stop();
    assert!(matches!(ask(PeerKey([2; 32])).await, Err(Refusal::Busy { .. })));
}

#[tokio::test]
async fn damaged_wins_are_found_again_and_newer_ones_left_alone() {
    let mut world = World::new();
    let deals = stored_batch(&world, &[1], 1, |terms| terms.draws = 3).await;
    world.chain.post_seed(upload_by(&deals), SEED);
    world.follow().await;
    let wins = told(&world).await;
    let path = |draw: u8| {
        let payment = hex::encode(deals[0].payment().0);
        Path::new("wins").join(format!("{payment}-{draw:02x}"))
    };
    let write = |draw, bytes: &[u8]| {
        world.disk.write_durable(&path(draw), bytes, Overwrite::Replace).unwrap();
    };
    // One is damaged, one says another draw than its name, one is of a newer version.
    let mut flipped = world.disk.read(&path(0), 10_000).unwrap();
    flipped[100] ^= 1;
    write(0, &flipped);
    write(1, &world.disk.read(&path(2), 10_000).unwrap());
    let mut newer = world.disk.read(&path(2), 10_000).unwrap();
    newer.truncate(newer.len() - 4);
    newer[6] = 2;
    let checksum = crc32fast::hash(&newer);
    newer.extend(checksum.to_le_bytes());
    write(200, &newer);
    write(201, &[7; 5_000]);
    assert_eq!(on_disk(&world.disk), wins[2..]);
    world.restart(|_| {});
    assert_eq!(told(&world).await, wins[2..]);
    world.batches.walk(world.store.as_ref()).await;
    world.follow().await;
    assert_eq!((told(&world).await, on_disk(&world.disk)), (wins.clone(), wins.clone()));
    assert_eq!(world.disk.read(&path(200), 10_000).unwrap(), newer);
    assert!(world.disk.read(&path(201), 10_000).is_err());
}

#[tokio::test]
async fn a_directory_without_wins_has_none() {
    assert_eq!(read_wins(&MemoryDisk::new()).unwrap(), []);
    let world = World::new();
    assert_eq!(on_disk(&world.disk), []);
    assert_eq!(world.store.chunks(), 0);
}

#[tokio::test]
async fn when_there_is_no_room_the_wins_go_that_pay_the_least() {
    let mut world = World::new();
    world.limits.wins = 3;
    world.restart(|_| {});
    // Two prizes of a half, four of a quarter each.
    let large = stored_batch(&world, &[1], 1, |terms| terms.draws = 2).await;
    let small = stored_batch(&world, &[2], 1, |terms| terms.draws = 4).await;
    world.chain.post_seed(upload_by(&large), SEED);
    world.follow().await;
    let wins = told(&world).await;
    let of = |deals: &[Deal]| {
        let of_it = wins.iter().filter(|win| win.terms == deals[0].clone().batch().terms);
        of_it.count()
    };
    assert_eq!((of(&large), of(&small)), (2, 1));
    assert_eq!(on_disk(&world.disk), wins);
    world.limits.wins = 1;
    world.restart(|_| {});
    let left = told(&world).await;
    assert_eq!((left.len(), left[0].terms), (1, large[0].clone().batch().terms));
    assert_eq!(on_disk(&world.disk), left);
}
