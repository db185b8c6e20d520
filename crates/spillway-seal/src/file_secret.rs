use std::fmt;

use spillway_types::SegmentHash;
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::UserSecret;

/// BLAKE3 context of the file secret: protocol.md, "Sealing".
const CONTEXT: &str = "spillway/file-secret/v1";

/// The secret of one file, 32 bytes, part of every segment key. All zeros for a public file, so
/// that the same file gives the same chunks for everybody. Erased from memory when dropped.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct FileSecret([u8; 32]);

impl FileSecret {
    /// No secret.
    pub const fn public() -> Self {
        Self([0; 32])
    }

    /// The secret of the file with these segments: derive-key("spillway/file-secret/v1",
    /// secret ‖ BLAKE3(h_0 ‖ h_1 ‖ …)). It is another one for every content, so the root of one
    /// file's data map says nothing about another file of the same user.
    pub fn derive(secret: &UserSecret, hashes: &[SegmentHash]) -> Self {
        let mut all = blake3::Hasher::new();
        for hash in hashes {
            all.update(hash.as_bytes());
        }
        let mut hasher = blake3::Hasher::new_derive_key(CONTEXT);
        hasher.update(secret.as_bytes());
        hasher.update(all.finalize().as_bytes());
        Self(*hasher.finalize().as_bytes())
    }

    /// True for [`FileSecret::public`].
    pub fn is_public(&self) -> bool {
        self.0 == [0; 32]
    }

    /// The secret with these bytes, as a session or a data map recorded it.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes, for a session's record. Whoever has them and the hashes can open the chunks.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for FileSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_public() { "FileSecret(public)" } else { "FileSecret(…)" })
    }
}
