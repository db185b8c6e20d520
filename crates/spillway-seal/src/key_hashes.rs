use spillway_types::SegmentHash;
use zeroize::Zeroizing;

use crate::FileSecret;

/// BLAKE3 context of segment keys: protocol.md, "Sealing".
const KEY_CONTEXT: &str = "spillway/segment-key/v1";

/// BLAKE3 context of nonces: protocol.md, "Sealing".
const NONCE_CONTEXT: &str = "spillway/nonce/v1";

/// Length of the nonce of AES-256-GCM, in bytes.
pub(crate) const NONCE_BYTES: usize = 12;

/// What the key of segment i needs beside the file secret and the level: i and the hashes of the
/// segments i, i − 1 and i − 2, where the one before the first is the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyHashes {
    pub(crate) index: u64,
    pub(crate) own: SegmentHash,
    pub(crate) before: SegmentHash,
    pub(crate) second_before: SegmentHash,
}

impl KeyHashes {
    /// Those of segment `index` of a file whose segments have these hashes; `None` when there is no
    /// such segment. With one or two segments some of the three hashes are the same.
    pub fn at(hashes: &[SegmentHash], index: usize) -> Option<Self> {
        Self::cyclic(hashes.len(), index, |at| hashes[at])
    }

    /// As [`KeyHashes::at`], from anything that knows `count` hashes.
    pub(crate) fn cyclic(
        count: usize,
        index: usize,
        hash_at: impl Fn(usize) -> SegmentHash,
    ) -> Option<Self> {
        if index >= count {
            return None;
        }
        let before = (index + count - 1) % count;
        Some(Self {
            index: index as u64,
            own: hash_at(index),
            before: hash_at(before),
            second_before: hash_at((before + count - 1) % count),
        })
    }

    /// The index of the segment.
    pub const fn index(&self) -> u64 {
        self.index
    }

    /// The hash of the segment itself.
    pub const fn own(&self) -> SegmentHash {
        self.own
    }

    /// key_i = derive-key("spillway/segment-key/v1", file_secret ‖ level ‖ i ‖ h_i ‖ h_(i-1) ‖
    /// h_(i-2)), the level one byte, i eight bytes little-endian.
    pub(crate) fn key(&self, secret: &FileSecret, level: u8) -> Zeroizing<[u8; 32]> {
        let mut hasher = blake3::Hasher::new_derive_key(KEY_CONTEXT);
        hasher.update(secret.as_bytes());
        hasher.update(&[level]);
        hasher.update(&self.index.to_le_bytes());
        hasher.update(self.own.as_bytes());
        hasher.update(self.before.as_bytes());
        hasher.update(self.second_before.as_bytes());
        Zeroizing::new(*hasher.finalize().as_bytes())
    }
}

/// nonce_i = the first 12 bytes of derive-key("spillway/nonce/v1", key_i ‖ BLAKE3(payload_i)). Two
/// versions of zstd may compress one segment differently, and a key and a nonce must never meet two
/// payloads: so the nonce depends on the payload.
pub(crate) fn nonce(key: &[u8; 32], payload: &[u8]) -> [u8; NONCE_BYTES] {
    let mut hasher = blake3::Hasher::new_derive_key(NONCE_CONTEXT);
    hasher.update(key);
    hasher.update(blake3::hash(payload).as_bytes());
    let mut nonce = [0; NONCE_BYTES];
    hasher.finalize_xof().fill(&mut nonce);
    nonce
}
