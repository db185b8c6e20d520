//! Questions to the chain: how many, when again, and for whom.

use std::{sync::Arc, time::Duration};

use futures::{FutureExt, future::join_all};
use spillway_net::Serve;
use spillway_node::limits::{
    LOOKUP_DEADLINE, LOOKUPS_PART_PER_PEER, MAX_LOOKUPS, STRANGERS_BURST, UNKNOWN_PAYMENTS_BURST,
};
use spillway_store::ChunkStore;
use spillway_types::{ChunkAddress, PeerKey, Refusal, limits::MAX_CHUNK_BYTES};

use crate::world::{Deal, START, World};

/// The n-th of many payments for one leaf that nobody made.
fn nth_unpaid(deal: &Deal, number: u32) -> Deal {
    let mut deal = deal.clone();
    let upload_by = deal.put.proof.upload_by();
    deal.upload_by(upload_by.saturating_add(Duration::from_secs(number.into())));
    deal
}

/// One of many throwaway names.
fn name(number: u32) -> PeerKey {
    let mut key = [7; 32];
    key[..4].copy_from_slice(&number.to_le_bytes());
    PeerKey(key)
}

#[tokio::test]
async fn one_question_for_all_chunks_of_a_payment() {
    let world = World::new();
    let numbers: Vec<u32> = (1..=20).collect();
    let deals = world.deal_of(&numbers).await;
    world.pay(&deals[0]);
    for deal in &deals {
        world.put(deal).await.unwrap();
    }
    assert_eq!((world.store.chunks(), world.chain.asked()), (20, 1));
}

#[tokio::test]
async fn concurrent_puts_share_one_question() {
    let world = World::new();
    let deals = world.deal_of(&[1, 2, 3, 4, 5]).await;
    world.pay(&deals[0]);
    world.chain.hold(true);
    let puts = join_all(deals.iter().map(|deal| world.put(deal)));
    let release = async {
        world.chain.wait_until_asked(1).await;
        world.chain.hold(false);
    };
    let (receipts, ()) = tokio::join!(biased; puts, release);
    assert!(receipts.iter().all(Result::is_ok), "{receipts:?}");
    assert_eq!(world.chain.asked(), 1);
}

/// Whoever comes while a question is under way, and is told that nothing is recorded, asks once
/// more: the payment may have been recorded since that question was put.
#[tokio::test]
async fn an_answer_that_may_be_older_than_the_payment_is_not_believed() {
    let world = World::new();
    let deals = world.deal_of(&[1, 2]).await;
    world.chain.hold(true);
    let early = world.put(&deals[0]);
    let later = async {
        world.chain.wait_until_asked(1).await;
        world.pay(&deals[1]);
        let put = world.put(&deals[1]);
        let release = async { world.chain.hold(false) };
        tokio::join!(biased; put, release).0
    };
    let (early, later) = tokio::join!(biased; early, later);
    assert_eq!(early, Err(Refusal::Unpaid { payment: deals[0].payment() }));
    assert!(later.is_ok(), "{later:?}");
    assert_eq!(world.chain.asked(), 2);
}

#[tokio::test]
async fn no_record_is_asked_again() {
    let world = World::new();
    let deal = world.deal(1).await;
    assert_eq!(world.put(&deal).await, Err(Refusal::Unpaid { payment: deal.payment() }));
    world.pay(&deal);
    assert!(world.put(&deal).await.is_ok());
    assert_eq!(world.chain.asked(), 2);
}

