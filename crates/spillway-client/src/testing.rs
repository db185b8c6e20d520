//! What several tests of this crate stand on.

use std::time::Duration;

use async_trait::async_trait;
use spillway_disk::{Clock, ManualClock};
use spillway_types::UnixTime;

/// A clock on which every pause is over at once.
#[derive(Debug)]
pub(crate) struct Hasty(pub(crate) ManualClock);

#[async_trait]
impl Clock for Hasty {
    fn now(&self) -> UnixTime {
        self.0.now()
    }

    fn monotonic(&self) -> Duration {
        self.0.monotonic()
    }

    async fn sleep(&self, duration: Duration) {
        self.0.advance(duration);
    }
}
