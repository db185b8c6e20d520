use spillway_disk::DiskError;
use spillway_types::{ChunkAddress, Retry};

/// Why the store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The space is not there, in the store's capacity or on its disk.
    #[error("no space for {needed_bytes} bytes: {free_bytes} bytes free")]
    Full {
        /// What is left, neither used nor reserved, in bytes.
        free_bytes: u64,
        /// What was asked for, evidence and header included, in bytes.
        needed_bytes: u64,
    },
    /// Another process, or another store in this one, has this directory open.
    #[error("the store is in use by another process")]
    Locked {
        /// The lock that is taken.
        #[source]
        source: DiskError,
    },
    /// An empty chunk, or one larger than a chunk may be.
    #[error("a chunk of {size_bytes} bytes is not stored")]
    BadSize {
        /// The size that was asked for, in bytes.
        size_bytes: u32,
    },
    /// The chunk is of another size than was reserved.
    #[error("the chunk has {found_bytes} bytes, {reserved_bytes} were reserved")]
    WrongSize {
        /// The size that was reserved, in bytes.
        reserved_bytes: u32,
        /// The chunk's size, in bytes.
        found_bytes: u64,
    },
    /// The bytes are not the chunk that was reserved for.
    #[error("the bytes are chunk {found}, not {expected}")]
    WrongHash {
        /// The address that was reserved for.
        expected: ChunkAddress,
        /// What the bytes hash to.
        found: ChunkAddress,
    },
    /// More evidence than is kept.
    #[error("{found_bytes} bytes of evidence; the limit is {limit_bytes}")]
    EvidenceTooLong {
        /// The limit, in bytes.
        limit_bytes: u32,
        /// What was given, in bytes.
        found_bytes: u64,
    },
    /// The reservation was made by another store.
    #[error("the reservation for chunk {address} belongs to another store")]
    ForeignReservation {
        /// What it is for.
        address: ChunkAddress,
    },
    /// A file was written by a newer version of this program.
    #[error("chunk {address} is stored in format {found}; this program reads up to {supported}")]
    NewerFormat {
        /// Which chunk.
        address: ChunkAddress,
        /// The format found.
        found: u16,
        /// The newest format known here.
        supported: u16,
    },
    /// The disk failed.
    #[error("the store's disk failed")]
    Disk {
        /// How.
        #[from]
        source: DiskError,
    },
}

impl StoreError {
    /// Whether the same call may work later: space and locks may come back.
    pub fn retry(&self) -> Retry {
        match self {
            Self::Full { .. } | Self::Locked { .. } => Retry::Backoff,
            Self::Disk { source } => source.retry(),
            _ => Retry::Never,
        }
    }
}
