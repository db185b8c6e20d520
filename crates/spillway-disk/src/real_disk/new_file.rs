use std::{
    ffi::{OsStr, OsString},
    fs::File,
    sync::atomic::{AtomicBool, Ordering},
};

use rustix::{
    fs::{AtFlags, Mode as Permissions, OFlags, Timestamps, fstat, openat, unlinkat},
    io::{Errno, retry_on_intr},
};

use super::{
    Step,
    open_file::{read_at, stat},
    rename_fresh, times,
    unfinished::is_named,
};
use crate::{
    DiskError, DiskOp, FileStat, Mode, Overwrite, ReadAt, TEMPORARY_PREFIX, Unfinished, WriteAt,
};

/// How often another name is drawn when a temporary name is taken. Names have 64 random bits: one
/// collision is unheard of, this many mean that something else is wrong.
const TEMPORARY_NAME_TRIES: u32 = 16;

/// A file under a temporary name, in the directory where it will be.
#[derive(Debug)]
pub(super) struct NewFile {
    pub(super) step: Step,
    pub(super) dir: File,
    pub(super) file: File,
    /// The temporary name, until it is gone.
    pub(super) temporary: Option<OsString>,
    pub(super) name: OsString,
    /// Whether the file stays under its temporary name when this is dropped.
    pub(super) kept: AtomicBool,
}

impl NewFile {
    pub(super) fn begin(
        step: Step,
        dir: File,
        name: &OsStr,
        mode: Mode,
    ) -> Result<Self, DiskError> {
        let permissions = permissions_of(mode);
        let flags = OFlags::RDWR
            | OFlags::CREATE
            | OFlags::EXCL
            | OFlags::NOFOLLOW
            | OFlags::NONBLOCK
            | OFlags::CLOEXEC;
        let (temporary, file) = step.change(DiskOp::Open, || {
            for _ in 0..TEMPORARY_NAME_TRIES {
                let temporary =
                    OsString::from(format!("{TEMPORARY_PREFIX}{:016x}", fastrand::u64(..)));
                match retry_on_intr(|| openat(&dir, &temporary, flags, permissions)) {
                    Ok(fd) => return Ok((temporary, File::from(fd))),
                    Err(Errno::EXIST) => {}
                    Err(error) => return Err(error),
                }
            }
            Err(Errno::AGAIN)
        })?;
        let (temporary, name) = (Some(temporary), name.to_owned());
        Ok(Self { step, dir, file, temporary, name, kept: AtomicBool::new(false) })
    }

    pub(super) fn publish(mut self, overwrite: Overwrite) -> Result<(), DiskError> {
        self.step.change(DiskOp::Sync, || self.file.sync_all())?;
        if let Some(temporary) = &self.temporary {
            // The name of an unfinished file can be guessed: another may have it by now.
            let ours = self.step.look(DiskOp::Stat, || fstat(&self.file))?;
            if !is_named(&self.step, &self.dir, temporary, &ours)? {
                return Err(DiskError::NotFound { path: self.step.path.with_file_name(temporary) });
            }
            self.step.change(DiskOp::Rename, || {
                rename_fresh((&self.dir, temporary), (&self.dir, &self.name), overwrite)
            })?;
            self.temporary = None;
        }
        self.step.change(DiskOp::Sync, || self.dir.sync_all())
    }
}

impl WriteAt for NewFile {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<(), DiskError> {
        self.step.write(&self.file, offset, bytes)
    }

    fn set_attributes(&self, mode: u32, modified: (i64, u32)) -> Result<(), DiskError> {
        self.step.change(DiskOp::Stat, || set_on(&self.file, mode, &times(modified)))
    }

    fn persist(self: Box<Self>, overwrite: Overwrite) -> Result<(), DiskError> {
        self.publish(overwrite)
    }
}

impl ReadAt for NewFile {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, DiskError> {
        read_at(&self.step, &self.file, offset, buffer)
    }

    fn stat(&self) -> Result<FileStat, DiskError> {
        stat(&self.step, &self.file)
    }
}

impl Unfinished for NewFile {
    fn keep(&self, keep: bool) {
        self.kept.store(keep, Ordering::Relaxed);
    }

    fn set_len(&self, len: u64) -> Result<(), DiskError> {
        self.step.change(DiskOp::Write, || self.file.set_len(len))
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if *self.kept.get_mut() {
            return;
        }
        if let Some(temporary) = self.temporary.take() {
            // Whoever owns the directory removes what could not be removed here, at its next start.
            let _ = self
                .step
                .change(DiskOp::Remove, || unlinkat(&self.dir, &temporary, AtFlags::empty()));
        }
    }
}

/// What the system takes the umask from.
pub(super) fn permissions_of(mode: Mode) -> Permissions {
    match mode {
        Mode::Private => Permissions::from_raw_mode(0o600),
        Mode::Shared => Permissions::from_raw_mode(0o666),
    }
}

/// Sets permission bits and times of an open file.
pub(super) fn set_on(file: &File, mode: u32, times: &Timestamps) -> rustix::io::Result<()> {
    rustix::fs::fchmod(file, permissions(mode))?;
    rustix::fs::futimens(file, times)
}

fn permissions(mode: u32) -> Permissions {
    // The low nine bits fit every system's type.
    Permissions::from_bits_truncate(rustix::fs::RawMode::from((mode & 0o777) as u16))
}
