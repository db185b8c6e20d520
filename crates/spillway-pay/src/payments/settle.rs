//! Settling: drawn leaves are paid, and whoever sends the transaction gets the tips.

mod preview;
mod sorting;

use std::collections::{BTreeMap, VecDeque};

use spillway_types::{Atto, PaymentId, TokenRate, UnixTime, Wei, Win, limits::MAX_SETTLES};

pub use self::preview::SettlePreview;
use super::{Caps, Payments, SeedWanted, Stopped, goal::Goal, lock, run::Run};
use crate::{ChainError, PayError, PayFailure, ProofError, Spend, TxJournal, Wallet, Windows};

/// When settling is worth its gas to whoever sends it. Anybody may have paid a batch on any terms:
/// genuine wins can hold tips of nothing, and gas for payees who never had credit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SettleTerms {
    /// What a token is worth in coins. Then no transaction may cost more gas than its tips are
    /// worth: fees are limited by that, and what does not fit is left out. `None`: only draws
    /// without a tip are left out.
    pub rate: Option<TokenRate>,
    /// Settle whatever the tips are: for those whose prizes they are.
    pub at_a_loss: bool,
    /// The most that all transactions of the call may cost in gas.
    pub gas_cap: Option<Wei>,
}

impl SettleTerms {
    /// What these tips may cost in gas; `None`: anything.
    fn worth(&self, tips: Atto) -> Option<Wei> {
        self.rate.filter(|_| !self.at_a_loss).map(|rate| rate.coins(tips))
    }

    fn takes(&self, tip: Atto) -> bool {
        self.at_a_loss || tip > Atto::ZERO
    }
}

/// What settling did. It pays for itself when the tips are worth more to the sender than
/// `spend.gas_cost`: a node asks for tips of 1.5 times the gas of a draw that is settled alone, so it
/// does unless gas has become much dearer since the batch was quoted, or many payees are new to the
/// vault; [`SettleTerms`] says what becomes of the others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settled {
    /// Transactions that were mined, those that failed included: others were faster.
    pub transactions: u32,
    /// Draws that they settled, by the events in their receipts. What others settled in the same
    /// moment is in `skipped`.
    pub draws: u32,
    /// What the sender got for these draws.
    pub tips: Atto,
    /// What these draws paid the nodes.
    pub prizes: Atto,
    /// These draws, by batch.
    pub done: Vec<(PaymentId, u8)>,
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
    /// The draw has no tip, and was not to be settled at a loss.
    #[error("the draw has no tip")]
    NoTip,
    /// The tips of the draws of its transaction are worth less than their gas.
    #[error("tips of {tips} are worth less than the gas of {gas_cost}")]
    NotWorthIt {
        /// What the sender would get.
        tips: Atto,
        /// What it would pay at least, in coins.
        gas_cost: Wei,
    },
    /// The vault refused the transaction.
    #[error("the vault refused: {}", reason.as_deref().unwrap_or("no reason given"))]
    Refused {
        /// What it said.
        reason: Option<String>,
    },
}

impl SkipReason {
    /// Its kind in one word, for counting: without times and amounts.
    pub fn name(&self) -> &'static str {
        match self {
            Self::NotRecorded => "not_recorded",
            Self::ClaimOver { .. } => "claim_over",
            Self::NoSeed { .. } => "no_seed",
            Self::NoSuchDraw { .. } => "no_such_draw",
            Self::AlreadySettled => "already_settled",
            Self::BadProof(_) => "bad_proof",
            Self::NotDrawn { .. } => "not_drawn",
            Self::NoTip => "no_tip",
            Self::NotWorthIt { .. } => "not_worth_it",
            Self::Refused { .. } => SkipReason::REFUSED,
        }
    }

    /// The name of [`SkipReason::Refused`].
    pub const REFUSED: &'static str = "refused";
}

/// Wins of one batch that can be settled.
struct Batch<'w> {
    payment: PaymentId,
    wins: Vec<&'w Win>,
    /// What makes the seed known that nobody has made known; empty when it is.
    proof: &'w [u8],
}

/// What wins are looked at with.
#[derive(Clone, Copy)]
struct With<'w> {
    windows: Windows,
    terms: SettleTerms,
    seeds: &'w [SeedWanted],
}

/// How a transaction ended.
enum End {
    /// What it did is noted, or why it was not sent.
    Noted,
    /// The vault would refuse it; nothing was sent.
    Refused(Option<String>),
    /// It was mined and failed.
    Failed(Option<String>),
}

