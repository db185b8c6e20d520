use std::{
    collections::BTreeMap,
    fmt,
    ops::Bound,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use bytes::Bytes;
use spillway_disk::{Disk, DiskError, FileLock, Mode, Overwrite, run};
use spillway_types::ChunkAddress;
use tokio::sync::{Mutex as AddressLock, OwnedMutexGuard, OwnedSemaphorePermit, Semaphore};

use crate::{
    Capacity, ChunkStore, Reservation, StoreError, Stored,
    capacity::Space,
    check::{Checked, check_put},
    record::{HEADER_BYTES, Header},
};

mod scan;
#[cfg(test)]
mod tests;

/// Where records live, beneath the disk's root.
const CHUNKS: &str = "chunks";
/// Where records that rotted are moved, for whoever wants to know why.
const QUARANTINE: &str = "chunks/quarantine";
/// Held while a store is open.
const LOCK: &str = "chunks/lock";

/// Chunks of one store that are written at the same time, at most. A few are enough for a file
/// system to commit their syncs together; each holds one blocking thread and one chunk, 4 MiB, in
/// memory.
pub const DISK_WRITERS: usize = 4;

/// Chunks of one store that are read at the same time, at most; as for [`DISK_WRITERS`].
pub const DISK_READERS: usize = 8;

/// How a store on disk is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FsStoreOptions {
    /// What the store may fill, in bytes: chunks, evidence and headers.
    pub capacity_bytes: u64,
    /// What is left free on the disk, in bytes: a reservation that would leave less is refused.
    pub disk_margin_bytes: u64,
}

impl Default for FsStoreOptions {
    /// 10 GiB, and 64 MiB left free: some room for journals, logs and keys of whoever shares the
    /// disk.
    fn default() -> Self {
        Self { capacity_bytes: 10 << 30, disk_margin_bytes: 64 << 20 }
    }
}

/// The store on disk: one file a chunk, `chunks/<64 hex digits>`.
///
/// A file is `header ‖ evidence ‖ chunk`, written under a temporary name, synced, renamed and its
/// directory synced: so it is there whole, with its evidence, or not at all, for two syncs a chunk.
/// One directory holds them all: file systems find names in large directories by hash, and a
/// directory a prefix would cost a third sync for nearly every chunk of a young store.
///
/// The index is in memory and rebuilt at start from the headers of all files: 2,560 of them for
/// 10 GiB, so nothing of it is kept on disk that could be wrong.
pub struct FsStore {
    shared: Arc<Shared>,
    writers: Arc<Semaphore>,
    readers: Arc<Semaphore>,
    disk: Arc<dyn Disk>,
}

/// What a call that has begun needs to come to its end, whatever became of its caller.
struct Shared {
    space: Arc<Space>,
    disk_margin_bytes: u64,
    index: Mutex<Index>,
    _lock: Box<dyn FileLock>,
}

#[derive(Default)]
struct Index {
    records: BTreeMap<ChunkAddress, Header>,
    /// Addresses that are being written or moved aside: whoever wants to, waits. An entry lives as
    /// long as somebody holds or awaits its lock.
    busy: BTreeMap<ChunkAddress, Arc<AddressLock<()>>>,
}

/// The right to write an address; gives it up when dropped.
struct Turn {
    shared: Arc<Shared>,
    address: ChunkAddress,
    guard: Option<OwnedMutexGuard<()>>,
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut index = self.shared.index();
        drop(self.guard.take());
        index.forget_idle(self.address);
    }
}

impl Index {
    fn forget_idle(&mut self, address: ChunkAddress) {
        if self.busy.get(&address).is_some_and(|lock| Arc::strong_count(lock) == 1) {
            self.busy.remove(&address);
        }
    }
}

impl Shared {
    fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn header(&self, address: ChunkAddress) -> Option<Header> {
        self.index().records.get(&address).copied()
    }

    /// Waits until nobody writes this address.
    async fn turn(self: &Arc<Self>, address: ChunkAddress) -> Turn {
        let lock = Arc::clone(self.index().busy.entry(address).or_default());
        // While it waits, and when it is dropped then, the lock's entry is cleared by the holder or
        // by whoever comes next.
        let mut turn = Turn { shared: Arc::clone(self), address, guard: None };
        turn.guard = Some(lock.lock_owned().await);
        turn
    }

    /// Writes a record and counts it in. Blocking.
    fn write(&self, disk: &dyn Disk, checked: Checked) -> Result<Stored, StoreError> {
        let Checked { mut reservation, chunk, evidence } = checked;
        let address = reservation.address();
        if self.header(address).is_some() {
            return Ok(Stored::Before);
        }
        reservation.ensure_held()?;
        let header = Header::of(address, &chunk, &evidence);
        if let Err(source) = write_record(disk, &header, &chunk, &evidence) {
            // A file that got its name before the failure would be there and not counted. Should
            // this fail too, it is found whole, or damaged, at the next start.
            let _ = disk.remove_file(&record_path(address));
            return Err(match source {
                DiskError::Full { .. } => StoreError::Full {
                    free_bytes: disk.free_space().unwrap_or(0),
                    needed_bytes: header.record_bytes(),
                },
                source => StoreError::Disk { source },
            });
        }
        reservation.spend(header.record_bytes());
        self.index().records.insert(address, header);
        Ok(Stored::Now)
    }

