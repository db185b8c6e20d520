//! Every way in which a put is wrong: the exact code, nothing stored, and the chain not asked where
//! arithmetic is enough.

use std::time::Duration;

use spillway_pay::ChainError;
use spillway_store::{ChunkStore, reservation_bytes};
use spillway_types::{
    Atto, ChunkAddress, DirectEntry, Domain, EvmAddress, NetworkId, PeerKey, Refusal,
    RewardAddress, Share,
    limits::{MAX_CHUNK_BYTES, MAX_CLOCK_SKEW, MAX_UPLOAD_WINDOW, QUOTE_LIFETIME},
};

use crate::world::{CHUNK_BYTES, Deal, START, WINDOW, World, chunk, reward, secret};

/// Refused by its header alone: nothing stored, the chain never asked.
async fn refused(world: &World, deal: &Deal, expected: Refusal) {
    let asked = world.chain.asked();
    let free = world.store.capacity_free();
    match world.admit(&deal.put).await {
        Ok(_) => panic!("admitted, expected {expected}"),
        Err(refusal) => assert_eq!(refusal, expected),
    }
    world.assert_nothing_stored();
    assert_eq!(world.chain.asked(), asked, "the chain was asked");
    assert_eq!(world.store.capacity_free(), free, "space is held");
}

/// Refused after the chain was asked: nothing stored.
async fn refused_by_record(world: &World, deal: &Deal, expected: Refusal) {
    let asked = world.chain.asked();
    assert_eq!(world.admit(&deal.put).await.err(), Some(expected));
    world.assert_nothing_stored();
    assert_eq!(world.chain.asked(), asked + 1);
}

trait Free {
    fn capacity_free(&self) -> u64;
}

impl<S: ChunkStore> Free for S {
    fn capacity_free(&self) -> u64 {
        self.capacity().free_bytes()
    }
}

#[tokio::test]
async fn relaying_is_not_supported() {
    let world = World::new();
    let mut deal = world.paid_deal(1).await;
    deal.put.relay_to.push(secret(1).peer());
    refused(&world, &deal, Refusal::Unsupported).await;
}

#[tokio::test]
async fn a_chunk_of_no_or_too_many_bytes() {
    let world = World::new();
    let mut deal = world.paid_deal(1).await;
    for size in [0, u32::try_from(MAX_CHUNK_BYTES).unwrap() + 1, u32::MAX] {
        deal.put.size = size;
        refused(&world, &deal, Refusal::BadSize { size }).await;
    }
}

#[tokio::test]
async fn the_own_quote_is_absent() {
    let world = World::new();
    let mut deal = world.paid_deal(1).await;
    let terms = deal.put.quotes[0].terms;
    deal.put.quotes[0] = terms.sign(&secret(7));
    refused(&world, &deal, Refusal::NotQuoted).await;
}

#[tokio::test]
async fn the_own_quote_is_forged_or_changed() {
    let world = World::new();
    let deal = world.paid_deal(1).await;

    let mut forged = deal.clone();
    let mut quote = deal.put.quotes[0].terms.sign(&secret(7));
    quote.peer = secret(0).peer();
    forged.put.quotes[0] = quote;
    refused(&world, &forged, Refusal::BadQuoteSignature { index: 0 }).await;

    // A lower price under the node's true signature.
    let mut changed = deal.clone();
    changed.put.quotes[0].terms.price = Atto(1);
    changed.share(0, |share| share.amount = Atto(1));
    world.pay(&changed);
    refused(&world, &changed, Refusal::BadQuoteSignature { index: 0 }).await;

    // A longer window.
    let mut changed = deal.clone();
    changed.put.quotes[0].terms.max_window_secs += 1;
    refused(&world, &changed, Refusal::BadQuoteSignature { index: 0 }).await;
}

