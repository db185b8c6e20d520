//! Prices: what they promise, for what, and what they may hold.

use std::{sync::Arc, time::Duration};

use spillway_disk::{Clock, DiskOp, Fault, FaultPlan, Faults, MemoryDisk};
use spillway_node::limits::DEFAULT_MAX_PRIZE;
use spillway_store::{ChunkStore, FsStore, FsStoreOptions, MemoryStore, reservation_bytes};
use spillway_types::{
    Atto, ChunkAddress, PeerKey, QuoteAnswer, QuoteItem, Refusal,
    limits::{MAX_CHUNK_BYTES, MAX_QUOTE_ITEMS, MAX_UPLOAD_WINDOW, QUOTE_LIFETIME},
};

use crate::world::{CAPACITY, CHUNK_BYTES, CLIENT, START, World, domain, reward, secret};

fn item(number: usize) -> QuoteItem {
    let address = ChunkAddress::of(&number.to_le_bytes());
    QuoteItem { address, size: CHUNK_BYTES }
}

#[tokio::test]
async fn a_quote_says_what_the_node_was_told_to_promise() {
    let world = World::with_terms(|terms| terms.confirmations = 5);
    let QuoteItem { address, size } = item(1);
    let QuoteAnswer::Offered { quote, receipt } = world.ask(address, size).await else {
        panic!("refused")
    };
    assert_eq!(quote.check(secret(0).peer(), &domain(), (address, size), START), Ok(()));
    assert_eq!(receipt, None);
    let terms = quote.terms;
    assert_eq!((terms.reward, terms.confirmations), (reward(0), 5));
    assert_eq!(u64::from(terms.max_window_secs), MAX_UPLOAD_WINDOW.as_secs());
    assert_eq!((terms.issued, terms.expires), (START, START.saturating_add(QUOTE_LIFETIME)));
    // Nothing was said of what a token is worth, so no tip is asked for.
    assert_eq!((terms.min_tip, terms.max_prize), (Atto::ZERO, DEFAULT_MAX_PRIZE));
    let expected = world.terms.price.of(size, &world.store.capacity());
    assert_eq!(terms.price, expected);
    assert_eq!(world.chain.asked(), 0);
}

#[tokio::test]
async fn answers_come_in_the_order_of_the_items() {
    let world = World::new();
    let mut items: Vec<QuoteItem> = (0..MAX_QUOTE_ITEMS).map(item).collect();
    let most = u32::try_from(MAX_CHUNK_BYTES).unwrap();
    items[3].size = 0;
    items[5].size = most + 1;
    items[6].size = most;
    items[7].size = 1;
    let answers = world.ask_all(CLIENT, items.clone()).await.unwrap();
    assert_eq!(answers.len(), MAX_QUOTE_ITEMS);
    for (number, (answer, item)) in answers.iter().zip(&items).enumerate() {
        match answer {
            QuoteAnswer::Offered { quote, .. } => {
                assert_eq!((quote.terms.address, quote.terms.size), (item.address, item.size));
            }
            QuoteAnswer::Refused(refusal) => {
                assert!(number == 3 || number == 5, "{number}");
                assert_eq!(*refusal, Refusal::BadSize { size: item.size });
            }
        }
    }
}

#[tokio::test]
async fn no_items_or_too_many_are_malformed() {
    let world = World::new();
    let many = (0..=MAX_QUOTE_ITEMS).map(item).collect();
    assert_eq!(world.ask_all(CLIENT, many).await, Err(Refusal::Malformed));
    assert_eq!(world.ask_all(CLIENT, Vec::new()).await, Err(Refusal::Malformed));
}

#[tokio::test]
async fn the_price_rises_as_the_node_fills() {
    let world = World::with(MemoryStore::new(400_000), |_| {});
    let mut before = Atto::ZERO;
    for number in 1..20 {
        let deal = world.paid_deal(number).await;
        let price = deal.put.quotes[0].terms.price;
        assert!(price > before, "{number}: {price} after {before}");
        before = price;
        world.put(&deal).await.unwrap();
    }
}

