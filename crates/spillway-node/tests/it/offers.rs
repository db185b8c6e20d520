//! What a node offers to those who pay and settle with batches: when it takes any, for how much at
//! least, how long a place is kept, and what it tells.

use std::time::Duration;

use bytes::Bytes;
use spillway_disk::Clock;
use spillway_net::Serve;
use spillway_node::limits::{
    ALL_PEERS_FACTOR, DEFAULT_MAX_PRIZE, WINS_PAGES_BURST, WINS_PAGES_PER_SECOND,
};
use spillway_pay::{ChainError, PRIZE_PER_TIP};
use spillway_store::{ChunkStore, MemoryStore, reservation_bytes};
use spillway_types::{
    Atto, ChunkAddress, PaymentId, PeerKey, QuoteAnswer, Refusal, Seed, TokenRate, UnixTime, Wei,
    WinsPage, WinsRequest,
    limits::{MAX_AWAITED_SEEDS, MIN_DRAW_DELAY, QUOTE_LIFETIME},
};

use crate::{
    fake_chain::{EPOCH, WINDOWS, boundary},
    puts::assert_receipt,
    wins::{stored_batch, upload_by},
    world::{CHUNK_BYTES, CLIENT, START, WINDOW, World, chunk, rebatch},
};

const SECOND: Duration = Duration::from_secs(1);

/// A token is worth about a coin.
const RATE: TokenRate = TokenRate(Wei(1 << 60));

async fn quoted(world: &World) -> Atto {
    world.deal(1).await.put.quotes[0].terms.max_prize
}

/// Nobody is paid for settling what offers no tip, so that is not taken by default.
#[tokio::test]
async fn batches_are_taken_with_a_rate_or_when_the_operator_says_so() {
    for (rate, said, expected) in [
        (None, None, Atto::ZERO),
        (Some(RATE), None, DEFAULT_MAX_PRIZE),
        (None, Some(Atto(7)), Atto(7)),
        (Some(RATE), Some(Atto::ZERO), Atto::ZERO),
    ] {
        let world = World::with_terms(|terms| {
            terms.token_rate = rate;
            terms.max_prize = said;
        });
        assert_eq!(quoted(&world).await, expected, "{rate:?} {said:?}");
    }
}

/// A seed that may be known while nodes still take chunks makes storing them needless.
#[tokio::test]
async fn a_vault_that_draws_too_soon_gets_no_batches() {
    let mut world = World::new();
    let too_soon = MIN_DRAW_DELAY.saturating_sub(SECOND);
    for (delay, least, expected) in [
        (MIN_DRAW_DELAY, None, DEFAULT_MAX_PRIZE),
        (too_soon, None, Atto::ZERO),
        (too_soon, Some(too_soon), DEFAULT_MAX_PRIZE),
        (SECOND, Some(too_soon), Atto::ZERO),
    ] {
        world.chain.set_draw_delay(delay);
        world.restart(|terms| {
            terms.max_prize = Some(DEFAULT_MAX_PRIZE);
            terms.min_draw_delay = least.unwrap_or(MIN_DRAW_DELAY);
        });
        assert_eq!(quoted(&world).await, expected, "{delay:?} {least:?}");
    }
    // Such a batch is refused by what the node has quoted.
    let mut deals = world.batch_of(&[1], |_| {}).await;
    let found = deals[0].batch().terms.prize(0);
    world.pay(&deals[0]);
    let refused = world.admit(&deals[0].put).await.err();
    assert_eq!(refused, Some(Refusal::PrizeTooLarge { most: Atto::ZERO, found }));
}

