use std::{
    collections::BTreeSet,
    ffi::OsStr,
    fs::{DirBuilder, File},
    io::{self, Read},
    os::unix::{ffi::OsStrExt, fs::DirBuilderExt},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use fs2::FileExt as _;
use rustix::{
    fs::{
        AtFlags, FileType, Mode as Permissions, OFlags, fstat, mkdirat, readlinkat, statat,
        symlinkat, unlinkat,
    },
    io::Errno,
};

use crate::{
    Appended, Disk, DiskError, DiskOp, Entry, EntryKind, Faults, FileLock, FileStat, Mode,
    Overwrite, ReadAt, Unfinished, WriteAt,
    parts::{beside, check_link_target, parent_and_name, parts},
};

mod calls;
mod new_file;
mod open_file;
mod root;
mod step;
#[cfg(test)]
mod tests;
mod unfinished;

use calls::{file_stat, list, rename_fresh, times};
use new_file::{NewFile, set_on};
use open_file::{HeldLock, OpenFile};
use root::{READ_DIR, Root, WALK};
use step::{Step, typed};

/// Entries that are remembered as durable, at most. When there are more, all are forgotten and each
/// costs one more sync.
const MAX_KNOWN_ENTRIES: usize = 4096;

/// How often a lock file that was replaced while it was being locked is tried anew.
const LOCK_TRIES: u32 = 8;

/// A directory of this machine.
///
/// It is held open, and every path is resolved beneath it by the kernel, or name by name where the
/// kernel cannot; either way through no link. Opening never waits, so a pipe in the way is an error
/// and not a hang.
///
/// Cheap to share through an `Arc`; a clone would be another set of what is known to be durable.
#[derive(Debug)]
pub struct RealDisk {
    root: Root,
    faults: Option<Arc<Faults>>,
    /// Entries (path, device, inode) whose directory this disk has synced since they were made. A
    /// process that was killed may have left an entry that was never synced, so the first append to
    /// a file syncs its directory even when the file was there.
    known: Mutex<BTreeSet<(PathBuf, (u64, u64))>>,
}

impl RealDisk {
    /// The directory at `root`, which must exist. The empty path is the current directory. The last
    /// name must not be a link: whoever means to follow a user's own link resolves it first.
    ///
    /// # Errors
    /// [`DiskError::NotFound`]; [`DiskError::BadPath`] when it is not a directory.
    pub fn open(root: &Path) -> Result<Self, DiskError> {
        let opened = Root::open(root).map_err(|errno| typed(DiskOp::Open, root, errno.into()))?;
        Ok(Self { root: opened, faults: Faults::of_process(), known: Mutex::default() })
    }

    /// The directory at `root`, made (0700, with those above it) if need be, for state of our own:
    /// it must belong to this user, and not everybody may write to it.
    ///
    /// # Errors
    /// [`DiskError::Denied`] when it belongs to another user or is writable by everybody;
    /// [`DiskError::BadPath`] when it is not a directory.
    pub fn create(root: &Path) -> Result<Self, DiskError> {
        if !root.as_os_str().is_empty() {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(root)
                .map_err(|error| Self::create_error(root, error))?;
        }
        let disk = Self::open(root)?;
        let stat = disk
            .step(Path::new(""))
            .look(DiskOp::Stat, || fstat(disk.root.open_at(&[], WALK, Permissions::empty())?))?;
        let ours = stat.st_uid == rustix::process::geteuid().as_raw();
        if !ours || file_stat(&stat).mode & 0o002 != 0 {
            return Err(DiskError::Denied { op: DiskOp::Open, path: root.to_owned() });
        }
        Ok(disk)
    }

    fn create_error(root: &Path, error: io::Error) -> DiskError {
        // What is there and is not a directory.
        if error.kind() == io::ErrorKind::AlreadyExists {
            return DiskError::BadPath { path: root.to_owned() };
        }
        typed(DiskOp::CreateDir, root, error)
    }

    /// The same with faults planned. For tests.
    #[must_use]
    pub fn with_faults(self, faults: Arc<Faults>) -> Self {
        Self { faults: Some(faults), ..self }
    }

    fn step(&self, path: &Path) -> Step {
        Step { faults: self.faults.clone(), path: self.display(path) }
    }

    /// Opens a directory to find something in it.
    fn dir(&self, step: &Step, names: &[&OsStr], flags: OFlags) -> Result<File, DiskError> {
        let dir =
            step.look(DiskOp::Open, || self.root.open_at(names, flags, Permissions::empty()))?;
        Ok(File::from(dir))
    }

    /// Opens a regular file; never waits.
    fn file(&self, step: &Step, path: &Path, flags: OFlags) -> Result<File, DiskError> {
        let (mut names, name) = parent_and_name(path)?;
        names.push(name);
        let mode = if flags.contains(OFlags::CREATE) {
            Permissions::from_raw_mode(0o600)
        } else {
            Permissions::empty()
        };
        let flags = flags | OFlags::NONBLOCK | OFlags::NOCTTY;
        let open = || self.root.open_at(&names, flags, mode);
        let file = if flags.intersects(OFlags::WRONLY | OFlags::RDWR) {
            step.change(DiskOp::Open, open)?
        } else {
            step.look(DiskOp::Open, open)?
        };
        let file = File::from(file);
        let stat = step.look(DiskOp::Stat, || fstat(&file))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(step.bad_path());
        }
        Ok(file)
    }

    /// Syncs the directory of an entry unless this disk has done so since the entry was made.
    fn settle(
        &self,
        step: &Step,
        entry: (&Path, (u64, u64)),
        fresh: bool,
        dir: impl FnOnce() -> Result<File, DiskError>,
    ) -> Result<(), DiskError> {
        let key = (entry.0.to_owned(), entry.1);
        let known = || self.known.lock().unwrap_or_else(PoisonError::into_inner);
        // A fresh entry may have the inode of one that was removed.
        if !fresh && known().contains(&key) {
            return Ok(());
        }
        let dir = dir()?;
        step.change(DiskOp::Sync, || dir.sync_all())?;
        let mut known = known();
        if known.len() >= MAX_KNOWN_ENTRIES {
            known.clear();
        }
        known.insert(key);
        Ok(())
    }

    fn new_file(&self, path: &Path, mode: Mode) -> Result<NewFile, DiskError> {
        let (names, name) = parent_and_name(path)?;
        let step = self.step(path);
        let dir = self.dir(&step, &names, READ_DIR)?;
        NewFile::begin(step, dir, name, mode)
    }
}

