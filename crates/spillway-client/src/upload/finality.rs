//! Payments that are recorded and not final. A payment counts when it is as deep as the quotes ask; a
//! reorganisation that is deeper takes it back, however much was done because of it. So it is looked at
//! until it is final, and when it is gone the same signed bytes go out again: the vault takes them once.

use spillway_pay::{At, Plan, PlanStatus};

use super::{Job, engine::Engine, pay};
use crate::{
    UploadError,
    session::{Batch, PlanIx, Record, Session},
};

/// Looks at the payments of which everything is stored, and writes down what became of them. Those
/// with open chunks are looked at when the batches are built.
pub(super) async fn look(job: &Job, session: &mut Session) -> Result<(), UploadError> {
    let now = job.parts.clock.now();
    let mut records = Vec::new();
    for (plan, file) in session.unfinal(now) {
        if file.own_chunks().any(|chunk| !session.progressed.is_done(chunk)) {
            continue;
        }
        job.check_stop()?;
        if is_final(job, &file.plan).await {
            records.push(Record::Final { plan });
            continue;
        }
        match pay::status(job, &file.plan).await? {
            PlanStatus::Paid { .. } => {}
            PlanStatus::Open => records.push(Record::Undone { plan }),
            PlanStatus::Dropped => records.push(Record::Dropped { plan }),
        }
    }
    Ok(session.record(records).await?)
}

/// Whether the chain says so. One that has no such block yet, or does not know the word, does not.
async fn is_final(job: &Job, plan: &Plan) -> bool {
    let chain = job.parts.payments.chain();
    match chain.record(plan.domain.vault, plan.id(), At::Finalized).await {
        Ok(record) => record.recorded.is_some(),
        Err(error) => {
            tracing::debug!(%error, "whether a payment is final is not known");
            false
        }
    }
}

impl Engine {
    /// Payments that were taken back and of which everything is stored: no open chunk asks for them.
    pub(super) fn taken_back(&self) -> Vec<Batch> {
        let progressed = &self.session.progressed;
        let is_left = |plan: &&PlanIx| {
            let file = self.session.plan(**plan);
            self.session.is_signed(file.plan.id())
                && file.own_chunks().all(|chunk| progressed.is_done(chunk))
        };
        let plans = progressed.undone.iter().filter(is_left);
        plans.map(|&plan| Batch::Planned { plan, chunks: Vec::new() }).collect()
    }
}