#[tokio::test]
async fn a_prize_must_be_worth_four_of_the_quoted_tips() {
    let world = World::with_terms(|terms| terms.token_rate = Some(RATE));
    let mut deals = world.batch_of(&[1, 2, 3], |terms| terms.draws = 4).await;
    let total = deals[0].batch().terms.total;
    // The rest of the division goes to the first draw: the others are the smaller ones.
    assert_ne!(total.0 % 7, 0);
    let found = Atto(total.0 / 7);
    for (tip, draws, is_taken) in [
        (found.0 / PRIZE_PER_TIP, 7, true),
        (found.0 / PRIZE_PER_TIP + 1, 7, false),
        (found.0 / PRIZE_PER_TIP + 1, 6, true),
    ] {
        let tip = Atto(tip);
        for deal in &mut deals {
            deal.requote(0, |quoted| quoted.min_tip = tip);
        }
        rebatch(&mut deals, |terms| {
            terms.tip = tip;
            terms.draws = draws;
        });
        world.pay(&deals[0]);
        let least = Atto(PRIZE_PER_TIP * tip.0);
        let expected = (!is_taken).then_some(Refusal::PrizeTooSmall { least, found });
        assert_eq!(world.admit(&deals[2].put).await.err(), expected, "{tip} {draws}");
    }
}

#[tokio::test]
async fn batches_are_not_quoted_when_they_may_soon_be_refused() {
    let mut world = World::new();
    let patience = Duration::from_mins(1);
    world.patience = Some(patience);
    world.restart(|_| {});
    for (lag, expected) in [
        (EPOCH * 3 / 2, DEFAULT_MAX_PRIZE),
        (EPOCH * 3 / 2 + SECOND, Atto::ZERO),
        (EPOCH, DEFAULT_MAX_PRIZE),
    ] {
        world.chain.set_latest(START.saturating_sub(lag));
        world.follow().await;
        assert_eq!(quoted(&world).await, expected, "{lag:?}");
    }
    // Not heard of is as good as behind; the price goes on.
    world.chain.fail_beacon(true);
    world.clock.advance(patience + SECOND);
    assert_eq!(world.batches.hear().await, Err(ChainError::Behind));
    assert_eq!(quoted(&world).await, Atto::ZERO);
    world.chain.fail_beacon(false);
    world.batches.hear().await.unwrap();
    assert_eq!(quoted(&world).await, DEFAULT_MAX_PRIZE);
}

/// A put that comes long after its quote, as most of an upload of hours do, and whose body breaks off:
/// nobody gets its place meanwhile.
#[tokio::test]
async fn a_paid_place_is_kept_until_the_upload_window_ends() {
    let one = reservation_bytes(CHUNK_BYTES);
    let world = World::with(MemoryStore::new(one), |_| {});
    let deal = world.paid_deal(1).await;
    world.clock.advance(QUOTE_LIFETIME + SECOND);
    for is_sent in [false, true] {
        let admitted = world.admit(&deal.put).await.unwrap_or_else(|refusal| panic!("{refusal}"));
        if is_sent {
            let wrong = admitted.store(Bytes::from(vec![0; CHUNK_BYTES as usize])).await;
            assert!(matches!(wrong.receipts, Err(Refusal::WrongHash { .. })), "{wrong:?}");
        } else {
            drop(admitted);
        }
        assert_eq!(world.store.capacity().reserved_bytes, one, "{is_sent}");
        let other = world.ask(ChunkAddress::of(&chunk(2)), CHUNK_BYTES).await;
        let full = Refusal::Full { free_bytes: 0 };
        assert_eq!(other, QuoteAnswer::Refused(full), "{is_sent}");
    }
    world.clock.set(START.saturating_add(WINDOW));
    assert_receipt(&world.put(&deal).await.unwrap(), &deal);
}

async fn page(world: &World, from: PeerKey) -> Result<WinsPage, Refusal> {
    world.node.wins(from, WinsRequest { after: None }).await.page
}

