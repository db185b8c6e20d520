use spillway_types::{ChunkAddress, Retry};

/// Why a chunk gave no plaintext.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The chunk is shorter than any sealed one or longer than the largest.
    #[error("a chunk of {found} bytes: {min} to {max} are possible")]
    ChunkLen {
        /// Its length, in bytes.
        found: usize,
        /// Of the shortest.
        min: usize,
        /// Of the longest.
        max: usize,
    },
    /// The entry declares a length that no segment has.
    #[error("the data map declares a segment of {declared} bytes, {max} at most are possible")]
    DeclaredLen {
        /// The entry's length, in bytes.
        declared: u64,
        /// The largest.
        max: u64,
    },
    /// These are not the bytes of the entry's chunk. Another peer may have the right ones.
    #[error("the chunk is not the one asked for: {found} instead of {expected}")]
    Address {
        /// The entry's address.
        expected: ChunkAddress,
        /// The address of the bytes.
        found: ChunkAddress,
    },
    /// The authentication tag is wrong: the data map has another secret, level, place or hash than
    /// the chunk was sealed with.
    #[error("the chunk does not decrypt with the keys of this data map")]
    Tag,
    /// The first byte of the payload is no known flag.
    #[error("unknown payload flag {found}")]
    Flag {
        /// The byte.
        found: u8,
    },
    /// zstd could not read the payload, or it is longer than declared.
    #[error("decompressing failed: {reason}")]
    Decompress {
        /// The name that zstd gives it.
        reason: &'static str,
    },
    /// The plaintext has another length than the data map declares.
    #[error("the segment has {found} bytes, the data map declares {declared}")]
    Len {
        /// The entry's length, in bytes.
        declared: u64,
        /// The real one, or the one that a compressed payload claims.
        found: u64,
    },
    /// The plaintext has another hash than the data map declares.
    #[error("the segment has another hash than the data map declares")]
    Hash,
}

impl OpenError {
    /// Whether the same call may work later: never, for the chunk is what it is.
    pub fn retry(&self) -> Retry {
        Retry::Never
    }
}
