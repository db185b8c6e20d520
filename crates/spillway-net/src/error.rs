use std::{io, time::Duration};

use spillway_types::Retry;

use crate::Address;

/// Why a network does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NetError {
    /// No transport is switched on.
    #[error("neither QUIC nor TCP is switched on")]
    NoTransport,
    /// A transport cannot be set up.
    #[error("the encryption of connections cannot be set up")]
    Handshake(#[source] io::Error),
    /// An address cannot be listened on.
    #[error("cannot listen on {address}")]
    Listen {
        /// Which.
        address: Address,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A listener did not come up in time.
    #[error("listening on {address} did not begin within {} s", after.as_secs())]
    ListenTimeout {
        /// Which.
        address: Address,
        /// The deadline that passed.
        after: Duration,
    },
    /// A client has no address to start from.
    #[error("no bootstrap address is given")]
    NoBootstrap,
    /// Nobody at the bootstrap addresses answers.
    #[error("no bootstrap peer answered within {} s", after.as_secs())]
    Unreachable {
        /// The deadline that passed.
        after: Duration,
    },
    /// The network was shut down.
    #[error("the network is shut down")]
    Closed,
}

impl NetError {
    /// Whether the same call may work later.
    pub fn retry(&self) -> Retry {
        match self {
            Self::Listen { .. } | Self::ListenTimeout { .. } | Self::Unreachable { .. } => {
                Retry::Backoff
            }
            Self::NoTransport | Self::Handshake(_) | Self::NoBootstrap | Self::Closed => {
                Retry::Never
            }
        }
    }
}
