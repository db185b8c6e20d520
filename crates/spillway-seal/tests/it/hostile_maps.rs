//! Data maps that no writer makes, put together here byte by byte.

use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::{prop_assert_eq, proptest};
use spillway_seal::{
    Compression, DataMap, Entry, FileSecret, KeyHashes, MAP_OVERHEAD_BYTES, MAX_MAP_ENTRIES,
    MapError, Sealer, UnpackError, Unpacker,
};
use spillway_types::{ChunkAddress, SegmentHash, limits};

use crate::support::{cases, unpack};

/// A data map as bytes, with a right checksum whatever it says.
#[derive(Clone)]
struct Crafted {
    magic: [u8; 8],
    version: u16,
    level: u8,
    content: u8,
    content_len: u64,
    segment_bytes: u32,
    secret: [u8; 32],
    count: Option<u32>,
    entries: Vec<Entry>,
}

impl Crafted {
    fn new(entries: Vec<Entry>) -> Self {
        Self {
            magic: *b"SPILLMAP",
            version: 1,
            level: 0,
            content: 0,
            content_len: entries.iter().map(|entry| u64::from(entry.len)).sum(),
            segment_bytes: 100,
            secret: [0; 32],
            count: None,
            entries,
        }
    }

    fn bytes(&self) -> Vec<u8> {
        let count = self.count.unwrap_or(u32::try_from(self.entries.len()).unwrap());
        let mut bytes = self.magic.to_vec();
        bytes.extend_from_slice(&self.version.to_le_bytes());
        bytes.extend_from_slice(&[self.level, self.content]);
        bytes.extend_from_slice(&self.content_len.to_le_bytes());
        bytes.extend_from_slice(&self.segment_bytes.to_le_bytes());
        bytes.extend_from_slice(&self.secret);
        bytes.extend_from_slice(&count.to_le_bytes());
        for entry in &self.entries {
            bytes.extend_from_slice(&entry.address.0);
            bytes.extend_from_slice(&entry.hash.0);
            bytes.extend_from_slice(&entry.len.to_le_bytes());
        }
        bytes.extend_from_slice(blake3::hash(&bytes).as_bytes());
        bytes
    }

    fn decode(&self) -> Result<DataMap, MapError> {
        DataMap::decode(&self.bytes())
    }
}

fn entry(len: u32) -> Entry {
    Entry { address: ChunkAddress([1; 32]), hash: SegmentHash([2; 32]), len }
}

fn sound() -> Crafted {
    Crafted::new(vec![entry(100), entry(0), entry(33)])
}

/// Seals `below` as the content of a map of `level`, and returns that map.
fn above(below: &[u8], level: u8, stored: &mut BTreeMap<ChunkAddress, Bytes>) -> Crafted {
    let segment_bytes = 4096;
    let segments: Vec<&[u8]> = below.chunks(segment_bytes).collect();
    let hashes: Vec<SegmentHash> = segments.iter().map(|bytes| SegmentHash::of(bytes)).collect();
    let mut sealer = Sealer::new(FileSecret::public(), level, Compression::Auto);
    let mut entries = Vec::new();
    for (index, segment) in segments.iter().enumerate() {
        let keys = KeyHashes::at(&hashes, index).unwrap();
        let chunk = sealer.seal(&keys, segment).unwrap();
        entries.push(Entry::new(&keys, segment.len(), &chunk));
        stored.insert(chunk.address, chunk.bytes);
    }
    Crafted {
        level,
        segment_bytes: u32::try_from(segment_bytes).unwrap(),
        content_len: sound().content_len,
        ..Crafted::new(entries)
    }
}

#[test]
fn the_crafted_map_is_sound_when_nothing_is_wrong_with_it() {
    let map = sound().decode().unwrap();
    assert_eq!(map.encode(), sound().bytes());
    assert_eq!(map.content_len(), 133);
    let mut stored = BTreeMap::new();
    let root = above(&sound().bytes(), 1, &mut stored).decode().unwrap();
    assert_eq!(unpack(root, &stored), Ok(map));
}

