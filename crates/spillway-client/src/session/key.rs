use std::fmt;

use serde::{Deserialize, Serialize};
use spillway_seal::{ContentKind, FileSecret};
use spillway_types::{Domain, EvmAddress, SegmentHash};

/// What makes two uploads the same: contents, how they are sealed, where they go and who pays.
/// Never a path.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct SessionKey(pub [u8; 32]);

/// What a [`SessionKey`] is made of.
#[derive(Debug)]
pub(crate) struct KeyParts<'a> {
    pub domain: &'a Domain,
    pub payer: EvmAddress,
    /// `None`: one chunk as it is.
    pub content: Option<ContentKind>,
    pub public: bool,
    pub segment_bytes: usize,
    pub secret: &'a FileSecret,
    pub hashes: &'a [SegmentHash],
}

impl SessionKey {
    /// derive-key("spillway/session-key/v1", all parts).
    pub(crate) fn of(parts: &KeyParts<'_>) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("spillway/session-key/v1");
        hasher.update(&parts.domain.network.0);
        hasher.update(&parts.domain.chain_id.to_le_bytes());
        hasher.update(&parts.domain.vault.0);
        hasher.update(&parts.payer.0);
        let kind = match parts.content {
            None => 0,
            Some(ContentKind::File) => 1,
            Some(ContentKind::Directory) => 2,
        };
        hasher.update(&[kind, u8::from(parts.public)]);
        hasher.update(&(parts.segment_bytes as u64).to_le_bytes());
        hasher.update(parts.secret.as_bytes());
        hasher.update(&(parts.hashes.len() as u64).to_le_bytes());
        for hash in parts.hashes {
            hasher.update(&hash.0);
        }
        Self(*hasher.finalize().as_bytes())
    }

    /// The head of a session's id: the first eight bytes.
    pub(crate) fn short(&self) -> String {
        self.to_string()[..16].to_owned()
    }
}

impl fmt::Display for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionKey({self})")
    }
}
