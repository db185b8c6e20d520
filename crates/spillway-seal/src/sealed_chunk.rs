use bytes::Bytes;
use spillway_types::ChunkAddress;

/// A chunk: what is stored on the network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedChunk {
    /// BLAKE3 of the bytes.
    pub address: ChunkAddress,
    /// nonce ‖ ciphertext ‖ tag, at most 4 MiB; of a public root the plain encoded map.
    pub bytes: Bytes,
}

impl SealedChunk {
    pub(crate) fn new(bytes: Vec<u8>) -> Self {
        Self { address: ChunkAddress::of(&bytes), bytes: Bytes::from(bytes) }
    }
}
