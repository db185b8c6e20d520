use std::time::Duration;

use async_trait::async_trait;
use spillway_disk::{Clock, ManualClock};
use spillway_types::UnixTime;

/// A clock on which every sleep is over at once, and time has passed. Clones are one clock.
#[derive(Clone, Debug)]
pub struct TurboClock(ManualClock);

impl TurboClock {
    /// A clock that shows this wall time.
    pub fn new(now: UnixTime) -> Self {
        Self(ManualClock::new(now))
    }

    /// Lets both times pass.
    pub fn advance(&self, by: Duration) {
        self.0.advance(by);
    }

    /// Lets wall time jump, either way.
    pub fn set(&self, now: UnixTime) {
        self.0.set(now);
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
