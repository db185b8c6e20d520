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

#[cfg(test)]
mod tests {
    use spillway_types::{Atto, limits::QUOTE_LIFETIME};

    use super::*;
    use crate::session::{
        Record,
        golden::{plan, snapshot, tx, tx_of},
    };

    const PAID: Record =
        Record::Paid { plan: PlanIx(0), recorded: UnixTime(1_800_000_050), total: Atto(5_000) };

    #[test]
    fn what_a_reorganisation_may_take_back_and_can_be_sent_again() {
        let (plan, early) = (plan(), UnixTime(1_800_000_100));
        let over = plan.plan.upload_by.saturating_add(QUOTE_LIFETIME);
        let zero = PlanIx(0);
        let is_final = Record::Final { plan: zero };
        let handed_over = Record::HandedOver { at: early, archive: [1; 32] };
        for (tx, records, now, found) in [
            (tx_of(&plan), &[][..], early, &[][..]),
            (tx_of(&plan), &[PAID], early, &[zero]),
            (tx(), &[PAID], early, &[]),
            (tx_of(&plan), &[PAID, is_final], early, &[]),
            (tx_of(&plan), &[PAID, handed_over], early, &[]),
            (tx_of(&plan), &[PAID], over, &[zero]),
            (tx_of(&plan), &[PAID], UnixTime(over.0 + 1), &[]),
        ] {
            let snapshot = snapshot(std::slice::from_ref(&plan), &[tx], records);
            let plans: Vec<PlanIx> = snapshot.unfinal(now).map(|(plan, _)| plan).collect();
            assert_eq!(plans, found, "{records:?} at {now}");
        }
    }
}
