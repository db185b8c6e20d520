//! The second stage: prices. The ten closest peers are asked for each chunk, many chunks in one
//! message; the five closest good answers are kept.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use futures::{StreamExt, TryStreamExt, stream};
use spillway_types::{
    Atto, ChunkAddress, Leaf, Nonce, PeerKey, Quote, QuoteAnswer, QuoteError, QuoteItem,
    QuoteRequest, QuoteResponse, QuoteTerms, Receipt, Share, UnixTime,
    limits::{
        CLOSE_GROUP, DEFAULT_PRICE_CAP_FACTOR, MAX_QUOTE_ITEMS, PLAN_MARGIN, QUOTE_PEERS,
        STORE_QUORUM,
    },
};

use super::{Job, fresh_nonce};
use crate::{
    UploadError,
    limits::{
        LOOKUP_WORKERS, MAX_CONFIRMATIONS, MIN_QUOTE_LIFETIME, QUOTE_ATTEMPTS, QUOTE_WORKERS,
    },
    session::{ChunkInfo, ChunkIx, Priced},
};

/// A chunk to be priced.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    pub chunk: ChunkIx,
    pub address: ChunkAddress,
    pub size: u32,
}

impl Wanted {
    pub(crate) fn new(chunk: ChunkIx, info: &ChunkInfo) -> Self {
        Self { chunk, address: info.address, size: info.size }
    }
}

/// What is known of one chunk after asking.
#[derive(Debug)]
pub(crate) enum QuoteOutcome {
    /// It costs this.
    Priced(Box<Priced>),
    /// At least three of the five closest have it.
    Already { chunk: ChunkIx, receipts: Vec<Receipt> },
}

/// One peer's valid answer for one chunk.
#[derive(Clone, Debug)]
struct Answer {
    peer: PeerKey,
    quote: Quote,
    receipt: Option<Receipt>,
}

/// All that was heard about one chunk.
#[derive(Debug, Default)]
struct Heard {
    /// The peers asked, nearest first.
    asked: Vec<PeerKey>,
    answers: Vec<Answer>,
    dropped: usize,
}

/// Prices chunks. Those that too few peers answered for are asked for again before giving up.
pub(crate) async fn quote(job: &Job, wanted: &[Wanted]) -> Result<Vec<QuoteOutcome>, UploadError> {
    let mut outcomes = Vec::with_capacity(wanted.len());
    let mut open = wanted.to_vec();
    for attempt in 1.. {
        let mut short = Vec::new();
        let mut failure = None;
        for (want, heard) in ask(job, &open).await? {
            match judge(want, heard) {
                Ok(outcome) => outcomes.push(outcome),
                Err(error) => {
                    short.push(want);
                    failure = Some(error);
                }
            }
        }
        let Some(error) = failure else { break };
        if attempt == QUOTE_ATTEMPTS {
            return Err(error);
        }
        tracing::warn!(%error, "asking again");
        job.backoff(attempt - 1, Duration::ZERO).await?;
        open = short;
    }
    Ok(outcomes)
}

/// Finds the peers of each chunk and asks each peer for all its chunks.
async fn ask(job: &Job, wanted: &[Wanted]) -> Result<Vec<(Wanted, Heard)>, UploadError> {
    let close: Vec<(Wanted, Vec<PeerKey>)> = stream::iter(wanted.iter().copied())
        .map(|want| async move {
            job.check_stop()?;
            let peers = job.parts.peers.closest(want.address, QUOTE_PEERS).await?;
            Ok::<_, UploadError>((want, peers))
        })
        .buffered(LOOKUP_WORKERS)
        .try_collect()
        .await?;
    let mut by_peer: BTreeMap<PeerKey, Vec<Wanted>> = BTreeMap::new();
    let mut heard: HashMap<ChunkAddress, Heard> = HashMap::new();
    for (want, peers) in close {
        for peer in &peers {
            by_peer.entry(*peer).or_default().push(want);
        }
        heard.insert(want.address, Heard { asked: peers, ..Heard::default() });
    }
    let requests = by_peer.into_iter().flat_map(|(peer, items)| {
        items.chunks(MAX_QUOTE_ITEMS).map(|items| (peer, items.to_vec())).collect::<Vec<_>>()
    });
    let mut replies = stream::iter(requests)
        .map(|(peer, items)| async move { ask_peer(job, peer, items).await })
        .buffer_unordered(QUOTE_WORKERS);
    while let Some(reply) = replies.next().await {
        job.check_stop()?;
        for (address, answer) in reply {
            let heard = heard.get_mut(&address).expect("invariant: only what was asked comes back");
            match answer {
                Some(answer) => heard.answers.push(answer),
                None => heard.dropped += 1,
            }
        }
    }
    drop(replies);
    let all = wanted.iter().map(|want| (*want, heard.remove(&want.address).unwrap_or_default()));
    Ok(all.collect())
}

