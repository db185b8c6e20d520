//! Whether the quoted peers are near: by whom the node knows, and by whom it finds.

use std::{sync::Arc, time::Duration};

use spillway_net::PeersError;
use spillway_node::limits::{BUSY_RETRY, MAX_SEARCHES, SEARCHES_BURST};
use spillway_types::{PeerKey, PeerSecret, Refusal};

use crate::world::{Deal, World, secret};

/// Refused without asking the chain.
async fn refused(world: &World, deal: &Deal, expected: Refusal) {
    assert_eq!(world.admit(&deal.put).await.err(), Some(expected));
    world.assert_nothing_stored();
    assert_eq!(world.chain.asked(), 0);
}

/// The four others that are quoted.
fn others(count: u8) -> Vec<PeerKey> {
    (1..=count).map(|number| secret(number).peer()).collect()
}

/// Peers who are nearer to the chunk than all five that are quoted.
fn strangers(deal: &Deal) -> Vec<PeerKey> {
    let address = deal.put.leaf.address;
    let nearest_quoted = deal.put.quotes.iter().map(|quote| quote.peer.distance(&address)).min();
    (0_u32..)
        .map(|number| {
            let mut seed = [0; 32];
            seed[..4].copy_from_slice(&number.to_le_bytes());
            PeerSecret::from_seed(&seed).peer()
        })
        .filter(|peer| Some(peer.distance(&address)) < nearest_quoted)
        .take(20)
        .collect()
}

#[tokio::test]
async fn four_of_five_among_the_twenty_nearest() {
    let world = World::new();
    let deal = world.paid_deal(1).await;
    let strangers = strangers(&deal);
    let know = |near: usize| {
        world.peers.know(strangers.iter().take(20 - near).chain(&others(4)).copied().collect());
    };
    for near in 0..4_u8 {
        know(near.into());
        refused(&world, &deal, Refusal::NotClosest { known: near }).await;
        assert_eq!(world.peers.searches(), usize::from(near) + 1);
    }
    // Four of five are enough: one may have been dead for the client.
    know(4);
    assert!(world.admit(&deal.put).await.is_ok());
    know(5);
    assert!(world.admit(&deal.put).await.is_ok());
    assert_eq!(world.peers.searches(), 4);
}

#[tokio::test]
async fn peers_that_nobody_knows_do_not_count() {
    let world = World::new();
    let deal = world.paid_deal(1).await;
    // Itself and two others.
    world.peers.know(others(2));
    refused(&world, &deal, Refusal::NotClosest { known: 3 }).await;
    world.peers.know(others(3));
    assert!(world.admit(&deal.put).await.is_ok());
}

/// A node that has just started knows nobody yet: it looks before it refuses what was paid for.
#[tokio::test]
async fn whom_a_node_does_not_know_it_searches_for() {
    let world = World::new();
    let deal = world.paid_deal(1).await;
    world.peers.know(Vec::new());
    refused(&world, &deal, Refusal::NotClosest { known: 1 }).await;
    world.peers.find(Ok(others(2)));
    refused(&world, &deal, Refusal::NotClosest { known: 3 }).await;
    // What it knows and what it finds count together.
    world.peers.know(others(1));
    world.peers.find(Ok(others(3)));
    assert!(world.admit(&deal.put).await.is_ok());
    // Nearer ones that it finds count as well.
    let world = World::new();
    let deal = world.paid_deal(1).await;
    world.peers.know(others(2));
    world.peers.find(Ok(strangers(&deal).into_iter().chain(others(4)).collect()));
    refused(&world, &deal, Refusal::NotClosest { known: 0 }).await;
}

#[tokio::test]
async fn a_search_that_fails_is_no_verdict() {
    let world = World::new();
    let deal = world.paid_deal(1).await;
    world.peers.know(Vec::new());
    world.peers.find(Err(PeersError::NoPeers));
    let after_ms = u32::try_from(BUSY_RETRY.as_millis()).unwrap();
    refused(&world, &deal, Refusal::Busy { after_ms }).await;
}

#[tokio::test]
async fn searches_are_limited_for_a_peer() {
    let world = World::new();
    let deal = world.paid_deal(1).await;
    world.peers.know(Vec::new());
    for _ in 0..SEARCHES_BURST {
        refused(&world, &deal, Refusal::NotClosest { known: 1 }).await;
    }
    for _ in 0..5 {
        refused(&world, &deal, Refusal::Busy { after_ms: 1_000 }).await;
    }
    assert_eq!(world.peers.searches(), SEARCHES_BURST as usize);
    world.clock.advance(Duration::from_secs(1));
    refused(&world, &deal, Refusal::NotClosest { known: 1 }).await;
}

#[tokio::test]
async fn searches_at_once_are_limited() {
    let world = Arc::new(World::new());
    let deal = world.paid_deal(1).await;
    world.peers.know(Vec::new());
    world.peers.hold(true);
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..MAX_SEARCHES {
        let (world, deal) = (world.clone(), deal.clone());
        tasks.spawn(async move { world.admit(&deal.put).await.err() });
    }
    world.peers.wait_until_searched(MAX_SEARCHES).await;
    let after_ms = u32::try_from(BUSY_RETRY.as_millis()).unwrap();
    refused(&world, &deal, Refusal::Busy { after_ms }).await;
    // Searches that were given up make room.
    tasks.shutdown().await;
    world.peers.hold(false);
    refused(&world, &deal, Refusal::NotClosest { known: 1 }).await;
}
