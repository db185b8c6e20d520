use std::fmt;

use alloy::{
    consensus::{Transaction, TxEnvelope, transaction::SignerRecoverable},
    eips::eip2718::Decodable2718,
    primitives::{TxKind, U256},
    sol_types::SolCall,
};
use serde::{Deserialize, Serialize};
use spillway_types::{
    Atto, Domain, EvmAddress, PaymentId, Retry, RewardAddress, TxHash, UnixTime, Wei,
};

use crate::{
    Plan, calls,
    contracts::{IToken, IVault, address, batch_terms},
};

/// What a transaction is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum TxPurpose {
    /// Lets the vault take this much of the wallet's tokens.
    Approve {
        /// The whole allowance afterwards.
        amount: Atto,
    },
    /// Pays one plan.
    Pay {
        /// Which.
        payment: PaymentId,
    },
    /// Sends a payee what the vault owes it.
    Withdraw {
        /// Whom.
        payee: RewardAddress,
    },
    /// Pays several plans at once.
    PayMany {
        /// Which, in the order of the call; at most
        /// [`MAX_COMMITS`](spillway_types::limits::MAX_COMMITS).
        payments: Vec<PaymentId>,
    },
    /// Settles draws of a batch.
    Settle {
        /// Which batch.
        payment: PaymentId,
    },
    /// Takes back what nobody claimed of a batch.
    Refund {
        /// Which batch.
        payment: PaymentId,
    },
    /// Makes the beacon's seed after this time known.
    PostSeed {
        /// The time.
        after: UnixTime,
    },
}

impl TxPurpose {
    /// Whether it pays this plan, alone or with others.
    pub fn pays(&self, plan: PaymentId) -> bool {
        match self {
            Self::Pay { payment } => *payment == plan,
            Self::PayMany { payments } => payments.contains(&plan),
            _ => false,
        }
    }
}

/// Why a signed transaction is not what is written beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TxMismatch {
    /// The bytes are no transaction, or something follows it.
    #[error("its bytes are no transaction")]
    NotOne,
    /// Hash, nonce, gas limit or fees are others in the bytes.
    #[error("its bytes say another hash, nonce or fee")]
    Fields,
    /// Signed by another key, or for another chain.
    #[error("another key signed it, or for another chain")]
    Signer,
    /// It calls something else than what it is for.
    #[error("it calls something else than what it is for")]
    Call,
}

impl TxMismatch {
    /// The same bytes stay the same.
    pub fn retry(&self) -> Retry {
        Retry::Never
    }
}

/// A signed transaction: written down before it is sent, and sent again byte for byte.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedTx {
    /// What it is for.
    pub purpose: TxPurpose,
    /// Who signed it.
    pub from: EvmAddress,
    /// Its place among the wallet's transactions.
    pub nonce: u64,
    /// Its hash, by which the chain knows it.
    pub hash: TxHash,
    /// The most gas that it may use.
    pub gas_limit: u64,
    /// The most that it pays for a unit of gas.
    pub max_fee: Wei,
    /// Of which the tip.
    pub priority_fee: Wei,
    /// The bytes that are sent.
    pub raw: Vec<u8>,
}

impl SignedTx {
    /// The call's data, as the chain charges for it. Empty when the bytes are no transaction.
    pub fn calldata(&self) -> Vec<u8> {
        let decoded = TxEnvelope::decode_2718(&mut self.raw.as_slice());
        decoded.map(|tx| tx.input().to_vec()).unwrap_or_default()
    }

    /// Checks that the bytes are what is written beside them: signed by `from` for the chain of
    /// `domain`, and an approval of its vault or the payment of exactly the plans that it names.
    /// `plan` finds those that are known; a batch that is not is compared by its terms. One
    /// signature is recovered, about 0.1 ms.
    ///
    /// # Errors
    /// The first thing that is wrong; a purpose that is no approval or payment is [`TxMismatch::Call`].
    pub fn check<'p>(
        &self,
        domain: &Domain,
        plan: impl Fn(PaymentId) -> Option<&'p Plan>,
    ) -> Result<(), TxMismatch> {
        let tx = TxEnvelope::decode_2718_exact(&self.raw).map_err(|_| TxMismatch::NotOne)?;
        let written = (self.hash.0, self.nonce, self.gas_limit, self.max_fee.0);
        let found = (tx.tx_hash().0, tx.nonce(), tx.gas_limit(), tx.max_fee_per_gas());
        let tip = tx.max_priority_fee_per_gas().unwrap_or(0);
        // No chain takes the last nonce (EIP-2681), and there is none after it.
        if written != found || tip != self.priority_fee.0 || self.nonce == u64::MAX {
            return Err(TxMismatch::Fields);
        }
        let signer = tx.recover_signer().map_err(|_| TxMismatch::Signer)?;
        if signer != address(self.from) || tx.chain_id() != Some(domain.chain_id) {
            return Err(TxMismatch::Signer);
        }
        let to = match tx.kind() {
            TxKind::Call(to) => EvmAddress(to.into_array()),
            TxKind::Create => return Err(TxMismatch::Call),
        };
        if tx.value() == U256::ZERO && self.calls_for(domain, (to, tx.input()), plan) {
            Ok(())
        } else {
            Err(TxMismatch::Call)
        }
    }

    /// Whether this call is what the transaction is for.
    fn calls_for<'p>(
        &self,
        domain: &Domain,
        (to, data): (EvmAddress, &[u8]),
        plan: impl Fn(PaymentId) -> Option<&'p Plan>,
    ) -> bool {
        match &self.purpose {
            // Which token the vault takes is the chain's to say; who signed is the owner of either.
            TxPurpose::Approve { amount } => {
                IToken::approveCall::abi_decode(data).is_ok_and(|call| {
                    call.spender == address(domain.vault) && call.value == U256::from(amount.0)
                })
            }
            TxPurpose::Pay { payment } => plan(*payment).is_some_and(|plan| {
                let call = calls::pay(plan);
                (call.from, call.to, call.data.as_slice()) == (self.from, to, data)
                    && plan.domain == *domain
            }),
            TxPurpose::PayMany { payments } => {
                to == domain.vault
                    && IVault::commitManyCall::abi_decode(data).is_ok_and(|call| {
                        let terms = call.batches.iter().map(batch_terms);
                        terms.map(|terms| terms.id(domain)).eq(payments.iter().copied())
                    })
            }
            _ => false,
        }
    }

    /// The most that it can cost in gas.
    pub fn max_cost(&self) -> Wei {
        self.max_fee.saturating_mul(self.gas_limit.into())
    }
}

impl fmt::Debug for SignedTx {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignedTx")
            .field("purpose", &self.purpose)
            .field("from", &self.from)
            .field("nonce", &self.nonce)
            .field("hash", &self.hash)
            .field("gas_limit", &self.gas_limit)
            .field("max_fee", &self.max_fee)
            .field("priority_fee", &self.priority_fee)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
