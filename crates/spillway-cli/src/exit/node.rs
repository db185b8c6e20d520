use spillway_node::{NodeError, StoreError};

use super::{Code, Failure, chain_of};

impl From<NodeError> for Failure {
    fn from(error: NodeError) -> Self {
        match &error {
            NodeError::Disk(error) => Self::from(error),
            NodeError::Chain(error) => Self::from(error),
            NodeError::Net(error) => Self::from(error),
            NodeError::Store(StoreError::Locked { .. }) => {
                Self::new(Code::Locked, chain_of(&error)).hint("wait until it has ended")
            }
            NodeError::NoReward => Self::usage(chain_of(&error)).hint("check --reward-address"),
            NodeError::WrongChain { .. } => {
                Self::new(Code::Failure, chain_of(&error)).hint("check --rpc-url and --chain-id")
            }
            NodeError::NoVault { .. } => {
                Self::new(Code::Failure, chain_of(&error)).hint("check --vault and --rpc-url")
            }
            _ => Self::new(Code::Failure, chain_of(&error)),
        }
    }
}