#[tokio::test]
async fn another_peers_quote_is_forged() {
    let world = World::new();
    for index in 1..5 {
        let mut deal = world.paid_deal(1).await;
        let at = usize::from(index);
        // Signed by another key than the one that it names.
        let mut quote = deal.put.quotes[at].terms.sign(&secret(7));
        quote.peer = secret(index).peer();
        deal.put.quotes[at] = quote;
        refused(&world, &deal, Refusal::BadQuoteSignature { index }).await;
        // Changed after it was signed.
        let mut deal = world.paid_deal(1).await;
        deal.put.quotes[at].terms.price = Atto(1);
        refused(&world, &deal, Refusal::BadQuoteSignature { index }).await;
    }
    // A key that is none.
    let mut deal = world.paid_deal(1).await;
    deal.put.quotes[3].peer = PeerKey([0; 32]);
    refused(&world, &deal, Refusal::BadQuoteSignature { index: 3 }).await;
}

#[tokio::test]
async fn a_quote_for_another_network_chain_or_vault() {
    let world = World::new();
    let changes: [fn(&mut Domain); 3] = [
        |domain| domain.network = NetworkId::named("other"),
        |domain| domain.chain_id += 1,
        |domain| domain.vault = EvmAddress([0x12; 20]),
    ];
    for index in 0..5 {
        for change in changes {
            let mut deal = world.paid_deal(1).await;
            let expected = Box::new(deal.put.quotes[0].terms.domain);
            let mut found = expected.clone();
            change(&mut found);
            deal.requote(index, |terms| terms.domain = *found);
            refused(&world, &deal, Refusal::WrongDomain { index, expected, found }).await;
        }
    }
}

#[tokio::test]
async fn a_quote_for_another_chunk() {
    let world = World::new();
    for index in 0..5 {
        let mut deal = world.paid_deal(1).await;
        deal.requote(index, |terms| terms.address = ChunkAddress::of(&chunk(2)));
        refused(&world, &deal, Refusal::WrongChunk { index }).await;
    }
}

/// A payment and its quotes shown again with another chunk.
#[tokio::test]
async fn replayed_for_another_chunk() {
    let world = World::new();
    let mut deal = world.paid_deal(1).await;
    deal.put.leaf.address = ChunkAddress::of(&chunk(2));
    refused(&world, &deal, Refusal::WrongChunk { index: 0 }).await;

    // With fresh quotes for that chunk, and the old payment.
    let mut fresh = world.deal(2).await;
    fresh.put.proof = world.paid_deal(1).await.put.proof;
    refused(&world, &fresh, Refusal::BadProof).await;
}

#[tokio::test]
async fn another_size_than_quoted() {
    let world = World::new();
    let mut deal = world.paid_deal(1).await;
    deal.put.size = CHUNK_BYTES + 1;
    let expected = Refusal::WrongSize { quoted: CHUNK_BYTES, found: CHUNK_BYTES + 1 };
    refused(&world, &deal, expected).await;
    for index in 1..5 {
        let mut deal = world.paid_deal(1).await;
        deal.requote(index, |terms| terms.size = 1);
        let expected = Refusal::WrongSize { quoted: 1, found: CHUNK_BYTES };
        refused(&world, &deal, expected).await;
    }
}

#[tokio::test]
async fn a_peer_stands_twice() {
    let world = World::new();
    for (from, to) in [(1, 2), (3, 4), (0, 4), (4, 1)] {
        let mut deal = world.paid_deal(1).await;
        deal.put.quotes[to] = deal.put.quotes[from];
        let payee = deal.put.leaf.shares[from].payee;
        deal.share(to, |share| share.payee = payee);
        refused(&world, &deal, Refusal::RepeatedPeer).await;
    }
}

#[tokio::test]
async fn a_share_pays_somebody_else() {
    let world = World::new();
    for index in 0..5 {
        let mut deal = world.paid_deal(1).await;
        deal.share(index.into(), |share| share.payee = RewardAddress([0xaa; 20]));
        world.pay(&deal);
        refused(&world, &deal, Refusal::WrongPayee { index }).await;
    }
    // The payer's own account, five times.
    let mut deal = world.paid_deal(1).await;
    for index in 0..5 {
        deal.share(index, |share| share.payee = reward(0));
    }
    world.pay(&deal);
    refused(&world, &deal, Refusal::WrongPayee { index: 1 }).await;
    // Two shares in each other's place.
    let mut deal = world.paid_deal(1).await;
    deal.put.leaf.shares.swap(2, 3);
    deal.prove();
    world.pay(&deal);
    refused(&world, &deal, Refusal::WrongPayee { index: 2 }).await;
}

