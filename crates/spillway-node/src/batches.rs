//! What a node knows and keeps of batch payments.
//!
//! Owns what is followed of the chain for them (the beacon's state and the price of gas), the
//! *further proofs* (of later payments for chunks that are stored already, in `proofs/`), the index
//! of the proofs whose draw is still to come, and the *wins* (draws that the node's chunks have won,
//! in `wins/`). It has no tasks of its own: [`Follower`](crate::Follower) drives it.
//!
//! The way of a proof: a put was checked and its proof is durable, with its chunk or in a file of its
//! own → its leaf is in the index → the seed of its batch is known → every draw that fell on the
//! leaf is a win, durable before it is shown → the claim window is over, or the chain says that the
//! draw is settled, and the win is dropped. Nothing is dropped but by what is final on the chain.
//!
//! Invariants: nothing here is needed to serve chunks; the index holds only what is found again by
//! walking the store and the further proofs; every table is bounded, and what does not fit is the
//! least of what the node would be paid. A crash leaves proofs and wins whole or not at all, and wins
//! are found again from the proofs. A chunk that is lost takes its proof along, and no win that was
//! noted. Whatever fails or is given up halfway is done at the next look or walk.
//!
//! Deliberately absent: settling, which needs a key; and protection from a seed that a
//! reorganisation takes back, which a signed beacon cannot have.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use spillway_disk::{Clock, Disk, run};
use spillway_pay::{
    At, BeaconState, Chain, ChainError, Fees, LeafSpan, Windows, verify::batch_leaf,
};
use spillway_types::{
    Atto, BatchProof, BatchTerms, Domain, Leaf, PaymentId, Refusal, Seed, UnixTime, Win, WinsPage,
    limits::{MAX_AWAITED_SEEDS, MAX_WINS_ITEMS},
};
use tokio::sync::{Mutex as Turns, Notify, watch};

use crate::{
    ChainClock, NodeError, Terms,
    limits::{FURTHER_WRITERS, MAX_FURTHER_PROOFS, MAX_INDEXED_LEAVES, MAX_SEEDS, MAX_WINS},
    lru::Lru,
    tip::{max_prize, min_tip},
};

mod awaited;
mod files;
mod final_times;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod index;
mod keeping;
mod loading;
mod noting;
mod ranked;
mod tending;
mod value;
mod walking;

pub(crate) use loading::stored_wins;

use awaited::Awaited;
use files::{FurtherKey, WinKey};
use final_times::FinalTimes;
use index::{Found, Index};
use ranked::Ranked;

/// What [`Batches`] work with.
#[derive(Clone, Debug)]
pub struct BatchesOptions {
    /// The node's directory. Whoever opens it holds its chunk store open, and with it the lock.
    pub disk: Arc<dyn Disk>,
    /// Where the head, the beacon, seeds and records are asked for.
    pub chain: Arc<dyn Chain>,
    /// The network, chain and vault that the node serves.
    pub domain: Domain,
    /// What the node's quotes say.
    pub terms: Terms,
    /// The node's clock: it is told of the newest block.
    pub clock: ChainClock,
}

/// How much is kept of batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchLimits {
    /// Leaves that wait for their draw, in memory.
    pub indexed_leaves: usize,
    /// Further proofs, on disk.
    pub further_proofs: usize,
    /// Wins, on disk and in memory.
    pub wins: usize,
}

impl Default for BatchLimits {
    /// [`MAX_INDEXED_LEAVES`], [`MAX_FURTHER_PROOFS`], [`MAX_WINS`].
    fn default() -> Self {
        Self {
            indexed_leaves: MAX_INDEXED_LEAVES,
            further_proofs: MAX_FURTHER_PROOFS,
            wins: MAX_WINS,
        }
    }
}

/// What a node knows and keeps of batch payments. Clones are the same.
#[derive(Clone)]
pub struct Batches {
    shared: Arc<Shared>,
}

struct Shared {
    disk: Arc<dyn Disk>,
    chain: Arc<dyn Chain>,
    domain: Domain,
    terms: Terms,
    clock: ChainClock,
    windows: Windows,
    news: Mutex<News>,
    book: Mutex<Book>,
    /// Who writes or removes further proofs.
    writing: [Turns<()>; FURTHER_WRITERS],
    /// One look at what there is to do at a time.
    tending: Turns<()>,
    /// A leaf that the index left out may belong there now, if the store is walked.
    walk_due: Notify,
    /// How often the chain was heard.
    heard: watch::Sender<u64>,
    /// How often the store was walked.
    walked: watch::Sender<u64>,
}

