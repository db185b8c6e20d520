use std::{
    ffi::OsStr,
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

use spillway_types::UnixTime;

use crate::{DiskError, DiskOp};

/// Files being written have names that start so until they are renamed into place.
pub const TEMPORARY_PREFIX: &str = ".tmp-";

/// What a directory entry is. Links are entries of their own and never followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// A regular file.
    File,
    /// A directory.
    Dir,
    /// A symbolic link.
    Link,
    /// A device, socket or pipe.
    Other,
}

/// Identity, size and times of one file, of the entry itself and not of what a link points to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileStat {
    /// What it is.
    pub kind: EntryKind,
    /// Its length, in bytes.
    pub len: u64,
    /// Seconds and nanoseconds of its last change of contents.
    pub modified: (i64, u32),
    /// Device and inode: the file itself, whatever its name.
    pub identity: (u64, u64),
    /// Permission bits (0o7777).
    pub mode: u32,
}

impl FileStat {
    /// The last change of contents in whole seconds; 1970 for anything before.
    pub fn modified_at(&self) -> UnixTime {
        UnixTime(u64::try_from(self.modified.0).unwrap_or(0))
    }
}

/// One entry of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name, without the directory.
    pub name: PathBuf,
    /// What it is.
    pub kind: EntryKind,
}

/// Whether a write may take the place of a file that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overwrite {
    /// Fail with [`DiskError::Exists`] when there is one, atomically.
    Never,
    /// Replace it, atomically.
    Replace,
}

/// Permission bits of a new file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// 0600: state, keys, private data maps.
    Private,
    /// 0666 less the process's umask: what a user asked to be written.
    Shared,
}

/// An exclusive lock on a file, held until it is dropped or the process ends.
pub trait FileLock: Send + Sync + fmt::Debug {}

/// A file open for reading at offsets.
pub trait ReadAt: Send + Sync + fmt::Debug {
    /// Fills `buffer` from `offset` on and returns how many bytes there were: fewer than asked only
    /// at the end of the file.
    ///
    /// # Errors
    /// What the system says.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, DiskError>;

    /// The open file's identity, size and times now.
    ///
    /// # Errors
    /// What the system says.
    fn stat(&self) -> Result<FileStat, DiskError>;
}

/// A new file that is not visible under its name yet. Dropping it without [`WriteAt::persist`]
/// removes it.
pub trait WriteAt: Send + Sync + fmt::Debug {
    /// Writes all of `bytes` at `offset`; gaps read as zeros.
    ///
    /// # Errors
    /// What the system says; [`DiskError::Full`] when there is no space.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<(), DiskError>;

    /// Sets permission bits (0o777 of them) and the time of the last change of contents.
    ///
    /// # Errors
    /// What the system says.
    fn set_attributes(&self, mode: u32, modified: (i64, u32)) -> Result<(), DiskError>;

    /// Makes the bytes durable, gives the file its name and makes that durable too.
    ///
    /// # Errors
    /// [`DiskError::Exists`] under [`Overwrite::Never`]; what the system says.
    fn persist(self: Box<Self>, overwrite: Overwrite) -> Result<(), DiskError>;
}

/// A file that is written over several runs: until [`WriteAt::persist`] it stands beside its target
/// under a name of its own, and whoever has it open holds an exclusive lock on it.
///
/// What is in it was left by earlier runs, by a crash or by anybody who may write there, so nothing
/// of it may be believed. Nothing is durable before it is persisted. Dropping it gives the lock up
/// and leaves the file when it shall be kept, else removes it.
pub trait Unfinished: ReadAt + WriteAt {
    /// Whether the file is left when this is dropped. Before anything is said, it is if there was
    /// anything in it when it was opened.
    fn keep(&self, keep: bool);

    /// Cuts it to `len` bytes, or lengthens it with zeros.
    ///
    /// # Errors
    /// What the system says; [`DiskError::Full`] when there is no space.
    fn set_len(&self, len: u64) -> Result<(), DiskError>;
}

/// Where an append went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Length of the file after it, in bytes.
    pub len: u64,
}

/// A directory and everything below it. All paths are relative to it; the empty path is the
/// directory itself. The calls block: from async code they go through [`run`].
///
/// No path may be absolute, contain `..`, or lead through a symbolic link: [`DiskError::BadPath`].
/// Every call may fail with what the system says; only further errors are listed at each.
pub trait Disk: Send + Sync + fmt::Debug {
    /// True when calls shall be made in place and not on a blocking thread (twins and simulation).
    fn is_inline(&self) -> bool {
        false
    }

    /// The path as a user would write it, for messages only.
    fn display(&self, path: &Path) -> PathBuf;

    /// Reads a whole file of at most `limit` bytes.
    ///
    /// # Errors
    /// [`DiskError::NotFound`], [`DiskError::TooLong`].
    fn read(&self, path: &Path, limit: u64) -> Result<Vec<u8>, DiskError>;

    /// Opens a regular file for reading. It never waits for a writer of a pipe.
    ///
    /// # Errors
    /// [`DiskError::NotFound`]; [`DiskError::BadPath`] when it is not a regular file.
    fn open(&self, path: &Path) -> Result<Box<dyn ReadAt>, DiskError>;

    /// Writes a file so that after a power cut it is there whole or not at all: temporary file,
    /// file sync, rename, directory sync.
    ///
    /// # Errors
    /// [`DiskError::Exists`] under [`Overwrite::Never`], [`DiskError::Full`].
    fn write_durable(
        &self,
        path: &Path,
        bytes: &[u8],
        overwrite: Overwrite,
    ) -> Result<(), DiskError>;

