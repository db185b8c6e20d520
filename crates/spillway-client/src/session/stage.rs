use std::collections::BTreeSet;

use spillway_types::UnixTime;

use super::{PlanIx, Snapshot};

/// Where an upload is, as its files say. Of several payments the one decides of which most can be
/// lost: paid and not stored, then signed, then planned, then too late.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum SessionStage {
    /// Everything is sealed and on disk. Nothing of what is left is planned.
    #[default]
    Sealed,
    /// What is to be paid is written down, and nothing of it is signed.
    Planned,
    /// A payment is signed, and nothing here says yet that the vault has taken it.
    Paying,
    /// Chunks are paid for and are to be stored.
    Storing,
    /// Chunks were paid for and not stored in time: going on pays for them anew.
    Expired,
    /// Everything is stored, and not verified yet.
    Verifying,
    /// Everything is stored.
    Finished,
    /// It goes on with its archive, elsewhere or when that is imported here.
    HandedOver,
}

impl Snapshot {
    /// Where the upload is.
    pub(crate) fn stage(&self, now: UnixTime) -> SessionStage {
        let progressed = &self.progressed;
        if progressed.handed_over.is_some() {
            return SessionStage::HandedOver;
        }
        if progressed.finished {
            return SessionStage::Finished;
        }
        let mut stages = BTreeSet::new();
        for (plan, file) in (0..).map(PlanIx).zip(&self.plans) {
            let undone = progressed.undone.contains(&plan);
            let open = file.own_chunks().any(|chunk| !progressed.is_done(chunk));
            if !(open || undone) || progressed.dropped.contains(&plan) {
                continue;
            }
            let payment = file.plan.id();
            stages.insert(match progressed.paid.contains_key(&plan) {
                true if file.is_over(now) => Rank::Expired,
                true => Rank::Storing,
                false if self.txs.iter().any(|tx| tx.purpose.pays(payment)) => Rank::Paying,
                false => Rank::Planned,
            });
        }
        let is_stored = self.manifest.chunks.len() == progressed.done();
        match stages.first() {
            None if progressed.to_verify && is_stored => SessionStage::Verifying,
            None => SessionStage::Sealed,
            Some(Rank::Storing) => SessionStage::Storing,
            Some(Rank::Paying) => SessionStage::Paying,
            Some(Rank::Planned) => SessionStage::Planned,
            Some(Rank::Expired) => SessionStage::Expired,
        }
    }
}

/// Of which most can be lost comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Storing,
    Paying,
    Planned,
    Expired,
}
