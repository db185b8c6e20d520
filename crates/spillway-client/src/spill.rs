//! The spill: sealed chunks that wait on disk, in `spill/spill_<unix time>_<random>/` with a lock
//! file inside.
//!
//! The lock is taken before the directory gets its visible name, and a spill is deleted only while
//! its lock is held. Any doubt (a lock that cannot be opened, a clock before 2020, something that
//! is not a real directory of the right name) means: keep. A crash leaves a spill without a holder:
//! its session takes it over, or [`clean`] removes it when no open session names it and it is a day
//! old; see [`crate::Reaped`].

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use bytes::Bytes;
use spillway_disk::{Disk, DiskError, EntryKind, FileLock, Overwrite, TEMPORARY_PREFIX};
use spillway_types::{ChunkAddress, UnixTime, limits::MAX_CHUNK_BYTES};

use crate::reap::STALE_AFTER;

/// Below `data_dir`.
pub(crate) const ROOT: &str = "spill";
const PREFIX: &str = "spill_";
const LOCK: &str = "lock";

/// A held plaintext segment is as long as a segment and 16 bytes of tag.
const MAX_HELD_BYTES: u64 = MAX_CHUNK_BYTES as u64 + 16;

/// A spill directory whose lock this process holds. A new one is removed when it is dropped, unless
/// a session has recorded it ([`Spill::keep`]).
#[derive(Debug)]
pub(crate) struct Spill {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    name: String,
    keep: AtomicBool,
    _lock: Box<dyn FileLock>,
}

impl Drop for Spill {
    fn drop(&mut self) {
        if !self.keep.load(Ordering::Acquire)
            && let Err(error) = remove_locked(self.disk.as_ref(), &self.dir)
        {
            tracing::warn!(%error, "an unused spill could not be removed; it goes when it is stale");
        }
    }
}

impl Spill {
    /// Makes a new, empty spill, named by the time. Blocks.
    pub(crate) fn create(disk: &Arc<dyn Disk>, now: UnixTime) -> Result<Self, DiskError> {
        let root = Path::new(ROOT);
        disk.create_dir_all(root)?;
        let name = format!("{PREFIX}{now}_{:016x}", fastrand::u64(..));
        let hidden = root.join(format!("{TEMPORARY_PREFIX}{name}"));
        disk.create_dir_all(&hidden)?;
        let lock = disk.lock(&hidden.join(LOCK))?;
        let dir = root.join(&name);
        disk.rename(&hidden, &dir, Overwrite::Never)?;
        let keep = AtomicBool::new(false);
        Ok(Self { disk: Arc::clone(disk), dir, name, keep, _lock: lock })
    }

    /// Takes an existing spill over; what its last holder has not written to the end goes. Blocks.
    ///
    /// # Errors
    /// [`DiskError::Locked`] when another process has it, [`DiskError::NotFound`];
    /// [`DiskError::BadPath`] when the name is not that of a spill.
    pub(crate) fn open(disk: &Arc<dyn Disk>, name: &str) -> Result<Self, DiskError> {
        let dir = Path::new(ROOT).join(name);
        if made_at(name).is_none() {
            return Err(DiskError::BadPath { path: disk.display(&dir) });
        }
        disk.stat(&dir)?;
        let lock = disk.lock(&dir.join(LOCK))?;
        for entry in disk.list(&dir)? {
            let half_written = |name: &str| name.starts_with(TEMPORARY_PREFIX);
            if entry.kind == EntryKind::File && entry.name.to_str().is_some_and(half_written) {
                disk.remove_file(&dir.join(&entry.name))?;
            }
        }
        let (name, keep) = (name.to_owned(), AtomicBool::new(true));
        Ok(Self { disk: Arc::clone(disk), dir, name, keep, _lock: lock })
    }

    /// Makes a session's spill anew, empty, under the name that the session knows. Blocks.
    ///
    /// # Errors
    /// [`DiskError::BadPath`] when the name is not that of a spill.
    pub(crate) fn recreate(disk: &Arc<dyn Disk>, name: &str) -> Result<Self, DiskError> {
        let dir = Path::new(ROOT).join(name);
        if made_at(name).is_none() {
            return Err(DiskError::BadPath { path: disk.display(&dir) });
        }
        disk.create_dir_all(&dir)?;
        Self::open(disk, name)
    }

