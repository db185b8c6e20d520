use serde::{Deserialize, Serialize};
use spillway_types::{Atto, PaymentId, TxHash, UnixTime, Wei};

/// What plans have cost so far: everything that their known transactions did, in this run and
/// before.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spend {
    /// What the vault took for the plans that are recorded.
    pub paid: Atto,
    /// Those plans, in the order of their ids: of a call of [`crate::Payments::pay`] at most as many
    /// as it was asked to pay.
    pub payments: Vec<PaymentId>,
    /// Gas of every mined transaction, approvals and failed ones included.
    pub gas_used: u64,
    /// What that gas cost.
    pub gas_cost: Wei,
    /// The mined transactions, in the order of their nonces.
    pub tx_hashes: Vec<TxHash>,
}

/// A plan that the vault has recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaidPlan {
    /// Its id.
    pub payment: PaymentId,
    /// The time of the block that took it.
    pub recorded: UnixTime,
    /// What the vault took for it.
    pub total: Atto,
    /// The transaction that paid it; `None` when it was none of those that we know.
    pub tx: Option<TxHash>,
}

/// What [`crate::Payments::pay`] has done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Paid {
    /// Every plan that was asked for, in the order of the request.
    pub plans: Vec<PaidPlan>,
    /// What they cost in all.
    pub spend: Spend,
}

/// What became of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlanStatus {
    /// The vault has recorded it.
    Paid {
        /// When.
        recorded: UnixTime,
    },
    /// Not recorded, and it may still be: its chunks must not be planned again.
    Open,
    /// A finalized block is later than its `valid_until` and has no record of it: it can never be
    /// charged, and its chunks may be planned again.
    Dropped,
}

/// What transactions will cost, at the fees of the moment. An upper estimate: every payee that is
/// not known to have credit is taken for a new one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GasEstimate {
    /// Gas of all transactions, the approval included.
    pub gas: u64,
    /// Of which the approval; 0 when the allowance suffices.
    pub approval_gas: u64,
    /// What that gas costs now.
    pub cost: Wei,
    /// How many transactions it is.
    pub transactions: u32,
}
