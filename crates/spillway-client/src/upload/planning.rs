//! From prices to durable plans: nothing is planned that the user has not agreed to.

use std::collections::BTreeMap;

use spillway_pay::{Plan, PlanError};

use super::{
    adopt::Adopted,
    choosing::{self, Chosen},
    engine::Engine,
    pay, price_all,
    quote::{QuoteOutcome, Wanted},
};
use crate::{
    Offer, Stage, UploadError,
    limits::{GAS_GUESS, MIN_TIME_TO_PAY},
    session::{Batch, ChunkIx, Effect, Event, PlanFile, Priced, Record, regroup},
};

impl Engine {
    /// Prices, plans, pays and stores what is in no plan yet: at once, or in rounds where batches are
    /// paid one by one. A round begins when all before it is paid and stored, so its prices are young
    /// when they are paid, however long the upload takes.
    pub(super) async fn begin_rest(&mut self) -> Result<(), UploadError> {
        let is_left = self.batches.iter().any(|batch| matches!(batch, Batch::Sealed { .. }));
        if is_left && self.may_pay() {
            self.turn.begin_rest(&self.job).await?;
        }
        while self.may_pay() && self.price_round().await? {
            self.pay_round().await?;
        }
        Ok(())
    }

    /// Whether paying goes on. A payment of another session that is too late waits alone; after any
    /// other failure a transaction may still wait with the wallet's next nonce.
    fn may_pay(&self) -> bool {
        matches!(self.pay_error, None | Some(UploadError::Undecided { .. }))
    }

    /// Prices what is paid next; `false` when nothing is left. Of a round much may be stored already:
    /// while less than half a batch is to be paid, the next part is asked for, too. So a round is one
    /// and a half batches at most, and only the last may be too small to be a batch.
    async fn price_round(&mut self) -> Result<bool, UploadError> {
        let round = self.job.round_leaves();
        let enough = round.map_or(usize::MAX, |leaves| leaves.div_ceil(2));
        let at_once = if round.is_some() { 1 } else { usize::MAX };
        let mut asked = false;
        while self.quoted().iter().map(|(_, priced)| priced.len()).sum::<usize>() < enough {
            let sealed = (0..self.batches.len())
                .filter(|&batch| matches!(self.batches[batch], Batch::Sealed { .. }));
            let parts: Vec<usize> = sealed.take(at_once).collect();
            if parts.is_empty() {
                break;
            }
            self.price(&parts).await?;
            asked = true;
        }
        Ok(asked)
    }

    /// Plans, pays and stores what has a price. Prices that are too old when the user has answered, and
    /// other uploads have let this one work again, are asked for anew.
    async fn pay_round(&mut self) -> Result<(), UploadError> {
        let mut adopted = Vec::new();
        let mut agreed: Option<Offer> = None;
        let plans = loop {
            adopted.extend(self.adopt().await?);
            adopted = self.leave_late(adopted);
            let chosen = self.choose().await?;
            let Some(offer) = self.offer(&adopted, &chosen).await? else { break chosen.plans };
            let is_agreed = agreed.is_some_and(|agreed| is_within(&offer, &agreed));
            self.ask(offer, is_agreed).await?;
            match self.check_in_time(&chosen.plans) {
                Ok(()) => break chosen.plans,
                // Nobody was waited for: they would be too old again.
                Err(error) if is_agreed || self.job.options.approve.is_none() => return Err(error),
                Err(_) => agreed = Some(offer),
            }
            self.forget_prices();
            self.price_round().await?;
        };
        // The user may have taken their time.
        let adopted = self.leave_late(adopted);
        self.write_plans(plans).await?;
        self.write_adopted(adopted).await?;
        self.pay_and_store().await
    }

    /// What all of this costs; `None` where there is nothing to pay.
    async fn offer(
        &self,
        adopted: &[Adopted],
        chosen: &Chosen,
    ) -> Result<Option<Offer>, UploadError> {
        let mut all: Vec<Plan> = adopted.iter().map(|adopted| adopted.plan().clone()).collect();
        let gas = if all.is_empty() { Some(chosen.gas) } else { None };
        all.extend(chosen.plans.iter().cloned());
        if all.is_empty() {
            return Ok(None);
        }
        let gas = match gas {
            Some(gas) => gas,
            None => self.job.estimate(&all).await?,
        };
        let to_pay = adopted.iter().map(|adopted| adopted.chunks().count()).sum::<usize>()
            + chosen.plans.iter().map(|plan| plan.leaves.len()).sum::<usize>();
        Ok(Some(pay::offer(&all, chosen.reason, gas, self.counts(to_pay as u64))))
    }

    /// Makes what has prices as it was before it had them.
    fn forget_prices(&mut self) {
        for batch in &mut self.batches {
            if let Batch::Quoted { priced } = batch {
                let chunks = priced.iter().map(|priced| priced.chunk).collect();
                *batch = Batch::Sealed { chunks };
            }
        }
    }

