//! What `Peers` and `Serve` promise, asked of the real network over each transport and of the twin.

use std::{collections::BTreeSet, time::Duration};

use bytes::Bytes;
use futures::future::join_all;
use spillway_net::PeersError;
use spillway_types::{
    HasRequest, PutResponse, QuoteAnswer, QuoteItem, Refusal, WireError,
    limits::{MAX_CHUNK_BYTES, MAX_HAS_ITEMS, MAX_QUOTE_ITEMS},
};
use tokio::time::timeout;

use crate::{
    fixture::{Manner, address, chunk, offer, put, quote, quotes, secret},
    stage::{Medium, Stage},
};

/// Long for anything that happens on one machine, short for any deadline that must not be met.
const SOON: Duration = Duration::from_secs(5);

macro_rules! on_every_medium {
    ($($test:ident),+ $(,)?) => {
        on_every_medium!(@ quic, Quic, $($test),+);
        on_every_medium!(@ tcp, Tcp, $($test),+);
        on_every_medium!(@ memory, Memory, $($test),+);
    };
    (@ $module:ident, $medium:ident, $($test:ident),+) => {
        mod $module {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                super::$test(super::Medium::$medium).await;
            })+
        }
    };
}

on_every_medium!(
    the_nearest_are_found_nearest_first,
    clients_are_never_found,
    prices_come_in_order_from_who_was_asked,
    a_chunk_of_any_size_arrives_whole,
    a_refused_put_is_answered_before_its_body,
    an_offer_is_carried_as_a_put_is,
    a_chunk_comes_back_or_is_known_to_be_missing,
    a_bit_comes_for_each_address,
    many_requests_share_a_connection,
    what_breaks_a_limit_is_not_sent,
    an_answer_to_something_else_is_no_answer,
    a_stranger_cannot_be_reached,
    a_dropped_put_leaves_nothing_behind,
    nodes_ask_each_other,
);

async fn the_nearest_are_found_nearest_first(medium: Medium) {
    let stage = Stage::willing(medium, 7).await;
    for byte in 0..8 {
        let address = address(byte);
        let mut all: Vec<_> = stage.nodes.iter().map(|node| node.key).collect();
        all.sort_by_key(|peer| peer.distance(&address));
        assert_eq!(stage.client.closest(address, 20).await, Ok(all.clone()));
        assert_eq!(stage.client.closest(address, 3).await, Ok(all[..3].to_vec()));
        assert_eq!(stage.client.known_closest(address, 4).await, Ok(all[..4].to_vec()));
        assert_eq!(stage.client.closest(address, 0).await, Ok(Vec::new()));
        // A node never finds itself.
        let node = &stage.nodes[1];
        all.retain(|peer| *peer != node.key);
        assert_eq!(node.peers.closest(address, 20).await, Ok(all.clone()));
        assert_eq!(node.peers.known_closest(address, 20).await, Ok(all));
    }
    stage.end().await;
}

async fn clients_are_never_found(medium: Medium) {
    let stage = Stage::willing(medium, 3).await;
    let nodes: BTreeSet<_> = stage.nodes.iter().map(|node| node.key).collect();
    // Now every node knows that the client is there.
    for node in &nodes {
        stage.client.quote(*node, quotes(1)).await.unwrap();
    }
    for node in &stage.nodes {
        let found = node.peers.closest(address(1), 20).await.unwrap();
        assert!(!found.contains(&stage.client.local()));
        assert_eq!(found.len(), 2);
    }
    stage.end().await;
}

async fn prices_come_in_order_from_who_was_asked(medium: Medium) {
    let stage = Stage::willing(medium, 2).await;
    let node = stage.node();
    node.node.keep(address(1), chunk(10));
    let request = quotes(MAX_QUOTE_ITEMS);
    let response = stage.client.quote(node.key, request.clone()).await.unwrap();
    let answers = response.answers.unwrap();
    assert_eq!(answers.len(), MAX_QUOTE_ITEMS);
    for (index, (answer, item)) in answers.into_iter().zip(request.items).enumerate() {
        let QuoteAnswer::Offered { quote: offered, receipt } = answer else { panic!("{answer:?}") };
        assert_eq!(offered, quote(&secret(1), item));
        assert_eq!(receipt.map(|r| r.body.nonce), (index == 1).then_some(request.nonce));
    }
    assert_eq!(node.node.asked_by(), [stage.client.local()]);
    assert_eq!(stage.nodes[1].node.asked_by(), []);
    stage.end().await;
}

