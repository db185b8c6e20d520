use serde::{Deserialize, Serialize};
use spillway_types::{ChunkAddress, Domain, EvmAddress, UnixTime};

use super::SessionKey;

/// One chunk of the upload: where it goes and how long it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ChunkInfo {
    pub address: ChunkAddress,
    /// Sealed size, in bytes.
    pub size: u32,
    /// Which segment of the source it is; `None` for chunks of data maps and raw chunks.
    pub segment: Option<u32>,
}

/// What the source was, for its user to recognise and for sealing a lost chunk again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SourceNote {
    /// The path as it was named, or `-`.
    pub name: String,
    /// Plaintext bytes of the source's files.
    pub bytes: u64,
    /// Entries that were not uploaded.
    pub skipped: Vec<String>,
}

impl SourceNote {
    /// What a stream is called.
    pub(crate) const STREAM: &str = "-";

    /// Whether it can be read once only.
    pub(crate) fn is_stream(&self) -> bool {
        self.name == Self::STREAM
    }
}

/// What is uploaded: fixed when everything is sealed, before the first network message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Manifest {
    pub key: SessionKey,
    pub created: UnixTime,
    pub domain: Domain,
    pub payer: EvmAddress,
    pub source: SourceNote,
    /// The spill that holds the chunks.
    pub spill: String,
    /// Each address once, segments first.
    pub chunks: Vec<ChunkInfo>,
    /// The root of the data map, which is what the user gets; `None` for a raw chunk.
    pub root: Option<Vec<u8>>,
    /// Where the root or the raw chunk is public.
    pub public_address: Option<ChunkAddress>,
}
