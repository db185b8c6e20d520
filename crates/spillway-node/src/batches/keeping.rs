use std::path::PathBuf;

use spillway_disk::{DiskError, Overwrite, run};
use spillway_pay::verify::batch_leaf;
use spillway_types::{BatchProof, Leaf};
use tokio::sync::MutexGuard as Turn;

use super::{
    Batches,
    files::{FurtherKey, FurtherProof, encode, fits, proof_path, win_path},
    index::Found,
    loading, value,
};
use crate::limits::FURTHER_WRITERS;

impl Batches {
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
        let found = Found { address: leaf.address, sum: span.sum, rank };
        let turn = self.turn(&key).await;
        let (known, takes) = {
            let book = self.book();
            (book.further.contains(&key), book.further.takes(&key, rank))
        };
        if known {
            self.index_found(key.0, &proof.terms, key.1, found);
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
        let evicted = self.book().further.insert(key, rank, (proof.terms, found));
        self.index_found(key.0, &proof.terms, key.1, found);
        // Before another's: nobody ever waits for two.
        drop(turn);
        self.remove_further(evicted).await;
        Ok(())
    }

    /// Takes in what was on the disk, but for what is known.
    pub(super) async fn take_in(&self, loaded: loading::Loaded) {
        let own = self.shared.terms.reward;
        self.book().unread = loaded.unread;
        let mut unwanted = Vec::new();
        for (key, kept) in loaded.proofs {
            let Ok(span) = batch_leaf(&kept.proof, &kept.leaf) else { continue };
            let (terms, rank) = (kept.proof.terms, value::of_leaf(&kept.leaf, own));
            let found = Found { address: kept.leaf.address, sum: span.sum, rank };
            unwanted.extend(self.book().further.insert(key, rank, (terms, found)));
            self.index_found(key.0, &terms, key.1, found);
        }
        self.remove_further(unwanted).await;
        let mut unwanted = Vec::new();
        for (key, win) in loaded.wins {
            let rank = value::of_win(&win, own);
            unwanted.extend(self.book().wins.insert(key, rank, win).map(win_path));
        }
        self.remove(unwanted).await;
    }

    /// Removes the files of further proofs that are of no more use, unless they came again.
    pub(super) async fn remove_further(&self, keys: impl IntoIterator<Item = FurtherKey>) {
        for key in keys {
            let _turn = self.turn(&key).await;
            if !self.book().further.contains(&key) {
                self.remove(vec![proof_path(key)]).await;
            }
        }
    }

    /// Removes files that are of no more use. One that stays does no harm: it is removed at a later
    /// start.
    pub(super) async fn remove(&self, paths: Vec<PathBuf>) {
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

    /// The turn to write or remove the file of this proof: one at a time of each, and some at once of
    /// all. Payment ids are hashes, so their first bytes spread evenly.
    async fn turn(&self, (payment, _): &FurtherKey) -> Turn<'_, ()> {
        self.shared.writing[usize::from(payment.0[0]) % FURTHER_WRITERS].lock().await
    }
}
