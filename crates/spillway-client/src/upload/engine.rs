use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use futures::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use spillway_disk::run;
use spillway_pay::{PaymentMode, PlanStatus};
use spillway_seal::DataMap;
use spillway_types::{Atto, ChunkAddress, Receipt, limits};

use super::{
    Job, pay, price_all,
    quote::{QuoteOutcome, Wanted},
    seal::Sealed,
    store::{self, Bodies, Order},
};
use crate::{
    ChunkFailure, Spend, Stage, UploadError, Uploaded,
    limits::STORE_WORKERS,
    session::{Batch, ChunkIx, Effect, Event, PlanFile, PlanIx, Priced, Record, Session},
};

/// A chunk that is to be stored now.
struct Waiting {
    batch: usize,
    chunk: ChunkIx,
    order: Order,
}

type Stored = (usize, ChunkIx, Result<Result<Vec<Receipt>, ChunkFailure>, UploadError>);

/// One upload under way.
pub(super) struct Engine {
    job: Arc<Job>,
    session: Session,
    bodies: Arc<Bodies>,
    batches: Vec<Batch>,
    /// Plans to be paid, in order, with their batch.
    to_pay: Vec<(usize, PlanIx)>,
    to_store: VecDeque<Waiting>,
    /// Why paying stopped, if it did.
    pay_error: Option<UploadError>,
}

impl Engine {
    pub(super) async fn new(job: Arc<Job>, sealed: Sealed) -> Result<Self, UploadError> {
        let Sealed { session, spill, layout } = sealed;
        let map = match &session.manifest.root {
            None => None,
            Some(_) => Some(session.read_map().await?),
        };
        let map = map.map(|bytes| DataMap::decode(&bytes)).transpose().map_err(UploadError::Map)?;
        let bodies = Arc::new(Bodies { spill, layout, map });
        let mut engine = Self {
            job,
            session,
            bodies,
            batches: Vec::new(),
            to_pay: Vec::new(),
            to_store: VecDeque::new(),
            pay_error: None,
        };
        engine.settle_plans().await?;
        Ok(engine)
    }

    /// Asks the chain what became of the plans that an earlier run left, and builds the batches.
    async fn settle_plans(&mut self) -> Result<(), UploadError> {
        let mut records = Vec::new();
        for (k, file) in self.session.plans.iter().enumerate() {
            let plan = PlanIx(u32::try_from(k).expect("invariant: plans fit in 32 bits"));
            let known = &self.session.progressed;
            if known.paid.contains_key(&plan) || known.dropped.contains(&plan) {
                continue;
            }
            match pay::status(&self.job, &file.plan).await? {
                PlanStatus::Paid { recorded } => {
                    records.push(Record::Paid { plan, recorded, total: file.plan.total() });
                }
                PlanStatus::Dropped => records.push(Record::Dropped { plan }),
                PlanStatus::Open => {}
            }
        }
        self.session.record(records).await?;
        let paid = self.session.paid_plans();
        let plan_of = self.session.plan_of(self.job.parts.clock.now());
        self.batches = Batch::rebuild(
            self.session.open_chunks(),
            &plan_of,
            |plan| paid.contains(&plan),
            limits::MAX_DIRECT_LEAVES,
        );
        Ok(())
    }

    /// Feeds an event to a batch and queues what follows from it. Quotes and plans are made by the
    /// stages that caused the event; they are returned.
    fn apply(&mut self, batch: usize, event: Event) -> Vec<Effect> {
        let state = std::mem::replace(&mut self.batches[batch], Batch::Stored);
        let (state, effects) = state.step(event);
        self.batches[batch] = state;
        let mut rest = Vec::new();
        for effect in effects {
            match effect {
                Effect::Pay { plan } => self.to_pay.push((batch, plan)),
                Effect::Store { plan, chunks } => self.queue(batch, plan, &chunks),
                other => rest.push(other),
            }
        }
        rest
    }

