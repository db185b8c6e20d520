use std::{
    ffi::OsStr,
    fmt, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::{
    Appended, Clock, Disk, DiskError, DiskOp, Entry, Faults, FileLock, FileStat, Mode, Overwrite,
    ReadAt, Unfinished, WriteAt,
    parts::{check_link_target, parent_and_name, parts},
};

mod contents;
mod handles;
mod lookup;
#[cfg(test)]
mod tests;
mod tree;

pub use contents::Survival;

use contents::FileNode;
use handles::{HeldLock, NewFile, OpenFile};
use tree::{Node, ROOT, Tree};

/// Capacity when none is said, in bytes: 1 TiB, more than any test writes.
const DEFAULT_CAPACITY: u64 = 1 << 40;

/// The twin of [`crate::RealDisk`]: a tree in memory that knows what a power cut would leave of it.
/// Clones are the same disk.
///
/// What was written is there for every reader at once, and durable only once its file and the entry
/// in its directory were synced, by the same steps in the same order as on a real disk.
/// [`MemoryDisk::crash`] gives the disk as it is found after a power cut.
///
/// It does not model: permission to read or write, hard links, pipes and devices.
#[derive(Clone)]
pub struct MemoryDisk {
    tree: Arc<Mutex<Tree>>,
    faults: Option<Arc<Faults>>,
    clock: Option<Arc<dyn Clock>>,
}

impl Default for MemoryDisk {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tree = self.tree();
        f.debug_struct("MemoryDisk")
            .field("used_bytes", &tree.used)
            .field("capacity_bytes", &tree.capacity)
            .finish_non_exhaustive()
    }
}

impl MemoryDisk {
    /// An empty disk, practically without an end.
    pub fn new() -> Self {
        Self::with_capacity(DEFAULT_CAPACITY)
    }

    /// An empty disk that holds this many bytes of file contents.
    pub fn with_capacity(bytes: u64) -> Self {
        Self { tree: Arc::new(Mutex::new(Tree::new(bytes))), faults: None, clock: None }
    }

    /// The same disk with faults planned.
    #[must_use]
    pub fn with_faults(self, faults: Arc<Faults>) -> Self {
        Self { faults: Some(faults), ..self }
    }

    /// The same disk, whose files' times come from this clock; without it every change is a
    /// nanosecond after the one before.
    #[must_use]
    pub fn with_clock(self, clock: Arc<dyn Clock>) -> Self {
        Self { clock: Some(clock), ..self }
    }

    /// Makes the disk larger or smaller; smaller than what is on it means full.
    pub fn set_capacity(&self, bytes: u64) {
        self.tree().capacity = bytes;
    }

    /// The disk as it is found after a power cut at this moment: another disk, of the same clock and
    /// without faults, on which nothing is locked. This one goes on as if nothing had happened.
    #[must_use]
    pub fn crash(&self, survival: Survival) -> Self {
        let tree = self.tree().crash(survival);
        Self { tree: Arc::new(Mutex::new(tree)), faults: None, clock: self.clock.clone() }
    }

    fn tree(&self) -> MutexGuard<'_, Tree> {
        self.tree.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hit(&self, op: DiskOp, changes: bool, path: &Path) -> Result<(), DiskError> {
        match &self.faults {
            Some(faults) => faults.hit(op, changes, &self.display(path)),
            None => Ok(()),
        }
    }

    fn change(&self, op: DiskOp, path: &Path) -> Result<(), DiskError> {
        self.hit(op, true, path)
    }

    fn look(&self, op: DiskOp, path: &Path) -> Result<(), DiskError> {
        self.hit(op, false, path)
    }

    /// What a file changed now says about when it was changed.
    fn now(&self, tree: &mut Tree) -> (i64, u32) {
        if let Some(clock) = &self.clock {
            return (i64::try_from(clock.now().as_secs()).unwrap_or(i64::MAX), 0);
        }
        tree.ticks = (tree.ticks + 1) % 1_000_000_000;
        (1_577_836_800, tree.ticks)
    }
}

impl Disk for MemoryDisk {
    fn is_inline(&self) -> bool {
        true
    }

