//! Chunks that others offer: what was stored in time is taken over when its window is over, and
//! nothing else is.

use std::time::Duration;

use bytes::Bytes;
use spillway_net::{AdmittedPut, Serve};
use spillway_node::{
    Evidence,
    limits::{MAX_OFFERS_PER_PEER, MAX_PUTS_PER_PEER},
};
use spillway_store::{ChunkStore, MemoryStore, reservation_bytes};
use spillway_types::{
    Atto, ChunkAddress, LeafHash, NetworkId, OfferRequest, PaymentId, PaymentProof, Quote,
    QuoteTerms, Receipt, ReceiptBody, Refusal, UnixTime,
    limits::{MAX_CLOCK_SKEW, QUOTE_LIFETIME},
};

use crate::{
    further::files,
    wins::{SEED, expected, told},
    world::{
        CHUNK_BYTES, CLIENT, Deal, START, WINDOW, World, chunk, domain, leaf, rebatch, reward,
        secret,
    },
};

const SECOND: Duration = Duration::from_secs(1);
/// Those who are quoted, where the node is not.
const QUOTED: [u8; 5] = [1, 2, 3, 4, 5];

fn upload_by() -> UnixTime {
    START.saturating_add(WINDOW)
}

/// What a quoted peer says when it has stored the chunk.
fn said(deal: &Deal) -> ReceiptBody {
    let put = &deal.put;
    ReceiptBody {
        domain: domain(),
        payment: deal.payment(),
        leaf: put.leaf.hash(),
        address: put.leaf.address,
        size: put.size,
        time: START,
        nonce: put.nonce,
    }
}

/// An offer with the receipts of these.
fn offer(deal: &Deal, from: &[u8]) -> OfferRequest {
    let receipts = from.iter().map(|number| said(deal).sign(&secret(*number))).collect();
    OfferRequest { put: deal.put.clone(), receipts }
}

/// Quotes of these peers instead of the deal's own.
fn quoted_by(deal: &mut Deal, numbers: [u8; 5]) {
    let terms = deal.put.quotes[0].terms;
    deal.put.quotes = numbers.map(|number| -> Quote {
        QuoteTerms { reward: reward(number), ..terms }.sign(&secret(number))
    });
    deal.put.leaf = leaf(deal.put.leaf.address, &deal.put.quotes);
    deal.prove();
}

/// A chunk of others, which this node was never asked to keep. Nothing is reserved for it here.
async fn strangers_deal(world: &World, number: u32) -> Deal {
    let helper = World::new();
    let mut deal = helper.deal(number).await;
    quoted_by(&mut deal, QUOTED);
    world.peers.know(QUOTED.map(|number| secret(number).peer()).to_vec());
    deal
}

async fn paid_strangers_deal(world: &World, number: u32) -> Deal {
    let deal = strangers_deal(world, number).await;
    world.pay(&deal);
    deal
}

impl World {
    async fn admit_offer(&self, offer: &OfferRequest) -> Result<Box<dyn AdmittedPut>, Refusal> {
        self.node.admit_offer(CLIENT, offer.clone()).await
    }

    async fn take(&self, offer: &OfferRequest, body: Bytes) -> Result<Receipt, Refusal> {
        let receipts = self.admit_offer(offer).await?.store(body).await.receipts?;
        assert_eq!(receipts.len(), 1);
        Ok(receipts[0])
    }

    fn nothing_held(&self) {
        self.assert_nothing_stored();
        assert_eq!(self.store.capacity().reserved_bytes, 0);
    }
}

/// Refused by its header alone: nothing stored or held, the chain never asked.
async fn refused(world: &World, offer: &OfferRequest, expected: Refusal) {
    let asked = world.chain.asked();
    assert_eq!(world.admit_offer(offer).await.err(), Some(expected));
    world.nothing_held();
    assert_eq!(world.chain.asked(), asked, "the chain was asked");
}

