use std::{fmt, io, path::PathBuf};

use spillway_types::Retry;

/// What was being done when a disk call failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DiskOp {
    /// Opening a file or directory.
    Open,
    /// Reading.
    Read,
    /// Writing.
    Write,
    /// Making bytes or a directory entry durable.
    Sync,
    /// Renaming.
    Rename,
    /// Removing.
    Remove,
    /// Making a directory.
    CreateDir,
    /// Making a symbolic link.
    Link,
    /// Listing a directory.
    List,
    /// Asking for metadata or setting it.
    Stat,
    /// Taking a lock.
    Lock,
    /// Asking for free space.
    FreeSpace,
}

impl fmt::Display for DiskOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Open => "open",
            Self::Read => "read",
            Self::Write => "write",
            Self::Sync => "sync",
            Self::Rename => "rename",
            Self::Remove => "remove",
            Self::CreateDir => "make directory",
            Self::Link => "link",
            Self::List => "list",
            Self::Stat => "stat",
            Self::Lock => "lock",
            Self::FreeSpace => "ask for free space of",
        })
    }
}

/// Why a disk call failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DiskError {
    /// There is no such file or directory.
    #[error("{} does not exist", path.display())]
    NotFound {
        /// Which.
        path: PathBuf,
    },
    /// There is one already.
    #[error("{} exists already", path.display())]
    Exists {
        /// Which.
        path: PathBuf,
    },
    /// Another process holds the lock.
    #[error("{} is locked by another process", path.display())]
    Locked {
        /// Which.
        path: PathBuf,
    },
    /// The path leads out of the root, through a link, or is none.
    #[error("{} is not a path inside the directory", path.display())]
    BadPath {
        /// Which.
        path: PathBuf,
    },
    /// The file is longer than the caller takes.
    #[error("{} has {found} bytes; the limit is {limit}", path.display())]
    TooLong {
        /// Which.
        path: PathBuf,
        /// Its length, in bytes.
        found: u64,
        /// The limit, in bytes.
        limit: u64,
    },
    /// No space left, or over a quota.
    #[error("no space left to {op} {}", path.display())]
    Full {
        /// What was being done.
        op: DiskOp,
        /// On what.
        path: PathBuf,
    },
    /// Not allowed to.
    #[error("no permission to {op} {}", path.display())]
    Denied {
        /// What was being done.
        op: DiskOp,
        /// On what.
        path: PathBuf,
    },
    /// Anything else that the system said.
    #[error("cannot {op} {}", path.display())]
    Io {
        /// What was being done.
        op: DiskOp,
        /// On what.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

impl DiskError {
    /// A failed sync is never tried again as if it had worked; space may come back.
    pub fn retry(&self) -> Retry {
        match self {
            Self::Full { .. } | Self::Locked { .. } => Retry::Backoff,
            _ => Retry::Never,
        }
    }
}
