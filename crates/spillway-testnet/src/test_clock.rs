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

    /// Sets wall time forward to this time at least; never back.
    pub fn reach(&self, time: UnixTime) {
        let ahead = time.since(SystemClock.now()).as_secs();
        self.ahead_secs.fetch_max(ahead, Ordering::SeqCst);
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

    #[test]
    fn it_reaches_a_time_and_is_never_set_back() {
        let clock = TestClock::default();
        let later = clock.now().saturating_add(Duration::from_hours(31 * 24));
        clock.reach(later);
        let now = clock.now();
        assert!(now >= later && now <= later.saturating_add(Duration::from_mins(1)));
        clock.reach(UnixTime(0));
        assert!(clock.now() >= now);
    }
}
