//! Settling: drawn leaves are paid, and whoever sends the transaction gets the tips.

use std::collections::BTreeMap;

use futures::{StreamExt, TryStreamExt, stream};
use spillway_types::{Atto, BatchProof, PaymentId, Seed, UnixTime, Win, limits::MAX_SETTLES};

use super::{CONCURRENCY, Payments, goal::Goal, lock, run::Run};
use crate::{
    At, ChainError, PayError, PayFailure, ProofError, RecordAt, Spend, TxJournal, Wallet, Windows,
    verify,
};

/// Looks for the tips of a settlement that has succeeded: the server that is asked may be behind.
const TIP_LOOKS: u32 = 5;

/// What settling did. It pays for itself when the tips are worth more to the sender than
/// `spend.gas_cost`: a node asks for tips of 1.5 times the gas of a draw, so it does unless gas has
/// become much dearer since the batch was quoted, or few draws share a transaction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settled {
    /// Transactions that were mined.
    pub transactions: u32,
    /// Draws that they settled.
    pub draws: u32,
    /// What the sender got for that.
    pub tips: Atto,
    /// What these draws paid the nodes. When others settled a part of them at the same moment, up
    /// to the rest of a division, less than 200 units, may be missing.
    pub prizes: Atto,
    /// What was not settled, and why.
    pub skipped: Vec<Skipped>,
    /// What it cost in gas.
    pub spend: Spend,
}

/// A win that was not settled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// The batch.
    pub payment: PaymentId,
    /// Which draw of it.
    pub draw: u8,
    /// Why.
    pub reason: SkipReason,
}

/// Why a win was not settled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SkipReason {
    /// The vault has no record of the batch.
    #[error("the batch is not recorded")]
    NotRecorded,
    /// It was too late.
    #[error("draws could be settled until {claim_end}")]
    ClaimOver {
        /// The last moment.
        claim_end: UnixTime,
    },
    /// The draw's seed is not known: [`Payments::post_seed`] makes it known.
    #[error("the seed after {after} is not known yet")]
    NoSeed {
        /// It becomes public after this.
        after: UnixTime,
    },
    /// The batch has no such draw.
    #[error("the batch has {draws} draws")]
    NoSuchDraw {
        /// How many it has.
        draws: u8,
    },
    /// It is settled or refunded, or another win of the same draw is being settled.
    #[error("the draw is settled already")]
    AlreadySettled,
    /// The leaf is not part of the batch.
    #[error("the leaf is not part of the batch")]
    BadProof(#[source] ProofError),
    /// The draw fell on another leaf.
    #[error("the draw fell on {point}, the leaf has {sum} from {from}")]
    NotDrawn {
        /// Where it fell.
        point: Atto,
        /// Where the leaf begins.
        from: Atto,
        /// How much of the total is the leaf's.
        sum: Atto,
    },
    /// The vault refused the transaction.
    #[error("the vault refused: {}", reason.as_deref().unwrap_or("no reason given"))]
    Refused {
        /// What it said.
        reason: Option<String>,
    },
}

/// Wins of one batch that can be settled.
struct Batch<'w> {
    payment: PaymentId,
    wins: Vec<&'w Win>,
}

impl Payments {
    /// Settles draws: pays the leaves that were drawn their prizes, as credit, and the sender the
    /// tips. Every win is checked before anything is signed: its leaf's proof, that the draw fell
    /// on it, the batch's record, and that it can still be settled; what fails is left out, with
    /// the reason. At most [`MAX_SETTLES`] draws share a transaction. What others settle at the
    /// same moment is no error.
    ///
    /// # Errors
    /// When the chain cannot be asked, another process uses the wallet, or there are too few coins.
    /// What was settled before stays settled; calling again goes on.
    ///
    /// # Cancel safety
    /// A draw is settled once, whatever is sent how often.
    ///
    /// # Cost
    /// Gas: nothing when there is nothing to settle, near 110,000 for one draw alone and at most
    /// [`SETTLE_GAS`](spillway_types::limits::SETTLE_GAS) a draw for many. Tips come back in
    /// tokens.
    pub async fn settle(
        &self,
        wallet: &Wallet,
        wins: &[Win],
        journal: &mut dyn TxJournal,
    ) -> Result<Settled, PayError> {
        let terms = self.check_domain().await?;
        let mut settled = Settled::default();
        let batches = self.sort_wins(wins, terms.windows, &mut settled.skipped).await?;
        if batches.is_empty() {
            return Ok(settled);
        }
        let _lock = lock(&self.options, wallet.address()).await?;
        let mut run = self.run(wallet, terms.token, journal);
        for batch in batches {
            for part in batch.wins.chunks(MAX_SETTLES) {
                let end = Box::pin(run.settle(batch.payment, part, &mut settled)).await;
                if let Err(failure) = end {
                    return Err(PayError { failure: Box::new(failure), spend: run.spend() });
                }
            }
        }
        settled.spend = run.spend();
        Ok(settled)
    }

    /// The wins that [`Payments::settle`] would send now, each draw once, and those that it would
    /// leave out, with the reason. Nothing is signed and nothing is sent.
    ///
    /// # Errors
    /// When the chain cannot be asked.
    pub async fn settleable(&self, wins: &[Win]) -> Result<(Vec<Win>, Vec<Skipped>), PayError> {
        let terms = self.check_domain().await?;
        let mut skipped = Vec::new();
        let batches = self.sort_wins(wins, terms.windows, &mut skipped).await?;
        let open = batches.into_iter().flat_map(|batch| batch.wins).cloned();
        Ok((open.collect(), skipped))
    }

