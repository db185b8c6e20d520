use std::{collections::BTreeMap, path::PathBuf};

use spillway_pay::At;
use spillway_store::ChunkStore;
use spillway_types::{DrawSet, PaymentId, Seed, UnixTime};
use tokio::sync::watch;

use super::{Batches, Book, files::win_path};
use crate::limits::{MAX_SEED_QUESTIONS, MAX_SETTLED_QUESTIONS};

impl Batches {
    /// Does what follows from the newest news of the chain: drops what is over, asks for seeds that
    /// should be known, notes the draws that the node's leaves have won, and drops the wins that are
    /// settled for good. Failures are logged, and what failed is tried again the next time.
    ///
    /// # Cancel safety
    /// It may be dropped at any time: what was not done is done the next time.
    pub async fn tend(&self, store: &dyn ChunkStore) {
        let _turn = self.shared.tending.lock().await;
        self.drop_over().await;
        self.ask_seeds().await;
        self.note_awaited();
        let mut asking = true;
        for drawn in self.drawn() {
            self.note_wins(store, drawn, &mut asking).await;
        }
        self.drop_settled().await;
        let mut book = self.book();
        if std::mem::take(&mut book.has_room) && std::mem::take(&mut book.walk_again) {
            self.shared.walk_due.notify_one();
        }
    }

    /// Counts how often the chain was heard.
    pub(crate) fn heard(&self) -> watch::Receiver<u64> {
        self.shared.heard.subscribe()
    }

    /// Drops the batches, further proofs and wins whose claim window is over for good.
    async fn drop_over(&self) {
        let time = self.news().final_times.for_good();
        let (proofs, wins) = {
            let mut book = self.book();
            let over = |upload_by| time > self.shared.windows.claim_end(upload_by);
            let has_room = book.index.forget(over);
            book.has_room |= has_room;
            let wins = book.wins.iter().filter(|(_, win)| over(win.terms.upload_by));
            let wins: Vec<_> = wins.map(|(key, _)| *key).collect();
            let proofs = book.further.iter().filter(|(_, (terms, _))| over(terms.upload_by));
            let proofs: Vec<_> = proofs.map(|(key, _)| *key).collect();
            for key in &wins {
                book.wins.remove(key);
            }
            for key in &proofs {
                book.further.remove(key);
            }
            (proofs, wins.into_iter().map(win_path).collect::<Vec<PathBuf>>())
        };
        self.remove(wins).await;
        self.remove_further(proofs).await;
    }

    /// Asks for the seeds of batches whose draw is over, one question for all of one epoch.
    async fn ask_seeds(&self) {
        for (boundary, upload_by) in self.due_seeds() {
            // First: a question that fails is not in the way of the others the next time.
            self.book().asked_seed = boundary;
            match self.shared.chain.seed(self.shared.domain.vault, upload_by).await {
                Ok(Some(seed)) => self.book().seeds.insert(boundary, seed),
                // Nobody has posted it, although later ones are known.
                Ok(None) => tracing::debug!(boundary, "a seed is not known yet"),
                Err(error) => {
                    tracing::warn!(%error, "the chain cannot be asked for a seed");
                    return;
                }
            }
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
    pub(super) fn boundary(&self, upload_by: UnixTime, epoch_secs: u64) -> u64 {
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

    /// Asks the chain which draws of the batches with wins are settled for good, some batches at a
    /// time, and drops these wins. Only a settlement that is final counts: after a reorganisation the
    /// proof of another is there no more, once the chunk is lost.
    async fn drop_settled(&self) {
        for id in self.due_settled() {
            self.book().asked_settled = Some(id);
            match self.shared.chain.record(self.shared.domain.vault, id, At::Finalized).await {
                Ok(record) => self.settled(id, record.settled).await,
                Err(error) => {
                    tracing::warn!(%error, "the chain cannot be asked which draws are settled");
                    return;
                }
            }
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
