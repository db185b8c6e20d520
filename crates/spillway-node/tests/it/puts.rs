//! What is stored, when it is signed for, and what a restart keeps.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use spillway_disk::{Fault, FaultPlan, Faults, MemoryDisk, Survival};
use spillway_net::Serve;
use spillway_node::{Evidence, Price};
use spillway_store::{
    Capacity, ChunkStore, FsStore, FsStoreOptions, MemoryStore, reservation_bytes,
};
use spillway_types::{
    Atto, ChunkAddress, HasRequest, Nonce, QuoteAnswer, Receipt, ReceiptBody, Refusal,
};

use crate::world::{CAPACITY, CHUNK_BYTES, CLIENT, Deal, START, World, domain, secret};

/// Asserts that the receipt is the node's, of this put, and says what was asked for.
pub(crate) fn assert_receipt(receipt: &Receipt, deal: &Deal) {
    let expected = ReceiptBody {
        domain: domain(),
        payment: deal.payment(),
        leaf: deal.put.leaf.hash(),
        address: deal.put.leaf.address,
        size: CHUNK_BYTES,
        time: receipt.body.time,
        nonce: deal.put.nonce,
    };
    assert_eq!(receipt.body, expected);
    assert_eq!(receipt.check_paid(secret(0).peer(), &domain(), &expected), Ok(()));
}

pub(crate) async fn has(world: &World<impl ChunkStore + 'static>, address: ChunkAddress) -> bool {
    let request = HasRequest { addresses: vec![address] };
    world.node.has(CLIENT, request).await.present.unwrap()[0]
}

#[tokio::test]
async fn a_paid_chunk_is_stored_signed_for_and_given_back() {
    let world = World::new();
    let deal = world.paid_deal(1).await;
    let address = deal.put.leaf.address;
    assert!(!has(&world, address).await);
    assert_eq!(world.node.get(CLIENT, address).await, Ok(None));
    world.clock.advance(Duration::from_secs(7));
    let receipt = world.put(&deal).await.unwrap();
    assert_receipt(&receipt, &deal);
    assert_eq!(receipt.body.time, START.saturating_add(Duration::from_secs(7)));
    assert!(has(&world, address).await);
    assert_eq!(world.node.get(CLIENT, address).await, Ok(Some(deal.chunk.clone())));
    // Nothing is held beside what is stored.
    let capacity = world.store.capacity();
    assert_eq!(capacity.reserved_bytes, 0);
    assert!(capacity.used_bytes > u64::from(CHUNK_BYTES));
}

#[tokio::test]
async fn everything_that_showed_the_payment_is_kept() {
    let world = World::new();
    let deal = world.paid_deal(1).await;
    world.put(&deal).await.unwrap();
    let bytes = world.store.evidence(deal.put.leaf.address).await.unwrap().unwrap();
    let evidence = Evidence::decode(&bytes).unwrap();
    let expected = Evidence {
        stored_at: START,
        leaf: deal.put.leaf.clone(),
        size: CHUNK_BYTES,
        proof: deal.put.proof.clone(),
        quotes: deal.put.quotes,
        receipts: Vec::new(),
    };
    assert_eq!(evidence, expected);
    assert_eq!((evidence.payment(), *evidence.domain()), (deal.payment(), domain()));
}

#[tokio::test]
async fn an_own_quote_is_honoured_after_the_price_rose() {
    let mut world = World::new();
    let deal = world.paid_deal(1).await;
    let cheap = deal.put.quotes[0].terms.price;
    world.restart(|terms| terms.price = Price::per_mib(Atto(1 << 60)).unwrap());
    let dear = world.quote(deal.put.leaf.address, CHUNK_BYTES).await.terms.price;
    assert!(dear > cheap.saturating_mul(1 << 20), "{dear} {cheap}");
    assert_receipt(&world.put(&deal).await.unwrap(), &deal);
}

#[tokio::test]
async fn more_than_the_price_is_fine() {
    let world = World::new();
    let mut deal = world.deal(1).await;
    deal.share(0, |share| share.amount = share.amount.saturating_mul(3));
    world.pay(&deal);
    assert_receipt(&world.put(&deal).await.unwrap(), &deal);
}

