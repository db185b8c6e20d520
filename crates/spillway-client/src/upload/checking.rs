//! Verifying in the background: chunks that are stored are looked for on the peers that should have
//! them, beside storing the others. What too few of them have is stored again with its proof
//! ([`super::mending`]). Of a sample that nobody knows before, every copy is read.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use futures::{
    FutureExt, StreamExt,
    future::BoxFuture,
    stream::{self, FuturesUnordered},
};
use spillway_disk::{Disk, run};
use spillway_types::{
    ChunkAddress, PeerKey, UnixTime,
    limits::{CLOSE_GROUP, MAX_HAS_ITEMS, STORE_QUORUM},
};
use tokio::sync::Mutex;

use super::{
    Job,
    engine::{Engine, Shown},
    mending::{Due, LookUps, Mend},
};
use crate::{
    Stage, UploadError, VerifyUpload,
    limits::{CHECK_GROUP, CHECK_GROUPS, CHECK_READS, LOOKED_UP, MENDS, VERIFY_WORKERS},
    session::{Checks, ChunkInfo, ChunkIx, Found, Kept, PlanIx, Record, Session},
    verify::{Copy, has, read_copies},
    workers::Work,
};

/// The chunks of one look, and what came of it.
pub(super) struct Checked {
    pub chunks: Vec<ChunkIx>,
    pub found: Result<Vec<Found>, UploadError>,
    pub is_mend: bool,
    /// Whether something here can store them again without a payment; of one that was not missed it is
    /// not asked.
    pub has_proof: bool,
}

/// Verifying under way.
pub(super) struct Checking {
    state: Checks,
    /// Never locked: a lock is what lets the engine be shared between polls of its own futures.
    running: Mutex<FuturesUnordered<BoxFuture<'static, Checked>>>,
    groups: usize,
    mends: usize,
    /// The leaf of each chunk that this session has paid for.
    places: BTreeMap<ChunkIx, (PlanIx, usize)>,
    /// Which chunk of so many is read, another one in each run: who knows the contents does not know
    /// which.
    sampled: u32,
    look_ups: Arc<LookUps>,
    /// Chunks that were missed and of which no session here has a proof.
    unproven: BTreeSet<ChunkIx>,
}

/// A chunk that is looked for.
#[derive(Clone, Debug)]
pub(super) struct Item {
    pub info: ChunkInfo,
    /// Who was quoted for it; nobody for a chunk that the network had before.
    pub quoted: Vec<PeerKey>,
    /// Whether its copies are read, all of them.
    pub read: bool,
}

impl Checking {
    fn new(session: &Session, now: UnixTime) -> Self {
        let progressed = &session.progressed;
        let mut places = BTreeMap::new();
        // Until their payment is there again, nobody would take them again.
        let mut waiting = BTreeSet::new();
        for (plan, file) in session.numbered_plans() {
            if progressed.paid.contains_key(&plan) {
                let chunks = file.chunks.iter().enumerate();
                places.extend(chunks.filter_map(|(at, chunk)| Some(((*chunk)?, (plan, at)))));
            } else if progressed.undone.contains(&plan) {
                waiting.extend(file.own_chunks());
            }
        }
        let done = progressed.stored.union(&progressed.already).copied();
        let done = done.filter(|chunk| !waiting.contains(chunk));
        Self {
            state: Checks::new(done, &progressed.missed, now),
            running: Mutex::default(),
            groups: 0,
            mends: 0,
            places,
            sampled: sampled(session.manifest.chunks.len()),
            look_ups: Arc::default(),
            unproven: BTreeSet::new(),
        }
    }

    /// What was missed too often and cannot be stored again without a payment.
    pub(super) fn unproven(&self) -> impl Iterator<Item = ChunkIx> + '_ {
        self.unproven.iter().copied().filter(|chunk| self.state.failed().contains_key(chunk))
    }

    /// Whether a chunk is of the sample.
    fn is_sampled(&self, chunk: ChunkIx) -> bool {
        chunk.0 % CHECK_READS == self.sampled
    }

    /// What is missed and stored again next, this one first.
    fn due(&self, session: &Session, first: ChunkIx) -> Vec<Due> {
        let chunks = [first].into_iter().chain(self.state.missed()).take(LOOKED_UP);
        let due = chunks.map(|chunk| Due {
            chunk,
            address: session.chunk(chunk).address,
            is_paid_here: self.places.contains_key(&chunk),
        });
        due.collect()
    }

    /// This chunk is stored with this leaf.
    pub(super) fn stored(&mut self, chunk: ChunkIx, place: Option<(PlanIx, usize)>) {
        self.places.extend(place.map(|place| (chunk, place)));
        self.state.stored(chunk);
    }

    /// The next look that has come to its end; `None` when none is under way.
    pub(super) async fn next(checking: &mut Option<Self>) -> Option<Checked> {
        match checking {
            Some(checking) => checking.running.get_mut().next().await,
            None => None,
        }
    }
}

