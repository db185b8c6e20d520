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
//! draw is settled, and the win is dropped.
//!
//! Invariants: nothing here is needed to serve chunks; the index holds only what is found again by
//! walking the store; every table is bounded, and what does not fit is the least of what the node
//! would be paid. A crash leaves proofs and wins whole or not at all, and wins are found again from
//! the proofs. A chunk that is lost takes its proof along, and no win that was noted.
//!
//! Deliberately absent: settling, which needs a key; and protection from a seed that a
//! reorganisation takes back, which a signed beacon cannot have.

use std::{
    fmt,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use spillway_disk::{Clock, Disk, DiskError, Overwrite, run};
use spillway_pay::{At, BeaconState, Chain, ChainError, Fees, Windows, verify::batch_leaf};
use spillway_types::{
    Atto, BatchProof, Domain, Leaf, PaymentId, Refusal, Seed, UnixTime, Win, WinsPage,
    limits::MAX_WINS_ITEMS,
};
use tokio::sync::{Mutex as Turns, Notify, watch};

use crate::{
    ChainClock, NodeError, Terms,
    limits::{MAX_FURTHER_PROOFS, MAX_INDEXED_LEAVES, MAX_SEEDS, MAX_WINS},
    lru::Lru,
    tip::min_tip,
};

mod files;
mod index;
mod loading;
mod ranked;
mod tending;
mod value;
mod walking;

pub(crate) use loading::stored_wins;

use files::{FurtherKey, FurtherProof, WinKey, encode, fits, proof_path, win_path};
use index::{Found, Index, Place};
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
    /// One further proof is written at a time.
    writing: Turns<()>,
    /// One look at what there is to do at a time.
    tending: Turns<()>,
    /// The index has more room.
    room: Notify,
    /// A leaf that the index had no room for may have room now, if the store is walked.
    walk_due: Notify,
    /// How often the chain was heard.
    heard: watch::Sender<u64>,
    /// How often the store was walked as far as there was room.
    walked: watch::Sender<u64>,
}

/// The newest that was heard of the chain, beside its time; each with the monotonic time at which it
/// was heard.
#[derive(Debug, Default)]
struct News {
    beacon: Option<(BeaconState, Duration)>,
    fees: Option<(Fees, Duration)>,
}

