use std::{
    collections::BTreeMap,
    fmt,
    ops::Bound,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use bytes::Bytes;
use spillway_types::ChunkAddress;

use crate::{
    Capacity, ChunkStore, Reservation, StoreError, Stored,
    capacity::{Space, record_bytes},
    check::{Checked, check_put},
};

struct Record {
    chunk: Bytes,
    evidence: Bytes,
}

/// The twin of [`crate::FsStore`]: the same rules, and nothing survives it.
pub struct MemoryStore {
    space: Arc<Space>,
    records: Mutex<BTreeMap<ChunkAddress, Record>>,
}

impl MemoryStore {
    /// An empty store that may fill `capacity_bytes`.
    pub fn new(capacity_bytes: u64) -> Self {
        Self { space: Space::new(capacity_bytes), records: Mutex::default() }
    }

    /// Flips one bit of a stored chunk, as a rotting disk would. For tests. False when the chunk is
    /// not stored.
    pub fn rot(&self, address: ChunkAddress) -> bool {
        let mut records = self.records();
        let Some(record) = records.get_mut(&address) else {
            return false;
        };
        let mut chunk = record.chunk.to_vec();
        let Some(first) = chunk.first_mut() else {
            return false;
        };
        *first ^= 1;
        record.chunk = chunk.into();
        true
    }

    fn records(&self) -> MutexGuard<'_, BTreeMap<ChunkAddress, Record>> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl ChunkStore for MemoryStore {
    fn capacity(&self) -> Capacity {
        self.space.get()
    }

    fn reserve(&self, address: ChunkAddress, size_bytes: u32) -> Result<Reservation, StoreError> {
        let records = self.records();
        self.space.reserve(address, size_bytes, records.contains_key(&address))
    }

    async fn put(
        &self,
        reservation: Reservation,
        chunk: Bytes,
        evidence: Bytes,
    ) -> Result<Stored, StoreError> {
        let Checked { mut reservation, chunk, evidence } =
            check_put(&self.space, reservation, chunk, evidence)?;
        let mut records = self.records();
        if records.contains_key(&reservation.address()) {
            return Ok(Stored::Before);
        }
        reservation.ensure_held()?;
        let address = reservation.address();
        reservation.spend(record_bytes(chunk.len(), evidence.len()));
        records.insert(address, Record { chunk, evidence });
        Ok(Stored::Now)
    }

    async fn get(&self, address: ChunkAddress) -> Result<Option<Bytes>, StoreError> {
        let mut records = self.records();
        let Some(record) = records.get(&address) else {
            return Ok(None);
        };
        if ChunkAddress::of(&record.chunk) == address {
            return Ok(Some(record.chunk.clone()));
        }
        // What rotted stays counted, as it does on disk.
        records.remove(&address);
        Ok(None)
    }

    async fn evidence(&self, address: ChunkAddress) -> Result<Option<Bytes>, StoreError> {
        Ok(self.records().get(&address).map(|record| record.evidence.clone()))
    }

    fn has(&self, address: ChunkAddress) -> bool {
        self.records().contains_key(&address)
    }

    fn size(&self, address: ChunkAddress) -> Option<u32> {
        let records = self.records();
        records.get(&address).and_then(|record| u32::try_from(record.chunk.len()).ok())
    }

    fn chunks(&self) -> usize {
        self.records().len()
    }

    fn addresses(&self, after: Option<ChunkAddress>, limit: usize) -> Vec<ChunkAddress> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.records().range((from, Bound::Unbounded)).take(limit).map(|(key, _)| *key).collect()
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore").field("space", &self.space).finish_non_exhaustive()
    }
}
