use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{Atto, ChunkAddress, Domain, PaymentId, Retry, UnixTime, limits::STORE_QUORUM};

/// Why a node does not do what it was asked: the exact code, on the wire.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The header cannot be read or breaks a limit.
    #[error("the request is malformed")]
    Malformed,
    /// What was asked is not supported by this version (for now: relaying).
    #[error("not supported by this node")]
    Unsupported,
    /// Starting, stopping, or at a limit: come again later.
    #[error("busy, come again in {after_ms} ms")]
    Busy {
        /// How long to wait, in milliseconds.
        after_ms: u32,
    },
    /// No space left for a chunk of this size.
    #[error("full: {free_bytes} bytes free")]
    Full {
        /// What is left, in bytes.
        free_bytes: u64,
    },
    /// The chunk is larger than a chunk may be, or empty.
    #[error("a chunk of {size} bytes is not stored")]
    BadSize {
        /// The size that was asked for.
        size: u32,
    },
    /// This node's own quote is not among the five.
    #[error("this node is not among the quoted peers")]
    NotQuoted,
    /// A quote's signature does not hold.
    #[error("the signature of quote {index} does not hold")]
    BadQuoteSignature {
        /// Which of the five quotes.
        index: u8,
    },
    /// A quote is for another network, chain or vault.
    #[error("quote {index} is for {found}, this node serves {expected}")]
    WrongDomain {
        /// Which of the five quotes.
        index: u8,
        /// What this node serves.
        expected: Box<Domain>,
        /// What the quote is for.
        found: Box<Domain>,
    },
    /// A quote is for another chunk.
    #[error("quote {index} is for another chunk")]
    WrongChunk {
        /// Which of the five quotes.
        index: u8,
    },
    /// A quote or the body is of another size than the put says.
    #[error("size {found}, quoted {quoted}")]
    WrongSize {
        /// The size that was quoted.
        quoted: u32,
        /// The size that was found.
        found: u32,
    },
    /// The payment was recorded before or after a quote's time.
    #[error("quote {index} was not valid when the payment was recorded")]
    QuoteExpired {
        /// Which of the five quotes.
        index: u8,
    },
    /// A peer stands twice among the five quotes.
    #[error("the five quotes are not of five peers")]
    RepeatedPeer,
    /// A share pays another address than its quote names.
    #[error("share {index} pays another address than its quote names")]
    WrongPayee {
        /// Which of the five shares.
        index: u8,
    },
    /// A share pays less than its quote asks.
    #[error("share {index} pays {paid}, quoted {quoted}")]
    UnderPaid {
        /// Which of the five shares.
        index: u8,
        /// What the share pays.
        paid: Atto,
        /// What the quote asks.
        quoted: Atto,
    },
    /// The proof does not pay exactly this leaf.
    #[error("the proof does not pay this leaf")]
    BadProof,
    /// Too few of the quoted peers are near the chunk.
    #[error("{known} of the quoted peers are near the chunk")]
    NotClosest {
        /// How many of the five this node knows to be near.
        known: u8,
    },
    /// The vault has no record of the payment at the depth this node asks for.
    #[error("no payment {payment} is recorded")]
    Unpaid {
        /// The payment that was looked up.
        payment: PaymentId,
    },
    /// The upload window is over.
    #[error("the upload window ended at {upload_by}")]
    TooLate {
        /// When it ended.
        upload_by: UnixTime,
    },
    /// The upload window is longer than this node quoted.
    #[error("the upload window ends {found_secs} s after the payment, quoted {max_secs}")]
    WindowTooLong {
        /// The longest window that was quoted, in seconds.
        max_secs: u32,
        /// The window found, in seconds.
        found_secs: u64,
    },
    /// The body does not hash to the address.
    #[error("the body is chunk {found}")]
    WrongHash {
        /// What the body hashes to.
        found: ChunkAddress,
    },
    /// This node cannot reach the chain now.
    #[error("the chain cannot be asked now")]
    ChainUnavailable,
    /// This node's disk failed.
    #[error("the chunk could not be stored")]
    StorageFailed,
    /// A batch offers less than this node quoted to whoever settles a draw.
    #[error("a tip of {found} a draw, quoted {least}")]
    TipTooLow {
        /// The least tip that was quoted.
        least: Atto,
        /// What the batch offers.
        found: Atto,
    },
    /// A draw of a batch pays more than this node quoted: too much would hang on one draw.
    #[error("a prize of {found} a draw, quoted {most}")]
    PrizeTooLarge {
        /// The largest prize that was quoted.
        most: Atto,
        /// The largest prize of the batch.
        found: Atto,
    },
    /// The beacon that draws the winners was too far behind when the batch was recorded: it may not
    /// be settled in time.
    #[error("the beacon's newest seed is of {latest}")]
    BeaconBehind {
        /// The time of its newest seed.
        latest: UnixTime,
    },
    /// A draw of a batch pays so little beside the tip that this node quoted that nobody may care to
    /// settle it.
    #[error("a prize of {found} a draw, at least {least}")]
    PrizeTooSmall {
        /// The least prize that goes with the tip that was quoted.
        least: Atto,
        /// The smallest prize of the batch.
        found: Atto,
    },
    /// This node is not near the chunk that it was offered.
    #[error("this node is not near the chunk")]
    NotNear,
    /// An offer comes with receipts of fewer peers than make a chunk stored.
    #[error("{found} receipts show that the chunk was stored in time, needed are {STORE_QUORUM}")]
    TooFewReceipts {
        /// How many it comes with.
        found: u8,
    },
    /// A receipt in an offer is of a peer that was not quoted.
    #[error("receipt {index} is of a peer that was not quoted")]
    ForeignReceipt {
        /// Which of the receipts.
        index: u8,
    },
    /// A receipt in an offer is of the same peer as one before it.
    #[error("receipt {index} is of the same peer as one before it")]
    RepeatedReceipt {
        /// Which of the receipts.
        index: u8,
    },
    /// A receipt in an offer is for another network, chain, vault, payment, leaf, chunk or size.
    #[error("receipt {index} is for another payment or chunk")]
    WrongReceipt {
        /// Which of the receipts.
        index: u8,
    },
    /// A receipt in an offer is dated after the upload window, or before the quotes.
    #[error("receipt {index} of {time} is not of the upload window")]
    ReceiptTime {
        /// Which of the receipts.
        index: u8,
        /// Its date.
        time: UnixTime,
    },
    /// The signature of a receipt in an offer does not hold.
    #[error("the signature of receipt {index} does not hold")]
    BadReceiptSignature {
        /// Which of the receipts.
        index: u8,
    },
}

impl Refusal {
    /// Whether the same request may be taken later.
    pub fn retry(&self) -> Retry {
        match self {
            Self::Busy { after_ms } => Retry::After(Duration::from_millis(u64::from(*after_ms))),
            Self::Unpaid { .. }
            | Self::ChainUnavailable
            | Self::StorageFailed
            | Self::BeaconBehind { .. } => Retry::Backoff,
            _ => Retry::Never,
        }
    }
}
