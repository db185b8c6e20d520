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
    /// How long a silence of the chain may be.
    patience: Option<Duration>,
    heard: Arc<Heard>,
}

#[derive(Debug)]
struct Heard {
    /// The newest block's time, in seconds.
    block: AtomicU64,
    /// When it was heard of, in milliseconds of the own monotonic clock.
    at: AtomicU64,
}

impl ChainClock {
    /// A clock that has not heard of any block yet, and that never calls a chain silent: for those
    /// that do not follow one.
    pub fn new(own: Arc<dyn Clock>) -> Self {
        let at = AtomicU64::new(millis(own.monotonic()));
        let heard = Arc::new(Heard { block: AtomicU64::default(), at });
        Self { own, patience: None, heard }
    }

    /// The same, of a node that follows the chain: it is silent when nothing was heard for longer
    /// than `patience`, counted from now on.
    #[must_use]
    pub fn with_patience(self, patience: Duration) -> Self {
        Self { patience: Some(patience), ..self }
    }

    /// Takes note of the newest block's time. It replaces what was heard before: a chain that is
    /// reorganised, or an RPC that was wrong once, is followed back.
    pub fn heard(&self, newest: UnixTime) {
        self.heard.block.store(newest.as_secs(), Ordering::Relaxed);
        self.heard.at.store(millis(self.own.monotonic()), Ordering::Relaxed);
    }

    /// The time of the newest block that was heard of; 0 when there was none.
    pub fn chain_time(&self) -> UnixTime {
        UnixTime(self.heard.block.load(Ordering::Relaxed))
    }

    /// Whether the chain was not heard of for too long, so that what a node would sell now might be
    /// something that it cannot see paid.
    pub fn is_silent(&self) -> bool {
        self.is_too_long_ago(Duration::from_millis(self.heard.at.load(Ordering::Relaxed)))
    }

    /// Whether something that was heard at this monotonic time is older than a silence may be.
    pub(crate) fn is_too_long_ago(&self, heard: Duration) -> bool {
        let silence = millis(self.own.monotonic()).saturating_sub(millis(heard));
        self.patience.is_some_and(|patience| silence > millis(patience))
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
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

    #[test]
    fn a_chain_is_silent_after_the_patience_and_until_it_is_heard() {
        let own = ManualClock::new(UnixTime(1_000));
        let deaf = ChainClock::new(Arc::new(own.clone()));
        let clock = deaf.clone().with_patience(Duration::from_mins(1));
        own.advance(Duration::from_mins(1));
        assert!(!clock.is_silent());
        own.advance(Duration::from_millis(1));
        assert!(clock.is_silent() && clock.clone().is_silent() && !deaf.is_silent());
        clock.clone().heard(UnixTime(1_060));
        assert!(!clock.is_silent());
        // Wall time has no say.
        own.set(UnixTime(9_000_000));
        assert!(!clock.is_silent());
    }
}
