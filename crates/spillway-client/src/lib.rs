//! The client: uploads and downloads, and what they keep on disk.
//!
//! Owns the sessions, the spill, the upload engine and the download. A [`Client`] has no tasks of
//! its own: each call drives its work and ends with it; blocking calls go through
//! [`spillway_disk::run`].
//!
//! Invariants: nothing is paid that is not planned durably, nothing is sent that is not signed
//! durably, no chunk leaves the spill before a quorum of signed receipts for it is durable. A crash
//! leaves a session (`sessions/`) and its spill (`spill/`); the same upload goes on with both and
//! pays for nothing that is paid.
//!
//! Deliberately absent: sockets (`spillway-net`), the chain (`spillway-pay`), prompts and printing.

mod account;
mod client;
mod connect;
mod download;
mod error;
mod forget;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod hand_over;
mod limits;
mod options;
mod outcome;
mod progress;
mod reap;
mod refunds;
mod session;
mod session_error;
mod settling;
mod source;
mod spill;
#[cfg(test)]
mod testing;
mod tree;
mod upload;
mod verify;
mod workers;

pub use account::{ChainOptions, connect_chain, withdraw};
pub use client::{Client, ClientParts, session_data_map, sessions};
pub use connect::{ConnectError, ConnectOptions, Connected, DEFAULT_NETWORK};
pub use error::{
    AccountError, ChunkFailure, DownloadError, PutFailure, QuoteFailure, SourceError, UploadError,
};
pub use forget::{ForgetOptions, Forgotten, forget};
pub use hand_over::{
    ExportOptions, Exported, ImportOptions, Imported, export_session, import_session,
};
pub use options::{
    Approve, BatchOptions, DownloadOptions, Offer, Remote, Source, StreamSource, Target,
    UploadOptions, VerifyUpload,
};
pub use outcome::{BatchStatus, Cost, Downloaded, SessionStatus, Spend, Uploaded};
pub use progress::{Progress, ProgressSender, Stage};
pub use reap::Reaped;
pub use refunds::{
    RefundReport, RefundStopped, Refundable, RefundedBatch, RefusedRefund, UnreadableSession,
    refund, refundable,
};
pub use session::SessionStage;
pub use session_error::{ForgetError, SessionError, Stakes};
pub use settling::{
    SettleOptions, SettleReport, SettleStopped, WinsFailure, missing_seeds, newest_seed, settle,
    settle_known,
};
pub use tree::TreeError;
pub use verify::{
    BadCopy, NotRepaired, ReadData, RepairFailure, Verified, VerifyError, VerifyOptions,
};
pub use workers::{Gauge, Gauges, WorkerLimits, Workers};

// What an embedder needs to fill the options, so that this crate is the only one to name.
pub use spillway_disk::{
    Clock, Disk, DiskError, DiskExt, EntryKind, FileLock, Mode, Overwrite, RealDisk, SystemClock,
};
pub use spillway_net::{Address, NetError, ParseAddressError, Peers, PeersError, Traffic};
pub use spillway_pay::{
    BatchRefused, ChainError, CommitChoice, DrandSignature, ModeChoice, ModeReason, NotASignature,
    PayError, PayFailure, PaymentMode, Payments, SeedNeeded, SeedWanted, SettleTerms, Settled,
    SignedTx, SkipReason, Skipped, TxJournal, Wallet, WalletError, Withdrawn,
};
pub use spillway_seal::MapError;
pub use spillway_types as types;
