//! The last stage: storing. A chunk goes to its five quoted peers at once; with three receipts it is
//! stored. What has fewer is tried again after 0.5, 1 and 2 seconds, on the peers that are missing.

use std::sync::Arc;

use bytes::Bytes;
use futures::future::join_all;
use spillway_disk::run;
use spillway_seal::{DataMap, PackOptions, Sealer};
use spillway_types::{
    Leaf, LeafHash, PaymentId, PaymentProof, PeerKey, PutRequest, Quote, Receipt, ReceiptBody,
    Refusal, Retry, UnixTime,
    limits::{CLOSE_GROUP, RETRY_DELAYS, STORE_QUORUM},
};

use super::{Job, fresh_nonce};
use crate::{
    ChunkFailure, PutFailure, UploadError, session::ChunkInfo, source::Layout, spill::Spill,
};

/// Everything that storing one chunk needs.
#[derive(Clone, Debug)]
pub(crate) struct Order {
    pub info: ChunkInfo,
    pub leaf: Leaf,
    pub quotes: [Quote; CLOSE_GROUP],
    pub proof: PaymentProof,
    pub payment: PaymentId,
    pub upload_by: UnixTime,
}

/// Where a chunk's bytes come from: the spill, or the source again.
#[derive(Debug)]
pub(crate) struct Bodies {
    pub spill: Spill,
    pub layout: Option<Arc<Layout>>,
    /// The data map of level 0; `None` for a raw chunk.
    pub map: Option<DataMap>,
}

impl Bodies {
    /// A chunk's bytes, hashed just now. `None`: the spill has lost it and the source is not what
    /// it was. Blocks.
    pub(crate) fn read(&self, info: &ChunkInfo) -> Result<Option<Bytes>, UploadError> {
        if let Some(bytes) = self.spill.read(info.address)? {
            return Ok(Some(bytes));
        }
        tracing::warn!(chunk = %info.address, "lost from the spill, sealing it again");
        let Some(bytes) = self.seal_again(info)? else {
            return Ok(None);
        };
        self.spill.write(info.address, &bytes)?;
        Ok(Some(bytes))
    }

    fn seal_again(&self, info: &ChunkInfo) -> Result<Option<Bytes>, UploadError> {
        let Some(map) = &self.map else {
            return Ok(None);
        };
        let Some(segment) = info.segment else {
            let packed = map.clone().pack(PackOptions::default())?;
            let root = packed.root.public_chunk();
            let mut chunks = packed.chunks.into_iter().chain([root]);
            return Ok(chunks.find(|chunk| chunk.address == info.address).map(|chunk| chunk.bytes));
        };
        let (Some(layout), Some(keys)) = (&self.layout, map.key_hashes(segment as usize)) else {
            return Ok(None);
        };
        let plaintext = layout.read(u64::from(segment))?;
        let compression = spillway_seal::Compression::Auto;
        let mut sealer = Sealer::new(map.secret().clone(), 0, compression);
        let chunk = sealer.seal(&keys, &plaintext)?;
        Ok((chunk.address == info.address).then_some(chunk.bytes))
    }
}

/// Stores one chunk and returns at least a quorum of receipts.
pub(crate) async fn store(
    job: &Job,
    order: &Order,
    bodies: &Arc<Bodies>,
) -> Result<Result<Vec<Receipt>, ChunkFailure>, UploadError> {
    let (source, info) = (Arc::clone(bodies), order.info);
    let body = run(&job.parts.data, move |_| Ok(source.read(&info))).await??;
    let Some(body) = body else {
        return Ok(Err(ChunkFailure::LostBytes));
    };
    let leaf = order.leaf.hash();
    let mut receipts: Vec<Receipt> = Vec::new();
    let mut last = None;
    for attempt in 0..=RETRY_DELAYS.len() {
        if attempt > 0 {
            job.backoff(attempt - 1).await?;
        }
        if job.parts.clock.now() > order.upload_by {
            return Ok(Err(ChunkFailure::WindowOver));
        }
        let missing = order
            .quotes
            .iter()
            .map(|quote| quote.peer)
            .filter(|peer| !receipts.iter().any(|receipt| receipt.peer == *peer));
        let puts = missing.map(|peer| put(job, order, leaf, (peer, body.clone())));
        let mut hopeless = true;
        for result in join_all(puts).await {
            match result {
                Ok(receipt) => receipts.push(receipt),
                Err(failure) => {
                    hopeless &= failure.retry() == Retry::Never;
                    last = Some(failure);
                }
            }
        }
        if receipts.len() >= STORE_QUORUM {
            return Ok(Ok(receipts));
        }
        if hopeless {
            break;
        }
    }
    Ok(Err(ChunkFailure::NoQuorum { receipts: receipts.len(), last }))
}

/// Puts a chunk on one peer and checks its receipt.
async fn put(
    job: &Job,
    order: &Order,
    leaf: LeafHash,
    (peer, body): (PeerKey, Bytes),
) -> Result<Receipt, PutFailure> {
    let nonce = fresh_nonce();
    let request = PutRequest {
        leaf: order.leaf.clone(),
        size: order.info.size,
        proof: order.proof.clone(),
        quotes: order.quotes,
        relay_to: Vec::new(),
        nonce,
    };
    let response = job.parts.peers.put(peer, request, body).await?;
    let receipts = response.receipts.map_err(PutFailure::Refused)?;
    let receipt = receipts.into_iter().next().ok_or(PutFailure::NoReceipt)?;
    let expected = ReceiptBody {
        domain: job.parts.domain,
        payment: order.payment,
        leaf,
        address: order.info.address,
        size: order.info.size,
        time: UnixTime(0),
        nonce,
    };
    receipt.check_paid(peer, &job.parts.domain, &expected)?;
    Ok(receipt)
}

impl PutFailure {
    /// Whether the same put may work later.
    pub fn retry(&self) -> Retry {
        match self {
            Self::Peer(error) => error.retry(),
            Self::Refused(refusal) => refusal.retry(),
            Self::Receipt(_) | Self::NoReceipt => Retry::Never,
        }
    }

    /// The refusal, if it was one.
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Refused(refusal) => Some(refusal),
            _ => None,
        }
    }
}
