use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use spillway_disk::Clock;
use spillway_net::AdmittedPut;
use spillway_types::{PaymentId, PutRequest, PutResponse, Receipt, ReceiptBody, Refusal};
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::{Evidence, held::Held, kept::KeptFor, promises::refusal, service::Shared, slots::Slot};

/// A put whose header passed every check, with the space for its body.
pub(crate) struct Admitted {
    pub(crate) service: Arc<Shared>,
    pub(crate) put: PutRequest,
    pub(crate) payment: PaymentId,
    /// Before the slot: what is dropped first is free first.
    pub(crate) held: Held,
    pub(crate) _slot: Slot,
    pub(crate) _pass: TaskTrackerToken,
}

impl Admitted {
    /// Stores the body unless the chunk is here already, and signs for it.
    async fn keep(self, body: Bytes) -> Result<Receipt, Refusal> {
        let Self { service, put, payment, mut held, .. } = self;
        let (address, size) = (put.leaf.address, put.size);
        if body.len() as u64 != u64::from(size) {
            let found = u32::try_from(body.len()).unwrap_or(u32::MAX);
            return Err(Refusal::WrongSize { quoted: size, found });
        }
        let leaf = put.leaf.hash();
        let mut time = service.clock.now();
        // A body for a chunk that is here is dropped unseen: what is here was hashed when it came.
        if !service.store.has(address) {
            let evidence = Evidence {
                stored_at: time,
                leaf: put.leaf,
                size,
                proof: put.proof,
                quotes: put.quotes,
                receipts: Vec::new(),
            };
            let evidence = evidence.encode().map_err(|error| {
                tracing::warn!(%address, %error, "evidence that cannot be kept");
                Refusal::Malformed
            })?;
            let reservation =
                held.hand_out().expect("invariant: it is handed out here and nowhere else");
            let stored = service.store.put(reservation, body, evidence.into()).await;
            stored.map_err(|error| {
                held.restore();
                refusal(&error)
            })?;
            // Another price may have set space aside for it meanwhile.
            drop(service.promises().take((address, size), time));
            service.kept.note(address, KeptFor { payment, leaf, stored_at: time });
            time = service.clock.now();
        }
        let nonce = put.nonce;
        let domain = service.domain;
        let body = ReceiptBody { domain, payment, leaf, address, size, time, nonce };
        Ok(body.sign(&service.secret))
    }
}

#[async_trait]
impl AdmittedPut for Admitted {
    async fn store(self: Box<Self>, body: Bytes) -> PutResponse {
        let address = self.put.leaf.address;
        let receipt = self.keep(body).await;
        match &receipt {
            Ok(_) => tracing::debug!(%address, "stored"),
            Err(refusal) => tracing::debug!(%address, %refusal, "not stored"),
        }
        PutResponse { receipts: receipt.map(|receipt| vec![receipt]) }
    }
}