impl Disk for RealDisk {
    fn display(&self, path: &Path) -> PathBuf {
        self.root.path.join(path)
    }

    fn read(&self, path: &Path, limit: u64) -> Result<Vec<u8>, DiskError> {
        let step = self.step(path);
        let file = self.file(&step, path, OFlags::RDONLY)?;
        let len = step.look(DiskOp::Stat, || file.metadata())?.len();
        let too_long = |found| DiskError::TooLong { path: step.path.clone(), found, limit };
        if len > limit {
            return Err(too_long(len));
        }
        let mut bytes = Vec::with_capacity(usize::try_from(len).unwrap_or(0).saturating_add(1));
        let mut rest = (&file).take(limit.saturating_add(1));
        step.look(DiskOp::Read, || rest.read_to_end(&mut bytes))?;
        if bytes.len() as u64 > limit {
            return Err(too_long(bytes.len() as u64));
        }
        Ok(bytes)
    }

    fn open(&self, path: &Path) -> Result<Box<dyn ReadAt>, DiskError> {
        let step = self.step(path);
        let file = self.file(&step, path, OFlags::RDONLY)?;
        Ok(Box::new(OpenFile { step, file }))
    }

    fn write_durable(
        &self,
        path: &Path,
        bytes: &[u8],
        overwrite: Overwrite,
    ) -> Result<(), DiskError> {
        let file = self.new_file(path, Mode::Private)?;
        file.write_at(0, bytes)?;
        file.publish(overwrite)
    }

    fn append_durable(&self, path: &Path, bytes: &[u8]) -> Result<Appended, DiskError> {
        let (names, _) = parent_and_name(path)?;
        let step = self.step(path);
        let mut file = self.file(&step, path, OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE)?;
        let before = file_stat(&step.look(DiskOp::Stat, || fstat(&file))?);
        step.append(&mut file, bytes)?;
        step.change(DiskOp::Sync, || file.sync_data())?;
        let after = file_stat(&step.look(DiskOp::Stat, || fstat(&file))?);
        self.settle(&step, (path, after.identity), before.len == 0, || {
            self.dir(&step, &names, READ_DIR)
        })?;
        Ok(Appended { len: after.len })
    }

