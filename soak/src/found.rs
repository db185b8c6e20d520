use std::{error::Error, fmt};

/// A promise that was broken, as against a machine that does not let us look.
#[derive(Debug)]
pub(crate) enum Found {
    /// So many chunks were paid for twice.
    Double(u64, String),
    /// So many paid chunks are lost.
    Lost(u64, String),
    /// One resume did not finish.
    Unfinished(String),
    /// Money and payments do not agree.
    Money(String),
    /// Something is left that nobody needs.
    Orphan(String),
    /// An exit code that is not as documented.
    Exit(String),
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, text) = match self {
            Self::Double(_, text) => ("paid twice", text),
            Self::Lost(_, text) => ("lost", text),
            Self::Unfinished(text) => ("not finished", text),
            Self::Money(text) => ("money", text),
            Self::Orphan(text) => ("orphan", text),
            Self::Exit(text) => ("exit code", text),
        };
        write!(f, "{kind}: {text}")
    }
}

impl Error for Found {}
