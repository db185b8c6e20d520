use spillway_disk::run;
use spillway_store::ChunkStore;
use spillway_types::{ChunkAddress, PaymentProof};
use tokio::sync::watch;

use super::{Batches, loading};
use crate::{Evidence, limits::WALK_STEP};

impl Batches {
    /// Reads the evidence of every chunk of the store, and puts the batches that wait for their draw
    /// into the index: those, and those of the further proofs. One chunk is read at a time; nothing
    /// waits for it. What the index has no room for is left out, and another walk is due when some
    /// batches were drawn.
    ///
    /// False when something could not be read, so that another walk may find more.
    ///
    /// # Cancel safety
    /// It may be dropped at any time; the next one begins anew.
    pub async fn walk(&self, store: &dyn ChunkStore) -> bool {
        let mut whole = self.read_again().await;
        let mut after = None;
        loop {
            let addresses = store.addresses(after, WALK_STEP);
            let Some(&last) = addresses.last() else { break };
            after = Some(last);
            for address in addresses {
                match store.evidence(address).await {
                    Ok(Some(bytes)) => self.index_evidence(address, &bytes),
                    Ok(None) => {}
                    Err(error) => {
                        tracing::error!(%address, %error, "the evidence of a chunk cannot be read");
                        whole = false;
                    }
                }
            }
        }
        self.walk_further().await;
        self.shared.walked.send_modify(|walked| *walked += 1);
        whole
    }

    /// Returns when another walk is worth it.
    ///
    /// # Cancel safety
    /// It may be dropped at any time.
    pub(crate) async fn walk_due(&self) {
        self.shared.walk_due.notified().await;
    }

    /// Counts how often a walk came to its end.
    pub(crate) fn walked(&self) -> watch::Receiver<u64> {
        self.shared.walked.subscribe()
    }

    /// Takes in the files that could not be read before; false when there are still some.
    async fn read_again(&self) -> bool {
        if !self.book().unread {
            return true;
        }
        let domain = self.shared.domain;
        match run(&self.shared.disk, move |disk| loading::read(disk, &domain)).await {
            Ok(loaded) => {
                let whole = !loaded.unread;
                self.take_in(loaded).await;
                whole
            }
            Err(error) => {
                tracing::error!(%error, "further proofs and wins cannot be read");
                false
            }
        }
    }

    async fn walk_further(&self) {
        let further: Vec<_> = self.book().further.iter().map(|(key, kept)| (*key, *kept)).collect();
        for step in further.chunks(WALK_STEP) {
            for ((id, from), (terms, found)) in step {
                self.index_found(*id, terms, *from, *found);
            }
            tokio::task::yield_now().await;
        }
    }

    fn index_evidence(&self, address: ChunkAddress, bytes: &[u8]) {
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
            self.stored(&evidence.leaf, proof);
        }
    }
}
