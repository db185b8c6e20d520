//! Batches that pay for chunks that are stored already: checked like the first, answered with a
//! receipt, and their proofs kept.

use std::{
    path::Path,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use spillway_disk::{
    Disk, DiskExt, EntryKind, Fault, FaultPlan, Faults, MemoryDisk, Overwrite, Survival,
};
use spillway_node::Evidence;
use spillway_store::ChunkStore;
use spillway_types::{Atto, BatchTerms, Refusal, UnixTime};

use crate::{
    fake_chain::WINDOWS,
    puts::assert_receipt,
    slow_store::SlowStore,
    world::{Deal, World, rebatch},
};

const PROOFS: &str = "proofs";

pub(crate) fn files(disk: &MemoryDisk) -> Vec<String> {
    let entries = disk.list(Path::new(PROOFS)).unwrap().into_iter();
    let files = entries.filter(|entry| entry.kind == EntryKind::File);
    files.map(|entry| entry.name.to_str().unwrap().to_owned()).collect()
}

/// The file of the proof of a batch's only leaf.
fn file(deal: &Deal) -> String {
    format!("{}-{:024x}", hex::encode(deal.payment().0), 0)
}

/// Terms of another payment each.
fn nth(number: u64) -> impl FnOnce(&mut BatchTerms) {
    move |terms| terms.upload_by = UnixTime(terms.upload_by.0 + number)
}

#[tokio::test]
async fn a_further_batch_gets_its_receipt_and_its_proof_is_kept() {
    for first_is_direct in [true, false] {
        let world = World::new();
        let first = if first_is_direct {
            world.paid_deal(1).await
        } else {
            world.paid_batch(1, |_| {}).await
        };
        world.put(&first).await.unwrap();
        let used = world.store.capacity();
        let second = world.batch_of(&[1], nth(1)).await.remove(0);
        let payment = second.payment();
        assert_eq!(world.put(&second).await, Err(Refusal::Unpaid { payment }));
        assert_eq!(files(&world.disk), Vec::<String>::new());
        world.pay(&second);
        for _ in 0..2 {
            assert_receipt(&world.put(&second).await.unwrap(), &second);
            assert_eq!(files(&world.disk), [file(&second)]);
        }
        // Durably, when the receipt was signed.
        assert_eq!(files(&world.disk.crash(Survival::Nothing)), [file(&second)]);
        // The chunk and what it came with stay as they are.
        assert_eq!(world.store.capacity(), used);
        let kept = world.store.evidence(first.put.leaf.address).await.unwrap().unwrap();
        assert_eq!(Evidence::decode(&kept).unwrap().payment(), first.payment());
    }
}

#[tokio::test]
async fn what_is_kept_with_the_chunk_is_not_kept_twice() {
    let mut world = World::new();
    let batch = world.paid_batch(1, |_| {}).await;
    for _ in 0..2 {
        assert_receipt(&world.put(&batch).await.unwrap(), &batch);
        world.restart(|_| {});
    }
    // A direct payment has paid already: there is nothing to prove.
    let direct = world.paid_deal(1).await;
    assert_receipt(&world.put(&direct).await.unwrap(), &direct);
    assert_eq!(files(&world.disk), Vec::<String>::new());
}

#[tokio::test]
async fn further_payments_are_checked_in_full() {
    let world = World::new();
    world.put(&world.paid_deal(1).await).await.unwrap();
    let good = world.paid_batch(1, |_| {}).await;
    let refused = async |deal: &Deal, expected| {
        assert_eq!(world.put(deal).await, Err(expected));
        assert_eq!(files(&world.disk), Vec::<String>::new());
    };
    let mut low = good.clone();
    low.requote(0, |terms| terms.min_tip = Atto(1));
    refused(&low, Refusal::TipTooLow { least: Atto(1), found: Atto::ZERO }).await;
    let mut broken = good.clone();
    broken.batch().terms.root.0[0] ^= 1;
    refused(&broken, Refusal::BadProof).await;
    let mut forged = good.clone();
    forged.put.quotes[2] = forged.put.quotes[3];
    refused(&forged, Refusal::RepeatedPeer).await;
    let upload_by = good.put.proof.upload_by();
    world.clock.set(UnixTime(upload_by.0 + 1));
    refused(&good, Refusal::TooLate { upload_by }).await;
    world.clock.set(upload_by);
    assert_receipt(&world.put(&good).await.unwrap(), &good);
    assert_eq!(files(&world.disk), [file(&good)]);
}

#[tokio::test]
async fn two_payments_for_one_new_chunk_at_once() {
    let world = Arc::new(World::with(SlowStore::new(), |_| {}));
    let deals = [world.paid_batch(1, nth(1)).await, world.paid_batch(1, nth(2)).await];
    let [first, second] = &deals;
    let release = async {
        world.store.waiting.subscribe().wait_for(|waiting| *waiting == 2).await.unwrap();
        world.store.open.send_replace(true);
    };
    let (one, two, ()) = tokio::join!(world.put(first), world.put(second), release);
    assert_receipt(&one.unwrap(), first);
    assert_receipt(&two.unwrap(), second);
    let kept = world.store.evidence(first.put.leaf.address).await.unwrap().unwrap();
    let kept = Evidence::decode(&kept).unwrap().payment();
    let other = deals.iter().find(|deal| deal.payment() != kept).unwrap();
    assert_eq!(files(&world.disk), [file(other)]);
}

/// A node that has a chunk and remembers nothing of it, and a further batch for it.
async fn a_further_batch_at_a_slow_store() -> (World<SlowStore>, Deal) {
    let mut world = World::with(SlowStore::new(), |_| {});
    world.store.open.send_replace(true);
    world.put(&world.paid_deal(1).await).await.unwrap();
    let deal = world.paid_batch(1, |_| {}).await;
    world.restart(|_| {});
    (world, deal)
}

/// Its draw is not to be lost for what the chunk came with.
#[tokio::test]
async fn a_proof_for_a_chunk_whose_evidence_cannot_be_read_is_kept() {
    let (world, deal) = a_further_batch_at_a_slow_store().await;
    world.store.fails.store(true, Ordering::Relaxed);
    assert_receipt(&world.put(&deal).await.unwrap(), &deal);
    assert_eq!(files(&world.disk), [file(&deal)]);
}

/// The body was dropped, since the chunk was here; then it is not any more.
#[tokio::test]
async fn nothing_is_signed_for_a_chunk_that_is_found_to_have_rotted_meanwhile() {
    let (world, deal) = a_further_batch_at_a_slow_store().await;
    world.store.rots.store(true, Ordering::Relaxed);
    assert_eq!(world.put(&deal).await, Err(Refusal::StorageFailed));
    assert_eq!(files(&world.disk), Vec::<String>::new());
}

/// Every step of the disk fails once: never a receipt without a proof that survives a power cut.
#[tokio::test]
async fn a_failing_disk_signs_nothing() {
    let mut failed = 0;
    for at in 1.. {
        let faults = Arc::new(Faults::default());
        let mut world = World::new();
        world.disk = MemoryDisk::new().with_faults(faults.clone());
        world.restart(|_| {});
        world.put(&world.paid_deal(1).await).await.unwrap();
        let deal = world.paid_batch(1, |_| {}).await;
        faults.arm(FaultPlan::once(at, Fault::Io));
        let receipt = world.put(&deal).await;
        let reached = faults.count() >= at;
        faults.disarm();
        match receipt {
            Ok(receipt) => {
                assert_receipt(&receipt, &deal);
                assert_eq!(files(&world.disk.crash(Survival::Nothing)), [file(&deal)]);
            }
            Err(refusal) => {
                assert_eq!(refusal, Refusal::StorageFailed);
                failed += 1;
                assert_receipt(&world.put(&deal).await.unwrap(), &deal);
                assert_eq!(files(&world.disk), [file(&deal)]);
            }
        }
        if !reached {
            break;
        }
    }
    assert!(failed >= 3, "{failed} steps failed");
}

#[tokio::test]
async fn they_are_kept_until_the_claim_window_ends() {
    let mut world = World::new();
    world.put(&world.paid_deal(1).await).await.unwrap();
    let deals = [world.paid_batch(1, nth(1)).await, world.paid_batch(1, nth(2)).await];
    for deal in &deals {
        world.put(deal).await.unwrap();
    }
    let end = WINDOWS.claim_end(deals[0].put.proof.upload_by());
    world.chain.mine(end);
    world.follow().await;
    assert_eq!(files(&world.disk).len(), 2);
    world.chain.mine(end.saturating_add(Duration::from_secs(1)));
    // The node's own clock alone does not do it.
    world.clock.set(end.saturating_add(Duration::from_hours(1)));
    world.batches.tend(world.store.as_ref()).await;
    assert_eq!(files(&world.disk).len(), 2);
    world.follow().await;
    // Once more than one answer says so.
    assert_eq!(files(&world.disk).len(), 2);
    world.follow().await;
    assert_eq!(files(&world.disk), [file(&deals[1])]);
    // At a later start too.
    world.chain.mine(end.saturating_add(Duration::from_secs(2)));
    world.restart(|_| {});
    world.follow().await;
    assert_eq!(files(&world.disk), Vec::<String>::new());
}

#[tokio::test]
async fn damaged_files_are_moved_aside_and_what_is_not_understood_stays() {
    let mut world = World::new();
    world.put(&world.paid_deal(1).await).await.unwrap();
    let deal = world.paid_batch(1, |_| {}).await;
    world.put(&deal).await.unwrap();
    let path = Path::new(PROOFS).join(file(&deal));
    let good = world.disk.read(&path, 10_000).unwrap();
    let write = |name: &Path, bytes: &[u8]| {
        world.disk.write_durable(name, bytes, Overwrite::Replace).unwrap();
    };
    let mut flipped = good.clone();
    flipped[40] ^= 1;
    write(&path, &flipped);
    let mut newer = good[..good.len() - 4].to_vec();
    newer[6] = 2;
    let checksum = crc32fast::hash(&newer);
    newer.extend(checksum.to_le_bytes());
    let other = Path::new(PROOFS).join(format!("{}-{:024x}", hex::encode([7; 32]), 5));
    write(&other, &newer);
    // Sound, but of another vault, which its name says.
    let foreign = Path::new(PROOFS).join(format!("{}-{:024x}", hex::encode([8; 32]), 0));
    write(&foreign, &good);
    write(&Path::new(PROOFS).join("notes"), b"mine");
    write(&Path::new(PROOFS).join(".tmp-1"), b"torn");
    world.restart(|_| {});
    let left = files(&world.disk);
    let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
    assert_eq!(left, [name(&other), name(&foreign), "notes".to_owned()]);
    assert!(!world.disk.exists(&path).unwrap());
    let aside = Path::new(PROOFS).join("quarantine").join(file(&deal));
    assert_eq!(world.disk.read(&aside, 10_000).unwrap(), flipped);
    // It is kept anew when it is shown again.
    assert_receipt(&world.put(&deal).await.unwrap(), &deal);
    assert_eq!(world.disk.read(&path, 10_000).unwrap(), good);
}

/// A batch of one leaf that pays the node this much more than its price, and others what they ask.
async fn paid_more(world: &World, number: u64, more: u128) -> Deal {
    let mut deal = world.deal(1).await;
    deal.put.leaf.shares[0].amount.0 += more;
    // Whatever it pays others is no reason to keep it.
    deal.put.leaf.shares[1].amount.0 += 1_000_000 / (1 + more);
    rebatch(std::slice::from_mut(&mut deal), nth(number));
    world.pay(&deal);
    deal
}

/// Whoever would fill the room pays the node for it, and the least goes first.
#[tokio::test]
async fn when_there_is_no_room_those_go_that_pay_the_least() {
    let mut world = World::new();
    world.limits.further_proofs = 2;
    world.restart(|_| {});
    world.put(&world.paid_deal(1).await).await.unwrap();
    let kept = async |world: &World, deal: &Deal, expected: &[&Deal]| {
        assert_receipt(&world.put(deal).await.unwrap(), deal);
        let mut expected: Vec<String> = expected.iter().map(|deal| file(deal)).collect();
        expected.sort_unstable();
        assert_eq!(files(&world.disk), expected);
    };
    let low = paid_more(&world, 1, 1).await;
    let middle = paid_more(&world, 2, 2).await;
    kept(&world, &low, &[&low]).await;
    kept(&world, &middle, &[&low, &middle]).await;
    // As little as the least: the chunk is signed for, the proof is not kept.
    let as_low = paid_more(&world, 3, 1).await;
    kept(&world, &as_low, &[&low, &middle]).await;
    let high = paid_more(&world, 4, 3).await;
    kept(&world, &high, &[&middle, &high]).await;
    kept(&world, &low, &[&middle, &high]).await;
    // A start with less room keeps the best.
    world.limits.further_proofs = 1;
    world.restart(|_| {});
    assert_eq!(files(&world.disk), [file(&high)]);
}
