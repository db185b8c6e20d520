use std::fmt;

use zeroize::Zeroizing;

/// What a user gave as `--secret`: any bytes. It never leaves the process; data maps carry the
/// [`FileSecret`](crate::FileSecret) that is derived from it. Erased from memory when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct UserSecret(Zeroizing<Vec<u8>>);

impl UserSecret {
    /// Takes the secret; nothing is trimmed.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for UserSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UserSecret(…)")
    }
}
