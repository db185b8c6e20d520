use std::{
    collections::BTreeSet,
    ffi::{OsStr, OsString},
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    sync::Mutex,
};

use spillway_disk::{Disk, DiskError, EntryKind, FileStat, Mode, Overwrite, Unfinished};

use super::{Modified, Node, Place, Tree, TreeError};

/// Parts of earlier runs that are gone on with. Each is open until its last segment has come. A run
/// leaves about as many as it fetches at once, eight; what is over is begun anew.
const HELD_PARTS: usize = 64;

/// A directory that is being written: directories are there, files are filled segment by segment,
/// links and attributes come last.
///
/// What an earlier run has written is found again by [`Restore::read`], segment by segment. It may
/// be anything: only what the caller has verified is named to [`Restore::settle`].
#[derive(Debug)]
pub(crate) struct Restore {
    root: PathBuf,
    merge: bool,
    tree: Tree,
    /// By data segment: the runs of file bytes in it.
    runs: Vec<Vec<Run>>,
    files: Vec<FileState>,
    links: Vec<Link>,
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
    /// What the file is called until it is whole.
    unfinished: OsString,
    len: u64,
    mode: u32,
    modified: Modified,
    /// Where bytes of an earlier run may be.
    earlier: Earlier,
    /// Whether what has the file's name may be replaced.
    overwrite: Overwrite,
    /// Segments that have not come yet, and the file while it is open.
    open: Mutex<(usize, Option<Box<dyn Unfinished>>)>,
}

#[derive(Debug)]
struct Link {
    path: PathBuf,
    /// Where it is made, to be renamed: that makes it durable.
    unfinished: PathBuf,
    target: PathBuf,
}

/// Where bytes of an earlier run may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Earlier {
    Nowhere,
    /// In the file that is not finished, which is open from when it was found.
    Unfinished,
    /// In the file that has the name. It has the right length, mode and time, too.
    Whole,
}

/// Where a directory goes.
pub(crate) struct Destination<'a> {
    pub root: &'a Path,
    /// What exists is the user's and is merged into. Otherwise it is what an earlier run has left.
    pub merge: bool,
    /// What a file is called until it is whole.
    pub part: &'a dyn Fn(&Path) -> OsString,
}

/// Checks the manifest against the segments that there are, makes the directories, and looks at
/// what is there.
pub(crate) fn prepare(
    disk: &dyn Disk,
    to: &Destination<'_>,
    tree: Tree,
    segment_lens: &[u32],
) -> Result<Restore, RestoreError> {
    let mut layout = Layout::new(segment_lens);
    let (mut files, mut links) = (Vec::new(), Vec::new());
    for entry in &tree.entries {
        let path = to.root.join(OsStr::from_bytes(&entry.path));
        if let Node::Link { target } = &entry.node {
            let unfinished = path.with_file_name((to.part)(&path));
            let target = OsStr::from_bytes(target).into();
            links.push(Link { path, unfinished, target });
            continue;
        }
        let Node::File { mode, modified, len, place } = &entry.node else { continue };
        let pieces = layout.add(files.len(), *len, *place);
        let pieces = pieces.ok_or_else(|| TreeError::Place {
            path: String::from_utf8_lossy(&entry.path).into_owned(),
        })?;
        files.push(FileState {
            unfinished: (to.part)(&path),
            path,
            len: *len,
            mode: *mode,
            modified: *modified,
            earlier: Earlier::Nowhere,
            overwrite: if to.merge { Overwrite::Replace } else { Overwrite::Never },
            open: Mutex::new((pieces, None)),
        });
    }
    let runs = layout.runs;
    let mut restore =
        Restore { root: to.root.to_owned(), merge: to.merge, tree, runs, files, links };
    if restore.make_directories(disk)? {
        restore.look(disk)?;
    }
    Ok(restore)
}