#[tokio::test]
async fn a_share_pays_too_little() {
    let world = World::new();
    for index in 0..5 {
        let mut deal = world.paid_deal(1).await;
        let quoted = deal.put.quotes[usize::from(index)].terms.price;
        for paid in [quoted.saturating_sub(Atto(1)), Atto(1), Atto::ZERO] {
            deal.share(index.into(), |share| share.amount = paid);
            world.pay(&deal);
            refused(&world, &deal, Refusal::UnderPaid { index, paid, quoted }).await;
        }
    }
    // One share is whole and the others are dust: a fifth.
    let mut deal = world.paid_deal(1).await;
    let quoted = deal.put.quotes[1].terms.price;
    for index in 1..5 {
        deal.share(index, |share| share.amount = Atto(1));
    }
    world.pay(&deal);
    refused(&world, &deal, Refusal::UnderPaid { index: 1, paid: Atto(1), quoted }).await;
}

/// A leaf's entries in the payment are not its shares.
#[tokio::test]
async fn the_proof_pays_something_else() {
    let world = World::new();
    let deal = world.paid_deal(1).await;

    let mut one_entry = deal.clone();
    one_entry.direct().entries.truncate(1);
    let mut one_less = deal.clone();
    one_less.direct().entries.pop();
    let mut one_more = deal.clone();
    let entry = one_more.direct().entries[0];
    one_more.direct().entries.push(entry);
    let mut merged = deal.clone();
    let entries = &mut merged.direct().entries;
    let total = entries.iter().map(|entry| entry.share.amount).sum();
    entries.truncate(1);
    entries[0].share.amount = total;
    let mut lower = deal.clone();
    lower.direct().entries[4].share.amount = Atto(1);
    let mut other_payee = deal.clone();
    other_payee.direct().entries[4].share.payee = reward(9);
    let mut other_leaf = deal.clone();
    other_leaf.direct().entries[4].leaf.0[0] ^= 1;
    let mut empty = deal.clone();
    empty.direct().entries.clear();
    let mut nobody = deal.clone();
    nobody.direct().entries.push(DirectEntry {
        share: Share { payee: RewardAddress::ZERO, amount: Atto(1) },
        ..entry
    });
    // An amount whose word says another payee.
    let mut wide = deal.clone();
    wide.share(0, |share| share.amount = Atto(1 << 96));

    for (what, deal) in vec![
        ("one entry", one_entry),
        ("one less", one_less),
        ("one more", one_more),
        ("merged", merged),
        ("lower", lower),
        ("other payee", other_payee),
        ("other leaf", other_leaf),
        ("empty", empty),
        ("nobody", nobody),
        ("wide", wide),
    ] {
        world.pay(&deal);
        println!("{what}");
        refused(&world, &deal, Refusal::BadProof).await;
    }
}

#[tokio::test]
async fn too_many_entries() {
    let world = World::new();
    let mut deal = world.paid_deal(1).await;
    let mut entry = deal.direct().entries[0];
    entry.leaf.0[0] ^= 1;
    deal.direct().entries.resize(500, entry);
    world.pay(&deal);
    assert!(world.admit(&deal.put).await.is_ok());
    deal.direct().entries.push(entry);
    world.pay(&deal);
    refused(&world, &deal, Refusal::BadProof).await;
}

#[tokio::test]
async fn unpaid() {
    let world = World::new();
    let deal = world.deal(1).await;
    refused_by_record(&world, &deal, Refusal::Unpaid { payment: deal.payment() }).await;
    world.chain.mine(START);
    refused_by_record(&world, &deal, Refusal::Unpaid { payment: deal.payment() }).await;
    // Another payment of the same leaf is not this one.
    let mut other = deal.clone();
    other.upload_by(START.saturating_add(WINDOW + Duration::from_secs(1)));
    world.pay(&other);
    refused_by_record(&world, &deal, Refusal::Unpaid { payment: deal.payment() }).await;
    world.pay(&deal);
    assert!(world.admit(&deal.put).await.is_ok());
}

