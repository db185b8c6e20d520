//! Paying and storing, side by side.

use std::sync::Arc;

use futures::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use spillway_disk::run;
use spillway_types::{Atto, Receipt};

use super::{
    checking::Checking,
    engine::{Engine, Shown, Waiting},
    pay,
    store::{self, Order},
};
use crate::{
    ChunkFailure, Spend, Stage, UploadError,
    limits::STORE_WORKERS,
    session::{Effect, Event, PlanIx, Record},
};

type Stored = (Waiting, Result<Result<Vec<Receipt>, ChunkFailure>, UploadError>);

impl Engine {
    /// Pays what is to be paid, one plan after the other, and stores what is paid meanwhile.
    pub(super) async fn pay_and_store(&mut self) -> Result<(), UploadError> {
        let plans = std::mem::take(&mut self.to_pay);
        let stage = if plans.is_empty() { Stage::Store } else { Stage::Pay };
        // Of a run that died after paying, what gas it took is not written down yet.
        let gas_is_known = self.session.gas_is_known();
        if plans.is_empty() && self.to_store.is_empty() && gas_is_known {
            return Ok(());
        }
        self.begin_stage(stage, &plans);
        let (mut paying, mut paid) = pay::start(&self.job, &self.session, &plans);
        let mut paying_done = plans.is_empty() && gas_is_known;
        let mut storing: FuturesUnordered<BoxFuture<'static, Stored>> = FuturesUnordered::new();
        let stop = self.job.parts.stop.clone();
        loop {
            while storing.len() < STORE_WORKERS
                && let Some(waiting) = self.to_store.pop_front()
            {
                storing.push(self.store_one(waiting));
            }
            self.launch_checks();
            if paying_done && storing.is_empty() && paid.is_empty() {
                debug_assert!(self.shown.is_empty() && self.left.is_empty(), "all were counted");
                return Ok(());
            }
            tokio::select! {
                biased;
                () = stop.cancelled() => {
                    // What is paid is paid, and said.
                    while let Ok(event) = paid.try_recv() {
                        self.take_paid(event, &plans).await?;
                    }
                    return Err(UploadError::Interrupted);
                }
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
                Some(checked) = Checking::next(&mut self.checking) => {
                    self.take_checked(checked).await?;
                }
            }
        }
    }

    fn begin_stage(&self, stage: Stage, plans: &[(usize, PlanIx)]) {
        let planned = plans.iter().flat_map(|(_, plan)| self.session.plan(*plan).own_chunks());
        let queued = self.to_store.iter().map(|waiting| waiting.chunk);
        let sizes = planned.chain(queued).map(|chunk| u64::from(self.session.chunk(chunk).size));
        let (bytes, chunks) = sizes.fold((0, 0), |(bytes, count), size| (bytes + size, count + 1));
        self.job.options.progress.begin(stage, Some(bytes), Some(chunks));
    }

    fn store_one(&mut self, waiting: Waiting) -> BoxFuture<'static, Stored> {
        let (job, bodies) = (Arc::clone(&self.job), Arc::clone(&self.bodies));
        let order = self.order(waiting);
        async move { (waiting, store::store(&job, &order, &bodies).await) }.boxed()
    }

    fn order(&mut self, waiting: Waiting) -> Order {
        let file = self.session.plan(waiting.plan);
        let shown = self.shown.entry(waiting.plan).or_insert_with(|| Shown::of(file));
        let at = shown.places.get(&waiting.chunk).copied();
        let at = at.expect("invariant: a batch holds chunks of its own plan");
        Order {
            info: *self.session.chunk(waiting.chunk),
            leaf: file.plan.leaves[at].clone(),
            quotes: file.quotes[at],
            proof: shown.proofs.of(at),
            payment: shown.payment,
            upload_by: file.plan.upload_by,
        }
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
                    let counted = self.counted_elsewhere(self.adopted.get(&plan).copied()).await?;
                    let total = if counted.contains(&plan) { Atto::ZERO } else { total };
                    let again = self.session.progressed.undone.contains(&plan);
                    self.session.record(vec![Record::Paid { plan, recorded, total }]).await?;
                    self.job.options.progress.set_stage(Stage::Store);
                    self.apply(batch, Event::Paid);
                    if again {
                        self.check_again(plan);
                    }
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
        let Spend { gas_used: used, gas_cost: cost, mut tx_hashes, .. } = end.spend;
        let known = &self.session.progressed.spend.tx_hashes;
        tx_hashes.retain(|hash| !known.contains(hash));
        if !tx_hashes.is_empty() {
            self.session.record(vec![Record::Gas { used, cost, tx_hashes }]).await?;
        }
        if end.error.is_some() {
            for &(batch, _) in plans {
                // Of a batch that is paid this changes nothing.
                self.apply(batch, Event::PayFailed);
            }
            // Without plans only the cost was looked up: that may fail and be looked up next time.
            if !plans.is_empty() {
                self.pay_error = end.error;
            }
        }
        Ok(())
    }

    /// One chunk of a plan less; with the last one goes what is shown of it.
    fn count_down(&mut self, plan: PlanIx) {
        let left = self.left.entry(plan).or_default();
        *left = left.saturating_sub(1);
        if *left == 0 {
            self.left.remove(&plan);
            self.shown.remove(&plan);
        }
    }

    async fn take_stored(&mut self, (waiting, result): Stored) -> Result<(), UploadError> {
        let Waiting { batch, plan, chunk } = waiting;
        let place = self.shown.get(&plan).and_then(|shown| shown.places.get(&chunk).copied());
        self.count_down(plan);
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
            let Effect::Release { chunk } = effect else { continue };
            if let Some(checking) = &mut self.checking {
                checking.stored(chunk, place.map(|at| (plan, at)));
            } else {
                let (bodies, address) =
                    (Arc::clone(&self.bodies), self.session.chunk(chunk).address);
                run(&self.job.parts.data, move |_| bodies.spill.remove(address)).await?;
            }
        }
        Ok(())
    }
}
