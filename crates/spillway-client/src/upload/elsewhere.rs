//! Plans of this session and of others that pay for the same chunks, as an import may bring them here:
//! of two such plans only one is ever signed.
//!
//! A run signs a plan for the first time only after a look at all other sessions in which it finds no such
//! plan that is signed or recorded, and gives up durably, under their sessions' locks, those that are not
//! signed. The look stays true however long the wallet's turn is waited for, since the run holds its own
//! session's lock from before the look until it ends: who comes later has to look, too, finds this plan
//! signed, or not signed in a session that is at work, and does not sign. And of two runs one comes later:
//! a plan is durable before its run looks, an import shows its plans before they can be gone on with, and
//! looks exclude each other and the writing of new plans, which is a look of its own (the planning lock).

use std::{collections::BTreeSet, sync::Arc};

use spillway_disk::{Disk, run};
use spillway_pay::PlanStatus;
use spillway_types::ChunkAddress;

use super::{engine::Engine, pay};
use crate::{
    UploadError,
    session::{Batch, Event, Foreign, PlanFile, PlanIx, Record, give_up_plan},
};

/// What is done with plans of other sessions that nobody has signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rivals {
    /// Nothing: nobody has agreed to pay what is planned here.
    Leave,
    /// They are given up there.
    GiveUp,
}

/// A plan of another session that the chain may take or has taken.
struct Rival {
    foreign: Arc<Foreign>,
    /// Whether it is recorded, or a transaction that pays it may be on its way.
    is_signed: bool,
}

impl Rival {
    fn shares_with(&self, file: &PlanFile) -> bool {
        // What is taken over from one another is one payment.
        let is_other = self.foreign.payment() != file.plan.id();
        let leaves: BTreeSet<ChunkAddress> = addresses(file).collect();
        is_other && addresses(&self.foreign.file).any(|address| leaves.contains(&address))
    }
}

fn addresses(file: &PlanFile) -> impl Iterator<Item = ChunkAddress> + '_ {
    file.plan.leaves.iter().map(|leaf| leaf.address)
}

impl Engine {
    /// Looks whether other sessions here have plans for chunks of what is to be paid and was never
    /// signed. What is signed or paid there is dropped here: its chunks are priced or taken over like all
    /// others. What cannot be decided now is not paid in this run, and keeps back nothing that is signed.
    pub(super) async fn give_way(&mut self, others: Rivals) -> Result<(), UploadError> {
        let to_pay = std::mem::take(&mut self.to_pay);
        let (signed, open): (Vec<_>, Vec<_>) = to_pay
            .into_iter()
            .partition(|(_, plan)| self.session.is_signed(self.session.plan(*plan).plan.id()));
        self.to_pay = signed;
        let rivals = match self.rivals(&open).await {
            Ok(rivals) => rivals,
            Err(error) => {
                for (batch, _) in open {
                    self.apply(batch, Event::PayFailed);
                }
                self.pay_error = Some(error);
                return Ok(());
            }
        };
        for (batch, plan) in open {
            match self.is_ours(plan, &rivals, others).await {
                Ok(true) => self.to_pay.push((batch, plan)),
                Ok(false) => self.drop_plan(batch, plan).await?,
                Err(error) => {
                    self.apply(batch, Event::PayFailed);
                    self.pay_error = Some(error);
                }
            }
        }
        self.to_pay.sort_unstable();
        Ok(())
    }

    /// Plans of other sessions with chunks of these.
    async fn rivals(&self, plans: &[(usize, PlanIx)]) -> Result<Vec<Rival>, UploadError> {
        let files = plans.iter().map(|(_, plan)| self.session.plan(*plan));
        let wanted: BTreeSet<ChunkAddress> = files.flat_map(addresses).collect();
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        let lock = self.lock_planning().await?;
        let found = self.foreign_plans_of(wanted).await?;
        drop(lock);
        let mut rivals = Vec::new();
        for foreign in found {
            let is_signed = match pay::status(&self.job, &foreign.file.plan).await? {
                PlanStatus::Paid { .. } => true,
                PlanStatus::Open => foreign.is_signed(),
                PlanStatus::Dropped => continue,
            };
            rivals.push(Rival { foreign: Arc::new(foreign), is_signed });
        }
        Ok(rivals)
    }

    /// Whether a plan may be signed here: no other session has signed one for its chunks, nor will.
    async fn is_ours(
        &self,
        plan: PlanIx,
        rivals: &[Rival],
        others: Rivals,
    ) -> Result<bool, UploadError> {
        let file = self.session.plan(plan);
        let rivals: Vec<&Rival> = rivals.iter().filter(|rival| rival.shares_with(file)).collect();
        if rivals.iter().any(|rival| rival.is_signed) {
            return Ok(false);
        }
        for rival in rivals.iter().filter(|_| others == Rivals::GiveUp) {
            let foreign = Arc::clone(&rival.foreign);
            let give_up = move |disk: &dyn Disk| Ok(give_up_plan(disk, &foreign, false));
            run(&self.job.parts.data, give_up).await??;
        }
        Ok(true)
    }

    /// Gives up a plan of this session that was never signed.
    pub(super) async fn drop_plan(
        &mut self,
        batch: usize,
        plan: PlanIx,
    ) -> Result<(), UploadError> {
        tracing::info!(plan = plan.0, "it was never signed, and will not be: given up");
        self.session.record(vec![Record::Dropped { plan }]).await?;
        if let Batch::Planned { chunks, .. } = &mut self.batches[batch] {
            self.batches[batch] = Batch::Sealed { chunks: std::mem::take(chunks) };
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::{SessionKey, golden::plan};

    #[test]
    fn a_rival_is_another_payment_for_one_of_the_same_chunks() {
        let of = |address: u8, later: u64| {
            let mut file = plan();
            file.plan.leaves[0].address = ChunkAddress([address; 32]);
            file.plan.upload_by.0 += later;
            file
        };
        let shares = |file: PlanFile| {
            let (session, key) = (String::from("other"), SessionKey([1; 32]));
            let foreign = Foreign { session, key, plan: PlanIx(0), file, txs: Vec::new() };
            let rival = Rival { foreign: Arc::new(foreign), is_signed: false };
            rival.shares_with(&of(6, 0))
        };
        assert!(shares(of(6, 1)));
        assert!(!shares(of(6, 0)), "it is one payment");
        assert!(!shares(of(7, 1)), "it pays for another chunk");
    }
}
