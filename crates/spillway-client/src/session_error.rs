use spillway_disk::DiskError;
use spillway_types::{Atto, EvmAddress, Retry, UnixTime};

use crate::UploadError;

/// Why something about one session could not be done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SessionError {
    /// No session has this name, and none begins so.
    #[error("there is no session {session}")]
    NotFound {
        /// What was asked for.
        session: String,
    },
    /// More than one begins so.
    #[error("{found} sessions begin with {session}")]
    Ambiguous {
        /// What was asked for.
        session: String,
        /// How many.
        found: usize,
    },
    /// A process works on it.
    #[error("another process works on session {session}")]
    Busy {
        /// Which session.
        session: String,
    },
    /// Its files are damaged; they are left as they are.
    #[error("session {session} is damaged: {what}")]
    Damaged {
        /// Which session.
        session: String,
        /// Which file and how.
        what: String,
    },
    /// It is another account's.
    #[error("session {session} is paid by {payer}")]
    OtherPayer {
        /// Which session.
        session: String,
        /// Whose it is.
        payer: EvmAddress,
    },
    /// It belongs to another network, chain or vault.
    #[error("session {session} belongs to another network, chain or vault")]
    OtherDomain {
        /// Which session.
        session: String,
    },
    /// One chunk that was uploaded as it is has no data map.
    #[error("session {session} is of one chunk, which has no data map")]
    NoDataMap {
        /// Which session.
        session: String,
    },
    /// Not an archive of a session, or a damaged one. Nothing of it was taken.
    #[error("not a whole archive of a session: {what}")]
    BadArchive {
        /// What is wrong, and where.
        what: String,
    },
    /// Written by a newer version.
    #[error("the archive was written by a newer version ({version}); update this program")]
    NewerArchive {
        /// Its version.
        version: u16,
    },
    /// A session of the same upload is here and can go on, or this one is finished here.
    #[error("session {session} is here already")]
    AlreadyHere {
        /// Which session.
        session: String,
    },
    /// The copy that is here knows of payments that the archive does not.
    #[error("the archive is older than session {session}, which is here")]
    OlderThanHere {
        /// Which session.
        session: String,
    },
    /// Our own disk failed.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

impl SessionError {
    /// Whether the same call may work later.
    pub fn retry(&self) -> Retry {
        match self {
            Self::Disk(error) => error.retry(),
            Self::Busy { .. } => Retry::Backoff,
            _ => Retry::Never,
        }
    }
}

impl From<UploadError> for SessionError {
    fn from(error: UploadError) -> Self {
        match error {
            UploadError::Busy { session } => Self::Busy { session },
            UploadError::DamagedSession { session, what } => Self::Damaged { session, what },
            UploadError::Disk(error) => Self::Disk(error),
            UploadError::Session(error) => error,
            other => Self::Damaged { session: String::new(), what: other.to_string() },
        }
    }
}

/// What would be lost with a session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stakes {
    /// Chunks that are paid for and not stored, while nodes still take them.
    pub unstored_chunks: u64,
    /// What their storage has cost, tips apart.
    pub unstored: Atto,
    /// Until when the last of them can be stored, as far as their payments say.
    pub store_until: Option<UnixTime>,
    /// Payments that are signed and of which nothing here says whether the vault has taken them.
    pub undecided_payments: u64,
    /// What they come to, tips included.
    pub undecided: Atto,
    /// Batches of which something may come back.
    pub refundable_batches: u64,
    /// The most that may come back of them, once.
    pub refundable: Atto,
    /// From when on the last of it can be had.
    pub refundable_from: Option<UnixTime>,
}

impl Stakes {
    /// Whether nothing would be lost.
    pub fn is_nothing(&self) -> bool {
        (self.unstored_chunks, self.undecided_payments, self.refundable_batches) == (0, 0, 0)
    }
}

impl std::fmt::Display for Stakes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut parts = Vec::new();
        if self.unstored_chunks > 0 {
            parts.push(format!(
                "{} chunks for {} are paid and not stored",
                self.unstored_chunks, self.unstored
            ));
        }
        if self.undecided_payments > 0 {
            parts.push(format!(
                "{} payments of {} are signed and may be taken",
                self.undecided_payments, self.undecided
            ));
        }
        if self.refundable_batches > 0 {
            parts.push(format!(
                "up to {} of {} batches may come back",
                self.refundable, self.refundable_batches
            ));
        }
        f.write_str(&parts.join("; "))
    }
}

/// Why a session was not forgotten.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ForgetError {
    /// Something of worth would be lost with it.
    #[error("session {session}: {stakes}")]
    AtStake {
        /// Which session.
        session: String,
        /// What.
        stakes: Box<Stakes>,
    },
    /// It is not there, in use or damaged, or our disk failed.
    #[error(transparent)]
    Session(#[from] SessionError),
}

impl ForgetError {
    /// Whether the same call may work later.
    pub fn retry(&self) -> Retry {
        match self {
            // When the chunks are stored, and what comes back has come back.
            Self::AtStake { .. } => Retry::Backoff,
            Self::Session(error) => error.retry(),
        }
    }
}

impl From<DiskError> for ForgetError {
    fn from(error: DiskError) -> Self {
        Self::Session(error.into())
    }
}

impl From<UploadError> for ForgetError {
    fn from(error: UploadError) -> Self {
        Self::Session(error.into())
    }
}
