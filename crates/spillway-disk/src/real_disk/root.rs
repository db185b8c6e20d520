use std::{
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
};

use rustix::{
    fd::OwnedFd,
    fs::{Mode, OFlags, openat},
    io::{Errno, Result, retry_on_intr},
};

/// How a directory is opened only to find something in it: no right to list it is needed.
#[cfg(target_os = "linux")]
pub(super) const WALK: OFlags = OFlags::PATH.union(OFlags::DIRECTORY);
#[cfg(not(target_os = "linux"))]
pub(super) const WALK: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY);

/// How a directory is opened to be listed or synced.
pub(super) const READ_DIR: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY);

/// The directory that everything is beneath, held open: renaming it, or putting something else in
/// its place, changes nothing about what is reached through it.
#[derive(Debug)]
pub(super) struct Root {
    fd: OwnedFd,
    pub(super) path: PathBuf,
    /// The kernel does not resolve beneath a directory for us: walk name by name.
    walk_only: AtomicBool,
}

impl Root {
    pub(super) fn open(path: &Path) -> Result<Self> {
        let here = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        let flags = WALK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = retry_on_intr(|| rustix::fs::open(here, flags, Mode::empty()))?;
        let walk_only = AtomicBool::new(cfg!(not(target_os = "linux")));
        Ok(Self { fd, path: path.to_owned(), walk_only })
    }

    #[cfg(test)]
    pub(super) fn walk_name_by_name(&self) {
        self.walk_only.store(true, Ordering::Relaxed);
    }

    /// Opens what these names lead to, through no link. `flags` say what for.
    pub(super) fn open_at(&self, parts: &[&OsStr], flags: OFlags, mode: Mode) -> Result<OwnedFd> {
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        if parts.is_empty() {
            return retry_on_intr(|| openat(&self.fd, ".", flags, mode));
        }
        if self.walk_only.load(Ordering::Relaxed) {
            return self.walk(parts, flags, mode);
        }
        match self.beneath(parts, flags, mode) {
            Err(Errno::NOSYS) => {
                self.walk_only.store(true, Ordering::Relaxed);
                self.walk(parts, flags, mode)
            }
            // Old container sandboxes say this of system calls that they do not know.
            Err(Errno::PERM) => self.walk(parts, flags, mode),
            other => other,
        }
    }

    #[cfg(target_os = "linux")]
    fn beneath(&self, parts: &[&OsStr], flags: OFlags, mode: Mode) -> Result<OwnedFd> {
        use rustix::fs::{ResolveFlags, openat2};

        let path: OsString = parts.join(OsStr::new("/"));
        let resolve =
            ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        retry_on_intr(|| openat2(&self.fd, &path, flags, mode, resolve))
    }

    #[cfg(not(target_os = "linux"))]
    fn beneath(&self, parts: &[&OsStr], flags: OFlags, mode: Mode) -> Result<OwnedFd> {
        self.walk(parts, flags, mode)
    }

    /// Name by name: each directory is opened from the one before and must be one itself, so a swap
    /// in between leads nowhere else.
    fn walk(&self, parts: &[&OsStr], flags: OFlags, mode: Mode) -> Result<OwnedFd> {
        let (last, parents) = parts.split_last().ok_or(Errno::NOENT)?;
        let step = WALK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut dir: Option<OwnedFd> = None;
        for part in parents {
            let from = dir.as_ref().unwrap_or(&self.fd);
            let next = retry_on_intr(|| openat(from, *part, step, Mode::empty()))?;
            dir = Some(next);
        }
        let from = dir.as_ref().unwrap_or(&self.fd);
        retry_on_intr(|| openat(from, *last, flags, mode))
    }
}
