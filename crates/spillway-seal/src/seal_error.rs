use spillway_types::Retry;

/// Why a segment was not sealed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// The segment size of the options.
    #[error("segments of {found} bytes are not possible: 1 to {max} are")]
    SegmentBytes {
        /// What was asked for.
        found: usize,
        /// The largest.
        max: usize,
    },
    /// A segment that does not fit a chunk.
    #[error("segment {index} has {found} bytes, {max} at most fit")]
    SegmentTooLong {
        /// Which.
        index: u64,
        /// Its length, in bytes.
        found: usize,
        /// The largest.
        max: usize,
    },
    /// More segments than a data map takes.
    #[error("more than {max} segments")]
    TooManySegments {
        /// How many it takes.
        max: usize,
    },
    /// The segment is not the one that was hashed: the file changed between the two passes.
    #[error("the source changed while it was read: segment {index} is another one than before")]
    SourceChanged {
        /// Which.
        index: u64,
    },
    /// zstd failed, for want of memory as far as we know.
    #[error("compressing segment {index} failed: {reason}")]
    Compress {
        /// Which.
        index: u64,
        /// The name that zstd gives it.
        reason: &'static str,
    },
    /// The system gave no random bytes.
    #[error("the system gave no random bytes")]
    Random,
}

impl SealError {
    /// Whether the same call may work later.
    pub fn retry(&self) -> Retry {
        Retry::Never
    }
}
