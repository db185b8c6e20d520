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
