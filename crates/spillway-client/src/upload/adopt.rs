//! Taking over plans of other sessions: a file under another name, half of a directory, an edited
//! file. What is paid for there is not paid for here.

use std::collections::{BTreeMap, BTreeSet};

use spillway_disk::{Disk, DiskError, FileLock, run};
use spillway_pay::PlanStatus;
use spillway_types::{Atto, ChunkAddress};

use super::{engine::Engine, pay};
use crate::{
    UploadError,
    limits::{LOCK_ATTEMPTS, LOCK_PAUSE},
    session::{
        Batch, ChunkIx, Event, Foreign, PlanFile, Record, foreign_plans, give_up_plan,
        planning_lock,
    },
};

impl Engine {
    /// Plans of other sessions that pay for chunks which would be planned here.
    pub(super) async fn foreign_plans(&self) -> Result<Vec<Foreign>, UploadError> {
        let wanted: BTreeSet<ChunkAddress> = self.wanted().into_keys().collect();
        let (id, domain) = (self.session.id().to_owned(), self.job.parts.domain);
        let now = self.job.parts.clock.now();
        let look = move |disk: &dyn Disk| Ok(foreign_plans(disk, &id, (&domain, now), &wanted));
        run(&self.job.parts.data, look).await?
    }

    /// The chunks that have prices, by address, with their batch.
    fn wanted(&self) -> BTreeMap<ChunkAddress, (usize, ChunkIx)> {
        let quoted = self.quoted().into_iter();
        quoted
            .flat_map(|(batch, priced)| {
                priced.iter().map(move |priced| (priced.leaf.address, (batch, priced.chunk)))
            })
            .collect()
    }

    /// Takes over what other sessions have paid for or have signed; a plan that was written and never
    /// signed is given up there. Returns the batches that are still to be paid.
    pub(super) async fn adopt(&mut self) -> Result<Vec<usize>, UploadError> {
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

    /// Makes a plan of another session one of this session too. `Some`: it is not recorded yet.
    async fn take_over(
        &mut self,
        foreign: Foreign,
        status: PlanStatus,
    ) -> Result<Option<usize>, UploadError> {
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
        if matches!(status, PlanStatus::Open) {
            let mut writer = self.session.tx_writer();
            for tx in foreign.txs {
                if !self.session.txs.iter().any(|known| known.hash == tx.hash) {
                    writer.write(&tx).await?;
                    self.session.txs.push(tx);
                }
            }
        }
        let own: Vec<Option<ChunkIx>> = found.iter().map(|at| at.map(|(_, chunk)| chunk)).collect();
        let chunks = own.iter().copied().flatten().collect();
        let file = PlanFile { chunks: own, ..foreign.file };
        let plan = self.session.add_plan(file, &self.job.vault.windows).await?;
        for (batch, chunks) in covered {
            self.apply(batch, Event::Covered { chunks });
        }
        self.batches.push(Batch::Planned { plan, chunks });
        let batch = self.batches.len() - 1;
        let PlanStatus::Paid { recorded } = status else { return Ok(Some(batch)) };
        // The other session has paid: nothing of it is this session's spend.
        self.session.record(vec![Record::Paid { plan, recorded, total: Atto::ZERO }]).await?;
        self.apply(batch, Event::Paid);
        Ok(None)
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
