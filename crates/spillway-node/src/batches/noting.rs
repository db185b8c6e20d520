//! Noting the draws that the node's leaves have won.

use std::{collections::BTreeSet, path::Path};

use spillway_disk::{DiskError, Overwrite, run};
use spillway_pay::{At, verify::batch_leaf};
use spillway_store::{ChunkStore, StoreError};
use spillway_types::{
    Atto, BatchProof, BatchTerms, ChunkAddress, DrawSet, Leaf, PaymentId, PaymentProof, Seed,
    Sibling, Win,
};

use super::{
    Batches, Book,
    files::{FurtherProof, decode, encode, fits, proof_path, win_path},
    value,
};
use crate::{Evidence, limits::MAX_PROOF_FILE_BYTES};

/// Why a proof cannot be read now.
#[derive(Debug, thiserror::Error)]
enum ReadError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Disk(#[from] DiskError),
}

/// A draw that was won, and whose leaf it fell on.
struct Won {
    draw: u8,
    from: Atto,
    address: ChunkAddress,
}

impl Batches {
    /// Notes the draws of one batch that the node's leaves have won and that are not settled, and
    /// then takes the batch out of the index. What cannot be noted now keeps it there. `asking` is
    /// whether the chain answers.
    pub(super) async fn note_wins(
        &self,
        store: &dyn ChunkStore,
        (id, seed): (PaymentId, Seed),
        asking: &mut bool,
    ) {
        let mut handled = BTreeSet::new();
        let mut settled = None;
        let mut failed = false;
        // Until there is none left that came meanwhile; each draw falls on one leaf, so it ends.
        while let Some((terms, won)) = self.unnoted(id, seed, &handled, failed) {
            let settled = match settled {
                Some(settled) => settled,
                None => *settled.insert(self.settled_for_good(id, asking).await),
            };
            for won in won {
                handled.insert(won.draw);
                if settled.contains(won.draw) {
                    continue;
                }
                if let Err(error) = self.note_win(store, id, &terms, &won).await {
                    let draw = won.draw;
                    tracing::error!(%error, payment = %id, draw, "a win cannot be noted now");
                    failed = true;
                }
            }
        }
    }

    /// The draws that the node's leaves have won and that were not handled nor noted. When there are
    /// none, the batch is taken out of the index, unless it is to stay.
    fn unnoted(
        &self,
        id: PaymentId,
        seed: Seed,
        handled: &BTreeSet<u8>,
        stays: bool,
    ) -> Option<(BatchTerms, Vec<Won>)> {
        let mut book = self.book();
        let Book { index, wins, has_room, .. } = &mut *book;
        let batch = index.get(id)?;
        let won = batch.won(id, seed).into_iter();
        let won = won.filter(|(draw, _)| !handled.contains(draw) && !wins.contains(&(id, *draw)));
        let won = won.map(|(draw, from)| Won { draw, from, address: batch.leaves[&from].address });
        let (terms, won): (_, Vec<_>) = (batch.terms, won.collect());
        if !won.is_empty() {
            return Some((terms, won));
        }
        if !stays {
            *has_room |= index.take(id);
        }
        None
    }

    /// The draws of a batch that are settled and stay so. None when the chain does not say it: a win
    /// that is noted in vain is dropped later.
    async fn settled_for_good(&self, id: PaymentId, asking: &mut bool) -> DrawSet {
        if !*asking {
            return DrawSet::default();
        }
        match self.shared.chain.record(self.shared.domain.vault, id, At::Finalized).await {
            Ok(record) => record.settled,
            Err(error) => {
                tracing::debug!(%error, "the chain cannot be asked which draws are settled");
                *asking = false;
                DrawSet::default()
            }
        }
    }

    async fn note_win(
        &self,
        store: &dyn ChunkStore,
        id: PaymentId,
        terms: &BatchTerms,
        won: &Won,
    ) -> Result<(), ReadError> {
        let Won { draw, address, .. } = *won;
        let Some((leaf, siblings)) = self.proof(store, id, won).await? else {
            tracing::error!(%address, payment = %id, draw, "the proof of a win is lost");
            return Ok(());
        };
        Ok(self.note(id, Win { terms: *terms, draw, leaf, siblings }).await?)
    }

    /// The proof of a leaf of the index: the leaf and its siblings, from its chunk's evidence or from
    /// a file of its own, wherever it is. `None` when it is gone.
    async fn proof(
        &self,
        store: &dyn ChunkStore,
        id: PaymentId,
        won: &Won,
    ) -> Result<Option<(Leaf, Vec<Sibling>)>, ReadError> {
        let is_it = |(leaf, proof): &(Leaf, BatchProof)| {
            proof.terms.id(&self.shared.domain) == id
                && batch_leaf(proof, leaf).is_ok_and(|span| span.from == won.from)
        };
        let with_chunk = store.evidence(won.address).await;
        let bytes = with_chunk.as_ref().ok().and_then(Option::as_ref);
        let evidence = bytes.and_then(|bytes| Evidence::decode(bytes).ok());
        let with_chunk_is = evidence.and_then(|evidence| match evidence.proof {
            PaymentProof::Batch(proof) => Some((evidence.leaf, proof)),
            _ => None,
        });
        if let Some((leaf, proof)) = with_chunk_is.filter(is_it) {
            return Ok(Some((leaf, proof.siblings)));
        }
        if let Some((leaf, proof)) = self.further(&proof_path((id, won.from))).await?.filter(is_it)
        {
            return Ok(Some((leaf, proof.siblings)));
        }
        // Only now: it may be there and not readable.
        with_chunk?;
        Ok(None)
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
}
