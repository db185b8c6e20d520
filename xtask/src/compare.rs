//! Whether what came down is what went up.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File, Metadata};
use std::io::{BufReader, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::{Context, Result, bail};

/// Bytes compared at a time.
const BLOCK_BYTES: usize = 1 << 20;
/// The permission bits that a download restores: setuid, setgid and sticky are not among them.
const PERMISSIONS: u32 = 0o777;

/// Fails at the first difference between a file and a file, or a directory and a directory.
///
/// In directories names, types, bytes, link targets, permissions and the seconds of files' modification
/// times are compared; sockets, pipes and devices are passed over, as an upload passes over them.
pub(crate) fn same(original: &Path, copy: &Path) -> Result<()> {
    if fs::metadata(original).with_context(|| original.display().to_string())?.is_dir() {
        same_directory(original, copy)
    } else {
        same_bytes(original, copy)
    }
}

/// The bytes of a file, or of all files in a directory.
pub(crate) fn total_bytes(path: &Path) -> Result<u64> {
    let metadata = fs::metadata(path).with_context(|| format!("cannot read {}", path.display()))?;
    if metadata.is_dir() { directory_bytes(path) } else { Ok(metadata.len()) }
}

fn directory_bytes(path: &Path) -> Result<u64> {
    let mut bytes = 0;
    for (name, metadata) in entries(path)? {
        if metadata.is_dir() {
            bytes += directory_bytes(&path.join(name))?;
        } else if metadata.is_file() {
            bytes += metadata.len();
        }
    }
    Ok(bytes)
}

/// What is inside, links not followed, special files left out.
fn entries(directory: &Path) -> Result<BTreeMap<OsString, Metadata>> {
    let context = || format!("cannot read {}", directory.display());
    let mut entries = BTreeMap::new();
    for entry in fs::read_dir(directory).with_context(context)? {
        let entry = entry.with_context(context)?;
        let metadata = fs::symlink_metadata(entry.path()).with_context(context)?;
        if metadata.is_dir() || metadata.is_file() || metadata.is_symlink() {
            entries.insert(entry.file_name(), metadata);
        }
    }
    Ok(entries)
}

fn same_directory(original: &Path, copy: &Path) -> Result<()> {
    let (originals, mut copies) = (entries(original)?, entries(copy)?);
    for (name, metadata) in originals {
        let (left, right) = (original.join(&name), copy.join(&name));
        let Some(other) = copies.remove(&name) else {
            bail!("{} is missing in the download", left.display());
        };
        if metadata.file_type() != other.file_type() {
            bail!("{} has another type in the download", left.display());
        }
        if metadata.is_symlink() {
            if fs::read_link(&left)? != fs::read_link(&right)? {
                bail!("{} points elsewhere in the download", left.display());
            }
            continue;
        }
        if metadata.mode() & PERMISSIONS != other.mode() & PERMISSIONS {
            bail!("{} has other permissions in the download", left.display());
        }
        if metadata.is_dir() {
            same_directory(&left, &right)?;
        } else {
            same_bytes(&left, &right)?;
            if metadata.mtime() != other.mtime() {
                bail!("{} has another modification time in the download", left.display());
            }
        }
    }
    if let Some(name) = copies.keys().next() {
        bail!("{} is in the download only", copy.join(name).display());
    }
    Ok(())
}

fn same_bytes(original: &Path, copy: &Path) -> Result<()> {
    let open = |path: &Path| {
        File::open(path)
            .map(BufReader::new)
            .with_context(|| format!("cannot open {}", path.display()))
    };
    let (mut left, mut right) = (open(original)?, open(copy)?);
    let mut at = 0_u64;
    loop {
        let mut left_block = Vec::with_capacity(BLOCK_BYTES);
        let mut right_block = Vec::with_capacity(BLOCK_BYTES);
        left.by_ref().take(BLOCK_BYTES as u64).read_to_end(&mut left_block)?;
        right.by_ref().take(BLOCK_BYTES as u64).read_to_end(&mut right_block)?;
        if left_block != right_block {
            let same = left_block.iter().zip(&right_block).take_while(|(a, b)| a == b).count();
            bail!("{} differs from byte {}", copy.display(), at + same as u64);
        }
        if left_block.is_empty() {
            return Ok(());
        }
        at += left_block.len() as u64;
    }
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::path::PathBuf;
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    fn message(result: Result<()>) -> String {
        result.unwrap_err().to_string()
    }

    #[test]
    fn files_differ_at_an_exact_byte() {
        let directory = tempfile::tempdir().unwrap();
        let (a, b) = (directory.path().join("a"), directory.path().join("b"));
        let mut bytes = vec![7; BLOCK_BYTES + 9];
        fs::write(&a, &bytes).unwrap();
        fs::write(&b, &bytes).unwrap();
        same(&a, &b).unwrap();
        bytes[BLOCK_BYTES + 3] = 8;
        fs::write(&b, &bytes).unwrap();
        assert_eq!(
            message(same(&a, &b)),
            format!("{} differs from byte {}", b.display(), BLOCK_BYTES + 3)
        );
        fs::write(&b, vec![7; 5]).unwrap();
        assert_eq!(message(same(&a, &b)), format!("{} differs from byte 5", b.display()));
    }

    /// A directory with a file, an empty directory and a link that leads nowhere.
    fn tree(parent: &Path, name: &str) -> PathBuf {
        let root = parent.join(name);
        fs::create_dir_all(root.join("empty")).unwrap();
        fs::write(root.join("file"), "abc").unwrap();
        File::options()
            .write(true)
            .open(root.join("file"))
            .unwrap()
            .set_modified(UNIX_EPOCH + Duration::from_secs(1_000_000_000))
            .unwrap();
        symlink("nowhere", root.join("link")).unwrap();
        root
    }

    #[test]
    fn every_difference_of_trees_is_found() {
        type Change = fn(&Path);
        let changes: &[(Change, &str)] = &[
            (|root| fs::remove_dir(root.join("empty")).unwrap(), "is missing in the download"),
            (|root| fs::write(root.join("new"), "").unwrap(), "is in the download only"),
            (|root| fs::write(root.join("file"), "abd").unwrap(), "differs from byte 2"),
            (
                |root| fs::write(root.join("file"), "abc").unwrap(),
                "has another modification time in the download",
            ),
            (
                |root| {
                    fs::set_permissions(root.join("file"), Permissions::from_mode(0o711)).unwrap();
                },
                "has other permissions in the download",
            ),
            (
                |root| {
                    fs::remove_file(root.join("link")).unwrap();
                    symlink("file", root.join("link")).unwrap();
                },
                "points elsewhere in the download",
            ),
            (
                |root| {
                    fs::remove_dir(root.join("empty")).unwrap();
                    fs::write(root.join("empty"), "").unwrap();
                },
                "has another type in the download",
            ),
        ];
        let directory = tempfile::tempdir().unwrap();
        let original = tree(directory.path(), "original");
        assert_eq!(total_bytes(&original).unwrap(), 3);
        same(&original, &tree(directory.path(), "same")).unwrap();
        for (index, (change, expected)) in changes.iter().enumerate() {
            let copy = tree(directory.path(), &index.to_string());
            change(&copy);
            let found = message(same(&original, &copy));
            assert!(found.ends_with(expected), "expected {expected:?}, found {found:?}");
        }
    }
}
