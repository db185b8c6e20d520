use spillway_types::Retry;

use crate::{MapError, SealError};

/// Why a stream was not finished; `E` is the error of the caller's own two functions.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StreamError<E: std::error::Error + 'static> {
    /// A segment was not sealed.
    #[error("sealing failed")]
    Seal(#[from] SealError),
    /// The segments do not make a data map.
    #[error("the segments do not make a data map")]
    Map(#[source] MapError),
    /// The bytes of a held segment are not those that were handed out.
    #[error("the held segment {index} came back changed")]
    Held {
        /// Which.
        index: u64,
    },
    /// One of the caller's functions failed.
    #[error(transparent)]
    Caller(E),
}

impl<E: std::error::Error + 'static> StreamError<E> {
    /// Whether the same call may work later: a stream is gone when it was read.
    pub fn retry(&self) -> Retry {
        Retry::Never
    }
}