    fn queue(&mut self, batch: usize, plan: PlanIx, chunks: &[ChunkIx]) {
        let file = self.session.plan(plan);
        let (proof, payment) = (file.plan.proof(), file.plan.id());
        for &chunk in chunks {
            let at = file.chunks.iter().position(|&listed| listed == chunk);
            let at = at.expect("invariant: a batch holds chunks of its own plan");
            let order = Order {
                info: *self.session.chunk(chunk),
                leaf: file.plan.leaves[at].clone(),
                quotes: file.quotes[at],
                proof: proof.clone(),
                payment,
                upload_by: file.plan.upload_by,
            };
            self.to_store.push_back(Waiting { batch, chunk, order });
        }
    }

    /// Pays and stores what an earlier run has planned.
    pub(super) async fn go_on(&mut self) -> Result<(), UploadError> {
        for batch in 0..self.batches.len() {
            if !matches!(self.batches[batch], Batch::Sealed { .. }) {
                self.apply(batch, Event::Begin);
            }
        }
        if !self.to_pay.is_empty() {
            let plans: Vec<_> =
                self.to_pay.iter().map(|(_, plan)| self.session.plan(*plan).plan.clone()).collect();
            let total = self.session.manifest.chunks.len() as u64;
            let offer = pay::offer(&self.job, &plans, total).await?;
            pay::check_caps(&self.job, &offer, &self.session.progressed.spend)?;
        }
        self.pay_and_store().await
    }

    /// Prices, plans, pays and stores what is in no plan yet.
    pub(super) async fn begin_rest(&mut self) -> Result<(), UploadError> {
        if self.pay_error.is_some() {
            return Ok(());
        }
        self.price().await?;
        let priced: Vec<(usize, Vec<Priced>)> = self
            .batches
            .iter()
            .enumerate()
            .filter_map(|(batch, state)| match state {
                Batch::Quoted { priced } => Some((batch, priced.clone())),
                _ => None,
            })
            .collect();
        if priced.is_empty() {
            return Ok(());
        }
        let plans = priced
            .iter()
            .map(|(_, priced)| pay::plan(&self.job, priced))
            .collect::<Result<Vec<_>, _>>()?;
        let total = self.session.manifest.chunks.len() as u64;
        let offer = pay::offer(&self.job, &plans, total).await?;
        pay::check_caps(&self.job, &offer, &self.session.progressed.spend)?;
        if let Some(approve) = &self.job.options.approve
            && !approve.approve(&offer).await
        {
            return Err(UploadError::Declined { offer });
        }
        self.job.check_stop()?;
        for ((batch, priced), plan) in priced.into_iter().zip(plans) {
            self.apply(batch, Event::Approved);
            let file = PlanFile {
                plan,
                chunks: priced.iter().map(|priced| priced.chunk).collect(),
                quotes: priced.iter().map(|priced| priced.quotes).collect(),
            };
            let plan = self.session.add_plan(file).await?;
            self.apply(batch, Event::PlanWritten { plan });
        }
        self.pay_and_store().await
    }

    async fn price(&mut self) -> Result<(), UploadError> {
        let mut wanted: BTreeMap<ChunkIx, usize> = BTreeMap::new();
        for batch in 0..self.batches.len() {
            for effect in self.apply(batch, Event::Begin) {
                if let Effect::Quote { chunks } = effect {
                    wanted.extend(chunks.into_iter().map(|chunk| (chunk, batch)));
                }
            }
        }
        let list: Vec<Wanted> =
            wanted.keys().map(|&chunk| Wanted::new(chunk, self.session.chunk(chunk))).collect();
        let bytes = list.iter().map(|want| u64::from(want.size)).sum();
        self.job.options.progress.begin(Stage::Quote, Some(bytes), Some(list.len() as u64));
        let outcomes = price_all(&self.job, list).await?;
        let mut by_batch: BTreeMap<usize, Vec<Priced>> =
            wanted.values().map(|&batch| (batch, Vec::new())).collect();
        let mut records = Vec::new();
        for outcome in outcomes {
            match outcome {
                QuoteOutcome::Priced(priced) => {
                    by_batch.entry(wanted[&priced.chunk]).or_default().push(*priced);
                }
                QuoteOutcome::Already { chunk, receipts } => {
                    records.push(Record::Already { chunk, receipts });
                }
            }
        }
        self.session.record(records).await?;
        for (batch, mut priced) in by_batch {
            priced.sort_by_key(|priced| priced.chunk);
            self.apply(batch, Event::Quoted { priced });
        }
        Ok(())
    }