#[tokio::test]
async fn not_deep_enough() {
    let world = World::with_terms(|terms| terms.confirmations = 3);
    let deal = world.paid_deal(1).await;
    for _ in 0..3 {
        refused_by_record(&world, &deal, Refusal::Unpaid { payment: deal.payment() }).await;
        world.chain.mine(START);
    }
    assert!(world.admit(&deal.put).await.is_ok());
}

#[tokio::test]
async fn the_chain_is_out_of_reach() {
    let world = World::new();
    let deal = world.paid_deal(1).await;
    world.chain.fail(Some(ChainError::Behind));
    assert_eq!(world.admit(&deal.put).await.err(), Some(Refusal::ChainUnavailable));
    world.assert_nothing_stored();
    world.chain.fail(None);
    assert!(world.admit(&deal.put).await.is_ok());
}

#[tokio::test]
async fn paid_outside_a_quotes_time() {
    let second = Duration::from_secs(1);
    for index in 0..5_u8 {
        // One quote ends before the others; paid in its last second, and one later.
        let world = World::new();
        let mut deal = world.deal(1).await;
        let ends = START.saturating_add(QUOTE_LIFETIME / 2);
        deal.requote(index, |terms| terms.expires = ends);
        world.chain.record_payment(deal.payment(), ends.saturating_add(second));
        refused_by_record(&world, &deal, Refusal::QuoteExpired { index }).await;

        let world = World::new();
        world.chain.record_payment(deal.payment(), ends);
        assert!(world.admit(&deal.put).await.is_ok());

        // One was issued later than the others; paid as early as clocks may differ, and earlier.
        let begins = START.saturating_add(QUOTE_LIFETIME / 2);
        let mut deal = world.deal(1).await;
        deal.requote(index, |terms| terms.issued = begins);
        let earliest = begins.saturating_sub(MAX_CLOCK_SKEW);
        let world = World::new();
        world.chain.record_payment(deal.payment(), earliest.saturating_sub(second));
        refused_by_record(&world, &deal, Refusal::QuoteExpired { index }).await;
        let world = World::new();
        world.chain.record_payment(deal.payment(), earliest);
        assert!(world.admit(&deal.put).await.is_ok());
    }
}

#[tokio::test]
async fn quotes_that_are_never_valid_together() {
    let world = World::new();
    let mut deal = world.paid_deal(1).await;
    let begins = START.saturating_add(QUOTE_LIFETIME + MAX_CLOCK_SKEW + Duration::from_secs(1));
    deal.requote(4, |terms| {
        terms.issued = begins;
        terms.expires = begins.saturating_add(QUOTE_LIFETIME);
    });
    refused(&world, &deal, Refusal::QuoteExpired { index: 0 }).await;
    // For one second they are.
    let mut deal = world.deal(2).await;
    deal.requote(4, |terms| {
        terms.issued = begins.saturating_sub(Duration::from_secs(1));
        terms.expires = begins.saturating_add(QUOTE_LIFETIME);
    });
    world.chain.record_payment(deal.payment(), START.saturating_add(QUOTE_LIFETIME));
    assert!(world.admit(&deal.put).await.is_ok());
}

#[tokio::test]
async fn too_late() {
    let world = World::new();
    let deal = world.paid_deal(1).await;
    let upload_by = deal.put.proof.upload_by();
    world.clock.set(upload_by);
    drop(world.admit(&deal.put).await.unwrap_or_else(|refusal| panic!("{refusal}")));
    let late = upload_by.saturating_add(Duration::from_secs(1));
    world.clock.set(late);
    refused(&world, &deal, Refusal::TooLate { upload_by }).await;
}

/// The node's own clock is behind: the chain's counts.
#[tokio::test]
async fn too_late_by_the_chains_time() {
    let world = World::new();
    let deal = world.paid_deal(1).await;
    let upload_by = deal.put.proof.upload_by();
    world.chain.mine(upload_by.saturating_add(Duration::from_secs(1)));
    refused_by_record(&world, &deal, Refusal::TooLate { upload_by }).await;
}

