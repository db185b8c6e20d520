//! Taking over plans of other sessions: a file under another name, half of a directory, an edited
//! file. What is paid for there is not paid for here.

use std::collections::{BTreeMap, BTreeSet};

use spillway_disk::{Disk, DiskError, FileLock, run};
use spillway_pay::{Plan, PlanStatus};
use spillway_types::{Atto, ChunkAddress, PaymentId};

use super::{engine::Engine, pay};
use crate::{
    UploadError,
    limits::{LOCK_ATTEMPTS, LOCK_PAUSE, MIN_TIME_TO_PAY},
    session::{
        Batch, ChunkIx, Event, Foreign, PlanFile, PlanIx, Record, counted_elsewhere, foreign_plans,
        give_up_plan, planning_lock,
    },
};

/// A plan of another session that pays for chunks of this one and is not recorded yet. Nothing of it
/// is in this session until the user has agreed to pay it.
#[derive(Debug)]
pub(super) struct Adopted {
    foreign: Foreign,
    /// This session's chunk of each leaf.
    own: Vec<Option<ChunkIx>>,
}

impl Adopted {
    /// What it pays for here.
    pub(super) fn chunks(&self) -> impl Iterator<Item = ChunkIx> + '_ {
        self.own.iter().copied().flatten()
    }

    pub(super) fn plan(&self) -> &Plan {
        &self.foreign.file.plan
    }
}

impl Engine {
    /// Plans of other sessions that pay for chunks which are about to be planned here.
    pub(super) async fn foreign_plans(&self) -> Result<Vec<Foreign>, UploadError> {
        self.foreign_plans_of(self.priced_chunks().map(|(address, _)| address).collect()).await
    }

    /// Plans of other sessions that pay for these.
    pub(super) async fn foreign_plans_of(
        &self,
        wanted: BTreeSet<ChunkAddress>,
    ) -> Result<Vec<Foreign>, UploadError> {
        let (id, domain) = (self.session.id().to_owned(), self.job.parts.domain);
        let (payer, now) = (self.job.wallet.address(), self.job.parts.clock.now());
        let look =
            move |disk: &dyn Disk| Ok(foreign_plans(disk, &id, (&domain, payer, now), &wanted));
        run(&self.job.parts.data, look).await?
    }

