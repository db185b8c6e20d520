use std::{
    ops::ControlFlow,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
};

use crate::{Ends, Outcome, SimOptions, Strike, Violation, simulate};

/// What came of many seeds.
#[derive(Clone, Debug)]
pub struct Summary {
    /// How many were simulated.
    pub seeds: u64,
    /// Those in which a promise did not hold, by seed.
    pub violations: Vec<(u64, Violation)>,
    /// How often each kind of trouble struck, in the order of [`Strike::ALL`].
    pub strikes: Vec<u64>,
    /// How the runs ended.
    pub ends: Ends,
    /// Calls at seams and their outcomes.
    pub calls: u64,
}

impl Default for Summary {
    fn default() -> Self {
        Self {
            seeds: 0,
            violations: Vec::new(),
            strikes: vec![0; Strike::ALL.len()],
            ends: Ends::default(),
            calls: 0,
        }
    }
}

impl Summary {
    fn add(&mut self, outcome: Outcome) {
        self.seeds += 1;
        self.calls += outcome.calls;
        for (sum, count) in self.strikes.iter_mut().zip(outcome.strikes) {
            *sum += count;
        }
        let Ends { done, partial, failed, died } = outcome.ends;
        self.ends.done += done;
        self.ends.partial += partial;
        self.ends.failed += failed;
        self.ends.died += died;
        self.violations.extend(outcome.violation.map(|violation| (outcome.seed, violation)));
    }
}

/// Simulates `count` seeds from `first` on, on so many threads, each with a world of its own at a
/// time. `heard` is told of every outcome, in no order, and may end it.
///
/// # Panics
/// When a simulation does.
pub fn simulate_all(
    (first, count): (u64, u64),
    threads: usize,
    heard: impl Fn(&Outcome) -> ControlFlow<()> + Sync,
) -> Summary {
    let (next, over) = (AtomicU64::new(0), AtomicBool::new(false));
    let summary = Mutex::new(Summary::default());
    thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count {
                        break;
                    }
                    let outcome = simulate(first.wrapping_add(number), SimOptions::default());
                    if heard(&outcome).is_break() {
                        over.store(true, Ordering::Relaxed);
                    }
                    summary.lock().unwrap_or_else(PoisonError::into_inner).add(outcome);
                }
            });
        }
    });
    let mut summary = summary.into_inner().unwrap_or_else(PoisonError::into_inner);
    summary.violations.sort_by_key(|(seed, _)| *seed);
    summary
}