async fn a_chunk_of_any_size_arrives_whole(medium: Medium) {
    let stage = Stage::willing(medium, 1).await;
    let node = stage.node();
    for (byte, size) in [(1, 1), (2, 65_536), (3, 300_001), (4, MAX_CHUNK_BYTES)] {
        let (address, body) = (address(byte), chunk(size));
        let response = stage.client.put(node.key, put(address, size), body.clone()).await.unwrap();
        let receipts = response.receipts.unwrap();
        assert_eq!(receipts.len(), 1);
        assert_eq!(receipts[0].peer, node.key);
        assert_eq!(receipts[0].body.address, address);
        assert!(node.node.chunk(address) == Some(body), "{size} bytes");
    }
    assert_eq!(node.node.asked_by(), vec![stage.client.local(); 4]);
    assert_eq!(node.node.admitted(), 0);
    stage.end().await;
}

async fn a_refused_put_is_answered_before_its_body(medium: Medium) {
    let refusal = Refusal::Full { free_bytes: 12 };
    let stage = Stage::one(medium, Manner::Refusing(refusal.clone())).await;
    let node = stage.node();
    // Larger than any window, so that the sender is still writing when the answer comes.
    let size = MAX_CHUNK_BYTES;
    for _ in 0..8 {
        let asked = stage.client.put(node.key, put(address(1), size), chunk(size));
        let response = timeout(SOON, asked).await.expect("the refusal does not wait for the body");
        assert_eq!(response, Ok(PutResponse { receipts: Err(refusal.clone()) }));
    }
    let small = stage.client.put(node.key, put(address(1), 1), chunk(1)).await;
    assert_eq!(small, Ok(PutResponse { receipts: Err(refusal) }));
    assert_eq!(node.node.chunks(), 0);
    stage.end().await;
}

async fn an_offer_is_carried_as_a_put_is(medium: Medium) {
    let refusal = Refusal::TooFewReceipts { found: 2 };
    let manners = [Manner::Willing, Manner::Refusing(refusal.clone())];
    let stage = Stage::new(medium, &manners).await;
    let (node, refusing) = (&stage.nodes[0], &stage.nodes[1]);
    for (byte, size) in [(1, 1), (2, MAX_CHUNK_BYTES)] {
        let (address, body) = (address(byte), chunk(size));
        let response = stage.client.offer(node.key, offer(address, size), body.clone()).await;
        let receipts = response.unwrap().receipts.unwrap();
        assert_eq!((receipts.len(), receipts[0].peer), (1, node.key));
        assert!(node.node.chunk(address) == Some(body), "{size} bytes");
    }
    // Before its body, which is larger than any window.
    let size = MAX_CHUNK_BYTES;
    let asked = stage.client.offer(refusing.key, offer(address(1), size), chunk(size));
    let response = timeout(SOON, asked).await.expect("the refusal does not wait for the body");
    assert_eq!(response, Ok(PutResponse { receipts: Err(refusal) }));
    // What breaks a limit is not sent.
    let mut many = offer(address(1), 10);
    many.receipts = vec![many.receipts[0]; 6];
    let many = stage.client.offer(node.key, many, chunk(10)).await;
    let limit = WireError::Limit { what: "receipts", found: 6, limit: 5 };
    assert_eq!(many, Err(PeersError::Invalid(limit)));
    assert_eq!(node.node.admitted(), 0);
    stage.end().await;
}

async fn a_chunk_comes_back_or_is_known_to_be_missing(medium: Medium) {
    let refusal = Refusal::StorageFailed;
    let manners = [Manner::Willing, Manner::Refusing(refusal.clone())];
    let stage = Stage::new(medium, &manners).await;
    let node = stage.node();
    for (byte, size) in [(1, 1), (2, 300_001), (3, MAX_CHUNK_BYTES)] {
        node.node.keep(address(byte), chunk(size));
        let body = stage.client.get(node.key, address(byte)).await.unwrap();
        assert!(body == Some(chunk(size)), "{size} bytes");
    }
    assert_eq!(stage.client.get(node.key, address(4)).await, Ok(None));
    // What a chunk cannot be is not sent.
    node.node.keep(address(5), chunk(MAX_CHUNK_BYTES + 1));
    let peer = node.key;
    let oversize = stage.client.get(peer, address(5)).await;
    assert_eq!(oversize, Err(PeersError::Refused { peer, refusal: Refusal::StorageFailed }));
    let peer = stage.nodes[1].key;
    let refused = stage.client.get(peer, address(1)).await;
    assert_eq!(refused, Err(PeersError::Refused { peer, refusal }));
    stage.end().await;
}

async fn a_bit_comes_for_each_address(medium: Medium) {
    let stage = Stage::willing(medium, 1).await;
    let node = stage.node();
    node.node.keep(address(3), chunk(1));
    let addresses: Vec<_> =
        (0..MAX_HAS_ITEMS).map(|i| address(u8::try_from(i % 256).unwrap())).collect();
    let expected: Vec<_> = addresses.iter().map(|asked| *asked == address(3)).collect();
    let response = stage.client.has(node.key, HasRequest { addresses }).await.unwrap();
    assert_eq!(response.present, Ok(expected));
    stage.end().await;
}