/// The chunk is here: whoever pays for it gets a receipt of that payment, after the same checks, and
/// what is sent changes nothing.
#[tokio::test]
async fn a_second_payment_for_a_stored_chunk_gets_its_receipt() {
    let world = World::new();
    let first = world.paid_deal(1).await;
    world.put(&first).await.unwrap();
    let used = world.store.capacity();

    let mut second = world.deal(1).await;
    second.upload_by(second.put.proof.upload_by().saturating_add(Duration::from_mins(1)));
    assert_ne!(second.payment(), first.payment());
    let unpaid = Refusal::Unpaid { payment: second.payment() };
    assert_eq!(world.put(&second).await, Err(unpaid));
    world.pay(&second);
    world.clock.advance(Duration::from_secs(30));
    let garbage = Bytes::from(vec![7; CHUNK_BYTES as usize]);
    let receipt = world.put_body(&second, garbage).await.unwrap();
    assert_receipt(&receipt, &second);
    assert_eq!(receipt.body.time, START.saturating_add(Duration::from_secs(30)));
    assert_eq!(world.store.capacity(), used);
    let address = first.put.leaf.address;
    assert_eq!(world.node.get(CLIENT, address).await, Ok(Some(first.chunk.clone())));
    let kept = world.store.evidence(address).await.unwrap().unwrap();
    assert_eq!(Evidence::decode(&kept).unwrap().payment(), first.payment());
}

#[tokio::test]
async fn the_same_put_again_gets_a_receipt_again() {
    let world = World::new();
    let mut deal = world.paid_deal(1).await;
    world.put(&deal).await.unwrap();
    deal.put.nonce = Nonce([6; 16]);
    assert_receipt(&world.put(&deal).await.unwrap(), &deal);
    assert_eq!((world.store.chunks(), world.chain.asked()), (1, 1));
}

#[tokio::test]
async fn a_price_for_a_stored_chunk_brings_a_receipt_of_its_payment() {
    let mut world = World::new();
    let deal = world.paid_deal(1).await;
    let address = deal.put.leaf.address;
    world.put(&deal).await.unwrap();
    world.clock.advance(Duration::from_secs(100));
    // From memory, and from the evidence after a restart.
    for _ in 0..2 {
        let QuoteAnswer::Offered { quote, receipt } = world.ask(address, CHUNK_BYTES).await else {
            panic!("refused")
        };
        assert_eq!(quote.terms.address, address);
        let receipt = receipt.unwrap();
        let nonce = Nonce([9; 16]);
        let chunk = (address, CHUNK_BYTES);
        assert_eq!(receipt.check(secret(0).peer(), &domain(), chunk, nonce), Ok(()));
        assert_eq!(receipt.body.payment, deal.payment());
        assert_eq!(receipt.body.leaf, deal.put.leaf.hash());
        assert_eq!(receipt.body.time, START);
        world.restart(|_| {});
    }
    // For another size there is neither.
    assert_eq!(
        world.ask(address, CHUNK_BYTES - 1).await,
        QuoteAnswer::Refused(Refusal::WrongSize { quoted: CHUNK_BYTES - 1, found: CHUNK_BYTES })
    );
}

#[tokio::test]
async fn full() {
    let world = World::with(MemoryStore::new(2 * reservation_bytes(CHUNK_BYTES)), |_| {});
    let deal = world.paid_deal(1).await;
    let other = (ChunkAddress([1; 32]), CHUNK_BYTES);
    let held = [(); 2].map(|()| world.store.reserve(other.0, other.1));
    assert_eq!(
        world.ask(ChunkAddress([2; 32]), CHUNK_BYTES).await,
        QuoteAnswer::Refused(Refusal::Full { free_bytes: held_free(&world.store.capacity()) })
    );
    let free_bytes = held_free(&world.store.capacity());
    // Nothing was set aside: the promise was over the half that promises may hold.
    assert_eq!(world.admit(&deal.put).await.err(), Some(Refusal::Full { free_bytes }));
    world.assert_nothing_stored();
    drop(held);
    assert!(world.put(&deal).await.is_ok());
}