struct Book {
    index: Index,
    /// With the end of their upload windows.
    further: Ranked<FurtherKey, UnixTime>,
    wins: Ranked<WinKey, Win>,
    /// By the beacon's boundary.
    seeds: Lru<u64, Seed>,
    /// A leaf that is not met by a walk under way found no room in the index.
    walk_again: bool,
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
        let loaded = run(&disk, move |disk| loading::load(disk, &domain)).await?;
        let book = Book {
            index: Index::new(limits.indexed_leaves),
            further: Ranked::new(limits.further_proofs),
            wins: Ranked::new(limits.wins),
            seeds: Lru::new(MAX_SEEDS),
            walk_again: false,
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
            writing: Turns::default(),
            tending: Turns::default(),
            room: Notify::new(),
            walk_due: Notify::new(),
            heard: watch::Sender::new(0),
            walked: watch::Sender::new(0),
        };
        let batches = Self { shared: Arc::new(shared) };
        batches.hear().await?;
        batches.take_in(loaded).await;
        Ok(batches)
    }

    /// Asks for the newest block, the beacon's state and, if a tip is asked for, the price of gas.
    ///
    /// # Errors
    /// [`ChainError`]; what was known before is kept, and the time of the newest block counts as
    /// heard when only the rest failed.
    ///
    /// # Cancel safety
    /// It may be dropped at any time.
    pub async fn hear(&self) -> Result<(), ChainError> {
        let Shared { chain, clock, domain, terms, .. } = self.shared.as_ref();
        clock.heard(chain.block(At::Depth(0)).await?.time);
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

    /// How many wins are noted.
    pub fn wins(&self) -> usize {
        self.book().wins.len()
    }

    /// Whether batches are taken now.
    ///
    /// # Errors
    /// [`Refusal::BeaconBehind`], or [`Refusal::ChainUnavailable`] when the beacon was not heard of
    /// for as long as the chain's silence may be.
    pub(crate) fn taken(&self, now: UnixTime) -> Result<(), Refusal> {
        match self.news().beacon {
            Some((_, heard)) if self.shared.clock.is_too_long_ago(heard) => {
                Err(Refusal::ChainUnavailable)
            }
            Some((beacon, _)) if beacon.is_behind(now) => {
                Err(Refusal::BeaconBehind { latest: beacon.latest })
            }
            Some(_) => Ok(()),
            None => Err(Refusal::ChainUnavailable),
        }
    }

    /// The page of wins after this one.
    pub(crate) fn page(&self, after: Option<WinKey>) -> WinsPage {
        let book = self.book();
        let mut rest = book.wins.after(after).map(|(_, win)| win);
        let wins = rest.by_ref().take(MAX_WINS_ITEMS).cloned().collect();
        WinsPage { wins, more: rest.next().is_some() }
    }

    /// Takes note of a proof that is stored with its chunk, or is about to be.
    pub(crate) fn stored(&self, leaf: &Leaf, proof: &BatchProof) {
        self.index(leaf, proof, Place::Chunk);
    }

    /// Keeps a proof for a chunk that is stored already, durably. It was checked before. When there
    /// is no room and it pays the node less than those that are kept, it is not: the chunk is, and
    /// four others have the proof too.
    ///
    /// # Errors
    /// [`DiskError`].
    ///
    /// # Cancel safety
    /// When it is dropped, the proof may be kept.
    pub(crate) async fn keep_further(
        &self,
        leaf: &Leaf,
        proof: &BatchProof,
    ) -> Result<(), DiskError> {
        let Ok(span) = batch_leaf(proof, leaf) else {
            return Ok(());
        };
        let key = (proof.terms.id(&self.shared.domain), span.from);
        let rank = value::of_leaf(leaf, self.shared.terms.reward);
        let _turn = self.shared.writing.lock().await;
        let (known, takes) = {
            let book = self.book();
            (book.further.contains(&key), book.further.takes(&key, rank))
        };
        if known {
            self.index(leaf, proof, Place::Further);
            return Ok(());
        }
        if !takes {
            tracing::warn!(payment = %key.0, "no room for a further proof that pays so little");
            return Ok(());
        }
        let bytes = encode(&FurtherProof { leaf: leaf.clone(), proof: proof.clone() });
        debug_assert!(fits(&bytes), "what passed every check fits");
        let path = proof_path(key);
        run(&self.shared.disk, move |disk| disk.write_durable(&path, &bytes, Overwrite::Replace))
            .await?;
        let evicted = self.book().further.insert(key, rank, proof.terms.upload_by);
        self.index(leaf, proof, Place::Further);
        self.remove(evicted.map(proof_path).into_iter().collect()).await;
        Ok(())
    }

    /// Takes in what was on the disk at the start.
    async fn take_in(&self, loaded: loading::Loaded) {
        let own = self.shared.terms.reward;
        let mut unwanted = Vec::new();
        for (key, kept) in loaded.proofs {
            let rank = value::of_leaf(&kept.leaf, own);
            let upload_by = kept.proof.terms.upload_by;
            unwanted.extend(self.book().further.insert(key, rank, upload_by).map(proof_path));
            self.index(&kept.leaf, &kept.proof, Place::Further);
        }
        for (key, win) in loaded.wins {
            let rank = value::of_win(&win, own);
            unwanted.extend(self.book().wins.insert(key, rank, win).map(win_path));
        }
        self.remove(unwanted).await;
    }

    /// Puts a leaf into the index, unless its time is over; one that finds no room there is looked for
    /// later.
    fn index(&self, leaf: &Leaf, proof: &BatchProof, place: Place) {
        if !self.try_index(leaf, proof, place) {
            self.book().walk_again = true;
        }
    }

    /// Puts a leaf into the index, unless its time is over; false when there is no room.
    fn try_index(&self, leaf: &Leaf, proof: &BatchProof, place: Place) -> bool {
        let terms = &proof.terms;
        let Ok(span) = batch_leaf(proof, leaf) else {
            return true;
        };
        if self.is_over(terms.upload_by) {
            return true;
        }
        let found = Found { address: leaf.address, sum: span.sum, place };
        self.book().index.add(terms.id(&self.shared.domain), terms, span.from, found)
    }

    /// Whether no draw of a batch can be settled any more, by the chain's time.
    fn is_over(&self, upload_by: UnixTime) -> bool {
        self.shared.clock.chain_time() > self.shared.windows.claim_end(upload_by)
    }

    /// Removes files that are of no more use. One that stays does no harm: it is removed at a later
    /// start.
    async fn remove(&self, paths: Vec<PathBuf>) {
        if paths.is_empty() {
            return;
        }
        let removed = run(&self.shared.disk, move |disk| {
            for path in paths {
                match disk.remove_file(&path) {
                    Ok(()) | Err(DiskError::NotFound { .. }) => {}
                    Err(error) => tracing::warn!(%error, "a file cannot be removed"),
                }
            }
            Ok(())
        });
        if let Err(error) = removed.await {
            tracing::warn!(%error, "files cannot be removed");
        }
    }

    fn news(&self) -> MutexGuard<'_, News> {
        self.shared.news.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.shared.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
