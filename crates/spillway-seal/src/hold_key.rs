use std::fmt;

use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::SealError;

/// The key under which a [`StreamSealer`](crate::StreamSealer) lets segments wait in the spill. It
/// lives in memory only, so what a crash leaves there nobody can read. Never use one for two
/// streams.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct HoldKey([u8; 32]);

impl HoldKey {
    /// A new one from the system's random generator.
    ///
    /// # Errors
    /// [`SealError::Random`] when the system gives no random bytes.
    pub fn random() -> Result<Self, SealError> {
        let mut bytes = [0; 32];
        aws_lc_rs::rand::fill(&mut bytes).map_err(|_| SealError::Random)?;
        Ok(Self(bytes))
    }

    /// The key with these bytes, for seeded tests and simulation.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    pub(crate) const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for HoldKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HoldKey(…)")
    }
}
