use std::{
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use spillway_disk::{Disk, DiskError, EntryKind, FileStat};

use super::{Node, Packing, Piece, Tree, TreeEntry, path_order};

/// Mode bits that are kept: not setuid, setgid or sticky.
const MODE_MASK: u32 = 0o777;

/// A directory as it was found.
#[derive(Debug)]
pub(crate) struct Walked {
    pub tree: Tree,
    /// Files with contents, by the index that pieces use: path below the disk's root, and how the
    /// file looked.
    pub files: Vec<(PathBuf, FileStat)>,
    /// Data segments, each a list of pieces.
    pub segments: Vec<Vec<Piece>>,
    /// Devices, sockets and pipes, which are not uploaded.
    pub skipped: Vec<PathBuf>,
    /// Bytes of all files.
    pub bytes: u64,
}

/// Walks a directory without following any link.
pub(crate) fn walk(
    disk: &dyn Disk,
    root: &Path,
    segment_bytes: usize,
) -> Result<Walked, DiskError> {
    let mut found = Vec::new();
    let mut skipped = Vec::new();
    let root_stat = disk.stat(root)?;
    let mut pending = vec![PathBuf::new()];
    while let Some(below) = pending.pop() {
        for entry in disk.list(&root.join(&below))? {
            let path = below.join(&entry.name);
            match entry.kind {
                EntryKind::Other => skipped.push(path),
                EntryKind::Dir => {
                    pending.push(path.clone());
                    found.push(path);
                }
                EntryKind::File | EntryKind::Link => found.push(path),
            }
        }
    }
    found.sort_by(|a, b| path_order(a.as_os_str().as_bytes(), b.as_os_str().as_bytes()));
    skipped.sort();
    let mut walked = Walked {
        tree: Tree { entries: vec![dir_entry(Path::new(""), &root_stat)] },
        files: Vec::new(),
        segments: Vec::new(),
        skipped,
        bytes: 0,
    };
    let mut packing = Packing::new(segment_bytes);
    for path in found {
        add(disk, root, &path, &mut walked, &mut packing)?;
    }
    walked.segments = packing.finish();
    Ok(walked)
}

fn add(
    disk: &dyn Disk,
    root: &Path,
    path: &Path,
    walked: &mut Walked,
    packing: &mut Packing,
) -> Result<(), DiskError> {
    let full = root.join(path);
    let stat = disk.stat(&full)?;
    let entry = match stat.kind {
        EntryKind::Dir => dir_entry(path, &stat),
        EntryKind::Link => {
            let target = disk.read_link(&full)?.as_os_str().as_bytes().to_vec();
            TreeEntry { path: bytes_of(path), node: Node::Link { target } }
        }
        EntryKind::File => {
            let place = packing.add(walked.files.len(), stat.len);
            walked.files.push((full, stat));
            walked.bytes += stat.len;
            let node = Node::File {
                mode: stat.mode & MODE_MASK,
                modified: stat.modified,
                len: stat.len,
                place,
            };
            TreeEntry { path: bytes_of(path), node }
        }
        EntryKind::Other => {
            walked.skipped.push(path.to_owned());
            return Ok(());
        }
    };
    walked.tree.entries.push(entry);
    Ok(())
}

fn dir_entry(path: &Path, stat: &FileStat) -> TreeEntry {
    let node = Node::Dir { mode: stat.mode & MODE_MASK, modified: stat.modified };
    TreeEntry { path: bytes_of(path), node }
}

fn bytes_of(path: &Path) -> Vec<u8> {
    path.as_os_str().as_bytes().to_vec()
}
