//! A store that takes its time.

use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use spillway_store::{Capacity, ChunkStore, MemoryStore, Reservation, StoreError, Stored};
use spillway_types::ChunkAddress;
use tokio::sync::watch;

use crate::world::CAPACITY;

/// A store whose puts and gets wait to be let through.
#[derive(Debug)]
pub(crate) struct SlowStore {
    inner: MemoryStore,
    pub(crate) open: watch::Sender<bool>,
    pub(crate) waiting: watch::Sender<usize>,
    /// Whether evidence cannot be read.
    pub(crate) fails: AtomicBool,
    /// Whether the next look at evidence finds that its chunk has rotted, and moves it aside.
    pub(crate) rots: AtomicBool,
    gone: AtomicBool,
}

impl SlowStore {
    pub(crate) fn new() -> Self {
        let inner = MemoryStore::new(CAPACITY);
        let (open, waiting) = (watch::Sender::new(false), watch::Sender::new(0));
        let [fails, rots, gone] = [const { AtomicBool::new(false) }; 3];
        Self { inner, open, waiting, fails, rots, gone }
    }

    async fn wait(&self) {
        self.waiting.send_modify(|waiting| *waiting += 1);
        self.open.subscribe().wait_for(|open| *open).await.unwrap();
    }
}

#[async_trait]
impl ChunkStore for SlowStore {
    fn capacity(&self) -> Capacity {
        self.inner.capacity()
    }

    fn reserve(&self, address: ChunkAddress, size_bytes: u32) -> Result<Reservation, StoreError> {
        self.inner.reserve(address, size_bytes)
    }

    async fn put(
        &self,
        reservation: Reservation,
        chunk: Bytes,
        evidence: Bytes,
    ) -> Result<Stored, StoreError> {
        self.wait().await;
        self.inner.put(reservation, chunk, evidence).await
    }

    async fn get(&self, address: ChunkAddress) -> Result<Option<Bytes>, StoreError> {
        self.wait().await;
        self.inner.get(address).await
    }

    async fn evidence(&self, address: ChunkAddress) -> Result<Option<Bytes>, StoreError> {
        if self.fails.load(Ordering::Relaxed) {
            return Err(StoreError::Full { free_bytes: 0, needed_bytes: 0 });
        }
        if self.rots.load(Ordering::Relaxed) {
            self.gone.store(true, Ordering::Relaxed);
            return Ok(None);
        }
        self.inner.evidence(address).await
    }

    fn has(&self, address: ChunkAddress) -> bool {
        !self.gone.load(Ordering::Relaxed) && self.inner.has(address)
    }

    fn size(&self, address: ChunkAddress) -> Option<u32> {
        self.inner.size(address)
    }

    fn chunks(&self) -> usize {
        self.inner.chunks()
    }

    fn addresses(&self, after: Option<ChunkAddress>, limit: usize) -> Vec<ChunkAddress> {
        self.inner.addresses(after, limit)
    }
}
