//! What a put is checked for before a byte of its body is read: pure functions over its header, in
//! the order in which they are made.
//!
//! 1. [`header`], then [`own_quote`]: limits, and the node's own word.
//! 2. [`payment`]: the proof's arithmetic and what a batch may offer, which gives the payment's id.
//! 3. [`quotes`], then [`near`]: the five quotes, and the peers that signed them.
//! 4. [`recorded`]: what the chain says of the payment.
//! 5. [`in_time`], once more when the body is there.
//!
//! An offer has no quote of this node among its own and may come after its window. What the node
//! would have been asked is judged by those who were paid, and their receipts say so: [`offer_header`],
//! [`offered_payment`], [`quotes`], [`receipts`], [`near`] and [`near_itself`], [`quotes_recorded`].
//!
//! Each finds the first thing that is wrong and has an exact refusal for it. Cheap comparisons come
//! before signatures, and nothing here asks anybody anything.

use std::{collections::BTreeSet, time::Duration};

use spillway_pay::verify::leaf_is_paid;
use spillway_types::{
    BatchTerms, ChunkAddress, Domain, OfferRequest, PaymentId, PaymentProof, PeerKey, PutRequest,
    Quote, QuoteTerms, Refusal, UnixTime,
    limits::{
        CLOSE_GROUP, KNOWN_QUOTED_PEERS, MAX_CHUNK_BYTES, MAX_CLOCK_SKEW, NEIGHBOURHOOD,
        STORE_QUORUM,
    },
};

use crate::tip::least_prize;

/// The node's own quote among the five.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OwnQuote {
    /// Which it is.
    pub(crate) index: u8,
    /// What the node has promised.
    pub(crate) terms: QuoteTerms,
}

/// Whether a chunk of this size is ever stored.
pub(crate) fn size_fits(size: u32) -> Result<(), Refusal> {
    if (1..=MAX_CHUNK_BYTES).contains(&(size as usize)) {
        Ok(())
    } else {
        Err(Refusal::BadSize { size })
    }
}

/// The header alone.
pub(crate) fn header(put: &PutRequest) -> Result<(), Refusal> {
    if !put.relay_to.is_empty() {
        return Err(Refusal::Unsupported);
    }
    size_fits(put.size)
}

/// The header of an offer alone.
pub(crate) fn offer_header(offer: &OfferRequest) -> Result<(), Refusal> {
    header(&offer.put)?;
    let count = offer.receipts.len();
    if count > CLOSE_GROUP {
        return Err(Refusal::Malformed);
    }
    if count < STORE_QUORUM {
        let found = u8::try_from(count).expect("invariant: fewer than a quorum");
        return Err(Refusal::TooFewReceipts { found });
    }
    Ok(())
}

/// Finds the node's own quote and checks that it is for this put and that the node signed it. What
/// it says is honoured, whatever the price is now.
pub(crate) fn own_quote(
    put: &PutRequest,
    me: PeerKey,
    domain: &Domain,
) -> Result<OwnQuote, Refusal> {
    let (index, quote) =
        numbered(put).find(|(_, quote)| quote.peer == me).ok_or(Refusal::NotQuoted)?;
    subject(put, index, quote, domain)?;
    signature(index, quote)?;
    Ok(OwnQuote { index, terms: quote.terms })
}

/// Checks that the proof, once recorded, pays this leaf in full, and that the tip and the prizes of a
/// batch and its window can be ones that were quoted. Returns the payment's id, computed from the terms.
pub(crate) fn payment(
    put: &PutRequest,
    own: &OwnQuote,
    domain: &Domain,
    now: UnixTime,
) -> Result<PaymentId, Refusal> {
    let payment = offered_payment(put, domain)?;
    if let PaymentProof::Batch(batch) = &put.proof {
        offer(&batch.terms, &own.terms)?;
    }
    let upload_by = put.proof.upload_by();
    in_time(upload_by, now)?;
    // Recorded after the quote's end, it is refused anyway; so this is the shortest it can be.
    window(upload_by, own.terms.expires, &own.terms)?;
    Ok(payment)
}

/// Checks that the proof, once recorded, pays this leaf in full, and no more than that. Returns the
/// payment's id, computed from the terms.
pub(crate) fn offered_payment(put: &PutRequest, domain: &Domain) -> Result<PaymentId, Refusal> {
    leaf_is_paid(&put.proof, &put.leaf).map_err(|error| {
        tracing::debug!(%error, "a proof does not hold");
        Refusal::BadProof
    })?;
    Ok(put.proof.id(domain))
}

