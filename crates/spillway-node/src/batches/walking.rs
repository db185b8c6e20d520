use spillway_store::ChunkStore;
use spillway_types::{ChunkAddress, PaymentProof};
use tokio::sync::watch;

use super::{Batches, index::Place};
use crate::{Evidence, limits::WALK_STEP};

impl Batches {
    /// Reads the evidence of every chunk of the store and puts the batches that wait for their draw
    /// into the index. One chunk is read at a time; nothing waits for it. When the index is full, it
    /// waits until some batches were drawn, and goes on where it was.
    ///
    /// # Cancel safety
    /// It may be dropped at any time; the next one begins anew.
    pub async fn walk(&self, store: &dyn ChunkStore) {
        let mut after = None;
        loop {
            let addresses = store.addresses(after, WALK_STEP);
            let Some(&last) = addresses.last() else { break };
            after = Some(last);
            for address in addresses {
                match store.evidence(address).await {
                    Ok(Some(bytes)) => self.index_evidence(address, &bytes).await,
                    Ok(None) => {}
                    Err(error) => {
                        tracing::error!(%address, %error, "the evidence of a chunk cannot be read");
                    }
                }
            }
        }
        self.shared.walked.send_modify(|walked| *walked += 1);
    }

    /// Returns when another walk is worth it.
    ///
    /// # Cancel safety
    /// It may be dropped at any time.
    pub(crate) async fn walk_due(&self) {
        self.shared.walk_due.notified().await;
    }

    /// Counts how often a walk came to its end, or to where it waits for room.
    pub(crate) fn walked(&self) -> watch::Receiver<u64> {
        self.shared.walked.subscribe()
    }

    async fn index_evidence(&self, address: ChunkAddress, bytes: &[u8]) {
        let evidence = match Evidence::decode(bytes) {
            Ok(evidence) => evidence,
            Err(error) => {
                tracing::error!(%address, %error, "the evidence of a chunk is not understood");
                return;
            }
        };
        if let PaymentProof::Batch(proof) = &evidence.proof
            && *evidence.domain() == self.shared.domain
            && evidence.leaf.address == address
        {
            while !self.try_index(&evidence.leaf, proof, Place::Chunk) {
                self.shared.walked.send_modify(|walked| *walked += 1);
                self.shared.room.notified().await;
            }
        }
    }
}
