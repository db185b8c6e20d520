use spillway_types::Retry;

use crate::{MapError, OpenError};

/// Why a root did not lead to the data map of the content.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UnpackError {
    /// The map below would be longer than any that a reader takes.
    #[error("a data map of {declared} bytes below this one; at most {max} are taken")]
    TooLong {
        /// What the segments of the upper map add up to, in bytes.
        declared: u64,
        /// The longest.
        max: u64,
    },
    /// A chunk of the map below does not open. It may be supplied again, from another peer.
    #[error("chunk {index} of the data map of level {level} does not open")]
    Open {
        /// The level of the map that is being read.
        level: u8,
        /// Which of its segments.
        index: u64,
        /// Why.
        #[source]
        source: OpenError,
    },
    /// What the chunks hold is no data map.
    #[error("what should be the data map of level {level} is none")]
    Map {
        /// The level of the map that was expected.
        level: u8,
        /// Why.
        #[source]
        source: MapError,
    },
    /// The map below is not one level lower: levels strictly fall, or there could be cycles.
    #[error("a data map of level {found} where level {expected} belongs")]
    Level {
        /// One less than the upper map's.
        expected: u8,
        /// The lower map's.
        found: u8,
    },
    /// The map below describes another content than the one above.
    #[error("the data maps of levels {upper} and {lower} disagree about the {field}")]
    Disagree {
        /// The upper map's level.
        upper: u8,
        /// The lower map's level.
        lower: u8,
        /// What they disagree about.
        field: &'static str,
    },
    /// A chunk was supplied that is not needed.
    #[error("the data map is complete, no chunk is needed")]
    NotNeeded,
    /// Chunks are still needed.
    #[error("{missing} chunks of the data map of level {level} are still needed")]
    Incomplete {
        /// The level of the map that is being read.
        level: u8,
        /// How many of its chunks are missing.
        missing: u64,
    },
}

impl UnpackError {
    /// Whether the same call may work later.
    pub fn retry(&self) -> Retry {
        Retry::Never
    }
}
