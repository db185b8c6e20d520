use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use spillway_disk::Clock;
use spillway_types::UnixTime;
use tokio::time::Instant;

/// When every simulation begins.
pub const START: UnixTime = UnixTime(1_750_000_000);

/// Time in a simulation: that of the runtime, which is paused, so that it jumps to the next sleeper
/// as soon as nobody has anything to do. Clones are one clock; wall time may be off against the
/// others'.
#[derive(Clone, Debug)]
pub struct SimClock {
    start: Instant,
    /// Seconds that wall time is ahead.
    ahead: Arc<AtomicI64>,
}

impl SimClock {
    /// A clock that shows [`START`] now. Needs a paused runtime.
    pub fn new() -> Self {
        Self { start: Instant::now(), ahead: Arc::default() }
    }

    /// Another clock of the same time, with a wall clock of its own.
    #[must_use]
    pub fn with_own_wall(&self) -> Self {
        Self { start: self.start, ahead: Arc::default() }
    }

    /// Puts wall time so many seconds ahead of the true time, or behind it.
    pub fn set_ahead(&self, seconds: i64) {
        self.ahead.store(seconds, Ordering::Relaxed);
    }

    /// The true time, whatever the wall clock shows.
    pub fn true_now(&self) -> UnixTime {
        START.saturating_add(self.start.elapsed())
    }
}

impl Default for SimClock {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl Clock for SimClock {
    fn now(&self) -> UnixTime {
        UnixTime(self.true_now().0.saturating_add_signed(self.ahead.load(Ordering::Relaxed)))
    }

    fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }

    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }
}
