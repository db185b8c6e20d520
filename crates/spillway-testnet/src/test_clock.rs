use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use spillway_disk::{Clock, SystemClock};
use spillway_types::UnixTime;

/// The system's clock, set forward together with the chain's: nodes and quotes follow the chain's
/// time, or they would all be out of date after a jump. Clones are one clock.
#[derive(Clone, Debug, Default)]
pub struct TestClock {
    ahead_secs: Arc<AtomicU64>,
}

impl TestClock {
    /// Sets wall time forward, in whole seconds. Monotonic time and waiting are as before.
    pub fn advance(&self, by: Duration) {
        self.ahead_secs.fetch_add(by.as_secs(), Ordering::SeqCst);
    }
}

#[async_trait]
impl Clock for TestClock {
    fn now(&self) -> UnixTime {
        let ahead = Duration::from_secs(self.ahead_secs.load(Ordering::SeqCst));
        SystemClock.now().saturating_add(ahead)
    }

    fn monotonic(&self) -> Duration {
        SystemClock.monotonic()
    }

    async fn sleep(&self, duration: Duration) {
        SystemClock.sleep(duration).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_are_set_forward_together() {
        let clock = TestClock::default();
        let other = clock.clone();
        let before = other.now();
        clock.advance(Duration::from_hours(1));
        assert!(other.now() >= before.saturating_add(Duration::from_hours(1)));
    }
}