/// Refused after the chain was asked once.
async fn refused_by_record(world: &World, offer: &OfferRequest, expected: Refusal) {
    let asked = world.chain.asked();
    assert_eq!(world.admit_offer(offer).await.err(), Some(expected));
    world.nothing_held();
    assert_eq!(world.chain.asked(), asked + 1);
}

#[tokio::test]
async fn what_was_stored_in_time_is_taken_over_when_its_window_is_over() {
    for is_batch in [false, true] {
        let world = World::new();
        let mut deal = strangers_deal(&world, 1).await;
        if is_batch {
            let mut deals = [deal];
            rebatch(&mut deals, |_| {});
            [deal] = deals;
        }
        world.pay(&deal);
        world.clock.advance(WINDOW + SECOND);
        let late = world.put(&deal).await;
        assert_eq!(late, Err(Refusal::NotQuoted));
        // One at the very end of the window.
        let mut offer = offer(&deal, &[5, 2]);
        let last = ReceiptBody { time: upload_by(), ..said(&deal) };
        offer.receipts.push(last.sign(&secret(3)));
        let receipt = world.take(&offer, deal.chunk.clone()).await.unwrap();
        let time = upload_by().saturating_add(SECOND);
        assert_eq!(receipt, ReceiptBody { time, ..said(&deal) }.sign(&secret(0)));
        let stored = world.store.get(deal.put.leaf.address).await.unwrap();
        assert_eq!(stored, Some(deal.chunk.clone()));
        let evidence = world.store.evidence(deal.put.leaf.address).await.unwrap().unwrap();
        let expected = Evidence {
            stored_at: time,
            leaf: deal.put.leaf.clone(),
            size: deal.put.size,
            proof: deal.put.proof.clone(),
            quotes: deal.put.quotes,
            receipts: offer.receipts.clone(),
        };
        assert_eq!(Evidence::decode(&evidence), Ok(expected));
        // Its own receipt is of no use for another offer.
        let mut with_late = offer.clone();
        with_late.receipts[0] = receipt;
        let again = world.admit_offer(&with_late).await.err();
        assert_eq!(again, Some(Refusal::ForeignReceipt { index: 0 }));
        // What is here already is only signed for.
        assert_eq!(world.take(&offer, deal.chunk.clone()).await, Ok(receipt));
        assert_eq!(world.store.chunks(), 1);
    }
}

/// Who takes a chunk over keeps its proof with it, and settles for those who were quoted.
#[tokio::test]
async fn what_is_taken_over_waits_for_its_draw() {
    let world = World::new();
    let mut deals = [strangers_deal(&world, 1).await, strangers_deal(&world, 2).await];
    rebatch(&mut deals, |terms| terms.draws = 9);
    world.pay(&deals[0]);
    world.clock.advance(WINDOW + SECOND);
    world.take(&offer(&deals[0], &[1, 2, 3]), deals[0].chunk.clone()).await.unwrap();
    world.chain.post_seed(upload_by(), SEED);
    world.follow().await;
    let wins = expected(&deals[..1], SEED);
    assert!((1..9).contains(&wins.len()), "{}", wins.len());
    assert_eq!(told(&world).await, wins);
    assert_eq!(files(&world.disk), Vec::<String>::new());
}

#[tokio::test]
async fn an_offer_of_what_is_here_is_no_further_payment() {
    let world = World::new();
    world.put(&world.paid_deal(1).await).await.unwrap();
    let mut deals = [strangers_deal(&world, 1).await];
    rebatch(&mut deals, |_| {});
    let [deal] = deals;
    world.pay(&deal);
    let receipt = world.take(&offer(&deal, &[1, 2, 3]), deal.chunk.clone()).await.unwrap();
    assert_eq!(receipt.body.payment, deal.payment());
    assert_eq!(files(&world.disk), Vec::<String>::new());
    world.chain.post_seed(upload_by(), SEED);
    world.follow().await;
    assert_eq!(told(&world).await, []);
}