impl Engine {
    /// Begins to verify, if this upload is only done then. Who asks for it gets it, however often it was
    /// verified before.
    pub(super) async fn begin_checks(&mut self) -> Result<(), UploadError> {
        let wanted = self.job.options.verify == VerifyUpload::Wait;
        let is_due =
            |session: &Session| session.progressed.to_verify && !session.progressed.verified;
        if wanted && !is_due(&self.session) {
            self.session.record(vec![Record::ToVerify]).await?;
        }
        if is_due(&self.session) {
            let now = self.job.parts.clock.now();
            self.checking = Some(Checking::new(&self.session, now));
        }
        Ok(())
    }

    /// A payment that was taken back is there again: what is stored for it is looked for.
    pub(super) fn check_again(&mut self, plan: PlanIx) {
        let Some(checking) = &mut self.checking else { return };
        for (at, chunk) in self.session.plan(plan).chunks.iter().enumerate() {
            if let Some(chunk) = chunk.filter(|chunk| self.session.progressed.is_done(*chunk)) {
                checking.stored(chunk, Some((plan, at)));
            }
        }
    }

    /// Looks for as much as may be looked for at once.
    pub(super) fn launch_checks(&mut self) {
        let Some(mut checking) = self.checking.take() else { return };
        while checking.groups < CHECK_GROUPS {
            let chunks = checking.state.take_queued(CHECK_GROUP);
            if chunks.is_empty() {
                break;
            }
            checking.groups += 1;
            let items = chunks.iter().map(|&chunk| self.item(&checking, chunk)).collect();
            checking.running.get_mut().push(look(Arc::clone(&self.job), chunks, items).boxed());
        }
        while checking.mends < MENDS
            && let Some((next, chunk)) = checking.state.take_missed()
        {
            checking.mends += 1;
            let mend = Mend {
                job: Arc::clone(&self.job),
                bodies: Arc::clone(&self.bodies),
                session: self.session.id().to_owned(),
                chunk,
                due: checking.due(&self.session, chunk),
                look_ups: Arc::clone(&checking.look_ups),
                item: Item { read: true, ..self.item(&checking, chunk) },
                kept: self.kept(&checking, chunk),
                next,
            };
            checking.running.get_mut().push(mend.run().boxed());
        }
        self.checking = Some(checking);
    }

    fn item(&self, checking: &Checking, chunk: ChunkIx) -> Item {
        let quoted = checking.places.get(&chunk).map(|&(plan, at)| {
            let quotes = &self.session.plan(plan).quotes[at];
            quotes.iter().map(|quote| quote.peer).collect()
        });
        Item {
            info: *self.session.chunk(chunk),
            quoted: quoted.unwrap_or_default(),
            read: checking.is_sampled(chunk),
        }
    }

    /// The proof of a chunk that this session has paid for.
    fn kept(&self, checking: &Checking, chunk: ChunkIx) -> Option<Kept> {
        let &(plan, at) = checking.places.get(&chunk)?;
        self.session.progressed.paid.get(&plan)?;
        let file = self.session.plan(plan);
        let proof = match self.shown.get(&plan) {
            Some(shown) => shown.proofs.of(at),
            None => Shown::of(file).proofs.of(at),
        };
        Some(Kept {
            leaf: file.plan.leaves[at].clone(),
            size: self.session.chunk(chunk).size,
            quotes: file.quotes[at],
            proof,
            payment: file.plan.id(),
            upload_by: file.plan.upload_by,
            receipts: Vec::new(),
        })
    }

    /// Writes misses down, and lets go of what is verified.
    pub(super) async fn take_checked(&mut self, checked: Checked) -> Result<(), UploadError> {
        let Checked { chunks, found, is_mend, has_proof } = checked;
        let Some(checking) = &mut self.checking else { return Ok(()) };
        if is_mend {
            checking.mends -= 1;
            checking.unproven.retain(|chunk| !chunks.contains(chunk));
            checking.unproven.extend(chunks.iter().filter(|_| !has_proof));
        } else {
            checking.groups -= 1;
        }
        let found = found?;
        let now = self.job.parts.clock.now();
        let both = chunks.iter().copied().zip(found);
        let records: Vec<Record> = both
            .clone()
            .filter_map(|(chunk, found)| checking.state.take_in(chunk, found, now))
            .collect();
        self.session.record(records).await?;
        let verified: Vec<ChunkAddress> = both
            .filter(|(_, found)| *found == Found::Verified)
            .map(|(chunk, _)| self.session.chunk(chunk).address)
            .collect();
        let (bodies, count) = (Arc::clone(&self.bodies), verified.len() as u64);
        let release = move |_: &dyn Disk| {
            verified.into_iter().try_for_each(|address| bodies.spill.remove(address))
        };
        run(&self.job.parts.data, release).await?;
        self.job.options.progress.verified(count);
        Ok(())
    }

    /// Verifies what is left.
    pub(super) async fn finish_checks(&mut self) -> Result<(), UploadError> {
        if self.checking.is_none() {
            return Ok(());
        }
        self.job.options.progress.begin(Stage::Verify, None, None);
        let stop = self.job.parts.stop.clone();
        loop {
            self.launch_checks();
            tokio::select! {
                biased;
                () = stop.cancelled() => return Err(UploadError::Interrupted),
                checked = Checking::next(&mut self.checking) => match checked {
                    None => return self.open_unproven().await,
                    Some(checked) => self.take_checked(checked).await?,
                },
            }
        }
    }

