use std::{
    ffi::OsStr,
    io,
    path::Path,
    sync::{Arc, atomic::AtomicBool},
};

use super::{FileNode, HeldLock, MemoryDisk, NewFile, Node, ROOT, Tree};
use crate::{
    Disk, DiskError, DiskOp, Mode, Overwrite, TEMPORARY_PREFIX,
    parts::{beside, parent_and_name, parts},
};

/// Finding and changing what paths stand for, with the errors that the real disk has.
impl MemoryDisk {
    pub(super) fn not_found(&self, path: &Path) -> DiskError {
        DiskError::NotFound { path: self.display(path) }
    }

    pub(super) fn bad_path(&self, path: &Path) -> DiskError {
        DiskError::BadPath { path: self.display(path) }
    }

    pub(super) fn exists(&self, path: &Path) -> DiskError {
        DiskError::Exists { path: self.display(path) }
    }

    pub(super) fn io(&self, op: DiskOp, path: &Path, kind: io::ErrorKind) -> DiskError {
        DiskError::Io { op, path: self.display(path), source: kind.into() }
    }

    pub(super) fn dir(&self, tree: &Tree, names: &[&OsStr], path: &Path) -> Result<u64, DiskError> {
        let mut dir = ROOT;
        for name in names {
            match tree.get(dir, name) {
                Some(Node::Dir(id)) => dir = *id,
                Some(_) => return Err(self.bad_path(path)),
                None => return Err(self.not_found(path)),
            }
        }
        Ok(dir)
    }

    pub(super) fn node(&self, tree: &Tree, path: &Path) -> Result<(u64, Node), DiskError> {
        let mut names = parts(path)?;
        let Some(name) = names.pop() else {
            return Ok((ROOT, Node::Dir(ROOT)));
        };
        let dir = self.dir(tree, &names, path)?;
        let node = tree.get(dir, name).cloned().ok_or_else(|| self.not_found(path))?;
        Ok((dir, node))
    }

    pub(super) fn file(&self, tree: &Tree, path: &Path) -> Result<Arc<FileNode>, DiskError> {
        match self.node(tree, path)?.1 {
            Node::File(file) => Ok(file),
            _ => Err(self.bad_path(path)),
        }
    }

    /// The file at this path, made empty (0600) if need be.
    pub(super) fn file_or_new(
        &self,
        tree: &mut Tree,
        path: &Path,
        mode: Mode,
    ) -> Result<Arc<FileNode>, DiskError> {
        let (names, name) = parent_and_name(path)?;
        match self.file(tree, path) {
            Err(DiskError::NotFound { .. }) => {
                let dir = self.dir(tree, &names, path)?;
                Ok(self.add_file(tree, dir, name, mode))
            }
            other => other,
        }
    }

    fn add_file(&self, tree: &mut Tree, dir: u64, name: &OsStr, mode: Mode) -> Arc<FileNode> {
        let (id, now) = (tree.new_id(), self.now(tree));
        let mode = match mode {
            Mode::Private => 0o600,
            // The usual umask.
            Mode::Shared => 0o644,
        };
        let file = Arc::new(FileNode::new(id, mode, now, Vec::new()));
        tree.add(dir, name, Node::File(Arc::clone(&file)));
        file
    }

    pub(super) fn read_some(
        &self,
        file: &FileNode,
        path: &Path,
        offset: u64,
        buffer: &mut [u8],
    ) -> Result<usize, DiskError> {
        self.look(DiskOp::Read, path)?;
        let contents = file.contents();
        let from = usize::try_from(offset).unwrap_or(usize::MAX).min(contents.data.len());
        let len = buffer.len().min(contents.data.len() - from);
        buffer[..len].copy_from_slice(&contents.data[from..from + len]);
        Ok(len)
    }

    /// Cuts or lengthens; counts only files that have a name.
    pub(super) fn set_len(
        &self,
        tree: &mut Tree,
        file: &FileNode,
        path: &Path,
        len: u64,
    ) -> Result<(), DiskError> {
        let full = || DiskError::Full { op: DiskOp::Write, path: self.display(path) };
        let now = self.now(tree);
        let mut contents = file.contents();
        let before = contents.data.len() as u64;
        if contents.linked && len.saturating_sub(before) > tree.free() {
            return Err(full());
        }
        contents.truncate(usize::try_from(len).map_err(|_| full())?);
        contents.modified = now;
        if contents.linked {
            tree.used = tree.used.saturating_sub(before) + len;
        }
        Ok(())
    }

