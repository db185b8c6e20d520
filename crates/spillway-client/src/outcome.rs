use std::time::Duration;

use spillway_pay::PaymentMode;
use spillway_types::{Atto, ChunkAddress, TxHash, Wei};

/// What an upload has spent, earlier runs of its session included.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spend {
    /// What the vault took.
    pub storage_cost: Atto,
    /// Gas used, an approval included.
    pub gas_used: u64,
    /// What that gas cost.
    pub gas_cost: Wei,
    /// Every transaction that was mined.
    pub tx_hashes: Vec<TxHash>,
}

/// A finished upload: every chunk has receipts of at least three of its close group.
#[derive(Clone, Debug)]
pub struct Uploaded {
    /// The session's name.
    pub upload_id: String,
    /// Plaintext bytes of the source.
    pub bytes: u64,
    /// Chunks of the upload, data maps included.
    pub chunks_total: u64,
    /// Chunks that this session stored.
    pub chunks_stored: u64,
    /// Chunks that the network had already.
    pub chunks_already_stored: u64,
    /// How was paid; `None` when there was nothing to pay.
    pub payment_mode: Option<PaymentMode>,
    /// What was spent.
    pub spend: Spend,
    /// The bytes of the `.datamap` file; `None` for a single raw chunk.
    pub data_map: Option<Vec<u8>>,
    /// Where the public data map or the raw chunk is.
    pub public_address: Option<ChunkAddress>,
    /// Files of a directory that were not uploaded because they are devices, sockets or pipes.
    pub skipped: Vec<std::path::PathBuf>,
    /// How long this run took.
    pub elapsed: Duration,
}

/// What an upload would cost.
#[derive(Clone, Debug)]
pub struct Cost {
    /// Plaintext bytes of the source.
    pub bytes: u64,
    /// Chunks of the upload, data maps included.
    pub chunks_total: u64,
    /// The offer.
    pub offer: crate::Offer,
}

/// A finished download.
#[derive(Clone, Debug)]
pub struct Downloaded {
    /// Plaintext bytes written.
    pub bytes: u64,
    /// Chunks fetched, data maps included.
    pub chunks: u64,
    /// Files written: one, or those of a directory.
    pub files: u64,
    /// How long it took.
    pub elapsed: Duration,
}

/// One session on disk.
#[derive(Clone, Debug, Default)]
pub struct SessionStatus {
    /// Its name.
    pub id: String,
    /// When it was started.
    pub created: spillway_types::UnixTime,
    /// What is uploaded, as its user named it.
    pub source: String,
    /// Plaintext bytes of the source.
    pub bytes: u64,
    /// Chunks in all.
    pub chunks_total: u64,
    /// Chunks that are paid for by this session.
    pub chunks_paid: u64,
    /// Chunks with a quorum of receipts.
    pub chunks_stored: u64,
    /// What was spent so far.
    pub spend: Spend,
    /// When the first paid, unstored chunk can no longer be stored.
    pub upload_by: Option<spillway_types::UnixTime>,
    /// Whether everything is stored.
    pub finished: bool,
    /// Whether a process works on it now.
    pub running: bool,
    /// Why its files cannot be read, if so; everything else is empty then.
    pub damage: Option<String>,
}
