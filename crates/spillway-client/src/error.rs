use std::path::PathBuf;

use spillway_disk::DiskError;
use spillway_net::PeersError;
use spillway_pay::ChainError;
use spillway_types::{Atto, ChunkAddress, Refusal, Retry, UnixTime, Wei};

use crate::{Offer, Spend};

/// Why one chunk could not be stored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChunkFailure {
    /// Fewer than three valid receipts came, after all retries.
    #[error("{receipts} of 3 receipts{}", last.as_ref().map(|r| format!("; last: {r}")).unwrap_or_default())]
    NoQuorum {
        /// How many came.
        receipts: usize,
        /// The last thing that a peer said or did.
        last: Option<PutFailure>,
    },
    /// Its payment could not be made.
    #[error("it is not paid")]
    NotPaid,
    /// Its payment is signed and may be taken still; the chain cannot say yet that it was or never
    /// will be. The same upload goes on with it.
    #[error("its payment is signed and may be taken still")]
    Undecided,
    /// Its upload window is over.
    #[error("its upload window is over")]
    WindowOver,
    /// It was stored, and when it was looked for, fewer than three of the peers that should have it
    /// had it, also after it was stored again. Nothing is lost: its bytes and its proof are kept. One for
    /// which others have paid, without a proof here, is asked for again in the next run, and priced.
    #[error("it was stored, and {copies} of 3 copies were found")]
    NotVerified {
        /// How many good copies were found.
        copies: usize,
    },
    /// Its sealed bytes are gone, and no source gives them again: none was given, or it is not what it
    /// was. The upload of the same contents goes on with it.
    #[error("its sealed bytes are lost, and not in the source, if one was given")]
    LostBytes,
}