/// What becomes of the sound map after this change.
fn changed(change: impl FnOnce(&mut Crafted)) -> Result<DataMap, MapError> {
    let mut map = sound();
    change(&mut map);
    map.decode()
}

#[test]
fn headers_of_something_else_or_another_version() {
    assert_eq!(changed(|map| map.magic = *b"PILLSMAP"), Err(MapError::Magic));
    for found in [2, 999, u16::MAX] {
        let error = MapError::NewerVersion { found, known: 1 };
        assert_eq!(changed(|map| map.version = found), Err(error));
    }
    assert_eq!(changed(|map| map.version = 0), Err(MapError::UnknownVersion { found: 0 }));
    assert_eq!(changed(|map| map.content = 2), Err(MapError::Content { found: 2 }));
    for found in [9, 255] {
        assert_eq!(changed(|map| map.level = found), Err(MapError::TooDeep { found, max: 8 }));
    }
}

#[test]
fn lengths_and_sizes_that_cannot_be() {
    let max = limits::SEGMENT_BYTES as u64;
    for size in [0, u32::try_from(max).unwrap() + 1, u32::MAX] {
        let error = MapError::SegmentBytes { found: u64::from(size), max };
        assert_eq!(changed(|map| map.segment_bytes = size), Err(error));
    }
    assert_eq!(
        changed(|map| map.segment_bytes = 99),
        Err(MapError::EntryLen { index: 0, found: 100, max: 99 })
    );
    assert_eq!(
        changed(|map| map.entries[1].len = u32::MAX),
        Err(MapError::EntryLen { index: 1, found: u64::from(u32::MAX), max: 100 })
    );
    for declared in [0, 132, 134, u64::MAX] {
        let error = MapError::ContentLen { declared, found: 133 };
        assert_eq!(changed(|map| map.content_len = declared), Err(error));
    }
    assert_eq!(changed(|map| map.entries.clear()), Err(MapError::NoEntries));
}

#[test]
fn counts_that_the_bytes_do_not_hold() {
    let found = sound().bytes().len() as u64;
    let len = |count: u64| MAP_OVERHEAD_BYTES as u64 + 68 * count;
    assert_eq!(found, len(3));
    let counted = |count| Crafted { count: Some(count), ..sound() }.decode();
    assert_eq!(counted(4), Err(MapError::Truncated { expected: len(4), found }));
    assert_eq!(counted(2), Err(MapError::TrailingBytes { expected: len(2), found }));
    let most = u32::try_from(MAX_MAP_ENTRIES).unwrap();
    let expected = len(u64::from(most));
    assert_eq!(counted(most), Err(MapError::Truncated { expected, found }));
    for count in [most + 1, u32::MAX] {
        assert_eq!(
            counted(count),
            Err(MapError::TooManyEntries { found: u64::from(count), max: u64::from(most) })
        );
    }
}

#[test]
fn every_truncation_and_anything_behind_the_end() {
    let bytes = sound().bytes();
    for len in 0..bytes.len() {
        let expected = if len < 60 { MAP_OVERHEAD_BYTES } else { bytes.len() } as u64;
        assert_eq!(
            DataMap::decode(&bytes[..len]),
            Err(MapError::Truncated { expected, found: len as u64 })
        );
    }
    let longer = [bytes.as_slice(), &[0]].concat();
    assert_eq!(
        DataMap::decode(&longer),
        Err(MapError::TrailingBytes {
            expected: bytes.len() as u64,
            found: bytes.len() as u64 + 1
        })
    );
    let mut damaged = bytes;
    damaged[70] ^= 1;
    assert_eq!(DataMap::decode(&damaged), Err(MapError::Checksum));
}

