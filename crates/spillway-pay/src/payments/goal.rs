use spillway_types::{Atto, EvmAddress, RewardAddress};

use crate::{Call, Plan, TxPurpose, calls};

/// What a transaction is to bring about.
#[derive(Clone, Copy, Debug)]
pub(super) enum Goal<'p> {
    /// The vault may take this much.
    Allowance { token: EvmAddress, owner: EvmAddress, vault: EvmAddress, amount: Atto },
    /// The vault has recorded this plan.
    Recorded(&'p Plan),
    /// The payee has what it was owed.
    Withdrawn { vault: EvmAddress, sender: EvmAddress, payee: RewardAddress },
}

impl Goal<'_> {
    pub(super) fn purpose(&self) -> TxPurpose {
        match self {
            Self::Allowance { amount, .. } => TxPurpose::Approve { amount: *amount },
            Self::Recorded(plan) => TxPurpose::Pay { payment: plan.id() },
            Self::Withdrawn { payee, .. } => TxPurpose::Withdraw { payee: *payee },
        }
    }

    /// Always the same bytes for the same goal.
    pub(super) fn call(&self) -> Call {
        match *self {
            Self::Allowance { token, owner, vault, amount } => {
                calls::approve(token, owner, vault, amount)
            }
            Self::Recorded(plan) => calls::pay(plan),
            Self::Withdrawn { vault, sender, payee } => calls::withdraw(vault, sender, payee),
        }
    }
}
