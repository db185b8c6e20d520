//! Payments: what is paid, to whom, provably once.
//!
//! Owns the vault and token bindings, the planner, signing, journalled sending and the strict
//! verifier; the [`Chain`] seam and its twin in memory. The only crate that names alloy.

mod chain;
mod error;
mod plan;

pub use chain::{At, Block, Call, Chain, Fees, RecordAt, TxReceipt};
pub use error::ChainError;
pub use plan::{PaymentMode, Plan};