/// Checks the five quotes against the put, the shares and each other, and at last their signatures.
/// The node's own was checked before, if there is one.
pub(crate) fn quotes(
    put: &PutRequest,
    own: Option<&OwnQuote>,
    domain: &Domain,
) -> Result<(), Refusal> {
    let peers: BTreeSet<PeerKey> = put.quotes.iter().map(|quote| quote.peer).collect();
    if peers.len() < put.quotes.len() {
        return Err(Refusal::RepeatedPeer);
    }
    for (index, quote) in numbered(put) {
        subject(put, index, quote, domain)?;
    }
    for ((index, quote), share) in numbered(put).zip(&put.leaf.shares) {
        let terms = &quote.terms;
        if terms.reward != share.payee {
            return Err(Refusal::WrongPayee { index });
        }
        if terms.price > share.amount {
            return Err(Refusal::UnderPaid { index, paid: share.amount, quoted: terms.price });
        }
    }
    one_moment(put)?;
    let own = own.map(|own| own.index);
    for (index, quote) in numbered(put).filter(|(index, _)| Some(*index) != own) {
        signature(index, quote)?;
    }
    Ok(())
}

/// Checks the receipts of an offer against its put and its quotes, which were checked, and at last
/// their signatures: each of another quoted peer, for this leaf of this payment, and not dated after
/// the upload window. One that is wrong speaks against all.
pub(crate) fn receipts(
    offer: &OfferRequest,
    payment: PaymentId,
    domain: &Domain,
) -> Result<(), Refusal> {
    let OfferRequest { put, receipts } = offer;
    let leaf = put.leaf.hash();
    let issued = put.quotes.iter().map(|quote| quote.terms.issued).max();
    let earliest = issued.map_or(UnixTime(0), |issued| issued.saturating_sub(MAX_CLOCK_SKEW));
    let times = earliest..=put.proof.upload_by();
    let mut peers = BTreeSet::new();
    for (index, receipt) in (0..).zip(receipts) {
        let body = &receipt.body;
        if !put.quotes.iter().any(|quote| quote.peer == receipt.peer) {
            return Err(Refusal::ForeignReceipt { index });
        }
        if !peers.insert(receipt.peer) {
            return Err(Refusal::RepeatedReceipt { index });
        }
        let subject = (body.domain, body.payment, body.leaf, body.address, body.size);
        if subject != (*domain, payment, leaf, put.leaf.address, put.size) {
            return Err(Refusal::WrongReceipt { index });
        }
        if !times.contains(&body.time) {
            return Err(Refusal::ReceiptTime { index, time: body.time });
        }
    }
    for (index, receipt) in (0..).zip(receipts) {
        receipt.verify_signature().map_err(|_| Refusal::BadReceiptSignature { index })?;
    }
    Ok(())
}

/// Checks that the node itself is near the chunk. `known` are the nearest others, in any order.
pub(crate) fn near_itself(put: &PutRequest, me: PeerKey, known: &[PeerKey]) -> Result<(), Refusal> {
    let near = nearest(put.leaf.address, me, known).contains(&me);
    if near { Ok(()) } else { Err(Refusal::NotNear) }
}

/// Checks that enough of the quoted peers are among the nearest to the chunk that the node knows,
/// itself counted. `known` are the nearest others, in any order; some may stand twice.
pub(crate) fn near(put: &PutRequest, me: PeerKey, known: &[PeerKey]) -> Result<(), Refusal> {
    let nearest = nearest(put.leaf.address, me, known);
    let found = put.quotes.iter().filter(|quote| nearest.contains(&quote.peer)).count();
    if found >= KNOWN_QUOTED_PEERS {
        return Ok(());
    }
    let known = u8::try_from(found).expect("invariant: at most the five quoted peers");
    Err(Refusal::NotClosest { known })
}

/// Checks the time at which the payment was recorded. `now` is the later of the chain's time and
/// the node's own.
pub(crate) fn recorded(
    put: &PutRequest,
    own: &OwnQuote,
    recorded: UnixTime,
    now: UnixTime,
) -> Result<(), Refusal> {
    quotes_recorded(put, recorded)?;
    let upload_by = put.proof.upload_by();
    window(upload_by, recorded, &own.terms)?;
    in_time(upload_by, now)
}

