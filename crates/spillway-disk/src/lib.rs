//! The disk and the clock, as everything above them sees them.
//!
//! Owns the [`Disk`] seam (write durably, append durably, rename, list, lock, free space) and the
//! [`Clock`] seam (wall and monotonic time), each with a real implementation and a twin in memory
//! that pass one conformance suite. No tasks of its own beyond the blocking calls of [`run`].
//!
//! Invariants: a disk is rooted in one directory, every path is relative to it, and nothing outside
//! of it is ever touched: `..`, absolute paths and links on the way are refused, so what is named
//! inside a root cannot be swapped for something elsewhere. A durable write is there after a power
//! cut once its call has returned; before that, the old state or nothing is there, never a part.
//!
//! A crash leaves at most files whose names start with [`TEMPORARY_PREFIX`], and those that are
//! meant to be gone on with ([`Disk::resume`]). Deliberately absent: caching, and every policy
//! about which file is worth what.

mod clock;
#[cfg(any(test, feature = "test-support"))]
pub mod conformance;
mod disk;
mod error;
mod faults;
mod manual_clock;
mod memory_disk;
mod parts;
mod real_disk;
mod system_clock;
#[cfg(test)]
mod twins;

pub use clock::Clock;
pub use disk::{
    Appended, Disk, DiskExt, Entry, EntryKind, FileLock, FileStat, Mode, Overwrite, ReadAt,
    TEMPORARY_PREFIX, Unfinished, WriteAt, run,
};
pub use error::{DiskError, DiskOp};
pub use faults::{Fault, FaultPlan, Faults};
pub use manual_clock::ManualClock;
pub use memory_disk::{MemoryDisk, Survival};
pub use real_disk::RealDisk;
pub use system_clock::SystemClock;
