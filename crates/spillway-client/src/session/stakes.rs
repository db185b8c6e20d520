//! What would be lost with a session, from its files alone.

use std::collections::BTreeMap;

use spillway_types::{Atto, UnixTime};

use super::{ChunkIx, PlanFile, PlanIx, Snapshot};
use crate::Stakes;

/// What would be lost. Any doubt counts as loss: a payment that is signed counts until the journal
/// says that it never will be taken, or nodes take nothing for it any more and it holds nothing that
/// comes back.
pub(crate) fn stakes(snapshot: &Snapshot, now: UnixTime) -> Stakes {
    let Snapshot { plans, txs, vault, progressed, .. } = snapshot;
    let mut stakes = Stakes::default();
    let mut unstored: BTreeMap<ChunkIx, Atto> = BTreeMap::new();
    for (plan, file) in (0..).map(PlanIx).zip(plans) {
        if progressed.dropped.contains(&plan) {
            continue;
        }
        let terms = file.plan.batch_terms();
        let Some(paid) = progressed.paid.get(&plan) else {
            let payment = file.plan.id();
            let signed = txs.iter().any(|tx| tx.purpose.pays(payment));
            // For a direct payment that is over nobody takes anything and nothing comes back.
            if signed && (terms.is_some() || !file.is_over(now)) {
                stakes.undecided_payments += 1;
                stakes.undecided = stakes.undecided.saturating_add(file.plan.total());
            }
            continue;
        };
        if !file.is_over(now) {
            let before = unstored.len();
            let open = costs(file).filter(|(chunk, _)| !progressed.is_done(*chunk));
            unstored.extend(open);
            if unstored.len() > before {
                stakes.store_until = stakes.store_until.max(Some(file.plan.upload_by));
            }
        }
        // What another session has paid is listed, and comes back, there.
        let here = paid.total > Atto::ZERO && !progressed.refunded.contains_key(&plan);
        if let (Some(terms), true) = (terms, here) {
            let most = progressed.refundable.get(&plan).copied().unwrap_or(terms.escrow());
            stakes.refundable_batches += 1;
            stakes.refundable = stakes.refundable.saturating_add(most);
            let from = vault.map(|vault| vault.refundable_from(terms.upload_by));
            stakes.refundable_from = stakes.refundable_from.max(from);
        }
    }
    stakes.unstored_chunks = unstored.len() as u64;
    stakes.unstored = unstored.into_values().sum();
    stakes
}

/// What storing each of the session's chunks of a plan costs.
fn costs(file: &PlanFile) -> impl Iterator<Item = (ChunkIx, Atto)> + '_ {
    let leaves = file.chunks.iter().zip(&file.plan.leaves);
    leaves.filter_map(|(chunk, leaf)| chunk.map(|chunk| (chunk, leaf.total())))
}

#[cfg(test)]
mod tests {
    use std::slice::from_ref;

    use spillway_pay::PlanMode;
    use spillway_types::{NodeHash, limits::QUOTE_LIFETIME};

    use super::*;
    use crate::session::{
        Record, VaultNote,
        golden::{plan, snapshot, tx, tx_of},
    };

    const EARLY: UnixTime = UnixTime(1_800_000_100);
    /// Of one leaf, and of its tip in a batch.
    const COST: Atto = Atto(5_000);
    const ESCROW: Atto = Atto(5_007);

    fn batch() -> PlanFile {
        let mut file = plan();
        file.plan.mode = PlanMode::Batch { root: NodeHash([8; 32]), tip: Atto(7), draws: 1 };
        file
    }

    fn paid(plan: u32, total: Atto) -> Record {
        Record::Paid { plan: PlanIx(plan), recorded: EARLY, total }
    }

    fn stored() -> Record {
        Record::Stored { chunk: ChunkIx(0), receipts: Vec::new() }
    }