fn held_free(capacity: &Capacity) -> u64 {
    capacity.free_bytes()
}

/// Space that is set aside for a quote is there for its put, however full the node is since.
#[tokio::test]
async fn a_promised_place_is_kept() {
    let world = World::with(MemoryStore::new(16 * reservation_bytes(CHUNK_BYTES)), |_| {});
    let deal = world.paid_deal(1).await;
    let mut held = Vec::new();
    while let Ok(reservation) = world.store.reserve(ChunkAddress([1; 32]), CHUNK_BYTES) {
        held.push(reservation);
    }
    assert_eq!(held.len(), 15);
    assert!(world.put(&deal).await.is_ok());
    assert_eq!(world.store.chunks(), 1);
}

/// A put that comes to nothing after it was admitted costs its payer no place: until the upload window
/// ends it is there for the next try, however full the node is since.
#[tokio::test]
async fn a_place_is_kept_through_puts_that_fail() {
    let one = reservation_bytes(CHUNK_BYTES);
    // Once with a promise and once without one, when all promises are given.
    for promises in [true, false] {
        let world = World::with(MemoryStore::new(16 * one), |_| {});
        // Two are all that one peer is promised of these.
        let others = if promises { 0 } else { 2 };
        for number in 0..others {
            world.quote(ChunkAddress([number; 32]), CHUNK_BYTES).await;
        }
        let before = world.store.capacity().reserved_bytes;
        let deal = world.paid_deal(1).await;
        assert_eq!(world.store.capacity().reserved_bytes > before, promises);
        // The connection breaks before the body is there.
        let admitted = world.admit(&deal.put).await.unwrap_or_else(|refusal| panic!("{refusal}"));
        let mut held = Vec::new();
        while let Ok(reservation) = world.store.reserve(ChunkAddress([1; 32]), CHUNK_BYTES) {
            held.push(reservation);
        }
        drop(admitted);
        assert_eq!(world.store.capacity().free_bytes(), 0);
        // A body of another length, then one of another content.
        let short = world.put_body(&deal, deal.chunk.slice(1..)).await;
        let found = CHUNK_BYTES - 1;
        assert_eq!(short, Err(Refusal::WrongSize { quoted: CHUNK_BYTES, found }));
        let wrong = Bytes::from(vec![7; CHUNK_BYTES as usize]);
        let found = ChunkAddress::of(&wrong);
        assert_eq!(world.put_body(&deal, wrong).await, Err(Refusal::WrongHash { found }));
        assert_eq!(world.store.capacity().free_bytes(), 0);
        assert_receipt(&world.put(&deal).await.unwrap(), &deal);
        drop(held);
        assert_eq!(world.store.capacity().reserved_bytes, before);
    }
}

#[tokio::test]
async fn a_place_is_kept_until_its_upload_window_ends_and_no_longer() {
    let world = World::new();
    let deal = world.paid_deal(1).await;
    let one = reservation_bytes(CHUNK_BYTES);
    let admit = async || world.admit(&deal.put).await.unwrap_or_else(|refusal| panic!("{refusal}"));
    let admitted = admit().await;
    world.clock.set(deal.put.proof.upload_by());
    drop(admitted);
    assert_eq!(world.store.capacity().reserved_bytes, one);
    let admitted = admit().await;
    assert_eq!(world.store.capacity().reserved_bytes, one);
    world.clock.advance(Duration::from_secs(1));
    drop(admitted);
    assert_eq!(world.store.capacity().reserved_bytes, 0);
}

#[tokio::test]
async fn a_restart_keeps_chunks_and_goes_on_with_quotes_that_were_given() {
    let disk = MemoryDisk::new();
    let options = FsStoreOptions { capacity_bytes: CAPACITY, disk_margin_bytes: 0 };
    let store = FsStore::open(Arc::new(disk.clone()), options).await.unwrap();
    let world = World::with(store, |_| {});
    let stored = world.paid_deal(1).await;
    let receipt = world.put(&stored).await.unwrap();
    let quoted = world.paid_deal(2).await;

    // The power goes the moment the receipt is out.
    let disk = disk.crash(Survival::Nothing);
    let store = FsStore::open(Arc::new(disk), options).await.unwrap();
    let again = World::with(store, |_| {});
    let address = stored.put.leaf.address;
    assert_eq!(receipt.body.address, address);
    assert_eq!(again.node.get(CLIENT, address).await, Ok(Some(stored.chunk.clone())));
    again.pay(&quoted);
    assert_receipt(&again.put(&quoted).await.unwrap(), &quoted);
    assert_eq!(again.store.chunks(), 2);
}

