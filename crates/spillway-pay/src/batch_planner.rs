//! Plans of batch payments: how leaves are split, how many are drawn, and when a batch makes no
//! sense.

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};
use spillway_types::{
    Atto, BatchTerms, ChunkAddress, Leaf, Retry, UnixTime,
    limits::{LEAVES_PER_DRAW, MAX_BATCH_LEAVES, MAX_DRAWS},
};

use crate::{
    BeaconState, Plan, PlanError, PlanInput, PlanMode, ProofError, SumTree, planner::check_leaves,
    planner::terms, verify,
};

/// How many tips a prize must be worth. A prize is to be worth at least 10 times the 54,000 gas that
/// its draw adds to a settlement: 540,000. A tip is worth 153,032 gas ([`TIP_GAS`]), so four of them
/// are the least whole number that is over it, 612,128, whatever gas and tokens cost. Below that the
/// nodes earn little more than settling costs, and nobody may care to settle.
///
/// [`TIP_GAS`]: spillway_types::limits::TIP_GAS
pub const PRIZE_PER_TIP: u128 = 4;

/// What batches need beside what all plans need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchInput {
    /// Leaves of one batch at most, 1 to [`MAX_BATCH_LEAVES`]; usually
    /// [`DEFAULT_BATCH_LEAVES`](spillway_types::limits::DEFAULT_BATCH_LEAVES).
    pub max_leaves: usize,
    /// What whoever settles gets a draw: the largest of all quotes.
    pub min_tip: Atto,
    /// The most that a draw may pay: the least of all quotes. Nothing: no batches.
    pub max_prize: Atto,
    /// How far the vault's beacon is.
    pub beacon: BeaconState,
}

/// Why leaves are not paid for with batches. They may be paid for directly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum BatchRefused {
    /// Even one draw, or as many as the largest prize asks for, would pay too little beside what
    /// settling it costs.
    #[error(
        "a batch is too small to be worth settling: a prize of {} tokens, at least {}",
        crate::decimal::show(prize.0),
        crate::decimal::show(least.0)
    )]
    PrizeTooSmall {
        /// What a draw would pay.
        prize: Atto,
        /// What it must pay: [`PRIZE_PER_TIP`] tips.
        least: Atto,
    },
    /// Even the most draws of a batch would pay more each than the nodes take.
    #[error(
        "a draw would pay too much: a prize of {} tokens, at most {}",
        crate::decimal::show(prize.0),
        crate::decimal::show(most.0)
    )]
    PrizeTooLarge {
        /// What a draw would pay.
        prize: Atto,
        /// What the nodes take.
        most: Atto,
    },
    /// The beacon that draws the winners has not been heard for too long: nodes take no batches.
    #[error("the beacon is behind, its newest seed is of {latest}")]
    BeaconBehind {
        /// The time of its newest seed.
        latest: UnixTime,
    },
    /// A leaf that costs nothing can never be drawn.
    #[error("chunk {address} costs nothing and can never be drawn")]
    ZeroLeaf {
        /// Which chunk.
        address: ChunkAddress,
    },
    /// A tip that the vault cannot hold.
    #[error("a tip of {} tokens is over 96 bits", crate::decimal::show(tip.0))]
    TipTooLarge {
        /// What the nodes ask for.
        tip: Atto,
    },
    /// At least one of the nodes takes no batches: its operator wants none, or its beacon is behind or
    /// not heard of.
    #[error("some of the nodes take no batches now")]
    NotTaken,
}

impl BatchRefused {
    /// Whether a batch may be taken later.
    pub fn retry(&self) -> Retry {
        match self {
            Self::BeaconBehind { .. } | Self::NotTaken => Retry::Backoff,
            _ => Retry::Never,
        }
    }
}

/// Plans batch payments: as few as `max_leaves` allows, of even sizes, in the order of the input,
/// all with the same times. The window is that of the whole upload, not of one batch.
///
/// Draws: one for each [`LEAVES_PER_DRAW`] leaves or part of it, at most [`MAX_DRAWS`]; more where
/// a prize would be over `max_prize`, fewer where it would be less than [`PRIZE_PER_TIP`] tips. A
/// batch whose sum would not fit 96 bits is halved until it does.
///
/// # Errors
/// [`PlanError::NoBatch`] when direct payments may do what batches cannot; otherwise as
/// [`plan_direct`](crate::plan_direct). Nothing is planned at all then.
pub fn plan_batches(input: PlanInput, batch: BatchInput) -> Result<Vec<Plan>, PlanError> {
    check_leaves(&input.leaves)?;
    if batch.max_leaves == 0 || batch.max_leaves > MAX_BATCH_LEAVES {
        return Err(PlanError::BatchSize { found: batch.max_leaves });
    }
    let (upload_by, valid_until) = terms(&input)?;
    check_batch(&input, batch)?;
    let mut parts = Vec::new();
    let count = input.leaves.len().div_ceil(batch.max_leaves);
    for part in even_parts(&input.leaves, count) {
        split_to_fit(part, &mut parts)?;
    }
    let mut plans = Vec::with_capacity(parts.len());
    for leaves in parts {
        let total: Atto = leaves.iter().map(Leaf::total).sum();
        let draws = draws(leaves.len(), total, batch)?;
        let root = SumTree::new(leaves).map_err(ProofError::from)?.root().hash;
        let plan = Plan {
            domain: input.domain,
            mode: PlanMode::Batch { root, tip: batch.min_tip, draws },
            payer: input.payer,
            leaves: leaves.to_vec(),
            upload_by,
            valid_until,
        };
        // The root was computed here.
        if let Some(terms) = plan.batch_terms() {
            verify::batch_is_sound(&terms)?;
        }
        plans.push(plan);
    }
    Ok(plans)
}

