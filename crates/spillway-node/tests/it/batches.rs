//! Puts that a batch pays for: what is checked, in which order, and by which clock.

use std::time::Duration;

use futures::future::join_all;
use spillway_disk::Clock;
use spillway_node::{Evidence, limits::TIP_GAS};
use spillway_pay::ChainError;
use spillway_store::ChunkStore;
use spillway_types::{
    Atto, BatchTerms, EvmAddress, NodeHash, PaymentProof, Refusal, RewardAddress, Share, Sibling,
    Side, TokenRate, UnixTime, Wei,
};

use crate::{
    fake_chain::EPOCH,
    puts::assert_receipt,
    world::{CHUNK_BYTES, Deal, START, WINDOW, World, rebatch, reward},
};

/// What is changed of a put.
type Change = fn(&mut Deal);

const SECOND: Duration = Duration::from_secs(1);

/// Refused by its header alone: nothing stored, the chain never asked.
async fn refused(world: &World, deal: &Deal, expected: Refusal) {
    let asked = world.chain.asked();
    assert_eq!(world.admit(&deal.put).await.err(), Some(expected));
    world.assert_nothing_stored();
    assert_eq!(world.chain.asked(), asked, "the chain was asked");
}

async fn admitted(world: &World, deal: &Deal) {
    assert_eq!(world.admit(&deal.put).await.err(), None);
}

#[tokio::test]
async fn the_chunks_of_a_batch_are_stored_with_their_proofs() {
    let world = World::new();
    // Odd sizes: a leaf that moves up has fewer levels.
    let deals = world.batch_of(&[1, 2, 3, 4, 5], |_| {}).await;
    world.pay(&deals[0]);
    for deal in &deals {
        assert_receipt(&world.put(deal).await.unwrap(), deal);
        let bytes = world.store.evidence(deal.put.leaf.address).await.unwrap().unwrap();
        let evidence = Evidence::decode(&bytes).unwrap();
        assert_eq!(
            (evidence.proof, evidence.leaf),
            (deal.put.proof.clone(), deal.put.leaf.clone())
        );
    }
    let levels =
        deals.clone().iter_mut().map(|deal| deal.batch().siblings.len()).collect::<Vec<_>>();
    assert_eq!(levels, [3, 3, 3, 3, 1]);
}

#[tokio::test]
async fn a_batch_is_looked_up_once_however_many_leaves_it_has() {
    let world = World::new();
    let numbers: Vec<u32> = (0..300).collect();
    let deals = world.batch_of(&numbers, |terms| terms.draws = 3).await;
    world.pay(&deals[0]);
    for some in deals.chunks(48) {
        for receipt in join_all(some.iter().map(|deal| world.put(deal))).await {
            assert!(receipt.is_ok(), "{receipt:?}");
        }
    }
    assert_eq!((world.store.chunks(), world.chain.asked()), (300, 1));
}

#[tokio::test]
async fn a_tip_below_the_quoted() {
    let world = World::with_terms(|terms| terms.token_rate = Some(TokenRate(Wei(1 << 60))));
    let least = world.batches.min_tip();
    assert!(least > Atto(1), "{least}");
    let mut deals = world.batch_of(&[1], |terms| terms.tip = least).await;
    world.pay(&deals[0]);
    admitted(&world, &deals[0]).await;
    for found in [Atto::ZERO, Atto(least.0 - 1)] {
        rebatch(&mut deals, |terms| terms.tip = found);
        world.pay(&deals[0]);
        refused(&world, &deals[0], Refusal::TipTooLow { least, found }).await;
    }
    // The node's own quote counts, not what it would quote now, and not what others ask.
    let mut honoured = deals.remove(0);
    honoured.requote(0, |terms| terms.min_tip = Atto(7));
    honoured.requote(1, |terms| terms.min_tip = Atto(8));
    rebatch(std::slice::from_mut(&mut honoured), |terms| terms.tip = Atto(7));
    world.pay(&honoured);
    admitted(&world, &honoured).await;
    honoured.requote(0, |terms| terms.min_tip = Atto(8));
    refused(&world, &honoured, Refusal::TipTooLow { least: Atto(8), found: Atto(7) }).await;
}

