use spillway_types::{SegmentHash, limits};

use crate::{Compression, FileSecret, SealError, UserSecret};

/// How a file is sealed.
#[derive(Clone, Debug)]
pub struct SealOptions {
    /// Where it is cut, in bytes: 1 to [`limits::SEGMENT_BYTES`]. Smaller ones than the default
    /// are for tests and simulation: deduplication holds between equal ones only.
    pub segment_bytes: usize,
    /// Whether to compress.
    pub compression: Compression,
    /// The user's secret; without one the file is public.
    pub secret: Option<UserSecret>,
}

impl Default for SealOptions {
    fn default() -> Self {
        Self { segment_bytes: limits::SEGMENT_BYTES, compression: Compression::Auto, secret: None }
    }
}

impl SealOptions {
    /// The secret of the file whose segments have these hashes.
    pub fn file_secret(&self, hashes: &[SegmentHash]) -> FileSecret {
        match &self.secret {
            None => FileSecret::public(),
            Some(secret) => FileSecret::derive(secret, hashes),
        }
    }

    /// # Errors
    /// [`SealError::SegmentBytes`] for a segment size that is zero or too large.
    pub fn check(&self) -> Result<(), SealError> {
        if self.segment_bytes == 0 || self.segment_bytes > limits::SEGMENT_BYTES {
            return Err(SealError::SegmentBytes {
                found: self.segment_bytes,
                max: limits::SEGMENT_BYTES,
            });
        }
        Ok(())
    }
}