    fn display(&self, path: &Path) -> PathBuf {
        Path::new("memory:").join(path)
    }

    fn read(&self, path: &Path, limit: u64) -> Result<Vec<u8>, DiskError> {
        let file = self.file(&self.tree(), path)?;
        self.look(DiskOp::Read, path)?;
        let contents = file.contents();
        let found = contents.data.len() as u64;
        if found > limit {
            return Err(DiskError::TooLong { path: self.display(path), found, limit });
        }
        Ok(contents.data.clone())
    }

    fn open(&self, path: &Path) -> Result<Box<dyn ReadAt>, DiskError> {
        self.look(DiskOp::Open, path)?;
        let file = self.file(&self.tree(), path)?;
        Ok(Box::new(OpenFile { disk: self.clone(), file, path: path.to_owned() }))
    }

    fn write_durable(
        &self,
        path: &Path,
        bytes: &[u8],
        overwrite: Overwrite,
    ) -> Result<(), DiskError> {
        let file = self.new_file(path, Mode::Private)?;
        file.write_at(0, bytes)?;
        Box::new(file).persist(overwrite)
    }

    fn append_durable(&self, path: &Path, bytes: &[u8]) -> Result<Appended, DiskError> {
        let (names, _) = parent_and_name(path)?;
        self.change(DiskOp::Open, path)?;
        let file = self.file_or_new(&mut self.tree(), path, Mode::Private)?;
        let end = file.contents().data.len() as u64;
        self.write(&file, path, end, bytes)?;
        self.change(DiskOp::Sync, path)?;
        let mut tree = self.tree();
        file.contents().sync();
        // The real one syncs the directory of a file once; here it costs nothing.
        let dir = self.dir(&tree, &names, path)?;
        if end == 0 {
            self.sync_dir(&mut tree, dir, path)?;
        } else {
            tree.sync_dir(dir);
        }
        Ok(Appended { len: file.contents().data.len() as u64 })
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
        Ok(Box::new(self.resumed(path, unfinished, mode)?))
    }

    fn truncate(&self, path: &Path, len: u64) -> Result<(), DiskError> {
        self.change(DiskOp::Open, path)?;
        let mut tree = self.tree();
        let file = self.file(&tree, path)?;
        self.change(DiskOp::Write, path)?;
        self.set_len(&mut tree, &file, path, len)?;
        self.change(DiskOp::Sync, path)?;
        file.contents().sync();
        Ok(())
    }

    fn create_dir_all(&self, path: &Path) -> Result<(), DiskError> {
        let mut tree = self.tree();
        let mut dir = ROOT;
        for name in parts(path)? {
            self.change(DiskOp::CreateDir, path)?;
            let next = match tree.get(dir, name) {
                Some(Node::Dir(id)) => *id,
                Some(_) => return Err(self.bad_path(path)),
                None => {
                    let now = self.now(&mut tree);
                    tree.add_dir(dir, name, now)
                }
            };
            self.sync_dir(&mut tree, dir, path)?;
            dir = next;
        }
        Ok(())
    }

    fn sync_dir(&self, path: &Path) -> Result<(), DiskError> {
        let mut tree = self.tree();
        let dir = self.dir(&tree, &parts(path)?, path)?;
        self.sync_dir(&mut tree, dir, path)
    }

    fn list(&self, path: &Path) -> Result<Vec<Entry>, DiskError> {
        self.look(DiskOp::List, path)?;
        let tree = self.tree();
        let dir = self.dir(&tree, &parts(path)?, path)?;
        let entries = tree.dirs.get(&dir).into_iter().flat_map(|dir| &dir.entries);
        Ok(entries.map(|(name, node)| Entry { name: name.into(), kind: node.kind() }).collect())
    }

    fn stat(&self, path: &Path) -> Result<FileStat, DiskError> {
        self.look(DiskOp::Stat, path)?;
        let tree = self.tree();
        let (_, node) = self.node(&tree, path)?;
        Ok(tree.stat(&node))
    }

