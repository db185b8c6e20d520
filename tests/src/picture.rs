use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use spillway_disk::{Disk, EntryKind};

/// What stands at one path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// A directory: permission bits and time of change.
    Dir(u32, (i64, u32)),
    /// A file: permission bits, time of change, contents.
    File(u32, (i64, u32), Vec<u8>),
    /// A link and what it says.
    Link(PathBuf),
    /// A device, socket or pipe.
    Other,
}

/// Everything below a directory, without following anything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Picture(pub BTreeMap<PathBuf, Seen>);

impl Picture {
    /// Looks at all of it, the directory itself under the empty path.
    pub fn of(disk: &dyn Disk, root: &Path) -> Self {
        let mut seen = BTreeMap::new();
        let mut open = vec![PathBuf::new()];
        while let Some(below) = open.pop() {
            let path = if below.as_os_str().is_empty() { root.into() } else { root.join(&below) };
            let stat = disk.stat(&path).unwrap();
            let what = match stat.kind {
                EntryKind::Dir => {
                    let entries = disk.list(&path).unwrap();
                    open.extend(entries.into_iter().map(|entry| below.join(entry.name)));
                    Seen::Dir(stat.mode, stat.modified)
                }
                EntryKind::File => {
                    Seen::File(stat.mode, stat.modified, disk.read(&path, u64::MAX).unwrap())
                }
                EntryKind::Link => Seen::Link(disk.read_link(&path).unwrap()),
                EntryKind::Other => Seen::Other,
            };
            seen.insert(below, what);
        }
        Self(seen)
    }

    /// All paths, for a look at what is there and what is not.
    pub fn paths(&self) -> Vec<String> {
        self.0.keys().map(|path| path.to_string_lossy().into_owned()).collect()
    }
}
