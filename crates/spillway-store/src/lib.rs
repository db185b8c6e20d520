//! A node's chunk store: sealed chunks, each with the evidence that it was paid for.
//!
//! Owns the [`ChunkStore`] trait, the store on disk ([`FsStore`]), its twin in memory
//! ([`MemoryStore`]), and the count of space ([`Capacity`], [`Reservation`]) that both share. One
//! conformance suite runs both. No tasks of its own: a put or get is one blocking call of the disk.
//!
//! Invariants: a chunk and its evidence appear together or not at all, and are durable when
//! [`ChunkStore::put`] returns. What [`ChunkStore::get`] returns hashes to its address. Used and
//! reserved space never pass the capacity.
//!
//! A crash leaves at most temporary files in `chunks/`, removed at the next start. Reservations
//! live in memory: after a restart nothing is reserved. Deliberately absent: what the evidence
//! means, prices, and every decision about which chunks to take or to drop.

mod capacity;
mod check;
mod chunk_store;
mod error;
mod fs_store;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod memory_store;
mod record;

pub use capacity::{Capacity, MAX_EVIDENCE_BYTES, Reservation, reservation_bytes};
pub use chunk_store::{ChunkStore, Stored};
pub use error::StoreError;
pub use fs_store::{DISK_READERS, DISK_WRITERS, FsStore, FsStoreOptions};
pub use memory_store::MemoryStore;
