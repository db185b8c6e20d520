//! What one node takes on at a time, under flood.

use std::time::Duration;

use spillway_net::{AdmittedPut, Serve};
use spillway_node::limits::{
    ALL_PEERS_FACTOR, BUSY_RETRY, MAX_PUT_BYTES, MAX_PUT_BYTES_PER_PEER, MAX_PUTS,
    MAX_PUTS_PER_PEER, QUOTES_BURST, QUOTES_PER_SECOND,
};
use spillway_types::{
    ChunkAddress, HasRequest, PeerKey, QuoteItem, Refusal,
    limits::{MAX_CHUNK_BYTES, MAX_HAS_ITEMS, MAX_QUOTE_ITEMS},
};

use crate::world::{CLIENT, World};

fn peer(number: u32) -> PeerKey {
    let mut key = [0; 32];
    key[..4].copy_from_slice(&number.to_le_bytes());
    PeerKey(key)
}

/// What an honest peer is told when a limit clears in moments.
fn busy() -> Refusal {
    Refusal::Busy { after_ms: u32::try_from(BUSY_RETRY.as_millis()).unwrap() }
}

#[tokio::test]
async fn puts_at_once_for_a_peer_and_for_all() {
    let world = World::new();
    let deal = world.paid_deal(1).await;
    let mut held: Vec<Box<dyn AdmittedPut>> = Vec::new();
    let mut fill = async |from| loop {
        match world.node.admit(from, deal.put.clone()).await {
            Ok(admitted) if held.len() <= MAX_PUTS => held.push(admitted),
            Ok(_) => panic!("no limit"),
            Err(refusal) => return (held.len(), refusal),
        }
    };
    assert_eq!(fill(peer(1)).await, (MAX_PUTS_PER_PEER, busy()));
    assert_eq!(fill(peer(2)).await, (MAX_PUTS, busy()));
    assert_eq!(fill(peer(3)).await, (MAX_PUTS, busy()));
    held.truncate(MAX_PUTS - 1);
    assert!(world.node.admit(peer(3), deal.put.clone()).await.is_ok());
    // A refused put holds nothing.
    let mut bad = deal.put.clone();
    bad.leaf.address = ChunkAddress([0; 32]);
    for _ in 0..2 * MAX_PUTS {
        let refusal = world.node.admit(peer(3), bad.clone()).await.err();
        assert_eq!(refusal, Some(Refusal::WrongChunk { index: 0 }));
    }
}

#[tokio::test]
async fn bytes_on_their_way_are_limited() {
    let world = World::new();
    let address = ChunkAddress([1; 32]);
    let size = u32::try_from(MAX_CHUNK_BYTES).unwrap();
    let deal = world.deal_for(address, size).await;
    world.pay(&deal);
    let mut held = Vec::new();
    let refusal = loop {
        let from = peer(u32::try_from(held.len()).unwrap());
        match world.node.admit(from, deal.put.clone()).await {
            Ok(admitted) if held.len() <= MAX_PUTS => held.push(admitted),
            Ok(_) => panic!("no limit"),
            Err(refusal) => break refusal,
        }
    };
    assert_eq!(refusal, busy());
    assert_eq!(held.len() as u64, MAX_PUT_BYTES / MAX_CHUNK_BYTES as u64);
}

/// However many full chunks one peer sends, the others have as much.
#[tokio::test]
async fn one_peer_does_not_take_all_the_bytes_of_puts() {
    let world = World::new();
    let size = u32::try_from(MAX_CHUNK_BYTES).unwrap();
    let deal = world.deal_for(ChunkAddress([1; 32]), size).await;
    world.pay(&deal);
    let mut held = Vec::new();
    let mut fill = async |from| loop {
        match world.node.admit(from, deal.put.clone()).await {
            Ok(admitted) if held.len() <= MAX_PUTS => held.push(admitted),
            Ok(_) => panic!("no limit"),
            Err(refusal) => return (held.len() as u64, refusal),
        }
    };
    let of_peer = MAX_PUT_BYTES_PER_PEER / MAX_CHUNK_BYTES as u64;
    assert_eq!(of_peer, 16);
    assert_eq!(fill(peer(1)).await, (of_peer, busy()));
    assert_eq!(fill(peer(2)).await, (2 * of_peer, busy()));
    assert_eq!(fill(peer(3)).await, (2 * of_peer, busy()));
}

#[tokio::test]
async fn prices_for_a_peer_and_for_all() {
    let world = World::new();
    let items: Vec<QuoteItem> = (0..MAX_QUOTE_ITEMS)
        .map(|number| QuoteItem { address: ChunkAddress::of(&number.to_le_bytes()), size: 1 })
        .collect();
    let count = u32::try_from(MAX_QUOTE_ITEMS).unwrap();
    let flood = async |from| {
        let mut prices = 0;
        loop {
            match world.ask_all(from, items.clone()).await {
                Ok(_) if prices <= QUOTES_BURST => prices += count,
                Ok(_) => panic!("no limit"),
                Err(refusal) => return (prices, refusal),
            }
        }
    };
    let wait = 1_000 * count / QUOTES_PER_SECOND;
    let busy = Refusal::Busy { after_ms: wait };
    assert_eq!(flood(CLIENT).await, (QUOTES_BURST, busy.clone()));
    let mut all = QUOTES_BURST;
    for number in 0..20 {
        all += flood(peer(number)).await.0;
    }
    assert_eq!(all, ALL_PEERS_FACTOR * QUOTES_BURST);
    world.clock.advance(Duration::from_millis(wait.into()));
    assert_eq!(flood(CLIENT).await, (count, busy));
}

#[tokio::test]
async fn as_many_addresses_as_the_protocol_allows() {
    let world = World::new();
    let deal = world.paid_deal(1).await;
    world.put(&deal).await.unwrap();
    let has = async |count: usize| {
        let mut addresses = vec![ChunkAddress([0; 32]); count];
        if let Some(last) = addresses.last_mut() {
            *last = deal.put.leaf.address;
        }
        world.node.has(CLIENT, HasRequest { addresses }).await.present
    };
    let present = has(MAX_HAS_ITEMS).await.unwrap();
    assert_eq!(present.len(), MAX_HAS_ITEMS);
    assert_eq!(present.iter().filter(|present| **present).count(), 1);
    assert!(present[MAX_HAS_ITEMS - 1]);
    assert_eq!(has(0).await, Err(Refusal::Malformed));
    assert_eq!(has(MAX_HAS_ITEMS + 1).await, Err(Refusal::Malformed));
}
