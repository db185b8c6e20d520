use std::{fs::File, io, os::unix::fs::FileExt};

use super::{Step, file_stat};
use crate::{DiskError, DiskOp, FileLock, FileStat, ReadAt};

/// A regular file open for reading.
#[derive(Debug)]
pub(super) struct OpenFile {
    pub(super) step: Step,
    pub(super) file: File,
}

impl ReadAt for OpenFile {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, DiskError> {
        read_at(&self.step, &self.file, offset, buffer)
    }

    fn stat(&self) -> Result<FileStat, DiskError> {
        stat(&self.step, &self.file)
    }
}

pub(super) fn read_at(
    step: &Step,
    file: &File,
    offset: u64,
    buffer: &mut [u8],
) -> Result<usize, DiskError> {
    step.look(DiskOp::Read, || {
        let mut filled = 0;
        while filled < buffer.len() {
            match file.read_at(&mut buffer[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    })
}

pub(super) fn stat(step: &Step, file: &File) -> Result<FileStat, DiskError> {
    step.look(DiskOp::Stat, || rustix::fs::fstat(file)).map(|stat| file_stat(&stat))
}

/// A locked file; the lock goes when it is closed.
#[derive(Debug)]
pub(super) struct HeldLock {
    pub(super) _file: File,
}

impl FileLock for HeldLock {}
