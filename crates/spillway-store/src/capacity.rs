use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use spillway_types::{ChunkAddress, limits::MAX_CHUNK_BYTES};

use crate::{StoreError, record::HEADER_BYTES};

/// Most evidence that is kept with a chunk, in bytes. A full direct proof with five quotes is
/// 37 KiB (see the header limit of the protocol), five receipts are under 2 KiB; the rest is room
/// for what later versions add.
pub const MAX_EVIDENCE_BYTES: u32 = 64 * 1024;

/// Space that a reservation for a chunk of `size_bytes` sets aside, in bytes: the chunk, the most
/// evidence it may come with, and the header. What a stored chunk uses is exact and mostly less.
pub const fn reservation_bytes(size_bytes: u32) -> u64 {
    size_bytes as u64 + MAX_EVIDENCE_BYTES as u64 + HEADER_BYTES as u64
}

/// Space that a stored chunk uses, in bytes.
pub(crate) fn record_bytes(chunk: usize, evidence: usize) -> u64 {
    chunk as u64 + evidence as u64 + HEADER_BYTES as u64
}

/// How full a store is. Used and reserved together never pass the capacity, unless the store was
/// opened with a smaller capacity than it had filled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// What the store may fill, in bytes.
    pub capacity_bytes: u64,
    /// What stored records fill: chunks, their evidence and headers, and what was moved aside as
    /// rotten.
    pub used_bytes: u64,
    /// What is set aside for chunks that were promised a place.
    pub reserved_bytes: u64,
}

impl Capacity {
    /// What is neither used nor reserved, in bytes.
    pub fn free_bytes(&self) -> u64 {
        self.capacity_bytes.saturating_sub(self.used_bytes).saturating_sub(self.reserved_bytes)
    }
}

/// The count of a store's space, shared with its reservations.
pub(crate) struct Space {
    count: Mutex<Capacity>,
}

impl Space {
    pub(crate) fn new(capacity_bytes: u64) -> Arc<Self> {
        let count = Capacity { capacity_bytes, used_bytes: 0, reserved_bytes: 0 };
        Arc::new(Self { count: Mutex::new(count) })
    }

    fn with<T>(&self, change: impl FnOnce(&mut Capacity) -> T) -> T {
        change(&mut self.count.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn get(&self) -> Capacity {
        self.with(|count| *count)
    }

    /// Counts what was found stored.
    pub(crate) fn add_used(&self, bytes: u64) {
        self.with(|count| count.used_bytes = count.used_bytes.saturating_add(bytes));
    }

    /// Counts out what is stored no longer.
    pub(crate) fn sub_used(&self, bytes: u64) {
        self.with(|count| count.used_bytes = count.used_bytes.saturating_sub(bytes));
    }

    fn hold(&self, bytes: u64) -> Result<(), StoreError> {
        self.with(|count| {
            let free_bytes = count.free_bytes();
            if bytes > free_bytes {
                return Err(StoreError::Full { free_bytes, needed_bytes: bytes });
            }
            count.reserved_bytes += bytes;
            Ok(())
        })
    }

    fn release(&self, bytes: u64) {
        self.with(|count| count.reserved_bytes = count.reserved_bytes.saturating_sub(bytes));
    }

    /// Reserves for a chunk, checking its size first.
    pub(crate) fn reserve(
        self: &Arc<Self>,
        address: ChunkAddress,
        size_bytes: u32,
        stored: bool,
    ) -> Result<Reservation, StoreError> {
        if size_bytes == 0 || size_bytes as usize > MAX_CHUNK_BYTES {
            return Err(StoreError::BadSize { size_bytes });
        }
        let held_bytes = if stored { 0 } else { reservation_bytes(size_bytes) };
        self.hold(held_bytes)?;
        Ok(Reservation { address, size_bytes, held_bytes, space: Arc::clone(self) })
    }
}

impl fmt::Debug for Space {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get().fmt(f)
    }
}

/// Space set aside for one chunk. Dropping it gives the space back.
#[must_use = "dropping a reservation gives the space back"]
pub struct Reservation {
    address: ChunkAddress,
    size_bytes: u32,
    held_bytes: u64,
    space: Arc<Space>,
}

impl Reservation {
    /// The chunk it is for.
    pub fn address(&self) -> ChunkAddress {
        self.address
    }

    /// The chunk's size, in bytes.
    pub fn size_bytes(&self) -> u32 {
        self.size_bytes
    }

    /// What it sets aside, in bytes.
    pub(crate) fn held_bytes(&self) -> u64 {
        self.held_bytes
    }

    pub(crate) fn belongs_to(&self, space: &Arc<Space>) -> bool {
        Arc::ptr_eq(&self.space, space)
    }

    /// Makes sure that the space is held: a reservation made while the chunk was stored holds none,
    /// and the chunk may have been moved aside since.
    pub(crate) fn ensure_held(&mut self) -> Result<(), StoreError> {
        let needed = reservation_bytes(self.size_bytes);
        if self.held_bytes < needed {
            self.space.hold(needed - self.held_bytes)?;
            self.held_bytes = needed;
        }
        Ok(())
    }

    /// Turns what was set aside into what is used, in one step.
    pub(crate) fn spend(mut self, used_bytes: u64) {
        let held = std::mem::take(&mut self.held_bytes);
        self.space.with(|count| {
            count.reserved_bytes = count.reserved_bytes.saturating_sub(held);
            count.used_bytes = count.used_bytes.saturating_add(used_bytes);
        });
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.space.release(self.held_bytes);
    }
}

impl fmt::Debug for Reservation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reservation")
            .field("address", &self.address)
            .field("size_bytes", &self.size_bytes)
            .finish_non_exhaustive()
    }
}
