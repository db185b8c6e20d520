//! The last stage: storing. A chunk goes to its five quoted peers at once; with three receipts it is
//! stored. What has fewer is tried again after 0.5, 1 and 2 seconds, on the peers that are missing.

use std::{collections::BTreeMap, pin::pin, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::{StreamExt, future::OptionFuture, stream::FuturesUnordered};
use spillway_disk::run;
use spillway_seal::{DataMap, PackOptions, Sealer};
use spillway_types::{
    Domain, Leaf, Nonce, OfferRequest, PaymentId, PaymentProof, PeerKey, PutRequest, PutResponse,
    Quote, Receipt, ReceiptBody, ReceiptError, Refusal, Retry, UnixTime,
    limits::{CLOSE_GROUP, MAX_CLOCK_SKEW, RETRY_DELAYS, STORE_QUORUM},
};

use super::{Job, fresh_nonce};
use crate::{
    ChunkFailure, ClientParts, PutFailure, UploadError,
    limits::{LAG_PATIENCE, MAX_PEER_PAUSE, QUORUM_GRACE, WINDOWS_BYTES},
    session::ChunkInfo,
    source::Layout,
    spill::Spill,
    workers::Work,
};

/// Everything that storing one chunk needs.
#[derive(Clone, Debug)]
pub(crate) struct Order {
    pub info: ChunkInfo,
    pub leaf: Leaf,
    pub quotes: [Quote; CLOSE_GROUP],
    /// A direct one is about 32 KiB and shared by all chunks of the plan, one of a batch is the
    /// chunk's own and 1.7 KiB at most.
    pub proof: Arc<PaymentProof>,
    pub payment: PaymentId,
    pub upload_by: UnixTime,
}

impl Order {
    fn terms(&self) -> Terms<'_> {
        Terms {
            leaf: &self.leaf,
            size: self.info.size,
            quotes: &self.quotes,
            proof: &self.proof,
            payment: self.payment,
            upload_by: self.upload_by,
        }
    }
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
        // A source that is not what it was is no reason to stop what can still be stored.
        let Ok(plaintext) = layout.read(u64::from(segment)) else { return Ok(None) };
        let compression = spillway_seal::Compression::Auto;
        let mut sealer = Sealer::new(map.secret().clone(), 0, compression);
        let Ok(chunk) = sealer.seal(&keys, &plaintext) else { return Ok(None) };
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
    let _held = job.reserve(u64::from(info.size) + WINDOWS_BYTES).await?;
    let body = run(&job.parts.data, move |_| Ok(source.read(&info))).await??;
    let Some(body) = body else { return Ok(Err(ChunkFailure::LostBytes)) };
    let mut attempts = Attempts {
        receipts: Vec::new(),
        failures: BTreeMap::new(),
        last: None,
        tried: 0,
        lag_until: job.parts.clock.monotonic() + LAG_PATIENCE,
    };
    loop {
        if job.parts.clock.now() > order.upload_by {
            return Ok(Err(ChunkFailure::WindowOver));
        }
        let place = job.enter(Work::Store).await?;
        attempts.round(job, order, &body).await;
        // Not while it waits: others have something to send meanwhile.
        drop(place);
        if attempts.receipts.len() >= STORE_QUORUM {
            return Ok(Ok(attempts.receipts));
        }
        if !attempts.pause(job).await? {
            let Attempts { receipts, last, .. } = attempts;
            return Ok(Err(ChunkFailure::NoQuorum { receipts: receipts.len(), last }));
        }
    }
}

/// What came of storing one chunk so far.
struct Attempts {
    receipts: Vec<Receipt>,
    /// How each peer without a receipt failed in the last round.
    failures: BTreeMap<PeerKey, PutFailure>,
    last: Option<PutFailure>,
    tried: usize,
    /// Until when peers that do not see the payment yet are waited for, in monotonic time.
    lag_until: Duration,
}

