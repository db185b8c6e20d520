use std::{
    ffi::{OsStr, OsString},
    fs::File,
};

use rustix::{
    fs::{AtFlags, Mode as Permissions, OFlags, Timestamps, openat, unlinkat},
    io::{Errno, retry_on_intr},
};

use super::{Step, rename_fresh, times};
use crate::{DiskError, DiskOp, Mode, Overwrite, TEMPORARY_PREFIX, WriteAt};

/// How often another name is drawn when a temporary name is taken. Names have 64 random bits: one
/// collision is unheard of, this many mean that something else is wrong.
const TEMPORARY_NAME_TRIES: u32 = 16;

/// A file under a temporary name, in the directory where it will be.
#[derive(Debug)]
pub(super) struct NewFile {
    step: Step,
    dir: File,
    file: File,
    /// The temporary name, until it is gone.
    temporary: Option<OsString>,
    name: OsString,
}

impl NewFile {
    pub(super) fn begin(
        step: Step,
        dir: File,
        name: &OsStr,
        mode: Mode,
    ) -> Result<Self, DiskError> {
        let permissions = match mode {
            Mode::Private => Permissions::from_raw_mode(0o600),
            Mode::Shared => Permissions::from_raw_mode(0o666),
        };
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
        Ok(Self { step, dir, file, temporary: Some(temporary), name: name.to_owned() })
    }

    pub(super) fn publish(mut self, overwrite: Overwrite) -> Result<(), DiskError> {
        self.step.change(DiskOp::Sync, || self.file.sync_all())?;
        if let Some(temporary) = &self.temporary {
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

impl Drop for NewFile {
    fn drop(&mut self) {
        if let Some(temporary) = self.temporary.take() {
            // Whoever owns the directory removes what could not be removed here, at its next start.
            let _ = self
                .step
                .change(DiskOp::Remove, || unlinkat(&self.dir, &temporary, AtFlags::empty()));
        }
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
