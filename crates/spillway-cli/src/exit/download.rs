use spillway_client::{DownloadError, MapError, PeersError};

use super::{Code, Failure, chain_of};

impl From<DownloadError> for Failure {
    fn from(error: DownloadError) -> Self {
        match &error {
            DownloadError::Disk(error) => Self::from(error),
            DownloadError::Network(error) => Self::from(error),
            DownloadError::Interrupted => Self::new(Code::Interrupted, "interrupted")
                .hint("nothing was written; run the same command again"),
            DownloadError::DataMap(error @ MapError::NewerVersion { .. }) => {
                Self::new(Code::Failure, chain_of(error))
            }
            DownloadError::DataMap(error) => Self::new(Code::Failure, chain_of(error))
                .hint("check that it is the whole .datamap file of an upload"),
            DownloadError::NotFound { address, .. } => Self::new(Code::NotFound, chain_of(&error))
                .hint("check that this is the network it was uploaded to")
                .detail("address", address.to_string()),
            DownloadError::Unavailable { address, .. } => {
                Self::new(Code::TryAgain, chain_of(&error))
                    .hint("try again later")
                    .detail("address", address.to_string())
            }
            DownloadError::DirectoryToStream => {
                Self::usage(chain_of(&error)).hint("name a directory to make with -o")
            }
            _ => Self::new(Code::Failure, chain_of(&error)),
        }
    }
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
