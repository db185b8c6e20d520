use std::time::Duration;

use async_trait::async_trait;
use spillway_disk::{Clock, ManualClock};
use spillway_types::UnixTime;

/// A clock on which every sleep is over at once, and time has passed.
#[derive(Clone, Debug)]
pub(crate) struct TurboClock(ManualClock);

impl TurboClock {
    pub(crate) fn new(now: UnixTime) -> Self {
        Self(ManualClock::new(now))
    }

    pub(crate) fn advance(&self, by: Duration) {
        self.0.advance(by);
    }
}

#[async_trait]
impl Clock for TurboClock {
    fn now(&self) -> UnixTime {
        self.0.now()
    }

    fn monotonic(&self) -> Duration {
        self.0.monotonic()
    }

    async fn sleep(&self, duration: Duration) {
        self.0.advance(duration);
        tokio::task::yield_now().await;
    }
}