    /// Reads a chunk; `None` when it is not what it should be. Blocking.
    fn read_chunk(disk: &dyn Disk, header: &Header) -> Result<Option<Bytes>, DiskError> {
        let file = disk.open(&record_path(header.address))?;
        let mut chunk = vec![0; header.chunk_bytes as usize];
        let read = file.read_at(header.chunk_offset(), &mut chunk)?;
        let whole = read == chunk.len() && ChunkAddress::of(&chunk) == header.address;
        Ok(whole.then(|| chunk.into()))
    }

    /// Reads a chunk's evidence; `None` when it is not what it should be. Blocking.
    fn read_evidence(disk: &dyn Disk, header: &Header) -> Result<Option<Bytes>, DiskError> {
        let file = disk.open(&record_path(header.address))?;
        let mut bytes = vec![0; HEADER_BYTES + header.evidence_bytes as usize];
        let read = file.read_at(0, &mut bytes)?;
        let evidence = Bytes::from(bytes).split_off(HEADER_BYTES);
        let whole = read == HEADER_BYTES + evidence.len()
            && crc32fast::hash(&evidence) == header.evidence_crc;
        Ok(whole.then_some(evidence))
    }

    /// Takes a record out of the index and moves its file aside. What lies there stays counted.
    /// Blocking.
    fn move_aside(&self, disk: &dyn Disk, address: ChunkAddress) -> Result<(), StoreError> {
        let Some(header) = self.index().records.remove(&address) else {
            return Ok(());
        };
        tracing::error!(%address, "a stored chunk has rotted and is moved aside");
        match quarantine(disk, address) {
            Ok(()) => Ok(()),
            Err(DiskError::NotFound { .. }) => {
                self.space.sub_used(header.record_bytes());
                Ok(())
            }
            Err(source) => {
                self.index().records.insert(address, header);
                Err(StoreError::Disk { source })
            }
        }
    }
}

/// Moves a record's file aside, in place of one that was moved aside before.
fn quarantine(disk: &dyn Disk, address: ChunkAddress) -> Result<(), DiskError> {
    disk.create_dir_all(Path::new(QUARANTINE))?;
    let aside = Path::new(QUARANTINE).join(address.to_string());
    disk.rename(&record_path(address), &aside, Overwrite::Replace)
}

fn record_path(address: ChunkAddress) -> PathBuf {
    Path::new(CHUNKS).join(address.to_string())
}

fn write_record(
    disk: &dyn Disk,
    header: &Header,
    chunk: &[u8],
    evidence: &[u8],
) -> Result<(), DiskError> {
    let file = disk.create(&record_path(header.address), Mode::Private)?;
    let mut front = Vec::with_capacity(HEADER_BYTES + evidence.len());
    front.extend_from_slice(&header.encode());
    front.extend_from_slice(evidence);
    file.write_at(0, &front)?;
    file.write_at(header.chunk_offset(), chunk)?;
    // What is not in the index has no name, or one that is worth nothing.
    file.persist(Overwrite::Replace)
}

impl FsStore {
    /// Opens the store beneath this disk's root, made if need be: takes its lock, removes temporary
    /// files, and reads the headers of all records. What is no record is left alone; a damaged one
    /// is moved aside.
    ///
    /// # Errors
    /// [`StoreError::Locked`] when another store has it open; [`StoreError::NewerFormat`] when a
    /// newer version wrote into it; [`StoreError::Disk`].
    ///
    /// # Cancel safety
    /// Dropping it opens nothing; files may have been cleaned up.
    pub async fn open(disk: Arc<dyn Disk>, options: FsStoreOptions) -> Result<Self, StoreError> {
        let found = run(&disk, |disk| Ok(scan::scan(disk))).await??;
        let space = Space::new(options.capacity_bytes);
        space.add_used(found.used_bytes);
        let shared = Shared {
            space,
            disk_margin_bytes: options.disk_margin_bytes,
            index: Mutex::new(Index { records: found.records, busy: BTreeMap::new() }),
            _lock: found.lock,
        };
        Ok(Self {
            shared: Arc::new(shared),
            writers: Arc::new(Semaphore::new(DISK_WRITERS)),
            readers: Arc::new(Semaphore::new(DISK_READERS)),
            disk,
        })
    }

