use std::{
    ffi::OsStr,
    fmt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use spillway_disk::{
    Appended, Disk, DiskError, Entry, FileLock, FileStat, Mode, Overwrite, ReadAt, Unfinished,
    WriteAt,
};

/// Called with the number of the read, from 1, before it is made.
type Hook = Arc<dyn Fn(u64) + Send + Sync>;

/// Called with the name of a file that is read whole, before it is.
type WholeHook = Arc<dyn Fn(&Path) + Send + Sync>;

/// A disk that says when an open file is read, so that a test can change it at an exact moment, or which
/// files are read whole.
#[derive(Clone)]
pub struct HookedDisk {
    inner: Arc<dyn Disk>,
    hook: Hook,
    whole: WholeHook,
    reads: Arc<AtomicU64>,
}

impl HookedDisk {
    /// The same disk, with this called before every read at an offset.
    pub fn new(inner: Arc<dyn Disk>, before_read: impl Fn(u64) + Send + Sync + 'static) -> Self {
        Self { inner, hook: Arc::new(before_read), whole: Arc::new(|_| {}), reads: Arc::default() }
    }

    /// The same disk, with this called before every read of a whole file.
    pub fn whole(inner: Arc<dyn Disk>, before: impl Fn(&Path) + Send + Sync + 'static) -> Self {
        Self { whole: Arc::new(before), ..Self::new(inner, |_| {}) }
    }
}

impl fmt::Debug for HookedDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

#[derive(Debug)]
struct HookedFile {
    inner: Box<dyn ReadAt>,
    disk: HookedDisk,
}

impl ReadAt for HookedFile {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, DiskError> {
        let number = self.disk.reads.fetch_add(1, Ordering::SeqCst) + 1;
        (self.disk.hook)(number);
        self.inner.read_at(offset, buffer)
    }

    fn stat(&self) -> Result<FileStat, DiskError> {
        self.inner.stat()
    }
}

impl Disk for HookedDisk {
    fn is_inline(&self) -> bool {
        self.inner.is_inline()
    }

    fn display(&self, path: &Path) -> PathBuf {
        self.inner.display(path)
    }

    fn read(&self, path: &Path, limit: u64) -> Result<Vec<u8>, DiskError> {
        (self.whole)(path);
        self.inner.read(path, limit)
    }

    fn open(&self, path: &Path) -> Result<Box<dyn ReadAt>, DiskError> {
        Ok(Box::new(HookedFile { inner: self.inner.open(path)?, disk: self.clone() }))
    }

    fn write_durable(
        &self,
        path: &Path,
        bytes: &[u8],
        overwrite: Overwrite,
    ) -> Result<(), DiskError> {
        self.inner.write_durable(path, bytes, overwrite)
    }

    fn append_durable(&self, path: &Path, bytes: &[u8]) -> Result<Appended, DiskError> {
        self.inner.append_durable(path, bytes)
    }

    fn create(&self, path: &Path, mode: Mode) -> Result<Box<dyn WriteAt>, DiskError> {
        self.inner.create(path, mode)
    }

    fn resume(
        &self,
        path: &Path,
        unfinished: &OsStr,
        mode: Mode,
    ) -> Result<Box<dyn Unfinished>, DiskError> {
        self.inner.resume(path, unfinished, mode)
    }

    fn truncate(&self, path: &Path, len: u64) -> Result<(), DiskError> {
        self.inner.truncate(path, len)
    }

    fn create_dir_all(&self, path: &Path) -> Result<(), DiskError> {
        self.inner.create_dir_all(path)
    }

    fn sync_dir(&self, path: &Path) -> Result<(), DiskError> {
        self.inner.sync_dir(path)
    }

    fn list(&self, path: &Path) -> Result<Vec<Entry>, DiskError> {
        self.inner.list(path)
    }

    fn stat(&self, path: &Path) -> Result<FileStat, DiskError> {
        self.inner.stat(path)
    }

    fn rename(&self, from: &Path, to: &Path, overwrite: Overwrite) -> Result<(), DiskError> {
        self.inner.rename(from, to, overwrite)
    }

    fn remove_file(&self, path: &Path) -> Result<(), DiskError> {
        self.inner.remove_file(path)
    }

    fn remove_dir(&self, path: &Path) -> Result<(), DiskError> {
        self.inner.remove_dir(path)
    }

    fn lock(&self, path: &Path) -> Result<Box<dyn FileLock>, DiskError> {
        self.inner.lock(path)
    }

    fn free_space(&self) -> Result<u64, DiskError> {
        self.inner.free_space()
    }

    fn read_link(&self, path: &Path) -> Result<PathBuf, DiskError> {
        self.inner.read_link(path)
    }

    fn symlink(&self, target: &Path, path: &Path) -> Result<(), DiskError> {
        self.inner.symlink(target, path)
    }

    fn set_attributes(
        &self,
        path: &Path,
        mode: u32,
        modified: (i64, u32),
    ) -> Result<(), DiskError> {
        self.inner.set_attributes(path, mode, modified)
    }
}