#[tokio::test]
async fn a_quoted_peer_takes_its_own_chunk_back_after_the_window() {
    let world = World::new();
    let deal = world.paid_deal(1).await;
    world.clock.advance(WINDOW + SECOND);
    let upload_by = upload_by();
    assert_eq!(world.put(&deal).await, Err(Refusal::TooLate { upload_by }));
    let receipt = world.take(&offer(&deal, &[1, 2, 3]), deal.chunk.clone()).await.unwrap();
    assert_eq!(receipt.body.payment, deal.payment());
    assert_eq!(world.store.chunks(), 1);
}

#[tokio::test]
async fn too_few_or_too_many_receipts() {
    let world = World::new();
    let deal = paid_strangers_deal(&world, 1).await;
    for found in 0..3 {
        let few = offer(&deal, &QUOTED[..usize::from(found)]);
        refused(&world, &few, Refusal::TooFewReceipts { found }).await;
    }
    let six = offer(&deal, &[1, 2, 3, 4, 5, 5]);
    refused(&world, &six, Refusal::Malformed).await;
    world.take(&offer(&deal, &QUOTED), deal.chunk.clone()).await.unwrap();
}

#[tokio::test]
async fn receipts_of_strangers_and_of_one_peer_twice() {
    let world = World::new();
    let deal = paid_strangers_deal(&world, 1).await;
    for index in 0..3 {
        let mut numbers = [1, 2, 3];
        numbers[usize::from(index)] = 9;
        refused(&world, &offer(&deal, &numbers), Refusal::ForeignReceipt { index }).await;
    }
    refused(&world, &offer(&deal, &[1, 2, 1]), Refusal::RepeatedReceipt { index: 2 }).await;
    // This node's own word counts as little as any other stranger's.
    refused(&world, &offer(&deal, &[0, 1, 2]), Refusal::ForeignReceipt { index: 0 }).await;
}

#[tokio::test]
async fn receipts_for_something_else() {
    let world = World::new();
    let deal = paid_strangers_deal(&world, 1).await;
    let changes: [fn(&mut ReceiptBody); 7] = [
        |body| body.payment = PaymentId([9; 32]),
        |body| body.leaf = LeafHash([9; 32]),
        |body| body.address = ChunkAddress([9; 32]),
        |body| body.size += 1,
        |body| body.domain.network = NetworkId::named("another"),
        |body| body.domain.chain_id += 1,
        |body| body.domain.vault.0[0] += 1,
    ];
    for change in changes {
        let mut body = said(&deal);
        change(&mut body);
        let mut offer = offer(&deal, &[1, 2, 3]);
        offer.receipts[1] = body.sign(&secret(2));
        refused(&world, &offer, Refusal::WrongReceipt { index: 1 }).await;
    }
    // Honest receipts for another chunk of the same peers and payer.
    let other = paid_strangers_deal(&world, 2).await;
    let mut replayed = offer(&deal, &[1, 2, 3]);
    replayed.receipts = offer(&other, &[1, 2, 3]).receipts;
    refused(&world, &replayed, Refusal::WrongReceipt { index: 0 }).await;
}

#[tokio::test]
async fn receipts_that_are_forged() {
    let world = World::new();
    let deal = paid_strangers_deal(&world, 1).await;
    let mut forged = offer(&deal, &[1, 2, 3]);
    let mut receipt = said(&deal).sign(&secret(9));
    receipt.peer = secret(3).peer();
    forged.receipts[2] = receipt;
    refused(&world, &forged, Refusal::BadReceiptSignature { index: 2 }).await;
    // Signed late, and dated back.
    let mut dated_back = offer(&deal, &[1, 2, 3]);
    let late = ReceiptBody { time: upload_by().saturating_add(SECOND), ..said(&deal) };
    dated_back.receipts[0] = late.sign(&secret(1));
    dated_back.receipts[0].body.time = upload_by();
    refused(&world, &dated_back, Refusal::BadReceiptSignature { index: 0 }).await;
}