    /// The wins that can be settled, by batch; the others are noted with the reason.
    async fn sort_wins<'w>(
        &self,
        wins: &'w [Win],
        windows: Windows,
        skipped: &mut Vec<Skipped>,
    ) -> Result<Vec<Batch<'w>>, PayError> {
        if wins.is_empty() {
            return Ok(Vec::new());
        }
        let mut by_batch: BTreeMap<PaymentId, Vec<&'w Win>> = BTreeMap::new();
        for win in wins {
            by_batch.entry(win.terms.id(&self.options.domain)).or_default().push(win);
        }
        let now = self.now().await?;
        let asked = by_batch.iter().map(|(&payment, wins)| (payment, wins[0].terms.upload_by));
        let answers = self.records_and_seeds(asked.collect()).await?;
        let mut batches = Vec::new();
        for ((payment, wins), (record, seed)) in by_batch.into_iter().zip(answers) {
            let mut batch = Batch { payment, wins: Vec::new() };
            let mut taken = record.settled;
            for win in wins {
                let state = (record, seed, windows, now);
                let checked = check(win, payment, state).and_then(|()| {
                    taken.insert(win.draw).then_some(()).ok_or(SkipReason::AlreadySettled)
                });
                match checked {
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

    async fn records_and_seeds(
        &self,
        batches: Vec<(PaymentId, UnixTime)>,
    ) -> Result<Vec<(RecordAt, Option<Seed>)>, ChainError> {
        let (chain, vault) = (&self.options.chain, self.options.domain.vault);
        stream::iter(batches)
            .map(|(payment, upload_by)| async move {
                let record = chain.record(vault, payment, At::Depth(0));
                futures::future::try_join(record, chain.seed(vault, upload_by)).await
            })
            .buffered(CONCURRENCY)
            .try_collect()
            .await
    }
}

/// Everything that the vault checks, but for draws that are settled.
fn check(
    win: &Win,
    payment: PaymentId,
    (record, seed, windows, now): (RecordAt, Option<Seed>, Windows, UnixTime),
) -> Result<(), SkipReason> {
    if record.recorded.is_none() {
        return Err(SkipReason::NotRecorded);
    }
    let claim_end = windows.claim_end(win.terms.upload_by);
    if now > claim_end {
        return Err(SkipReason::ClaimOver { claim_end });
    }
    let after = windows.draw_time(win.terms.upload_by);
    let seed = seed.ok_or(SkipReason::NoSeed { after })?;
    if win.draw >= win.terms.draws {
        return Err(SkipReason::NoSuchDraw { draws: win.terms.draws });
    }
    let proof = BatchProof { terms: win.terms, siblings: win.siblings.clone() };
    let span = verify::batch_leaf(&proof, &win.leaf).map_err(SkipReason::BadProof)?;
    let point = win.terms.draw_point(seed, payment, win.draw);
    if !span.contains(point) {
        return Err(SkipReason::NotDrawn { point, from: span.from, sum: span.sum });
    }
    Ok(())
}

impl Run<'_> {
    /// Settles wins with one transaction.
    async fn settle(
        &mut self,
        payment: PaymentId,
        wins: &[&Win],
        settled: &mut Settled,
    ) -> Result<(), PayFailure> {
        let Some(terms) = wins.first().map(|win| win.terms) else { return Ok(()) };
        let (vault, sender) = (self.options.domain.vault, self.wallet.address());
        let open = wins.len() as u64;
        let (before, first) = (self.tokens_of(sender).await?, self.known());
        let skip = |reason: SkipReason| {
            move |win: &&Win| Skipped { payment, draw: win.draw, reason: reason.clone() }
        };
        match self.drive(Goal::Settled { vault, sender, payment, wins }).await {
            Ok(_) => {}
            Err(
                PayFailure::Chain(ChainError::Reverted { reason })
                | PayFailure::Failed { reason, .. },
            ) => {
                settled.skipped.extend(wins.iter().map(skip(SkipReason::Refused { reason })));
                return Ok(());
            }
            Err(failure) => return Err(failure),
        }
        if !self.succeeded_since(first) {
            // Somebody else was faster.
            settled.skipped.extend(wins.iter().map(skip(SkipReason::AlreadySettled)));
            return Ok(());
        }
        settled.transactions += 1;
        let draws = self.draws_of_gain(sender, before, terms.tip, open).await?;
        settled.draws += u32::try_from(draws).unwrap_or(u32::MAX);
        settled.tips = settled.tips.saturating_add(terms.tip.saturating_mul(draws.into()));
        let prizes = if draws == open {
            wins.iter().map(|win| terms.prize(win.draw)).sum()
        } else {
            Atto(terms.total.0 / u128::from(terms.draws)).saturating_mul(draws.into())
        };
        settled.prizes = settled.prizes.saturating_add(prizes);
        Ok(())
    }

    /// How many of the draws that were open this wallet was paid for: others may have settled some
    /// of them in the same moment. Without a tip nobody has a reason to.
    async fn draws_of_gain(
        &self,
        sender: spillway_types::EvmAddress,
        before: Atto,
        tip: Atto,
        open: u64,
    ) -> Result<u64, ChainError> {
        let mut draws = 0;
        for look in 0..TIP_LOOKS {
            let gain = self.tokens_of(sender).await?.saturating_sub(before);
            let Some(paid) = gain.0.checked_div(tip.0) else { return Ok(open) };
            draws = u64::try_from(paid).unwrap_or(u64::MAX).min(open);
            if draws == open || look + 1 == TIP_LOOKS {
                break;
            }
            self.options.clock.sleep(self.options.timing.first_poll).await;
        }
        Ok(draws)
    }

    async fn tokens_of(&self, account: spillway_types::EvmAddress) -> Result<Atto, ChainError> {
        self.options.chain.tokens(self.token, account).await
    }
}
