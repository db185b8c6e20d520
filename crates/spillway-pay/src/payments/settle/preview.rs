//! What settling would do and cost, with nothing signed.

use std::collections::VecDeque;

use spillway_types::{Atto, EvmAddress, Wei, Win, limits::MAX_SETTLES};

use super::{Batch, SettleTerms, SkipReason, Skipped, With};
use crate::{ChainError, PayError, PayFailure, Payments, SeedWanted, Stopped, calls};

/// What [`Payments::settle_with_seeds`] would do now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SettlePreview {
    /// The wins that would be settled, each draw once.
    pub wins: Vec<Win>,
    /// What would be left out, and why.
    pub skipped: Vec<Skipped>,
    /// With how many transactions.
    pub transactions: u32,
    /// Gas of these. Of several that wait for the same seed each is reckoned to make it known.
    pub gas: u64,
    /// What that gas costs at least, at the fees of the moment.
    pub gas_cost: Wei,
}

impl Payments {
    /// What [`Payments::settle_with_seeds`] would do now for this sender, gas considered. Nothing is
    /// signed and nothing is sent; whether the sender has the coins is not looked at.
    ///
    /// # Errors
    /// When the chain cannot be asked, or the gas cap would be reached; with what would be settled
    /// before.
    pub async fn settle_preview(
        &self,
        sender: EvmAddress,
        wins: &[Win],
        seeds: &[SeedWanted],
        terms: SettleTerms,
    ) -> Result<SettlePreview, Stopped<SettlePreview>> {
        let mut done = SettlePreview::default();
        match self.preview_into(&mut done, sender, (wins, seeds), terms).await {
            Ok(()) => Ok(done),
            Err(error) => Err(Stopped { done, error }),
        }
    }

    async fn preview_into(
        &self,
        preview: &mut SettlePreview,
        sender: EvmAddress,
        (wins, seeds): (&[Win], &[SeedWanted]),
        terms: SettleTerms,
    ) -> Result<(), PayError> {
        let with = With { windows: self.check_domain().await?.windows, terms, seeds };
        let batches = self.sort_wins(wins.iter().collect(), with, &mut preview.skipped).await?;
        if batches.is_empty() {
            return Ok(());
        }
        let (chain, vault) = (&self.options.chain, self.options.domain.vault);
        let fees = chain.fees().await?;
        let price = fees.base.saturating_add(fees.priority);
        for Batch { payment, wins, proof } in batches {
            let mut parts: VecDeque<Vec<&Win>> =
                wins.chunks(MAX_SETTLES).map(<[&Win]>::to_vec).collect();
            while let Some(part) = parts.pop_front() {
                match chain.estimate_gas(&calls::settle(vault, sender, &part, proof)).await {
                    Ok(gas) => {
                        let bill = Bill { gas, cost: price.saturating_mul(gas.into()) };
                        let part = Batch { payment, wins: part, proof };
                        preview.take(&part, bill, terms)?;
                    }
                    Err(ChainError::Reverted { .. }) if part.len() > 1 => {
                        let (first, second) = part.split_at(part.len() / 2);
                        parts.push_front(second.to_vec());
                        parts.push_front(first.to_vec());
                    }
                    Err(ChainError::Reverted { reason }) => {
                        let part = Batch { payment, wins: part, proof };
                        preview.skip(&part, &SkipReason::Refused { reason });
                    }
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Ok(())
    }
}

/// What one transaction would take.
struct Bill {
    gas: u64,
    cost: Wei,
}

impl SettlePreview {
    /// Takes a transaction in, if the terms do.
    fn take(&mut self, part: &Batch<'_>, bill: Bill, terms: SettleTerms) -> Result<(), PayFailure> {
        let tips: Atto = part.wins.iter().map(|win| win.terms.tip).sum();
        let worth = terms.worth(tips).filter(|_| part.proof.is_empty());
        if worth.is_some_and(|worth| bill.cost > worth) {
            self.skip(part, &SkipReason::NotWorthIt { tips, gas_cost: bill.cost });
            return Ok(());
        }
        let cost = self.gas_cost.saturating_add(bill.cost);
        if let Some(cap) = terms.gas_cap.filter(|&cap| cost > cap) {
            return Err(PayFailure::OverGasCost { cost, cap });
        }
        self.transactions += 1;
        self.gas += bill.gas;
        self.gas_cost = cost;
        self.wins.extend(part.wins.iter().copied().cloned());
        Ok(())
    }

    fn skip(&mut self, part: &Batch<'_>, reason: &SkipReason) {
        let payment = part.payment;
        let skipped = |win: &&Win| Skipped { payment, draw: win.draw, reason: reason.clone() };
        self.skipped.extend(part.wins.iter().map(skipped));
    }
}