    /// The chunks that have prices, with their batch.
    fn priced_chunks(&self) -> impl Iterator<Item = (ChunkAddress, (usize, ChunkIx))> + '_ {
        let quoted = self.quoted().into_iter();
        quoted.flat_map(|(batch, priced)| {
            priced.iter().map(move |priced| (priced.leaf.address, (batch, priced.chunk)))
        })
    }

    /// The chunks that no plan of this session pays for, those of later rounds too, by address, with
    /// their batch. A plan that is taken over for some of its chunks is taken over for all of them:
    /// the session that has it may be forgotten before the next round looks.
    fn wanted(&self) -> BTreeMap<ChunkAddress, (usize, ChunkIx)> {
        let later = self.batches.iter().enumerate().flat_map(|(batch, state)| {
            let chunks = match state {
                Batch::Sealed { chunks } => chunks.as_slice(),
                _ => &[],
            };
            chunks.iter().map(move |&chunk| (self.session.chunk(chunk).address, (batch, chunk)))
        });
        later.chain(self.priced_chunks()).collect()
    }

    /// Takes over what other sessions have paid for or have signed; a plan that was written and never
    /// signed is given up there. Returns what is still to be paid, of which nothing is written yet.
    pub(super) async fn adopt(&mut self) -> Result<Vec<Adopted>, UploadError> {
        let mut to_pay = Vec::new();
        for foreign in self.foreign_plans().await? {
            let status = pay::status(&self.job, &foreign.file.plan).await?;
            match status {
                PlanStatus::Paid { .. } => {}
                PlanStatus::Open if foreign.is_signed() => {}
                PlanStatus::Open | PlanStatus::Dropped => {
                    let never_taken = status == PlanStatus::Dropped;
                    let give_up =
                        move |disk: &dyn Disk| Ok(give_up_plan(disk, &foreign, never_taken));
                    run(&self.job.parts.data, give_up).await??;
                    continue;
                }
            }
            let payer = foreign.file.plan.payer;
            if status == PlanStatus::Open && payer != self.job.wallet.address() {
                return Err(UploadError::Busy { session: foreign.session });
            }
            to_pay.extend(self.take_over(foreign, status).await?);
        }
        Ok(to_pay)
    }

    /// Goes on with payments of other sessions that were recorded and have stored chunks of this one,
    /// and that a reorganisation has taken back: the same bytes go out again, and the chunks with
    /// them. Before anything is priced: nodes that have the chunks say so, whoever has paid for them.
    /// What one transaction pays for with plans that have nothing of this upload is left to its session.
    pub(super) async fn renew(&mut self) -> Result<(), UploadError> {
        let undone = std::mem::take(&mut self.undone);
        if undone.is_empty() {
            return Ok(());
        }
        let mut adopted = Vec::new();
        let wanted = self.wanted().into_keys().collect();
        let found = self.foreign_plans_of(wanted).await?;
        let here: BTreeSet<PaymentId> = found.iter().map(Foreign::payment).collect();
        for foreign in found {
            let ours = foreign.file.plan.payer == self.job.wallet.address() && foreign.is_signed();
            // With a part of what a transaction pays for, that part would be signed again.
            if !ours || !foreign.is_signed_with_others_of(&here) {
                continue;
            }
            match pay::status(&self.job, &foreign.file.plan).await? {
                status @ PlanStatus::Open => {
                    adopted.extend(self.take_over(foreign, status).await?);
                }
                // Recorded again meanwhile; its chunks may not be where they were.
                status @ PlanStatus::Paid { .. } if undone.contains(&foreign.payment()) => {
                    self.take_over(foreign, status).await?;
                }
                // Its chunks are asked for and priced as those of nobody.
                PlanStatus::Paid { .. } | PlanStatus::Dropped => {}
            }
        }
        let adopted = self.leave_late(adopted);
        let plans: Vec<Plan> = adopted.iter().map(|adopted| adopted.plan().clone()).collect();
        if !plans.is_empty() {
            let gas = self.job.estimate(&plans).await?;
            let to_pay = adopted.iter().map(|adopted| adopted.chunks().count() as u64).sum();
            self.approve(&[], pay::offer(&plans, None, gas, self.counts(to_pay))).await?;
        }
        // The user may have taken their time.
        let adopted = self.leave_late(adopted);
        self.write_adopted(adopted).await?;
        self.pay_and_store().await
    }

    /// Makes the chunks that another session's plan pays for no longer this run's to plan. `Some`: the
    /// plan is not recorded yet.
    async fn take_over(
        &mut self,
        foreign: Foreign,
        status: PlanStatus,
    ) -> Result<Option<Adopted>, UploadError> {
        let mut wanted = self.wanted();
        let leaves = foreign.file.plan.leaves.iter();
        let found: Vec<Option<(usize, ChunkIx)>> =
            leaves.map(|leaf| wanted.remove(&leaf.address)).collect();
        let mut covered: BTreeMap<usize, BTreeSet<ChunkIx>> = BTreeMap::new();
        for (batch, chunk) in found.iter().flatten() {
            covered.entry(*batch).or_default().insert(*chunk);
        }
        // An earlier one of the foreign plans may have covered them all.
        if covered.is_empty() {
            return Ok(None);
        }
        tracing::info!(session = %foreign.session, "going on with a payment of another session");
        for (batch, chunks) in covered {
            self.apply(batch, Event::Covered { chunks });
        }
        let own = found.iter().map(|at| at.map(|(_, chunk)| chunk)).collect();
        let adopted = Adopted { foreign, own };
        let PlanStatus::Paid { recorded } = status else { return Ok(Some(adopted)) };
        if self.is_shallow(&adopted.foreign.file, adopted.foreign.is_signed()).await {
            self.undecided.extend(adopted.chunks());
            self.write_adopted(vec![adopted]).await?;
            return Ok(None);
        }
        let (batch, plan) = self.write_one(adopted).await?;
        // The other session has paid: nothing of it is this session's spend.
        self.session.record(vec![Record::Paid { plan, recorded, total: Atto::ZERO }]).await?;
        self.apply(batch, Event::Paid);
        Ok(None)
    }

    /// Leaves out what is too late to be paid. The chain cannot say yet that it never will be, so its
    /// chunks wait; the rest of the upload does not wait with them.
    pub(super) fn leave_late(&mut self, adopted: Vec<Adopted>) -> Vec<Adopted> {
        let soon = self.job.parts.clock.now().saturating_add(MIN_TIME_TO_PAY);
        let (in_time, late): (Vec<Adopted>, Vec<Adopted>) =
            adopted.into_iter().partition(|adopted| adopted.plan().valid_until >= soon);
        for adopted in late {
            let chunks: Vec<ChunkIx> = adopted.chunks().collect();
            self.undecided.extend(&chunks);
            self.batches.push(Batch::Unpaid { chunks });
            let valid_until = adopted.plan().valid_until;
            self.pay_error = Some(UploadError::Undecided { valid_until });
        }
        in_time
    }

    /// Makes the plans that the user has agreed to pay plans of this session too, and queues them.
    pub(super) async fn write_adopted(&mut self, adopted: Vec<Adopted>) -> Result<(), UploadError> {
        for mut adopted in adopted {
            // What is signed goes first: a plan is never without it.
            let mut writer = self.session.tx_writer();
            for tx in std::mem::take(&mut adopted.foreign.txs) {
                let ours = tx.from == self.job.wallet.address();
                if ours && !self.session.txs.iter().any(|known| known.hash == tx.hash) {
                    writer.write(&tx).await?;
                    self.session.txs.push(tx);
                }
            }
            let (batch, plan) = self.write_one(adopted).await?;
            self.adopted.insert(plan);
            self.apply(batch, Event::Begin);
        }
        Ok(())
    }

    /// Whether a plan that is recorded is waited for until it is as deep as nodes ask: before that they
    /// do not take its chunks. When a reorganisation takes it back meanwhile, what is signed goes out
    /// again, and another payer's is its payer's business. Ours of which nothing is signed here is not
    /// waited for: it would be signed without anybody's word.
    pub(super) async fn is_shallow(&self, file: &PlanFile, is_signed: bool) -> bool {
        let may_wait = is_signed || file.plan.payer != self.job.wallet.address();
        may_wait && !pay::is_deep(&self.job, file).await
    }

    async fn write_one(&mut self, adopted: Adopted) -> Result<(usize, PlanIx), UploadError> {
        let chunks = adopted.chunks().collect();
        let file = PlanFile { chunks: adopted.own, ..adopted.foreign.file };
        let plan = self.session.add_plan(file, &self.job.vault.windows).await?;
        self.batches.push(Batch::Planned { plan, chunks });
        Ok((self.batches.len() - 1, plan))
    }

    /// Of these plans, those that another session has written down as paid by itself: what the vault
    /// took for them is spent there, and counted there alone.
    pub(super) async fn counted_elsewhere(
        &self,
        plans: impl IntoIterator<Item = PlanIx>,
    ) -> Result<BTreeSet<PlanIx>, UploadError> {
        let payments: BTreeMap<PaymentId, PlanIx> =
            plans.into_iter().map(|plan| (self.session.plan(plan).plan.id(), plan)).collect();
        if payments.is_empty() {
            return Ok(BTreeSet::new());
        }
        let (id, domain) = (self.session.id().to_owned(), self.job.parts.domain);
        let look = move |disk: &dyn Disk| Ok(counted_elsewhere(disk, &id, &domain, &payments));
        Ok(run(&self.job.parts.data, look).await?)
    }

    /// Waits for the lock under which plans are written; it is held for moments.
    pub(super) async fn lock_planning(&self) -> Result<Box<dyn FileLock>, UploadError> {
        for _ in 0..LOCK_ATTEMPTS {
            match run(&self.job.parts.data, planning_lock).await {
                Err(DiskError::Locked { .. }) => self.job.pause(LOCK_PAUSE).await?,
                other => return Ok(other?),
            }
        }
        Err(UploadError::Busy { session: self.session.id().to_owned() })
    }
}
