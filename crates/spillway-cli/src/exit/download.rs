use std::path::Path;

use spillway_client::{DownloadError, MapError, PeersError};

use super::{Code, Failure, chain_of};
use crate::render::bytes;

impl From<DownloadError> for Failure {
    fn from(error: DownloadError) -> Self {
        Self::from(&error)
    }
}

impl From<&DownloadError> for Failure {
    fn from(error: &DownloadError) -> Self {
        match error {
            DownloadError::Disk(error) => Self::from(error),
            DownloadError::Network(error) => Self::from(error),
            DownloadError::Interrupted => Self::new(Code::Interrupted, "interrupted")
                .hint("nothing was written; run the same command again"),
            DownloadError::DataMap(error @ MapError::NewerVersion { .. }) => {
                Self::new(Code::Failure, chain_of(error))
            }
            DownloadError::DataMap(error) => Self::new(Code::Failure, chain_of(error))
                .hint("check that it is the whole .datamap file of an upload"),
            DownloadError::NotFound { address, .. } => Self::new(Code::NotFound, chain_of(error))
                .hint("check that this is the network it was uploaded to")
                .detail("address", address.to_string()),
            DownloadError::Unavailable { address, .. } => {
                Self::new(Code::TryAgain, chain_of(error))
                    .hint("try again later")
                    .detail("address", address.to_string())
            }
            DownloadError::DirectoryToStream => {
                Self::usage(chain_of(error)).hint("name a directory to make with -o")
            }
            DownloadError::Unfinished { path, bytes, bytes_total, source, .. } => {
                unfinished(source, path, (*bytes, *bytes_total))
            }
            _ => Self::new(Code::Failure, chain_of(error)),
        }
    }
}

impl Failure {
    /// Why a download to standard output failed: bytes may have gone there.
    pub(crate) fn of_stream(error: &DownloadError) -> Self {
        let failure = Self::from(error);
        let hint = match (error, failure.hint.as_deref()) {
            (DownloadError::DataMap(_) | DownloadError::DirectoryToStream, _) => return failure,
            (DownloadError::Interrupted, _) | (_, None) => String::new(),
            (_, Some(hint)) => format!("{hint}; "),
        };
        failure.hint(hint + "what was written is not whole; run the same command again")
    }
}

/// What went wrong, and that what is there already is kept.
fn unfinished(source: &DownloadError, path: &Path, (kept, total): (u64, u64)) -> Failure {
    let mut failure = Failure::from(source);
    let go_on = format!(
        "{} of {} are kept in {}; run the same command again to go on",
        bytes(kept),
        bytes(total),
        path.display()
    );
    let hint = match failure.hint.take() {
        Some(hint) if !matches!(source, DownloadError::Interrupted) => format!("{hint}; {go_on}"),
        _ => go_on,
    };
    let path = path.display().to_string();
    failure.hint(hint).detail("bytes_kept", kept).detail("kept_in", path)
}

impl From<&PeersError> for Failure {
    fn from(error: &PeersError) -> Self {
        match error {
            PeersError::NoPeers
            | PeersError::Unreachable { .. }
            | PeersError::Timeout { .. }
            | PeersError::Broken { .. } => Self::new(Code::TryAgain, chain_of(error))
                .hint("check --bootstrap and the connection, or try again later"),
            PeersError::Closed => Self::interrupted(),
            _ => Self::new(Code::Failure, chain_of(error)),
        }
    }
}
