use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::{
    prelude::{Just, Strategy, prop},
    test_runner::{Config, RngSeed},
};
use spillway_seal::{
    ContentKind, DataMap, Entry, KeyHashes, OpenError, SealOptions, SealedChunk, Sealer,
    UnpackError, Unpacker, UserSecret,
};
use spillway_types::{ChunkAddress, SegmentHash};

/// What a file was sealed to, before its map is packed.
pub(crate) struct Sealed {
    pub(crate) map: DataMap,
    pub(crate) chunks: Vec<SealedChunk>,
}

impl Sealed {
    pub(crate) fn addresses(&self) -> Vec<ChunkAddress> {
        self.chunks.iter().map(|chunk| chunk.address).collect()
    }
}

/// The segments of a file: an empty one is one empty segment.
pub(crate) fn cut(file: &[u8], segment_bytes: usize) -> Vec<&[u8]> {
    if file.is_empty() { vec![file] } else { file.chunks(segment_bytes).collect() }
}

pub(crate) fn seal_file(file: &[u8], options: &SealOptions) -> Sealed {
    seal_segments(&cut(file, options.segment_bytes), options)
}

pub(crate) fn seal_segments(segments: &[&[u8]], options: &SealOptions) -> Sealed {
    let hashes: Vec<_> = segments.iter().map(|bytes| SegmentHash::of(bytes)).collect();
    let secret = options.file_secret(&hashes);
    let mut sealer = Sealer::new(secret.clone(), 0, options.compression);
    let (mut entries, mut chunks) = (Vec::new(), Vec::new());
    for (index, segment) in segments.iter().enumerate() {
        let keys = KeyHashes::at(&hashes, index).unwrap();
        let chunk = sealer.seal(&keys, segment).unwrap();
        assert_eq!(chunk.address, ChunkAddress::of(&chunk.bytes));
        entries.push(Entry::new(&keys, segment.len(), &chunk));
        chunks.push(chunk);
    }
    let map = DataMap::new(ContentKind::File, options.segment_bytes, secret, entries).unwrap();
    Sealed { map, chunks }
}

/// A network that forgets nothing.
pub(crate) fn stored(chunks: &[SealedChunk]) -> BTreeMap<ChunkAddress, Bytes> {
    chunks.iter().map(|chunk| (chunk.address, chunk.bytes.clone())).collect()
}

pub(crate) fn open_file(
    map: &DataMap,
    stored: &BTreeMap<ChunkAddress, Bytes>,
) -> Result<Vec<u8>, OpenError> {
    let mut opener = map.opener();
    let mut file = Vec::new();
    for (index, entry) in map.entries().iter().enumerate() {
        let keys = map.key_hashes(index).unwrap();
        file.extend_from_slice(&opener.open(&keys, entry, &stored[&entry.address])?);
    }
    Ok(file)
}

pub(crate) fn unpack(
    root: DataMap,
    stored: &BTreeMap<ChunkAddress, Bytes>,
) -> Result<DataMap, UnpackError> {
    let mut unpacker = Unpacker::new(root)?;
    while let Some(entry) = unpacker.pending().first() {
        let chunk = &stored[&entry.address];
        unpacker.supply(chunk)?;
    }
    unpacker.finish()
}

pub(crate) fn small(segment_bytes: usize) -> SealOptions {
    SealOptions { segment_bytes, ..SealOptions::default() }
}

pub(crate) fn with_secret(mut options: SealOptions, secret: &str) -> SealOptions {
    options.secret = Some(UserSecret::new(secret.into()));
    options
}

pub(crate) fn random(len: usize, seed: u64) -> Vec<u8> {
    let mut bytes = vec![0; len];
    fastrand::Rng::with_seed(seed).fill(&mut bytes);
    bytes
}

/// The same cases in every run.
pub(crate) fn cases(cases: u32) -> Config {
    Config { cases, rng_seed: RngSeed::Fixed(0x5EA1), ..Config::default() }
}

/// A small segment size and a file of 0 to 6 segments, with lengths at and around every boundary as
/// likely as all others together; half of them compress.
pub(crate) fn files() -> impl Strategy<Value = (usize, Vec<u8>)> {
    (1_usize..=300)
        .prop_flat_map(|segment| {
            let edges = (0_usize..=6, -1_isize..=1)
                .prop_map(move |(count, off)| (segment * count).saturating_add_signed(off));
            (Just(segment), proptest::prop_oneof![edges, 0..=segment * 6])
        })
        .prop_flat_map(|(segment, len)| {
            let any = prop::collection::vec(proptest::num::u8::ANY, len);
            let dull = prop::collection::vec(0_u8..2, len);
            (Just(segment), proptest::prop_oneof![any, dull])
        })
}