#[tokio::test]
async fn what_was_not_stored_in_time_is_not_slipped_in_later() {
    let world = World::new();
    let deal = paid_strangers_deal(&world, 1).await;
    world.clock.advance(WINDOW + SECOND);
    let time = upload_by().saturating_add(SECOND);
    for index in 0..3 {
        let mut offer = offer(&deal, &[1, 2, 3]);
        let late = ReceiptBody { time, ..said(&deal) };
        offer.receipts[usize::from(index)] = late.sign(&secret(index + 1));
        refused(&world, &offer, Refusal::ReceiptTime { index, time }).await;
    }
    // A proof with a later end is another payment.
    let mut longer = deal.clone();
    longer.upload_by(time);
    let mut offer = offer(&deal, &[1, 2, 3]);
    offer.put = longer.put;
    refused(&world, &offer, Refusal::WrongReceipt { index: 0 }).await;
}

#[tokio::test]
async fn receipts_are_not_older_than_the_quotes() {
    let world = World::new();
    let deal = paid_strangers_deal(&world, 1).await;
    let earliest = START.saturating_sub(MAX_CLOCK_SKEW);
    let dated = |time| {
        let receipts =
            (1..=3).map(|number| ReceiptBody { time, ..said(&deal) }.sign(&secret(number)));
        OfferRequest { put: deal.put.clone(), receipts: receipts.collect() }
    };
    let time = earliest.saturating_sub(SECOND);
    refused(&world, &dated(time), Refusal::ReceiptTime { index: 0, time }).await;
    world.take(&dated(earliest), deal.chunk.clone()).await.unwrap();
}

#[tokio::test]
async fn receipts_of_before_a_reorganisation_count() {
    let world = World::new();
    let deal = strangers_deal(&world, 1).await;
    // What had recorded it at first is gone from the chain; it was recorded again much later.
    world.clock.advance(2 * MAX_CLOCK_SKEW);
    world.pay(&deal);
    world.take(&offer(&deal, &[1, 2, 3]), deal.chunk.clone()).await.unwrap();
}

#[tokio::test]
async fn what_nobody_has_paid_is_not_taken() {
    let world = World::new();
    let deal = strangers_deal(&world, 1).await;
    let payment = deal.payment();
    refused_by_record(&world, &offer(&deal, &[1, 2, 3]), Refusal::Unpaid { payment }).await;
}

#[tokio::test]
async fn a_payment_outside_of_the_quotes_does_not_count() {
    let world = World::new();
    let deal = strangers_deal(&world, 1).await;
    world.clock.advance(QUOTE_LIFETIME + SECOND);
    world.pay(&deal);
    let offer = offer(&deal, &[1, 2, 3]);
    refused_by_record(&world, &offer, Refusal::QuoteExpired { index: 0 }).await;
}

#[tokio::test]
async fn the_proof_and_the_quotes_are_checked_as_those_of_a_put() {
    let world = World::new();
    let deal = paid_strangers_deal(&world, 1).await;

    let mut underpaid = deal.clone();
    underpaid.share(3, |share| share.amount = Atto(share.amount.0 - 1));
    let quoted = deal.put.quotes[3].terms.price;
    let paid = Atto(quoted.0 - 1);
    let expected = Refusal::UnderPaid { index: 3, paid, quoted };
    refused(&world, &offer(&underpaid, &[1, 2, 3]), expected).await;

    let mut unproven = deal.clone();
    let PaymentProof::Direct(direct) = &mut unproven.put.proof else { panic!("direct") };
    direct.entries.pop();
    refused(&world, &offer(&unproven, &[1, 2, 3]), Refusal::BadProof).await;

    for index in 0..5 {
        let mut forged = deal.clone();
        let at = usize::from(index);
        forged.put.quotes[at].terms.max_window_secs += 1;
        let expected = Refusal::BadQuoteSignature { index };
        refused(&world, &offer(&forged, &[1, 2, 3]), expected).await;
    }

    let mut repeated = deal.clone();
    repeated.put.quotes[1] = repeated.put.quotes[0];
    refused(&world, &offer(&repeated, &[1, 2, 3]), Refusal::RepeatedPeer).await;

    let mut resized = deal.clone();
    resized.put.size += 1;
    let expected = Refusal::WrongSize { quoted: CHUNK_BYTES, found: CHUNK_BYTES + 1 };
    refused(&world, &offer(&resized, &[1, 2, 3]), expected).await;

    let mut relayed = offer(&deal, &[1, 2, 3]);
    relayed.put.relay_to.push(secret(1).peer());
    refused(&world, &relayed, Refusal::Unsupported).await;
}