/// What was stored for another vault is no reason to sign for this one.
#[tokio::test]
async fn a_chunk_of_another_vault_brings_no_receipt() {
    let world = World::new();
    let deal = world.deal(1).await;
    let address = deal.put.leaf.address;
    let mut other = deal.put.quotes[0].terms;
    other.domain.vault.0[0] ^= 1;
    let evidence = Evidence {
        stored_at: START,
        leaf: deal.put.leaf.clone(),
        size: CHUNK_BYTES,
        proof: deal.put.proof.clone(),
        quotes: [other.sign(&secret(0)); 5],
        receipts: Vec::new(),
    };
    let reservation = world.store.reserve(address, CHUNK_BYTES).unwrap();
    let evidence = evidence.encode().unwrap();
    world.store.put(reservation, deal.chunk.clone(), evidence.into()).await.unwrap();
    let answer = world.ask(address, CHUNK_BYTES).await;
    assert!(matches!(answer, QuoteAnswer::Offered { receipt: None, .. }), "{answer:?}");
    // Once it is paid for here, there is one.
    world.pay(&deal);
    assert_receipt(&world.put(&deal).await.unwrap(), &deal);
}

/// Every step of the disk fails once: never a receipt without a chunk that survives a power cut.
#[tokio::test]
async fn a_failing_disk_signs_nothing() {
    let options = FsStoreOptions { capacity_bytes: CAPACITY, disk_margin_bytes: 0 };
    let mut failed = 0;
    for at in 1.. {
        let faults = Arc::new(Faults::default());
        let disk = MemoryDisk::new().with_faults(faults.clone());
        let store = FsStore::open(Arc::new(disk.clone()), options).await.unwrap();
        let world = World::with(store, |_| {});
        let deal = world.paid_deal(1).await;
        faults.arm(FaultPlan::once(at, Fault::Io));
        let receipt = world.put(&deal).await;
        let reached = faults.count() >= at;
        faults.disarm();
        let found = FsStore::open(Arc::new(disk.crash(Survival::Nothing)), options).await.unwrap();
        if let Ok(receipt) = &receipt {
            assert_receipt(receipt, &deal);
            assert_eq!(found.get(deal.put.leaf.address).await.unwrap(), Some(deal.chunk.clone()));
        } else {
            assert_eq!(receipt, Err(Refusal::StorageFailed));
            assert!(!has(&world, deal.put.leaf.address).await);
            // The place is kept for the payer, who tries again.
            let one = reservation_bytes(CHUNK_BYTES);
            assert_eq!(world.store.capacity().reserved_bytes, one);
            assert_receipt(&world.put(&deal).await.unwrap(), &deal);
            assert_eq!(world.store.capacity().reserved_bytes, 0);
            failed += 1;
        }
        if !reached {
            assert!(receipt.is_ok());
            break;
        }
    }
    assert!(failed >= 4, "{failed} steps failed");
}

/// A disk that is full although the count says otherwise.
#[tokio::test]
async fn a_disk_that_is_full_is_said_to_be() {
    let faults = Arc::new(Faults::default());
    let disk = MemoryDisk::new().with_faults(faults.clone());
    let options = FsStoreOptions { capacity_bytes: CAPACITY, disk_margin_bytes: 0 };
    let world = World::with(FsStore::open(Arc::new(disk), options).await.unwrap(), |_| {});
    let deal = world.paid_deal(1).await;
    faults.arm(FaultPlan::onwards(2, Fault::Full));
    assert!(matches!(world.put(&deal).await, Err(Refusal::Full { .. })));
    assert_eq!(world.store.chunks(), 0);
    faults.disarm();
    assert_receipt(&world.put(&deal).await.unwrap(), &deal);
}
