use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What one gate lets through at this moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gauge {
    /// Units that are taken: pieces of work, or whatever the gate counts.
    pub active: u64,
    /// Pieces of work that wait.
    pub queued: u64,
    /// The most units that may be taken.
    pub budget: u64,
}

/// A limit that is shared by all that enter it, first come, first served.
#[derive(Debug)]
pub struct Gate {
    free: Arc<Semaphore>,
    budget: u32,
    queued: AtomicU64,
}

/// Units of a [`Gate`], until it is dropped: also by a task that is cancelled or panics, and by a
/// thread that it has moved to.
#[derive(Debug)]
#[must_use = "the units are given back when it is dropped"]
pub struct Permit {
    _permit: OwnedSemaphorePermit,
}

/// Counts one that waits, until it is dropped.
struct Queued<'g>(&'g AtomicU64);

impl Drop for Queued<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Gate {
    /// A gate of so many units; none counts as one.
    pub fn new(budget: u32) -> Self {
        let budget = budget.max(1);
        Self { free: Arc::new(Semaphore::new(budget as usize)), budget, queued: AtomicU64::new(0) }
    }

    /// Waits for so many units, at least one. More than there are counts as all of them.
    ///
    /// # Cancel safety
    /// Dropping it gives the place in the queue up.
    ///
    /// # Panics
    /// Never: a gate is not closed.
    pub async fn enter(&self, units: u32) -> Permit {
        self.queued.fetch_add(1, Ordering::Relaxed);
        let queued = Queued(&self.queued);
        let permit = Arc::clone(&self.free).acquire_many_owned(units.clamp(1, self.budget)).await;
        drop(queued);
        Permit { _permit: permit.expect("invariant: a gate is never closed") }
    }

    /// What is let through now.
    pub fn gauge(&self) -> Gauge {
        let free = self.free.available_permits() as u64;
        let budget = u64::from(self.budget);
        let queued = self.queued.load(Ordering::Relaxed);
        Gauge { active: budget.saturating_sub(free), queued, budget }
    }
}
