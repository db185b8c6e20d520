//! Prices: who gets one, and what goes with it.

use std::time::Duration;

use spillway_disk::Clock;
use spillway_types::{
    Nonce, PeerKey, Quote, QuoteAnswer, QuoteItem, QuoteRequest, QuoteTerms, Receipt, ReceiptBody,
    Refusal, UnixTime,
    limits::{MAX_QUOTE_ITEMS, QUOTE_LIFETIME},
};

use crate::{
    checks,
    promises::{Room, refusal},
    service::Shared,
    slots::busy_for,
};

/// One answer an item, in their order.
///
/// # Errors
/// A refusal of the whole request.
pub(crate) async fn answer(
    service: &Shared,
    from: PeerKey,
    request: &QuoteRequest,
) -> Result<Vec<QuoteAnswer>, Refusal> {
    let count = request.items.len();
    if !(1..=MAX_QUOTE_ITEMS).contains(&count) {
        return Err(Refusal::Malformed);
    }
    // What is sold now may be paid and not be seen to be.
    if service.clock.is_silent() {
        return Err(Refusal::ChainUnavailable);
    }
    let count = u32::try_from(count).expect("invariant: at most 128 items");
    service.quote_rates().take(from, count, service.clock.monotonic()).map_err(busy_for)?;
    let quotes = quotes(service, from, &request.items);
    let mut answers = Vec::with_capacity(quotes.len());
    for (item, quote) in request.items.iter().zip(quotes) {
        let answer = match quote {
            Ok(quote) => {
                QuoteAnswer::Offered { quote, receipt: receipt(service, item, request.nonce).await }
            }
            Err(refusal) => QuoteAnswer::Refused(refusal),
        };
        answers.push(answer);
    }
    Ok(answers)
}

/// The prices, with one look at the disk for all of them.
fn quotes(service: &Shared, from: PeerKey, items: &[QuoteItem]) -> Vec<Result<Quote, Refusal>> {
    let store = service.store.as_ref();
    // Only when a chunk needs space.
    let mut disk_free = None;
    let quote = |item: &QuoteItem| {
        checks::size_fits(item.size)?;
        let room = || {
            let look = || store.disk_free_bytes().map_err(|error| refusal(&error));
            let disk_free_bytes = disk_free.get_or_insert_with(look).clone()?;
            Ok(Room { store, disk_free_bytes })
        };
        quote(service, from, item, room)
    };
    items.iter().map(quote).collect()
}

/// A price for one chunk, with space set aside for it.
fn quote<'a>(
    service: &Shared,
    from: PeerKey,
    item: &QuoteItem,
    room: impl FnOnce() -> Result<Room<'a>, Refusal>,
) -> Result<Quote, Refusal> {
    let &QuoteItem { address, size } = item;
    let issued = service.clock.now();
    let expires = issued.saturating_add(QUOTE_LIFETIME);
    match service.store.size(address) {
        Some(stored) if stored == size => {}
        // An address has one size: this price could never be used.
        Some(stored) => return Err(Refusal::WrongSize { quoted: size, found: stored }),
        None => {
            // Before the lock: it may ask the disk.
            let room = room()?;
            let chunk = (address, size);
            service.promises().promise(room, (chunk, from), (issued, expires))?;
        }
    }
    Ok(terms(service, item, issued, expires).sign(&service.secret))
}

fn terms(service: &Shared, item: &QuoteItem, issued: UnixTime, expires: UnixTime) -> QuoteTerms {
    let terms = &service.terms;
    QuoteTerms {
        domain: service.domain,
        address: item.address,
        size: item.size,
        price: terms.price.of(item.size, &service.store.capacity()),
        reward: terms.reward,
        issued,
        expires,
        min_tip: service.batches.min_tip(),
        max_prize: service.batches.max_prize(),
        max_window_secs: whole_seconds(terms.max_window),
        confirmations: terms.confirmations,
    }
}

fn whole_seconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_secs()).unwrap_or(u32::MAX)
}

/// The node's word that a chunk is here already, for the payment that it is kept for.
async fn receipt(service: &Shared, item: &QuoteItem, nonce: Nonce) -> Option<Receipt> {
    let &QuoteItem { address, size } = item;
    let kept = service.kept.find(service.store.as_ref(), &service.domain, address).await?;
    let body = ReceiptBody {
        domain: service.domain,
        payment: kept.payment,
        leaf: kept.leaf,
        address,
        size,
        time: kept.stored_at,
        nonce,
    };
    Some(body.sign(&service.secret))
}