#[test]
fn levels_that_do_not_fall() {
    for (upper, lower) in [(1, 1), (1, 2), (2, 2), (3, 1), (8, 8), (2, 0)] {
        let mut stored = BTreeMap::new();
        let below = Crafted { level: lower, segment_bytes: 4096, ..sound() };
        let root = above(&below.bytes(), upper, &mut stored).decode().unwrap();
        assert_eq!(
            unpack(root, &stored),
            Err(UnpackError::Level { expected: upper - 1, found: lower })
        );
    }
}

#[test]
fn a_map_that_names_itself() {
    // No map holds its own address or hash; the nearest to a cycle is one whose entry leads to the
    // chunk of the level above, which has other keys.
    let mut stored = BTreeMap::new();
    let first = above(&sound().bytes(), 1, &mut stored);
    let second = above(&first.bytes(), 2, &mut stored);
    let cyclic = Crafted { level: 1, ..second };
    let found = unpack(cyclic.decode().unwrap(), &stored);
    assert_eq!(
        found,
        Err(UnpackError::Open { level: 0, index: 0, source: spillway_seal::OpenError::Tag })
    );
}

#[test]
fn maps_that_disagree() {
    let wrong = [
        ("kind of content", Crafted { content: 1, ..sound() }),
        ("length of the content", Crafted::new(vec![entry(100), entry(34)])),
        ("file secret", Crafted { secret: [9; 32], ..sound() }),
    ];
    for (field, below) in wrong {
        let mut stored = BTreeMap::new();
        let root = above(&below.bytes(), 1, &mut stored).decode().unwrap();
        assert_eq!(unpack(root, &stored), Err(UnpackError::Disagree { upper: 1, lower: 0, field }));
    }
}

#[test]
fn what_is_below_is_no_map() {
    let cases: [(&[u8], MapError); 3] = [
        (b"any file", MapError::Magic),
        (b"", MapError::Truncated { expected: MAP_OVERHEAD_BYTES as u64, found: 0 }),
        (&Crafted { version: 2, ..sound() }.bytes(), MapError::NewerVersion { found: 2, known: 1 }),
    ];
    for (below, source) in cases {
        let mut stored = BTreeMap::new();
        let root = match below {
            [] => above(&[0], 1, &mut stored),
            _ => above(below, 1, &mut stored),
        };
        let source = if below.is_empty() {
            MapError::Truncated { expected: MAP_OVERHEAD_BYTES as u64, found: 1 }
        } else {
            source
        };
        assert_eq!(
            unpack(root.decode().unwrap(), &stored),
            Err(UnpackError::Map { level: 0, source })
        );
    }
}

#[test]
fn a_root_that_promises_an_endless_map() {
    let full = u32::try_from(limits::SEGMENT_BYTES).unwrap();
    let root = Crafted { level: 1, segment_bytes: full, ..Crafted::new(vec![entry(full); 60]) };
    let root = root.decode().unwrap();
    let declared = 60 * u64::from(full);
    let max = (MAP_OVERHEAD_BYTES + 68 * MAX_MAP_ENTRIES) as u64;
    assert_eq!(Unpacker::new(root).unwrap_err(), UnpackError::TooLong { declared, max });
}

proptest! {
    #![proptest_config(cases(2000))]

    /// Whatever is changed, with a checksum that fits: it is refused, or it is the encoding of the
    /// map that was read. There are no two encodings of one map.
    #[test]
    fn what_is_accepted_is_canonical(
        changes in proptest::collection::vec((0_usize..264, proptest::num::u8::ANY), 1..4),
    ) {
        let mut bytes = sound().bytes();
        bytes.truncate(bytes.len() - 32);
        for (at, byte) in changes {
            bytes[at] = byte;
        }
        bytes.extend_from_slice(blake3::hash(&bytes.clone()).as_bytes());
        if let Ok(map) = DataMap::decode(&bytes) {
            prop_assert_eq!(map.encode(), bytes);
        }
    }
}