/// Asks one peer; `None` stands for an answer that was dropped or did not come.
async fn ask_peer(
    job: &Job,
    peer: PeerKey,
    items: Vec<Wanted>,
) -> Vec<(ChunkAddress, Option<Answer>)> {
    let nonce = fresh_nonce();
    let request = QuoteRequest {
        items: items
            .iter()
            .map(|want| QuoteItem { address: want.address, size: want.size })
            .collect(),
        nonce,
    };
    let answers = match job.parts.peers.quote(peer, request).await {
        Ok(QuoteResponse { answers: Ok(answers) }) if answers.len() == items.len() => answers,
        Ok(QuoteResponse { answers: Err(refusal) }) => {
            tracing::debug!(%peer, %refusal, "no prices");
            Vec::new()
        }
        Ok(_) => {
            tracing::warn!(%peer, "as many prices as chunks were expected");
            Vec::new()
        }
        Err(error) => {
            tracing::debug!(%error, "no prices");
            Vec::new()
        }
    };
    let now = job.parts.clock.now();
    let mut answers = answers.into_iter();
    items
        .iter()
        .map(|want| {
            let answer = answers.next().and_then(|a| accept(job, (peer, want), a, nonce, now));
            (want.address, answer)
        })
        .collect()
}

/// Checks one answer; whatever is wrong with it is dropped and noted.
fn accept(
    job: &Job,
    (peer, want): (PeerKey, &Wanted),
    answer: QuoteAnswer,
    nonce: Nonce,
    now: UnixTime,
) -> Option<Answer> {
    let (domain, min_window) = (&job.parts.domain, job.vault.windows.min);
    let (quote, receipt) = match answer {
        QuoteAnswer::Offered { quote, receipt } => (quote, receipt),
        QuoteAnswer::Refused(refusal) => {
            tracing::debug!(%peer, %refusal, "no price");
            return None;
        }
    };
    let checked = quote
        .check(peer, domain, (want.address, want.size), now)
        .and_then(|()| check_terms(&quote.terms, min_window, now));
    if let Err(error) = checked {
        tracing::warn!(%peer, %error, "a price is dropped");
        return None;
    }
    let receipt = receipt.filter(|receipt| {
        let held = receipt.check(peer, domain, (want.address, want.size), nonce);
        if let Err(error) = &held {
            tracing::warn!(%peer, %error, "a receipt does not count");
        }
        held.is_ok()
    });
    Some(Answer { peer, quote, receipt })
}

/// Refuses terms that one peer could set to hold up a whole payment.
fn check_terms(terms: &QuoteTerms, min_window: Duration, now: UnixTime) -> Result<(), QuoteError> {
    if terms.confirmations > MAX_CONFIRMATIONS {
        let (found, limit) = (terms.confirmations, MAX_CONFIRMATIONS);
        return Err(QuoteError::TooManyConfirmations { found, limit });
    }
    if terms.expires < now.saturating_add(PLAN_MARGIN + MIN_QUOTE_LIFETIME) {
        return Err(QuoteError::Expired { expires: terms.expires });
    }
    // What the planner keeps as slack for clocks is at most a tenth, so twice is always enough.
    let found = Duration::from_secs(terms.max_window_secs.into());
    if found < 2 * min_window {
        return Err(QuoteError::WindowTooShort { found });
    }
    Ok(())
}

/// What one chunk's answers come to.
fn judge(want: Wanted, mut heard: Heard) -> Result<QuoteOutcome, UploadError> {
    // Only the five closest that were asked have a vote: distant peers never do.
    let closest = &heard.asked[..heard.asked.len().min(CLOSE_GROUP)];
    let receipts: Vec<Receipt> = heard
        .answers
        .iter()
        .filter(|answer| closest.contains(&answer.peer))
        .filter_map(|answer| answer.receipt)
        .collect();
    if receipts.len() >= STORE_QUORUM {
        return Ok(QuoteOutcome::Already { chunk: want.chunk, receipts });
    }
    let cap = price_cap(&heard.answers);
    heard.answers.retain(|answer| {
        let price = answer.quote.terms.price;
        let fits = price <= cap;
        if !fits {
            let error = QuoteError::OverCap { price, cap };
            tracing::warn!(peer = %answer.peer, %error, "a price is dropped");
            heard.dropped += 1;
        }
        fits
    });
    heard.answers.sort_by_key(|answer| answer.peer.distance(&want.address));
    heard.answers.truncate(CLOSE_GROUP);
    let quotes: Vec<Quote> = heard.answers.iter().map(|answer| answer.quote).collect();
    let quotes: [Quote; CLOSE_GROUP] =
        quotes.try_into().map_err(|good: Vec<Quote>| UploadError::TooFewQuotes {
            address: want.address,
            good: good.len(),
            asked: heard.asked.len(),
            dropped: heard.dropped,
        })?;
    let shares = quotes.map(|quote| Share { payee: quote.terms.reward, amount: quote.terms.price });
    let leaf = Leaf { address: want.address, shares };
    Ok(QuoteOutcome::Priced(Box::new(Priced { chunk: want.chunk, leaf, quotes })))
}

/// Ten times the median of the answers.
fn price_cap(answers: &[Answer]) -> Atto {
    let mut prices: Vec<Atto> = answers.iter().map(|answer| answer.quote.terms.price).collect();
    prices.sort_unstable();
    // The lower of the two middle ones: of ten answers five may be hostile.
    let median = prices.get(prices.len().saturating_sub(1) / 2).copied().unwrap_or(Atto::ZERO);
    median.saturating_mul(u128::from(DEFAULT_PRICE_CAP_FACTOR))
}
