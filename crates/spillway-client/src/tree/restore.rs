use std::{
    ffi::OsStr,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    sync::Mutex,
};

use spillway_disk::{Disk, DiskError, Mode, Overwrite, WriteAt};

use super::{Modified, Node, Place, Tree, TreeError};

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
    let mut layout = Layout::new(segment_lens);
    let mut files = Vec::new();
    for entry in &tree.entries {
        let Node::File { mode, modified, len, place } = &entry.node else { continue };
        let pieces = layout.add(files.len(), *len, *place);
        let pieces = pieces.ok_or_else(|| TreeError::Place {
            path: String::from_utf8_lossy(&entry.path).into_owned(),
        })?;
        files.push(FileState {
            path: root.join(OsStr::from_bytes(&entry.path)),
            mode: *mode,
            modified: *modified,
            open: Mutex::new((pieces, None)),
        });
    }
    let runs = layout.runs;
    let restore = Restore { root: root.to_owned(), overwrite, tree, runs, files };
    restore.make_directories(disk)?;
    Ok(restore)
}

/// Takes only what packing makes: a file is either the next one in a segment that it fits, or has
/// whole segments to itself. So nothing overlaps, and there are no more runs than files and segments.
struct Layout<'a> {
    lens: &'a [u32],
    /// How far each segment is taken.
    used: Vec<u32>,
    runs: Vec<Vec<Run>>,
}

impl<'a> Layout<'a> {
    fn new(lens: &'a [u32]) -> Self {
        Self { lens, used: vec![0; lens.len()], runs: vec![Vec::new(); lens.len()] }
    }

    /// Places a file and returns in how many pieces; `None` when it is not where it could be.
    fn add(&mut self, file: usize, len: u64, place: Place) -> Option<usize> {
        if len == 0 {
            return Some(0);
        }
        let first = usize::try_from(place.segment).ok()?;
        if *self.used.get(first)? != place.offset {
            return None;
        }
        let room = u64::from(self.lens[first].checked_sub(place.offset)?);
        if len <= room {
            self.take(file, first, 0, u32::try_from(len).ok()?);
            return Some(1);
        }
        let (mut at, mut done) = (first, 0);
        while done < len {
            let whole = *self.lens.get(at)?;
            if self.used[at] != 0 || whole == 0 || u64::from(whole) > len - done {
                return None;
            }
            self.take(file, at, done, whole);
            (at, done) = (at + 1, done + u64::from(whole));
        }
        Some(at - first)
    }

    fn take(&mut self, file: usize, segment: usize, file_offset: u64, len: u32) {
        let segment_offset = self.used[segment] as usize;
        self.runs[segment].push(Run { file, file_offset, segment_offset, len: len as usize });
        self.used[segment] += len;
    }
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