/// Checks that all five quotes were valid when the payment was recorded.
pub(crate) fn quotes_recorded(put: &PutRequest, recorded: UnixTime) -> Result<(), Refusal> {
    for (index, quote) in numbered(put) {
        // A clock that is ahead by what clients take must not cost the payer the chunk: decision
        // 0003.
        let issued = quote.terms.issued.saturating_sub(MAX_CLOCK_SKEW);
        if !(issued..=quote.terms.expires).contains(&recorded) {
            return Err(Refusal::QuoteExpired { index });
        }
    }
    Ok(())
}

fn numbered(put: &PutRequest) -> impl Iterator<Item = (u8, &Quote)> {
    (0..).zip(&put.quotes)
}

/// Whether a quote is for this network, chunk and size.
fn subject(put: &PutRequest, index: u8, quote: &Quote, domain: &Domain) -> Result<(), Refusal> {
    let terms = &quote.terms;
    if terms.domain != *domain {
        let (expected, found) = (Box::new(*domain), Box::new(terms.domain));
        return Err(Refusal::WrongDomain { index, expected, found });
    }
    if terms.address != put.leaf.address {
        return Err(Refusal::WrongChunk { index });
    }
    if terms.size != put.size {
        return Err(Refusal::WrongSize { quoted: terms.size, found: put.size });
    }
    Ok(())
}

fn signature(index: u8, quote: &Quote) -> Result<(), Refusal> {
    quote.verify_signature().map_err(|_| Refusal::BadQuoteSignature { index })
}

/// Whether there is any moment at which all five quotes are valid: without one, no record can be
/// good and the chain need not be asked.
fn one_moment(put: &PutRequest) -> Result<(), Refusal> {
    let begins = put.quotes.iter().map(|quote| quote.terms.issued).max().unwrap_or_default();
    let begins = begins.saturating_sub(MAX_CLOCK_SKEW);
    match numbered(put).find(|(_, quote)| quote.terms.expires < begins) {
        Some((index, _)) => Err(Refusal::QuoteExpired { index }),
        None => Ok(()),
    }
}

/// Whether a batch offers what was quoted to whoever settles it, and no draw pays more than was quoted
/// or so little beside the tip that nobody may settle it.
fn offer(batch: &BatchTerms, quoted: &QuoteTerms) -> Result<(), Refusal> {
    if batch.tip < quoted.min_tip {
        return Err(Refusal::TipTooLow { least: quoted.min_tip, found: batch.tip });
    }
    // The first draw has the rest of the division: no other pays more.
    let largest = batch.prize(0);
    if largest > quoted.max_prize {
        return Err(Refusal::PrizeTooLarge { most: quoted.max_prize, found: largest });
    }
    // All but the first pay the same.
    let (least, found) = (least_prize(quoted.min_tip), batch.prize(batch.draws.saturating_sub(1)));
    if found < least { Err(Refusal::PrizeTooSmall { least, found }) } else { Ok(()) }
}

/// Whether the upload window is not over. `now` is the later of the chain's time and the node's own.
pub(crate) fn in_time(upload_by: UnixTime, now: UnixTime) -> Result<(), Refusal> {
    if now > upload_by { Err(Refusal::TooLate { upload_by }) } else { Ok(()) }
}

/// Whether the window from `from` is one that was quoted.
fn window(upload_by: UnixTime, from: UnixTime, terms: &QuoteTerms) -> Result<(), Refusal> {
    let max_secs = terms.max_window_secs;
    let found = upload_by.since(from);
    if found <= Duration::from_secs(max_secs.into()) {
        return Ok(());
    }
    Err(Refusal::WindowTooLong { max_secs, found_secs: found.as_secs() })
}

/// The nearest peers to the chunk, the node itself among them if it is one.
fn nearest(address: ChunkAddress, me: PeerKey, known: &[PeerKey]) -> BTreeSet<PeerKey> {
    let all: BTreeSet<PeerKey> = known.iter().copied().chain([me]).collect();
    let mut by_distance: Vec<_> =
        all.into_iter().map(|peer| (peer.distance(&address), peer)).collect();
    by_distance.sort_unstable();
    by_distance.into_iter().take(NEIGHBOURHOOD).map(|(_, peer)| peer).collect()
}
