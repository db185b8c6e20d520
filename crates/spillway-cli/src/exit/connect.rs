use spillway_client::{ConnectError, NetError};

use super::{Code, Failure, chain_of};

impl From<ConnectError> for Failure {
    fn from(error: ConnectError) -> Self {
        match &error {
            ConnectError::Disk(error) => Self::from(error),
            ConnectError::Network(error) => Self::from(error),
            ConnectError::Chain(error) => Self::from(error),
            ConnectError::Payments(error) => Self::from(error),
            _ => Self::new(Code::Failure, chain_of(&error)),
        }
    }
}

impl From<&NetError> for Failure {
    fn from(error: &NetError) -> Self {
        match error {
            NetError::Unreachable { .. } => Self::new(Code::TryAgain, chain_of(error))
                .hint("check --bootstrap and the connection, or try again later"),
            NetError::Listen { .. } | NetError::ListenTimeout { .. } => {
                Self::new(Code::Failure, chain_of(error))
                    .hint("check --listen, and that nothing else listens there")
            }
            NetError::NoBootstrap => {
                Self::usage(chain_of(error)).hint("name a peer with --bootstrap")
            }
            NetError::Closed => Self::interrupted(),
            _ => Self::new(Code::Failure, chain_of(error)),
        }
    }
}