    /// From here on a session decides when it goes.
    pub(crate) fn keep(&self) {
        self.keep.store(true, Ordering::Release);
    }

    /// Its name, which a session records.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    fn path(&self, address: ChunkAddress) -> PathBuf {
        self.dir.join(address.to_string())
    }

    /// Writes a chunk durably. The same chunk twice is written once. Blocks.
    pub(crate) fn write(&self, address: ChunkAddress, chunk: &[u8]) -> Result<(), DiskError> {
        match self.disk.write_durable(&self.path(address), chunk, Overwrite::Never) {
            Err(DiskError::Exists { .. }) => {
                self.disk.write_durable(&self.path(address), chunk, Overwrite::Replace)
            }
            other => other,
        }
    }

    /// Reads a chunk and hashes it: `None` when it is missing or no longer what was written.
    /// Blocks.
    pub(crate) fn read(&self, address: ChunkAddress) -> Result<Option<Bytes>, DiskError> {
        read(self.disk.as_ref(), &self.name, address)
    }

    /// Removes a chunk that is stored. Fine if it is gone. Blocks.
    pub(crate) fn remove(&self, address: ChunkAddress) -> Result<(), DiskError> {
        match self.disk.remove_file(&self.path(address)) {
            Err(DiskError::NotFound { .. }) => Ok(()),
            other => other,
        }
    }

    /// Keeps an encrypted segment of a stream that waits for the stream's end. Blocks.
    pub(crate) fn hold(&self, index: u64, bytes: &[u8]) -> Result<(), DiskError> {
        self.disk.write_durable(&self.held(index), bytes, Overwrite::Replace)
    }

    /// Gives a held segment back and forgets it. Blocks.
    pub(crate) fn release(&self, index: u64) -> Result<Vec<u8>, DiskError> {
        let bytes = self.disk.read(&self.held(index), MAX_HELD_BYTES)?;
        self.disk.remove_file(&self.held(index))?;
        Ok(bytes)
    }

    fn held(&self, index: u64) -> PathBuf {
        self.dir.join(format!("held-{index}"))
    }

    /// Removes the whole spill, its lock last. Blocks.
    pub(crate) fn destroy(self) -> Result<(), DiskError> {
        self.keep();
        remove_locked(self.disk.as_ref(), &self.dir)
    }
}

