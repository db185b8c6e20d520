use std::{
    sync::LazyLock,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use async_trait::async_trait;
use spillway_types::UnixTime;

use crate::Clock;

/// When this process first asked for monotonic time. The runtime's instant, so that monotonic time
/// and waiting both stand still when a test pauses the runtime's clock.
static START: LazyLock<tokio::time::Instant> = LazyLock::new(tokio::time::Instant::now);

/// This machine's clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SystemClock;

#[async_trait]
impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is where wall time comes from")]
    fn now(&self) -> UnixTime {
        // A clock before 1970 was never set; so was one that shows 1970.
        let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        UnixTime(elapsed.as_secs())
    }

    fn monotonic(&self) -> Duration {
        let start = *START;
        tokio::time::Instant::now().saturating_duration_since(start)
    }

    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::conformance;

    #[tokio::test(start_paused = true)]
    async fn conforms() {
        conformance::clock(Arc::new(SystemClock), tokio::time::advance).await;
    }

    #[tokio::test(start_paused = true)]
    async fn it_stands_still_with_the_runtime() {
        let before = SystemClock.monotonic();
        std::thread::yield_now();
        assert_eq!(SystemClock.monotonic(), before);
        SystemClock.sleep(Duration::from_hours(1)).await;
        assert_eq!(SystemClock.monotonic(), before + Duration::from_hours(1));
    }
}
