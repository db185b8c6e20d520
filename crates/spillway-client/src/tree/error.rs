use spillway_types::Retry;

use super::MAX_TREE_BYTES;

/// Why a directory's manifest is refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TreeError {
    /// It is not a manifest, or cut short.
    #[error("not a directory manifest")]
    NotATree,
    /// A newer program wrote it.
    #[error("directory manifest of version {found}; this program reads version 1: update it")]
    Version {
        /// Its version.
        found: u8,
    },
    /// It is longer than any manifest may be.
    #[error("a directory manifest of {found} bytes; the limit is {MAX_TREE_BYTES}")]
    TooLong {
        /// Its length, in bytes.
        found: u64,
    },
    /// It has more entries than any manifest may have.
    #[error("a directory of {found} entries; the limit is 1,000,000")]
    TooMany {
        /// How many.
        found: u64,
    },
    /// Its bytes do not decode.
    #[error("damaged directory manifest")]
    Encoding(#[source] postcard::Error),
    /// A path leads out, through a link, or stands twice.
    #[error("hostile or damaged path in the directory manifest: {path:?}")]
    Path {
        /// Which, with what is not text replaced.
        path: String,
    },
    /// A file's bytes are not where the manifest says.
    #[error("file {path:?} lies outside of the uploaded data")]
    Place {
        /// Which, with what is not text replaced.
        path: String,
    },
}

impl TreeError {
    /// The same bytes fail the same way again.
    pub fn retry(&self) -> Retry {
        Retry::Never
    }
}
