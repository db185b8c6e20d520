//! Payments: what is paid, to whom, provably once.
//!
//! Owns the vault and token bindings, the planner, signing, journalled sending and the strict
//! verifier; the [`Chain`] seam and its twin in memory; a local chain for test networks. The only
//! crate that names alloy.
//!
//! The way of a payment: [`plan_direct`] and [`plan_batches`] make immutable [`Plan`]s, [`choose`]
//! says which → [`Payments::pay`] checks everything that can be wrong → signs → writes the bytes
//! into the [`TxJournal`] → sends them → looks at the vault's record until it is there. There are
//! no tasks; a local chain has one thread that reads its output.
//!
//! Invariants: a plan has one id, and the vault takes an id once, so signing the same plan again is
//! always safe and planning its chunks again is not, until [`PlanStatus::Dropped`]. No transaction
//! is sent that is not in the journal. What an RPC says to a transaction decides nothing; the
//! record does. One transaction of a wallet is on its way at a time, under a file lock. Keys and
//! the credentials in URLs are in no text.
//!
//! A crash anywhere leaves the journal and the chain: calling `pay` again with the same plans and
//! what the journal holds goes on. Deliberately absent: the journal's place on disk (the caller's),
//! caches of nonces or balances, and protection from an RPC that lies.

pub mod anvil;
mod artifacts;
pub mod authorize;
mod batch_planner;
mod calls;
mod chain;
mod choose;
mod contracts;
mod decimal;
pub mod deploy;
mod drand;
mod error;
mod events;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod gate;
mod intrinsic;
mod journal;
mod keeper;
mod memory_chain;
mod pay_error;
mod payments;
mod plan;
mod planner;
mod revert;
mod rpc_chain;
mod rpc_error;
mod rpc_transport;
mod signed_tx;
mod spend;
mod sum_tree;
pub mod verify;
mod wallet;

pub use anvil::{Anvil, AnvilError, AnvilOptions, FindOptions};
pub use batch_planner::{BatchInput, BatchRefused, PRIZE_PER_TIP, plan_batches};
pub use chain::{At, BeaconState, Block, Call, Chain, Fees, RecordAt, TxReceipt, Windows};
pub use choose::{Candidate, Choice, ChooseInput, ModeChoice, ModeReason, choose};
pub use deploy::{DeployOptions, Deployed, Deployer, DrandOptions};
pub use drand::{DrandSignature, NotASignature};
pub use error::ChainError;
pub use events::VaultEvent;
pub use gate::{Gate, Gauge, Permit};
pub use journal::{JournalError, TxJournal};
pub use keeper::{Keeper, KeeperOptions};
pub use memory_chain::{ChainFault, ChainOp, FaultHook, MemoryChain, MemoryChainOptions, Mining};
pub use pay_error::{PayError, PayFailure, Stopped};
pub use payments::{
    BatchState, Caps, ClaimState, CommitChoice, OpenClaim, PayRequest, PayTiming, Payments,
    PaymentsOptions, RefundRefused, Refunded, SeedNeeded, SeedPosted, SeedWanted, SettlePreview,
    SettleTerms, Settled, SkipReason, Skipped, VaultTerms, Withdrawn,
};
pub use plan::{PaymentMode, Plan, PlanMode, PlanProofs};
pub use planner::{ASSUMED_UPLOAD_RATE, PlanError, PlanInput, plan_direct};
pub use rpc_chain::{MAX_RPC_CALLS, RpcChain, RpcOptions, rpc_calls};
pub use signed_tx::{SignedTx, TxMismatch, TxPurpose};
pub use spend::{GasEstimate, Paid, PaidPlan, PlanStatus, Spend};
pub use sum_tree::{NotANode, SumNode, SumTree, TreeError};
pub use verify::{LeafSpan, ProofError};
pub use wallet::{Wallet, WalletError};
