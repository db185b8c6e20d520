//! The encoding of a data map. All integers are little-endian:
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 8 | magic "SPILLMAP" |
//! | 8 | 2 | version, 1 |
//! | 10 | 1 | level |
//! | 11 | 1 | content: 0 file, 1 directory |
//! | 12 | 8 | length of the content |
//! | 20 | 4 | segment size of this level |
//! | 24 | 32 | file secret |
//! | 56 | 4 | number of entries, n |
//! | 60 | 68 n | entries: address 32, hash 32, length 4 |
//! | 60 + 68 n | 32 | BLAKE3 of all before |
//!
//! The checksum is for the private file, which nothing else binds; a public root and the maps below
//! it are bound by their addresses too.

use spillway_types::{ChunkAddress, SegmentHash};

use crate::{ContentKind, DataMap, Entry, FileSecret, MapError, data_map::MapParts};

const MAGIC: &[u8; 8] = b"SPILLMAP";

/// The version of data maps that is written, and the newest that is read.
pub const MAP_VERSION: u16 = 1;

const HEADER_BYTES: usize = 8 + 2 + 1 + 1 + 8 + 4 + 32 + 4;

const CHECKSUM_BYTES: usize = 32;

/// What an encoded map has beside its entries, in bytes.
pub const MAP_OVERHEAD_BYTES: usize = HEADER_BYTES + CHECKSUM_BYTES;

/// One entry in an encoded map, in bytes.
pub const ENTRY_BYTES: usize = 32 + 32 + 4;

/// Most segments of one map that a reader takes, and a writer makes: 2^21 full ones are 8 TiB, and
/// the map is 136 MiB. It bounds what a hostile root makes a reader hold.
pub const MAX_MAP_ENTRIES: usize = 1 << 21;

/// The longest encoded map, in bytes.
pub(crate) const MAX_MAP_BYTES: usize = encoded_len(MAX_MAP_ENTRIES);

pub(crate) const fn encoded_len(entries: usize) -> usize {
    MAP_OVERHEAD_BYTES + entries * ENTRY_BYTES
}

impl DataMap {
    /// Length of [`DataMap::encode`], in bytes.
    pub fn encoded_len(&self) -> usize {
        encoded_len(self.entries().len())
    }

    /// The map as bytes: the `.datamap` file or, of a root, the public chunk.
    pub fn encode(&self) -> Vec<u8> {
        let count = u32::try_from(self.entries().len())
            .expect("invariant: a map has at most MAX_MAP_ENTRIES entries");
        let mut bytes = Vec::with_capacity(self.encoded_len());
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&MAP_VERSION.to_le_bytes());
        bytes.push(self.level);
        bytes.push(self.content.to_byte());
        bytes.extend_from_slice(&self.content_len.to_le_bytes());
        bytes.extend_from_slice(&self.segment_bytes.to_le_bytes());
        bytes.extend_from_slice(self.secret.as_bytes());
        bytes.extend_from_slice(&count.to_le_bytes());
        for entry in self.entries() {
            bytes.extend_from_slice(entry.address.as_bytes());
            bytes.extend_from_slice(entry.hash.as_bytes());
            bytes.extend_from_slice(&entry.len.to_le_bytes());
        }
        let checksum = blake3::hash(&bytes);
        bytes.extend_from_slice(checksum.as_bytes());
        bytes
    }

    /// The map that these bytes are, all of them. Allocates no more than they justify.
    ///
    /// # Errors
    /// What is wrong with them; any single wrong bit is found.
    pub fn decode(bytes: &[u8]) -> Result<Self, MapError> {
        let mut reader = Reader { rest: bytes, total: bytes.len() };
        if reader.take::<8>()? != *MAGIC {
            return Err(MapError::Magic);
        }
        let version = u16::from_le_bytes(reader.take()?);
        if version > MAP_VERSION {
            return Err(MapError::NewerVersion { found: version, known: MAP_VERSION });
        }
        if version != MAP_VERSION {
            return Err(MapError::UnknownVersion { found: version });
        }
        let [level, content] = reader.take()?;
        let content_len = u64::from_le_bytes(reader.take()?);
        let segment_bytes = u32::from_le_bytes(reader.take()?);
        let secret = FileSecret::from_bytes(reader.take()?);
        let count = u32::from_le_bytes(reader.take()?);
        let entries = reader.entries(bytes, count)?;
        let content =
            ContentKind::from_byte(content).ok_or(MapError::Content { found: content })?;
        Self::checked(MapParts { content, content_len, level, segment_bytes, secret, entries })
    }
}

/// What of the encoded map is not read yet.
struct Reader<'a> {
    rest: &'a [u8],
    total: usize,
}

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], MapError> {
        let (taken, rest) = self.rest.split_first_chunk::<N>().ok_or(MapError::Truncated {
            expected: MAP_OVERHEAD_BYTES as u64,
            found: self.total as u64,
        })?;
        self.rest = rest;
        Ok(*taken)
    }

    /// The entries and the checksum over the `whole` map, which end it.
    fn entries(&mut self, whole: &[u8], count: u32) -> Result<Vec<Entry>, MapError> {
        let count = count as usize;
        if count > MAX_MAP_ENTRIES {
            return Err(MapError::TooManyEntries {
                found: count as u64,
                max: MAX_MAP_ENTRIES as u64,
            });
        }
        let (expected, found) = (encoded_len(count) as u64, self.total as u64);
        if found < expected {
            return Err(MapError::Truncated { expected, found });
        }
        if found > expected {
            return Err(MapError::TrailingBytes { expected, found });
        }
        let (body, checksum) = whole.split_at(whole.len() - CHECKSUM_BYTES);
        if blake3::hash(body).as_bytes() != checksum {
            return Err(MapError::Checksum);
        }
        let mut entries = Vec::with_capacity(count);
        for _ in 0..count {
            let address = ChunkAddress(self.take()?);
            let hash = SegmentHash(self.take()?);
            let len = u32::from_le_bytes(self.take()?);
            entries.push(Entry { address, hash, len });
        }
        Ok(entries)
    }
}
