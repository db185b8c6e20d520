use std::{fmt, ops::Range};

use spillway_types::limits;

use crate::{
    ContentKind, Entry, FileSecret, KeyHashes, MAX_MAP_ENTRIES, MapError, Opener, SealedChunk,
};

/// The list that turns chunks back into what was sealed. Level 0 lists the segments of a file or
/// directory; level n those of the encoded map of level n − 1, when that did not fit one chunk.
///
/// Every map that exists is sound: segments within the segment size, counts within the caps and, at
/// level 0, lengths that add up to the content's.
#[derive(Clone, PartialEq, Eq)]
pub struct DataMap {
    pub(crate) content: ContentKind,
    pub(crate) content_len: u64,
    pub(crate) level: u8,
    pub(crate) segment_bytes: u32,
    pub(crate) secret: FileSecret,
    entries: Vec<Entry>,
    /// Where each segment ends, in bytes from the first: for seeking among segments of any length.
    ends: Vec<u64>,
}

/// The part of one segment that a range touches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentSlice {
    /// Which segment.
    pub index: usize,
    /// Where the segment begins, in bytes from the first.
    pub start: u64,
    /// The bytes of the segment that are in the range; never empty.
    pub within: Range<usize>,
}

/// All of a map, before it is checked.
pub(crate) struct MapParts {
    pub(crate) content: ContentKind,
    pub(crate) content_len: u64,
    pub(crate) level: u8,
    pub(crate) segment_bytes: u32,
    pub(crate) secret: FileSecret,
    pub(crate) entries: Vec<Entry>,
}

/// Without the entries: there may be millions, and their hashes open the chunks.
impl fmt::Debug for DataMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DataMap")
            .field("content", &self.content)
            .field("content_len", &self.content_len)
            .field("level", &self.level)
            .field("segment_bytes", &self.segment_bytes)
            .field("secret", &self.secret)
            .field("segments", &self.entries.len())
            .finish_non_exhaustive()
    }
}

impl DataMap {
    /// The map of level 0 of these segments, in order. They may have any lengths up to
    /// `segment_bytes`.
    ///
    /// # Errors
    /// What makes them unsound.
    pub fn new(
        content: ContentKind,
        segment_bytes: usize,
        secret: FileSecret,
        entries: Vec<Entry>,
    ) -> Result<Self, MapError> {
        let content_len = entries.iter().map(|entry| u64::from(entry.len)).sum();
        let segment_bytes = u32::try_from(segment_bytes).unwrap_or(u32::MAX);
        Self::checked(MapParts { content, content_len, level: 0, segment_bytes, secret, entries })
    }

    /// The only way to make a map.
    pub(crate) fn checked(parts: MapParts) -> Result<Self, MapError> {
        let MapParts { content, content_len, level, segment_bytes, secret, entries } = parts;
        if level > limits::MAX_DATA_MAP_DEPTH {
            return Err(MapError::TooDeep { found: level, max: limits::MAX_DATA_MAP_DEPTH });
        }
        if segment_bytes == 0 || segment_bytes as usize > limits::SEGMENT_BYTES {
            return Err(MapError::SegmentBytes {
                found: u64::from(segment_bytes),
                max: limits::SEGMENT_BYTES as u64,
            });
        }
        if entries.is_empty() {
            return Err(MapError::NoEntries);
        }
        if entries.len() > MAX_MAP_ENTRIES {
            return Err(MapError::TooManyEntries {
                found: entries.len() as u64,
                max: MAX_MAP_ENTRIES as u64,
            });
        }
        let ends = ends(&entries, segment_bytes)?;
        let found = ends.last().copied().unwrap_or(0);
        if level == 0 && found != content_len {
            return Err(MapError::ContentLen { declared: content_len, found });
        }
        Ok(Self { content, content_len, level, segment_bytes, secret, entries, ends })
    }

    /// What the content is.
    pub fn content(&self) -> ContentKind {
        self.content
    }

    /// Length of the content, in bytes: the same at every level.
    pub fn content_len(&self) -> u64 {
        self.content_len
    }

    /// 0 for a map of the content itself, n for one of a map of level n − 1.
    pub fn level(&self) -> u8 {
        self.level
    }

    /// The largest segment at this level, in bytes.
    pub fn segment_bytes(&self) -> usize {
        self.segment_bytes as usize
    }

    /// The secret that the segment keys are derived from, the same at every level.
    pub fn secret(&self) -> &FileSecret {
        &self.secret
    }

    /// The segments of this level, in order; at least one.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The segments of this level together, in bytes: at level 0 the content's length, above it
    /// that of the encoded map below.
    pub fn len_at_level(&self) -> u64 {
        self.ends.last().copied().unwrap_or(0)
    }

    /// What the key of a segment needs; `None` when there is no such segment.
    pub fn key_hashes(&self, index: usize) -> Option<KeyHashes> {
        KeyHashes::cyclic(self.entries.len(), index, |at| self.entries[at].hash)
    }

    /// An opener for the chunks of this level.
    pub fn opener(&self) -> Opener {
        Opener::new(self.secret.clone(), self.level)
    }

    /// The segments that these bytes of this level touch, in order, with the part of each. What of
    /// the range is beyond the end is left out. Finding the first takes O(log n).
    pub fn segments_in(&self, range: Range<u64>) -> impl Iterator<Item = SegmentSlice> + '_ {
        let first = self.ends.partition_point(|end| *end <= range.start);
        (first..self.entries.len())
            .map_while(move |index| {
                let start = self.start(index);
                (start < range.end).then(|| {
                    let from = range.start.max(start) - start;
                    let to = range.end.min(self.ends[index]) - start;
                    SegmentSlice { index, start, within: to_usize(from)..to_usize(to) }
                })
            })
            .filter(|slice| !slice.within.is_empty())
    }

    /// Where a segment begins, in bytes from the first.
    fn start(&self, index: usize) -> u64 {
        self.ends[index] - u64::from(self.entries[index].len)
    }

    /// The root as a chunk that is not encrypted, by which a public upload is found. Only the root
    /// of [`DataMap::pack`] fits.
    pub fn public_chunk(&self) -> SealedChunk {
        SealedChunk::new(self.encode())
    }
}

/// Where each segment ends. No overflow: the counts and lengths have caps, 2^21 and 2^22.
fn ends(entries: &[Entry], segment_bytes: u32) -> Result<Vec<u64>, MapError> {
    let mut ends = Vec::with_capacity(entries.len());
    let mut end = 0;
    for (index, entry) in entries.iter().enumerate() {
        if entry.len > segment_bytes {
            return Err(MapError::EntryLen {
                index: index as u64,
                found: u64::from(entry.len),
                max: u64::from(segment_bytes),
            });
        }
        end += u64::from(entry.len);
        ends.push(end);
    }
    Ok(ends)
}

fn to_usize(within: u64) -> usize {
    usize::try_from(within).expect("invariant: an offset within a segment of at most 4 MiB")
}
