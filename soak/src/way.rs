//! The ways to pay for an upload.

/// How an upload is paid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Way {
    /// Each chunk by itself.
    Direct,
    /// One batch.
    Batch,
    /// Batches of three chunks, each paid for and stored before the next is priced.
    OneByOne,
    /// Batches of three chunks, paid for in one transaction.
    Together,
}

impl Way {
    /// All of them.
    pub(crate) const ALL: [Self; 4] = [Self::Direct, Self::Batch, Self::OneByOne, Self::Together];

    /// For people.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Batch => "batch",
            Self::OneByOne => "batches one by one",
            Self::Together => "batches together",
        }
    }

    /// As the program is told.
    pub(crate) fn arguments(self) -> &'static [&'static str] {
        match self {
            Self::Direct => &["--mode", "direct"],
            Self::Batch => &["--mode", "batch"],
            Self::OneByOne => &["--mode", "batch", "--batch-leaves", "3", "--commit", "one-by-one"],
            Self::Together => &["--mode", "batch", "--batch-leaves", "3", "--commit", "together"],
        }
    }

    /// Segments that such an upload has more than others: as many as a batch, so that there are two
    /// batches at least.
    pub(crate) fn more(self) -> usize {
        match self {
            Self::Direct | Self::Batch => 0,
            Self::OneByOne | Self::Together => 3,
        }
    }
}
