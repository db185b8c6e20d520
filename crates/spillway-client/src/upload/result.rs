//! How an upload ends, and what is said about it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use spillway_disk::run;
use spillway_types::{Atto, ChunkAddress};

use super::engine::Engine;
use crate::{
    ChunkFailure, Spend, Stage, UploadError, Uploaded,
    session::{self, Batch, ChunkIx, Progressed, Record},
};

impl Engine {
    /// Says what came of it; a whole upload ends its session and its spill.
    pub(super) async fn finish(
        mut self,
        started: Duration,
        done: Result<(), UploadError>,
    ) -> Result<Uploaded, UploadError> {
        let failed = self.failed();
        let stopped = done.err().or(self.pay_error.take());
        match stopped {
            Some(error) => return Err(self.stopped(failed, error).await),
            None if !failed.is_empty() => return Err(self.partial(failed, None)),
            None => {}
        }
        let mut records = vec![Record::Finished];
        if self.checking.take().is_some() {
            records.insert(0, Record::Verified);
        }
        self.session.record(records).await?;
        let bodies = Arc::into_inner(self.bodies).expect("invariant: nothing is being stored");
        if let Err(error) = run(&self.job.parts.data, move |_| bodies.spill.destroy()).await {
            tracing::warn!(%error, "the spill could not be removed; it goes when it is stale");
        }
        self.job.options.progress.set_stage(Stage::Done);
        let progressed = &self.session.progressed;
        let manifest = &self.session.manifest;
        Ok(Uploaded {
            upload_id: self.session.id().to_owned(),
            bytes: manifest.source.bytes,
            chunks_total: manifest.chunks.len() as u64,
            chunks_stored: progressed.stored.len() as u64,
            chunks_already_stored: progressed.already.len() as u64,
            payment_mode: self.session.payment_mode(),
            mode_reason: self.reason,
            spend: self.session.spend(),
            data_map: manifest.root.clone(),
            public_address: manifest.public_address,
            skipped: manifest.source.skipped.iter().map(Into::into).collect(),
            verified: progressed.verified,
            elapsed: self.job.parts.clock.monotonic().saturating_sub(started),
        })
    }

    /// What an error that stopped the upload comes to: after money has moved or chunks were stored it
    /// is a partial upload because of it.
    async fn stopped(
        self,
        failed: Vec<(ChunkAddress, ChunkFailure)>,
        error: UploadError,
    ) -> UploadError {
        let progressed = &self.session.progressed;
        // What was sent may be paid, though nobody has seen it or could write it down. These two say so
        // themselves.
        let says_so = matches!(error, UploadError::Payment { .. } | UploadError::Undecided { .. });
        let is_sent = !says_so && !self.signed_chunks().is_empty();
        let nothing_done = progressed.paid.is_empty()
            && progressed.stored.is_empty()
            && !is_sent
            && self.spend(Some(&error)).storage_cost == Atto::ZERO;
        if !nothing_done {
            return self.partial(failed, Some(error));
        }
        let may_go = error.is_price_not_taken() && self.session.plans.is_empty();
        // Of what cannot be read again the sealed chunks may be all that there is.
        if may_go && self.rereadable && !progressed.imported {
            self.discard().await;
        }
        error
    }

    /// Removes a session that never came to a plan, and its spill.
    async fn discard(self) {
        let Self { job, session, bodies, .. } = self;
        let id = session.id().to_owned();
        let removed = run(&job.parts.data, move |disk| {
            session::discard(disk, &id)?;
            drop(session);
            Arc::into_inner(bodies).map_or(Ok(()), |bodies| bodies.spill.destroy())
        });
        if let Err(error) = removed.await {
            tracing::warn!(%error, "the session could not be removed; it goes when it is stale");
        }
    }