/// However many prices a request asks for, the disk is asked once, and not at all for chunks that
/// need no space.
#[tokio::test]
async fn one_look_at_the_disk_for_a_request() {
    let faults = Arc::new(Faults::default());
    let disk = MemoryDisk::new().with_faults(faults.clone());
    let options = FsStoreOptions { capacity_bytes: CAPACITY, disk_margin_bytes: 0 };
    let world = World::with(FsStore::open(Arc::new(disk), options).await.unwrap(), |_| {});
    let stored = world.paid_deal(1).await;
    world.put(&stored).await.unwrap();
    let items: Vec<QuoteItem> = (0..MAX_QUOTE_ITEMS).map(item).collect();
    // Counts looks at free space, and fails none.
    let looks = FaultPlan::once(u64::MAX, Fault::Io).only(DiskOp::FreeSpace);
    faults.arm(looks);
    world.quote(stored.put.leaf.address, CHUNK_BYTES).await;
    assert_eq!(faults.count(), 0);
    let answers = world.ask_all(CLIENT, items.clone()).await.unwrap();
    assert!(answers.iter().all(|answer| matches!(answer, QuoteAnswer::Offered { .. })));
    assert_eq!(faults.count(), 1);
    // A disk that cannot say how much is free sells nothing new.
    faults.arm(FaultPlan::onwards(1, Fault::Io).only(DiskOp::FreeSpace));
    let answers = world.ask_all(PeerKey([1; 32]), items).await.unwrap();
    let failed = QuoteAnswer::Refused(Refusal::StorageFailed);
    assert_eq!(answers, vec![failed; MAX_QUOTE_ITEMS]);
    assert_eq!(faults.count(), 1);
}

/// A store on a disk with less free than the store may fill.
#[tokio::test]
async fn the_disks_free_space_bounds_what_is_sold() {
    let one = reservation_bytes(CHUNK_BYTES);
    let disk = MemoryDisk::with_capacity(3 * one);
    let options = FsStoreOptions { capacity_bytes: CAPACITY, disk_margin_bytes: 0 };
    let world = World::with(FsStore::open(Arc::new(disk), options).await.unwrap(), |_| {});
    let answers = world.ask_all(CLIENT, (0..5).map(item).collect()).await.unwrap();
    let offered = answers.iter().map(|answer| matches!(answer, QuoteAnswer::Offered { .. }));
    let offered: Vec<bool> = offered.collect();
    assert_eq!(offered, [true, true, true, false, false]);
    assert!(matches!(answers[3], QuoteAnswer::Refused(Refusal::Full { .. })), "{answers:?}");
}

/// Names of peers and prices are free: what they can hold is half of what is free, for an hour, and
/// prices are given all the same.
#[tokio::test]
async fn quotes_that_nobody_pays_hold_a_bounded_part_for_a_bounded_time() {
    let one = reservation_bytes(CHUNK_BYTES);
    let world = World::with(MemoryStore::new(100 * one), |_| {});
    for number in 0..1_000_usize {
        let from = PeerKey([u8::try_from(number % 256).unwrap(); 32]);
        let answers = world.ask_all(from, vec![item(number)]).await.unwrap();
        assert!(matches!(answers[0], QuoteAnswer::Offered { .. }), "{number}");
    }
    assert_eq!(world.store.capacity().reserved_bytes, 50 * one);
    // Whoever pays is taken, with a promise or without one.
    for number in 1..=40 {
        let deal = world.paid_deal(number).await;
        world.put(&deal).await.unwrap();
    }
    assert_eq!(world.store.chunks(), 40);
    world.clock.advance(QUOTE_LIFETIME + Duration::from_secs(1));
    world.quote(item(0).address, CHUNK_BYTES).await;
    assert!(world.store.capacity().reserved_bytes <= one);
}

#[tokio::test]
async fn a_promise_is_given_back_when_its_chunk_is_stored() {
    let world = World::new();
    let deal = world.paid_deal(1).await;
    let one = reservation_bytes(CHUNK_BYTES);
    assert_eq!(world.store.capacity().reserved_bytes, one);
    // Two puts of one chunk, and another price for it in between.
    let first = world.admit(&deal.put).await.unwrap_or_else(|refusal| panic!("{refusal}"));
    world.quote(deal.put.leaf.address, CHUNK_BYTES).await;
    assert_eq!(world.store.capacity().reserved_bytes, 2 * one);
    first.store(deal.chunk.clone()).await.receipts.unwrap();
    assert_eq!(world.store.capacity().reserved_bytes, 0);
    assert_eq!(world.clock.now(), START);
}
