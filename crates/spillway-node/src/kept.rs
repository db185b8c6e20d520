use std::{
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
};

use spillway_pay::verify::batch_leaf;
use spillway_store::ChunkStore;
use spillway_types::{
    Atto, ChunkAddress, Domain, Leaf, LeafHash, PaymentId, PaymentProof, UnixTime,
};

use crate::{Evidence, limits::MAX_KEPT_IN_MEMORY, lru::Lru};

/// For which payment a stored chunk is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KeptFor {
    pub(crate) payment: PaymentId,
    pub(crate) leaf: LeafHash,
    /// The first point that the leaf covers in its batch: a batch may have the same leaf twice, and
    /// each of them wins on its own.
    pub(crate) from: Option<Atto>,
    pub(crate) stored_at: UnixTime,
}

impl KeptFor {
    pub(crate) fn new(
        payment: PaymentId,
        leaf: &Leaf,
        proof: &PaymentProof,
        stored_at: UnixTime,
    ) -> Self {
        let from = match proof {
            PaymentProof::Batch(batch) => batch_leaf(batch, leaf).ok().map(|span| span.from),
            _ => None,
        };
        Self { payment, leaf: leaf.hash(), from, stored_at }
    }

    /// Whether both are of one leaf of one payment, whenever they came.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        (self.payment, self.leaf, self.from) == (other.payment, other.leaf, other.from)
    }
}

/// For which payments chunks are kept, as far as it is remembered; the rest is read from their
/// evidence.
pub(crate) struct Kept {
    chunks: Mutex<Lru<ChunkAddress, KeptFor>>,
}

impl Default for Kept {
    fn default() -> Self {
        Self { chunks: Mutex::new(Lru::new(MAX_KEPT_IN_MEMORY)) }
    }
}

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kept").finish_non_exhaustive()
    }
}

impl Kept {
    /// Remembers what a chunk that was stored just now is kept for.
    pub(crate) fn note(&self, address: ChunkAddress, kept: KeptFor) {
        self.chunks().insert(address, kept);
    }

    /// What a stored chunk is kept for. `None` when it is not stored, when it was paid on another
    /// network, chain or vault, or when its evidence cannot be read: then nothing is signed for it.
    pub(crate) async fn find(
        &self,
        store: &dyn ChunkStore,
        domain: &Domain,
        address: ChunkAddress,
    ) -> Option<KeptFor> {
        if !store.has(address) {
            return None;
        }
        if let Some(kept) = self.chunks().get(&address) {
            return Some(*kept);
        }
        let bytes = match store.evidence(address).await {
            Ok(bytes) => bytes?,
            Err(error) => {
                tracing::error!(%address, %error, "the evidence of a chunk cannot be read");
                return None;
            }
        };
        let evidence = match Evidence::decode(&bytes) {
            Ok(evidence) => evidence,
            Err(error) => {
                tracing::error!(%address, %error, "the evidence of a chunk is not understood");
                return None;
            }
        };
        if evidence.domain() != domain {
            return None;
        }
        let Evidence { leaf, proof, stored_at, .. } = &evidence;
        let kept = KeptFor::new(evidence.payment(), leaf, proof, *stored_at);
        self.note(address, kept);
        Some(kept)
    }

    fn chunks(&self) -> MutexGuard<'_, Lru<ChunkAddress, KeptFor>> {
        self.chunks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