/// What keeps all batches from being made.
fn check_batch(input: &PlanInput, batch: BatchInput) -> Result<(), PlanError> {
    if batch.beacon.is_behind(input.now) {
        return Err(BatchRefused::BeaconBehind { latest: batch.beacon.latest }.into());
    }
    if batch.max_prize == Atto::ZERO {
        return Err(BatchRefused::NotTaken.into());
    }
    if batch.min_tip > Atto::MAX_SHARE {
        return Err(BatchRefused::TipTooLarge { tip: batch.min_tip }.into());
    }
    let shares = input.leaves.iter().flat_map(|leaf| &leaf.shares).enumerate();
    for (index, share) in shares {
        if share.amount > Atto::MAX_SHARE {
            return Err(ProofError::AmountTooLarge { index }.into());
        }
    }
    match input.leaves.iter().find(|leaf| leaf.total() == Atto::ZERO) {
        Some(leaf) => Err(BatchRefused::ZeroLeaf { address: leaf.address }.into()),
        None => Ok(()),
    }
}

/// So many parts whose sizes differ by one leaf at most. `count` is 1 to the number of leaves.
fn even_parts(leaves: &[Leaf], count: usize) -> impl Iterator<Item = &[Leaf]> {
    let (size, larger) = (leaves.len() / count, leaves.len() % count);
    let mut rest = leaves;
    (0..count).map(move |part| {
        let (head, tail) = rest.split_at(size + usize::from(part < larger));
        rest = tail;
        head
    })
}

/// Halves what does not fit 96 bits: 17 times at most, for 65,536 leaves.
fn split_to_fit<'l>(leaves: &'l [Leaf], parts: &mut Vec<&'l [Leaf]>) -> Result<(), PlanError> {
    let total: Atto = leaves.iter().map(Leaf::total).sum();
    if total <= Atto::MAX_SHARE {
        parts.push(leaves);
        return Ok(());
    }
    if leaves.len() == 1 {
        return Err(ProofError::TotalTooLarge.into());
    }
    for half in even_parts(leaves, 2) {
        split_to_fit(half, parts)?;
    }
    Ok(())
}

/// How many draws a batch has.
fn draws(leaves: usize, total: Atto, batch: BatchInput) -> Result<u8, BatchRefused> {
    let least = batch.min_tip.saturating_mul(PRIZE_PER_TIP);
    // What the vault takes: not more draws than units.
    let most = total.0.min(MAX_DRAWS as u128);
    let worthwhile = total.0.checked_div(least.0).map_or(most, |draws| draws.min(most));
    if worthwhile == 0 {
        return Err(BatchRefused::PrizeTooSmall { prize: total, least });
    }
    let wanted = (leaves.div_ceil(LEAVES_PER_DRAW) as u128).clamp(1, worthwhile);
    if let Some(draws) = first_within(total, wanted..=worthwhile, batch.max_prize) {
        return Ok(draws);
    }
    // More draws would do for the nodes' limit, but each would pay too little.
    if let Some(draws) = first_within(total, worthwhile..=most, batch.max_prize) {
        return Err(BatchRefused::PrizeTooSmall { prize: smallest_prize(total, draws), least });
    }
    let prize = largest_prize(total, u8::try_from(most).unwrap_or(u8::MAX));
    Err(BatchRefused::PrizeTooLarge { prize, most: batch.max_prize })
}

/// The fewest draws of these with which no prize is over the limit.
fn first_within(total: Atto, draws: RangeInclusive<u128>, max_prize: Atto) -> Option<u8> {
    draws
        .filter_map(|draws| u8::try_from(draws).ok())
        .find(|&draws| largest_prize(total, draws) <= max_prize)
}

/// What the first draw pays: it takes the rest of the division too.
fn largest_prize(total: Atto, draws: u8) -> Atto {
    prize(total, draws, 0)
}

/// What every draw pays at least.
fn smallest_prize(total: Atto, draws: u8) -> Atto {
    prize(total, draws, draws.saturating_sub(1))
}

fn prize(total: Atto, draws: u8, draw: u8) -> Atto {
    let terms = BatchTerms {
        payer: spillway_types::EvmAddress([0; 20]),
        root: spillway_types::NodeHash([0; 32]),
        total,
        tip: Atto::ZERO,
        upload_by: UnixTime(0),
        draws,
    };
    terms.prize(draw)
}

#[cfg(test)]
mod tests;
