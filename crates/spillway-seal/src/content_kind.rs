/// What the segments of a data map are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ContentKind {
    /// One file: the segments joined are its contents.
    File,
    /// A directory: the segments hold a manifest and the contents of many files.
    Directory,
}

impl ContentKind {
    pub(crate) fn to_byte(self) -> u8 {
        match self {
            Self::File => 0,
            Self::Directory => 1,
        }
    }

    pub(crate) fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            0 => Some(Self::File),
            1 => Some(Self::Directory),
            _ => None,
        }
    }
}
