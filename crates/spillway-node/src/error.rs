use spillway_disk::DiskError;
use spillway_net::NetError;
use spillway_pay::ChainError;
use spillway_store::StoreError;
use spillway_types::{EvmAddress, Retry};

use crate::IdentityError;

/// Why a node does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NodeError {
    /// Nobody would be paid: the vault refuses payments to the zero address.
    #[error("the reward address is zero: name the account that is to be paid")]
    NoReward,
    /// The node's key cannot be had.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The chunk store cannot be opened.
    #[error("the chunk store cannot be opened")]
    Store(#[from] StoreError),
    /// The node's directory cannot be used.
    #[error("the node's directory cannot be used")]
    Disk(#[from] DiskError),
    /// The chain cannot be asked.
    #[error("the chain cannot be asked")]
    Chain(#[from] ChainError),
    /// The RPC is of another chain.
    #[error("the RPC serves chain {found}, the node is set up for chain {expected}")]
    WrongChain {
        /// The chain that the node is set up for.
        expected: u64,
        /// The chain that the RPC serves.
        found: u64,
    },
    /// There is no contract at the vault's address.
    #[error("there is no contract at {vault}, which should be the vault")]
    NoVault {
        /// Where it should be.
        vault: EvmAddress,
    },
    /// The network cannot be started, or nobody is found there.
    #[error(transparent)]
    Net(#[from] NetError),
}

impl NodeError {
    /// Whether the same call may work later.
    pub fn retry(&self) -> Retry {
        match self {
            Self::NoReward | Self::WrongChain { .. } | Self::NoVault { .. } => Retry::Never,
            Self::Identity(error) => error.retry(),
            Self::Store(error) => error.retry(),
            Self::Disk(error) => error.retry(),
            Self::Chain(error) => error.retry(),
            Self::Net(error) => error.retry(),
        }
    }
}
