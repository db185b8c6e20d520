/// Whether a sealer tries to compress.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compression {
    /// On for public files, off where there is a secret: compressed sizes are a fingerprint by
    /// which somebody who has the file could recognise its chunks.
    #[default]
    Auto,
    /// Never.
    Off,
    /// Always tried, also with a secret.
    On,
}

impl Compression {
    /// Whether a sealer for a file that is public, or is not, compresses.
    pub fn applies(self, public: bool) -> bool {
        match self {
            Self::Auto => public,
            Self::Off => false,
            Self::On => true,
        }
    }
}
