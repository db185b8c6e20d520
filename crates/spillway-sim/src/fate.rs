use std::{
    fmt::{self, Write as _},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use fastrand::Rng;

use crate::Strike;

/// Of each kind of trouble, one seed in so many is spared of it: seeds differ in what can happen, not
/// only in when.
const SPARED: u32 = 3;

/// However wild a seed is, half of all calls are spared.
const MOST: u32 = 5_000;

/// Decides what goes wrong, from the seed alone, and writes down what has happened. Clones are one.
///
/// Everything that it is asked and told goes into one hash: two runs with the same hash made the
/// same calls with the same outcomes in the same order.
#[derive(Clone)]
pub struct Fate(Arc<Mutex<State>>);

struct State {
    random: Rng,
    /// Nothing strikes when it is false.
    hostile: bool,
    /// In ten thousand, by kind.
    rates: Vec<u32>,
    counts: Vec<u64>,
    hasher: blake3::Hasher,
    calls: u64,
    line: String,
    /// Kept only when somebody wants to read it.
    lines: Option<Vec<String>>,
}

impl fmt::Debug for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fate").field("calls", &self.state().calls).finish_non_exhaustive()
    }
}

impl Fate {
    /// The fate of this seed. With `keep_lines` every call can be read afterwards.
    pub fn new(seed: u64, keep_lines: bool) -> Self {
        let mut random = Rng::with_seed(seed);
        let mut rates = Vec::with_capacity(Strike::ALL.len());
        // Some seeds are wild, some nearly quiet.
        let intensity = [0, 20, 60, 100, 200, 400, 800][random.usize(..7)];
        for strike in Strike::ALL {
            let spared = random.u32(..SPARED) == 0;
            rates.push(if spared { 0 } else { (strike.rate() * intensity / 100).min(MOST) });
        }
        Self(Arc::new(Mutex::new(State {
            random,
            hostile: true,
            rates,
            counts: vec![0; Strike::ALL.len()],
            hasher: blake3::Hasher::new(),
            calls: 0,
            line: String::new(),
            lines: keep_lines.then(Vec::new),
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether this kind of trouble strikes now; then it is counted.
    pub fn strikes(&self, strike: Strike) -> bool {
        let mut state = self.state();
        let rate = state.rates[strike as usize];
        if !state.hostile || rate == 0 || state.random.u32(..10_000) >= rate {
            return false;
        }
        state.counts[strike as usize] += 1;
        drop(state);
        self.note(format_args!("! {}", strike.name()));
        true
    }

    /// Counts trouble that the scenario has made.
    pub fn count(&self, strike: Strike) {
        self.state().counts[strike as usize] += 1;
        self.note(format_args!("! {}", strike.name()));
    }

    /// Whether anything may strike.
    pub fn is_hostile(&self) -> bool {
        self.state().hostile
    }

    /// From now on, or not any more.
    pub fn set_hostile(&self, hostile: bool) {
        self.state().hostile = hostile;
    }

    /// Draws.
    pub fn draw<T>(&self, with: impl FnOnce(&mut Rng) -> T) -> T {
        with(&mut self.state().random)
    }

    /// Writes a call, or what came of it, into the trace.
    pub fn note(&self, what: fmt::Arguments<'_>) {
        let mut state = self.state();
        let state = &mut *state;
        state.line.clear();
        // Writing into a string cannot fail.
        let _ = state.line.write_fmt(what);
        state.hasher.update(&(state.line.len() as u64).to_le_bytes());
        state.hasher.update(state.line.as_bytes());
        state.calls += 1;
        if let Some(lines) = &mut state.lines {
            lines.push(state.line.clone());
        }
    }

    /// How often each kind of trouble has struck.
    pub fn counts(&self) -> Vec<u64> {
        self.state().counts.clone()
    }

    /// How often this kind of trouble has struck.
    pub fn count_of(&self, strike: Strike) -> u64 {
        self.state().counts[strike as usize]
    }

    /// The hash over all that has happened, and how many calls and outcomes that were.
    pub fn trace(&self) -> (blake3::Hash, u64) {
        let state = self.state();
        (state.hasher.finalize(), state.calls)
    }

    /// What was kept of the trace.
    pub fn take_lines(&self) -> Vec<String> {
        self.state().lines.as_mut().map(std::mem::take).unwrap_or_default()
    }
}
