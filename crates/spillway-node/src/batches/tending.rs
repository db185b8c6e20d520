use std::{collections::BTreeMap, path::Path};

use spillway_disk::{DiskError, Overwrite, run};
use spillway_pay::{At, verify::batch_leaf};
use spillway_store::{ChunkStore, StoreError};
use spillway_types::{
    Atto, BatchProof, DrawSet, Leaf, PaymentId, PaymentProof, Seed, UnixTime, Win,
};
use tokio::sync::watch;

use super::{
    Batches, Book,
    files::{FurtherProof, decode, encode, fits, proof_path, win_path},
    index::{Found, OpenBatch, Place},
    value,
};
use crate::{
    Evidence,
    limits::{MAX_PROOF_FILE_BYTES, MAX_SEED_QUESTIONS, MAX_SETTLED_QUESTIONS},
};

/// Why a proof cannot be read now.
#[derive(Debug, thiserror::Error)]
enum ReadError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Disk(#[from] DiskError),
}

impl Batches {
    /// Does what follows from the newest news of the chain: drops what is over, asks for seeds that
    /// should be known, notes the draws that the node's leaves have won, and drops the wins that are
    /// settled. Failures are logged, and what failed is tried again the next time.
    ///
    /// # Cancel safety
    /// It may be dropped at any time: a batch whose draws were being noted is found again by the next
    /// [`Batches::walk`].
    pub async fn tend(&self, store: &dyn ChunkStore) {
        let _turn = self.shared.tending.lock().await;
        let mut room = self.drop_over().await;
        self.ask_seeds().await;
        for (id, seed) in self.drawn() {
            room |= self.note_wins(store, id, seed).await;
        }
        self.drop_settled().await;
        if room {
            self.shared.room.notify_one();
            if std::mem::take(&mut self.book().walk_again) {
                self.shared.walk_due.notify_one();
            }
        }
    }

    /// Counts how often the chain was heard.
    pub(crate) fn heard(&self) -> watch::Receiver<u64> {
        self.shared.heard.subscribe()
    }

    /// Drops the batches, further proofs and wins whose claim window is over; whether the index has
    /// more room.
    async fn drop_over(&self) -> bool {
        let (room, files) = {
            let mut book = self.book();
            let over = |upload_by| self.is_over(upload_by);
            let room = book.index.forget(over);
            let wins = book.wins.iter().filter(|(_, win)| over(win.terms.upload_by));
            let wins: Vec<_> = wins.map(|(key, _)| *key).collect();
            let proofs = book.further.iter().filter(|(_, upload_by)| over(**upload_by));
            let proofs: Vec<_> = proofs.map(|(key, _)| *key).collect();
            for key in &wins {
                book.wins.remove(key);
            }
            for key in &proofs {
                book.further.remove(key);
            }
            let wins = wins.into_iter().map(win_path);
            (room, wins.chain(proofs.into_iter().map(proof_path)).collect())
        };
        self.remove(files).await;
        room
    }

    /// Asks for the seeds of batches whose draw is over, one question for all of one epoch.
    async fn ask_seeds(&self) {
        for (boundary, upload_by) in self.due_seeds() {
            match self.shared.chain.seed(self.shared.domain.vault, upload_by).await {
                Ok(Some(seed)) => self.book().seeds.insert(boundary, seed),
                // Nobody has posted it, although later ones are known.
                Ok(None) => tracing::debug!(boundary, "a seed is not known yet"),
                Err(error) => {
                    tracing::warn!(%error, "the chain cannot be asked for a seed");
                    return;
                }
            }
            self.book().asked_seed = boundary;
        }
    }

    /// The boundaries whose seeds are wanted and may be known, those first that were not asked for
    /// the longest, with one `upload_by` of each.
    fn due_seeds(&self) -> Vec<(u64, UnixTime)> {
        let Some((beacon, _)) = self.news().beacon else {
            return Vec::new();
        };
        let mut book = self.book();
        let mut due = BTreeMap::new();
        for (_, terms) in book.index.batches() {
            let boundary = self.boundary(terms.upload_by, beacon.epoch.as_secs());
            if boundary <= beacon.latest.as_secs() {
                due.insert(boundary, terms.upload_by);
            }
        }
        due.retain(|boundary, _| book.seeds.get(boundary).is_none());
        let first = due.split_off(&book.asked_seed.saturating_add(1));
        first.into_iter().chain(due).take(MAX_SEED_QUESTIONS).collect()
    }

    /// The beacon's boundary that draws a batch: the first multiple of its epoch after the draw time.
    fn boundary(&self, upload_by: UnixTime, epoch_secs: u64) -> u64 {
        let epoch = epoch_secs.max(1);
        let draw_time = self.shared.windows.draw_time(upload_by).as_secs();
        (draw_time / epoch).saturating_add(1).saturating_mul(epoch)
    }

    /// The batches whose seed is known.
    fn drawn(&self) -> Vec<(PaymentId, Seed)> {
        let Some((beacon, _)) = self.news().beacon else {
            return Vec::new();
        };
        let mut book = self.book();
        let Book { index, seeds, .. } = &mut *book;
        let drawn = index.batches().filter_map(|(id, terms)| {
            let boundary = self.boundary(terms.upload_by, beacon.epoch.as_secs());
            seeds.get(&boundary).map(|seed| (id, *seed))
        });
        drawn.collect()
    }