impl Attempts {
    /// Puts the chunk on every peer that may still take it. When a quorum has it, the others get a
    /// little longer and are then left.
    async fn round(&mut self, job: &Job, order: &Order, body: &Bytes) {
        let terms = order.terms();
        let missing = order.quotes.iter().map(|quote| quote.peer).filter(|peer| {
            let stored = self.receipts.iter().any(|receipt| receipt.peer == *peer);
            let never = self.failures.get(peer).is_some_and(|f| f.retry() == Retry::Never);
            !stored && !never
        });
        let mut puts: FuturesUnordered<_> = missing
            .map(|peer| async move { (peer, put(&job.parts, terms, (peer, body.clone())).await) })
            .collect();
        let mut grace = pin!(OptionFuture::from(None));
        loop {
            tokio::select! {
                biased;
                answer = puts.next() => match answer {
                    // All have answered: nobody is waited for, also not for the grace.
                    None => return,
                    Some((peer, Ok(receipt))) => {
                        self.failures.remove(&peer);
                        self.receipts.push(receipt);
                        if self.receipts.len() == STORE_QUORUM {
                            grace.set(Some(job.parts.clock.sleep(QUORUM_GRACE)).into());
                        }
                    }
                    Some((peer, Err(failure))) => {
                        tracing::debug!(%peer, %failure, "not stored there");
                        self.last = Some(failure.clone());
                        self.failures.insert(peer, failure);
                    }
                },
                Some(()) = &mut grace => return,
            }
        }
    }

    /// Waits before the next round; false when there is no sense in one.
    async fn pause(&mut self, job: &Job) -> Result<bool, UploadError> {
        let retries: Vec<Retry> = self.failures.values().map(PutFailure::retry).collect();
        if retries.iter().all(|retry| *retry == Retry::Never) {
            return Ok(false);
        }
        // A node that is a block behind or busy is no failure of the store: it is paid for.
        let lagging = self.failures.values().filter_map(PutFailure::refusal).any(|refusal| {
            matches!(
                refusal,
                Refusal::Unpaid { .. } | Refusal::ChainUnavailable | Refusal::Busy { .. }
            )
        });
        let lagging = lagging && job.parts.clock.monotonic() < self.lag_until;
        if self.tried == RETRY_DELAYS.len() && !lagging {
            return Ok(false);
        }
        let asked = retries.iter().filter_map(|retry| match retry {
            Retry::After(wait) => Some((*wait).min(MAX_PEER_PAUSE)),
            _ => None,
        });
        job.backoff(self.tried, asked.max().unwrap_or_default()).await?;
        self.tried = (self.tried + 1).min(RETRY_DELAYS.len());
        Ok(true)
    }
}

/// What shows that a chunk is paid for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms<'t> {
    pub leaf: &'t Leaf,
    pub size: u32,
    pub quotes: &'t [Quote; CLOSE_GROUP],
    pub proof: &'t PaymentProof,
    pub payment: PaymentId,
    pub upload_by: UnixTime,
}

impl Terms<'_> {
    fn request(&self) -> PutRequest {
        PutRequest {
            leaf: self.leaf.clone(),
            size: self.size,
            proof: self.proof.clone(),
            quotes: *self.quotes,
            relay_to: Vec::new(),
            nonce: fresh_nonce(),
        }
    }

    /// Checks that an answer is this peer's own receipt.
    fn receipt(
        &self,
        domain: &Domain,
        (peer, nonce): (PeerKey, Nonce),
        response: PutResponse,
    ) -> Result<Receipt, PutFailure> {
        let receipts = response.receipts.map_err(PutFailure::Refused)?;
        let receipt = receipts.into_iter().next().ok_or(PutFailure::NoReceipt)?;
        let expected = ReceiptBody {
            domain: *domain,
            payment: self.payment,
            leaf: self.leaf.hash(),
            address: self.leaf.address,
            size: self.size,
            time: UnixTime(0),
            nonce,
        };
        receipt.check_paid(peer, domain, &expected)?;
        Ok(receipt)
    }
}

/// Puts a chunk on one peer and checks its receipt.
pub(crate) async fn put(
    parts: &ClientParts,
    terms: Terms<'_>,
    (peer, body): (PeerKey, Bytes),
) -> Result<Receipt, PutFailure> {
    let request = terms.request();
    let nonce = request.nonce;
    let response = parts.peers.put(peer, request, body).await?;
    let receipt = terms.receipt(&parts.domain, (peer, nonce), response)?;
    // One dated later would be worth nothing when the chunk is offered to others.
    let latest = parts.clock.now().saturating_add(MAX_CLOCK_SKEW).min(terms.upload_by);
    if receipt.body.time > latest {
        return Err(ReceiptError::WrongTime { time: receipt.body.time }.into());
    }
    Ok(receipt)
}

/// Offers a chunk that was stored in time to one peer and checks its receipt.
pub(crate) async fn offer(
    parts: &ClientParts,
    terms: Terms<'_>,
    receipts: &[Receipt],
    (peer, body): (PeerKey, Bytes),
) -> Result<Receipt, PutFailure> {
    let put = terms.request();
    let nonce = put.nonce;
    let request = OfferRequest { put, receipts: receipts.to_vec() };
    let response = parts.peers.offer(peer, request, body).await?;
    terms.receipt(&parts.domain, (peer, nonce), response)
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