    /// Chunks that were missed too often, with the copies that were found.
    pub(super) fn unverified(&self) -> BTreeMap<ChunkIx, usize> {
        let checking = self.checking.as_ref();
        checking.map(|checking| checking.state.failed().clone()).unwrap_or_default()
    }
}

/// Which of [`CHECK_READS`] chunks is read: one that is there.
fn sampled(chunks: usize) -> u32 {
    let chunks = u32::try_from(chunks).unwrap_or(u32::MAX);
    fastrand::u32(..CHECK_READS.min(chunks).max(1))
}

async fn look(job: Arc<Job>, chunks: Vec<ChunkIx>, items: Vec<Item>) -> Checked {
    let found = find(&job, &items).await;
    let found = found.map(|all| all.into_iter().map(|seen| seen.found()).collect());
    Checked { chunks, found, is_mend: false, has_proof: true }
}

/// Who has a chunk.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    has: Vec<PeerKey>,
    /// Those who say that they do not, gave something else or did not answer.
    pub lacks: Vec<PeerKey>,
}

impl Seen {
    pub(super) fn found(&self) -> Found {
        match self.has.len() {
            copies if copies < STORE_QUORUM => Found::Missed { copies },
            _ => Found::Verified,
        }
    }
}

/// Looks for chunks on the peers that should have them: those that were quoted, or else the closest.
pub(super) async fn find(job: &Job, items: &[Item]) -> Result<Vec<Seen>, UploadError> {
    let groups: Vec<Vec<PeerKey>> = stream::iter(0..items.len())
        .map(|at| group(job, &items[at]))
        .buffered(VERIFY_WORKERS)
        .collect()
        .await;
    let mut by_peer: BTreeMap<PeerKey, Vec<usize>> = BTreeMap::new();
    for (at, peers) in groups.iter().enumerate() {
        for peer in peers {
            by_peer.entry(*peer).or_default().push(at);
        }
    }
    const { assert!(CHECK_GROUP <= MAX_HAS_ITEMS, "a group is one question") };
    let mut answers = stream::iter(by_peer)
        .map(|(peer, asked)| async move {
            let addresses = asked.iter().map(|&at| items[at].info.address).collect();
            (peer, has(&job.parts, peer, addresses).await, asked)
        })
        .buffer_unordered(VERIFY_WORKERS);
    let mut seen = vec![Seen::default(); items.len()];
    while let Some((peer, present, asked)) = answers.next().await {
        for (place, at) in asked.into_iter().enumerate() {
            let is_there = present.as_ref().is_some_and(|present| present[place]);
            let side = if is_there { &mut seen[at].has } else { &mut seen[at].lacks };
            side.push(peer);
        }
    }
    drop(answers);
    read(job, items, &mut seen).await;
    Ok(seen)
}

/// Reads every copy of the chunks that are to be read; those that are not good do not count.
async fn read(job: &Job, items: &[Item], seen: &mut [Seen]) {
    let mut claims = Vec::new();
    for (at, item) in items.iter().enumerate().filter(|(_, item)| item.read) {
        claims.extend(seen[at].has.iter().map(|&peer| (at, item.info.address, peer)));
    }
    let mut reads = read_copies(&job.parts, claims);
    while let Some((at, peer, copy)) = reads.next().await {
        if matches!(copy, Copy::Good(_)) {
            continue;
        }
        tracing::warn!(%peer, chunk = %items[at].info.address, "says that it has the chunk");
        seen[at].has.retain(|other| *other != peer);
        seen[at].lacks.push(peer);
    }
}

async fn group(job: &Job, item: &Item) -> Vec<PeerKey> {
    if !item.quoted.is_empty() {
        return item.quoted.clone();
    }
    let _place = job.parts.workers.enter(Work::Lookup).await;
    // Nobody is a miss, and it is looked for again.
    job.parts.peers.closest(item.info.address, CLOSE_GROUP).await.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quorum_of_copies_is_verified_and_one_fewer_is_a_miss() {
        let seen = |copies: u8| Seen {
            has: (0..copies).map(|number| PeerKey([number; 32])).collect(),
            lacks: vec![PeerKey([9; 32])],
        };
        assert_eq!(seen(0).found(), Found::Missed { copies: 0 });
        assert_eq!(seen(2).found(), Found::Missed { copies: 2 });
        assert_eq!(seen(3).found(), Found::Verified);
        assert_eq!(seen(5).found(), Found::Verified);
    }

    #[test]
    fn a_chunk_that_is_there_is_read_and_each_may_be() {
        for (chunks, most) in [(0, 1), (1, 1), (3, 3), (CHECK_READS as usize + 5, CHECK_READS)] {
            let seen: BTreeSet<u32> = (0..5_000).map(|_| sampled(chunks)).collect();
            assert_eq!(seen, (0..most).collect(), "of {chunks}");
        }
    }
}
