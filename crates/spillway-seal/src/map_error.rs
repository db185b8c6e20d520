use spillway_types::Retry;

/// Why something is not a data map.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MapError {
    /// It does not begin as a data map does.
    #[error("not a Spillway data map")]
    Magic,
    /// It was written by a newer Spillway.
    #[error("data map of version {found}; this Spillway reads up to {known}: update it")]
    NewerVersion {
        /// Its version.
        found: u16,
        /// The newest that is read.
        known: u16,
    },
    /// A version that never was.
    #[error("data map of version {found}, which never was")]
    UnknownVersion {
        /// Its version.
        found: u16,
    },
    /// It ends too early.
    #[error("data map cut short: {found} of {expected} bytes")]
    Truncated {
        /// How long it would be, in bytes; without a whole header, the shortest possible.
        expected: u64,
        /// How long it is.
        found: u64,
    },
    /// Something follows its end.
    #[error("data map of {expected} bytes with more behind it: {found} bytes")]
    TrailingBytes {
        /// How long it should be, in bytes.
        expected: u64,
        /// How long it is.
        found: u64,
    },
    /// It names more segments than a reader takes.
    #[error("data map of {found} segments; at most {max} are taken")]
    TooManyEntries {
        /// How many it names.
        found: u64,
        /// How many are taken.
        max: u64,
    },
    /// It names no segment; an empty file is one empty segment.
    #[error("data map without a segment")]
    NoEntries,
    /// Its checksum is wrong: it is damaged.
    #[error("damaged data map: the checksum is wrong")]
    Checksum,
    /// It stands on more levels than a reader follows.
    #[error("data map of level {found}; at most {max} are followed")]
    TooDeep {
        /// Its level.
        found: u8,
        /// The highest.
        max: u8,
    },
    /// What it describes is neither a file nor a directory.
    #[error("data map of unknown content {found}")]
    Content {
        /// The byte.
        found: u8,
    },
    /// Its segment size is zero or too large.
    #[error("data map with segments of {found} bytes: 1 to {max} are possible")]
    SegmentBytes {
        /// Its segment size.
        found: u64,
        /// The largest.
        max: u64,
    },
    /// A segment is longer than the map's segment size.
    #[error("segment {index} of {found} bytes in a data map with segments of {max}")]
    EntryLen {
        /// Which.
        index: u64,
        /// Its length, in bytes.
        found: u64,
        /// The map's segment size.
        max: u64,
    },
    /// The lengths of the segments do not add up.
    #[error("data map of {declared} bytes whose segments have {found}")]
    ContentLen {
        /// The length that it declares.
        declared: u64,
        /// The sum over its segments.
        found: u64,
    },
}

impl MapError {
    /// Whether the same call may work later: never, for the bytes are what they are.
    pub fn retry(&self) -> Retry {
        Retry::Never
    }
}
