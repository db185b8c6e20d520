use std::{
    fs::File,
    io::{self, Write},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustix::io::Errno;

use crate::{DiskError, DiskOp, Faults};

/// Makes the single steps of one call on one path: counts each for [`Faults`] and gives each
/// failure its type.
#[derive(Clone, Debug)]
pub(super) struct Step {
    pub(super) faults: Option<Arc<Faults>>,
    /// The path as messages show it.
    pub(super) path: PathBuf,
}

impl Step {
    /// A step that changes the disk.
    pub(super) fn change<T, E: Into<io::Error>>(
        &self,
        op: DiskOp,
        call: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, DiskError> {
        self.hit(op, true)?;
        call().map_err(|error| self.error(op, error.into()))
    }

    /// A step that only reads.
    pub(super) fn look<T, E: Into<io::Error>>(
        &self,
        op: DiskOp,
        call: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, DiskError> {
        self.hit(op, false)?;
        call().map_err(|error| self.error(op, error.into()))
    }

    /// Writes all of `bytes`; a fault that is planned here gets half of them down first.
    pub(super) fn write(&self, file: &File, offset: u64, bytes: &[u8]) -> Result<(), DiskError> {
        if let Err(error) = self.hit(DiskOp::Write, true) {
            // The planned fault is what is reported, whatever becomes of the half.
            let _ = file.write_all_at(&bytes[..bytes.len() / 2], offset);
            return Err(error);
        }
        file.write_all_at(bytes, offset).map_err(|error| self.error(DiskOp::Write, error))
    }

    /// The same at the end of a file that was opened to append.
    pub(super) fn append(&self, file: &mut File, bytes: &[u8]) -> Result<(), DiskError> {
        if let Err(error) = self.hit(DiskOp::Write, true) {
            let _ = file.write_all(&bytes[..bytes.len() / 2]);
            return Err(error);
        }
        file.write_all(bytes).map_err(|error| self.error(DiskOp::Write, error))
    }

    pub(super) fn bad_path(&self) -> DiskError {
        DiskError::BadPath { path: self.path.clone() }
    }

    fn hit(&self, op: DiskOp, changes: bool) -> Result<(), DiskError> {
        self.faults.as_ref().map_or(Ok(()), |faults| faults.hit(op, changes, &self.path))
    }

    pub(super) fn error(&self, op: DiskOp, source: io::Error) -> DiskError {
        typed(op, &self.path, source)
    }
}

/// Gives what the system said its type.
pub(super) fn typed(op: DiskOp, path: &Path, source: io::Error) -> DiskError {
    let path = path.to_owned();
    let errno = Errno::from_io_error(&source);
    if errno == Some(Errno::NOENT) {
        DiskError::NotFound { path }
    } else if errno == Some(Errno::EXIST) {
        DiskError::Exists { path }
    } else if errno.is_some_and(|errno| is_bad_path(op, errno)) {
        DiskError::BadPath { path }
    } else if errno == Some(Errno::NOSPC) || errno == Some(Errno::DQUOT) {
        DiskError::Full { op, path }
    } else if errno.is_some_and(|errno| [Errno::ACCESS, Errno::PERM, Errno::ROFS].contains(&errno))
    {
        DiskError::Denied { op, path }
    } else {
        DiskError::Io { op, path, source }
    }
}

fn is_bad_path(op: DiskOp, errno: Errno) -> bool {
    let always = [Errno::LOOP, Errno::NOTDIR, Errno::ISDIR, Errno::NAMETOOLONG];
    // While opening: out of the root, and a socket or a pipe that nobody reads.
    let opening = [Errno::XDEV, Errno::NXIO];
    always.contains(&errno) || op == DiskOp::Open && opening.contains(&errno)
}
