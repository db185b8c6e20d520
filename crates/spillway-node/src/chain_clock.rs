use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use spillway_disk::Clock;
use spillway_types::UnixTime;

/// Wall time as a node needs it: the later of its own clock and the newest block it has heard of.
///
/// What a node accepts until a time, it must not accept once either clock is past it; and a test
/// network's chain may be hours ahead of the machine. Clones share what they have heard. Monotonic
/// time and waiting are the own clock's.
#[derive(Clone, Debug)]
pub struct ChainClock {
    own: Arc<dyn Clock>,
    chain: Arc<AtomicU64>,
}

impl ChainClock {
    /// A clock that has not heard of any block yet.
    pub fn new(own: Arc<dyn Clock>) -> Self {
        Self { own, chain: Arc::default() }
    }

    /// Takes note of the newest block's time. It replaces what was heard before: a chain that is
    /// reorganised, or an RPC that was wrong once, is followed back.
    pub fn heard(&self, newest: UnixTime) {
        self.chain.store(newest.as_secs(), Ordering::Relaxed);
    }

    /// The time of the newest block that was heard of; 0 when there was none.
    pub fn chain_time(&self) -> UnixTime {
        UnixTime(self.chain.load(Ordering::Relaxed))
    }
}

#[async_trait]
impl Clock for ChainClock {
    fn now(&self) -> UnixTime {
        self.own.now().max(self.chain_time())
    }

    fn monotonic(&self) -> Duration {
        self.own.monotonic()
    }

    async fn sleep(&self, duration: Duration) {
        self.own.sleep(duration).await;
    }
}

#[cfg(test)]
mod tests {
    use spillway_disk::ManualClock;

    use super::*;

    #[test]
    fn the_later_of_both_counts() {
        let own = ManualClock::new(UnixTime(1_000));
        let clock = ChainClock::new(Arc::new(own.clone()));
        assert_eq!(clock.now(), UnixTime(1_000));
        clock.heard(UnixTime(5_000));
        assert_eq!(clock.clone().now(), UnixTime(5_000));
        own.set(UnixTime(6_000));
        assert_eq!((clock.now(), clock.chain_time()), (UnixTime(6_000), UnixTime(5_000)));
        // Followed back too.
        clock.heard(UnixTime(7_000));
        clock.heard(UnixTime(6_500));
        assert_eq!(clock.now(), UnixTime(6_500));
        own.advance(Duration::from_secs(1));
        assert_eq!(clock.monotonic(), Duration::from_secs(1));
    }
}
