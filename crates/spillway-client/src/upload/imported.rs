//! What is different in a session that came with an archive: its author may be a stranger. So the chain
//! is asked what it has recorded, and the user about every payment that the wallet has not signed.

use std::collections::BTreeSet;

use spillway_disk::{Disk, run};
use spillway_pay::{Plan, PlanStatus};
use spillway_types::{Atto, ChunkAddress};

use super::{engine::Engine, pay};
use crate::{
    Offer, UploadError,
    session::{self, PlanFile, PlanIx},
};

impl Engine {
    /// Leaves as stored only chunks for which receipts vouch, of payments that the chain has recorded.
    pub(super) async fn doubt_imported(&mut self) -> Result<(), UploadError> {
        if !self.session.progressed.imported {
            return Ok(());
        }
        let (mut recorded, mut unknown) = (BTreeSet::new(), Vec::new());
        for plan in self.session.paid_plans() {
            let file = self.session.plan(plan);
            match pay::status(&self.job, &file.plan).await? {
                PlanStatus::Paid { .. } => drop(recorded.insert(file.plan.id())),
                PlanStatus::Open | PlanStatus::Dropped => unknown.push(plan),
            }
        }
        let id = self.session.id().to_owned();
        let look = move |disk: &dyn Disk| Ok(session::vouched_for(disk, &id, &recorded));
        let stored = run(&self.job.parts.data, look).await??;
        let progressed = &mut self.session.progressed;
        for plan in unknown {
            progressed.undo(plan);
        }
        progressed.stored.retain(|chunk| stored.contains(chunk));
        Ok(())
    }

    /// Whether a plan came with an archive and was never signed by this wallet.
    fn is_strange(&self, file: &PlanFile) -> bool {
        self.session.progressed.imported && !self.session.is_signed(file.plan.id())
    }

    /// Whether such a plan pays for what another session here has paid for or signed meanwhile: that one
    /// is taken over then. Sessions that begin to plan after this one came know of its plans.
    pub(super) async fn is_paid_elsewhere(&self, file: &PlanFile) -> Result<bool, UploadError> {
        if !self.is_strange(file) {
            return Ok(false);
        }
        let open = file.own_chunks().filter(|chunk| !self.session.progressed.is_done(*chunk));
        let wanted: BTreeSet<ChunkAddress> =
            open.map(|chunk| self.session.chunk(chunk).address).collect();
        // What is being planned at this moment is looked at when it is written.
        let lock = self.lock_planning().await?;
        let found = self.foreign_plans_of(wanted).await?;
        drop(lock);
        for foreign in found {
            if foreign.payment() == file.plan.id() {
                continue;
            }
            match pay::status(&self.job, &foreign.file.plan).await? {
                PlanStatus::Paid { .. } => return Ok(true),
                PlanStatus::Open if foreign.is_signed() => return Ok(true),
                PlanStatus::Open | PlanStatus::Dropped => {}
            }
        }
        Ok(false)
    }

    /// Compares the price of plans that an earlier run has left with the caps, and asks for those that
    /// nobody here has agreed to.
    pub(super) async fn agree(&self, offer: Offer) -> Result<(), UploadError> {
        let files = self.to_pay.iter().map(|(_, plan): &(usize, PlanIx)| self.session.plan(*plan));
        let strange: Vec<Plan> =
            files.filter(|file| self.is_strange(file)).map(|file| file.plan.clone()).collect();
        if strange.is_empty() {
            return pay::check_caps(&self.job, &offer, &self.session.progressed.spend);
        }
        let options = &self.job.options;
        if options.approve.is_none() && options.max_cost.is_none() {
            let cost: Atto = strange.iter().map(Plan::total).sum();
            return Err(UploadError::ImportedPlans { session: self.session.id().to_owned(), cost });
        }
        self.approve(&strange, offer).await
    }
}
