use spillway_types::{ChunkAddress, SegmentHash};

use crate::{KeyHashes, SealedChunk};

/// One segment in a data map: where its chunk is and what it must open to. The size of the chunk is
/// not here: a reader learns it from the chunk, whose address binds it, and an uploader has it from
/// the [`SealedChunk`](crate::SealedChunk).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where the chunk is stored.
    pub address: ChunkAddress,
    /// The hash of the plaintext.
    pub hash: SegmentHash,
    /// The length of the plaintext, in bytes.
    pub len: u32,
}

impl Entry {
    /// The entry of a segment of `len` bytes that was sealed with these keys.
    pub fn new(keys: &KeyHashes, len: usize, chunk: &SealedChunk) -> Self {
        Self {
            address: chunk.address,
            hash: keys.own(),
            len: u32::try_from(len).expect("invariant: what was sealed has at most 4 MiB"),
        }
    }
}