/// Why one peer did not store one chunk.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PutFailure {
    /// No answer.
    #[error(transparent)]
    Peer(#[from] PeersError),
    /// It said no.
    #[error("refused: {0}")]
    Refused(Refusal),
    /// Its receipt does not hold.
    #[error("bad receipt: {0}")]
    Receipt(#[from] spillway_types::ReceiptError),
    /// It answered without a receipt.
    #[error("no receipt")]
    NoReceipt,
}

/// Why one peer gave no good price for one chunk.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum QuoteFailure {
    /// No answer.
    #[error(transparent)]
    Peer(#[from] PeersError),
    /// It said no.
    #[error("refused: {0}")]
    Refused(Refusal),
    /// Its price does not hold.
    #[error("bad price: {0}")]
    Quote(#[from] spillway_types::QuoteError),
    /// It asks for a tip of far more than the others do.
    #[error("a tip of {tip} a draw; from what others ask for, {cap} is the most")]
    TipOverCap {
        /// What it asks for.
        tip: Atto,
        /// Ten times the median of the answers.
        cap: Atto,
    },
    /// It takes prizes of far less than the others do.
    #[error("prizes of {prize} at most; from what others take, {least} is the least")]
    PrizeTooSmall {
        /// The most that it takes.
        prize: Atto,
        /// A tenth of the median of the answers.
        least: Atto,
    },
    /// It gave more or fewer prices than it was asked for.
    #[error("another number of prices than asked for")]
    WrongCount,
}

/// Why the source could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// It changed while it was read. Nothing was paid.
    #[error("{} changed while it was read", path.display())]
    Changed {
        /// Which file.
        path: PathBuf,
    },
    /// It is neither a file nor a directory.
    #[error("{} is neither a file nor a directory", path.display())]
    Special {
        /// Which.
        path: PathBuf,
    },
    /// It has more entries than a directory manifest can list.
    #[error("{} has too many entries: {what}", path.display())]
    TooManyEntries {
        /// Which directory.
        path: PathBuf,
        /// The limit that is broken.
        what: String,
    },
    /// A chunk is at most 4 MiB and not empty.
    #[error("a chunk has 1 to {limit} bytes, not {found}")]
    ChunkSize {
        /// How many it has.
        found: usize,
        /// The limit.
        limit: usize,
    },
    /// The stream broke.
    #[error("the input stream broke")]
    Stream(#[source] std::io::Error),
    /// The disk said no.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

/// Why an upload did not finish.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UploadError {
    /// The source cannot be read. Nothing was paid.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// Our own disk failed.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// Not enough space for the sealed chunks. Nothing was paid.
    #[error("{needed} bytes are needed for sealed chunks in {}, {free} are free", path.display())]
    NoSpace {
        /// What is needed, in bytes.
        needed: u64,
        /// What is free, in bytes.
        free: u64,
        /// Where.
        path: PathBuf,
    },
    /// Another process works on this upload.
    #[error("another process works on this upload (session {session})")]
    Busy {
        /// Which session.
        session: String,
    },
    /// A session's files are damaged; they are left as they are.
    #[error("session {session} is damaged: {what}")]
    DamagedSession {
        /// Which session.
        session: String,
        /// Which file and how.
        what: String,
    },
    /// This upload was handed over, and goes on with its archive. To go on here, import the archive, after
    /// exporting it again if there is none; to begin anew, which may pay anew, forget the session.
    #[error("session {session} was handed over: import its archive to go on here, or forget it")]
    HandedOver {
        /// Which session.
        session: String,
        /// When.
        at: UnixTime,
    },
    /// Sealed chunks that are not paid for are gone, and their source is not what it was or was not
    /// given. What is paid for goes on without them. The upload of the source goes on with them.
    #[error("{} sealed chunks of session {session} are lost: upload its source again", lost.len())]
    LostChunks {
        /// Which session.
        session: String,
        /// Which chunks.
        lost: Vec<ChunkAddress>,
    },
    /// The session that was named cannot be worked on.
    #[error(transparent)]
    Session(crate::SessionError),
    /// The network cannot be reached.
    #[error(transparent)]
    Network(#[from] PeersError),
    /// Fewer than five peers gave a good price for a chunk. Nothing was paid.
    #[error(
        "{good} of 5 good prices for chunk {address} ({asked} peers asked, {dropped} dropped){}",
        last.as_ref().map(|why| format!("; last: {why}")).unwrap_or_default()
    )]
    TooFewQuotes {
        /// Which chunk.
        address: ChunkAddress,
        /// Good answers.
        good: usize,
        /// Peers asked.
        asked: usize,
        /// Answers that did not come or were dropped for a fault.
        dropped: usize,
        /// What was wrong with the last of those.
        last: Option<QuoteFailure>,
    },
    /// The price is over the cap of the options. Nothing was paid.
    #[error("storage costs {cost}, the cap is {cap}")]
    OverCost {
        /// What it costs.
        cost: Atto,
        /// The cap.
        cap: Atto,
    },
    /// Gas is over the cap of the options.
    #[error("gas costs about {cost} wei, the cap is {cap}")]
    OverGasCost {
        /// What it costs.
        cost: Wei,
        /// The cap.
        cap: Wei,
    },
    /// The session came with an archive, with payments that this wallet has not signed, and there is
    /// neither somebody to ask nor a cap on the cost. Nothing of them was paid.
    #[error("session {session} came with payments of {cost} that nobody here has agreed to")]
    ImportedPlans {
        /// Which session.
        session: String,
        /// What they come to, gas apart.
        cost: Atto,
    },
    /// The user said no to the price. Nothing was paid.
    #[error("not approved")]
    Declined {
        /// The price.
        offer: Offer,
    },
    /// The payment failed; what was paid before is kept and used when the upload goes on.
    #[error("the payment failed")]
    Payment {
        /// Why.
        #[source]
        source: Box<spillway_pay::PayError>,
        /// What was spent in this session.
        spend: Spend,
    },
    /// A batch was asked for and cannot be. Nothing was paid; directly it may work.
    #[error("no batch payment: {0}")]
    NoBatch(spillway_pay::BatchRefused),
    /// The prices cannot be planned: they end too soon, or allow no upload window. Nothing was paid.
    #[error("the prices cannot be paid")]
    Plan(#[source] spillway_pay::PlanError),
    /// A payment was planned, its time is over, and the chain cannot say yet that it will never be
    /// taken. Until then its chunks must not be paid again.
    #[error("an earlier payment could be taken until {valid_until} and is not final yet")]
    Undecided {
        /// Its deadline.
        valid_until: UnixTime,
    },
    /// The chain cannot be asked.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// Some chunks are stored, some are not. The session is kept: the same upload goes on and pays
    /// for nothing that is paid.
    #[error("{} of {total} chunks could not be stored", failed.len())]
    PartialUpload {
        /// The session, which the same upload goes on with.
        session: String,
        /// Plaintext bytes of the source.
        bytes: u64,
        /// How was paid in fact, earlier runs of the session included; `None` when nothing is paid.
        payment_mode: Option<spillway_pay::PaymentMode>,
        /// Why this run chose how to pay; `None` when it had nothing to choose.
        mode_reason: Option<Box<spillway_pay::ModeReason>>,
        /// Chunks that this session stored: each has a quorum of receipts.
        stored: Vec<ChunkAddress>,
        /// Chunks that the network had already.
        already_stored: Vec<ChunkAddress>,
        /// Chunks without, and why.
        failed: Vec<(ChunkAddress, ChunkFailure)>,
        /// Chunks that are paid for and not stored.
        paid_unstored: Vec<ChunkAddress>,
        /// Chunks of the upload.
        total: u64,
        /// What was spent in this session.
        spend: Spend,
        /// What stopped the upload before all was tried, if anything did.
        #[source]
        cause: Option<Box<UploadError>>,
    },
    /// It was cancelled; the session is kept. After money has moved or chunks were stored, a
    /// cancelled upload is a [`UploadError::PartialUpload`] because of this.
    #[error("interrupted")]
    Interrupted,
    /// More segments than a data map lists, or the like.
    #[error("the data map cannot be made")]
    Map(#[source] spillway_seal::MapError),
    /// The data map does not fit.
    #[error("the data map cannot be packed")]
    Pack(#[from] spillway_seal::PackError),
    /// A stream could not be sealed.
    #[error("the stream cannot be sealed")]
    Stream(#[source] spillway_seal::StreamError<DiskError>),
    /// Sealing failed, which it cannot with segments of the right size.
    #[error(transparent)]
    Seal(#[from] spillway_seal::SealError),
}

/// Why something about the account could not be done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AccountError {
    /// Our own disk failed.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The chain cannot be asked.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// The chain refused, or the wallet cannot pay the gas; it says what was spent.
    #[error(transparent)]
    Payment(Box<spillway_pay::PayError>),
    /// A session's journal cannot be written.
    #[error(transparent)]
    Session(Box<UploadError>),
}

impl From<spillway_pay::PayError> for AccountError {
    fn from(error: spillway_pay::PayError) -> Self {
        Self::Payment(Box::new(error))
    }
}

impl AccountError {
    /// Whether the same call may work later.
    pub fn retry(&self) -> Retry {
        match self {
            Self::Disk(error) => error.retry(),
            Self::Chain(error) => error.retry(),
            Self::Payment(error) => error.retry(),
            Self::Session(error) => error.retry(),
        }
    }
}

/// Why a download did not finish. Nothing is left under the target's name, and beside it only what
/// [`DownloadError::Unfinished`] names.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DownloadError {
    /// The data map cannot be read.
    #[error("not a data map: {0}")]
    DataMap(#[source] spillway_seal::MapError),
    /// The data map is longer than one may be.
    #[error("not a data map: {found} bytes")]
    MapTooLong {
        /// Its length, in bytes.
        found: usize,
    },
    /// The data map points to a map that does not open or is not sound.
    #[error("the data map cannot be followed")]
    Unpack(#[from] spillway_seal::UnpackError),
    /// A chunk is on no peer that answered.
    #[error("chunk {address} was not found on {asked} peers")]
    NotFound {
        /// Which chunk.
        address: ChunkAddress,
        /// How many peers were asked.
        asked: usize,
    },
    /// A chunk could not be fetched: peers failed or sent wrong bytes.
    #[error("chunk {address} could not be fetched: {bad} peers sent wrong bytes, {failed} failed")]
    Unavailable {
        /// Which chunk.
        address: ChunkAddress,
        /// Peers that sent other bytes.
        bad: usize,
        /// Peers that did not answer.
        failed: usize,
        /// What the last of them said.
        #[source]
        last: Option<PeersError>,
    },
    /// A chunk is there but does not open with this data map.
    #[error("chunk {address} does not open")]
    Open {
        /// Which chunk.
        address: ChunkAddress,
        /// Why.
        #[source]
        source: spillway_seal::OpenError,
    },
    /// A directory's manifest is damaged or hostile.
    #[error(transparent)]
    Tree(#[from] crate::TreeError),
    /// A directory cannot be written into a stream.
    #[error("this is a directory: it needs a path to go to")]
    DirectoryToStream,
    /// The output stream broke.
    #[error("the output stream broke")]
    Stream(#[source] std::io::Error),
    /// The disk said no.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The network cannot be reached.
    #[error(transparent)]
    Network(#[from] PeersError),
    /// It was cancelled.
    #[error("interrupted")]
    Interrupted,
    /// It did not finish, and what was fetched and verified is kept beside the target: the same
    /// download goes on with it.
    #[error("{bytes} of {bytes_total} bytes are in {}", path.display())]
    Unfinished {
        /// The unfinished file, or the manifest of an unfinished directory.
        path: PathBuf,
        /// Verified segments that are kept.
        chunks: u64,
        /// Their plaintext bytes, the manifest of a directory included.
        bytes: u64,
        /// Plaintext bytes in all, counted likewise.
        bytes_total: u64,
        /// Why it did not finish.
        #[source]
        source: Box<DownloadError>,
    },
}

impl From<spillway_pay::PlanError> for UploadError {
    fn from(error: spillway_pay::PlanError) -> Self {
        match error {
            spillway_pay::PlanError::NoBatch(refused) => Self::NoBatch(refused),
            other => Self::Plan(other),
        }
    }
}

impl From<spillway_seal::StreamError<DiskError>> for UploadError {
    fn from(error: spillway_seal::StreamError<DiskError>) -> Self {
        match error {
            spillway_seal::StreamError::Caller(error) => Self::Disk(error),
            other => Self::Stream(other),
        }
    }
}

impl From<crate::SessionError> for UploadError {
    fn from(error: crate::SessionError) -> Self {
        match error {
            crate::SessionError::Busy { session } => Self::Busy { session },
            crate::SessionError::Damaged { session, what } => {
                Self::DamagedSession { session, what }
            }
            crate::SessionError::Disk(error) => Self::Disk(error),
            other => Self::Session(other),
        }
    }
}

impl UploadError {
    /// Whether the same upload may finish when it is run again.
    pub fn retry(&self) -> Retry {
        match self {
            Self::Network(error) => error.retry(),
            Self::Chain(error) => error.retry(),
            Self::Plan(error) => error.retry(),
            Self::NoBatch(refused) => refused.retry(),
            Self::Payment { source, .. } => source.retry(),
            Self::Disk(error) | Self::Source(SourceError::Disk(error)) => error.retry(),
            Self::Session(error) => error.retry(),
            Self::Busy { .. }
            | Self::TooFewQuotes { .. }
            | Self::Undecided { .. }
            | Self::PartialUpload { .. }
            | Self::Interrupted
            | Self::NoSpace { .. } => Retry::Backoff,
            _ => Retry::Never,
        }
    }
}

impl DownloadError {
    /// Whether the same download may finish when it is run again.
    pub fn retry(&self) -> Retry {
        match self {
            Self::Network(error) => error.retry(),
            Self::Disk(error) => error.retry(),
            Self::Unfinished { source, .. } => source.retry(),
            Self::NotFound { .. } | Self::Unavailable { .. } | Self::Interrupted => Retry::Backoff,
            _ => Retry::Never,
        }
    }
}