/// Names cost nothing, so what all may have together is used up by some; whoever has paid has pages of
/// his own.
#[tokio::test]
async fn strangers_do_not_take_the_pages_of_those_who_paid() {
    let world = World::new();
    world.put(&world.paid_deal(1).await).await.unwrap();
    for number in 0..ALL_PEERS_FACTOR {
        for _ in 0..WINS_PAGES_BURST {
            assert!(page(&world, PeerKey([u8::try_from(number).unwrap(); 32])).await.is_ok());
        }
    }
    let after_ms = 1_000_u32.div_ceil(ALL_PEERS_FACTOR * WINS_PAGES_PER_SECOND);
    let busy = Refusal::Busy { after_ms };
    assert_eq!(page(&world, PeerKey([0xdd; 32])).await, Err(busy.clone()));
    for _ in 0..WINS_PAGES_BURST {
        assert!(page(&world, CLIENT).await.is_ok());
    }
    assert_eq!(page(&world, CLIENT).await, Err(busy));
}

/// Whoever settles learns what the node waits for.
#[tokio::test]
async fn the_seeds_that_nobody_has_made_known_are_named() {
    let world = World::new();
    let late = |days: u64| {
        let window = WINDOW + EPOCH * u32::try_from(days).unwrap();
        START.saturating_add(window)
    };
    // The first two have one seed.
    let mut windows = vec![late(0), UnixTime(late(0).0 + 1), late(1), late(2)];
    for (number, end) in (1..).zip(&windows) {
        stored_batch(&world, &[number], 1, |terms| terms.upload_by = *end).await;
    }
    windows.remove(1);
    let at = |end: UnixTime| boundary(end);
    let told = async || page(&world, CLIENT).await.unwrap().waiting;
    world.chain.mine(UnixTime(at(windows[0]).0 - 1));
    world.follow().await;
    assert_eq!(told().await, []);
    // The chain's time counts, and not what the beacon knows.
    world.chain.mine(at(windows[0]));
    world.chain.set_latest(START);
    world.follow().await;
    assert_eq!(told().await.len(), 1);
    assert_eq!(boundary(told().await[0]), boundary(windows[0]));
    world.chain.mine(at(windows[2]));
    world.follow().await;
    let boundaries = |ends: &[UnixTime]| ends.iter().map(|end| boundary(*end)).collect::<Vec<_>>();
    assert_eq!(boundaries(&told().await), boundaries(&windows));
    // Only once in a series of pages.
    let after = Some((PaymentId([0; 32]), 0));
    let next = world.node.wins(CLIENT, WinsRequest { after }).await.page.unwrap();
    assert_eq!(next.waiting, []);
    // Known, and over.
    world.chain.post_seed(windows[1], Seed([1; 32]));
    world.chain.mine(at(windows[2]));
    world.follow().await;
    assert_eq!(boundaries(&told().await), boundaries(&[windows[0], windows[2]]));
    world.chain.mine(WINDOWS.claim_end(UnixTime(late(0).0 + 2)));
    world.follow().await;
    assert_eq!(boundaries(&told().await), boundaries(&windows[2..]));
}

/// As many as an answer holds, those first that are over first.
#[tokio::test]
async fn no_more_seeds_are_named_than_an_answer_holds() {
    let world = World::with_terms(|terms| terms.max_window = Duration::from_hours(24 * 14));
    let count = MAX_AWAITED_SEEDS + 2;
    let mut ends = Vec::new();
    for number in 0..u32::try_from(count).unwrap() {
        // Time goes on, since no window is longer than two weeks.
        let end = world.clock.now().saturating_add(WINDOW);
        stored_batch(&world, &[number], 1, |terms| terms.upload_by = end).await;
        ends.push(end);
        world.clock.advance(EPOCH);
        world.chain.mine(world.clock.now());
        world.follow().await;
    }
    world.chain.mine(boundary(ends[count - 1]));
    world.follow().await;
    assert_eq!(page(&world, CLIENT).await.unwrap().waiting, ends[..MAX_AWAITED_SEEDS]);
}

/// Whoever settles checks it by the chain's time too.
#[tokio::test]
async fn the_own_clock_alone_makes_no_seed_due() {
    let world = World::new();
    let deals = stored_batch(&world, &[1], 1, |_| {}).await;
    world.clock.set(boundary(upload_by(&deals)).saturating_add(EPOCH));
    world.follow().await;
    assert_eq!(page(&world, CLIENT).await.unwrap().waiting, []);
}