async fn many_requests_share_a_connection(medium: Medium) {
    let stage = Stage::willing(medium, 2).await;
    let size = 400_000;
    let puts = (0..48).map(|byte| {
        let node = &stage.nodes[usize::from(byte % 2)];
        stage.client.put(node.key, put(address(byte), size), chunk(size))
    });
    for response in join_all(puts).await {
        assert_eq!(response.unwrap().receipts.unwrap().len(), 1);
    }
    assert_eq!(stage.nodes.iter().map(|node| node.node.chunks()).sum::<usize>(), 48);
    stage.end().await;
}

async fn what_breaks_a_limit_is_not_sent(medium: Medium) {
    let stage = Stage::willing(medium, 1).await;
    let node = stage.node();
    let invalid = |what, found, limit| PeersError::Invalid(WireError::Limit { what, found, limit });
    let many = stage.client.quote(node.key, quotes(MAX_QUOTE_ITEMS + 1)).await;
    assert_eq!(many, Err(invalid("quote items", 129, 128)));
    let none = stage.client.has(node.key, HasRequest { addresses: Vec::new() }).await;
    assert_eq!(none, Err(invalid("addresses", 0, 1024)));
    let long = stage.client.put(node.key, put(address(1), 10), chunk(11)).await;
    assert_eq!(long, Err(invalid("body bytes", 11, 10)));
    let short = stage.client.put(node.key, put(address(1), 10), Bytes::new()).await;
    assert_eq!(short, Err(invalid("body bytes", 0, 10)));
    let size = MAX_CHUNK_BYTES + 1;
    let large = stage.client.put(node.key, put(address(1), size), chunk(size)).await;
    assert_eq!(large, Err(invalid("body bytes", size, MAX_CHUNK_BYTES)));
    assert_eq!(node.node.asked_by(), []);
    stage.end().await;
}

async fn an_answer_to_something_else_is_no_answer(medium: Medium) {
    let stage = Stage::one(medium, Manner::Short).await;
    let peer = stage.node().key;
    let quoted = stage.client.quote(peer, quotes(3)).await;
    assert_eq!(quoted, Err(PeersError::Protocol { peer }));
    let addresses = vec![address(1), address(2)];
    let has = stage.client.has(peer, HasRequest { addresses }).await;
    assert_eq!(has, Err(PeersError::Protocol { peer }));
    // With nothing left the answer breaks a limit, which is not sent either.
    let nothing = stage.client.quote(peer, quotes(1)).await;
    assert_eq!(nothing, Err(PeersError::Broken { peer }));
    stage.end().await;
}

async fn a_stranger_cannot_be_reached(medium: Medium) {
    let stage = Stage::willing(medium, 2).await;
    for peer in [secret(99).peer(), stage.client.local()] {
        let answer = stage.client.get(peer, address(1)).await;
        assert_eq!(answer, Err(PeersError::Unreachable { peer }));
    }
    stage.end().await;
}

async fn a_dropped_put_leaves_nothing_behind(medium: Medium) {
    let stage = Stage::new(medium, &[Manner::Undecided, Manner::Willing]).await;
    let (undecided, willing) = (&stage.nodes[0], &stage.nodes[1]);
    let size = MAX_CHUNK_BYTES;
    // More than may be under way to one peer: each must give its place back. Fewer than a peer
    // judges at once: it cannot see that nobody waits.
    for _ in 0..24 {
        let put = stage.client.put(undecided.key, put(address(1), size), chunk(size));
        assert!(timeout(Duration::from_millis(20), put).await.is_err(), "nobody answers");
    }
    let response = stage.client.put(willing.key, put(address(1), size), chunk(size)).await;
    assert_eq!(response.unwrap().receipts.unwrap().len(), 1);
    let item = QuoteItem { address: address(1), size: 1 };
    let request = spillway_types::QuoteRequest { items: vec![item], nonce: quotes(1).nonce };
    let answered = timeout(SOON, stage.client.quote(undecided.key, request)).await;
    answered.expect("places were given back").unwrap();
    assert_eq!(undecided.node.admitted(), 0);
    stage.end().await;
}

async fn nodes_ask_each_other(medium: Medium) {
    let stage = Stage::willing(medium, 3).await;
    let size = 100_000;
    for (from, to) in [(0, 1), (1, 0), (1, 2), (2, 1)] {
        let (from, to) = (&stage.nodes[from], &stage.nodes[to]);
        from.peers.put(to.key, put(address(1), size), chunk(size)).await.unwrap();
        let body = from.peers.get(to.key, address(1)).await.unwrap();
        assert!(body == Some(chunk(size)), "{size} bytes");
        assert_eq!(to.node.asked_by().last(), Some(&from.key));
    }
    stage.end().await;
}
