//! Which wins can be settled: whoever shows them may show anything, so what needs no chain is looked
//! at first, then each batch's record, and seeds only for batches that are recorded and open.

use std::collections::{BTreeMap, BTreeSet};

use futures::{StreamExt, TryStreamExt, stream};
use spillway_types::{BatchProof, PaymentId, Seed, UnixTime, Win};

use super::{Batch, SettleTerms, SkipReason, Skipped, With};
use crate::{
    At, ChainError, LeafSpan, PayError, Payments, RecordAt, SeedWanted, Windows,
    payments::{CONCURRENCY, seed::boundary},
    verify,
};

/// A win whose leaf is part of its batch.
struct Proven<'w> {
    win: &'w Win,
    span: LeafSpan,
}

impl Payments {
    /// The wins that can be settled, by batch; the others are noted with the reason.
    pub(super) async fn sort_wins<'w>(
        &self,
        wins: Vec<&'w Win>,
        with: With<'w>,
        skipped: &mut Vec<Skipped>,
    ) -> Result<Vec<Batch<'w>>, PayError> {
        if wins.is_empty() {
            return Ok(Vec::new());
        }
        let With { windows, terms, .. } = with;
        let now = self.now().await?;
        let mut by_batch: BTreeMap<PaymentId, Vec<Proven<'w>>> = BTreeMap::new();
        for win in wins {
            let payment = win.terms.id(&self.options.domain);
            match alone(win, windows, terms, now) {
                Ok(span) => by_batch.entry(payment).or_default().push(Proven { win, span }),
                Err(reason) => skipped.push(Skipped { payment, draw: win.draw, reason }),
            }
        }
        let mut open = Vec::new();
        let records = self.records_of(by_batch.keys().copied().collect()).await?;
        for ((payment, wins), record) in by_batch.into_iter().zip(records) {
            let mut batch = Vec::new();
            for proven in wins {
                match in_record(proven.win, &record) {
                    Ok(()) => batch.push(proven),
                    Err(reason) => {
                        skipped.push(Skipped { payment, draw: proven.win.draw, reason });
                    }
                }
            }
            if !batch.is_empty() {
                open.push((payment, batch));
            }
        }
        let seeds = self.seeds_of(&open, with).await?;
        let mut batches = Vec::new();
        for ((payment, wins), (seed, proof)) in open.into_iter().zip(seeds) {
            let mut batch = Batch { payment, wins: Vec::new(), proof };
            let mut taken = BTreeSet::new();
            for Proven { win, span } in wins {
                let drawn = drawn(win, span, payment, seed, windows);
                let mut once =
                    || taken.insert(win.draw).then_some(()).ok_or(SkipReason::AlreadySettled);
                match drawn.and_then(|()| once()) {
                    Ok(()) => batch.wins.push(win),
                    Err(reason) => skipped.push(Skipped { payment, draw: win.draw, reason }),
                }
            }
            if !batch.wins.is_empty() {
                batches.push(batch);
            }
        }
        Ok(batches)
    }

    async fn records_of(&self, batches: Vec<PaymentId>) -> Result<Vec<RecordAt>, ChainError> {
        let (chain, vault) = (&self.options.chain, self.options.domain.vault);
        stream::iter(batches)
            .map(|payment| chain.record(vault, payment, At::Depth(0)))
            .buffered(CONCURRENCY)
            .try_collect()
            .await
    }

    /// The seed of each batch, and what makes it known if nobody has. All upload windows that end in
    /// one epoch share one.
    async fn seeds_of<'w>(
        &self,
        batches: &[(PaymentId, Vec<Proven<'w>>)],
        With { windows, seeds, .. }: With<'w>,
    ) -> Result<Vec<(Option<Seed>, &'w [u8])>, ChainError> {
        if batches.is_empty() {
            return Ok(Vec::new());
        }
        let (chain, vault) = (&self.options.chain, self.options.domain.vault);
        let state = chain.beacon(vault).await?;
        let ends: Vec<UnixTime> = batches
            .iter()
            .filter_map(|(_, wins)| Some(wins.first()?.win.terms.upload_by))
            .collect();
        let due = |upload_by: &UnixTime| boundary(&state, windows.draw_time(*upload_by));
        let wanted: BTreeMap<UnixTime, UnixTime> =
            ends.iter().map(|upload_by| (due(upload_by), *upload_by)).collect();
        let known: Vec<(UnixTime, Option<Seed>)> = stream::iter(wanted)
            .map(|(due, upload_by)| async move {
                Ok::<_, ChainError>((due, chain.seed(vault, upload_by).await?))
            })
            .buffered(CONCURRENCY)
            .try_collect()
            .await?;
        let mut known: BTreeMap<UnixTime, (Option<Seed>, &'w [u8])> =
            known.into_iter().map(|(due, seed)| (due, (seed, &[][..]))).collect();
        for SeedWanted { upload_by, proof } in seeds.iter().filter(|seed| !seed.proof.is_empty()) {
            let Some(found @ (None, _)) = known.get_mut(&due(upload_by)) else { continue };
            let seed = chain.seed_of_proof(vault, *upload_by, proof).await?;
            if seed.is_some() {
                *found = (seed, proof.as_slice());
            }
        }
        let of = |upload_by| known.get(&due(upload_by)).copied().unwrap_or((None, &[]));
        Ok(ends.iter().map(of).collect())
    }
}

/// What can be said without the chain.
fn alone(
    win: &Win,
    windows: Windows,
    terms: SettleTerms,
    now: UnixTime,
) -> Result<LeafSpan, SkipReason> {
    if win.draw >= win.terms.draws {
        return Err(SkipReason::NoSuchDraw { draws: win.terms.draws });
    }
    let claim_end = windows.claim_end(win.terms.upload_by);
    if now > claim_end {
        return Err(SkipReason::ClaimOver { claim_end });
    }
    let proof = BatchProof { terms: win.terms, siblings: win.siblings.clone() };
    let span = verify::batch_leaf(&proof, &win.leaf).map_err(SkipReason::BadProof)?;
    if terms.takes(win.terms.tip) { Ok(span) } else { Err(SkipReason::NoTip) }
}

fn in_record(win: &Win, record: &RecordAt) -> Result<(), SkipReason> {
    match record.recorded {
        None => Err(SkipReason::NotRecorded),
        Some(_) if record.settled.contains(win.draw) => Err(SkipReason::AlreadySettled),
        Some(_) => Ok(()),
    }
}

fn drawn(
    win: &Win,
    span: LeafSpan,
    payment: PaymentId,
    seed: Option<Seed>,
    windows: Windows,
) -> Result<(), SkipReason> {
    let after = windows.draw_time(win.terms.upload_by);
    let seed = seed.ok_or(SkipReason::NoSeed { after })?;
    let point = win.terms.draw_point(seed, payment, win.draw);
    if span.contains(point) {
        return Ok(());
    }
    Err(SkipReason::NotDrawn { point, from: span.from, sum: span.sum })
}
