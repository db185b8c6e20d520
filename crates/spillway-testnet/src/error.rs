use std::{io, path::PathBuf, time::Duration};

use spillway_disk::DiskError;
use spillway_net::NetError;
use spillway_node::NodeError;
use spillway_pay::{AnvilError, ChainError, PayError, WalletError};
use spillway_types::Retry;

/// Why a test network does not start, or does not end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TestnetError {
    /// The chain does not start.
    #[error(transparent)]
    Anvil(#[from] AnvilError),
    /// The chain does not answer.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// The contracts cannot be deployed.
    #[error("the contracts cannot be deployed")]
    Deploy(#[source] PayError),
    /// The beacon cannot be given its seeds.
    #[error("the beacon's seeds cannot be posted")]
    Seeds(#[source] PayError),
    /// There is no key for the account that pays.
    #[error(transparent)]
    Wallet(#[from] WalletError),
    /// The network's directory cannot be made or removed.
    #[error("the directory {} cannot be made or removed", path.display())]
    Directory {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A node's or client's directory cannot be used.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// A node does not start.
    #[error("node {node} does not start")]
    Node {
        /// Which.
        node: usize,
        /// Why.
        #[source]
        source: NodeError,
    },
    /// A client cannot join the network.
    #[error(transparent)]
    Net(#[from] NetError),
    /// The nodes did not find each other in time.
    #[error("node {node} knows fewer than {wanted} others after {} s", after.as_secs())]
    NotReady {
        /// The node that was waited for.
        node: usize,
        /// How many others it should know.
        wanted: usize,
        /// How long was waited.
        after: Duration,
    },
    /// Anvil does not end.
    #[error("the chain cannot be ended")]
    Shutdown(#[source] io::Error),
}

impl TestnetError {
    /// Whether the same call may work later.
    pub fn retry(&self) -> Retry {
        match self {
            Self::Anvil(error) => error.retry(),
            Self::Chain(error) => error.retry(),
            Self::Deploy(error) | Self::Seeds(error) => error.retry(),
            Self::Disk(error) => error.retry(),
            Self::Node { source, .. } => source.retry(),
            Self::Net(error) => error.retry(),
            Self::NotReady { .. } => Retry::Backoff,
            _ => Retry::Never,
        }
    }
}