    fn rename(&self, from: &Path, to: &Path, overwrite: Overwrite) -> Result<(), DiskError> {
        let (from_names, from_name) = parent_and_name(from)?;
        let (to_names, to_name) = parent_and_name(to)?;
        let mut tree = self.tree();
        let from_dir = self.dir(&tree, &from_names, from)?;
        let to_dir = self.dir(&tree, &to_names, to)?;
        self.change(DiskOp::Rename, from)?;
        let node = tree.get(from_dir, from_name).ok_or_else(|| self.not_found(from))?;
        let there = tree.get(to_dir, to_name);
        self.check_rename(&tree, (from, from_dir, node), (to, to_dir, there), overwrite)?;
        tree.rename((from_dir, from_name), (to_dir, to_name));
        self.sync_dir(&mut tree, to_dir, to)?;
        if from_dir != to_dir {
            self.sync_dir(&mut tree, from_dir, from)?;
        }
        Ok(())
    }

    fn remove_file(&self, path: &Path) -> Result<(), DiskError> {
        let (_, name) = parent_and_name(path)?;
        self.change(DiskOp::Remove, path)?;
        let mut tree = self.tree();
        match self.node(&tree, path)? {
            (_, Node::Dir(_)) => Err(self.bad_path(path)),
            (dir, _) => {
                tree.remove(dir, name);
                Ok(())
            }
        }
    }

    fn remove_dir(&self, path: &Path) -> Result<(), DiskError> {
        let (_, name) = parent_and_name(path)?;
        self.change(DiskOp::Remove, path)?;
        let mut tree = self.tree();
        let (parent, node) = self.node(&tree, path)?;
        let Node::Dir(id) = node else {
            return Err(self.bad_path(path));
        };
        if tree.dirs.get(&id).is_some_and(|dir| !dir.entries.is_empty()) {
            return Err(self.io(DiskOp::Remove, path, io::ErrorKind::DirectoryNotEmpty));
        }
        tree.remove(parent, name);
        Ok(())
    }

    fn lock(&self, path: &Path) -> Result<Box<dyn FileLock>, DiskError> {
        self.change(DiskOp::Open, path)?;
        let mut tree = self.tree();
        let file = self.file_or_new(&mut tree, path, Mode::Private)?;
        self.change(DiskOp::Lock, path)?;
        if !tree.locks.insert(file.id) {
            return Err(DiskError::Locked { path: self.display(path) });
        }
        Ok(Box::new(HeldLock { disk: self.clone(), id: file.id }))
    }

    fn free_space(&self) -> Result<u64, DiskError> {
        self.look(DiskOp::FreeSpace, Path::new(""))?;
        Ok(self.tree().free())
    }

    fn read_link(&self, path: &Path) -> Result<PathBuf, DiskError> {
        self.look(DiskOp::Read, path)?;
        match self.node(&self.tree(), path)?.1 {
            Node::Link { target, .. } => Ok(target),
            _ => Err(self.bad_path(path)),
        }
    }

    fn symlink(&self, target: &Path, path: &Path) -> Result<(), DiskError> {
        check_link_target(target)?;
        let (names, name) = parent_and_name(path)?;
        self.change(DiskOp::Link, path)?;
        let mut tree = self.tree();
        let dir = self.dir(&tree, &names, path)?;
        if tree.get(dir, name).is_some() {
            return Err(self.exists(path));
        }
        let id = tree.new_id();
        tree.add(dir, name, Node::Link { id, target: target.to_owned() });
        Ok(())
    }

    fn set_attributes(
        &self,
        path: &Path,
        mode: u32,
        modified: (i64, u32),
    ) -> Result<(), DiskError> {
        self.change(DiskOp::Stat, path)?;
        let mut tree = self.tree();
        match self.node(&tree, path)?.1 {
            Node::File(file) => {
                let mut contents = file.contents();
                contents.mode = mode & 0o777;
                contents.modified = modified;
            }
            Node::Dir(id) => {
                if let Some(dir) = tree.dirs.get_mut(&id) {
                    dir.mode = mode & 0o777;
                    dir.modified = modified;
                }
            }
            Node::Link { .. } => return Err(self.bad_path(path)),
        }
        Ok(())
    }
}