/// Reads a chunk of the spill of this name and hashes it: `None` when it is missing or no longer what
/// was written. Whoever holds the spill's lock may remove it meanwhile. Blocks.
pub(crate) fn read(
    disk: &dyn Disk,
    name: &str,
    address: ChunkAddress,
) -> Result<Option<Bytes>, DiskError> {
    let path = Path::new(ROOT).join(name).join(address.to_string());
    match disk.read(&path, MAX_CHUNK_BYTES as u64) {
        Ok(bytes) if ChunkAddress::of(&bytes) == address => Ok(Some(Bytes::from(bytes))),
        Ok(_) | Err(DiskError::NotFound { .. } | DiskError::TooLong { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Removes a spill whose lock the caller holds.
fn remove_locked(disk: &dyn Disk, dir: &Path) -> Result<(), DiskError> {
    for entry in disk.list(dir)? {
        if entry.name != Path::new(LOCK) {
            disk.remove_file(&dir.join(&entry.name))?;
        }
    }
    disk.remove_file(&dir.join(LOCK))?;
    disk.remove_dir(dir)
}

/// Removes spills that nobody needs: real directories of the right name directly below the spill
/// root, a day old, unlocked, and not among `named`: the names as they were, and as they are when the
/// lock is held. `None`: they are not known. Blocks. Returns how many were removed.
pub(crate) fn clean(
    disk: &dyn Disk,
    now: UnixTime,
    (named, named_now): (&BTreeSet<String>, impl Fn() -> Option<BTreeSet<String>>),
) -> Result<usize, DiskError> {
    let root = Path::new(ROOT);
    let entries = match disk.list(root) {
        Err(DiskError::NotFound { .. }) => return Ok(0),
        other => other?,
    };
    let mut removed = 0;
    for entry in entries {
        let Some(made) = entry.name.to_str().and_then(made_at) else {
            continue;
        };
        let is_named =
            |named: &BTreeSet<String>| entry.name.to_str().is_some_and(|name| named.contains(name));
        if entry.kind != EntryKind::Dir || is_named(named) || now.since(made) < STALE_AFTER {
            continue;
        }
        let dir = root.join(&entry.name);
        // Any failure is doubt, and doubt keeps; what is left is tried again next time.
        let Ok(lock) = disk.lock(&dir.join(LOCK)) else {
            continue;
        };
        // A session may have begun with it since.
        if named_now().is_none_or(|named| is_named(&named)) {
            continue;
        }
        match remove_locked(disk, &dir) {
            Ok(()) => removed += 1,
            Err(error) => tracing::warn!(%error, "a stale spill could not be removed"),
        }
        drop(lock);
    }
    Ok(removed)
}

/// When the spill of this name was made; `None` for a name that is none.
fn made_at(name: &str) -> Option<UnixTime> {
    let name = name.strip_prefix(TEMPORARY_PREFIX).unwrap_or(name);
    let (time, random) = name.strip_prefix(PREFIX)?.split_once('_')?;
    u64::from_str_radix(random, 16).ok()?;
    time.parse().ok().map(UnixTime)
}

#[cfg(test)]
mod tests {
    use spillway_disk::{DiskOp, Fault, FaultPlan, Faults, MemoryDisk};

    use super::*;

    const NOW: UnixTime = UnixTime(1_800_000_000);

    fn spills(disk: &dyn Disk) -> Vec<PathBuf> {
        let visible = |name: &PathBuf| name.to_str().is_some_and(|name| name.starts_with(PREFIX));
        let entries = disk.list(Path::new(ROOT)).unwrap();
        entries.into_iter().map(|entry| entry.name).filter(visible).collect()
    }

    #[test]
    fn it_is_locked_before_it_is_seen() {
        let faults = Arc::new(Faults::default());
        let disk: Arc<dyn Disk> = Arc::new(MemoryDisk::new().with_faults(Arc::clone(&faults)));
        faults.arm(FaultPlan::once(1, Fault::TooManyOpen).only(DiskOp::Lock));
        let error = Spill::create(&disk, NOW).unwrap_err();
        assert!(matches!(error, DiskError::Io { op: DiskOp::Lock, .. }), "{error:?}");
        assert_eq!(spills(disk.as_ref()), Vec::<PathBuf>::new());
        let spill = Spill::create(&disk, NOW).unwrap();
        assert_eq!(spills(disk.as_ref()), [PathBuf::from(spill.name())]);
        let taken = disk.lock(&Path::new(ROOT).join(spill.name()).join(LOCK));
        assert!(matches!(taken, Err(DiskError::Locked { .. })), "{taken:?}");
    }

    /// A session may begin with a spill after the sessions were read, and before the lock is held.
    #[test]
    fn one_that_a_session_names_by_then_stays() {
        let disk: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
        let spill = Spill::create(&disk, NOW).unwrap();
        spill.keep();
        let names = BTreeSet::from([spill.name().to_owned()]);
        drop(spill);
        let (none, later) = (BTreeSet::new(), NOW.saturating_add(2 * STALE_AFTER));
        let clean =
            |named: (&BTreeSet<String>, Option<&BTreeSet<String>>)| -> Result<usize, DiskError> {
                clean(disk.as_ref(), later, (named.0, || named.1.cloned()))
            };
        assert_eq!(clean((&none, Some(&names))).unwrap(), 0, "it is named now");
        assert_eq!(clean((&none, None)).unwrap(), 0, "nobody can say");
        assert_eq!(clean((&names, Some(&none))).unwrap(), 0, "it was named");
        assert_eq!(spills(disk.as_ref()).len(), 1);
        assert_eq!(clean((&none, Some(&none))).unwrap(), 1);
        assert_eq!(spills(disk.as_ref()), Vec::<PathBuf>::new());
    }

    #[test]
    fn one_that_is_a_day_old_to_the_second_goes() {
        let disk: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
        let spill = Spill::create(&disk, NOW).unwrap();
        spill.keep();
        drop(spill);
        let none = BTreeSet::new();
        let clean = |now| clean(disk.as_ref(), now, (&none, || Some(BTreeSet::new()))).unwrap();
        let day = NOW.saturating_add(STALE_AFTER);
        assert_eq!(clean(day.saturating_sub(std::time::Duration::from_secs(1))), 0);
        assert_eq!(clean(day), 1);
    }
}
