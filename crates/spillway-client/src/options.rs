use std::{path::PathBuf, sync::Arc};

use async_trait::async_trait;
use spillway_disk::{Disk, Overwrite};
use spillway_pay::{CommitChoice, ModeChoice, ModeReason, PaymentMode};
use spillway_seal::DataMap;
use spillway_types::{Atto, ChunkAddress, TokenRate, Wei, limits};
use zeroize::Zeroizing;

use crate::{DownloadError, ProgressSender};

/// What is uploaded.
#[derive(Debug)]
pub enum Source {
    /// A file or directory below a disk's root. Nothing outside of the root is read, and no link
    /// is followed.
    Path {
        /// The directory that it is in.
        disk: Arc<dyn Disk>,
        /// Its path in there.
        path: PathBuf,
    },
    /// A stream that can be read once, for instance standard input. It is sealed into the spill
    /// before anything is asked or paid.
    Stream(StreamSource),
    /// One chunk as it is, at most 4 MiB, not encrypted.
    Chunk(bytes::Bytes),
}

impl Source {
    pub(crate) fn is_stream(&self) -> bool {
        matches!(self, Self::Stream(_))
    }
}

/// A stream that can be read once. It is read on a blocking thread.
pub struct StreamSource(pub Box<dyn std::io::Read + Send>);

impl std::fmt::Debug for StreamSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("StreamSource")
    }
}

/// How batch payments are made, where they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchOptions {
    /// Leaves of one batch at most, 1 to [`MAX_BATCH_LEAVES`](limits::MAX_BATCH_LEAVES); a larger
    /// upload is several batches. A plan takes about 2 KiB of memory and 1.7 KiB of disk a leaf.
    /// While it is made there are prices, plan, the file and its bytes at once: about 8 KiB a leaf,
    /// 32 MiB for the default and 512 MiB for one of the largest; a round may be half as large again.
    /// That is arithmetic, not measured.
    pub max_leaves: usize,
    /// Whether all is priced and then paid with as few transactions as can be, or an upload goes in
    /// rounds of about one batch: its chunks are priced, the user is asked, it is paid and stored, and
    /// then the next one is priced. In rounds an upload may take longer than prices hold (an hour) and
    /// than one upload window; `max_leaves` is the size of a round in direct mode, too. What the whole
    /// costs is not known before the last round: the caps of the options count all rounds, and
    /// whatever stops a later one leaves a [`PartialUpload`](crate::UploadError::PartialUpload). Each
    /// round has its own approval of the token.
    pub commit: CommitChoice,
}

impl Default for BatchOptions {
    fn default() -> Self {
        Self { max_leaves: limits::DEFAULT_BATCH_LEAVES, commit: CommitChoice::default() }
    }
}

/// What an upload will cost, from signed quotes: storage and tips are exact, gas is an estimate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offer {
    /// How is paid; `None` when there is nothing to pay.
    pub mode: Option<PaymentMode>,
    /// Why; `None` when all of it was planned before.
    pub reason: Option<ModeReason>,
    /// What the nodes are paid.
    pub storage_cost: Atto,
    /// What whoever settles batches is paid; nothing in direct mode.
    pub tips: Atto,
    /// Gas of all transactions, an approval included.
    pub gas: u64,
    /// What that gas costs now.
    pub gas_cost: Wei,
    /// Chunks of this upload that are paid for. What another upload has signed and not paid yet is
    /// paid as it is, so the price may be of further chunks too, which are not this upload's.
    pub chunks_to_pay: u64,
    /// Chunks that are priced in later rounds, and not part of this price; 0 unless batches are paid
    /// one by one ([`CommitChoice::OneByOne`]).
    pub chunks_later: u64,
    /// All other chunks of this upload: those that the network has already, and those that were paid
    /// before.
    pub chunks_already_stored: u64,
}

impl Offer {
    /// What the vault takes: storage and tips.
    pub fn total(&self) -> Atto {
        self.storage_cost.saturating_add(self.tips)
    }
}

/// Asked after a price is known and before anything of it is paid: once, or once a round
/// ([`BatchOptions::commit`]), and never where nothing is to be paid. A no ends the upload; what
/// earlier rounds have paid stays paid and stored. Other uploads work meanwhile
/// ([`WorkerLimits::begun`](crate::WorkerLimits::begun)). When prices are too old by the time that
/// there is an answer, they are asked for anew, and the user only if it costs more: in gas, by more than
/// an eighth.
#[async_trait]
pub trait Approve: Send + Sync {
    /// Whether to go on.
    async fn approve(&self, offer: &Offer) -> bool;
}

