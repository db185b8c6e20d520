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

#[cfg(test)]
mod tests {
    use spillway_types::{Atto, limits::QUOTE_LIFETIME};

    use super::*;
    use crate::session::{
        ChunkIx, Record,
        golden::{plan, snapshot, tx, tx_of},
    };

    const PAID: Record =
        Record::Paid { plan: PlanIx(0), recorded: UnixTime(1_800_000_050), total: Atto(5_000) };

    fn stored(chunk: u32) -> Record {
        Record::Stored { chunk: ChunkIx(chunk), receipts: Vec::new() }
    }

    #[test]
    fn it_is_where_its_files_say() {
        let (plan, early) = (plan(), UnixTime(1_800_000_100));
        let over = plan.plan.upload_by.saturating_add(QUOTE_LIFETIME);
        let late = UnixTime(over.0 + 1);
        let (dropped, undone) =
            (Record::Dropped { plan: PlanIx(0) }, Record::Undone { plan: PlanIx(0) });
        let handed_over = Record::HandedOver { at: early, archive: [1; 32] };
        let said = Record::Already { chunk: ChunkIx(1), receipts: Vec::new() };
        let (plans, ours, other) = (std::slice::from_ref(&plan), &[tx_of(&plan)][..], &[tx()][..]);
        let verify = [Record::ToVerify, PAID, stored(0), said.clone()];
        for (plans, txs, records, now, stage) in [
            (&[][..], &[][..], &[][..], early, SessionStage::Sealed),
            (plans, &[], &[], early, SessionStage::Planned),
            (plans, other, &[], early, SessionStage::Planned),
            (plans, ours, &[], early, SessionStage::Paying),
            (plans, ours, &[PAID], early, SessionStage::Storing),
            (plans, ours, &[PAID], over, SessionStage::Storing),
            (plans, ours, &[PAID], late, SessionStage::Expired),
            (plans, ours, &[PAID, stored(0)], early, SessionStage::Sealed),
            (plans, ours, &[PAID, stored(1)], early, SessionStage::Storing),
            (plans, ours, &[PAID, undone.clone()], early, SessionStage::Paying),
            (plans, ours, &[PAID, stored(0), undone.clone()], early, SessionStage::Paying),
            (plans, &[], &[stored(0), undone], early, SessionStage::Planned),
            (plans, ours, &[dropped], early, SessionStage::Sealed),
            (plans, ours, &[Record::ToVerify], early, SessionStage::Paying),
            (plans, ours, &verify, early, SessionStage::Verifying),
            (plans, ours, &verify[1..], early, SessionStage::Sealed),
            (plans, ours, &verify[..3], early, SessionStage::Sealed),
            (plans, ours, &[PAID, Record::Finished], late, SessionStage::Finished),
            (plans, ours, &[PAID, Record::Finished, handed_over], early, SessionStage::HandedOver),
        ] {
            assert_eq!(snapshot(plans, txs, records).stage(now), stage, "{records:?} at {now}");
        }
    }

    #[test]
    fn of_several_payments_the_one_decides_of_which_most_can_be_lost() {
        let (paid, mut late, mut open) = (plan(), plan(), plan());
        late.plan.upload_by = UnixTime(1_700_000_000);
        open.plan.upload_by = UnixTime(1_800_086_460);
        (late.chunks, open.chunks) = (vec![Some(ChunkIx(1))], vec![Some(ChunkIx(1))]);
        let plans = [late.clone(), open.clone(), paid.clone()];
        let paid_of = |plan| Record::Paid {
            plan: PlanIx(plan),
            recorded: UnixTime(1_700_000_000),
            total: Atto(5_000),
        };
        let now = UnixTime(1_800_000_100);
        let stage = |records: &[Record]| snapshot(&plans, &[tx_of(&paid)], records).stage(now);
        assert_eq!(stage(&[paid_of(0), paid_of(2)]), SessionStage::Storing);
        assert_eq!(stage(&[paid_of(0)]), SessionStage::Paying);
        assert_eq!(stage(&[paid_of(0), stored(0)]), SessionStage::Planned);
        let dropped = Record::Dropped { plan: PlanIx(1) };
        assert_eq!(stage(&[paid_of(0), stored(0), dropped]), SessionStage::Expired);
    }
}
