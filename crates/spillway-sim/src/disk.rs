use std::{
    ffi::OsStr,
    fmt, io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use spillway_disk::{
    Appended, Disk, DiskError, DiskOp, Entry, FileLock, FileStat, MemoryDisk, Mode, Overwrite,
    ReadAt, Unfinished, WriteAt,
};

use crate::{Fate, Life, Strike};

/// The disk as one process of a client sees it: every call may fail, and may be its last.
#[derive(Clone)]
pub struct SimDisk {
    inner: MemoryDisk,
    life: Life,
    fate: Fate,
    handles: Handles,
}

/// How many files and locks a process holds open, and has held at most.
#[derive(Clone, Debug, Default)]
pub struct Handles(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    open: AtomicU64,
    most: AtomicU64,
}

impl Handles {
    /// Open now.
    pub fn open(&self) -> u64 {
        self.0.open.load(Ordering::Relaxed)
    }

    /// The most that were open at once.
    pub fn most(&self) -> u64 {
        self.0.most.load(Ordering::Relaxed)
    }

    fn take(&self) -> Handle {
        let open = self.0.open.fetch_add(1, Ordering::Relaxed) + 1;
        self.0.most.fetch_max(open, Ordering::Relaxed);
        Handle(self.clone())
    }
}

#[derive(Debug)]
struct Handle(Handles);

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl fmt::Debug for SimDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

/// What a process hears that is gone: nobody acts on it.
fn gone(op: DiskOp, path: &Path) -> DiskError {
    DiskError::Io { op, path: path.to_owned(), source: io::Error::other("the process has ended") }
}

/// Bytes of which the trace knows the length alone: a stream's first segments wait under a key that
/// is drawn from the system and kept nowhere.
fn is_held(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("held-"))
}

impl SimDisk {
    /// The disk of this process.
    pub fn new(inner: MemoryDisk, life: Life, fate: Fate) -> Self {
        Self { inner, life, fate, handles: Handles::default() }
    }

    /// What it holds open.
    pub fn handles(&self) -> &Handles {
        &self.handles
    }

    fn call<T>(
        &self,
        (name, op): (&str, DiskOp),
        path: &Path,
        bytes: Option<&[u8]>,
        call: impl FnOnce() -> Result<T, DiskError>,
    ) -> Result<T, DiskError> {
        if self.life.step() {
            return Err(gone(op, path));
        }
        let reads = matches!(op, DiskOp::Read | DiskOp::List | DiskOp::Stat | DiskOp::Lock);
        let result = if reads && self.fate.strikes(Strike::DiskReadError) {
            let too_many = self.fate.draw(fastrand::Rng::bool);
            let number = if too_many { libc_errno::EMFILE } else { libc_errno::EIO };
            let source = io::Error::from_raw_os_error(number);
            Err(DiskError::Io { op, path: path.to_owned(), source })
        } else {
            call()
        };
        self.note(name, path, bytes, result.as_ref().err());
        if self.life.step() {
            return Err(gone(op, path));
        }
        result
    }

    fn note(&self, name: &str, path: &Path, bytes: Option<&[u8]>, error: Option<&DiskError>) {
        let (len, hash) = match bytes {
            Some(bytes) if !is_held(path) => (bytes.len(), crc(bytes)),
            Some(bytes) => (bytes.len(), 0),
            None => (0, 0),
        };
        let path = path.display();
        match error {
            None => self.fate.note(format_args!("disk {name} {path} {len} {hash:x}")),
            Some(error) => {
                self.fate.note(format_args!("disk {name} {path} {len} {hash:x}: {error}"));
            }
        }
    }
}

/// A short fingerprint of bytes.
fn crc(bytes: &[u8]) -> u32 {
    let hash = blake3::hash(bytes);
    let [a, b, c, d, ..] = *hash.as_bytes();
    u32::from_le_bytes([a, b, c, d])
}

/// The numbers of two errors, as on Linux.
mod libc_errno {
    pub(super) const EIO: i32 = 5;
    pub(super) const EMFILE: i32 = 24;
}

#[derive(Debug)]
struct SimFile {
    inner: Box<dyn ReadAt>,
    path: PathBuf,
    disk: SimDisk,
    _handle: Handle,
}

impl ReadAt for SimFile {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, DiskError> {
        self.disk.call(("read at", DiskOp::Read), &self.path, None, || {
            self.inner.read_at(offset, buffer)
        })
    }

    fn stat(&self) -> Result<FileStat, DiskError> {
        self.disk.call(("stat open", DiskOp::Stat), &self.path, None, || self.inner.stat())
    }
}

