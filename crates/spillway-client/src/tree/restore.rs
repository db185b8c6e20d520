use std::{
    ffi::OsStr,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    sync::Mutex,
};

use spillway_disk::{Disk, DiskError, Mode, Overwrite, WriteAt};

use super::{Modified, Node, Tree, TreeError};

/// A directory that is being written: directories are there, files are filled segment by segment,
/// links and attributes come last.
#[derive(Debug)]
pub(crate) struct Restore {
    root: PathBuf,
    overwrite: Overwrite,
    tree: Tree,
    /// By data segment: the runs of file bytes in it.
    runs: Vec<Vec<Run>>,
    files: Vec<FileState>,
}

/// A run of one file's bytes in one segment.
#[derive(Clone, Copy, Debug)]
struct Run {
    file: usize,
    file_offset: u64,
    segment_offset: usize,
    len: usize,
}

#[derive(Debug)]
struct FileState {
    path: PathBuf,
    mode: u32,
    modified: Modified,
    /// Segments that have not come yet, and the file while it is open.
    open: Mutex<(usize, Option<Box<dyn WriteAt>>)>,
}

/// Checks the manifest against the segments that there are, and makes the directories.
pub(crate) fn prepare(
    disk: &dyn Disk,
    target: (&Path, Overwrite),
    tree: Tree,
    segment_lens: &[u32],
) -> Result<Restore, RestoreError> {
    let (root, overwrite) = target;
    let mut runs = vec![Vec::new(); segment_lens.len()];
    let mut files = Vec::new();
    // Honest files do not overlap, so they never hold more than the segments do: no bombs.
    let mut room: u64 = segment_lens.iter().map(|&len| u64::from(len)).sum();
    for entry in &tree.entries {
        let Node::File { mode, modified, len, place } = &entry.node else {
            continue;
        };
        let bad = || TreeError::Place { path: String::from_utf8_lossy(&entry.path).into_owned() };
        room = room.checked_sub(*len).ok_or_else(bad)?;
        let mut left = *len;
        let mut at = usize::try_from(place.segment).map_err(|_| bad())?;
        let mut offset = place.offset as usize;
        let mut count = 0;
        while left > 0 {
            let have = *segment_lens.get(at).ok_or_else(bad)? as usize;
            let here = have.checked_sub(offset).filter(|&here| here > 0).ok_or_else(bad)?;
            let here = here.min(usize::try_from(left).unwrap_or(usize::MAX));
            let run = Run {
                file: files.len(),
                file_offset: len - left,
                segment_offset: offset,
                len: here,
            };
            runs[at].push(run);
            left -= here as u64;
            (at, offset, count) = (at + 1, 0, count + 1);
        }
        files.push(FileState {
            path: root.join(OsStr::from_bytes(&entry.path)),
            mode: *mode,
            modified: *modified,
            open: Mutex::new((count, None)),
        });
    }
    let restore = Restore { root: root.to_owned(), overwrite, tree, runs, files };
    restore.make_directories(disk)?;
    Ok(restore)
}

/// Why a directory could not be restored.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RestoreError {
    #[error(transparent)]
    Tree(#[from] TreeError),
    #[error(transparent)]
    Disk(#[from] DiskError),
}

impl Restore {
    pub(crate) fn files(&self) -> u64 {
        self.files.len() as u64
    }

    /// Bytes of all files.
    pub(crate) fn bytes(&self) -> u64 {
        let lens = self.tree.entries.iter().map(|entry| match entry.node {
            Node::File { len, .. } => len,
            Node::Dir { .. } | Node::Link { .. } => 0,
        });
        lens.sum()
    }

    fn make_directories(&self, disk: &dyn Disk) -> Result<(), DiskError> {
        for entry in &self.tree.entries {
            if matches!(entry.node, Node::Dir { .. }) {
                disk.create_dir_all(&self.path_of(&entry.path))?;
            }
        }
        for file in &self.files {
            let empty = file.lock().0 == 0;
            if empty {
                file.finish(disk.create(&file.path, Mode::Shared)?, self.overwrite)?;
            } else if self.overwrite == Overwrite::Never {
                // Said before anything is fetched.
                match disk.stat(&file.path) {
                    Err(DiskError::NotFound { .. }) => {}
                    Err(error) => return Err(error),
                    Ok(_) => {
                        return Err(DiskError::Exists { path: disk.display(&file.path) });
                    }
                }
            }
        }
        Ok(())
    }

    /// Writes what a data segment holds. Segments may come in any order, each once.
    pub(crate) fn fill(
        &self,
        disk: &dyn Disk,
        segment: usize,
        bytes: &[u8],
    ) -> Result<(), DiskError> {
        for run in self.runs.get(segment).into_iter().flatten() {
            let state = &self.files[run.file];
            let mut open = state.lock();
            let file = match &open.1 {
                Some(file) => file,
                None => open.1.insert(disk.create(&state.path, Mode::Shared)?),
            };
            let end = run.segment_offset + run.len;
            file.write_at(run.file_offset, &bytes[run.segment_offset..end])?;
            open.0 -= 1;
            if open.0 == 0
                && let Some(file) = open.1.take()
            {
                state.finish(file, self.overwrite)?;
            }
        }
        Ok(())
    }

    /// Makes links, then sets the attributes of directories, the deepest first.
    pub(crate) fn finish(&self, disk: &dyn Disk) -> Result<(), DiskError> {
        for entry in &self.tree.entries {
            let Node::Link { target } = &entry.node else {
                continue;
            };
            let path = self.path_of(&entry.path);
            let target = Path::new(OsStr::from_bytes(target));
            match disk.symlink(target, &path) {
                Err(DiskError::Exists { .. }) if self.overwrite == Overwrite::Replace => {
                    disk.remove_file(&path)?;
                    disk.symlink(target, &path)?;
                }
                other => other?,
            }
        }
        for entry in self.tree.entries.iter().rev() {
            if let Node::Dir { mode, modified } = entry.node {
                disk.set_attributes(&self.path_of(&entry.path), mode, modified)?;
            }
        }
        Ok(())
    }

    fn path_of(&self, path: &[u8]) -> PathBuf {
        if path.is_empty() { self.root.clone() } else { self.root.join(OsStr::from_bytes(path)) }
    }
}

impl FileState {
    fn lock(&self) -> std::sync::MutexGuard<'_, (usize, Option<Box<dyn WriteAt>>)> {
        self.open.lock().expect("invariant: no panic while a file is written")
    }

    fn finish(&self, file: Box<dyn WriteAt>, overwrite: Overwrite) -> Result<(), DiskError> {
        file.set_attributes(self.mode, self.modified)?;
        file.persist(overwrite)
    }
}
