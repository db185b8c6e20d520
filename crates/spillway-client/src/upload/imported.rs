//! What is different in a session that came with an archive: its author may be a stranger. So the chain
//! is asked what it has recorded, the network what it has, and the user about every payment that the
//! wallet has not signed. What is said to be stored is looked for before the upload is done
//! ([`super::checking`]).

use std::collections::BTreeSet;

use spillway_disk::{Disk, run};
use spillway_pay::{Plan, PlanStatus};
use spillway_types::{Atto, limits::MAX_DIRECT_LEAVES};

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
        let not_given_up = self.not_given_up().await?;
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
        for plan in not_given_up {
            progressed.dropped.remove(&plan);
        }
        progressed.stored.retain(|chunk| stored.contains(chunk));
        let said = records.into_iter().filter_map(|record| match record {
            Record::Already { chunk, .. } => Some(chunk),
            _ => None,
        });
        self.ask_again(&said.collect()).await
    }

    /// Plans that are said to be given up, and that the chain has recorded or may take as this wallet has
    /// signed them: their chunks must not be paid for anew.
    async fn not_given_up(&self) -> Result<Vec<PlanIx>, UploadError> {
        let mut found = Vec::new();
        for &plan in &self.session.progressed.dropped {
            let plan_of = &self.session.plan(plan).plan;
            match pay::status(&self.job, plan_of).await? {
                PlanStatus::Paid { .. } => found.push(plan),
                PlanStatus::Open if self.session.is_signed(plan_of.id()) => found.push(plan),
                PlanStatus::Open | PlanStatus::Dropped => {}
            }
        }
        Ok(found)
    }

    /// Asks whether the network has these, and writes down what it has. There may be no bytes of them
    /// here: what could not be asked for now stays open.
    pub(super) async fn ask_again(&mut self, said: &BTreeSet<ChunkIx>) -> Result<(), UploadError> {
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
