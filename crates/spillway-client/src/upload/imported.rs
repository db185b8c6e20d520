//! What is different in a session that came with an archive: its author may be a stranger. So the chain
//! is asked what it has recorded, the network what it has, and the user about every payment that the
//! wallet has not signed. What is said to be stored is looked for before the upload is done
//! ([`super::checking`]).

use std::collections::BTreeSet;

use spillway_disk::{Disk, run};
use spillway_pay::{Plan, PlanStatus};
use spillway_types::{Atto, ChunkAddress, limits::MAX_DIRECT_LEAVES};

use super::{
    engine::Engine,
    middle::Purpose,
    pay,
    quote::{self, QuoteOutcome, Wanted},
};
use crate::{
    Offer, UploadError,
    session::{self, ChunkIx, PlanFile, PlanIx, Record},
};

impl Engine {
    /// Leaves as stored only chunks for which receipts vouch, of payments that the chain has recorded, and
    /// asks for those that the network is said to have had.
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
        let look = move |disk: &dyn Disk| {
            let stored = session::vouched_for(disk, &id, &recorded)?;
            Ok::<_, UploadError>((stored, session::load_records(disk, &id)?.1))
        };
        let (stored, records) = run(&self.job.parts.data, move |disk| Ok(look(disk))).await??;
        let progressed = &mut self.session.progressed;
        for plan in unknown {
            progressed.undo(plan);
        }
        progressed.stored.retain(|chunk| stored.contains(chunk));
        let said = records.into_iter().filter_map(|record| match record {
            Record::Already { chunk, .. } => Some(chunk),
            _ => None,
        });
        self.ask_again(&said.collect()).await
    }

    /// Asks whether the network has these, and writes down what it has. There may be no bytes of them
    /// here: what could not be asked for now stays open.
    async fn ask_again(&mut self, said: &BTreeSet<ChunkIx>) -> Result<(), UploadError> {
        let planned = self.session.plan_of(self.job.parts.clock.now());
        let open = self.session.open_chunks();
        let open = open.filter(|chunk| said.contains(chunk) && !planned.contains_key(chunk));
        let wanted: Vec<Wanted> =
            open.map(|chunk| Wanted::new(chunk, self.session.chunk(chunk))).collect();
        for part in wanted.chunks(MAX_DIRECT_LEAVES) {
            let bytes = part.iter().map(|want| u64::from(want.size)).sum();
            let purpose = Purpose::of(self.job.options.mode, bytes);
            let outcomes = match quote::quote(&self.job, part, purpose).await {
                Err(UploadError::Interrupted) => return Err(UploadError::Interrupted),
                Err(error) => {
                    tracing::warn!(%error, "what the network is said to have is not known");
                    continue;
                }
                Ok(outcomes) => outcomes,
            };
            let records = outcomes.into_iter().filter_map(|outcome| match outcome {
                QuoteOutcome::Already { chunk, receipts } => {
                    Some(Record::Already { chunk, receipts })
                }
                QuoteOutcome::Priced(_) => None,
            });
            self.session.record(records.collect()).await?;
        }
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
    pub(super) async fn agree(&mut self, offer: Offer) -> Result<(), UploadError> {
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
