use std::{ffi::OsStr, fs::File, sync::atomic::AtomicBool};

use fs2::FileExt as _;
use rustix::{
    fs::{AtFlags, FileType, OFlags, Stat, fstat, openat, statat, unlinkat},
    io::{Errno, retry_on_intr},
};

use super::{LOCK_TRIES, NewFile, Step, file_stat, new_file::permissions_of};
use crate::{DiskError, DiskOp, Mode};

/// Opens and locks the file called `unfinished` in `dir`; `at` is its own path, `step` that of the
/// name which it gets in the end.
pub(super) fn resume(
    (step, at): (Step, &Step),
    dir: File,
    (name, unfinished): (&OsStr, &OsStr),
    mode: Mode,
) -> Result<NewFile, DiskError> {
    let flags = OFlags::RDWR
        | OFlags::CREATE
        | OFlags::NOFOLLOW
        | OFlags::NONBLOCK
        | OFlags::NOCTTY
        | OFlags::CLOEXEC;
    for _ in 0..LOCK_TRIES {
        let open = || retry_on_intr(|| openat(&dir, unfinished, flags, permissions_of(mode)));
        let file = File::from(at.change(DiskOp::Open, open)?);
        let kind = at.look(DiskOp::Stat, || fstat(&file))?.st_mode;
        if FileType::from_raw_mode(kind) != FileType::RegularFile {
            return Err(at.bad_path());
        }
        let locked = at.change(DiskOp::Lock, || file.try_lock_exclusive());
        if let Err(DiskError::Io { source, .. }) = &locked
            && source.kind() == fs2::lock_contended_error().kind()
        {
            return Err(DiskError::Locked { path: at.path.clone() });
        }
        locked?;
        // Whoever held the lock may have finished or removed the file in between.
        let ours = at.look(DiskOp::Stat, || fstat(&file))?;
        if !is_named(at, &dir, unfinished, &ours)? {
            continue;
        }
        // Its name can be guessed: what somebody else put there, they could change after it was
        // verified, and what has a second name would be written into.
        if ours.st_uid != rustix::process::geteuid().as_raw() || ours.st_nlink != 1 {
            at.change(DiskOp::Remove, || unlinkat(&dir, unfinished, AtFlags::empty()))?;
            continue;
        }
        let kept = AtomicBool::new(file_stat(&ours).len > 0);
        let (temporary, name) = (Some(unfinished.to_owned()), name.to_owned());
        return Ok(NewFile { step, dir, file, temporary, name, kept });
    }
    Err(DiskError::Locked { path: at.path.clone() })
}

/// Whether this name is still that of the file.
pub(super) fn is_named(
    at: &Step,
    dir: &File,
    name: &OsStr,
    ours: &Stat,
) -> Result<bool, DiskError> {
    at.look(DiskOp::Stat, || match statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => Ok(false),
        other => other.map(|named| file_stat(&named).identity == file_stat(ours).identity),
    })
}