/// The newest that was heard of the chain, beside its time; each with the monotonic time at which it
/// was heard.
#[derive(Debug, Default)]
struct News {
    beacon: Option<(BeaconState, Duration)>,
    fees: Option<(Fees, Duration)>,
    final_times: FinalTimes,
}

struct Book {
    index: Index,
    /// With what the index holds of them.
    further: Ranked<FurtherKey, (BatchTerms, Found)>,
    wins: Ranked<WinKey, Win>,
    /// By the beacon's boundary.
    seeds: Lru<u64, Seed>,
    /// A leaf found no room in the index.
    walk_again: bool,
    /// The index has more room than at the last look.
    has_room: bool,
    /// Some files could not be read.
    unread: bool,
    /// Of each seed that is due and not known, one `upload_by`; the earliest first.
    awaited: Awaited,
    /// The boundary that was asked for last.
    asked_seed: u64,
    /// The batch that was asked for last.
    asked_settled: Option<PaymentId>,
}

impl fmt::Debug for Batches {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batches").field("domain", &self.shared.domain).finish_non_exhaustive()
    }
}

impl Batches {
    /// Asks the chain for the vault's windows, its newest block, the beacon and the price of gas, and
    /// reads the further proofs and wins beneath the disk's root. The store is walked later:
    /// [`Batches::walk`].
    ///
    /// # Errors
    /// [`NodeError::Chain`], [`NodeError::Disk`].
    ///
    /// # Cancel safety
    /// Dropping it opens nothing; files may have been cleaned up.
    pub async fn open(options: BatchesOptions) -> Result<Self, NodeError> {
        Self::open_with(options, BatchLimits::default()).await
    }

    /// As [`Batches::open`], with other limits than the usual.
    ///
    /// # Errors
    /// As [`Batches::open`].
    ///
    /// # Cancel safety
    /// As [`Batches::open`].
    pub async fn open_with(
        options: BatchesOptions,
        limits: BatchLimits,
    ) -> Result<Self, NodeError> {
        let BatchesOptions { disk, chain, domain, terms, clock } = options;
        let windows = chain.windows(domain.vault).await?;
        let (delay, least) = (windows.draw_delay, terms.min_draw_delay);
        if delay < least {
            tracing::warn!(?delay, ?least, "the vault draws too soon: no batches are taken");
        }
        let loaded = run(&disk, move |disk| loading::load(disk, &domain)).await?;
        let book = Book {
            index: Index::new(limits.indexed_leaves),
            further: Ranked::new(limits.further_proofs),
            wins: Ranked::new(limits.wins),
            seeds: Lru::new(MAX_SEEDS),
            walk_again: false,
            has_room: false,
            unread: false,
            awaited: Awaited::default(),
            asked_seed: 0,
            asked_settled: None,
        };
        let shared = Shared {
            disk,
            chain,
            domain,
            terms,
            clock,
            windows,
            news: Mutex::default(),
            book: Mutex::new(book),
            writing: Default::default(),
            tending: Turns::default(),
            walk_due: Notify::new(),
            heard: watch::Sender::new(0),
            walked: watch::Sender::new(0),
        };
        let batches = Self { shared: Arc::new(shared) };
        batches.hear().await?;
        batches.take_in(loaded).await;
        Ok(batches)
    }

    /// Asks for the newest block, the newest final one, the beacon's state and, if a tip is asked for,
    /// the price of gas.
    ///
    /// # Errors
    /// [`ChainError`]; what was known before is kept, and the time of the newest block counts as
    /// heard when only the rest failed. A chain that does not say what is final is none: only, nothing
    /// is over for it.
    ///
    /// # Cancel safety
    /// It may be dropped at any time.
    pub async fn hear(&self) -> Result<(), ChainError> {
        let Shared { chain, clock, domain, terms, .. } = self.shared.as_ref();
        clock.heard(chain.block(At::Depth(0)).await?.time);
        match chain.block(At::Finalized).await {
            Ok(block) if self.news().final_times.heard(block.time) => {}
            Ok(_) => {
                tracing::warn!("what was taken to be over is not: the store is walked again");
                self.shared.walk_due.notify_one();
            }
            Err(error) => tracing::debug!(%error, "the chain does not say what is final"),
        }
        let beacon = chain.beacon(domain.vault).await?;
        self.news().beacon = Some((beacon, clock.monotonic()));
        self.shared.heard.send_modify(|heard| *heard += 1);
        if terms.token_rate.is_some() {
            let fees = chain.fees().await?;
            self.news().fees = Some((fees, clock.monotonic()));
        }
        Ok(())
    }

