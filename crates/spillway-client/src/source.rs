//! A seekable source: a file, or a directory with its manifest, as segments that can be read in any
//! order and more than once. What was found at first must be found again: device, inode, size and
//! time of change are compared at every opening, hashes when a segment is sealed.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use spillway_disk::{Disk, EntryKind, FileStat, ReadAt};
use spillway_seal::{ContentKind, Cut};
use spillway_types::SegmentHash;

use crate::{
    SourceError,
    tree::{Piece, TreeError, walk},
};

#[derive(Debug)]
enum Body {
    /// The one file, cut at the segment size.
    File(Cut),
    /// The manifest, cut at the segment size, then the data segments.
    Tree { head: Vec<u8>, head_cut: Cut, data: Vec<Vec<Piece>> },
}

/// A source that was found and can be read.
pub(crate) struct Layout {
    disk: Arc<dyn Disk>,
    root: PathBuf,
    files: Vec<(PathBuf, FileStat)>,
    body: Body,
    /// The file that was read last, so that a large file is not opened for every segment.
    last: Mutex<Option<(usize, Arc<dyn ReadAt>)>>,
    /// Bytes of all files.
    pub bytes: u64,
    pub skipped: Vec<PathBuf>,
}

impl std::fmt::Debug for Layout {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Layout")
            .field("root", &self.root)
            .field("bytes", &self.bytes)
            .finish_non_exhaustive()
    }
}

impl Layout {
    /// Looks at the source. Blocks.
    pub(crate) fn find(
        disk: Arc<dyn Disk>,
        path: PathBuf,
        segment_bytes: usize,
    ) -> Result<Self, SourceError> {
        let stat = disk.stat(&path)?;
        match stat.kind {
            EntryKind::File => {
                // Unreadable is said now, not after the session has begun.
                drop(disk.open(&path)?);
                let body = Body::File(Cut::new(stat.len, segment_bytes));
                let files = vec![(path.clone(), stat)];
                Ok(Self::new(disk, path, files, body))
            }
            EntryKind::Dir => {
                let walked = walk(disk.as_ref(), &path, segment_bytes)?;
                let head = walked.tree.encode().map_err(|error| too_large(&disk, &path, &error))?;
                let head_cut = Cut::new(head.len() as u64, segment_bytes);
                let body = Body::Tree { head, head_cut, data: walked.segments };
                let mut layout = Self::new(disk, path, walked.files, body);
                layout.skipped = walked.skipped;
                Ok(layout)
            }
            EntryKind::Link | EntryKind::Other => {
                Err(SourceError::Special { path: disk.display(&path) })
            }
        }
    }

    fn new(
        disk: Arc<dyn Disk>,
        root: PathBuf,
        files: Vec<(PathBuf, FileStat)>,
        body: Body,
    ) -> Self {
        let bytes = files.iter().map(|(_, stat)| stat.len).sum();
        Self { disk, root, files, body, last: Mutex::new(None), bytes, skipped: Vec::new() }
    }

    pub(crate) fn kind(&self) -> ContentKind {
        match self.body {
            Body::File(_) => ContentKind::File,
            Body::Tree { .. } => ContentKind::Directory,
        }
    }

    /// The path as its user would write it.
    pub(crate) fn name(&self) -> PathBuf {
        self.disk.display(&self.root)
    }

    pub(crate) fn disk(&self) -> &Arc<dyn Disk> {
        &self.disk
    }

    /// Number of segments; at least one.
    pub(crate) fn segments(&self) -> u64 {
        match &self.body {
            Body::File(cut) => cut.count(),
            Body::Tree { head_cut, data, .. } => head_cut.count() + data.len() as u64,
        }
    }

    /// Bytes of all segments: those of the files, and the manifest.
    pub(crate) fn segment_bytes_total(&self) -> u64 {
        match &self.body {
            Body::File(_) => self.bytes,
            Body::Tree { head, .. } => self.bytes + head.len() as u64,
        }
    }

    /// Reads one segment. Blocks.
    pub(crate) fn read(&self, index: u64) -> Result<Vec<u8>, SourceError> {
        match &self.body {
            Body::File(cut) => {
                let range = cut.range(index).unwrap_or(0..0);
                self.read_file(0, range.start, range.end - range.start)
            }
            Body::Tree { head, head_cut, data } => {
                if let Some(range) = head_cut.range(index) {
                    let range = to_usize(range.start)..to_usize(range.end);
                    return Ok(head[range].to_vec());
                }
                let mut bytes = Vec::new();
                for piece in &data[to_usize(index - head_cut.count())] {
                    bytes.append(&mut self.read_file(
                        piece.file,
                        piece.offset,
                        u64::from(piece.len),
                    )?);
                }
                Ok(bytes)
            }
        }
    }

    /// Reads one segment and hashes it. Blocks.
    pub(crate) fn hash(&self, index: u64) -> Result<(SegmentHash, u64), SourceError> {
        let bytes = self.read(index)?;
        Ok((SegmentHash::of(&bytes), bytes.len() as u64))
    }

    fn read_file(&self, file: usize, offset: u64, len: u64) -> Result<Vec<u8>, SourceError> {
        let (path, stat) = &self.files[file];
        let changed = || SourceError::Changed { path: self.disk.display(path) };
        let handle = self.open(file, path, stat)?;
        let mut bytes = vec![0; to_usize(len)];
        if handle.read_at(offset, &mut bytes)? != bytes.len() {
            return Err(changed());
        }
        Ok(bytes)
    }

    fn open(
        &self,
        file: usize,
        path: &Path,
        stat: &FileStat,
    ) -> Result<Arc<dyn ReadAt>, SourceError> {
        let mut last = self.last.lock().expect("invariant: no panic while it is held");
        if let Some((index, handle)) = last.as_ref()
            && *index == file
        {
            return Ok(Arc::clone(handle));
        }
        let handle: Arc<dyn ReadAt> = Arc::from(self.disk.open(path)?);
        if !same(&handle.stat()?, stat) {
            return Err(SourceError::Changed { path: self.disk.display(path) });
        }
        *last = Some((file, Arc::clone(&handle)));
        Ok(handle)
    }

    /// Compares every file with what was found at first. Blocks.
    pub(crate) fn recheck(&self) -> Result<(), SourceError> {
        for (path, stat) in &self.files {
            if !same(&self.disk.stat(path)?, stat) {
                return Err(SourceError::Changed { path: self.disk.display(path) });
            }
        }
        Ok(())
    }
}

fn same(now: &FileStat, then: &FileStat) -> bool {
    (now.kind, now.len, now.modified, now.identity)
        == (then.kind, then.len, then.modified, then.identity)
}

fn too_large(disk: &Arc<dyn Disk>, path: &Path, error: &TreeError) -> SourceError {
    SourceError::TooManyEntries { path: disk.display(path), what: error.to_string() }
}

fn to_usize(number: u64) -> usize {
    usize::try_from(number).expect("invariant: lengths of segments and counts fit memory")
}