/// Takes only what packing makes: a file is either the next one in a segment that it fits, or has
/// whole segments to itself. So nothing overlaps, and there are no more runs than files and
/// segments.
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

    /// Makes what is not there; whether the directory itself was.
    fn make_directories(&self, disk: &dyn Disk) -> Result<bool, DiskError> {
        let existed = stat(disk, &self.root)?.is_some();
        for entry in &self.tree.entries {
            let Node::Dir { modified, .. } = entry.node else { continue };
            let path = self.path_of(&entry.path);
            disk.create_dir_all(&path)?;
            if existed && !self.merge {
                // It may have got the mode that it had when it was uploaded. A directory of
                // somebody else, under the name that can be guessed, is refused here.
                disk.set_attributes(&path, 0o700, modified)?;
            }
        }
        Ok(existed)
    }

    /// Finds what earlier runs have left.
    fn look(&mut self, disk: &dyn Disk) -> Result<(), DiskError> {
        let (mut seen, mut held) = (BTreeSet::new(), 0);
        for file in &mut self.files {
            let whole = stat(disk, &file.path)?;
            if let Some(there) = &whole
                && !self.merge
            {
                // Two names of one file: the disk does not tell them apart, and the second would
                // replace the first.
                if !seen.insert(there.identity) {
                    return Err(DiskError::Exists { path: disk.display(&file.path) });
                }
                file.overwrite = Overwrite::Replace;
            }
            let unfinished = stat(disk, &file.path.with_file_name(&file.unfinished))?;
            let attributes = (EntryKind::File, file.len, file.mode, file.modified);
            let is_whole = whole.is_some_and(|there| {
                (there.kind, there.len, there.mode, there.modified) == attributes
            });
            if unfinished.is_some_and(|there| there.len > 0) {
                if held < HELD_PARTS && file.hold(disk)? {
                    held += 1;
                    file.earlier = Earlier::Unfinished;
                }
            } else if is_whole {
                file.earlier = Earlier::Whole;
            }
        }
        Ok(())
    }

    /// Whether something of every file in this segment may be there.
    pub(crate) fn may_have(&self, segment: usize) -> bool {
        let runs = &self.runs[segment];
        !runs.is_empty() && runs.iter().all(|run| self.files[run.file].earlier != Earlier::Nowhere)
    }

    /// Reads what is there of a segment into its buffer: anything, where nothing is.
    pub(crate) fn read(
        &self,
        disk: &dyn Disk,
        segment: usize,
        buffer: &mut [u8],
    ) -> Result<(), DiskError> {
        for run in &self.runs[segment] {
            let file = &self.files[run.file];
            let buffer = &mut buffer[run.segment_offset..run.segment_offset + run.len];
            if file.earlier == Earlier::Whole {
                disk.open(&file.path)?.read_at(run.file_offset, buffer)?;
                continue;
            }
            match &file.lock().1 {
                Some(part) => part.read_at(run.file_offset, buffer)?,
                None => return Err(DiskError::NotFound { path: disk.display(&file.path) }),
            };
        }
        Ok(())
    }

    /// Takes in which segments are there and good, and finishes the files that need no others. A
    /// whole file of which a part is not good is written anew: its segments are taken out of
    /// `here`.
    pub(crate) fn settle(
        &self,
        disk: &dyn Disk,
        here: &mut BTreeSet<usize>,
    ) -> Result<(), DiskError> {
        let mut missing = self.missing(here);
        let spoilt =
            |run: &Run| self.files[run.file].earlier == Earlier::Whole && missing[run.file] > 0;
        here.retain(|segment| !self.runs[*segment].iter().any(spoilt));
        missing = self.missing(here);
        for (state, missing) in self.files.iter().zip(missing) {
            let mut open = state.lock();
            open.0 = missing;
            if missing == 0 && state.earlier != Earlier::Whole {
                let held = open.1.take();
                // Only of an empty file nothing is held.
                let file = held.map_or_else(|| state.resume(disk), Ok)?;
                state.finish(file)?;
            }
        }
        Ok(())
    }

    /// How many segments each file needs beyond these.
    fn missing(&self, here: &BTreeSet<usize>) -> Vec<usize> {
        let mut missing = vec![0; self.files.len()];
        for (segment, runs) in self.runs.iter().enumerate() {
            if !here.contains(&segment) {
                for run in runs {
                    missing[run.file] += 1;
                }
            }
        }
        missing
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
                None => open.1.insert(state.resume(disk)?),
            };
            let end = run.segment_offset + run.len;
            file.write_at(run.file_offset, &bytes[run.segment_offset..end])?;
            file.keep(true);
            open.0 -= 1;
            if open.0 == 0
                && let Some(file) = open.1.take()
            {
                state.finish(file)?;
            }
        }
        Ok(())
    }

    /// Makes links, then sets the attributes of directories, the deepest first.
    pub(crate) fn finish(&self, disk: &dyn Disk) -> Result<(), DiskError> {
        for link in &self.links {
            link.make(disk, self.merge)?;
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

impl Link {
    fn make(&self, disk: &dyn Disk, merge: bool) -> Result<(), DiskError> {
        if disk.read_link(&self.path).is_ok_and(|is| is == self.target) {
            return Ok(());
        }
        match disk.symlink(&self.target, &self.unfinished) {
            // Of an earlier run, of the same data map.
            Err(DiskError::Exists { .. }) => {
                disk.remove_file(&self.unfinished)?;
                disk.symlink(&self.target, &self.unfinished)?;
            }
            other => other?,
        }
        let overwrite = if merge { Overwrite::Replace } else { Overwrite::Never };
        disk.rename(&self.unfinished, &self.path, overwrite)
    }
}

impl FileState {
    fn lock(&self) -> std::sync::MutexGuard<'_, (usize, Option<Box<dyn Unfinished>>)> {
        self.open.lock().expect("invariant: no panic while a file is written")
    }

    /// Private until it has the mode of the manifest.
    fn resume(&self, disk: &dyn Disk) -> Result<Box<dyn Unfinished>, DiskError> {
        disk.resume(&self.path, &self.unfinished, Mode::Private)
    }

    /// Opens what an earlier run has left and keeps it; whether there is anything in it. What is
    /// verified must be what gets the name in the end: under the name of the part may be another
    /// file a moment later, and one that is not this user's alone is made anew, empty.
    fn hold(&mut self, disk: &dyn Disk) -> Result<bool, DiskError> {
        let part = self.resume(disk)?;
        let any = part.stat()?.len > 0;
        if any {
            self.lock().1 = Some(part);
        }
        Ok(any)
    }

    fn finish(&self, file: Box<dyn Unfinished>) -> Result<(), DiskError> {
        // Whatever was behind its end goes. It comes first: it changes the time.
        file.set_len(self.len)?;
        file.set_attributes(self.mode, self.modified)?;
        file.persist(self.overwrite)
    }
}

fn stat(disk: &dyn Disk, path: &Path) -> Result<Option<FileStat>, DiskError> {
    match disk.stat(path) {
        Ok(stat) => Ok(Some(stat)),
        Err(DiskError::NotFound { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests;
