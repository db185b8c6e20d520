//! Direct or batch: what costs the payer least, and why.

use std::fmt;

use serde::{Deserialize, Serialize};
use spillway_types::{Atto, TokenRate, Wei};

use crate::{BatchRefused, GasEstimate, PaymentMode, PlanError, decimal::show};

/// How the user wants to pay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum ModeChoice {
    /// Whatever costs the payer least.
    #[default]
    Auto,
    /// Each chunk by itself.
    Direct,
    /// Many chunks at once.
    Batch,
}

/// What paying in one mode would cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Candidate {
    /// What nodes are paid.
    pub storage_cost: Atto,
    /// What whoever settles is paid; nothing in direct mode.
    pub tips: Atto,
    /// What the transactions take.
    pub gas: GasEstimate,
}

impl Candidate {
    /// What these plans cost, with what [`Payments::estimate`](crate::Payments::estimate) says of
    /// them.
    pub fn of(plans: &[crate::Plan], gas: GasEstimate) -> Self {
        let storage_cost: Atto = plans.iter().map(crate::Plan::storage_cost).sum();
        let total: Atto = plans.iter().map(crate::Plan::total).sum();
        Self { storage_cost, tips: total.saturating_sub(storage_cost), gas }
    }

    /// All of it in coins.
    fn coins(&self, rate: TokenRate) -> Wei {
        rate.coins(self.storage_cost.saturating_add(self.tips)).saturating_add(self.gas.cost)
    }
}

/// What is chosen from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChooseInput {
    /// What the user asked for.
    pub choice: ModeChoice,
    /// Paying directly.
    pub direct: Candidate,
    /// Paying with batches, or why that cannot be.
    pub batch: Result<Candidate, BatchRefused>,
    /// What a token is worth; without it only gas is compared.
    pub rate: Option<TokenRate>,
}

/// How to pay, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Choice {
    /// [`PaymentMode::Direct`] or [`PaymentMode::Batch`].
    pub mode: PaymentMode,
    /// Why.
    pub reason: ModeReason,
}

/// Why a mode was chosen; its text says it with the figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum ModeReason {
    /// The user asked for it.
    Asked {
        /// What is used.
        mode: PaymentMode,
    },
    /// It costs the payer less, tips and gas included, or as much and pays the nodes at once.
    Cheaper {
        /// What is used.
        mode: PaymentMode,
        /// How much less it costs than the other.
        saved: Wei,
    },
    /// Without a price of the token only gas was compared.
    CheaperGas {
        /// What is used.
        mode: PaymentMode,
        /// How much less its gas costs than the other's.
        saved: Wei,
        /// What the tips of a batch are, which were not counted.
        tips: Atto,
    },
    /// A batch cannot be.
    NoBatch(
        /// Why.
        BatchRefused,
    ),
}

impl ModeReason {
    /// What is used.
    pub fn mode(&self) -> PaymentMode {
        match self {
            Self::Asked { mode } | Self::Cheaper { mode, .. } | Self::CheaperGas { mode, .. } => {
                *mode
            }
            Self::NoBatch(_) => PaymentMode::Direct,
        }
    }
}

/// Chooses how to pay. When both cost the same it is direct: nodes are paid at once then, and
/// nothing can be left over.
///
/// # Errors
/// [`PlanError::NoBatch`] when a batch was asked for and cannot be. Nothing was paid.
pub fn choose(input: ChooseInput) -> Result<Choice, PlanError> {
    let reason = match (input.choice, input.batch) {
        (ModeChoice::Direct, _) => ModeReason::Asked { mode: PaymentMode::Direct },
        (ModeChoice::Batch, Ok(_)) => ModeReason::Asked { mode: PaymentMode::Batch },
        (ModeChoice::Batch, Err(refused)) => return Err(refused.into()),
        (ModeChoice::Auto, Err(refused)) => ModeReason::NoBatch(refused),
        (ModeChoice::Auto, Ok(batch)) => compare(input.direct, batch, input.rate),
    };
    Ok(Choice { mode: reason.mode(), reason })
}

fn compare(direct: Candidate, batch: Candidate, rate: Option<TokenRate>) -> ModeReason {
    let costs = |candidate: Candidate| match rate {
        Some(rate) => candidate.coins(rate),
        None => candidate.gas.cost,
    };
    let (direct, tips, batch) = (costs(direct), batch.tips, costs(batch));
    let (mode, saved) = if batch < direct {
        (PaymentMode::Batch, direct.saturating_sub(batch))
    } else {
        (PaymentMode::Direct, batch.saturating_sub(direct))
    };
    match rate {
        Some(_) => ModeReason::Cheaper { mode, saved },
        None => ModeReason::CheaperGas { mode, saved, tips },
    }
}

fn name(mode: PaymentMode) -> &'static str {
    match mode {
        PaymentMode::Direct => "direct",
        PaymentMode::Batch => "batch",
        PaymentMode::Mixed => "mixed",
    }
}

impl fmt::Display for ModeReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mode = self.mode();
        let other = match mode {
            PaymentMode::Batch => PaymentMode::Direct,
            _ => PaymentMode::Batch,
        };
        let (name, other) = (name(mode), name(other));
        match self {
            Self::Asked { .. } => write!(f, "{name}: as asked for"),
            Self::Cheaper { saved: Wei::ZERO, .. } => {
                write!(f, "{name}: costs no more than {other}")
            }
            Self::Cheaper { saved, .. } => {
                write!(f, "{name}: {} coins less than {other}", show(saved.0))
            }
            Self::CheaperGas { saved, tips, .. } => write!(
                f,
                "{name}: without a token price only gas is compared, {} coins less than {other}; \
                 a batch's tips are {} tokens",
                show(saved.0),
                show(tips.0)
            ),
            Self::NoBatch(refused) => write!(f, "{name}: {refused}"),
        }
    }
}

#[cfg(test)]
mod tests;
