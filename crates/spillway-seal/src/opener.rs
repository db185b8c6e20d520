use std::fmt;

use aws_lc_rs::aead;
use bytes::Bytes;
use spillway_types::{ChunkAddress, SegmentHash, limits};
use zstd::zstd_safe::{DCtx, get_error_name, get_frame_content_size};

use crate::{
    Entry, FileSecret, KeyHashes, OpenError,
    key_hashes::NONCE_BYTES,
    sealer::{FLAG_RAW, FLAG_ZSTD, TAG_BYTES, cipher},
};

/// Opens chunks of one file at one level. It keeps its zstd context and a buffer, so one a thread
/// is right; there is no other state, and the order does not matter.
pub struct Opener {
    secret: FileSecret,
    level: u8,
    context: DCtx<'static>,
    buffer: Vec<u8>,
}

impl fmt::Debug for Opener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opener")
            .field("secret", &self.secret)
            .field("level", &self.level)
            .finish_non_exhaustive()
    }
}

impl Opener {
    /// An opener for the file with this secret; the level as in [`Sealer::new`].
    ///
    /// [`Sealer::new`]: crate::Sealer::new
    pub fn new(secret: FileSecret, level: u8) -> Self {
        Self { secret, level, context: DCtx::create(), buffer: Vec::new() }
    }

    /// The plaintext of one segment. Checks the address, the tag, the flag, the length and the hash
    /// of the plaintext, in this order; decompression ends at the declared length.
    ///
    /// # Errors
    /// What was wrong; never plaintext with it.
    pub fn open(
        &mut self,
        keys: &KeyHashes,
        entry: &Entry,
        chunk: &[u8],
    ) -> Result<Bytes, OpenError> {
        let declared = declared_len(entry)?;
        let min = limits::SEAL_OVERHEAD_BYTES;
        if !(min..=limits::MAX_CHUNK_BYTES).contains(&chunk.len()) {
            let max = limits::MAX_CHUNK_BYTES;
            return Err(OpenError::ChunkLen { found: chunk.len(), min, max });
        }
        let found = ChunkAddress::of(chunk);
        if found != entry.address {
            return Err(OpenError::Address { expected: entry.address, found });
        }
        let plaintext = self.decrypt(keys, chunk, declared)?;
        if plaintext.len() != declared {
            return Err(OpenError::Len {
                declared: u64::from(entry.len),
                found: plaintext.len() as u64,
            });
        }
        if SegmentHash::of(&plaintext) != entry.hash {
            return Err(OpenError::Hash);
        }
        Ok(plaintext)
    }

    /// Decrypts a chunk of checked length, and decompresses to at most `declared` bytes.
    fn decrypt(
        &mut self,
        keys: &KeyHashes,
        chunk: &[u8],
        declared: usize,
    ) -> Result<Bytes, OpenError> {
        let (nonce, rest) = chunk.split_at(NONCE_BYTES);
        let (ciphertext, tag) = rest.split_at(rest.len() - TAG_BYTES);
        let nonce = aead::Nonce::try_assume_unique_for_key(nonce)
            .expect("invariant: the nonce was split off with its length");
        // A payload that may be raw goes to the buffer that is returned, without its flag; one that
        // cannot be raw to the buffer that is kept.
        let is_raw = ciphertext.len() == declared + 1;
        let mut fresh = Vec::new();
        let payload = if is_raw {
            fresh = vec![0; ciphertext.len()];
            &mut fresh[..]
        } else {
            if self.buffer.len() < ciphertext.len() {
                self.buffer.resize(ciphertext.len(), 0);
            }
            &mut self.buffer[..ciphertext.len()]
        };
        cipher(&keys.key(&self.secret, self.level))
            .open_separate_gather(nonce, aead::Aad::empty(), ciphertext, tag, payload)
            .map_err(|_| OpenError::Tag)?;
        match payload[0] {
            FLAG_RAW if is_raw => Ok(Bytes::from(fresh).slice(1..)),
            FLAG_RAW => {
                Err(OpenError::Len { declared: declared as u64, found: payload.len() as u64 - 1 })
            }
            FLAG_ZSTD => decompress(&mut self.context, &payload[1..], declared),
            found => Err(OpenError::Flag { found }),
        }
    }
}

fn declared_len(entry: &Entry) -> Result<usize, OpenError> {
    usize::try_from(entry.len).ok().filter(|len| *len <= limits::SEGMENT_BYTES).ok_or_else(|| {
        OpenError::DeclaredLen { declared: u64::from(entry.len), max: limits::SEGMENT_BYTES as u64 }
    })
}

/// Decompresses to at most `declared` bytes: nothing beyond them is allocated or written, whatever
/// the frame says of itself.
fn decompress(
    context: &mut DCtx<'static>,
    frame: &[u8],
    declared: usize,
) -> Result<Bytes, OpenError> {
    if let Ok(Some(claimed)) = get_frame_content_size(frame)
        && claimed != declared as u64
    {
        return Err(OpenError::Len { declared: declared as u64, found: claimed });
    }
    let mut plaintext = Vec::with_capacity(declared);
    context
        .decompress(&mut plaintext, frame)
        .map_err(|code| OpenError::Decompress { reason: get_error_name(code) })?;
    Ok(Bytes::from(plaintext))
}

#[cfg(test)]
mod tests;
