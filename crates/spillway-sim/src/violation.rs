use std::{any::Any, fmt};

/// What must always hold, as ARCHITECTURE.md numbers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Promise {
    /// Paid once.
    I1,
    /// What is paid and not stored survives.
    I2,
    /// `Ok` means stored.
    I3,
    /// Nothing outside our directories is touched.
    I4,
    /// Everything is bounded, and nothing is left behind.
    I5,
    /// What is done and what is not is said.
    I6,
    /// When all trouble is over, the upload comes to its end.
    Finishes,
    /// Nothing panics.
    NoPanic,
}

impl fmt::Display for Promise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::I1 => "I1 (paid once)",
            Self::I2 => "I2 (what is paid survives)",
            Self::I3 => "I3 (Ok means stored)",
            Self::I4 => "I4 (nothing else is touched)",
            Self::I5 => "I5 (bounded, nothing left behind)",
            Self::I6 => "I6 (the result says what is)",
            Self::Finishes => "the upload finishes when all is well",
            Self::NoPanic => "no panic",
        })
    }
}

/// A promise that did not hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{promise} is broken: expected {expected}; found {found}")]
pub struct Violation {
    /// Which.
    pub promise: Promise,
    /// What should have been.
    pub expected: String,
    /// What was.
    pub found: String,
}

impl Violation {
    /// What a panic said.
    pub(crate) fn of_panic(panic: &(dyn Any + Send)) -> Self {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|&text| text.to_owned()));
        let found = text.unwrap_or_else(|| "one without a text".to_owned());
        Self::new(Promise::NoPanic, "no panic", found)
    }

    pub(crate) fn new(
        promise: Promise,
        expected: impl Into<String>,
        found: impl Into<String>,
    ) -> Self {
        Self { promise, expected: expected.into(), found: found.into() }
    }
}

/// A part of the system that is broken on purpose, to see that it is noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sabotage {
    /// The vault takes the money of every payment twice: breaks [`Promise::I1`].
    ChargesTwice,
    /// After a crash the sessions are gone, as if nothing of them had ever been durable: breaks
    /// [`Promise::I2`] or, once they are paid for again, [`Promise::I1`].
    SessionsForgotten,
    /// A power cut takes the sealed chunks, too: breaks [`Promise::I2`].
    SpillForgotten,
    /// Every node signs for what it throws away: breaks [`Promise::I3`].
    HollowNodes,
    /// Whatever is stored lies on the farthest nodes afterwards: breaks [`Promise::I3`].
    DistantCopies,
    /// Every node says that it has everything: breaks [`Promise::I3`] of what is verified, or
    /// [`Promise::I2`] once the spill has let go of it.
    SaysItHas,
    /// Every node signs for what it is offered and throws it away: breaks [`Promise::I6`] of what is
    /// said to be repaired.
    HollowOffers,
    /// The copy of a session that was handed over goes on as if it had not been: breaks [`Promise::I1`].
    CopyGoesOn,
    /// The sealed chunks of an imported session are gone: breaks [`Promise::I2`].
    ImportLosesChunks,
    /// After a reorganisation nothing counts as spent: breaks [`Promise::I1`].
    UnderstatesSpend,
    /// Something writes beside the data directory's own files: breaks [`Promise::I4`].
    WritesElsewhere,
    /// Something leaves a spill behind that no session names: breaks [`Promise::I5`].
    LeavesSpill,
    /// The result leaves out one chunk that failed: breaks [`Promise::I6`].
    HidesFailure,
}
