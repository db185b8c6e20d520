//! Gas of every way to pay, on an Anvil of its own, beside the figures of the published network.
//!
//! Everything is paid and settled by `spillway-pay` as it is in the field: plans by its planner, one
//! exact approval, then the vault's calls; seeds, wins found from tree and seed, settlements. Only
//! time is made up: the chain jumps over windows. What a call uses hardly depends on the run: a few
//! hundred units more or less, because zero bytes of hashes are cheaper.
//!
//! Like is compared with like: payees are drawn from 1,000 that have been paid before, which is
//! `steady` of the published figures, and approvals are rows of their own. A draw is settled on the
//! terms of somebody who wants his gas back, with the tip that nodes ask for: what does not pay fails.
//! Deliberately absent: the price of gas.
//!
//! `benches/data/gas.json` holds one run (`cargo xtask bench gas --write`). The tables of README and
//! docs are compared with it, and it with what is measured now.

mod measure;
mod peer;
mod report;
mod stage;

use std::path::PathBuf;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use self::{measure::Measure, stage::Stage};

pub use self::report::table;

/// How many chunks are paid for.
pub const GAS_SIZES: [usize; 9] = [1, 3, 16, 54, 129, 256, 516, 1_024, 4_096];

/// One way to pay, or one call of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GasRow {
    /// How many chunks, five payees each; `None` for calls that do not depend on it.
    pub chunks: Option<usize>,
    /// `direct`, `batch` (the payer's vault call), `batch-settled` (with all its settles), or the name
    /// of a call.
    pub mode: String,
    /// What the payer's transactions used, approvals left out; nothing for calls that anybody sends.
    pub gas_payer: u64,
    /// What all of them used, settles too.
    pub gas_total: u64,
    /// How many there were.
    pub transactions: usize,
    /// The data of all calls.
    pub calldata_bytes: usize,
    /// What the published network's single mode uses, steady payees.
    pub peer_single_gas: Option<u64>,
    /// What its Merkle mode uses, steady payees, split as the published client does.
    pub peer_merkle_gas: Option<u64>,
}

/// Starts the chain of this program and measures these sizes and every call of its own.
///
/// # Errors
/// When the chain cannot be started or anything on it fails.
pub async fn measure_gas(anvil: PathBuf, sizes: &[usize]) -> Result<Vec<GasRow>> {
    let stage = Stage::start(anvil).await?;
    let rows = Measure::new(&stage).all(sizes).await;
    stage.shutdown().await?;
    rows
}

#[cfg(test)]
mod tests;
