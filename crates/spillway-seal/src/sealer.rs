use std::{fmt, io::Cursor};

use aws_lc_rs::aead;
use spillway_types::{SegmentHash, limits};
use zstd::zstd_safe::{CCtx, CParameter, compress_bound, get_error_name};

use crate::{
    Compression, FileSecret, KeyHashes, SealError, SealedChunk,
    key_hashes::{NONCE_BYTES, nonce},
};

/// Length of the tag of AES-256-GCM, in bytes.
pub(crate) const TAG_BYTES: usize = 16;

/// First byte of a payload: the data follows as it is.
pub(crate) const FLAG_RAW: u8 = 0;

/// First byte of a payload: one zstd frame follows.
pub(crate) const FLAG_ZSTD: u8 = 1;

/// Level of zstd: part of the format, or the same file would give other chunks.
const ZSTD_LEVEL: i32 = 1;

const _: () = assert!(NONCE_BYTES + TAG_BYTES + 1 == limits::SEAL_OVERHEAD_BYTES);

/// Seals segments of one file at one level. It keeps its zstd context and a buffer of about one
/// segment, so one a thread is right; there is no other state, and the order does not matter.
pub struct Sealer {
    secret: FileSecret,
    level: u8,
    compressor: Option<Compressor>,
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sealer")
            .field("secret", &self.secret)
            .field("level", &self.level)
            .field("compresses", &self.compressor.is_some())
            .finish()
    }
}

impl Sealer {
    /// A sealer for the file with this secret: level 0 for its segments, level n for those of its
    /// data map of level n − 1.
    pub fn new(secret: FileSecret, level: u8, compression: Compression) -> Self {
        let compressor = compression.applies(secret.is_public()).then(Compressor::new);
        Self { secret, level, compressor }
    }

    /// Seals one segment. A pure function of its arguments, the sealer's and the version of zstd.
    ///
    /// # Errors
    /// [`SealError::SourceChanged`] when the plaintext has not the hash of `keys`,
    /// [`SealError::SegmentTooLong`] over [`limits::SEGMENT_BYTES`].
    pub fn seal(&mut self, keys: &KeyHashes, plaintext: &[u8]) -> Result<SealedChunk, SealError> {
        check_len(keys.index, plaintext, limits::SEGMENT_BYTES)?;
        if SegmentHash::of(plaintext) != keys.own {
            return Err(SealError::SourceChanged { index: keys.index });
        }
        self.seal_hashed(keys, plaintext)
    }

    /// As [`Sealer::seal`] for a plaintext of checked length that was hashed just now.
    pub(crate) fn seal_hashed(
        &mut self,
        keys: &KeyHashes,
        plaintext: &[u8],
    ) -> Result<SealedChunk, SealError> {
        let payload = match &mut self.compressor {
            None => None,
            Some(compressor) => compressor.compress(keys.index, plaintext)?,
        };
        let (flag, data) = payload.map_or((FLAG_RAW, plaintext), |data| (FLAG_ZSTD, data));

        let mut chunk = Vec::with_capacity(data.len() + limits::SEAL_OVERHEAD_BYTES);
        chunk.extend_from_slice(&[0; NONCE_BYTES]);
        chunk.push(flag);
        chunk.extend_from_slice(data);

        let key = keys.key(&self.secret, self.level);
        let nonce = nonce(&key, &chunk[NONCE_BYTES..]);
        let tag = encrypt(&key, nonce, &mut chunk[NONCE_BYTES..]);
        chunk[..NONCE_BYTES].copy_from_slice(&nonce);
        chunk.extend_from_slice(tag.as_ref());
        Ok(SealedChunk::new(chunk))
    }
}

/// # Errors
/// [`SealError::SegmentTooLong`] over `max` bytes.
pub(crate) fn check_len(index: u64, plaintext: &[u8], max: usize) -> Result<(), SealError> {
    if plaintext.len() > max {
        return Err(SealError::SegmentTooLong { index, found: plaintext.len(), max });
    }
    Ok(())
}

/// The key for AES-256-GCM.
pub(crate) fn cipher(key: &[u8; 32]) -> aead::LessSafeKey {
    let key = aead::UnboundKey::new(&aead::AES_256_GCM, key)
        .expect("invariant: AES-256-GCM takes keys of 32 bytes");
    aead::LessSafeKey::new(key)
}

/// Encrypts in place and returns the tag.
pub(crate) fn encrypt(key: &[u8; 32], nonce: [u8; NONCE_BYTES], payload: &mut [u8]) -> aead::Tag {
    let nonce = aead::Nonce::assume_unique_for_key(nonce);
    cipher(key)
        .seal_in_place_separate_tag(nonce, aead::Aad::empty(), payload)
        .expect("invariant: a payload is far below the 64 GiB that GCM takes")
}

/// The zstd context with the buffer that it writes to.
struct Compressor {
    context: CCtx<'static>,
    buffer: Vec<u8>,
}

impl Compressor {
    fn new() -> Self {
        let mut context = CCtx::create();
        context
            .set_parameter(CParameter::CompressionLevel(ZSTD_LEVEL))
            .expect("invariant: zstd has a level 1");
        Self { context, buffer: Vec::new() }
    }

    /// The compressed data where it is worth it: 100 · compressed ≤ 97 · raw.
    fn compress(&mut self, index: u64, plaintext: &[u8]) -> Result<Option<&[u8]>, SealError> {
        // The whole bound, always: with less room zstd may choose other blocks, and the chunk
        // would depend on the buffer.
        self.buffer.clear();
        self.buffer.reserve(compress_bound(plaintext.len()));
        let len = self
            .context
            .compress2(&mut Cursor::new(&mut self.buffer), plaintext)
            .map_err(|code| SealError::Compress { index, reason: get_error_name(code) })?;
        Ok((100 * len <= 97 * plaintext.len() && !plaintext.is_empty())
            .then_some(&self.buffer[..len]))
    }
}
