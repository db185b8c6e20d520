use spillway_disk::DiskError;
use spillway_net::PeersError;
use spillway_types::{Retry, limits::STORE_QUORUM};

use crate::{DownloadError, PutFailure, UploadError};

/// Why an upload could not be verified.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// The data map cannot be read to its end: what it lists is not known.
    #[error("the data map cannot be read")]
    DataMap(#[from] DownloadError),
    /// Nobody can be asked.
    #[error(transparent)]
    Network(#[from] PeersError),
    /// Our own disk failed while proofs were looked for.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The sessions cannot be looked through.
    #[error("the proofs of sessions cannot be read")]
    Sessions(#[source] Box<UploadError>),
    /// It was cancelled.
    #[error("interrupted")]
    Interrupted,
}

impl From<UploadError> for VerifyError {
    fn from(error: UploadError) -> Self {
        match error {
            UploadError::Disk(error) => Self::Disk(error),
            error => Self::Sessions(Box::new(error)),
        }
    }
}

impl VerifyError {
    /// Whether the same call may work later.
    pub fn retry(&self) -> Retry {
        match self {
            Self::DataMap(error) => error.retry(),
            Self::Network(error) => error.retry(),
            Self::Disk(error) => error.retry(),
            Self::Sessions(error) => error.retry(),
            Self::Interrupted => Retry::Backoff,
        }
    }
}

/// Why a chunk has still fewer than five copies.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RepairFailure {
    /// No session of this data directory has paid for it.
    #[error("no session here has its proof")]
    NoProof,
    /// It can only be offered, and too few receipts show that it was stored in time.
    #[error("it can only be offered, and {found} of {STORE_QUORUM} receipts for that are kept")]
    NoReceipts {
        /// How many are kept.
        found: usize,
    },
    /// Its bytes are not here, and no copy could be fetched.
    #[error("no copy can be fetched")]
    NoBytes(#[source] DownloadError),
    /// The closest peers did not take it; this is what one of them said.
    #[error("not taken: {0}")]
    NotTaken(PutFailure),
    /// There are fewer than five peers.
    #[error("too few peers are near it")]
    NoPeers,
}

#[cfg(test)]
mod tests {
    use spillway_disk::DiskOp;

    use super::*;

    #[test]
    fn what_may_work_later_is_said_by_what_failed() {
        let too_long = || DownloadError::MapTooLong { found: 1 };
        let no_space = || DiskError::Full { op: DiskOp::Write, path: "session".into() };
        for (error, retry) in [
            (VerifyError::DataMap(too_long()), too_long().retry()),
            (VerifyError::DataMap(DownloadError::Interrupted), Retry::Backoff),
            (VerifyError::Network(PeersError::NoPeers), Retry::Backoff),
            (VerifyError::from(UploadError::Disk(no_space())), no_space().retry()),
            (VerifyError::from(UploadError::Interrupted), UploadError::Interrupted.retry()),
            (VerifyError::Interrupted, Retry::Backoff),
        ] {
            assert_eq!(error.retry(), retry, "{error:?}");
        }
        assert_eq!(too_long().retry(), Retry::Never);
        let disk = VerifyError::from(UploadError::Disk(no_space()));
        assert!(matches!(disk, VerifyError::Disk(_)), "{disk:?}");
    }
}