    #[test]
    fn what_is_signed_counts_while_it_may_be_taken() {
        let over = UnixTime(plan().plan.upload_by.saturating_add(QUOTE_LIFETIME).0 + 1);
        let dropped = [Record::Dropped { plan: PlanIx(0) }];
        for (file, is_signed, records, now, count, amount) in [
            (plan(), false, &[][..], EARLY, 0, Atto::ZERO),
            (plan(), true, &[], EARLY, 1, COST),
            (plan(), true, &dropped, EARLY, 0, Atto::ZERO),
            (plan(), true, &[], over, 0, Atto::ZERO),
            (batch(), true, &[], EARLY, 1, ESCROW),
            (batch(), true, &[], over, 1, ESCROW),
            (batch(), false, &[], over, 0, Atto::ZERO),
        ] {
            let tx = if is_signed { tx_of(&file) } else { tx() };
            let found = stakes(&snapshot(&[file], &[tx], records), now);
            assert_eq!((found.undecided_payments, found.undecided), (count, amount), "at {now}");
            assert_eq!((found.unstored_chunks, found.refundable_batches), (0, 0));
            assert_eq!(found.is_nothing(), count == 0);
        }
        let both = [plan(), batch()];
        let txs = [tx_of(&both[0]), tx_of(&both[1])];
        let found = stakes(&snapshot(&both, &txs, &[]), EARLY);
        let sum = COST.saturating_add(ESCROW);
        assert_eq!((found.undecided_payments, found.undecided), (2, sum));
    }

    #[test]
    fn what_is_paid_counts_until_it_is_stored_or_too_late() {
        let (file, second) = (plan(), PlanFile { chunks: vec![Some(ChunkIx(1))], ..plan() });
        let last = file.plan.upload_by.saturating_add(QUOTE_LIFETIME);
        let over = UnixTime(last.0 + 1);
        let by = Some(file.plan.upload_by);
        let both = [paid(0, COST), stored()];
        for (records, now, unstored) in [
            (&both[..1], EARLY, Some((1, COST, by))),
            (&both[..1], last, Some((1, COST, by))),
            (&both[..1], over, None),
            (&both, EARLY, None),
        ] {
            let found = stakes(&snapshot(from_ref(&file), &[], records), now);
            let (chunks, amount, until) = unstored.unwrap_or((0, Atto::ZERO, None));
            assert_eq!((found.unstored_chunks, found.unstored), (chunks, amount), "at {now}");
            assert_eq!((found.store_until, found.is_nothing()), (until, chunks == 0));
        }
        // Of two that are paid one is stored: the other one says until when.
        let mut later = second;
        later.plan.upload_by = UnixTime(file.plan.upload_by.0 + 60);
        let until = Some(later.plan.upload_by);
        let records = [paid(0, COST), paid(1, COST), stored()];
        let found = stakes(&snapshot(&[file, later], &[], &records), EARLY);
        assert_eq!((found.unstored_chunks, found.unstored, found.store_until), (1, COST, until));
    }

    #[test]
    fn what_may_come_back_of_a_batch_counts_until_it_has() {
        let claim_over = Record::ClaimOver { plan: PlanIx(0), refundable: Atto(9) };
        let refunded = Record::Refunded { plan: PlanIx(0), amount: Atto(9) };
        let vault = VaultNote { draw_delay_secs: 900, claim_secs: 2_592_000 };
        let from = Some(vault.refundable_from(batch().plan.upload_by));
        for (file, records, count, amount) in [
            (batch(), &[paid(0, ESCROW), stored()][..], 1, ESCROW),
            (batch(), &[paid(0, Atto::ZERO), stored()], 0, Atto::ZERO),
            (batch(), &[paid(0, ESCROW), stored(), claim_over.clone()], 1, Atto(9)),
            (batch(), &[paid(0, ESCROW), stored(), claim_over, refunded], 0, Atto::ZERO),
            (plan(), &[paid(0, COST), stored()], 0, Atto::ZERO),
        ] {
            let mut snapshot = snapshot(&[file], &[], records);
            snapshot.vault = Some(vault);
            let found = stakes(&snapshot, EARLY);
            assert_eq!(
                (found.refundable_batches, found.refundable),
                (count, amount),
                "{records:?}"
            );
            assert_eq!(found.refundable_from, from.filter(|_| count > 0));
            assert_eq!(found.is_nothing(), count == 0);
        }
    }
}