    /// Chunks without a quorum, or that were not found where they were stored, and why.
    fn failed(&self) -> Vec<(ChunkAddress, ChunkFailure)> {
        let signed = self.signed_chunks();
        let unpaid = |chunk: ChunkIx| {
            let undecided = signed.contains(&chunk) || self.undecided.contains(&chunk);
            (chunk, if undecided { ChunkFailure::Undecided } else { ChunkFailure::NotPaid })
        };
        let mut failures: BTreeMap<ChunkIx, ChunkFailure> = BTreeMap::new();
        for batch in &self.batches {
            match batch {
                Batch::Partial { failed } => failures.extend(failed.clone()),
                Batch::Stored => {}
                Batch::Sealed { chunks }
                | Batch::Planning { chunks }
                | Batch::Planned { chunks, .. }
                | Batch::Unpaid { chunks } => {
                    failures.extend(chunks.iter().copied().map(unpaid));
                }
                Batch::Quoted { priced } => {
                    failures.extend(priced.iter().map(|priced| unpaid(priced.chunk)));
                }
                Batch::Paid { waiting, failed, .. } => {
                    failures.extend(failed.clone());
                    let open = ChunkFailure::NoQuorum { receipts: 0, last: None };
                    failures.extend(waiting.iter().map(|&chunk| (chunk, open.clone())));
                }
            }
        }
        let address = |chunk: ChunkIx| self.session.chunk(chunk).address;
        let unverified = self.unverified().into_iter();
        failures.extend(
            unverified.map(|(chunk, copies)| (chunk, ChunkFailure::NotVerified { copies })),
        );
        failures.into_iter().map(|(chunk, failure)| (address(chunk), failure)).collect()
    }

    /// Chunks of plans that are not known to be paid and of which a transaction is signed.
    fn signed_chunks(&self) -> BTreeSet<ChunkIx> {
        let Progressed { paid, dropped, .. } = &self.session.progressed;
        let mut chunks = BTreeSet::new();
        for (plan, file) in self.session.numbered_plans() {
            if paid.contains_key(&plan) || dropped.contains(&plan) {
                continue;
            }
            let payment = file.plan.id();
            if self.session.txs.iter().any(|tx| tx.purpose.pays(payment)) {
                chunks.extend(file.own_chunks());
            }
        }
        chunks
    }

    /// What was spent, and what paying has seen recorded before an error though it is not written
    /// down yet.
    fn spend(&self, error: Option<&UploadError>) -> Spend {
        let mut spend = self.session.spend();
        let Some(UploadError::Payment { source, .. }) = error else { return spend };
        let paid = &self.session.progressed.paid;
        for (plan, file) in self.session.numbered_plans() {
            if paid.contains_key(&plan) || !source.spend.payments.contains(&file.plan.id()) {
                continue;
            }
            let tips = file.plan.batch_terms().map_or(Atto::ZERO, |terms| terms.tips());
            spend.storage_cost = spend.storage_cost.saturating_add(file.plan.total());
            spend.tips = spend.tips.saturating_add(tips);
        }
        spend
    }

    fn partial(
        &self,
        failed: Vec<(ChunkAddress, ChunkFailure)>,
        cause: Option<UploadError>,
    ) -> UploadError {
        let progressed = &self.session.progressed;
        let address = |chunk: ChunkIx| self.session.chunk(chunk).address;
        let paid_unstored = progressed
            .paid
            .keys()
            .flat_map(|plan| self.session.plan(*plan).own_chunks())
            .filter(|&chunk| !progressed.is_done(chunk))
            .map(address)
            .collect();
        UploadError::PartialUpload {
            session: self.session.id().to_owned(),
            bytes: self.session.manifest.source.bytes,
            payment_mode: self.session.payment_mode(),
            mode_reason: self.reason.map(Box::new),
            stored: progressed.stored.iter().copied().map(address).collect(),
            already_stored: progressed.already.iter().copied().map(address).collect(),
            failed,
            paid_unstored,
            total: self.chunks_total(),
            spend: self.spend(cause.as_ref()),
            cause: cause.map(Box::new),
        }
    }
}

impl UploadError {
    /// Whether nothing was paid because of the price: the user said no to it, it is over a cap, or it
    /// cannot be paid in the mode that was asked for. A session that never came to a plan is removed
    /// then if this run has read its source and it can be read again. That of a stream, one that was gone
    /// on with by its name and one that was imported stay until they are forgotten: their sealed chunks
    /// may be the only bytes that there are.
    pub fn is_price_not_taken(&self) -> bool {
        matches!(
            self,
            Self::Declined { .. }
                | Self::OverCost { .. }
                | Self::OverGasCost { .. }
                | Self::NoBatch(_)
        )
    }
}