#[tokio::test]
async fn quoted_peers_that_nobody_knows_and_a_node_that_is_far() {
    let world = World::new();
    let deal = paid_strangers_deal(&world, 1).await;
    world.peers.know(vec![secret(1).peer(), secret(2).peer(), secret(3).peer()]);
    refused(&world, &offer(&deal, &[1, 2, 3]), Refusal::NotClosest { known: 3 }).await;

    // A chunk to which twenty others are nearer than the node, and the five nearest were quoted.
    let peers: Vec<u8> = (1..60).collect();
    let far = (1..).find_map(|number| {
        let address = ChunkAddress::of(&chunk(number));
        let mut nearest = peers.clone();
        nearest.sort_by_key(|peer| secret(*peer).peer().distance(&address));
        let own = secret(0).peer().distance(&address);
        let is_far = secret(nearest[19]).peer().distance(&address) < own;
        is_far.then(|| (number, [0, 1, 2, 3, 4].map(|at| nearest[at])))
    });
    let (number, quoted) = far.unwrap();
    let mut deal = strangers_deal(&world, number).await;
    world.peers.know(peers.iter().map(|peer| secret(*peer).peer()).collect());
    quoted_by(&mut deal, quoted);
    world.pay(&deal);
    refused(&world, &offer(&deal, &quoted), Refusal::NotNear).await;
}

#[tokio::test]
async fn a_wrong_body_leaves_nothing_behind() {
    let world = World::new();
    let deal = paid_strangers_deal(&world, 1).await;
    let offer = offer(&deal, &[1, 2, 3]);
    let short = deal.chunk.slice(1..);
    let expected = Refusal::WrongSize { quoted: CHUNK_BYTES, found: CHUNK_BYTES - 1 };
    assert_eq!(world.take(&offer, short).await, Err(expected));
    world.nothing_held();
    let other = chunk(2);
    let found = ChunkAddress::of(&other);
    assert_eq!(world.take(&offer, other).await, Err(Refusal::WrongHash { found }));
    world.nothing_held();
    // Its sender goes away.
    drop(world.admit_offer(&offer).await.unwrap());
    world.nothing_held();
}

#[tokio::test]
async fn a_full_node_takes_nothing_over() {
    let free_bytes = reservation_bytes(CHUNK_BYTES) - 1;
    let world = World::with(MemoryStore::new(free_bytes), |_| {});
    let deal = paid_strangers_deal(&world, 1).await;
    let refused = world.admit_offer(&offer(&deal, &[1, 2, 3])).await.err();
    assert_eq!(refused, Some(Refusal::Full { free_bytes }));
    world.nothing_held();
}

#[tokio::test]
async fn offers_do_not_keep_out_puts() {
    let world = World::new();
    let deal = paid_strangers_deal(&world, 1).await;
    let offer = offer(&deal, &[1, 2, 3]);
    let paid = world.paid_deal(2).await;
    world.peers.know((1..6).map(|number| secret(number).peer()).collect());
    let mut held = Vec::new();
    let refusal = loop {
        match world.admit_offer(&offer).await {
            Ok(admitted) => held.push(admitted),
            Err(refusal) => break refusal,
        }
    };
    assert!(matches!(refusal, Refusal::Busy { .. }), "{refusal}");
    assert_eq!(held.len(), MAX_OFFERS_PER_PEER);
    // The other places are for puts, of the same peer, too.
    let mut puts = Vec::new();
    for _ in held.len()..MAX_PUTS_PER_PEER {
        puts.push(world.admit(&paid.put).await.unwrap());
    }
    drop(held);
    world.admit_offer(&offer).await.unwrap();
}