    /// Appends to a file (made if need be, 0600) and makes the bytes durable. When it fails, the
    /// file may end in a part of them: readers drop a torn tail.
    ///
    /// # Errors
    /// [`DiskError::Full`].
    fn append_durable(&self, path: &Path, bytes: &[u8]) -> Result<Appended, DiskError>;

    /// Starts a file that gets its name at [`WriteAt::persist`].
    ///
    /// # Errors
    /// [`DiskError::NotFound`] when its directory is not there.
    fn create(&self, path: &Path, mode: Mode) -> Result<Box<dyn WriteAt>, DiskError>;

    /// Opens the file that gets the name `path` at [`WriteAt::persist`] and is called `unfinished`,
    /// in the same directory, until then; made empty if need be, with this mode. It is this user's
    /// alone: a file of somebody else, or one with a second name, is removed and made anew.
    ///
    /// # Errors
    /// [`DiskError::Locked`] when another holder has it, also in this process;
    /// [`DiskError::NotFound`] when the directory is not there; [`DiskError::BadPath`] when
    /// `unfinished` is no plain name, or no regular file is there.
    fn resume(
        &self,
        path: &Path,
        unfinished: &OsStr,
        mode: Mode,
    ) -> Result<Box<dyn Unfinished>, DiskError>;

    /// Cuts a file to `len` bytes, durably. For torn tails.
    ///
    /// # Errors
    /// [`DiskError::NotFound`].
    fn truncate(&self, path: &Path, len: u64) -> Result<(), DiskError>;

    /// Makes a directory (0700) and those above it, durably; fine if it is there.
    ///
    /// # Errors
    /// [`DiskError::BadPath`] when a file or link is in the way.
    fn create_dir_all(&self, path: &Path) -> Result<(), DiskError>;

    /// Makes what a directory lists durable: a process that died between giving a file its name and
    /// making that durable has left a name that the next power cut takes back.
    ///
    /// # Errors
    /// [`DiskError::NotFound`].
    fn sync_dir(&self, path: &Path) -> Result<(), DiskError>;

    /// Lists a directory, in name order.
    ///
    /// # Errors
    /// [`DiskError::NotFound`].
    fn list(&self, path: &Path) -> Result<Vec<Entry>, DiskError>;

    /// What is at this path, a link itself and not what it points to.
    ///
    /// # Errors
    /// [`DiskError::NotFound`].
    fn stat(&self, path: &Path) -> Result<FileStat, DiskError>;

    /// Renames within the root, durably.
    ///
    /// # Errors
    /// [`DiskError::NotFound`]; [`DiskError::Exists`] under [`Overwrite::Never`].
    fn rename(&self, from: &Path, to: &Path, overwrite: Overwrite) -> Result<(), DiskError>;

    /// Removes a file or a link, durably unless the power fails at once: a removal that comes back
    /// does no harm, so it is not synced.
    ///
    /// # Errors
    /// [`DiskError::NotFound`].
    fn remove_file(&self, path: &Path) -> Result<(), DiskError>;

    /// Removes an empty directory.
    ///
    /// # Errors
    /// [`DiskError::NotFound`]; [`DiskError::Io`] when it is not empty.
    fn remove_dir(&self, path: &Path) -> Result<(), DiskError>;

    /// Takes the exclusive lock on this file, made if need be (0600), without waiting.
    ///
    /// # Errors
    /// [`DiskError::Locked`] when another holder has it, also in this process.
    fn lock(&self, path: &Path) -> Result<Box<dyn FileLock>, DiskError>;

    /// Bytes that this user may still write here.
    ///
    /// # Errors
    /// What the system says.
    fn free_space(&self) -> Result<u64, DiskError>;

    /// What a symbolic link says, verbatim.
    ///
    /// # Errors
    /// [`DiskError::BadPath`] when it is not a link.
    fn read_link(&self, path: &Path) -> Result<PathBuf, DiskError>;

    /// Makes a symbolic link that says `target`, verbatim; nothing is followed.
    ///
    /// # Errors
    /// [`DiskError::Exists`]; [`DiskError::BadPath`] also for an empty target.
    fn symlink(&self, target: &Path, path: &Path) -> Result<(), DiskError>;

    /// Sets permission bits and modification time of a file or directory (never of what a link
    /// points to).
    ///
    /// # Errors
    /// [`DiskError::NotFound`].
    fn set_attributes(&self, path: &Path, mode: u32, modified: (i64, u32))
    -> Result<(), DiskError>;
}

/// Short forms over [`Disk`].
pub trait DiskExt: Disk {
    /// Whether something is at this path.
    ///
    /// # Errors
    /// What the system says, but for "not found".
    fn exists(&self, path: &Path) -> Result<bool, DiskError> {
        match self.stat(path) {
            Ok(_) => Ok(true),
            Err(DiskError::NotFound { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

impl<D: Disk + ?Sized> DiskExt for D {}

/// Makes a blocking call from async code: in place when the disk says so, else on a blocking
/// thread.
///
/// # Errors
/// What the call says.
///
/// # Cancel safety
/// Dropping it does not stop a call that has begun: it runs to its end, unobserved.
///
/// # Panics
/// When the call panics.
pub async fn run<T, F>(disk: &Arc<dyn Disk>, call: F) -> Result<T, DiskError>
where
    T: Send + 'static,
    F: FnOnce(&dyn Disk) -> Result<T, DiskError> + Send + 'static,
{
    if disk.is_inline() {
        return call(disk.as_ref());
    }
    let disk = Arc::clone(disk);
    match tokio::task::spawn_blocking(move || call(disk.as_ref())).await {
        Ok(result) => result,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime is being dropped: the call was never made.
            Err(_) => Err(DiskError::Io {
                op: DiskOp::Open,
                path: PathBuf::new(),
                source: std::io::ErrorKind::Interrupted.into(),
            }),
        },
    }
}
