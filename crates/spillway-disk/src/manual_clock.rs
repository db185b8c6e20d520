use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use spillway_types::UnixTime;
use tokio::sync::{oneshot, watch};

use crate::Clock;

/// A clock that stands still until it is told to move. The twin of [`crate::SystemClock`]; clones
/// show the same time.
#[derive(Clone, Debug)]
pub struct ManualClock {
    state: Arc<Mutex<State>>,
    /// How many sleep now.
    sleeping: watch::Sender<usize>,
}

#[derive(Debug)]
struct State {
    /// Wall time when monotonic time was zero; moves when wall time jumps.
    wall_seconds: i128,
    monotonic: Duration,
    next_sleeper: u64,
    /// By deadline, then by who slept first.
    sleepers: BTreeMap<(Duration, u64), oneshot::Sender<()>>,
}

impl ManualClock {
    /// A clock that shows this wall time; monotonic time starts at zero.
    pub fn new(now: UnixTime) -> Self {
        let state = State {
            wall_seconds: now.as_secs().into(),
            monotonic: Duration::ZERO,
            next_sleeper: 0,
            sleepers: BTreeMap::new(),
        };
        Self { state: Arc::new(Mutex::new(state)), sleeping: watch::Sender::new(0) }
    }

    /// Lets wall time jump, either way. Monotonic time and sleepers do not notice.
    pub fn set(&self, now: UnixTime) {
        let mut state = self.state();
        let monotonic: i128 = state.monotonic.as_secs().into();
        state.wall_seconds = i128::from(now.as_secs()) - monotonic;
    }

    /// Lets both times pass, and wakes those whose time has come, the earliest deadline first and
    /// among equals who slept first.
    pub fn advance(&self, by: Duration) {
        let target = self.state().monotonic.saturating_add(by);
        self.advance_to(target);
    }

    /// Lets time pass up to the first sleeper's deadline and wakes all who sleep until then. False
    /// when nobody sleeps.
    pub fn advance_to_next(&self) -> bool {
        let Some(deadline) = self.next_deadline() else {
            return false;
        };
        self.advance_to(deadline);
        true
    }

    /// The monotonic time at which the first sleeper wakes.
    pub fn next_deadline(&self) -> Option<Duration> {
        self.state().sleepers.keys().next().map(|(deadline, _)| *deadline)
    }

    /// How many sleep now.
    pub fn sleepers(&self) -> usize {
        self.state().sleepers.len()
    }

    /// Returns when at least `count` sleep at once: what a test waits for before it moves the time.
    ///
    /// # Cancel safety
    /// It may be dropped at any time.
    pub async fn wait_for_sleepers(&self, count: usize) {
        let mut sleeping = self.sleeping.subscribe();
        // The sender lives in `self`, so this cannot end early.
        let _ = sleeping.wait_for(|sleeping| *sleeping >= count).await;
    }

    fn advance_to(&self, target: Duration) {
        let mut state = self.state();
        while let Some(entry) = state.sleepers.first_entry() {
            if entry.key().0 > target {
                break;
            }
            let ((deadline, _), sleeper) = entry.remove_entry();
            state.monotonic = state.monotonic.max(deadline);
            // Whoever was dropped meanwhile need not be woken.
            let _ = sleeper.send(());
        }
        state.monotonic = state.monotonic.max(target);
        self.sleeping.send_replace(state.sleepers.len());
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Clock for ManualClock {
    fn now(&self) -> UnixTime {
        let state = self.state();
        let seconds = state.wall_seconds + i128::from(state.monotonic.as_secs());
        UnixTime(u64::try_from(seconds.max(0)).unwrap_or(u64::MAX))
    }

    fn monotonic(&self) -> Duration {
        self.state().monotonic
    }

    async fn sleep(&self, duration: Duration) {
        let (sleeper, woken) = oneshot::channel();
        let key = {
            let mut state = self.state();
            if duration.is_zero() {
                return;
            }
            let key = (state.monotonic.saturating_add(duration), state.next_sleeper);
            state.next_sleeper += 1;
            state.sleepers.insert(key, sleeper);
            self.sleeping.send_replace(state.sleepers.len());
            key
        };
        let _awake = Awake { clock: self, key };
        // The sender is kept until it is used, or this is dropped.
        let _ = woken.await;
    }
}

/// Takes a sleeper out when its sleep ends or is dropped.
struct Awake<'a> {
    clock: &'a ManualClock,
    key: (Duration, u64),
}

impl Drop for Awake<'_> {
    fn drop(&mut self) {
        let mut state = self.clock.state();
        if state.sleepers.remove(&self.key).is_some() {
            self.clock.sleeping.send_replace(state.sleepers.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::task::JoinSet;

    use super::*;
    use crate::conformance;

    #[tokio::test]
    async fn conforms() {
        let clock = ManualClock::new(UnixTime(1_700_000_000));
        let advance = async |by| clock.advance(by);
        conformance::clock(Arc::new(clock.clone()), advance).await;
    }

    #[test]
    fn wall_time_jumps_and_monotonic_time_does_not() {
        let clock = ManualClock::new(UnixTime(1_000));
        clock.advance(Duration::from_secs(5));
        clock.set(UnixTime(10));
        assert_eq!((clock.now(), clock.monotonic()), (UnixTime(10), Duration::from_secs(5)));
        clock.advance(Duration::from_millis(2500));
        assert_eq!((clock.now(), clock.monotonic()), (UnixTime(12), Duration::from_millis(7500)));
        clock.set(UnixTime(u64::MAX));
        clock.advance(Duration::from_secs(9));
        assert_eq!(clock.now(), UnixTime(u64::MAX));
    }

    #[tokio::test]
    async fn sleepers_wake_in_the_order_of_their_deadlines() {
        let clock = ManualClock::new(UnixTime(0));
        let (report, mut woken) = tokio::sync::mpsc::channel(3);
        let mut tasks = JoinSet::new();
        for seconds in [3, 1, 2] {
            let (clock, report) = (clock.clone(), report.clone());
            tasks.spawn(async move {
                clock.sleep(Duration::from_secs(seconds)).await;
                report.send(seconds).await.unwrap();
            });
        }
        clock.wait_for_sleepers(3).await;
        assert_eq!(clock.next_deadline(), Some(Duration::from_secs(1)));
        assert!(clock.advance_to_next());
        assert_eq!((woken.recv().await, clock.monotonic()), (Some(1), Duration::from_secs(1)));
        clock.advance(Duration::from_secs(9));
        assert_eq!((woken.recv().await, woken.recv().await), (Some(2), Some(3)));
        assert!(!clock.advance_to_next());
        assert_eq!((clock.sleepers(), clock.monotonic()), (0, Duration::from_secs(10)));
        while let Some(task) = tasks.join_next().await {
            task.unwrap();
        }
    }

    #[tokio::test]
    async fn a_sleep_that_is_dropped_is_forgotten() {
        let clock = ManualClock::new(UnixTime(0));
        let mut tasks = JoinSet::new();
        let sleeper = clock.clone();
        tasks.spawn(async move { sleeper.sleep(Duration::from_secs(1)).await });
        clock.wait_for_sleepers(1).await;
        tasks.shutdown().await;
        assert_eq!((clock.sleepers(), clock.next_deadline()), (0, None));
    }
}