#[tokio::test]
async fn a_prize_over_the_quoted() {
    let world = World::new();
    let mut deals = world.batch_of(&[1, 2, 3], |terms| terms.draws = 4).await;
    let terms = deals[0].batch().terms;
    let (largest, other) = (terms.prize(0), terms.prize(1));
    assert!(largest.0 >= other.0);
    for deal in &mut deals {
        deal.requote(0, |terms| terms.max_prize = largest);
    }
    world.pay(&deals[0]);
    admitted(&world, &deals[0]).await;
    for deal in &mut deals {
        deal.requote(0, |terms| terms.max_prize = Atto(largest.0 - 1));
    }
    let expected = Refusal::PrizeTooLarge { most: Atto(largest.0 - 1), found: largest };
    refused(&world, &deals[2], expected).await;
    // The rest of the division goes to the first draw, which alone is too large.
    rebatch(&mut deals, |terms| terms.draws = 7);
    let terms = deals[0].batch().terms;
    assert!(terms.prize(0) > terms.prize(1));
    for deal in &mut deals {
        deal.requote(0, |quoted| quoted.max_prize = terms.prize(1));
    }
    world.pay(&deals[0]);
    let expected = Refusal::PrizeTooLarge { most: terms.prize(1), found: terms.prize(0) };
    refused(&world, &deals[0], expected).await;
}

#[tokio::test]
async fn no_batches_by_a_prize_of_nothing() {
    let world = World::with_terms(|terms| terms.max_prize = Some(Atto::ZERO));
    let mut deal = world.paid_batch(1, |_| {}).await;
    let found = deal.batch().terms.total;
    refused(&world, &deal, Refusal::PrizeTooLarge { most: Atto::ZERO, found }).await;
    assert!(world.put(&world.paid_deal(1).await).await.is_ok());
}

/// Everything that is wrong at once is told one by one, in the order of the checks.
#[tokio::test]
async fn the_first_thing_that_is_wrong_is_told() {
    let world = World::with_terms(|terms| terms.max_window = WINDOW);
    let mut deal = world.paid_batch(1, |_| {}).await;
    deal.requote(0, |terms| {
        terms.min_tip = Atto(1);
        terms.max_prize = Atto(1);
    });
    let total = deal.batch().terms.total;
    let expires = deal.put.quotes[0].terms.expires;
    let late = expires.saturating_add(WINDOW + SECOND);
    deal.batch().terms.upload_by = late;
    deal.put.leaf.shares[1].payee = RewardAddress([0xaa; 20]);
    world.chain.set_latest(UnixTime(0));
    world.follow().await;
    refused(&world, &deal, Refusal::BadProof).await;
    rebatch(std::slice::from_mut(&mut deal), |terms| terms.upload_by = late);
    refused(&world, &deal, Refusal::TipTooLow { least: Atto(1), found: Atto::ZERO }).await;
    deal.batch().terms.tip = Atto(1);
    refused(&world, &deal, Refusal::PrizeTooLarge { most: Atto(1), found: total }).await;
    deal.requote(0, |terms| terms.max_prize = total);
    let max_secs = u32::try_from(WINDOW.as_secs()).unwrap();
    let found_secs = WINDOW.as_secs() + 1;
    refused(&world, &deal, Refusal::WindowTooLong { max_secs, found_secs }).await;
    deal.batch().terms.upload_by = UnixTime(START.0 - 1);
    refused(&world, &deal, Refusal::TooLate { upload_by: UnixTime(START.0 - 1) }).await;
    deal.batch().terms.upload_by = START.saturating_add(WINDOW);
    refused(&world, &deal, Refusal::WrongPayee { index: 1 }).await;
    let payee = reward(1);
    deal.put.leaf.shares[1].payee = payee;
    rebatch(std::slice::from_mut(&mut deal), |terms| terms.tip = Atto(1));
    let payment = deal.payment();
    assert_eq!(world.admit(&deal.put).await.err(), Some(Refusal::Unpaid { payment }));
    world.pay(&deal);
    let behind = Refusal::BeaconBehind { latest: UnixTime(0) };
    assert_eq!(world.admit(&deal.put).await.err(), Some(behind));
    world.chain.set_latest(START);
    world.follow().await;
    assert_receipt(&world.put(&deal).await.unwrap(), &deal);
}