#[tokio::test]
async fn the_window_is_longer_than_quoted() {
    let world = World::with_terms(|terms| terms.max_window = WINDOW);
    let max_secs = u32::try_from(WINDOW.as_secs()).unwrap();
    let second = Duration::from_secs(1);
    let mut deal = world.deal(1).await;

    // Exactly the longest, measured from the payment.
    deal.upload_by(START.saturating_add(WINDOW));
    world.pay(&deal);
    assert!(world.admit(&deal.put).await.is_ok());
    // A second more.
    deal.upload_by(START.saturating_add(WINDOW + second));
    world.pay(&deal);
    let found_secs = WINDOW.as_secs() + 1;
    refused_by_record(&world, &deal, Refusal::WindowTooLong { max_secs, found_secs }).await;
    // So long that no payment within the quote's time makes it right: the chain is not asked.
    deal.upload_by(START.saturating_add(QUOTE_LIFETIME + WINDOW + second));
    world.pay(&deal);
    refused(&world, &deal, Refusal::WindowTooLong { max_secs, found_secs }).await;
    deal.upload_by(START.saturating_add(MAX_UPLOAD_WINDOW * 1_000));
    assert!(matches!(
        world.admit(&deal.put).await.err(),
        Some(Refusal::WindowTooLong { max_secs: found, .. }) if found == max_secs
    ));
}

#[tokio::test]
async fn a_body_of_another_length_or_content() {
    let world = World::new();
    let deal = world.paid_deal(1).await;
    let mut longer = deal.chunk.to_vec();
    longer.push(0);
    let quoted = CHUNK_BYTES;
    assert_eq!(
        world.put_body(&deal, longer.into()).await,
        Err(Refusal::WrongSize { quoted, found: quoted + 1 })
    );
    let shorter = deal.chunk.slice(..deal.chunk.len() - 1);
    assert_eq!(
        world.put_body(&deal, shorter).await,
        Err(Refusal::WrongSize { quoted, found: quoted - 1 })
    );
    let other = chunk(2);
    let found = ChunkAddress::of(&other);
    assert_eq!(world.put_body(&deal, other).await, Err(Refusal::WrongHash { found }));
    world.assert_nothing_stored();
    // One place, the payer's, and the right one is still taken.
    assert_eq!(world.store.capacity().reserved_bytes, reservation_bytes(CHUNK_BYTES));
    assert_eq!(world.put(&deal).await.unwrap().body.address, deal.put.leaf.address);
    assert_eq!(world.store.capacity().reserved_bytes, 0);
}

/// The first thing that is wrong is what is said, in the order of the checks.
#[tokio::test]
async fn the_order_of_the_checks() {
    let world = World::new();
    let mut deal = world.deal(1).await;
    world.peers.know(Vec::new());
    deal.put.quotes[4] = deal.put.quotes[4].terms.sign(&secret(7));
    deal.put.quotes[4].peer = secret(4).peer();
    deal.direct().entries.pop();
    deal.put.relay_to.push(secret(1).peer());
    let own = deal.put.quotes[0];
    deal.put.quotes[0] = own.terms.sign(&secret(8));

    refused(&world, &deal, Refusal::Unsupported).await;
    deal.put.relay_to.clear();
    refused(&world, &deal, Refusal::NotQuoted).await;
    deal.put.quotes[0] = own;
    refused(&world, &deal, Refusal::BadProof).await;
    deal.prove();
    refused(&world, &deal, Refusal::BadQuoteSignature { index: 4 }).await;
    deal.requote(4, |_| {});
    refused(&world, &deal, Refusal::NotClosest { known: 1 }).await;
    world.peers.know((1..5).map(|number| secret(number).peer()).collect());
    refused_by_record(&world, &deal, Refusal::Unpaid { payment: deal.payment() }).await;
    world.pay(&deal);
    let other = chunk(2);
    let found = ChunkAddress::of(&other);
    assert_eq!(world.put_body(&deal, other).await, Err(Refusal::WrongHash { found }));
    world.assert_nothing_stored();
    assert!(world.put(&deal).await.is_ok());
}
