use std::{
    ffi::{OsStr, OsString},
    fmt,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use super::{FileNode, MemoryDisk, Node};
use crate::{DiskError, DiskOp, FileLock, FileStat, Overwrite, ReadAt, Unfinished, WriteAt};

pub(super) struct OpenFile {
    pub(super) disk: MemoryDisk,
    pub(super) file: Arc<FileNode>,
    pub(super) path: PathBuf,
}

impl ReadAt for OpenFile {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, DiskError> {
        self.disk.read_some(&self.file, &self.path, offset, buffer)
    }

    fn stat(&self) -> Result<FileStat, DiskError> {
        self.disk.look(DiskOp::Stat, &self.path)?;
        Ok(self.disk.tree().stat(&Node::File(Arc::clone(&self.file))))
    }
}

impl fmt::Debug for OpenFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenFile").field("path", &self.path).finish_non_exhaustive()
    }
}

pub(super) struct NewFile {
    pub(super) disk: MemoryDisk,
    pub(super) file: Arc<FileNode>,
    pub(super) dir: u64,
    /// The temporary name, until it is gone.
    pub(super) temporary: Option<OsString>,
    pub(super) name: OsString,
    pub(super) path: PathBuf,
    /// Whether the file stays under its temporary name when this is dropped.
    pub(super) kept: AtomicBool,
    /// Given up after that.
    pub(super) _lock: Option<HeldLock>,
}

impl NewFile {
    fn rename(&mut self, temporary: &OsStr, overwrite: Overwrite) -> Result<(), DiskError> {
        self.disk.change(DiskOp::Rename, &self.path)?;
        let mut tree = self.disk.tree();
        let node = Node::File(Arc::clone(&self.file));
        if !tree.get(self.dir, temporary).is_some_and(|named| named.same(&node)) {
            return Err(self.disk.not_found(&self.path.with_file_name(temporary)));
        }
        let there = tree.get(self.dir, &self.name);
        self.disk.check_rename(
            &tree,
            (&self.path, self.dir, &node),
            (&self.path, self.dir, there),
            overwrite,
        )?;
        tree.rename((self.dir, temporary), (self.dir, &self.name));
        Ok(())
    }
}

impl WriteAt for NewFile {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<(), DiskError> {
        self.disk.write(&self.file, &self.path, offset, bytes)
    }

    fn set_attributes(&self, mode: u32, modified: (i64, u32)) -> Result<(), DiskError> {
        self.disk.change(DiskOp::Stat, &self.path)?;
        let mut contents = self.file.contents();
        contents.mode = mode & 0o777;
        contents.modified = modified;
        Ok(())
    }

    fn persist(mut self: Box<Self>, overwrite: Overwrite) -> Result<(), DiskError> {
        self.disk.change(DiskOp::Sync, &self.path)?;
        self.file.contents().sync();
        if let Some(temporary) = self.temporary.take() {
            let renamed = self.rename(&temporary, overwrite);
            if renamed.is_err() {
                self.temporary = Some(temporary);
            }
            renamed?;
        }
        self.disk.sync_dir(&mut self.disk.tree(), self.dir, &self.path)
    }
}

impl ReadAt for NewFile {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, DiskError> {
        self.disk.read_some(&self.file, &self.path, offset, buffer)
    }

    fn stat(&self) -> Result<FileStat, DiskError> {
        self.disk.look(DiskOp::Stat, &self.path)?;
        Ok(self.disk.tree().stat(&Node::File(Arc::clone(&self.file))))
    }
}

impl Unfinished for NewFile {
    fn keep(&self, keep: bool) {
        self.kept.store(keep, Ordering::Relaxed);
    }

    fn set_len(&self, len: u64) -> Result<(), DiskError> {
        self.disk.change(DiskOp::Write, &self.path)?;
        self.disk.set_len(&mut self.disk.tree(), &self.file, &self.path, len)
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if *self.kept.get_mut() {
            return;
        }
        if let Some(temporary) = self.temporary.take()
            && self.disk.change(DiskOp::Remove, &self.path).is_ok()
        {
            self.disk.tree().remove(self.dir, &temporary);
        }
    }
}

impl fmt::Debug for NewFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewFile").field("path", &self.path).finish_non_exhaustive()
    }
}

pub(super) struct HeldLock {
    pub(super) disk: MemoryDisk,
    pub(super) id: u64,
}

impl FileLock for HeldLock {}

impl Drop for HeldLock {
    fn drop(&mut self) {
        self.disk.tree().locks.remove(&self.id);
    }
}

impl fmt::Debug for HeldLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HeldLock").field("id", &self.id).finish_non_exhaustive()
    }
}