/// What a batch commits to cannot be changed: the proof breaks, or it is another payment.
#[tokio::test]
async fn a_proof_that_was_changed() {
    let world = World::new();
    let deals = world.batch_of(&[1, 2, 3], |terms| terms.draws = 2).await;
    world.pay(&deals[0]);
    let broken: Vec<(&str, Change)> = vec![
        ("hash", |deal| deal.batch().siblings[0].hash.0[31] ^= 1),
        ("sum", |deal| deal.batch().siblings[0].sum.0 += 1),
        ("side", |deal| deal.batch().siblings[0].side = Side::Left),
        ("missing", |deal| deal.batch().siblings.truncate(1)),
        ("extra", |deal| {
            let sibling = Sibling { hash: NodeHash([0; 32]), sum: Atto(0), side: Side::Right };
            deal.batch().siblings.push(sibling);
        }),
        ("too many", |deal| {
            let sibling = deal.batch().siblings[0];
            deal.batch().siblings.resize(33, sibling);
        }),
        ("swapped", |deal| deal.batch().siblings.swap(0, 1)),
        ("root", |deal| deal.batch().terms.root.0[0] ^= 1),
        ("total", |deal| deal.batch().terms.total.0 += 1),
        ("no draws", |deal| deal.batch().terms.draws = 0),
        ("201 draws", |deal| deal.batch().terms.draws = 201),
        ("wide tip", |deal| deal.batch().terms.tip = Atto(1 << 96)),
        ("wide share", |deal| deal.put.leaf.shares[4].amount = Atto(1 << 96)),
        ("more", |deal| deal.put.leaf.shares[4].amount.0 += 1),
        ("nothing", |deal| {
            deal.put.leaf.shares =
                deal.put.leaf.shares.map(|share| Share { amount: Atto(0), ..share });
        }),
    ];
    for (what, change) in broken {
        let mut deal = deals[0].clone();
        change(&mut deal);
        println!("{what}");
        refused(&world, &deal, Refusal::BadProof).await;
    }
    let others: Vec<fn(&mut BatchTerms)> = vec![
        |terms| terms.payer = EvmAddress([1; 20]),
        |terms| terms.tip = Atto(1),
        |terms| terms.upload_by.0 -= 1,
        |terms| terms.draws = 3,
    ];
    for change in others {
        let mut deal = deals[0].clone();
        change(&mut deal.batch().terms);
        let payment = deal.payment();
        assert_ne!(payment, deals[0].payment());
        assert_eq!(world.admit(&deal.put).await.err(), Some(Refusal::Unpaid { payment }));
    }
    world.assert_nothing_stored();
    admitted(&world, &deals[0]).await;
}

#[tokio::test]
async fn another_size_than_quoted() {
    let world = World::new();
    let deals = world.batch_of(&[1, 2], |_| {}).await;
    world.pay(&deals[0]);
    let mut larger = deals[0].clone();
    larger.put.size = CHUNK_BYTES + 1;
    let expected = Refusal::WrongSize { quoted: CHUNK_BYTES, found: CHUNK_BYTES + 1 };
    refused(&world, &larger, expected).await;
    for index in 1..5 {
        let mut other = deals[0].clone();
        other.requote(index, |terms| terms.size = 1);
        refused(&world, &other, Refusal::WrongSize { quoted: 1, found: CHUNK_BYTES }).await;
    }
    let short = world.put_body(&deals[0], deals[0].chunk.slice(1..)).await;
    let found = CHUNK_BYTES - 1;
    assert_eq!(short, Err(Refusal::WrongSize { quoted: CHUNK_BYTES, found }));
    // Another chunk of the same batch is another chunk.
    let found = deals[1].put.leaf.address;
    let wrong = world.put_body(&deals[0], deals[1].chunk.clone()).await;
    assert_eq!(wrong, Err(Refusal::WrongHash { found }));
    assert_eq!(world.store.chunks(), 0);
}

