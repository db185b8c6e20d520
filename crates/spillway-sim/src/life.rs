use std::{
    future::pending,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use spillway_disk::{FaultPlan, Faults, MemoryDisk, Survival};
use tokio_util::sync::CancellationToken;

use crate::{Fate, Strike};

/// What ends a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Death {
    /// SIGKILL: everything that was written is there.
    Kill,
    /// The power goes, and this is what it leaves.
    PowerCut(Survival),
}

impl Death {
    fn strike(self) -> Strike {
        match self {
            Self::Kill => Strike::ClientKill,
            Self::PowerCut(Survival::Seeded(_)) => Strike::ClientTornCut,
            Self::PowerCut(_) => Strike::ClientPowerCut,
        }
    }
}

/// When a process ends, or is asked to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// When it wants to.
    Natural,
    /// At its Nth step at a seam: before or after a call.
    AtStep(u64, Death),
    /// In the middle of a call of the disk, at its Nth change.
    AtChange(u64, Death),
    /// At its Nth step it is asked to stop.
    Stop(u64),
}

/// The disk of a machine: what its processes write on, and what a power cut makes of it.
#[derive(Clone, Debug)]
pub struct Machine(Arc<Mutex<Inside>>);

#[derive(Debug)]
struct Inside {
    disk: MemoryDisk,
    lives: Vec<Life>,
}

impl Machine {
    /// A machine with this disk.
    pub fn new(disk: MemoryDisk) -> Self {
        Self(Arc::new(Mutex::new(Inside { disk, lives: Vec::new() })))
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The disk as it is now, without faults.
    pub fn disk(&self) -> MemoryDisk {
        self.inside().disk.clone()
    }

    /// Starts a process.
    pub fn start(&self, end: End, fault: Option<FaultPlan>, fate: &Fate) -> Life {
        let faults = Arc::new(Faults::default());
        match (end, fault) {
            (End::AtChange(at, _), _) => {
                faults.arm(FaultPlan::onwards(at, spillway_disk::Fault::Io));
            }
            (_, Some(plan)) => faults.arm(plan),
            _ => {}
        }
        let life = Life(Arc::new(Process {
            machine: self.clone(),
            end,
            faults,
            fate: fate.clone(),
            steps: AtomicU64::new(0),
            dead: AtomicBool::new(false),
            died: CancellationToken::new(),
            stop: CancellationToken::new(),
        }));
        self.inside().lives.push(life.clone());
        life
    }

    /// All processes are gone, dropped by their owner.
    pub fn forget_lives(&self) {
        self.inside().lives.clear();
    }

    /// The power goes: every process ends, and the disk is what is left of it.
    fn cut(&self, survival: Survival) {
        let mut inside = self.inside();
        let left = inside.disk.crash(survival);
        inside.disk = left;
        let lives = std::mem::take(&mut inside.lives);
        drop(inside);
        for life in lives {
            life.0.dead.store(true, Ordering::Relaxed);
            life.0.died.cancel();
        }
    }
}

/// One process from its start to its end.
#[derive(Clone, Debug)]
pub struct Life(Arc<Process>);

#[derive(Debug)]
struct Process {
    machine: Machine,
    end: End,
    faults: Arc<Faults>,
    fate: Fate,
    steps: AtomicU64,
    dead: AtomicBool,
    died: CancellationToken,
    stop: CancellationToken,
}

impl Life {
    /// The disk as this process has it: with its faults.
    pub fn disk(&self) -> MemoryDisk {
        self.0.machine.disk().with_faults(Arc::clone(&self.0.faults))
    }

    /// Whether it has ended from outside.
    pub fn is_dead(&self) -> bool {
        self.0.dead.load(Ordering::Relaxed)
    }

    /// Cancelled when it has.
    pub fn died(&self) -> &CancellationToken {
        &self.0.died
    }

    /// Cancelled when it is asked to stop.
    pub fn stop(&self) -> &CancellationToken {
        &self.0.stop
    }

    /// Whether a fault of its disk that was planned has happened.
    pub fn disk_has_failed(&self, at: u64) -> bool {
        self.0.faults.count() >= at
    }

    /// One step at a seam; true when it is dead now.
    pub fn step(&self) -> bool {
        if self.is_dead() {
            return true;
        }
        let steps = self.0.steps.fetch_add(1, Ordering::Relaxed) + 1;
        match self.0.end {
            End::AtStep(at, death) if steps >= at => self.die(death),
            End::AtChange(at, death) if self.0.faults.count() >= at => self.die(death),
            End::Stop(at) if steps == at => {
                self.0.fate.count(Strike::ClientStop);
                self.0.stop.cancel();
            }
            _ => {}
        }
        self.is_dead()
    }

    /// One step at a seam of an asynchronous call: it never returns when the process is dead, and
    /// whoever awaits it is dropped.
    pub async fn pass(&self) {
        if self.step() {
            pending::<()>().await;
        }
    }

    fn die(&self, death: Death) {
        self.0.fate.count(death.strike());
        match death {
            Death::Kill => {
                self.0.dead.store(true, Ordering::Relaxed);
                self.0.died.cancel();
            }
            Death::PowerCut(survival) => {
                self.0.dead.store(true, Ordering::Relaxed);
                self.0.machine.cut(survival);
                self.0.died.cancel();
            }
        }
    }
}
