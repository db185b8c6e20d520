use std::time::Duration;

use crate::ChainError;

/// How an RPC server is asked.
#[derive(Clone)]
pub struct RpcOptions {
    /// Its URL, `http` or `https`; it may hold credentials, which are never shown.
    pub url: String,
    /// How long one answer may take.
    pub timeout: Duration,
}

/// A chain behind a JSON-RPC server.
#[derive(Debug)]
pub struct RpcChain {
    endpoint: String,
}

impl RpcChain {
    /// A chain behind this server. Nothing is asked yet.
    ///
    /// # Errors
    /// [`ChainError::BadUrl`].
    pub fn new(options: RpcOptions) -> Result<Self, ChainError> {
        unimplemented!("{}", options.timeout.as_secs())
    }

    /// The server, without credentials: scheme, host and port.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }
}