#[tokio::test]
async fn nothing_comes_after_the_window() {
    for batch in [true, false] {
        let world = World::new();
        let deal = if batch { world.paid_batch(1, |_| {}).await } else { world.paid_deal(1).await };
        let upload_by = deal.put.proof.upload_by();
        let late = Err(Refusal::TooLate { upload_by });
        world.clock.set(upload_by.saturating_add(SECOND));
        assert_eq!(world.put(&deal).await, late);
        // In its last second, with a body that comes a second later.
        world.clock.set(upload_by);
        let put = world.admit(&deal.put).await.unwrap_or_else(|refusal| panic!("{refusal}"));
        world.clock.advance(SECOND);
        assert_eq!(put.store(deal.chunk.clone()).await.receipts.map(drop), late.clone().map(drop));
        assert_eq!(world.store.chunks(), 0);
        // The chain's time passes it while the body comes.
        world.clock.set(upload_by);
        let put = world.admit(&deal.put).await.unwrap_or_else(|refusal| panic!("{refusal}"));
        world.chain.mine(upload_by.saturating_add(SECOND));
        world.batches.hear().await.unwrap();
        assert_eq!(put.store(deal.chunk.clone()).await.receipts.map(drop), late.map(drop));
        assert_eq!(world.store.chunks(), 0);
        // In time.
        world.chain.mine(upload_by);
        world.batches.hear().await.unwrap();
        assert_receipt(&world.put(&deal).await.unwrap(), &deal);
    }
}

/// The look-up itself takes longer than the window lasts.
#[tokio::test]
async fn a_look_up_that_ends_after_the_window() {
    let world = World::new();
    let deal = world.paid_batch(1, |_| {}).await;
    let upload_by = deal.put.proof.upload_by();
    world.clock.set(upload_by);
    world.chain.hold(true);
    let put = world.put(&deal);
    let time = async {
        world.chain.wait_until_asked(1).await;
        world.clock.advance(SECOND);
        world.chain.hold(false);
    };
    let (put, ()) = tokio::join!(biased; put, time);
    assert_eq!(put, Err(Refusal::TooLate { upload_by }));
    world.assert_nothing_stored();
    // The block at which the payment was seen is later than the window.
    let world = World::new();
    let deal = world.paid_batch(1, |_| {}).await;
    world.chain.mine(upload_by.saturating_add(SECOND));
    assert_eq!(world.put(&deal).await, Err(Refusal::TooLate { upload_by }));
}

#[tokio::test]
async fn a_beacon_that_was_behind_at_the_payment_and_is_back() {
    let world = World::new();
    let deal = world.paid_batch(1, |_| {}).await;
    let late = world.batch_of(&[3], |_| {}).await.remove(0);
    let most = START.saturating_sub(2 * EPOCH);
    world.chain.set_latest(most);
    world.follow().await;
    admitted(&world, &deal).await;
    let latest = most.saturating_sub(SECOND);
    world.chain.set_latest(latest);
    // It is followed with the head, not asked for at every put.
    admitted(&world, &deal).await;
    world.follow().await;
    let asked = world.chain.asked();
    assert_eq!(world.put(&deal).await, Err(Refusal::BeaconBehind { latest }));
    assert_eq!((world.chain.asked(), world.store.chunks()), (asked, 0));
    // A second later it is too late to pay, too.
    world.chain.set_latest(most);
    world.follow().await;
    world.clock.advance(SECOND);
    world.pay(&late);
    assert_eq!(world.put(&late).await, Err(Refusal::BeaconBehind { latest: most }));
    // Direct payments need no beacon.
    assert!(world.put(&world.paid_deal(2).await).await.is_ok());
    // Neither a batch nor its window is lost by it.
    world.chain.set_latest(START);
    world.follow().await;
    for deal in [deal, late] {
        assert_receipt(&world.put(&deal).await.unwrap(), &deal);
    }
}

/// What was paid in time is stored: the beacon's lag counts when the batch is recorded, not when its
/// chunks come.
#[tokio::test]
async fn a_beacon_that_dies_after_the_payment() {
    let world = World::new();
    let deals = world.batch_of(&[1, 2, 3], |_| {}).await;
    let unpaid = world.batch_of(&[4], |_| {}).await.remove(0);
    world.chain.set_latest(START.saturating_sub(2 * EPOCH));
    world.follow().await;
    world.pay(&deals[0]);
    assert_receipt(&world.put(&deals[0]).await.unwrap(), &deals[0]);
    // Another epoch without a seed, up to the window's last second.
    world.clock.set(deals[0].put.proof.upload_by());
    world.follow().await;
    assert_eq!(world.batches.max_prize(), Atto::ZERO);
    assert_receipt(&world.put(&deals[1]).await.unwrap(), &deals[1]);
    let payment = unpaid.payment();
    assert_eq!(world.put(&unpaid).await, Err(Refusal::Unpaid { payment }));
    // After a restart it is looked up anew, with the same result; a seed that is newer than the
    // record changes nothing.
    let mut world = world;
    world.restart(|_| {});
    admitted(&world, &deals[2]).await;
    world.chain.set_latest(START.saturating_add(SECOND));
    world.follow().await;
    assert_receipt(&world.put(&deals[2]).await.unwrap(), &deals[2]);
}

