//! Data maps and sealed chunks, for `cargo xtask fuzz` and the test below.

use spillway_types::{ChunkAddress, SegmentHash, limits};

use crate::{
    Compression, ContentKind, DataMap, Entry, FileSecret, KeyHashes, Opener, PackOptions,
    SealedChunk, Sealer, Unpacker,
    codec::MAP_OVERHEAD_BYTES,
    data_map::MapParts,
    key_hashes::{NONCE_BYTES, nonce},
    sealer::{FLAG_RAW, FLAG_ZSTD, encrypt},
};

/// Name, what is run on every input, seeds.
pub type Target = (&'static str, fn(&[u8]), fn() -> Vec<Vec<u8>>);

/// The decoders of this crate.
pub const TARGETS: &[Target] = &[
    ("data_map", data_map, data_map_seeds),
    ("unpack", unpack, data_map_seeds),
    ("open", open, open_seeds),
];

/// Of a map without entries.
const CHECKSUM_BYTES: usize = 32;

/// Data maps of any level, as they are and with the checksum made right.
fn data_map(input: &[u8]) {
    one_map(input);
    if let Some((body, _)) = input.split_last_chunk::<CHECKSUM_BYTES>() {
        one_map(&[body, blake3::hash(body).as_bytes()].concat());
    }
}

fn one_map(bytes: &[u8]) {
    let Ok(map) = DataMap::decode(bytes) else { return };
    assert_eq!(map.encode(), bytes, "a map has one encoding");
    let mut longer = bytes.to_vec();
    longer.push(0);
    assert!(DataMap::decode(&longer).is_err(), "nothing follows a map");
    let ends = [0, 1, map.len_at_level() / 2, map.len_at_level(), u64::MAX];
    for range in ends.iter().flat_map(|from| ends.map(|to| *from..to)) {
        let touched: u64 =
            map.segments_in(range.clone()).map(|slice| slice.within.len() as u64).sum();
        let end = range.end.min(map.len_at_level());
        assert_eq!(touched, end.saturating_sub(range.start), "{range:?}");
    }
}

/// The input as the encoded map below a root that names it truly: its chunks open, and then it is
/// decoded, whatever it is.
fn unpack(input: &[u8]) {
    if input.is_empty() {
        return;
    }
    let below = match input.split_last_chunk::<CHECKSUM_BYTES>() {
        Some((body, _)) => [body, blake3::hash(body).as_bytes()].concat(),
        None => input.to_vec(),
    };
    // What the map says of itself, so that root and map agree.
    let (content, content_len, level) = DataMap::decode(&below)
        .map_or((ContentKind::File, 0, 1), |map| {
            (map.content(), map.content_len(), map.level() + 1)
        });
    let (secret, segment_bytes) = (FileSecret::public(), 700);
    let segments: Vec<&[u8]> = below.chunks(segment_bytes).collect();
    let hashes: Vec<SegmentHash> = segments.iter().map(|bytes| SegmentHash::of(bytes)).collect();
    let mut sealer = Sealer::new(secret.clone(), level, Compression::Off);
    let mut chunks = Vec::new();
    let mut entries = Vec::new();
    for (index, segment) in segments.iter().enumerate() {
        let keys = KeyHashes::at(&hashes, index).expect("invariant: a hash a segment");
        let chunk = sealer.seal(&keys, segment).expect("invariant: segments are short");
        entries.push(Entry::new(&keys, segment.len(), &chunk));
        chunks.push(chunk);
    }
    let root = DataMap::checked(MapParts {
        content,
        content_len,
        level,
        segment_bytes: 700,
        secret,
        entries,
    });
    let Ok(root) = root else { return };
    let Ok(mut unpacker) = Unpacker::new(root) else { return };
    for chunk in &chunks {
        assert_eq!(unpacker.pending().first().map(|entry| entry.address), Some(chunk.address));
        if unpacker.supply(&chunk.bytes).is_err() {
            return;
        }
    }
    // Whatever follows is not there: it must say so, and take no other chunk for it.
    if let Some(entry) = unpacker.pending().first() {
        assert!(entry.len as usize <= limits::SEGMENT_BYTES);
        assert!(unpacker.supply(&chunks[0].bytes).is_err());
        assert!(unpacker.finish().is_err());
    } else {
        assert_eq!(unpacker.finish().map(|map| map.level()), Ok(0));
    }
}

fn data_map_seeds() -> Vec<Vec<u8>> {
    let entry = |number: u8| Entry {
        address: ChunkAddress([number; 32]),
        hash: SegmentHash([number; 32]),
        len: 100,
    };
    let map = |count: u8, content| {
        let entries = (0..count).map(entry).collect();
        DataMap::new(content, limits::SEGMENT_BYTES, FileSecret::public(), entries)
            .expect("invariant: a sound map")
    };
    let options = PackOptions { max_root_bytes: 400, segment_bytes: 256 };
    let packed = map(20, ContentKind::File).pack(options).expect("invariant: it gets smaller");
    vec![
        map(1, ContentKind::File).encode(),
        map(3, ContentKind::Directory).encode(),
        packed.root.encode(),
        vec![0; MAP_OVERHEAD_BYTES],
    ]
}

/// Declared lengths are below this, in bytes: twice the most that is taken.
const MAX_DECLARED: u32 = 8 << 20;

/// A chunk whose address and tag are right, around any payload: four bytes of declared length, then
/// flag and data.
fn open(input: &[u8]) {
    let Some((len, payload)) = input.split_first_chunk::<4>() else { return };
    let len = u32::from_le_bytes(*len) % MAX_DECLARED;
    let hash = SegmentHash::of(payload.get(1..).unwrap_or_default());
    let keys = KeyHashes::at(&[hash], 0).expect("invariant: one hash");
    let secret = FileSecret::public();
    let key = keys.key(&secret, 0);
    let nonce = nonce(&key, payload);
    let mut chunk = [&[0; NONCE_BYTES], payload].concat();
    let tag = encrypt(&key, nonce, &mut chunk[NONCE_BYTES..]);
    chunk[..NONCE_BYTES].copy_from_slice(&nonce);
    chunk.extend_from_slice(tag.as_ref());
    let chunk = SealedChunk::new(chunk);
    let entry = Entry { address: chunk.address, hash, len };
    if let Ok(plaintext) = Opener::new(secret, 0).open(&keys, &entry, &chunk.bytes) {
        assert_eq!(plaintext.len(), len as usize);
        assert_eq!(SegmentHash::of(&plaintext), hash);
    }
}

fn open_seeds() -> Vec<Vec<u8>> {
    let raw = |text: &[u8]| {
        let len = u32::try_from(text.len()).expect("invariant: short").to_le_bytes();
        [&len[..], &[FLAG_RAW], text].concat()
    };
    // One frame of a single block of 1,000 and of 1,000,000 equal bytes, the size named and not.
    let bomb = |len: u32| {
        let frame = [0x28, 0xb5, 0x2f, 0xfd, 0xa0];
        let block = (len.min(128 * 1024) << 3 | 0b011).to_le_bytes();
        [&len.to_le_bytes()[..], &[FLAG_ZSTD], &frame, &len.to_le_bytes(), &block[..3], b"a"]
            .concat()
    };
    vec![raw(b""), raw(b"text"), bomb(1_000), bomb(1_000_000), vec![4, 0, 0, 0, FLAG_ZSTD]]
}

#[cfg(test)]
mod tests {
    #[test]
    fn maps_and_chunks_that_are_wrong_in_every_way() {
        spillway_fuzz::play_all(super::TARGETS, spillway_fuzz::ROUNDS);
    }
}
