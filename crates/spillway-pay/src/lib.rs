//! Payments: what is paid, to whom, provably once.
//!
//! Owns the vault and token bindings, the planner, signing, journalled sending and the strict
//! verifier; the [`Chain`] seam and its twin in memory. The only crate that names alloy.

pub mod anvil;
mod artifacts;
mod calls;
mod chain;
mod contracts;
pub mod deploy;
mod error;
mod intrinsic;
mod journal;
mod memory_chain;
mod pay_error;
mod payments;
mod plan;
mod planner;
mod revert;
mod rpc_chain;
mod rpc_error;
mod signed_tx;
mod spend;
pub mod verify;
mod wallet;

pub use anvil::{Anvil, AnvilError, AnvilOptions, FindOptions};
pub use chain::{At, Block, Call, Chain, Fees, RecordAt, TxReceipt, Windows};
pub use deploy::{DeployOptions, Deployed, Deployer};
pub use error::ChainError;
pub use journal::{JournalError, TxJournal};
pub use memory_chain::{ChainFault, ChainOp, FaultHook, MemoryChain, MemoryChainOptions, Mining};
pub use pay_error::{PayError, PayFailure};
pub use payments::{Caps, PayRequest, PayTiming, Payments, PaymentsOptions, VaultTerms, Withdrawn};
pub use plan::{PaymentMode, Plan};
pub use planner::{ASSUMED_UPLOAD_RATE, PlanError, PlanInput, plan_direct};
pub use rpc_chain::{RpcChain, RpcOptions};
pub use signed_tx::{SignedTx, TxPurpose};
pub use spend::{GasEstimate, Paid, PaidPlan, PlanStatus, Spend};
pub use verify::ProofError;
pub use wallet::{Wallet, WalletError};
