use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

/// Wall time in whole seconds since 1970-01-01 UTC. It comes from a `Clock` or from the chain,
/// never from the system directly.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct UnixTime(pub u64);

impl UnixTime {
    /// 2020-01-01: a clock that shows less was never set.
    pub const YEAR_2020: Self = Self(1_577_836_800);

    /// The time in seconds.
    pub const fn as_secs(self) -> u64 {
        self.0
    }

    /// This much later; the end of time when it does not fit. Fractions of seconds are dropped.
    #[must_use]
    pub const fn saturating_add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(duration.as_secs()))
    }

    /// This much earlier; 1970 when it does not fit. Fractions of seconds are dropped.
    #[must_use]
    pub const fn saturating_sub(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(duration.as_secs()))
    }

    /// How long after `earlier` this is; zero if it is not.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_secs(self.0.saturating_sub(earlier.0))
    }
}

impl fmt::Display for UnixTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}
