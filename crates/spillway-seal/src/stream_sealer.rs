use std::fmt;

use aws_lc_rs::aead;
use bytes::Bytes;
use spillway_types::{ChunkAddress, SegmentHash};

use crate::{
    ContentKind, DataMap, Entry, FileSecret, HoldKey, KeyHashes, MAX_MAP_ENTRIES, SealError,
    SealOptions, SealedChunk, Sealer, StreamError,
    key_hashes::NONCE_BYTES,
    sealer::{check_len, cipher},
};

/// How many segments of a public stream wait for its end: their keys need the last two hashes.
const HELD_SEGMENTS: usize = 2;

/// Seals what can be read only once and whose end nobody knows: a pipe. The same segments give the
/// same chunks as a [`Sealer`] makes of a file.
///
/// The first two keys need the last two hashes. So the first two segments are handed back,
/// encrypted under the [`HoldKey`], for the caller to spill, and asked for again at the end. With a
/// secret all segments are: the file secret needs all hashes. The stream itself holds no plaintext,
/// and 68 bytes a segment.
pub struct StreamSealer {
    options: SealOptions,
    hold: aead::LessSafeKey,
    sealer: Sealer,
    entries: Vec<Entry>,
}

/// What became of a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pushed {
    /// It waits for the end: keep these bytes.
    Held {
        /// Which.
        index: u64,
        /// Encrypted under the hold key; 16 bytes more than the segment.
        bytes: Bytes,
    },
    /// It is sealed.
    Sealed {
        /// Which.
        index: u64,
        /// Its chunk.
        chunk: SealedChunk,
    },
}

impl fmt::Debug for StreamSealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamSealer")
            .field("options", &self.options)
            .field("segments", &self.entries.len())
            .finish_non_exhaustive()
    }
}

impl StreamSealer {
    /// A sealer for one stream.
    ///
    /// # Errors
    /// [`SealError::SegmentBytes`] for a segment size that is not possible.
    pub fn new(options: SealOptions, hold: &HoldKey) -> Result<Self, SealError> {
        options.check()?;
        let hold = cipher(hold.as_bytes());
        let sealer = Sealer::new(FileSecret::public(), 0, options.compression);
        Ok(Self { options, hold, sealer, entries: Vec::new() })
    }

    /// Where the caller has to cut the stream, in bytes. The last segment may be shorter; in a
    /// directory any may. Of an empty stream nothing has to be pushed.
    pub fn segment_bytes(&self) -> usize {
        self.options.segment_bytes
    }

    /// Takes the next segment.
    ///
    /// # Errors
    /// [`SealError::SegmentTooLong`] over the segment size, [`SealError::TooManySegments`] for more
    /// than a data map takes.
    pub fn push(&mut self, segment: &[u8]) -> Result<Pushed, SealError> {
        let at = self.entries.len();
        let index = at as u64;
        if at == MAX_MAP_ENTRIES {
            return Err(SealError::TooManySegments { max: MAX_MAP_ENTRIES });
        }
        check_len(index, segment, self.options.segment_bytes)?;
        self.entries.push(unsealed(segment));
        if self.options.secret.is_some() || at < HELD_SEGMENTS {
            return Ok(Pushed::Held { index, bytes: self.hold(index, segment) });
        }
        // From the third on the cyclic indices do not reach around the end.
        let keys = self.key_hashes(at);
        let chunk = self.sealer.seal_hashed(&keys, segment)?;
        self.entries[at].address = chunk.address;
        Ok(Pushed::Sealed { index, chunk })
    }

    /// Ends the stream: asks for each held segment, in order, hands out its chunk, and returns the
    /// data map.
    ///
    /// # Errors
    /// [`StreamError::Caller`] with what one of the two functions said, [`StreamError::Held`] when
    /// a held segment came back changed.
    pub fn finish<E: std::error::Error + 'static>(
        mut self,
        content: ContentKind,
        mut read_held: impl FnMut(u64) -> Result<Vec<u8>, E>,
        mut take_chunk: impl FnMut(u64, SealedChunk) -> Result<(), E>,
    ) -> Result<DataMap, StreamError<E>> {
        // Of an empty stream nothing waits, yet it is one empty segment, in the file secret too.
        let is_empty = self.entries.is_empty();
        if is_empty {
            self.entries.push(unsealed(&[]));
        }
        let secret = self.file_secret();
        let mut sealer = Sealer::new(secret.clone(), 0, self.options.compression);
        for at in 0..self.held() {
            let index = at as u64;
            let mut held;
            let segment: &[u8] = if is_empty {
                &[]
            } else {
                held = read_held(index).map_err(StreamError::Caller)?;
                self.release(index, &mut held).ok_or(StreamError::Held { index })?
            };
            let chunk = sealer.seal_hashed(&self.key_hashes(at), segment)?;
            self.entries[at].address = chunk.address;
            take_chunk(index, chunk).map_err(StreamError::Caller)?;
        }
        DataMap::new(content, self.options.segment_bytes, secret, self.entries)
            .map_err(StreamError::Map)
    }

    fn held(&self) -> usize {
        match self.options.secret {
            Some(_) => self.entries.len(),
            None => self.entries.len().min(HELD_SEGMENTS),
        }
    }

    fn file_secret(&self) -> FileSecret {
        let hashes: Vec<SegmentHash> = match self.options.secret {
            Some(_) => self.entries.iter().map(|entry| entry.hash).collect(),
            None => Vec::new(),
        };
        self.options.file_secret(&hashes)
    }

    fn key_hashes(&self, at: usize) -> KeyHashes {
        KeyHashes::cyclic(self.entries.len(), at, |at| self.entries[at].hash)
            .expect("invariant: there is an entry for each segment that was pushed")
    }

    fn hold(&self, index: u64, segment: &[u8]) -> Bytes {
        let mut bytes = Vec::with_capacity(segment.len() + aead::AES_256_GCM.tag_len());
        bytes.extend_from_slice(segment);
        self.hold
            .seal_in_place_append_tag(hold_nonce(index), aead::Aad::empty(), &mut bytes)
            .expect("invariant: a segment is far below the 64 GiB that GCM takes");
        Bytes::from(bytes)
    }

    fn release<'a>(&self, index: u64, held: &'a mut [u8]) -> Option<&'a [u8]> {
        let segment = self.hold.open_in_place(hold_nonce(index), aead::Aad::empty(), held).ok()?;
        Some(segment)
    }
}

/// The entry of a segment that has no chunk yet: the address follows.
fn unsealed(segment: &[u8]) -> Entry {
    let len = u32::try_from(segment.len()).expect("invariant: the segment size is at most 4 MiB");
    Entry { address: ChunkAddress([0; 32]), hash: SegmentHash::of(segment), len }
}

/// Each index once under one hold key, so no nonce meets two segments.
fn hold_nonce(index: u64) -> aead::Nonce {
    let mut nonce = [0; NONCE_BYTES];
    nonce[..8].copy_from_slice(&index.to_le_bytes());
    aead::Nonce::assume_unique_for_key(nonce)
}