    async fn price(&mut self, parts: &[usize]) -> Result<(), UploadError> {
        let mut wanted: BTreeMap<ChunkIx, usize> = BTreeMap::new();
        for &batch in parts {
            for effect in self.apply(batch, Event::Begin) {
                if let Effect::Quote { chunks } = effect {
                    wanted.extend(chunks.into_iter().map(|chunk| (chunk, batch)));
                }
            }
        }
        let list: Vec<Wanted> =
            wanted.keys().map(|&chunk| Wanted::new(chunk, self.session.chunk(chunk))).collect();
        let bytes = list.iter().map(|want| u64::from(want.size)).sum();
        self.job.options.progress.begin(Stage::Quote, Some(bytes), Some(list.len() as u64));
        let outcomes = price_all(&self.job, list).await?;
        let mut by_batch: BTreeMap<usize, Vec<Priced>> =
            wanted.values().map(|&batch| (batch, Vec::new())).collect();
        let mut records = Vec::new();
        for outcome in outcomes {
            match outcome {
                QuoteOutcome::Priced(priced) => {
                    by_batch.entry(wanted[&priced.chunk]).or_default().push(*priced);
                }
                QuoteOutcome::Already { chunk, receipts } => {
                    records.push(Record::Already { chunk, receipts });
                }
            }
        }
        let already: Vec<ChunkIx> = records
            .iter()
            .filter_map(|record| match record {
                Record::Already { chunk, .. } => Some(*chunk),
                _ => None,
            })
            .collect();
        self.session.record(records).await?;
        if let Some(checking) = &mut self.checking {
            for chunk in already {
                checking.stored(chunk, None);
            }
        }
        for (batch, mut priced) in by_batch {
            priced.sort_by_key(|priced| priced.chunk);
            self.apply(batch, Event::Quoted { priced });
        }
        Ok(())
    }

    /// Batches with prices, in order.
    pub(super) fn quoted(&self) -> Vec<(usize, &[Priced])> {
        let batches = self.batches.iter().enumerate();
        batches
            .filter_map(|(batch, state)| match state {
                Batch::Quoted { priced } => Some((batch, priced.as_slice())),
                _ => None,
            })
            .collect()
    }

    /// Plans everything that has a price, in the mode of the options, and groups it as the plans do.
    async fn choose(&mut self) -> Result<Chosen, UploadError> {
        let mut priced: Vec<&Priced> =
            self.quoted().into_iter().flat_map(|(_, priced)| priced).collect();
        priced.sort_by_key(|priced| priced.chunk);
        if priced.is_empty() {
            return Ok(Chosen::default());
        }
        let chosen = choosing::chosen(&self.job, &priced).await?;
        self.reason = chosen.reason;
        regroup(&mut self.batches, chosen.plans.iter().map(|plan| plan.leaves.len()));
        Ok(chosen)
    }

    /// Compares the price with the caps and shows it to the user. `plans`: those that nobody has agreed
    /// to yet.
    pub(super) async fn approve(
        &mut self,
        plans: &[Plan],
        offer: Offer,
    ) -> Result<(), UploadError> {
        let answer = self.ask(offer, false).await;
        // What is paid is stored whatever it is.
        self.turn.step_in(&self.job).await?;
        answer.and_then(|()| self.check_in_time(plans))
    }

    /// Compares the price with the caps and, unless the user has agreed to it, asks. Others may work
    /// until there is an answer: it may never come.
    async fn ask(&mut self, offer: Offer, is_agreed: bool) -> Result<(), UploadError> {
        self.job.options.progress.set_mode(offer.mode, offer.reason);
        pay::check_caps(&self.job, &offer, &self.session.progressed.spend)?;
        if let Some(approve) = self.job.options.approve.clone()
            && !is_agreed
        {
            self.turn.begin_rest(&self.job).await?;
            self.turn.step_aside();
            if !approve.approve(&offer).await {
                return Err(UploadError::Declined { offer });
            }
            self.turn.step_in(&self.job).await?;
        }
        self.job.check_stop()
    }

    /// Whether there is time to pay these: the user, and other uploads, may have taken theirs.
    fn check_in_time(&self, plans: &[Plan]) -> Result<(), UploadError> {
        let now = self.job.parts.clock.now().saturating_add(MIN_TIME_TO_PAY);
        let valid_until = plans.iter().map(|plan| plan.valid_until).min().unwrap_or(now);
        if valid_until < now {
            return Err(PlanError::TooLate { valid_until }.into());
        }
        Ok(())
    }

    /// Writes a plan for each batch that has prices, under the lock that keeps two uploads from
    /// planning the same chunk.
    async fn write_plans(&mut self, plans: Vec<Plan>) -> Result<(), UploadError> {
        if plans.is_empty() {
            return Ok(());
        }
        let lock = self.lock_planning().await?;
        if let Some(foreign) = self.foreign_plans().await?.first() {
            return Err(UploadError::Busy { session: foreign.session.clone() });
        }
        let batches: Vec<usize> = self.quoted().iter().map(|(batch, _)| *batch).collect();
        for (batch, plan) in batches.into_iter().zip(plans) {
            for effect in self.apply(batch, Event::Approved) {
                let Effect::WritePlan { priced } = effect else { continue };
                let file = PlanFile {
                    plan: plan.clone(),
                    chunks: priced.iter().map(|priced| Some(priced.chunk)).collect(),
                    quotes: priced.iter().map(|priced| priced.quotes).collect(),
                };
                let plan = self.session.add_plan(file, &self.job.vault.windows).await?;
                self.apply(batch, Event::PlanWritten { plan });
            }
        }
        drop(lock);
        Ok(())
    }
}

/// Whether somebody who has agreed to the one has agreed to the other. What gas costs is a guess in both.
fn is_within(offer: &Offer, agreed: &Offer) -> bool {
    let guess = agreed.gas_cost.0 / GAS_GUESS;
    offer.mode == agreed.mode
        && offer.total() <= agreed.total()
        && offer.gas_cost.0 <= agreed.gas_cost.0.saturating_add(guess)
}