    /// The least tip a draw that the node asks for now. While the price of gas was not heard of for as
    /// long as the chain's silence may be, it is more than any batch can offer.
    pub fn min_tip(&self) -> Atto {
        let known = self.news().fees;
        let fees = known.filter(|(_, heard)| !self.shared.clock.is_too_long_ago(*heard));
        min_tip(self.shared.terms.token_rate, fees.map(|(fees, _)| fees))
    }

    /// The largest prize a draw that the node quotes now: nothing while it may soon take no batches,
    /// because the beacon is nearly behind or was not heard of, and with a vault that draws sooner
    /// than [`Terms::min_draw_delay`] after the upload window.
    pub fn max_prize(&self) -> Atto {
        let Shared { clock, terms, windows, .. } = self.shared.as_ref();
        if windows.draw_delay < terms.min_draw_delay {
            return Atto::ZERO;
        }
        max_prize(terms.largest_prize(), self.beacon().ok(), clock.now())
    }

    /// How many wins are noted.
    pub fn wins(&self) -> usize {
        self.book().wins.len()
    }

    /// The beacon as it was heard of last.
    ///
    /// # Errors
    /// [`Refusal::ChainUnavailable`] when it was not heard of for as long as the chain's silence may
    /// be.
    pub(crate) fn beacon(&self) -> Result<BeaconState, Refusal> {
        let known = self.news().beacon;
        let known = known.filter(|(_, heard)| !self.shared.clock.is_too_long_ago(*heard));
        known.map(|(beacon, _)| beacon).ok_or(Refusal::ChainUnavailable)
    }

    /// Whether a batch is taken that was recorded at this time. The present has no say: what was paid
    /// while the beacon was on time is taken though it dies before all of it is stored.
    ///
    /// A seed that is not known now was not known then either, so the lag was at least the time from
    /// the newest seed to the record. What was recorded while the beacon was behind is refused until
    /// the seeds that were missing are there.
    ///
    /// # Errors
    /// [`Refusal::BeaconBehind`], or those of [`Batches::beacon`].
    pub(crate) fn taken(&self, recorded: UnixTime) -> Result<(), Refusal> {
        let beacon = self.beacon()?;
        if beacon.is_behind(recorded) {
            return Err(Refusal::BeaconBehind { latest: beacon.latest });
        }
        Ok(())
    }

    /// The page of wins after this one.
    pub(crate) fn page(&self, after: Option<WinKey>) -> WinsPage {
        let book = self.book();
        let mut rest = book.wins.after(after).map(|(_, win)| win);
        let wins = rest.by_ref().take(MAX_WINS_ITEMS).cloned().collect();
        let more = rest.next().is_some();
        // Once is enough.
        let named = if after.is_none() { MAX_AWAITED_SEEDS } else { 0 };
        WinsPage { wins, more, waiting: book.awaited.named(named) }
    }

    /// Takes note of a proof that is stored with its chunk.
    pub(crate) fn stored(&self, leaf: &Leaf, proof: &BatchProof) {
        if let Ok(span) = batch_leaf(proof, leaf) {
            let rank = value::of_leaf(leaf, self.shared.terms.reward);
            let found = Found { address: leaf.address, sum: span.sum, rank };
            self.index_found(proof.terms.id(&self.shared.domain), &proof.terms, span.from, found);
        }
    }

    /// Puts a leaf into the index, unless its time is over or it was drawn and has won nothing that
    /// is to be noted. One that finds no room there is looked for later.
    fn index_found(&self, id: PaymentId, terms: &BatchTerms, from: Atto, found: Found) {
        let beacon = {
            let mut news = self.news();
            if news.final_times.is_over(self.shared.windows.claim_end(terms.upload_by)) {
                return;
            }
            news.beacon
        };
        let epoch = beacon.map(|(beacon, _)| beacon.epoch.as_secs());
        let mut book = self.book();
        let Book { index, wins, seeds, walk_again, .. } = &mut *book;
        let boundary = epoch.map(|epoch| self.boundary(terms.upload_by, epoch));
        if let Some(seed) = boundary.and_then(|boundary| seeds.get(&boundary)) {
            let span = LeafSpan { from, sum: found.sum };
            let mut draws = 0..terms.draws;
            let has_won = draws.any(|draw| {
                !wins.contains(&(id, draw)) && span.contains(terms.draw_point(*seed, id, draw))
            });
            if !has_won {
                return;
            }
        }
        *walk_again |= !index.add(id, terms, from, found);
    }

    fn news(&self) -> MutexGuard<'_, News> {
        self.shared.news.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.shared.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
