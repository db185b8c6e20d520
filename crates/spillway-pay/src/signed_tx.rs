use std::fmt;

use alloy::{
    consensus::{Transaction, TxEnvelope},
    eips::eip2718::Decodable2718,
};
use serde::{Deserialize, Serialize};
use spillway_types::{Atto, EvmAddress, PaymentId, RewardAddress, TxHash, UnixTime, Wei};

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
