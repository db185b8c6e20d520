use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use spillway_disk::{Disk, EntryKind};

/// Everything below a directory, with times of change, without following anything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Picture(BTreeMap<PathBuf, Seen>);

/// Time of change, permission bits, and what is in it or where it points.
type Seen = ((i64, u32), u32, Vec<u8>);

impl Picture {
    pub(crate) fn of(disk: &dyn Disk, root: &Path) -> Self {
        let mut seen = BTreeMap::new();
        let mut open = vec![root.to_owned()];
        while let Some(path) = open.pop() {
            let Ok(stat) = disk.stat(&path) else { continue };
            let contents = match stat.kind {
                EntryKind::Dir => {
                    let entries = disk.list(&path).unwrap_or_default();
                    open.extend(entries.into_iter().map(|entry| path.join(entry.name)));
                    Vec::new()
                }
                EntryKind::Link => {
                    let target = disk.read_link(&path).unwrap_or_default();
                    target.to_string_lossy().into_owned().into_bytes()
                }
                _ => disk.read(&path, u64::MAX).unwrap_or_default(),
            };
            seen.insert(path, (stat.modified, stat.mode, contents));
        }
        Self(seen)
    }
}
