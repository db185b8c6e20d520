use std::{
    ffi::{OsStr, OsString},
    fs::File,
    os::unix::ffi::OsStrExt,
};

use rustix::{
    fd::AsFd,
    fs::{
        AtFlags, Dir, FileType, RenameFlags, Timespec, Timestamps, linkat, renameat, statat,
        unlinkat,
    },
    io::Errno,
};

use crate::{Entry, EntryKind, FileStat, Overwrite};

/// Renames; under [`Overwrite::Never`] atomically onto a free name only.
pub(super) fn rename_fresh(
    from: (&File, &OsStr),
    to: (&File, &OsStr),
    overwrite: Overwrite,
) -> rustix::io::Result<()> {
    if overwrite == Overwrite::Replace {
        return renameat(from.0, from.1, to.0, to.1);
    }
    match rename_noreplace(from, to) {
        // Kernels and file systems without it: a second name can only be given if it is free.
        Err(Errno::NOSYS | Errno::INVAL | Errno::NOTSUP) => link_fresh(from, to),
        other => other,
    }
}

/// Renames onto a free name without the system's help.
pub(super) fn link_fresh(from: (&File, &OsStr), to: (&File, &OsStr)) -> rustix::io::Result<()> {
    let kind = statat(from.0, from.1, AtFlags::SYMLINK_NOFOLLOW)?.st_mode;
    if FileType::from_raw_mode(kind) != FileType::Directory {
        linkat(from.0, from.1, to.0, to.1, AtFlags::empty())?;
        return unlinkat(from.0, from.1, AtFlags::empty());
    }
    // A directory has one name only. Should something appear between these two calls, the second
    // fails, or it replaces an empty directory: nothing is lost.
    match statat(to.0, to.1, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(_) => Err(Errno::EXIST),
        Err(Errno::NOENT) => renameat(from.0, from.1, to.0, to.1),
        Err(error) => Err(error),
    }
}

#[cfg(any(target_os = "linux", target_os = "macos"))]
fn rename_noreplace(from: (&File, &OsStr), to: (&File, &OsStr)) -> rustix::io::Result<()> {
    rustix::fs::renameat_with(from.0, from.1, to.0, to.1, RenameFlags::NOREPLACE)
}

#[cfg(not(any(target_os = "linux", target_os = "macos")))]
fn rename_noreplace(_from: (&File, &OsStr), _to: (&File, &OsStr)) -> rustix::io::Result<()> {
    Err(Errno::NOSYS)
}

/// The time of the last change of contents; the time of the last access stays as it is.
pub(super) fn times((seconds, nanoseconds): (i64, u32)) -> Timestamps {
    Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_OMIT },
        last_modification: Timespec { tv_sec: seconds, tv_nsec: nanoseconds.into() },
    }
}

pub(super) fn list(dir: &File) -> rustix::io::Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for entry in Dir::read_from(dir.as_fd())? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name == b"." || name == b".." {
            continue;
        }
        let kind = match entry.file_type() {
            FileType::Unknown => {
                match statat(dir, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW) {
                    Ok(stat) => entry_kind(FileType::from_raw_mode(stat.st_mode)),
                    // Gone since it was listed.
                    Err(Errno::NOENT) => continue,
                    Err(error) => return Err(error),
                }
            }
            known => entry_kind(known),
        };
        entries.push(Entry { name: OsString::from(OsStr::from_bytes(name)).into(), kind });
    }
    Ok(entries)
}

fn entry_kind(kind: FileType) -> EntryKind {
    match kind {
        FileType::RegularFile => EntryKind::File,
        FileType::Directory => EntryKind::Dir,
        FileType::Symlink => EntryKind::Link,
        _ => EntryKind::Other,
    }
}

/// Systems differ in the widths and signs of these; all fit.
pub(super) fn file_stat(stat: &rustix::fs::Stat) -> FileStat {
    fn bits(value: impl Into<i128>) -> u64 {
        u64::try_from(value.into() & i128::from(u64::MAX)).unwrap_or(0)
    }
    FileStat {
        kind: entry_kind(FileType::from_raw_mode(stat.st_mode)),
        len: bits(stat.st_size),
        modified: (stat.st_mtime, u32::try_from(bits(stat.st_mtime_nsec)).unwrap_or(0)),
        identity: (bits(stat.st_dev), bits(stat.st_ino)),
        mode: u32::try_from(bits(stat.st_mode)).unwrap_or(0) & 0o7777,
    }
}
