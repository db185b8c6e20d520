use spillway_types::{Retry, SegmentHash, limits};

use crate::{
    Compression, DataMap, Entry, KeyHashes, SealError, SealedChunk, Sealer, codec::encoded_len,
    data_map::MapParts,
};

/// The largest root, in bytes: a public root is one chunk. 61,678 entries, 241 GiB of full
/// segments.
pub const MAX_ROOT_BYTES: usize = limits::MAX_CHUNK_BYTES;

/// How a data map is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PackOptions {
    /// The largest root, in bytes: at most [`MAX_ROOT_BYTES`].
    pub max_root_bytes: usize,
    /// Where encoded maps are cut, in bytes, whatever the content's segment size is: 1 to
    /// [`limits::SEGMENT_BYTES`]. Smaller ones than the default are for tests and simulation.
    pub segment_bytes: usize,
}

impl Default for PackOptions {
    fn default() -> Self {
        Self { max_root_bytes: MAX_ROOT_BYTES, segment_bytes: limits::SEGMENT_BYTES }
    }
}

/// A data map whose root is small enough.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackedMap {
    /// The root: the map itself if it was small enough.
    pub root: DataMap,
    /// The chunks of the maps below the root; none if the root is the map itself.
    pub chunks: Vec<SealedChunk>,
}

/// Why a data map was not packed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PackError {
    /// The options allow a root that fits no chunk.
    #[error("a data map root of up to {found} bytes fits no chunk: {max} at most")]
    RootBytes {
        /// What was asked for.
        found: usize,
        /// The largest.
        max: usize,
    },
    /// The map does not get smaller, or not small enough within the levels that a reader follows.
    #[error("the data map does not fit {max_root_bytes} bytes, however often it is sealed again")]
    NoFit {
        /// What the options allow.
        max_root_bytes: usize,
    },
    /// A segment of a map was not sealed.
    #[error("sealing the data map failed")]
    Seal(#[from] SealError),
}

impl PackError {
    /// Whether the same call may work later.
    pub fn retry(&self) -> Retry {
        Retry::Never
    }
}

impl DataMap {
    /// While the encoded map is larger than the root may be: cuts it into segments, seals them one
    /// level up, and goes on with the map of those. Maps are never compressed: hashes do not
    /// shrink, and so their addresses depend on no version of zstd.
    ///
    /// # Errors
    /// See [`PackError`]; with the default options there is none.
    pub fn pack(self, options: PackOptions) -> Result<PackedMap, PackError> {
        if options.max_root_bytes > MAX_ROOT_BYTES {
            return Err(PackError::RootBytes {
                found: options.max_root_bytes,
                max: MAX_ROOT_BYTES,
            });
        }
        if options.segment_bytes == 0 || options.segment_bytes > limits::SEGMENT_BYTES {
            let (found, max) = (options.segment_bytes, limits::SEGMENT_BYTES);
            return Err(SealError::SegmentBytes { found, max }.into());
        }
        let mut root = self;
        let mut chunks = Vec::new();
        while root.encoded_len() > options.max_root_bytes {
            root = seal_map(&root, options, &mut chunks)?;
        }
        Ok(PackedMap { root, chunks })
    }
}

/// Seals one map and returns the one above it.
fn seal_map(
    map: &DataMap,
    options: PackOptions,
    chunks: &mut Vec<SealedChunk>,
) -> Result<DataMap, PackError> {
    let encoded = map.encode();
    let count = encoded.len().div_ceil(options.segment_bytes);
    let level = map.level + 1;
    if level > limits::MAX_DATA_MAP_DEPTH || encoded_len(count) >= encoded.len() {
        return Err(PackError::NoFit { max_root_bytes: options.max_root_bytes });
    }
    let segments: Vec<&[u8]> = encoded.chunks(options.segment_bytes).collect();
    let hashes: Vec<SegmentHash> = segments.iter().map(|bytes| SegmentHash::of(bytes)).collect();
    let mut sealer = Sealer::new(map.secret.clone(), level, Compression::Off);
    let mut entries = Vec::with_capacity(segments.len());
    for (index, segment) in segments.iter().enumerate() {
        let keys =
            KeyHashes::at(&hashes, index).expect("invariant: there is a hash for each segment");
        let chunk = sealer.seal(&keys, segment)?;
        entries.push(Entry::new(&keys, segment.len(), &chunk));
        chunks.push(chunk);
    }
    let segment_bytes = u32::try_from(options.segment_bytes)
        .expect("invariant: the segment size was checked, 4 MiB at most");
    let above = DataMap::checked(MapParts {
        content: map.content,
        content_len: map.content_len,
        level,
        segment_bytes,
        secret: map.secret.clone(),
        entries,
    });
    Ok(above.expect("invariant: the segments were cut at the segment size, fewer than below"))
}