/// Whether an upload waits until its chunks are found where they were stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum VerifyUpload {
    /// A quorum of signed receipts for every chunk is enough.
    #[default]
    No,
    /// Beside storing, stored chunks are asked for. Of one in sixteen, of others in each run, every copy
    /// is fetched and hashed: with five copies a third of the upload's size. What fewer than three of its
    /// peers have is stored again with the proof that was paid for. The spill keeps a chunk until it is
    /// verified. An upload that was begun so goes on so, and one that is finished is verified when it is
    /// gone on with so.
    Wait,
}

/// How to upload.
#[derive(Clone)]
pub struct UploadOptions {
    /// Store the data map as a public chunk too.
    pub public: bool,
    /// How to pay.
    pub mode: ModeChoice,
    /// How batches are made and paid.
    pub batch: BatchOptions,
    /// What a token is worth, to compare tips with gas; without it only gas is compared.
    pub token_rate: Option<TokenRate>,
    /// Mixed into every key, so that nobody without it can confirm that the contents are stored.
    pub secret: Option<Zeroizing<Vec<u8>>>,
    /// Fail before paying when storage costs more in all, tips and earlier rounds included.
    pub max_cost: Option<Atto>,
    /// Fail before paying when gas costs more in all, earlier rounds included.
    pub max_gas_cost: Option<Wei>,
    /// Asked before paying, each round anew; `None` goes on.
    pub approve: Option<Arc<dyn Approve>>,
    /// Plaintext bytes of a segment; smaller ones are for tests and simulation.
    pub segment_bytes: usize,
    /// Whether to wait until all is verified.
    pub verify: VerifyUpload,
    /// Where progress goes.
    pub progress: ProgressSender,
}

impl Default for UploadOptions {
    fn default() -> Self {
        Self {
            public: false,
            mode: ModeChoice::Auto,
            batch: BatchOptions::default(),
            token_rate: None,
            secret: None,
            max_cost: None,
            max_gas_cost: None,
            approve: None,
            segment_bytes: limits::SEGMENT_BYTES,
            verify: VerifyUpload::No,
            progress: ProgressSender::default(),
        }
    }
}

impl std::fmt::Debug for UploadOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UploadOptions")
            .field("public", &self.public)
            .field("mode", &self.mode)
            .field("batch", &self.batch)
            .field("secret", &self.secret.is_some())
            .field("verify", &self.verify)
            .field("max_cost", &self.max_cost)
            .field("max_gas_cost", &self.max_gas_cost)
            .finish_non_exhaustive()
    }
}

/// What is downloaded.
#[derive(Clone, Debug)]
pub enum Remote {
    /// The bytes of a `.datamap` file.
    DataMap(Vec<u8>),
    /// A public data map on the network.
    Public(ChunkAddress),
}

impl Remote {
    /// These bytes of a `.datamap` file, looked at before anybody is asked for anything.
    ///
    /// # Errors
    /// [`DownloadError::DataMap`].
    pub fn data_map(bytes: Vec<u8>) -> Result<Self, DownloadError> {
        DataMap::decode(&bytes).map_err(DownloadError::DataMap)?;
        Ok(Self::DataMap(bytes))
    }
}

/// Where a download goes.
pub enum Target {
    /// A file or, for a directory upload, a directory below a disk's root.
    Path {
        /// The directory that it goes in.
        disk: Arc<dyn Disk>,
        /// Its path in there.
        path: PathBuf,
        /// Whether what is there may be replaced.
        overwrite: Overwrite,
    },
    /// A stream, in order. A directory upload cannot go into a stream.
    Stream(Box<dyn std::io::Write + Send>),
}

impl std::fmt::Debug for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Path { disk, path, .. } => {
                write!(f, "Target({})", disk.display(path).display())
            }
            Self::Stream(_) => f.write_str("Target(stream)"),
        }
    }
}

/// How to download.
#[derive(Clone, Debug, Default)]
pub struct DownloadOptions {
    /// Where progress goes.
    pub progress: ProgressSender,
}