    /// Pays what is to be paid, one plan after the other, and stores what is paid meanwhile.
    async fn pay_and_store(&mut self) -> Result<(), UploadError> {
        let plans = std::mem::take(&mut self.to_pay);
        let stage = if plans.is_empty() { Stage::Store } else { Stage::Pay };
        if plans.is_empty() && self.to_store.is_empty() {
            return Ok(());
        }
        self.begin_stage(stage, &plans);
        let (mut paying, mut paid) = pay::start(&self.job, &self.session, &plans);
        let mut paying_done = plans.is_empty();
        let mut storing: FuturesUnordered<BoxFuture<'static, Stored>> = FuturesUnordered::new();
        let stop = self.job.parts.stop.clone();
        loop {
            while storing.len() < STORE_WORKERS
                && let Some(waiting) = self.to_store.pop_front()
            {
                storing.push(self.store_one(waiting));
            }
            if paying_done && storing.is_empty() && paid.is_empty() {
                return Ok(());
            }
            tokio::select! {
                biased;
                () = stop.cancelled() => return Err(UploadError::Interrupted),
                Some(event) = paid.recv() => self.take_paid(event, &plans).await?,
                end = &mut paying, if !paying_done => {
                    paying_done = true;
                    // What was reported before the end is taken in first.
                    while let Ok(event) = paid.try_recv() {
                        self.take_paid(event, &plans).await?;
                    }
                    self.take_pay_end(end, &plans).await?;
                }
                Some(stored) = storing.next() => self.take_stored(stored).await?,
            }
        }
    }

    fn begin_stage(&self, stage: Stage, plans: &[(usize, PlanIx)]) {
        let planned = plans.iter().flat_map(|(_, plan)| &self.session.plan(*plan).chunks);
        let queued = self.to_store.iter().map(|waiting| &waiting.chunk);
        let sizes = planned.chain(queued).map(|chunk| u64::from(self.session.chunk(*chunk).size));
        let (bytes, chunks) = sizes.fold((0, 0), |(bytes, count), size| (bytes + size, count + 1));
        self.job.options.progress.begin(stage, Some(bytes), Some(chunks));
    }