    /// Notes the draws of one batch that the node's leaves have won, and takes the batch out of the
    /// index; whether it did.
    async fn note_wins(&self, store: &dyn ChunkStore, id: PaymentId, seed: Seed) -> bool {
        let Some(batch) = self.book().index.take(id) else {
            return false;
        };
        for (draw, from) in batch.won(id, seed) {
            if self.book().wins.contains(&(id, draw)) {
                continue;
            }
            let found = batch.leaves[&from];
            let noted = match self.proof(store, id, from, found).await {
                Ok(Some((leaf, siblings))) => {
                    let win = Win { terms: batch.terms, draw, leaf, siblings };
                    self.note(id, win).await.map_err(ReadError::from)
                }
                Ok(None) => {
                    let address = found.address;
                    tracing::warn!(%address, payment = %id, draw, "the proof of a win is lost");
                    Ok(())
                }
                Err(error) => Err(error),
            };
            if let Err(error) = noted {
                tracing::error!(%error, payment = %id, draw, "a win cannot be noted now");
                self.put_back(id, batch);
                return false;
            }
        }
        true
    }

    /// Puts a batch into the index again, beside what came meanwhile.
    fn put_back(&self, id: PaymentId, batch: OpenBatch) {
        let mut book = self.book();
        for (from, found) in batch.leaves {
            if !book.index.add(id, &batch.terms, from, found) {
                book.walk_again = true;
            }
        }
    }

    /// The proof of a leaf of the index: the leaf and its siblings. `None` when it is gone.
    async fn proof(
        &self,
        store: &dyn ChunkStore,
        id: PaymentId,
        from: Atto,
        found: Found,
    ) -> Result<Option<(Leaf, Vec<spillway_types::Sibling>)>, ReadError> {
        let kept = match found.place {
            Place::Chunk => store.evidence(found.address).await?.and_then(|bytes| {
                let evidence = Evidence::decode(&bytes).ok()?;
                match evidence.proof {
                    PaymentProof::Batch(proof) => Some((evidence.leaf, proof)),
                    _ => None,
                }
            }),
            Place::Further => self.further(&proof_path((id, from))).await?,
        };
        // Another may be there in place of it.
        let is_it = |leaf: &Leaf, proof: &BatchProof| {
            proof.terms.id(&self.shared.domain) == id
                && batch_leaf(proof, leaf).is_ok_and(|span| span.from == from)
        };
        let kept = kept.filter(|(leaf, proof)| is_it(leaf, proof));
        Ok(kept.map(|(leaf, proof)| (leaf, proof.siblings)))
    }

    async fn further(&self, path: &Path) -> Result<Option<(Leaf, BatchProof)>, DiskError> {
        let path = path.to_path_buf();
        let read = run(&self.shared.disk, move |disk| disk.read(&path, MAX_PROOF_FILE_BYTES));
        let bytes = match read.await {
            Ok(bytes) => bytes,
            Err(DiskError::NotFound { .. } | DiskError::TooLong { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        Ok(decode::<FurtherProof>(&bytes).ok().map(|kept| (kept.leaf, kept.proof)))
    }

    /// Writes a win durably, then shows it. When there is no room, those go that pay the least.
    async fn note(&self, id: PaymentId, win: Win) -> Result<(), DiskError> {
        let key = (id, win.draw);
        let rank = value::of_win(&win, self.shared.terms.reward);
        if !self.book().wins.takes(&key, rank) {
            tracing::warn!(payment = %id, draw = win.draw, "no room for a win that pays so little");
            return Ok(());
        }
        let bytes = encode(&win);
        debug_assert!(fits(&bytes), "what passed every check fits");
        let path = win_path(key);
        run(&self.shared.disk, move |disk| disk.write_durable(&path, &bytes, Overwrite::Replace))
            .await?;
        tracing::info!(payment = %id, draw = win.draw, address = %win.leaf.address, "a draw is won");
        let evicted = self.book().wins.insert(key, rank, win);
        self.remove(evicted.map(win_path).into_iter().collect()).await;
        Ok(())
    }

    /// Asks the chain which draws of the batches with wins are settled, some batches at a time, and
    /// drops these wins.
    async fn drop_settled(&self) {
        let depth = At::Depth(self.shared.terms.confirmations);
        for id in self.due_settled() {
            match self.shared.chain.record(self.shared.domain.vault, id, depth).await {
                Ok(record) => self.settled(id, record.settled).await,
                Err(error) => {
                    tracing::warn!(%error, "the chain cannot be asked which draws are settled");
                    return;
                }
            }
            self.book().asked_settled = Some(id);
        }
    }

    /// The batches that are asked for next, in turn.
    fn due_settled(&self) -> Vec<PaymentId> {
        let book = self.book();
        let mut ids: Vec<PaymentId> = book.wins.iter().map(|((id, _), _)| *id).collect();
        ids.dedup();
        let first = ids.partition_point(|id| Some(*id) <= book.asked_settled);
        ids.rotate_left(first);
        ids.truncate(MAX_SETTLED_QUESTIONS);
        ids
    }

    async fn settled(&self, id: PaymentId, settled: DrawSet) {
        let keys: Vec<_> = {
            let mut book = self.book();
            let wins =
                book.wins.iter().filter(|((of, draw), _)| *of == id && settled.contains(*draw));
            let keys: Vec<_> = wins.map(|(key, _)| *key).collect();
            for key in &keys {
                book.wins.remove(key);
            }
            keys
        };
        self.remove(keys.into_iter().map(win_path).collect()).await;
    }
}
