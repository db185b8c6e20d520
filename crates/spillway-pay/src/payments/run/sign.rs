use alloy::{consensus::TxEip1559, primitives::TxKind};
use spillway_types::Wei;

use super::{Goal, Run};
use crate::{Call, PayFailure, SignedTx, contracts::address};

/// How much more gas than estimated a transaction may use, in percent: the state may change until
/// it is mined, and unused gas costs nothing.
const GAS_MARGIN_PERCENT: u64 = 20;

/// How much more a replacement must offer, in parts of a thousand: pools ask for 10 %, some for
/// 12.5 %.
const BUMP_PER_MILLE: u128 = 125;

/// What a transaction offers for a unit of gas.
#[derive(Clone, Copy, Debug)]
struct Offer {
    max_fee: Wei,
    priority: Wei,
}

/// Which nonce is signed for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Place<'t> {
    /// After all that are known.
    Next,
    /// This one: nothing is known to be there.
    At(u64),
    /// That of this transaction, with a higher fee.
    Of(&'t SignedTx),
}

impl Run<'_> {
    /// Signs the goal's call and writes it down.
    ///
    /// Returns `None` when it would replace something and cannot pay more within the caps.
    pub(super) async fn sign(
        &mut self,
        goal: Goal<'_>,
        place: Place<'_>,
    ) -> Result<Option<SignedTx>, PayFailure> {
        let chain = &self.options.chain;
        let call = goal.call();
        let (gas_limit, offer) = if let Place::Of(old) = place {
            (old.gas_limit, self.offer(old.gas_limit, Some(old)).await?)
        } else {
            let gas = chain.estimate_gas(&call).await?;
            let roomy = gas.saturating_add(gas / 100 * GAS_MARGIN_PERCENT);
            match self.offer(roomy, None).await {
                Ok(offer) => (roomy, offer),
                // Without the margin it may fit.
                Err(_) => (gas, self.offer(gas, None).await?),
            }
        };
        let Some(offer) = offer else { return Ok(None) };
        let nonce = match place {
            Place::Of(old) => old.nonce,
            Place::At(nonce) => nonce,
            Place::Next => chain.pending_nonce(call.from).await?.max(self.free_nonce()),
        };
        let tx = self.signed(goal, call, (nonce, gas_limit, offer));
        // Before it exists anywhere else.
        self.journal.signed(&tx).await?;
        tracing::debug!(hash = %tx.hash, nonce, purpose = ?tx.purpose, "signed");
        self.txs.push(tx.clone());
        Ok(Some(tx))
    }

    /// The fees of the moment, twice the base fee in reserve; less where caps or coins ask for it.
    async fn offer(
        &self,
        gas_limit: u64,
        replaced: Option<&SignedTx>,
    ) -> Result<Option<Offer>, PayFailure> {
        let chain = &self.options.chain;
        let fees = chain.fees().await?;
        let mut priority = fees.priority;
        let mut least = fees.base.saturating_add(priority);
        let mut wanted = fees.base.saturating_add(least);
        if let Some(old) = replaced {
            priority = priority.max(bumped(old.priority_fee));
            least = least.max(bumped(old.max_fee));
            wanted = wanted.max(least);
        }
        let gas = u128::from(gas_limit.max(1));
        let found = chain.coins(self.wallet.address()).await?;
        let mut most = Wei(found.0 / gas);
        if most < least {
            if replaced.is_some() {
                return Ok(None);
            }
            let needed = least.saturating_mul(gas);
            return Err(PayFailure::NotEnoughCoins { needed, found });
        }
        if let Some(cap) = self.caps.gas_cost {
            let spent = self.gas_spent();
            most = most.min(Wei(cap.saturating_sub(spent).0 / gas));
            if most < least {
                if replaced.is_some() {
                    return Ok(None);
                }
                let cost = spent.saturating_add(least.saturating_mul(gas));
                return Err(PayFailure::OverGasCost { cost, cap });
            }
        }
        let max_fee = wanted.min(most);
        Ok(Some(Offer { max_fee, priority: priority.min(max_fee) }))
    }

    fn signed(
        &self,
        goal: Goal<'_>,
        call: Call,
        (nonce, gas_limit, offer): (u64, u64, Offer),
    ) -> SignedTx {
        let (hash, raw) = self.wallet.sign(TxEip1559 {
            chain_id: self.options.domain.chain_id,
            nonce,
            gas_limit,
            max_fee_per_gas: offer.max_fee.0,
            max_priority_fee_per_gas: offer.priority.0,
            to: TxKind::Call(address(call.to)),
            input: call.data.into(),
            ..TxEip1559::default()
        });
        SignedTx {
            purpose: goal.purpose(),
            from: self.wallet.address(),
            nonce,
            hash,
            gas_limit,
            max_fee: offer.max_fee,
            priority_fee: offer.priority,
            raw,
        }
    }
}

/// The least that replaces this fee.
fn bumped(fee: Wei) -> Wei {
    fee.saturating_add(Wei(fee.0 / 1000 * BUMP_PER_MILLE)).saturating_add(Wei(1_000))
}