    fn create(&self, path: &Path, mode: Mode) -> Result<Box<dyn WriteAt>, DiskError> {
        Ok(Box::new(self.new_file(path, mode)?))
    }

    fn resume(
        &self,
        path: &Path,
        unfinished: &OsStr,
        mode: Mode,
    ) -> Result<Box<dyn Unfinished>, DiskError> {
        let (names, name) = parent_and_name(path)?;
        let at = self.step(&beside(path, unfinished)?);
        let dir = self.dir(&at, &names, READ_DIR)?;
        let steps = (self.step(path), &at);
        Ok(Box::new(unfinished::resume(steps, dir, (name, unfinished), mode)?))
    }

    fn truncate(&self, path: &Path, len: u64) -> Result<(), DiskError> {
        let step = self.step(path);
        let file = self.file(&step, path, OFlags::WRONLY)?;
        step.change(DiskOp::Write, || file.set_len(len))?;
        step.change(DiskOp::Sync, || file.sync_all())
    }

    fn create_dir_all(&self, path: &Path) -> Result<(), DiskError> {
        let step = self.step(path);
        let mut dir = self.dir(&step, &[], WALK)?;
        let mut done = PathBuf::new();
        for name in parts(path)? {
            let fresh = step.change(DiskOp::CreateDir, || {
                match mkdirat(&dir, name, Permissions::from_raw_mode(0o700)) {
                    Err(Errno::EXIST) => Ok(false),
                    other => other.map(|()| true),
                }
            })?;
            done.push(name);
            let flags = WALK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let next = step.look(DiskOp::Open, || {
                rustix::fs::openat(&dir, name, flags, Permissions::empty())
            })?;
            let next = File::from(next);
            let identity = file_stat(&step.look(DiskOp::Stat, || fstat(&next))?).identity;
            self.settle(&step, (&done, identity), fresh, || {
                let flags = READ_DIR | OFlags::CLOEXEC;
                let open = || rustix::fs::openat(&dir, ".", flags, Permissions::empty());
                step.look(DiskOp::Open, open).map(File::from)
            })?;
            dir = next;
        }
        Ok(())
    }

    fn sync_dir(&self, path: &Path) -> Result<(), DiskError> {
        let step = self.step(path);
        let dir = self.dir(&step, &parts(path)?, READ_DIR)?;
        step.change(DiskOp::Sync, || dir.sync_all())
    }

    fn list(&self, path: &Path) -> Result<Vec<Entry>, DiskError> {
        let step = self.step(path);
        let dir = self.dir(&step, &parts(path)?, READ_DIR)?;
        let mut entries = step.look(DiskOp::List, || list(&dir))?;
        entries.sort_by(|a, b| a.name.as_os_str().cmp(b.name.as_os_str()));
        Ok(entries)
    }

    fn stat(&self, path: &Path) -> Result<FileStat, DiskError> {
        let step = self.step(path);
        let mut names = parts(path)?;
        let stat = match names.pop() {
            None => {
                let root = self.dir(&step, &[], WALK)?;
                step.look(DiskOp::Stat, || fstat(&root))?
            }
            Some(name) => {
                let dir = self.dir(&step, &names, WALK)?;
                step.look(DiskOp::Stat, || statat(&dir, name, AtFlags::SYMLINK_NOFOLLOW))?
            }
        };
        Ok(file_stat(&stat))
    }

    fn rename(&self, from: &Path, to: &Path, overwrite: Overwrite) -> Result<(), DiskError> {
        let (from_names, from_name) = parent_and_name(from)?;
        let (to_names, to_name) = parent_and_name(to)?;
        let (step, to_step) = (self.step(from), self.step(to));
        let from_dir = self.dir(&step, &from_names, READ_DIR)?;
        let to_dir = self.dir(&to_step, &to_names, READ_DIR)?;
        let renamed = step.change(DiskOp::Rename, || {
            rename_fresh((&from_dir, from_name), (&to_dir, to_name), overwrite)
        });
        match renamed {
            Err(DiskError::Exists { .. }) => Err(DiskError::Exists { path: to_step.path.clone() }),
            other => other,
        }?;
        // The new place first: a file in two places is better than in none.
        to_step.change(DiskOp::Sync, || to_dir.sync_all())?;
        if from_names != to_names {
            step.change(DiskOp::Sync, || from_dir.sync_all())?;
        }
        Ok(())
    }

