use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use spillway_disk::Clock;
use spillway_net::AdmittedPut;
use spillway_store::Stored;
use spillway_types::{
    BatchProof, Leaf, PaymentId, PaymentProof, PutRequest, PutResponse, Receipt, ReceiptBody,
    Refusal, UnixTime,
};
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::{
    Evidence, checks, held::Held, kept::KeptFor, promises::refusal, service::Shared, slots::Slot,
    to_the_end::ToTheEnd,
};

/// A put or an offer whose header passed every check, with the space for its body.
pub(crate) struct Admitted {
    pub(crate) service: Arc<Shared>,
    pub(crate) put: PutRequest,
    /// What shows that an offered chunk was stored in time; `None` for a put.
    pub(crate) offered: Option<Vec<Receipt>>,
    pub(crate) payment: PaymentId,
    /// The time of the block at which the payment was seen.
    pub(crate) seen_at: UnixTime,
    /// Before the slot: what is dropped first is free first.
    pub(crate) held: Held,
    pub(crate) _slots: (Slot, Option<Slot>),
    pub(crate) _pass: TaskTrackerToken,
}

impl Admitted {
    /// Stores the body unless the chunk is here already, and signs for it.
    async fn keep(self, body: Bytes) -> Result<Receipt, Refusal> {
        let Self { service, put, offered, payment, seen_at, mut held, .. } = self;
        let (address, size) = (put.leaf.address, put.size);
        if body.len() as u64 != u64::from(size) {
            let found = u32::try_from(body.len()).unwrap_or(u32::MAX);
            return Err(Refusal::WrongSize { quoted: size, found });
        }
        // Once more: the record's look-up and the body may have taken long.
        let time = service.clock.now().max(seen_at);
        let is_offer = offered.is_some();
        if !is_offer {
            checks::in_time(put.proof.upload_by(), time)?;
        }
        let PutRequest { nonce, .. } = put;
        let leaf = put.leaf.hash();
        let kept = KeptFor::new(payment, &put.leaf, &put.proof, time);
        let batch = match &put.proof {
            PaymentProof::Batch(proof) => Some((put.leaf.clone(), proof.clone())),
            _ => None,
        };
        let evidence = (put, offered.unwrap_or_default());
        let stored = store(&service, evidence, kept, body, &mut held).await?;
        // An offer is no further payment for a chunk that is here: its proof is kept only with it.
        if let Some((leaf, proof)) = batch.filter(|_| !is_offer || stored == Stored::Now) {
            keep_proof(&service, stored, kept, &leaf, &proof).await?;
        }
        // Of the time that was checked: a put's is not after the window, however long the disk took.
        // An offer's may be, and then nobody takes the receipt for one of a chunk stored in time.
        let domain = service.domain;
        let body = ReceiptBody { domain, payment, leaf, address, size, time, nonce };
        Ok(body.sign(&service.secret))
    }
}

/// Stores the body with its evidence unless the chunk is here already: a body for one that is here is
/// dropped unseen, since what is here was hashed when it came.
async fn store(
    service: &Shared,
    (put, receipts): (PutRequest, Vec<Receipt>),
    kept: KeptFor,
    body: Bytes,
    held: &mut Held,
) -> Result<Stored, Refusal> {
    let (address, size) = (put.leaf.address, put.size);
    if service.store.has(address) {
        return Ok(Stored::Before);
    }
    let evidence = Evidence {
        stored_at: kept.stored_at,
        leaf: put.leaf,
        size,
        proof: put.proof,
        quotes: put.quotes,
        receipts,
    };
    let evidence = evidence.encode().map_err(|error| {
        tracing::warn!(%address, %error, "evidence that cannot be kept");
        Refusal::Malformed
    })?;
    let reservation = held.hand_out().expect("invariant: it is handed out here and nowhere else");
    let stored = service.store.put(reservation, body, evidence.into()).await;
    let stored = stored.map_err(|error| {
        held.restore();
        refusal(&error)
    })?;
    // Another price may have set space aside for it meanwhile.
    drop(service.promises().take((address, size), kept.stored_at));
    if stored == Stored::Now {
        service.kept.note(address, kept);
    }
    Ok(stored)
}

/// Makes sure that the proof of a batch is kept, and waits for its draw: with its chunk, or, when the
/// chunk was here before for another payment or for another leaf of this one, on its own.
async fn keep_proof(
    service: &Shared,
    stored: Stored,
    kept: KeptFor,
    leaf: &Leaf,
    proof: &BatchProof,
) -> Result<(), Refusal> {
    if stored == Stored::Now {
        service.batches.stored(leaf, proof);
        return Ok(());
    }
    let store = service.store.as_ref();
    match service.kept.find(store, &service.domain, leaf.address).await {
        Some(before) if before.is_same(&kept) => {
            service.batches.stored(leaf, proof);
            return Ok(());
        }
        // It was moved aside just now, for it had rotted, and the body is gone.
        None if !store.has(leaf.address) => return Err(Refusal::StorageFailed),
        _ => {}
    }
    service.batches.keep_further(leaf, proof).await.map_err(|error| {
        tracing::error!(address = %leaf.address, %error, "a further proof cannot be kept");
        Refusal::StorageFailed
    })
}

#[async_trait]
impl AdmittedPut for Admitted {
    async fn store(self: Box<Self>, body: Bytes) -> PutResponse {
        let address = self.put.leaf.address;
        // When the sender goes away meanwhile, what the store writes to its end is also entered where
        // its draw is waited for. A drain waits for it.
        let under_way = self.service.under_way.clone();
        let receipt = ToTheEnd::new(under_way, self.keep(body)).await;
        match &receipt {
            Ok(_) => tracing::debug!(%address, "stored"),
            Err(refusal) => tracing::debug!(%address, %refusal, "not stored"),
        }
        PutResponse { receipts: receipt.map(|receipt| vec![receipt]) }
    }
}