    /// Makes a blocking call that goes on to its end when the caller is gone.
    async fn call<T: Send + 'static>(
        &self,
        permit: OwnedSemaphorePermit,
        call: impl FnOnce(&Shared, &dyn Disk) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let shared = Arc::clone(&self.shared);
        run(&self.disk, move |disk| {
            let _permit = permit;
            Ok(call(&shared, disk))
        })
        .await?
    }

    async fn permit(semaphore: &Arc<Semaphore>) -> OwnedSemaphorePermit {
        let acquired = Arc::clone(semaphore).acquire_owned().await;
        acquired.expect("invariant: the store never closes its semaphores")
    }

    /// Reads one part of a record, and moves the record aside when the part has rotted.
    async fn read(
        &self,
        address: ChunkAddress,
        read: fn(&dyn Disk, &Header) -> Result<Option<Bytes>, DiskError>,
    ) -> Result<Option<Bytes>, StoreError> {
        let Some(header) = self.shared.header(address) else {
            return Ok(None);
        };
        let permit = Self::permit(&self.readers).await;
        let found = self
            .call(permit, move |_, disk| match read(disk, &header) {
                // Somebody has removed the file.
                Err(DiskError::NotFound { .. }) => Ok(None),
                other => Ok(other?),
            })
            .await?;
        if found.is_some() {
            return Ok(found);
        }
        let turn = self.shared.turn(address).await;
        let permit = Self::permit(&self.writers).await;
        self.call(permit, move |shared, disk| {
            let _turn = turn;
            // Meanwhile it may have been moved aside, and put anew.
            match shared.header(address) {
                Some(header) => match read(disk, &header) {
                    Ok(Some(part)) => Ok(Some(part)),
                    Ok(None) | Err(DiskError::NotFound { .. }) => {
                        shared.move_aside(disk, address).map(|()| None)
                    }
                    Err(source) => Err(source.into()),
                },
                None => Ok(None),
            }
        })
        .await
    }
}

impl FsStore {
    /// Whether the disk has what was reserved, this reservation included.
    fn fits(&self, reservation: Reservation, free: u64) -> Result<Reservation, StoreError> {
        // What is reserved here is not on the disk yet; what others reserve there, nobody knows.
        let reserved = self.shared.space.get().reserved_bytes;
        let taken = self.shared.disk_margin_bytes.saturating_add(reserved);
        if free < taken {
            let needed_bytes = reservation.held_bytes();
            let free_bytes = free.saturating_add(needed_bytes).saturating_sub(taken);
            return Err(StoreError::Full { free_bytes, needed_bytes });
        }
        Ok(reservation)
    }
}

#[async_trait]
impl ChunkStore for FsStore {
    fn capacity(&self) -> Capacity {
        self.shared.space.get()
    }

    fn reserve(&self, address: ChunkAddress, size_bytes: u32) -> Result<Reservation, StoreError> {
        let stored = self.has(address);
        let reservation = self.shared.space.reserve(address, size_bytes, stored)?;
        if stored {
            return Ok(reservation);
        }
        self.fits(reservation, self.disk.free_space()?)
    }

    fn disk_free_bytes(&self) -> Result<u64, StoreError> {
        Ok(self.disk.free_space()?)
    }

    fn reserve_knowing(
        &self,
        disk_free_bytes: u64,
        address: ChunkAddress,
        size_bytes: u32,
    ) -> Result<Reservation, StoreError> {
        let stored = self.has(address);
        let reservation = self.shared.space.reserve(address, size_bytes, stored)?;
        if stored { Ok(reservation) } else { self.fits(reservation, disk_free_bytes) }
    }

    async fn put(
        &self,
        reservation: Reservation,
        chunk: Bytes,
        evidence: Bytes,
    ) -> Result<Stored, StoreError> {
        let address = reservation.address();
        let turn = self.shared.turn(address).await;
        let permit = Self::permit(&self.writers).await;
        self.call(permit, move |shared, disk| {
            let _turn = turn;
            shared.write(disk, check_put(&shared.space, reservation, chunk, evidence)?)
        })
        .await
    }

    async fn get(&self, address: ChunkAddress) -> Result<Option<Bytes>, StoreError> {
        self.read(address, Shared::read_chunk).await
    }

    async fn evidence(&self, address: ChunkAddress) -> Result<Option<Bytes>, StoreError> {
        self.read(address, Shared::read_evidence).await
    }

    fn has(&self, address: ChunkAddress) -> bool {
        self.shared.index().records.contains_key(&address)
    }

    fn size(&self, address: ChunkAddress) -> Option<u32> {
        self.shared.header(address).map(|header| header.chunk_bytes)
    }

    fn chunks(&self) -> usize {
        self.shared.index().records.len()
    }

    fn addresses(&self, after: Option<ChunkAddress>, limit: usize) -> Vec<ChunkAddress> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let index = self.shared.index();
        index.records.range((from, Bound::Unbounded)).take(limit).map(|(key, _)| *key).collect()
    }
}

impl fmt::Debug for FsStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FsStore")
            .field("space", &self.shared.space)
            .field("disk", &self.disk)
            .finish_non_exhaustive()
    }
}
