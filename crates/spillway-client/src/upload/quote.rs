//! The second stage: prices. The ten closest peers are asked for each chunk, many chunks in one
//! message; the five closest good answers are kept.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use futures::{StreamExt, TryStreamExt, stream};
use spillway_types::{
    ChunkAddress, Leaf, Nonce, PeerKey, Quote, QuoteAnswer, QuoteError, QuoteItem, QuoteRequest,
    QuoteResponse, QuoteTerms, Receipt, Share, UnixTime,
    limits::{CLOSE_GROUP, MAX_QUOTE_ITEMS, QUOTE_PEERS, STORE_QUORUM},
};

use super::{
    Job, fresh_nonce,
    middle::{Middle, Purpose, Verdict},
};
use crate::{
    QuoteFailure, UploadError,
    limits::{
        LOOKUP_WORKERS, MAX_CONFIRMATIONS, MIN_QUOTE_LIFETIME, QUOTE_ATTEMPTS, QUOTE_WORKERS,
    },
    session::{ChunkInfo, ChunkIx, Priced},
    workers::Work,
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
    /// Why the last of those was dropped.
    last: Option<QuoteFailure>,
}

impl Heard {
    fn drop_answer(&mut self, why: QuoteFailure) {
        self.dropped += 1;
        self.last = Some(why);
    }
}

/// Prices chunks. Those that too few peers answered for are asked for again before giving up.
pub(super) async fn quote(
    job: &Job,
    wanted: &[Wanted],
    purpose: Purpose,
) -> Result<Vec<QuoteOutcome>, UploadError> {
    let mut outcomes = Vec::with_capacity(wanted.len());
    let mut open = wanted.to_vec();
    for attempt in 1.. {
        let mut short = Vec::new();
        let mut failure = None;
        for (want, heard) in ask(job, &open).await? {
            match judge(want, heard, purpose) {
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
            let _place = job.enter(Work::Lookup).await?;
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
        .map(|(peer, items)| async move {
            let _place = job.parts.workers.enter(Work::Quote).await;
            ask_peer(job, peer, items).await
        })
        .buffer_unordered(QUOTE_WORKERS);
    while let Some(reply) = replies.next().await {
        job.check_stop()?;
        for (address, answer) in reply {
            let heard = heard.get_mut(&address).expect("invariant: only what was asked comes back");
            match answer {
                Ok(answer) => heard.answers.push(answer),
                Err(why) => heard.drop_answer(why),
            }
        }
    }
    drop(replies);
    let all = wanted.iter().map(|want| (*want, heard.remove(&want.address).unwrap_or_default()));
    Ok(all.collect())
}

/// Asks one peer.
async fn ask_peer(
    job: &Job,
    peer: PeerKey,
    items: Vec<Wanted>,
) -> Vec<(ChunkAddress, Result<Answer, QuoteFailure>)> {
    let nonce = fresh_nonce();
    let request = QuoteRequest {
        items: items
            .iter()
            .map(|want| QuoteItem { address: want.address, size: want.size })
            .collect(),
        nonce,
    };
    let answers = match job.parts.peers.quote(peer, request).await {
        Ok(QuoteResponse { answers: Ok(answers) }) if answers.len() == items.len() => Ok(answers),
        Ok(QuoteResponse { answers: Ok(_) }) => Err(QuoteFailure::WrongCount),
        Ok(QuoteResponse { answers: Err(refusal) }) => Err(QuoteFailure::Refused(refusal)),
        Err(error) => Err(error.into()),
    };
    let now = job.parts.clock.now();
    let checked: Vec<Result<Answer, QuoteFailure>> = match answers {
        Ok(answers) => items
            .iter()
            .zip(answers)
            .map(|(want, answer)| accept(job, (peer, want), answer, nonce, now))
            .collect(),
        Err(why) => vec![Err(why); items.len()],
    };
    for why in checked.iter().filter_map(|answer| answer.as_ref().err()) {
        tracing::debug!(%peer, %why, "no price");
    }
    items.iter().map(|want| want.address).zip(checked).collect()
}

/// Checks one answer.
fn accept(
    job: &Job,
    (peer, want): (PeerKey, &Wanted),
    answer: QuoteAnswer,
    nonce: Nonce,
    now: UnixTime,
) -> Result<Answer, QuoteFailure> {
    let (domain, min_window) = (&job.parts.domain, job.vault.windows.min);
    let (quote, receipt) = match answer {
        QuoteAnswer::Offered { quote, receipt } => (quote, receipt),
        QuoteAnswer::Refused(refusal) => return Err(QuoteFailure::Refused(refusal)),
    };
    quote.check(peer, domain, (want.address, want.size), now)?;
    check_terms(&quote.terms, min_window, now)?;
    let receipt = receipt.filter(|receipt| {
        let held = receipt.check(peer, domain, (want.address, want.size), nonce);
        if let Err(error) = &held {
            tracing::warn!(%peer, %error, "a receipt does not count");
        }
        held.is_ok()
    });
    Ok(Answer { peer, quote, receipt })
}

/// Refuses terms that one peer could set to hold up a whole payment.
fn check_terms(terms: &QuoteTerms, min_window: Duration, now: UnixTime) -> Result<(), QuoteError> {
    if terms.confirmations > MAX_CONFIRMATIONS {
        let (found, limit) = (terms.confirmations, MAX_CONFIRMATIONS);
        return Err(QuoteError::TooManyConfirmations { found, limit });
    }
    if terms.expires < now.saturating_add(MIN_QUOTE_LIFETIME) {
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
fn judge(want: Wanted, mut heard: Heard, purpose: Purpose) -> Result<QuoteOutcome, UploadError> {
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
    sift(&mut heard, want, purpose);
    let quotes: Vec<Quote> = heard.answers.iter().map(|answer| answer.quote).collect();
    let quotes: [Quote; CLOSE_GROUP] =
        quotes.try_into().map_err(|good: Vec<Quote>| UploadError::TooFewQuotes {
            address: want.address,
            good: good.len(),
            asked: heard.asked.len(),
            dropped: heard.dropped,
            last: heard.last.take(),
        })?;
    let shares = quotes.map(|quote| Share { payee: quote.terms.reward, amount: quote.terms.price });
    let leaf = Leaf { address: want.address, shares };
    Ok(QuoteOutcome::Priced(Box::new(Priced { chunk: want.chunk, leaf, quotes })))
}

/// Keeps the five nearest whose terms are not far from those of the others.
fn sift(heard: &mut Heard, want: Wanted, purpose: Purpose) {
    let middle = Middle::of(heard.answers.iter().map(|answer| &answer.quote.terms));
    heard.answers.sort_by_key(|answer| answer.peer.distance(&want.address));
    let (mut good, mut spare) = (Vec::new(), Vec::new());
    for answer in std::mem::take(&mut heard.answers) {
        match middle.judge(&answer.quote.terms, purpose) {
            Verdict::Good => good.push(answer),
            Verdict::Spare(why) => spare.push((answer, why)),
            Verdict::Bad(why) => {
                tracing::warn!(peer = %answer.peer, %why, "an answer is dropped");
                heard.drop_answer(why);
            }
        }
    }
    good.truncate(CLOSE_GROUP);
    for (answer, why) in spare {
        if good.len() < CLOSE_GROUP {
            good.push(answer);
        } else {
            tracing::debug!(peer = %answer.peer, %why, "an answer is not needed");
        }
    }
    good.sort_by_key(|answer| answer.peer.distance(&want.address));
    heard.answers = good;
}
