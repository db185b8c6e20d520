use serde::{Deserialize, Serialize};
use spillway_store::MAX_EVIDENCE_BYTES;
use spillway_types::{
    Domain, Leaf, PaymentId, PaymentProof, Quote, Receipt, Retry, UnixTime,
    limits::{CLOSE_GROUP, MAX_DIRECT_ENTRIES, MAX_PROOF_DEPTH},
};

/// The format that is written, and the newest that is read.
const VERSION: u16 = 1;

/// Length of the version before the rest, in bytes.
const VERSION_BYTES: usize = 2;

/// What a node keeps with a chunk, as long as the chunk: everything that showed that it is paid for.
/// Byte by byte in `docs/formats.md`, "Node".
///
/// Damage is the store's to notice: it keeps a checksum over these bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// When the chunk came, checked and paid for.
    pub stored_at: UnixTime,
    /// The chunk and who was paid what for it.
    pub leaf: Leaf,
    /// The chunk's sealed size, in bytes.
    pub size: u32,
    /// What shows that the leaf is paid.
    pub proof: PaymentProof,
    /// The five quotes, in the order of the leaf's shares.
    pub quotes: [Quote; CLOSE_GROUP],
    /// Receipts of quoted peers that the chunk was offered with; none for one that came by a put. At
    /// most five.
    pub receipts: Vec<Receipt>,
}

/// Bytes that are not evidence of this version.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EvidenceError {
    /// They are more than is kept with a chunk.
    #[error("{found} bytes of evidence; the limit is {MAX_EVIDENCE_BYTES}")]
    TooLong {
        /// How many there are.
        found: usize,
    },
    /// A newer version wrote them.
    #[error("evidence of format {found}; this program reads up to {VERSION}")]
    Newer {
        /// The version found.
        found: u16,
    },
    /// They are not evidence.
    #[error("not the evidence of a chunk")]
    Malformed(#[source] postcard::Error),
    /// They are too few, or of a version that never was.
    #[error("evidence without a version")]
    NoVersion,
    /// Bytes are left over.
    #[error("{count} bytes follow the evidence")]
    Trailing {
        /// How many.
        count: usize,
    },
    /// A list is longer than it may be.
    #[error("{found} {what}; the limit is {limit}")]
    Limit {
        /// What was counted.
        what: &'static str,
        /// How many there are.
        found: usize,
        /// How many there may be.
        limit: usize,
    },
}

impl EvidenceError {
    /// The same bytes fail the same way again.
    pub fn retry(&self) -> Retry {
        Retry::Never
    }
}

impl Evidence {
    /// The bytes that are kept: the version, little-endian, and the postcard form of the rest.
    ///
    /// # Errors
    /// When a list or the whole is over its limit.
    pub fn encode(&self) -> Result<Vec<u8>, EvidenceError> {
        self.check()?;
        let version = VERSION.to_le_bytes().to_vec();
        let bytes = postcard::to_extend(self, version).map_err(EvidenceError::Malformed)?;
        check_length(&bytes)?;
        Ok(bytes)
    }

    /// Reads what [`Evidence::encode`] wrote. The length is checked before anything is read, and so
    /// bounds what is allocated.
    ///
    /// # Errors
    /// When it is not evidence of this version, whole and within the limits.
    pub fn decode(bytes: &[u8]) -> Result<Self, EvidenceError> {
        check_length(bytes)?;
        let (version, rest) =
            bytes.split_first_chunk::<VERSION_BYTES>().ok_or(EvidenceError::NoVersion)?;
        match u16::from_le_bytes(*version) {
            VERSION => {}
            0 => return Err(EvidenceError::NoVersion),
            found => return Err(EvidenceError::Newer { found }),
        }
        let (evidence, rest): (Self, _) =
            postcard::take_from_bytes(rest).map_err(EvidenceError::Malformed)?;
        if !rest.is_empty() {
            return Err(EvidenceError::Trailing { count: rest.len() });
        }
        evidence.check()?;
        Ok(evidence)
    }

    /// The payment that the chunk is kept for, computed from the proof.
    pub fn payment(&self) -> PaymentId {
        self.proof.id(self.domain())
    }

    /// Where it counts. All five quotes were checked to name the same.
    pub fn domain(&self) -> &Domain {
        let [first, ..] = &self.quotes;
        &first.terms.domain
    }

    fn check(&self) -> Result<(), EvidenceError> {
        within("receipts", self.receipts.len(), CLOSE_GROUP)?;
        match &self.proof {
            PaymentProof::Direct(direct) => {
                within("entries", direct.entries.len(), MAX_DIRECT_ENTRIES)
            }
            PaymentProof::Batch(batch) => within("levels", batch.siblings.len(), MAX_PROOF_DEPTH),
            _ => Ok(()),
        }
    }
}

fn within(what: &'static str, found: usize, limit: usize) -> Result<(), EvidenceError> {
    if found <= limit { Ok(()) } else { Err(EvidenceError::Limit { what, found, limit }) }
}

fn check_length(bytes: &[u8]) -> Result<(), EvidenceError> {
    if bytes.len() > MAX_EVIDENCE_BYTES as usize {
        return Err(EvidenceError::TooLong { found: bytes.len() });
    }
    Ok(())
}
