//! Prices: who gets one, and what goes with it.

use std::time::Duration;

use spillway_types::{
    Nonce, PeerKey, Quote, QuoteAnswer, QuoteItem, QuoteRequest, QuoteTerms, Receipt, ReceiptBody,
    Refusal, UnixTime,
    limits::{MAX_QUOTE_ITEMS, QUOTE_LIFETIME},
};

use crate::{checks, service::Shared, slots::busy_for};

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
    let count = u32::try_from(count).expect("invariant: at most 128 items");
    service.quote_rates().take(from, count, service.clock.monotonic()).map_err(busy_for)?;
    let mut answers = Vec::with_capacity(request.items.len());
    for item in &request.items {
        let answer = match quote(service, from, item) {
            Ok(quote) => {
                QuoteAnswer::Offered { quote, receipt: receipt(service, item, request.nonce).await }
            }
            Err(refusal) => QuoteAnswer::Refused(refusal),
        };
        answers.push(answer);
    }
    Ok(answers)
}

/// A price for one chunk, with space set aside for it.
fn quote(service: &Shared, from: PeerKey, item: &QuoteItem) -> Result<Quote, Refusal> {
    let &QuoteItem { address, size } = item;
    checks::size_fits(size)?;
    let issued = service.clock.now();
    let expires = issued.saturating_add(QUOTE_LIFETIME);
    match service.store.size(address) {
        Some(stored) if stored == size => {}
        // An address has one size: this price could never be used.
        Some(stored) => return Err(Refusal::WrongSize { quoted: size, found: stored }),
        None => {
            let store = service.store.as_ref();
            service.promises().promise(store, (address, size), from, issued, expires)?;
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
        min_tip: terms.min_tip,
        max_prize: terms.max_prize,
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
