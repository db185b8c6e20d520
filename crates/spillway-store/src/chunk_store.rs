use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;
use spillway_types::ChunkAddress;

use crate::{Capacity, Reservation, StoreError};

/// What became of a put that did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stored {
    /// It stored the chunk, with its own evidence.
    Now,
    /// The chunk was stored before, with other evidence.
    Before,
}

/// Chunks by address, each with its evidence: proof, quotes and receipts, opaque bytes to the
/// store.
///
/// To store: [`ChunkStore::reserve`] (before a price is promised), then [`ChunkStore::put`].
#[async_trait]
pub trait ChunkStore: Send + Sync + fmt::Debug {
    /// How full the store is now.
    fn capacity(&self) -> Capacity;

    /// Sets space aside for a chunk of `size_bytes`, with its evidence, until the reservation is
    /// dropped or put. Reservations add up, also for one address; one for a chunk that is stored
    /// already sets nothing aside.
    ///
    /// # Errors
    /// [`StoreError::BadSize`] for an empty or oversized chunk; [`StoreError::Full`] when the space
    /// is not there, in this store's capacity or on its disk.
    fn reserve(&self, address: ChunkAddress, size_bytes: u32) -> Result<Reservation, StoreError>;

    /// What is free on the disk beneath, in bytes, to make several reservations with one look.
    /// Without a disk there is no such limit.
    ///
    /// # Errors
    /// [`StoreError::Disk`].
    fn disk_free_bytes(&self) -> Result<u64, StoreError> {
        Ok(u64::MAX)
    }

    /// As [`ChunkStore::reserve`], going by what [`ChunkStore::disk_free_bytes`] said a moment ago.
    ///
    /// # Errors
    /// As [`ChunkStore::reserve`].
    fn reserve_knowing(
        &self,
        disk_free_bytes: u64,
        address: ChunkAddress,
        size_bytes: u32,
    ) -> Result<Reservation, StoreError> {
        let _ = disk_free_bytes;
        self.reserve(address, size_bytes)
    }

    /// Stores a chunk with its evidence: durable when it returns. The chunk is hashed here, so the
    /// caller need not. Putting a chunk that is stored already changes nothing, the evidence
    /// included, and says so; concurrent puts of one address wait for the first.
    ///
    /// # Errors
    /// [`StoreError::WrongSize`], [`StoreError::WrongHash`], [`StoreError::EvidenceTooLong`],
    /// [`StoreError::ForeignReservation`]: nothing is written. [`StoreError::Full`] when the disk
    /// is full all the same, [`StoreError::Disk`] when it fails: a chunk is there whole or not at
    /// all.
    ///
    /// # Cancel safety
    /// A put that is dropped while it writes runs to its end: the chunk may be stored.
    async fn put(
        &self,
        reservation: Reservation,
        chunk: Bytes,
        evidence: Bytes,
    ) -> Result<Stored, StoreError>;

    /// The chunk, checked against its address. One that has rotted is moved aside and is `None`
    /// from then on.
    ///
    /// # Errors
    /// [`StoreError::Disk`].
    ///
    /// # Cancel safety
    /// It may be dropped at any time.
    async fn get(&self, address: ChunkAddress) -> Result<Option<Bytes>, StoreError>;

    /// The evidence that was put with the chunk, as it was put.
    ///
    /// # Errors
    /// As [`ChunkStore::get`].
    ///
    /// # Cancel safety
    /// It may be dropped at any time.
    async fn evidence(&self, address: ChunkAddress) -> Result<Option<Bytes>, StoreError>;

    /// Whether the chunk is stored, from memory.
    fn has(&self, address: ChunkAddress) -> bool;

    /// The size of the stored chunk in bytes, from memory.
    fn size(&self, address: ChunkAddress) -> Option<u32>;

    /// How many chunks are stored.
    fn chunks(&self) -> usize;

    /// At most `limit` addresses in order, from the first one greater than `after` on: a walk over
    /// all that holds nothing locked and survives changes in between.
    fn addresses(&self, after: Option<ChunkAddress>, limit: usize) -> Vec<ChunkAddress>;
}