#[derive(Debug)]
struct SimLock {
    _inner: Box<dyn FileLock>,
    _handle: Handle,
}

impl FileLock for SimLock {}

impl Disk for SimDisk {
    fn is_inline(&self) -> bool {
        true
    }

    fn display(&self, path: &Path) -> PathBuf {
        self.inner.display(path)
    }

    fn read(&self, path: &Path, limit: u64) -> Result<Vec<u8>, DiskError> {
        self.call(("read", DiskOp::Read), path, None, || self.inner.read(path, limit))
    }

    fn open(&self, path: &Path) -> Result<Box<dyn ReadAt>, DiskError> {
        let inner = self.call(("open", DiskOp::Open), path, None, || self.inner.open(path))?;
        let (path, handle) = (path.to_owned(), self.handles.take());
        Ok(Box::new(SimFile { inner, path, disk: self.clone(), _handle: handle }))
    }

    fn write_durable(
        &self,
        path: &Path,
        bytes: &[u8],
        overwrite: Overwrite,
    ) -> Result<(), DiskError> {
        self.call(("write", DiskOp::Write), path, Some(bytes), || {
            self.inner.write_durable(path, bytes, overwrite)
        })
    }

    fn append_durable(&self, path: &Path, bytes: &[u8]) -> Result<Appended, DiskError> {
        self.call(("append", DiskOp::Write), path, Some(bytes), || {
            self.inner.append_durable(path, bytes)
        })
    }

    fn create(&self, path: &Path, mode: Mode) -> Result<Box<dyn WriteAt>, DiskError> {
        self.call(("create", DiskOp::Open), path, None, || self.inner.create(path, mode))
    }

    fn resume(
        &self,
        path: &Path,
        unfinished: &OsStr,
        mode: Mode,
    ) -> Result<Box<dyn Unfinished>, DiskError> {
        let resume = || self.inner.resume(path, unfinished, mode);
        self.call(("resume", DiskOp::Open), path, None, resume)
    }

    fn truncate(&self, path: &Path, len: u64) -> Result<(), DiskError> {
        self.call(("truncate", DiskOp::Write), path, None, || self.inner.truncate(path, len))
    }

    fn create_dir_all(&self, path: &Path) -> Result<(), DiskError> {
        self.call(("mkdir", DiskOp::CreateDir), path, None, || self.inner.create_dir_all(path))
    }

    fn sync_dir(&self, path: &Path) -> Result<(), DiskError> {
        self.call(("sync", DiskOp::Sync), path, None, || self.inner.sync_dir(path))
    }

    fn list(&self, path: &Path) -> Result<Vec<Entry>, DiskError> {
        self.call(("list", DiskOp::List), path, None, || self.inner.list(path))
    }

    fn stat(&self, path: &Path) -> Result<FileStat, DiskError> {
        self.call(("stat", DiskOp::Stat), path, None, || self.inner.stat(path))
    }

    fn rename(&self, from: &Path, to: &Path, overwrite: Overwrite) -> Result<(), DiskError> {
        self.call(("rename", DiskOp::Rename), from, None, || self.inner.rename(from, to, overwrite))
    }

    fn remove_file(&self, path: &Path) -> Result<(), DiskError> {
        self.call(("remove", DiskOp::Remove), path, None, || self.inner.remove_file(path))
    }

    fn remove_dir(&self, path: &Path) -> Result<(), DiskError> {
        self.call(("rmdir", DiskOp::Remove), path, None, || self.inner.remove_dir(path))
    }

    fn lock(&self, path: &Path) -> Result<Box<dyn FileLock>, DiskError> {
        let inner = self.call(("lock", DiskOp::Lock), path, None, || self.inner.lock(path))?;
        Ok(Box::new(SimLock { _inner: inner, _handle: self.handles.take() }))
    }

    fn free_space(&self) -> Result<u64, DiskError> {
        let path = Path::new("");
        self.call(("free", DiskOp::FreeSpace), path, None, || self.inner.free_space())
    }

    fn read_link(&self, path: &Path) -> Result<PathBuf, DiskError> {
        self.call(("read link", DiskOp::Read), path, None, || self.inner.read_link(path))
    }

    fn symlink(&self, target: &Path, path: &Path) -> Result<(), DiskError> {
        self.call(("link", DiskOp::Link), path, None, || self.inner.symlink(target, path))
    }

    fn set_attributes(
        &self,
        path: &Path,
        mode: u32,
        modified: (i64, u32),
    ) -> Result<(), DiskError> {
        self.call(("attributes", DiskOp::Stat), path, None, || {
            self.inner.set_attributes(path, mode, modified)
        })
    }
}