    fn store_one(&self, waiting: Waiting) -> BoxFuture<'static, Stored> {
        let (job, bodies) = (Arc::clone(&self.job), Arc::clone(&self.bodies));
        async move {
            let result = store::store(&job, &waiting.order, &bodies).await;
            (waiting.batch, waiting.chunk, result)
        }
        .boxed()
    }

    async fn take_paid(
        &mut self,
        event: pay::PayEvent,
        plans: &[(usize, PlanIx)],
    ) -> Result<(), UploadError> {
        match event {
            pay::PayEvent::Signed(tx) => self.session.txs.push(tx),
            pay::PayEvent::Paid { payment, recorded } => {
                for &(batch, plan) in plans {
                    let file = &self.session.plan(plan).plan;
                    if file.id() != payment {
                        continue;
                    }
                    let total = file.total();
                    self.session.record(vec![Record::Paid { plan, recorded, total }]).await?;
                    self.job.options.progress.set_stage(Stage::Store);
                    self.apply(batch, Event::Paid);
                }
            }
        }
        Ok(())
    }

    async fn take_pay_end(
        &mut self,
        end: pay::PayEnd,
        plans: &[(usize, PlanIx)],
    ) -> Result<(), UploadError> {
        let Spend { gas_used: used, gas_cost: cost, tx_hashes, .. } = end.spend;
        if !tx_hashes.is_empty() {
            self.session.record(vec![Record::Gas { used, cost, tx_hashes }]).await?;
        }
        if end.error.is_some() {
            for &(batch, _) in plans {
                // Of a batch that is paid this changes nothing.
                self.apply(batch, Event::PayFailed);
            }
            self.pay_error = end.error;
        }
        Ok(())
    }

    async fn take_stored(&mut self, (batch, chunk, result): Stored) -> Result<(), UploadError> {
        let info = *self.session.chunk(chunk);
        let event = match result? {
            Ok(receipts) => {
                self.session.record(vec![Record::Stored { chunk, receipts }]).await?;
                self.job.options.progress.add(u64::from(info.size), 1);
                Event::ChunkStored { chunk }
            }
            Err(failure) => {
                tracing::warn!(chunk = %info.address, %failure, "not stored");
                Event::ChunkFailed { chunk, failure }
            }
        };
        for effect in self.apply(batch, event) {
            if let Effect::Release { chunk } = effect {
                let (bodies, address) =
                    (Arc::clone(&self.bodies), self.session.chunk(chunk).address);
                run(&self.job.parts.data, move |_| bodies.spill.remove(address)).await?;
            }
        }
        Ok(())
    }

    /// Says what came of it; a whole upload ends its session and its spill.
    pub(super) async fn finish(mut self, started: Duration) -> Result<Uploaded, UploadError> {
        let failed = self.failed();
        let spend = self.session.progressed.spend.clone();
        if !failed.is_empty() {
            return Err(self.partial(failed, spend));
        }
        self.session.record(vec![Record::Finished]).await?;
        let bodies = Arc::into_inner(self.bodies).expect("invariant: nothing is being stored");
        run(&self.job.parts.data, move |_| bodies.spill.destroy()).await?;
        self.job.options.progress.set_stage(Stage::Done);
        let progressed = &self.session.progressed;
        let manifest = &self.session.manifest;
        Ok(Uploaded {
            upload_id: self.session.id().to_owned(),
            bytes: manifest.source.bytes,
            chunks_total: manifest.chunks.len() as u64,
            chunks_stored: progressed.stored.len() as u64,
            chunks_already_stored: progressed.already.len() as u64,
            payment_mode: (!progressed.paid.is_empty()).then_some(PaymentMode::Direct),
            spend,
            data_map: manifest.root.clone(),
            public_address: manifest.public_address,
            skipped: manifest.source.skipped.iter().map(Into::into).collect(),
            elapsed: self.job.parts.clock.monotonic().saturating_sub(started),
        })
    }

    /// Chunks without a quorum, and why.
    fn failed(&self) -> Vec<(ChunkAddress, ChunkFailure)> {
        let mut failures: BTreeMap<ChunkIx, ChunkFailure> = BTreeMap::new();
        for batch in &self.batches {
            match batch {
                Batch::Partial { failed } => failures.extend(failed.clone()),
                Batch::Stored => {}
                Batch::Sealed { chunks }
                | Batch::Planning { chunks }
                | Batch::Planned { chunks, .. }
                | Batch::Unpaid { chunks } => {
                    failures.extend(chunks.iter().map(|&chunk| (chunk, ChunkFailure::NotPaid)));
                }
                Batch::Quoted { priced } => {
                    failures.extend(priced.iter().map(|p| (p.chunk, ChunkFailure::NotPaid)));
                }
                Batch::Paid { waiting, failed, .. } => {
                    failures.extend(failed.clone());
                    let open = ChunkFailure::NoQuorum { receipts: 0, last: None };
                    failures.extend(waiting.iter().map(|&chunk| (chunk, open.clone())));
                }
            }
        }
        let address = |chunk: ChunkIx| self.session.chunk(chunk).address;
        failures.into_iter().map(|(chunk, failure)| (address(chunk), failure)).collect()
    }

    fn partial(&mut self, failed: Vec<(ChunkAddress, ChunkFailure)>, spend: Spend) -> UploadError {
        // Nothing is paid and nothing stored: the payment's own error says it best.
        if spend.storage_cost == Atto::ZERO
            && let Some(error) = self.pay_error.take()
        {
            return error;
        }
        let progressed = &self.session.progressed;
        let address = |chunk: &ChunkIx| self.session.chunk(*chunk).address;
        let paid_unstored = progressed
            .paid
            .keys()
            .flat_map(|plan| &self.session.plan(*plan).chunks)
            .filter(|&&chunk| !progressed.is_done(chunk))
            .map(address)
            .collect();
        let stored = progressed.stored.iter().chain(&progressed.already).map(address).collect();
        let total = self.session.manifest.chunks.len() as u64;
        UploadError::PartialUpload { stored, failed, paid_unstored, total, spend }
    }
}