/// Seen at one depth, a record must be seen again at a greater one.
#[tokio::test]
async fn a_deeper_quote_asks_deeper() {
    let mut world = World::new();
    let deal = world.paid_deal(1).await;
    assert!(world.put(&deal).await.is_ok());
    world.restart(|terms| terms.confirmations = 2);
    let mut deep = world.deal(2).await;
    world.pay(&deep);
    let unpaid = Refusal::Unpaid { payment: deep.payment() };
    assert_eq!(world.put(&deep).await, Err(unpaid));
    world.chain.mine(START);
    world.chain.mine(START);
    assert!(world.put(&deep).await.is_ok());
    assert_eq!(world.chain.asked(), 3);
    // And what was seen at two is good for none.
    deep.requote(0, |terms| terms.confirmations = 0);
    assert!(world.put(&deep).await.is_ok());
    assert_eq!(world.chain.asked(), 3);
    deep.requote(0, |terms| terms.confirmations = 5);
    assert!(matches!(world.put(&deep).await, Err(Refusal::Unpaid { .. })));
    assert_eq!(world.chain.asked(), 4);
}

#[tokio::test]
async fn unknown_payments_are_limited_for_each_peer_and_for_all() {
    let world = World::new();
    let deal = world.deal(1).await;
    let mut number = 0;
    let mut flood = async |from: PeerKey| {
        let mut unpaid = 0;
        loop {
            number += 1;
            let put = nth_unpaid(&deal, number).put;
            match world.node.admit(from, put).await.err() {
                Some(Refusal::Unpaid { .. }) if unpaid <= UNKNOWN_PAYMENTS_BURST => unpaid += 1,
                Some(Refusal::Busy { after_ms }) => return (unpaid, after_ms),
                other => panic!("{other:?}"),
            }
        }
    };
    let (unpaid, after_ms) = flood(PeerKey([1; 32])).await;
    assert_eq!((unpaid, after_ms), (UNKNOWN_PAYMENTS_BURST, 1_000));
    assert_eq!(world.chain.asked(), UNKNOWN_PAYMENTS_BURST as usize);
    // Many names: a fixed multiple, not more.
    let mut total = unpaid;
    for name in 2..=100 {
        total += flood(PeerKey([name; 32])).await.0;
    }
    assert_eq!(total, STRANGERS_BURST);
    assert_eq!(world.chain.asked(), total as usize);
    // It comes back with time.
    world.clock.advance(Duration::from_secs(3));
    assert_eq!(flood(PeerKey([1; 32])).await, (3, 1_000));
    world.assert_nothing_stored();
}

/// Payments that are recorded cost no allowance.
#[tokio::test]
async fn recorded_payments_are_not_limited() {
    let world = World::new();
    let deal = world.deal(1).await;
    let count = 3 * UNKNOWN_PAYMENTS_BURST;
    for number in 0..count {
        let deal = nth_unpaid(&deal, number);
        world.pay(&deal);
        assert!(world.admit(&deal.put).await.is_ok(), "{number}");
    }
    assert_eq!(world.chain.asked(), count as usize);
}

/// One that pays is let in while strangers have used up all that strangers may.
#[tokio::test]
async fn a_flood_of_strangers_leaves_a_share_for_peers_that_have_paid() {
    let world = World::new();
    let (payer, stranger) = (PeerKey([1; 32]), PeerKey([2; 32]));
    let deals = [1, 2, 3, 4].map(|number| world.paid_deal(number));
    let deals = join_all(deals).await;
    let admit = async |from, deal: &Deal| world.node.admit(from, deal.put.clone()).await.err();
    assert_eq!(admit(payer, &deals[0]).await, None);
    for number in 0..STRANGERS_BURST {
        let deal = nth_unpaid(&deals[3], number + 1);
        let payment = deal.payment();
        let refusal = admit(name(number), &deal).await;
        assert_eq!(refusal, Some(Refusal::Unpaid { payment }), "{number}");
    }
    assert!(matches!(admit(stranger, &deals[1]).await, Some(Refusal::Busy { .. })));
    assert_eq!(admit(payer, &deals[1]).await, None);
    assert_eq!(admit(payer, &deals[2]).await, None);
    // One payment that nobody made, and it is a stranger as well.
    let unpaid = nth_unpaid(&deals[3], STRANGERS_BURST + 1);
    let payment = unpaid.payment();
    assert_eq!(admit(payer, &unpaid).await, Some(Refusal::Unpaid { payment }));
    assert!(matches!(admit(payer, &deals[3]).await, Some(Refusal::Busy { .. })));
    // Strangers pass again with the next tokens: hundreds a second.
    world.clock.advance(Duration::from_millis(4));
    assert_eq!(admit(stranger, &deals[3]).await, None);
}