#[tokio::test]
async fn a_beacon_that_is_not_heard_is_like_a_silent_chain() {
    let mut world = World::new();
    let patience = Duration::from_mins(1);
    world.patience = Some(patience);
    world.restart(|_| {});
    let deal = world.paid_batch(1, |_| {}).await;
    let unpaid = world.batch_of(&[3], |_| {}).await.remove(0);
    world.chain.fail_beacon(true);
    assert_eq!(world.batches.hear().await, Err(ChainError::Behind));
    world.clock.advance(patience);
    admitted(&world, &deal).await;
    world.clock.advance(Duration::from_millis(1));
    assert_eq!(world.batches.hear().await, Err(ChainError::Behind));
    // Not even that it is unpaid: nothing is looked up.
    let asked = world.chain.asked();
    for deal in [&deal, &unpaid] {
        assert_eq!(world.put(deal).await, Err(Refusal::ChainUnavailable));
    }
    assert_eq!(world.chain.asked(), asked);
    // The head is heard, so the rest goes on.
    assert!(world.put(&world.paid_deal(2).await).await.is_ok());
    world.chain.fail_beacon(false);
    world.batches.hear().await.unwrap();
    assert_receipt(&world.put(&deal).await.unwrap(), &deal);
}

#[tokio::test]
async fn the_tip_follows_the_price_of_gas() {
    // A token is worth a coin.
    let rate = TokenRate(Wei(1_000_000_000_000_000_000));
    let world = World::with_terms(|terms| terms.token_rate = Some(rate));
    let gas = u128::from(TIP_GAS);
    let first = world.deal(1).await;
    assert_eq!(first.put.quotes[0].terms.min_tip, Atto(gas));
    world.chain.set_gas_price(50);
    let deal = world.deal(1).await;
    assert_eq!(deal.put.quotes[0].terms.min_tip, Atto(gas));
    world.follow().await;
    let dearer = world.deal(1).await;
    assert_eq!(dearer.put.quotes[0].terms.min_tip, Atto(50 * gas));
    // Out of reach: what was known last.
    world.chain.fail(Some(ChainError::Behind));
    assert_eq!(world.batches.hear().await, Err(ChainError::Behind));
    world.chain.fail(None);
    assert_eq!(world.batches.min_tip(), Atto(50 * gas));
    // What was quoted while gas was cheap is honoured.
    let mut deals = [first];
    rebatch(&mut deals, |terms| terms.tip = Atto(gas));
    world.chain.record_payment(deals[0].payment(), world.clock.now());
    assert_receipt(&world.put(&deals[0]).await.unwrap(), &deals[0]);
    assert!(matches!(deals[0].put.proof, PaymentProof::Batch(_)));
}

/// A price of gas that is old is none: nobody is asked for a tip that may not pay.
#[tokio::test]
async fn no_tip_is_enough_while_the_price_of_gas_is_not_heard() {
    let mut world = World::new();
    let patience = Duration::from_mins(1);
    world.patience = Some(patience);
    world.restart(|terms| terms.token_rate = Some(TokenRate(Wei(1 << 60))));
    let usual = world.batches.min_tip();
    world.chain.fail_fees(true);
    world.clock.advance(patience);
    assert_eq!(world.batches.hear().await, Err(ChainError::Behind));
    assert_eq!(world.batches.min_tip(), usual);
    world.clock.advance(Duration::from_millis(1));
    let deal = world.deal(1).await;
    assert_eq!(deal.put.quotes[0].terms.min_tip, Atto(u128::MAX));
    world.chain.fail_fees(false);
    world.batches.hear().await.unwrap();
    assert_eq!(world.batches.min_tip(), usual);
}
