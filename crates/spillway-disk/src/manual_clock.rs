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
        Self {
            state: Arc::new(Mutex::new(state)),
            sleeping: watch::Sender::new(0),
        }
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
        self.state()
            .sleepers
            .keys()
            .next()
            .map(|(deadline, _)| *deadline)
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
