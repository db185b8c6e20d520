use std::time::Duration;

use spillway_types::PeerKey;

use crate::lru::Lru;

/// How much of something each peer may have in a second, and all of them together: token buckets
/// that fill with monotonic time.
///
/// At most a fixed number of peers is remembered; one that was forgotten starts with a full bucket,
/// and the bucket of all peers is the bound that remains.
#[derive(Debug)]
pub(crate) struct PeerRates {
    rate: Rate,
    all_rate: Rate,
    buckets: Lru<PeerKey, Bucket>,
    all: Bucket,
}

/// So many a second, and so many at once after a pause.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rate {
    pub(crate) per_second: u32,
    pub(crate) burst: u32,
}

impl Rate {
    /// So much more.
    pub(crate) fn times(self, factor: u32) -> Self {
        Self {
            per_second: self.per_second.saturating_mul(factor),
            burst: self.burst.saturating_mul(factor),
        }
    }
}

/// Tokens in thousandths: what `per_second` adds in a millisecond.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    milli: u64,
    filled: Duration,
}

const MILLI: u64 = 1_000;

impl Bucket {
    fn full(rate: Rate, now: Duration) -> Self {
        Self { milli: u64::from(rate.burst) * MILLI, filled: now }
    }

    fn fill(&mut self, rate: Rate, now: Duration) {
        // Whole milliseconds only, so that many small steps add up to the same.
        let elapsed = now.saturating_sub(self.filled).as_millis();
        let elapsed = u64::try_from(elapsed).unwrap_or(u64::MAX);
        self.filled = self.filled.saturating_add(Duration::from_millis(elapsed));
        let more = elapsed.saturating_mul(rate.per_second.into());
        self.milli = self.milli.saturating_add(more).min(u64::from(rate.burst) * MILLI);
    }

    /// How long until so many are there.
    fn wait(&self, rate: Rate, count: u32) -> Option<Duration> {
        let missing = (u64::from(count) * MILLI).saturating_sub(self.milli);
        (missing > 0)
            .then(|| Duration::from_millis(missing.div_ceil(rate.per_second.max(1).into())))
    }

    fn take(&mut self, count: u32) {
        self.milli = self.milli.saturating_sub(u64::from(count) * MILLI);
    }

    fn give_back(&mut self, rate: Rate, count: u32) {
        self.milli = (self.milli + u64::from(count) * MILLI).min(u64::from(rate.burst) * MILLI);
    }
}

impl PeerRates {
    /// `rate` for each peer, `all_rate` for all of them; remembers at most `peers` peers.
    pub(crate) fn new(rate: Rate, all_rate: Rate, peers: usize, now: Duration) -> Self {
        Self { rate, all_rate, buckets: Lru::new(peers), all: Bucket::full(all_rate, now) }
    }

    /// Takes `count` for this peer, or says how long to wait.
    pub(crate) fn take(
        &mut self,
        peer: PeerKey,
        count: u32,
        now: Duration,
    ) -> Result<(), Duration> {
        let (rate, all_rate) = (self.rate, self.all_rate);
        self.all.fill(all_rate, now);
        let all = &mut self.all;
        let mut fresh = Bucket::full(rate, now);
        let known = self.buckets.get(&peer);
        let is_new = known.is_none();
        let bucket = known.unwrap_or(&mut fresh);
        bucket.fill(rate, now);
        let wait = bucket.wait(rate, count).max(all.wait(all_rate, count));
        if wait.is_none() {
            bucket.take(count);
            all.take(count);
        }
        if is_new {
            self.buckets.insert(peer, fresh);
        }
        wait.map_or(Ok(()), Err)
    }

    /// Gives back what was taken and not used.
    pub(crate) fn give_back(&mut self, peer: PeerKey, count: u32) {
        self.all.give_back(self.all_rate, count);
        if let Some(bucket) = self.buckets.get(&peer) {
            bucket.give_back(self.rate, count);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::ALL_PEERS_FACTOR;

    const RATE: Rate = Rate { per_second: 2, burst: 10 };

    fn peer(byte: u8) -> PeerKey {
        PeerKey([byte; 32])
    }

    fn at(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn a_burst_then_the_rate() {
        let mut rates = PeerRates::new(RATE, RATE.times(ALL_PEERS_FACTOR), 8, at(0));
        assert_eq!(rates.take(peer(1), 10, at(0)), Ok(()));
        assert_eq!(rates.take(peer(1), 1, at(0)), Err(at(500)));
        assert_eq!(rates.take(peer(1), 3, at(100)), Err(at(1_400)));
        assert_eq!(rates.take(peer(1), 1, at(500)), Ok(()));
        assert_eq!(rates.take(peer(1), 1, at(999)), Err(at(1)));
        // It never holds more than the burst.
        assert_eq!(rates.take(peer(1), 11, at(1_000_000)), Err(at(500)));
        assert_eq!(rates.take(peer(1), 10, at(1_000_000)), Ok(()));
        // Another peer has its own.
        assert_eq!(rates.take(peer(2), 10, at(1_000_000)), Ok(()));
    }

    #[test]
    fn what_is_given_back_can_be_taken_again() {
        let mut rates = PeerRates::new(RATE, RATE.times(ALL_PEERS_FACTOR), 8, at(0));
        assert_eq!(rates.take(peer(1), 10, at(0)), Ok(()));
        rates.give_back(peer(1), 4);
        assert_eq!(rates.take(peer(1), 4, at(0)), Ok(()));
        assert_eq!(rates.take(peer(1), 1, at(0)), Err(at(500)));
        rates.give_back(peer(1), 400);
        assert_eq!(rates.take(peer(1), 11, at(0)), Err(at(500)));
    }

    #[test]
    fn many_names_do_not_get_more_than_all_peers_may() {
        let mut rates = PeerRates::new(RATE, RATE.times(ALL_PEERS_FACTOR), 4, at(0));
        let taken = (0..=255).filter(|byte| rates.take(peer(*byte), 10, at(0)).is_ok()).count();
        assert_eq!(taken, ALL_PEERS_FACTOR as usize);
        assert!(rates.buckets.len() <= 4);
        assert_eq!(rates.take(peer(0), 1, at(0)), Err(at(63)));
    }

    #[test]
    fn a_clock_that_stands_gives_nothing() {
        let mut rates = PeerRates::new(RATE, RATE.times(ALL_PEERS_FACTOR), 4, at(5));
        assert_eq!(rates.take(peer(1), 10, at(5)), Ok(()));
        assert_eq!(rates.take(peer(1), 1, at(0)), Err(at(500)));
        for step in 1..=1_000 {
            let _ = rates.take(peer(1), 10, at(5) + Duration::from_micros(step));
        }
        // A thousand microseconds are one millisecond: two thousandths.
        assert_eq!(rates.take(peer(1), 1, at(6)), Err(at(499)));
    }
}