impl Payments {
    /// Settles draws: pays the leaves that were drawn their prizes, as credit, and the sender the
    /// tips. Every win is checked before anything is signed: its leaf's proof, that the draw fell
    /// on it, the batch's record, that it can still be settled, and that `terms` take it; what
    /// fails is left out, with the reason. At most [`MAX_SETTLES`] draws share a transaction. What
    /// others settle at the same moment is no error; when the vault refuses a transaction, the
    /// draws that it refuses are found and the others settled.
    ///
    /// # Errors
    /// When the chain cannot be asked, another process uses the wallet, there are too few coins, or
    /// the gas cap is reached; with what was settled before. Calling again goes on.
    ///
    /// # Cancel safety
    /// A draw is settled once, whatever is sent how often.
    ///
    /// # Cost
    /// Gas, within `terms`: nothing when there is nothing to settle, at most
    /// [`SETTLE_ALONE_GAS`](spillway_types::limits::SETTLE_ALONE_GAS) for the only draw of a batch of
    /// up to 256 leaves, 1,200 more each time they double, and
    /// [`SETTLE_GAS`](spillway_types::limits::SETTLE_GAS) a draw for many, when all payees have had
    /// credit before; 17,100 more for each payee who is new to the vault. Tips come back in tokens.
    pub async fn settle(
        &self,
        wallet: &Wallet,
        wins: &[Win],
        terms: SettleTerms,
        journal: &mut dyn TxJournal,
    ) -> Result<Settled, Stopped<Settled>> {
        self.settle_with_seeds(wallet, wins, &[], terms, journal).await
    }

    /// As [`Payments::settle`], for whoever has the proofs of seeds that nobody has made known (see
    /// [`SeedWanted`]; empty ones are of no use here): a settlement of draws that such a seed
    /// decides makes it known by the same transaction. That one may cost more than its tips are
    /// worth, since the seed was asked for; the gas cap holds.
    ///
    /// # Errors
    /// As there.
    ///
    /// # Cancel safety
    /// As there.
    ///
    /// # Cost
    /// As there, and some 170,000 gas for each seed: posted on its own it is 194,000.
    pub async fn settle_with_seeds(
        &self,
        wallet: &Wallet,
        wins: &[Win],
        seeds: &[SeedWanted],
        terms: SettleTerms,
        journal: &mut dyn TxJournal,
    ) -> Result<Settled, Stopped<Settled>> {
        let mut done = Settled::default();
        let wins = (wins, seeds);
        match self.settle_into(&mut done, wallet, wins, terms, journal).await {
            Ok(()) => Ok(done),
            Err(error) => Err(Stopped { done, error }),
        }
    }

    async fn settle_into(
        &self,
        settled: &mut Settled,
        wallet: &Wallet,
        (wins, seeds): (&[Win], &[SeedWanted]),
        terms: SettleTerms,
        journal: &mut dyn TxJournal,
    ) -> Result<(), PayError> {
        let vault = self.check_domain().await?;
        let with = With { windows: vault.windows, terms, seeds };
        let batches = self.sort_wins(wins.iter().collect(), with, &mut settled.skipped).await?;
        if batches.is_empty() {
            return Ok(());
        }
        let _lock = lock(self, wallet.address()).await?;
        let mut run = self.run(wallet, vault.token, journal);
        for batch in batches {
            let end = Box::pin(self.settle_batch(&mut run, batch, with, settled)).await;
            settled.spend = run.spend();
            settled.transactions = u32::try_from(settled.spend.tx_hashes.len()).unwrap_or(u32::MAX);
            if let Err(failure) = end {
                return Err(PayError { failure: Box::new(failure), spend: run.spend() });
            }
        }
        Ok(())
    }

    /// Settles the wins of one batch, part by part. A part that the vault refuses is looked at once
    /// more and sent without what has changed; when nothing has, in halves: to ask costs nothing.
    async fn settle_batch(
        &self,
        run: &mut Run<'_>,
        batch: Batch<'_>,
        with: With<'_>,
        settled: &mut Settled,
    ) -> Result<(), PayFailure> {
        let payment = batch.payment;
        let mut proof = batch.proof;
        let mut parts: VecDeque<Vec<&Win>> =
            batch.wins.chunks(MAX_SETTLES).map(<[&Win]>::to_vec).collect();
        while let Some(part) = parts.pop_front() {
            // Once it is known, its proof is so much data for nothing.
            if !proof.is_empty() && self.is_seed_known(&part).await? {
                proof = &[];
            }
            let part = Batch { payment, wins: part, proof };
            let end = run.settle(&part, with.terms, settled).await?;
            let part = part.wins;
            let (reason, was_sent) = match end {
                End::Noted => continue,
                End::Refused(reason) => (reason, false),
                End::Failed(reason) => (reason, true),
            };
            let all = part.len();
            let sorted = self.sort_wins(part, with, &mut settled.skipped).await;
            let sorted = sorted.map_err(|error| *error.failure)?;
            let open: Vec<&Win> = sorted.into_iter().flat_map(|batch| batch.wins).collect();
            match open.len() {
                0 => {}
                left if left < all => parts.push_front(open),
                left if left > 1 && !was_sent => {
                    let (first, second) = open.split_at(left / 2);
                    parts.push_front(second.to_vec());
                    parts.push_front(first.to_vec());
                }
                _ => settled.skip(payment, &open, &SkipReason::Refused { reason }),
            }
        }
        Ok(())
    }