#[tokio::test]
async fn questions_at_once_are_limited() {
    let world = Arc::new(World::new());
    let deals = join_all([1, 2].map(|number| world.paid_deal(number))).await;
    let payer = PeerKey([1; 32]);
    assert!(world.node.admit(payer, deals[0].put.clone()).await.is_ok());
    // Full chunks: what nobody has paid for takes no place of what somebody has.
    let size = u32::try_from(MAX_CHUNK_BYTES).unwrap();
    let deal = world.deal_for(ChunkAddress([3; 32]), size).await;
    world.chain.hold(true);
    let mut tasks = tokio::task::JoinSet::new();
    let mut ask = |from, deal: &Deal| {
        let (world, put) = (world.clone(), deal.put.clone());
        tasks.spawn(async move { world.node.admit(from, put).await.err() });
    };
    // Each name as much as one may, until all places are taken.
    let of_peer = u32::try_from(MAX_LOOKUPS / LOOKUPS_PART_PER_PEER).unwrap();
    let count = u32::try_from(MAX_LOOKUPS).unwrap();
    for number in 0..of_peer {
        ask(name(0), &nth_unpaid(&deal, number));
    }
    world.chain.wait_until_asked(1 + MAX_LOOKUPS / LOOKUPS_PART_PER_PEER).await;
    let one_more = nth_unpaid(&deal, count);
    let refused = async |from| world.node.admit(from, one_more.put.clone()).now_or_never();
    assert!(matches!(refused(name(0)).await, Some(Err(Refusal::Busy { .. }))));
    for number in of_peer..count {
        ask(name(number / of_peer), &nth_unpaid(&deal, number));
    }
    world.chain.wait_until_asked(1 + MAX_LOOKUPS).await;
    assert!(matches!(refused(name(99)).await, Some(Err(Refusal::Busy { .. }))));
    // Who has paid before does not wait for strangers.
    ask(payer, &deals[1]);
    world.chain.wait_until_asked(2 + MAX_LOOKUPS).await;
    // Askers that went away make room.
    tasks.shutdown().await;
    world.chain.hold(false);
    let payment = one_more.payment();
    assert_eq!(world.admit(&one_more.put).await.err(), Some(Refusal::Unpaid { payment }));
}

#[tokio::test]
async fn a_chain_that_does_not_answer_is_not_waited_for() {
    let world = World::new();
    let deal = world.paid_deal(1).await;
    world.chain.hold(true);
    let put = world.put(&deal);
    let time = async {
        world.clock.wait_for_sleepers(1).await;
        world.clock.advance(LOOKUP_DEADLINE);
    };
    let (put, ()) = tokio::join!(biased; put, time);
    assert_eq!(put, Err(Refusal::ChainUnavailable));
    world.chain.hold(false);
    assert!(world.put(&deal).await.is_ok());
}

/// The asker of a shared question goes away: who joined still gets the answer.
#[tokio::test]
async fn a_question_outlives_who_asked_it() {
    let world = World::new();
    let deals = world.deal_of(&[1, 2]).await;
    world.pay(&deals[0]);
    world.chain.hold(true);
    let mut first = Box::pin(world.put(&deals[0]));
    tokio::select! {
        biased;
        _ = &mut first => panic!("the answer is held back"),
        () = world.chain.wait_until_asked(1) => {}
    }
    let mut second = Box::pin(world.put(&deals[1]));
    tokio::select! {
        biased;
        _ = &mut second => panic!("the answer is held back"),
        () = std::future::ready(()) => {}
    }
    drop(first);
    world.chain.hold(false);
    assert!(second.await.is_ok());
    assert_eq!(world.chain.asked(), 1);
}
