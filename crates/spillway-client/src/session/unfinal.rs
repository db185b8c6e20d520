//! Payments that count and are not final yet.

use spillway_pay::SignedTx;
use spillway_types::UnixTime;

use super::{PlanFile, PlanIx, Progressed, Snapshot};

impl Snapshot {
    /// The payments that a reorganisation may still take back, as far as the files say: recorded, not
    /// seen final, and with signed bytes here to send again. Nobody takes a chunk for one whose upload
    /// window is over, so it is not looked at any more.
    pub(crate) fn unfinal(&self, now: UnixTime) -> impl Iterator<Item = (PlanIx, &PlanFile)> {
        unfinal((&self.plans, &self.txs), &self.progressed, now)
    }
}

pub(super) fn unfinal<'s>(
    (plans, txs): (&'s [PlanFile], &'s [SignedTx]),
    progressed: &'s Progressed,
    now: UnixTime,
) -> impl Iterator<Item = (PlanIx, &'s PlanFile)> {
    let here = progressed.handed_over.is_none();
    (0..).map(PlanIx).zip(plans).filter(move |(plan, file)| {
        here && progressed.paid.contains_key(plan)
            && !progressed.finals.contains(plan)
            && !file.is_over(now)
            && {
                let payment = file.plan.id();
                txs.iter().any(|tx| tx.purpose.pays(payment))
            }
    })
}