    async fn is_seed_known(&self, wins: &[&Win]) -> Result<bool, ChainError> {
        let Some(win) = wins.first() else { return Ok(true) };
        let (chain, vault) = (&self.options.chain, self.options.domain.vault);
        Ok(chain.seed(vault, win.terms.upload_by).await?.is_some())
    }

    /// The wins that [`Payments::settle_with_seeds`] would send now, each draw once, and those that
    /// it would leave out, with the reason; what gas costs is not looked at. Nothing is signed and nothing
    /// is sent.
    ///
    /// # Errors
    /// When the chain cannot be asked.
    pub async fn settleable(
        &self,
        wins: &[Win],
        seeds: &[SeedWanted],
        terms: SettleTerms,
    ) -> Result<(Vec<Win>, Vec<Skipped>), PayError> {
        let with = With { windows: self.check_domain().await?.windows, terms, seeds };
        let mut skipped = Vec::new();
        let batches = self.sort_wins(wins.iter().collect(), with, &mut skipped).await?;
        let open = batches.into_iter().flat_map(|batch| batch.wins).cloned();
        Ok((open.collect(), skipped))
    }
}

impl Settled {
    fn skip(&mut self, payment: PaymentId, wins: &[&Win], reason: &SkipReason) {
        let skipped = |win: &&Win| Skipped { payment, draw: win.draw, reason: reason.clone() };
        self.skipped.extend(wins.iter().map(skipped));
    }

    /// Notes what transactions of ours have settled, by their receipts.
    fn note(&mut self, payment: PaymentId, tip: Atto, prizes: &BTreeMap<u8, Atto>) {
        let draws = u32::try_from(prizes.len()).unwrap_or(u32::MAX);
        self.draws += draws;
        self.tips = self.tips.saturating_add(tip.saturating_mul(draws.into()));
        self.prizes = self.prizes.saturating_add(prizes.values().copied().sum());
        self.done.extend(prizes.keys().map(|&draw| (payment, draw)));
    }
}

impl Run<'_> {
    /// Settles wins with one transaction.
    async fn settle(
        &mut self,
        part: &Batch<'_>,
        terms: SettleTerms,
        settled: &mut Settled,
    ) -> Result<End, PayFailure> {
        let Batch { payment, ref wins, proof } = *part;
        let Some(batch) = wins.first().map(|win| win.terms) else { return Ok(End::Noted) };
        let (vault, sender) = (self.options.domain.vault, self.wallet.address());
        let open = wins.len() as u64;
        let first = self.known();
        let (tips, spent) = (batch.tip.saturating_mul(open.into()), self.gas_spent());
        // As a cap on everything that is signed for it, fees that are raised included.
        let worth = terms.worth(tips).filter(|_| proof.is_empty());
        let most = worth.map(|worth| spent.saturating_add(worth));
        let gas_cost = most.into_iter().chain(terms.gas_cap).min();
        self.caps = Caps { gas_cost, ..Caps::default() };
        let end = self.drive(Goal::Settled { vault, sender, payment, wins, proof }).await;
        // Whatever the end is: what is mined has paid.
        let mined = self.mined_since(first);
        let paid: BTreeMap<u8, Atto> =
            mined.flat_map(|receipt| receipt.settled(vault, payment)).collect();
        settled.note(payment, batch.tip, &paid);
        match end {
            Ok(_) => {}
            Err(PayFailure::Chain(ChainError::Reverted { reason })) => {
                return Ok(End::Refused(reason));
            }
            Err(PayFailure::Failed { reason, .. }) => return Ok(End::Failed(reason)),
            Err(PayFailure::OverGasCost { cost, .. })
                if worth.is_some_and(|worth| cost.saturating_sub(spent) > worth) =>
            {
                let gas_cost = cost.saturating_sub(spent);
                settled.skip(payment, wins, &SkipReason::NotWorthIt { tips, gas_cost });
                return Ok(End::Noted);
            }
            Err(failure) => return Err(failure),
        }
        // Somebody else was faster.
        let others = wins.iter().copied().filter(|win| !paid.contains_key(&win.draw));
        let others: Vec<&Win> = others.collect();
        settled.skip(payment, &others, &SkipReason::AlreadySettled);
        Ok(End::Noted)
    }
}
