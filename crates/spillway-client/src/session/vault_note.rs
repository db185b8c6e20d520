use serde::{Deserialize, Serialize};
use spillway_pay::Windows;
use spillway_types::UnixTime;

/// A vault's times, as they were when a batch was planned; a vault never changes them. Without
/// asking a chain they say when the draws of a batch can be refunded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct VaultNote {
    pub draw_delay_secs: u64,
    pub claim_secs: u64,
}

impl VaultNote {
    /// Its name in a session's directory.
    pub(crate) const FILE: &str = "vault";

    pub(crate) fn of(windows: &Windows) -> Self {
        Self { draw_delay_secs: windows.draw_delay.as_secs(), claim_secs: windows.claim.as_secs() }
    }

    /// After this the seed that draws a batch becomes public.
    pub(crate) fn draw_time(&self, upload_by: UnixTime) -> UnixTime {
        UnixTime(upload_by.0.saturating_add(self.draw_delay_secs))
    }

    /// The first second in which the payer can have back what nobody has claimed.
    pub(crate) fn refundable_from(&self, upload_by: UnixTime) -> UnixTime {
        let claim_end = self.draw_time(upload_by).0.saturating_add(self.claim_secs);
        UnixTime(claim_end.saturating_add(1))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn times_are_those_of_the_vault() {
        let windows = Windows {
            min: Duration::from_secs(1),
            max: Duration::from_secs(2),
            draw_delay: Duration::from_mins(15),
            claim: Duration::from_hours(720),
        };
        let (note, upload_by) = (VaultNote::of(&windows), UnixTime(1_800_000_000));
        assert_eq!(note.draw_time(upload_by), windows.draw_time(upload_by));
        // Settled is until the end of the claim window, inclusive.
        assert_eq!(note.refundable_from(upload_by).0, windows.claim_end(upload_by).0 + 1);
    }
}