    fn remove_file(&self, path: &Path) -> Result<(), DiskError> {
        let (names, name) = parent_and_name(path)?;
        let step = self.step(path);
        let dir = self.dir(&step, &names, WALK)?;
        step.change(DiskOp::Remove, || unlinkat(&dir, name, AtFlags::empty()))
    }

    fn remove_dir(&self, path: &Path) -> Result<(), DiskError> {
        let (names, name) = parent_and_name(path)?;
        let step = self.step(path);
        let dir = self.dir(&step, &names, WALK)?;
        step.change(DiskOp::Remove, || unlinkat(&dir, name, AtFlags::REMOVEDIR))
    }

    fn lock(&self, path: &Path) -> Result<Box<dyn FileLock>, DiskError> {
        let (names, name) = parent_and_name(path)?;
        let step = self.step(path);
        for _ in 0..LOCK_TRIES {
            let file = self.file(&step, path, OFlags::RDWR | OFlags::CREATE)?;
            let locked = step.change(DiskOp::Lock, || file.try_lock_exclusive());
            if let Err(DiskError::Io { source, .. }) = &locked
                && source.kind() == fs2::lock_contended_error().kind()
            {
                return Err(DiskError::Locked { path: step.path });
            }
            locked?;
            // Whoever held the lock may have removed the file in between: then this one is no
            // lock at all, somebody else may hold the file that has the name now.
            let ours = step.look(DiskOp::Stat, || fstat(&file))?;
            let dir = self.dir(&step, &names, WALK)?;
            let named =
                step.look(DiskOp::Stat, || match statat(&dir, name, AtFlags::SYMLINK_NOFOLLOW) {
                    Err(Errno::NOENT) => Ok(None),
                    other => other.map(Some),
                })?;
            if named.is_some_and(|named| file_stat(&named).identity == file_stat(&ours).identity) {
                return Ok(Box::new(HeldLock { _file: file }));
            }
        }
        Err(DiskError::Locked { path: step.path })
    }

    fn free_space(&self) -> Result<u64, DiskError> {
        let step = self.step(Path::new(""));
        let dir = self.dir(&step, &[], READ_DIR)?;
        let stat = step.look(DiskOp::FreeSpace, || rustix::fs::fstatvfs(&dir))?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    fn read_link(&self, path: &Path) -> Result<PathBuf, DiskError> {
        let (names, name) = parent_and_name(path)?;
        let step = self.step(path);
        let dir = self.dir(&step, &names, WALK)?;
        let target = step.look(DiskOp::Read, || match readlinkat(&dir, name, Vec::new()) {
            // Not a link.
            Err(Errno::INVAL) => Err(Errno::LOOP),
            other => other,
        })?;
        Ok(PathBuf::from(OsStr::from_bytes(target.as_bytes())))
    }

    fn symlink(&self, target: &Path, path: &Path) -> Result<(), DiskError> {
        check_link_target(target)?;
        let (names, name) = parent_and_name(path)?;
        let step = self.step(path);
        let dir = self.dir(&step, &names, WALK)?;
        step.change(DiskOp::Link, || symlinkat(target, &dir, name))
    }

    fn set_attributes(
        &self,
        path: &Path,
        mode: u32,
        modified: (i64, u32),
    ) -> Result<(), DiskError> {
        let step = self.step(path);
        let names = parts(path)?;
        let open = |flags: OFlags| {
            let flags = flags | OFlags::NONBLOCK | OFlags::NOCTTY;
            self.root.open_at(&names, flags, Permissions::empty())
        };
        let file = step.look(DiskOp::Open, || match open(OFlags::RDONLY) {
            // A file that its owner may only write.
            Err(Errno::ACCESS) => open(OFlags::WRONLY),
            other => other,
        })?;
        let file = File::from(file);
        let kind = file_stat(&step.look(DiskOp::Stat, || fstat(&file))?).kind;
        if !matches!(kind, EntryKind::File | EntryKind::Dir) {
            return Err(step.bad_path());
        }
        step.change(DiskOp::Stat, || set_on(&file, mode, &times(modified)))
    }
}