    /// Writes what fits; counts only files that have a name.
    pub(super) fn write(
        &self,
        file: &FileNode,
        path: &Path,
        offset: u64,
        bytes: &[u8],
    ) -> Result<(), DiskError> {
        let fault = self.change(DiskOp::Write, path);
        let bytes = if fault.is_ok() { bytes } else { &bytes[..bytes.len() / 2] };
        let mut tree = self.tree();
        let now = self.now(&mut tree);
        let mut contents = file.contents();
        let full = || DiskError::Full { op: DiskOp::Write, path: self.display(path) };
        let offset = usize::try_from(offset).map_err(|_| full())?;
        let len = contents.data.len();
        let free = if contents.linked { tree.free() } else { u64::MAX };
        let room = len.saturating_add(usize::try_from(free).unwrap_or(usize::MAX));
        let fits = bytes.len().min(room.saturating_sub(offset));
        if fits > 0 {
            contents.write(offset, &bytes[..fits]);
            contents.modified = now;
        }
        if contents.linked {
            tree.used += contents.data.len().saturating_sub(len) as u64;
        }
        fault?;
        if fits < bytes.len() { Err(full()) } else { Ok(()) }
    }

    pub(super) fn new_file(&self, path: &Path, mode: Mode) -> Result<NewFile, DiskError> {
        let (names, name) = parent_and_name(path)?;
        let mut tree = self.tree();
        let dir = self.dir(&tree, &names, path)?;
        self.change(DiskOp::Open, path)?;
        let temporary = format!("{TEMPORARY_PREFIX}{:016x}", tree.next_id());
        let file = self.add_file(&mut tree, dir, OsStr::new(&temporary), mode);
        Ok(NewFile {
            disk: self.clone(),
            file,
            dir,
            temporary: Some(temporary.into()),
            name: name.to_owned(),
            path: path.to_owned(),
            kept: AtomicBool::new(false),
            _lock: None,
        })
    }

    pub(super) fn resumed(
        &self,
        path: &Path,
        unfinished: &OsStr,
        mode: Mode,
    ) -> Result<NewFile, DiskError> {
        let (names, name) = parent_and_name(path)?;
        let at = beside(path, unfinished)?;
        self.change(DiskOp::Open, &at)?;
        let mut tree = self.tree();
        let dir = self.dir(&tree, &names, &at)?;
        let file = self.file_or_new(&mut tree, &at, mode)?;
        self.change(DiskOp::Lock, &at)?;
        if !tree.locks.insert(file.id) {
            return Err(DiskError::Locked { path: self.display(&at) });
        }
        let kept = AtomicBool::new(!file.contents().data.is_empty());
        let lock = HeldLock { disk: self.clone(), id: file.id };
        Ok(NewFile {
            disk: self.clone(),
            file,
            dir,
            temporary: Some(unfinished.to_owned()),
            name: name.to_owned(),
            path: path.to_owned(),
            kept,
            _lock: Some(lock),
        })
    }

    pub(super) fn sync_dir(&self, tree: &mut Tree, dir: u64, path: &Path) -> Result<(), DiskError> {
        self.change(DiskOp::Sync, path)?;
        tree.sync_dir(dir);
        Ok(())
    }

    /// Whether `from` may be renamed onto what is there.
    pub(super) fn check_rename(
        &self,
        tree: &Tree,
        from: (&Path, u64, &Node),
        to: (&Path, u64, Option<&Node>),
        overwrite: Overwrite,
    ) -> Result<(), DiskError> {
        let ((from, from_dir, from_node), (to, to_dir, to_node)) = (from, to);
        if to_node.is_some() && overwrite == Overwrite::Never {
            return Err(self.exists(to));
        }
        if to_node.is_some_and(|node| node.same(from_node)) {
            return Ok(());
        }
        if let Node::Dir(id) = from_node
            && tree.contains(*id, to_dir)
        {
            return Err(self.io(DiskOp::Rename, from, io::ErrorKind::InvalidInput));
        }
        if let Some(Node::Dir(id)) = to_node
            && tree.contains(*id, from_dir)
        {
            return Err(self.io(DiskOp::Rename, from, io::ErrorKind::DirectoryNotEmpty));
        }
        match (from_node, to_node) {
            (Node::Dir(_), Some(Node::File(_) | Node::Link { .. }))
            | (Node::File(_) | Node::Link { .. }, Some(Node::Dir(_))) => Err(self.bad_path(from)),
            (Node::Dir(_), Some(Node::Dir(id)))
                if tree.dirs.get(id).is_some_and(|dir| !dir.entries.is_empty()) =>
            {
                Err(self.io(DiskOp::Rename, from, io::ErrorKind::DirectoryNotEmpty))
            }
            _ => Ok(()),
        }
    }
}
