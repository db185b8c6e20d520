//! Ending while things are under way, and what waits for a slow disk.

use std::time::Duration;

use bytes::Bytes;
use futures::{FutureExt, future::join_all};
use spillway_disk::Clock;
use spillway_net::Serve;
use spillway_node::limits::{
    BUSY_RETRY, MAX_GET_BYTES, MAX_GET_BYTES_PER_PEER, MAX_GETS, MAX_GETS_PER_PEER,
};
use spillway_store::ChunkStore;
use spillway_types::{ChunkAddress, HasRequest, PeerKey, Refusal, limits::MAX_CHUNK_BYTES};

use crate::{
    puts::{assert_receipt, has},
    slow_store::SlowStore,
    world::{CLIENT, START, World},
};

#[tokio::test]
async fn no_receipt_before_the_chunk_is_durable_and_a_shutdown_waits_for_it() {
    let world = World::with(SlowStore::new(), |_| {});
    let deal = world.paid_deal(1).await;
    let other = world.paid_deal(2).await;
    let mut put = Box::pin(world.put(&deal));
    let mut waiting = world.store.waiting.subscribe();
    // The put cannot end while the store has not.
    tokio::select! {
        biased;
        _ = &mut put => panic!("signed before it was durable"),
        seen = waiting.wait_for(|waiting| *waiting == 1) => drop(seen.unwrap()),
    }
    assert!(!has(&world, deal.put.leaf.address).await);

    let node = world.node.clone();
    let mut drained = Box::pin(node.drain(Duration::from_mins(1)));
    tokio::select! {
        biased;
        _ = &mut drained => panic!("drained with a put under way"),
        () = world.clock.wait_for_sleepers(1) => {}
    }
    // What comes now is refused as busy.
    assert!(matches!(world.admit(&other.put).await.err(), Some(Refusal::Busy { .. })));
    assert!(matches!(world.ask_all(CLIENT, Vec::new()).await, Err(Refusal::Busy { .. })));
    let address = deal.put.leaf.address;
    assert!(matches!(world.node.get(CLIENT, address).await, Err(Refusal::Busy { .. })));
    let request = HasRequest { addresses: vec![address] };
    let busy = world.node.has(CLIENT, request).await.present;
    assert!(matches!(busy, Err(Refusal::Busy { .. })));

    world.store.open.send_replace(true);
    let receipt = put.await.unwrap();
    assert_receipt(&receipt, &deal);
    assert!(drained.await);
    assert!(world.store.has(address));
}

#[tokio::test]
async fn a_shutdown_does_not_wait_for_ever() {
    let world = World::with(SlowStore::new(), |_| {});
    let deal = world.paid_deal(1).await;
    // Admitted, and the body never comes.
    let admitted = world.admit(&deal.put).await.unwrap_or_else(|refusal| panic!("{refusal}"));
    let mut drained = Box::pin(world.node.drain(Duration::from_mins(1)));
    tokio::select! {
        biased;
        _ = &mut drained => panic!("drained with a put under way"),
        () = world.clock.wait_for_sleepers(1) => {}
    }
    world.clock.advance(Duration::from_mins(1));
    assert!(!drained.await);
    drop(admitted);
    assert!(world.node.drain(Duration::from_mins(1)).await);
    assert_eq!(world.clock.now(), START.saturating_add(Duration::from_mins(1)));
}

#[tokio::test]
async fn gets_at_once_are_limited_for_a_peer_and_for_all() {
    let world = World::with(SlowStore::new(), |_| {});
    let deal = world.paid_deal(1).await;
    world.store.open.send_replace(true);
    world.put(&deal).await.unwrap();
    world.store.open.send_replace(false);
    let address = deal.put.leaf.address;
    let (a, b, c) = (PeerKey([1; 32]), PeerKey([2; 32]), PeerKey([3; 32]));
    let askers = [vec![a; MAX_GETS_PER_PEER], vec![b; MAX_GETS - MAX_GETS_PER_PEER]].concat();
    let gets = join_all(askers.iter().map(|from| world.node.get(*from, address)));
    let busy = Refusal::Busy { after_ms: u32::try_from(BUSY_RETRY.as_millis()).unwrap() };
    let others = async {
        // At once: whoever waits was let in.
        for from in [a, c] {
            let refused = world.node.get(from, address).now_or_never();
            assert_eq!(refused, Some(Err(busy.clone())));
        }
        world.store.open.send_replace(true);
    };
    let (chunks, ()) = tokio::join!(biased; gets, others);
    assert!(chunks.iter().all(|chunk| *chunk == Ok(Some(deal.chunk.clone()))));
    assert_eq!(world.node.get(c, address).await, Ok(Some(deal.chunk.clone())));
}

#[tokio::test]
async fn one_peer_does_not_take_all_the_bytes_of_gets() {
    let world = World::with(SlowStore::new(), |_| {});
    world.store.open.send_replace(true);
    let full = Bytes::from(vec![3; MAX_CHUNK_BYTES]);
    let address = ChunkAddress::of(&full);
    let size = u32::try_from(MAX_CHUNK_BYTES).unwrap();
    let reservation = world.store.reserve(address, size).unwrap();
    world.store.put(reservation, full, Bytes::new()).await.unwrap();
    world.store.open.send_replace(false);
    let (a, b, c) = (PeerKey([1; 32]), PeerKey([2; 32]), PeerKey([3; 32]));
    let busy = Refusal::Busy { after_ms: u32::try_from(BUSY_RETRY.as_millis()).unwrap() };
    let mut held = Vec::new();
    // Those that wait for the store were let in.
    let mut fill = |from| loop {
        let mut get = world.node.get(from, address);
        match (&mut get).now_or_never() {
            None if held.len() <= MAX_GETS => held.push(get),
            None => panic!("no limit"),
            Some(answer) => return (held.len() as u64, answer),
        }
    };
    let one = MAX_CHUNK_BYTES as u64;
    assert_eq!(fill(a), (MAX_GET_BYTES_PER_PEER / one, Err(busy.clone())));
    assert_eq!(fill(b), (MAX_GET_BYTES / one, Err(busy.clone())));
    assert_eq!(fill(c), (MAX_GET_BYTES / one, Err(busy)));
}
