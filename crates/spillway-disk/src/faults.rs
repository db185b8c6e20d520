use std::{
    io,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};

use rustix::io::Errno;

use crate::{DiskError, DiskOp};

/// What happens at the chosen operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// No space left; a write gets half of its bytes down first.
    Full,
    /// An input or output error; a write gets half of its bytes down first.
    Io,
    /// Permission denied.
    Denied,
    /// No descriptors left.
    TooManyOpen,
    /// This process ends at once, as by SIGKILL.
    Kill,
}

/// Which operation fails, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FaultPlan {
    /// The number of the operation, counted from 1 since the plan was armed.
    pub at: u64,
    /// What happens.
    pub fault: Fault,
    /// Whether every later operation fails too, as on a disk that has died or stays full.
    pub onwards: bool,
    /// Count and fail only operations of this kind. Without it, everything that changes the disk is
    /// counted and nothing that only reads.
    pub only: Option<DiskOp>,
}

impl FaultPlan {
    /// Operation `at`, and that one alone, fails.
    pub fn once(at: u64, fault: Fault) -> Self {
        Self { at, fault, onwards: false, only: None }
    }

    /// Operation `at` and all after it fail.
    pub fn onwards(at: u64, fault: Fault) -> Self {
        Self { at, fault, onwards: true, only: None }
    }

    /// The same, counting only operations of this kind.
    #[must_use]
    pub fn only(self, op: DiskOp) -> Self {
        Self { only: Some(op), ..self }
    }
}

/// Counts the single steps of disk calls (open to write, write, sync, rename, remove, …) and makes
/// one fail. **For tests only**: nothing fails unless a plan is armed, and outside of tests only the
/// binary's test hook arms one. One `Faults` may be shared by all disks of a process.
///
/// A durable write has six steps: open, write, sync, rename, sync of the directory; and, when one
/// of them failed, remove.
#[derive(Debug, Default)]
pub struct Faults {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    count: u64,
    plan: Option<FaultPlan>,
}

/// What the test hook of a binary has armed.
static OF_PROCESS: OnceLock<Arc<Faults>> = OnceLock::new();

impl Faults {
    /// Arms a plan for every [`RealDisk`](crate::RealDisk) that this process opens from now on: one
    /// count for all of them, threads included. **Only the test hook of a binary calls it**, once,
    /// before anything is opened; a second call arms nothing new.
    pub fn arm_process(plan: FaultPlan) -> Arc<Self> {
        let armed = || Arc::new(Self { state: Mutex::new(State { count: 0, plan: Some(plan) }) });
        Arc::clone(OF_PROCESS.get_or_init(armed))
    }

    /// What is armed for the whole process.
    pub(crate) fn of_process() -> Option<Arc<Self>> {
        OF_PROCESS.get().cloned()
    }

    /// Counts from zero and follows the plan from now on.
    pub fn arm(&self, plan: FaultPlan) {
        *self.state() = State { count: 0, plan: Some(plan) };
    }

    /// Counts from zero and fails nothing.
    pub fn disarm(&self) {
        *self.state() = State::default();
    }

    /// How many operations were counted since the last [`Faults::arm`] or [`Faults::disarm`].
    pub fn count(&self) -> u64 {
        self.state().count
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts one operation; an error when it is to fail.
    pub(crate) fn hit(&self, op: DiskOp, changes: bool, path: &Path) -> Result<(), DiskError> {
        let mut state = self.state();
        let only = state.plan.and_then(|plan| plan.only);
        if only.map_or(!changes, |only| only != op) {
            return Ok(());
        }
        state.count += 1;
        let Some(plan) = state.plan else {
            return Ok(());
        };
        if state.count == plan.at || plan.onwards && state.count > plan.at {
            return Err(plan.fault.happen(op, path));
        }
        Ok(())
    }
}

impl Fault {
    fn happen(self, op: DiskOp, path: &Path) -> DiskError {
        let path = path.to_owned();
        let io = |errno: Errno, path| DiskError::Io { op, path, source: io::Error::from(errno) };
        match self {
            Self::Full => DiskError::Full { op, path },
            Self::Denied => DiskError::Denied { op, path },
            Self::Io => io(Errno::IO, path),
            Self::TooManyOpen => io(Errno::MFILE, path),
            Self::Kill => {
                let this = rustix::process::getpid();
                // Nobody can refuse a signal from itself; should it be late, nothing more is done.
                let _ = rustix::process::kill_process(this, rustix::process::Signal::KILL);
                loop {
                    std::thread::park();
                }
            }
        }
    }
}
