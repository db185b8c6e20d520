use std::{
    fs::{self, DirBuilder, File, Permissions},
    io,
    os::{
        fd::AsRawFd,
        unix::fs::{DirBuilderExt, PermissionsExt},
    },
    path::{Path, PathBuf},
};

/// Below the data directory.
const DIR: &str = "run";

/// The longest path that is bound as it is, in bytes. An address has 104 at least, a zero included.
const MAX_PATH_BYTES: usize = 100;

/// Where the sockets of a data directory are.
#[derive(Debug)]
pub(super) struct Place(PathBuf);

impl Place {
    pub(super) fn of(data_dir: &Path) -> Self {
        Self(data_dir.join(DIR))
    }

    /// Makes the directory, for its user only.
    pub(super) fn make(&self) -> io::Result<()> {
        match DirBuilder::new().mode(0o700).create(&self.0) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            other => other?,
        }
        if !fs::symlink_metadata(&self.0)?.is_dir() {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        fs::set_permissions(&self.0, Permissions::from_mode(0o700))
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// The names in it; none when it is not there.
    pub(super) fn names(&self) -> io::Result<Vec<String>> {
        let entries = match fs::read_dir(&self.0) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other?,
        };
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        Ok(names.collect())
    }

    /// A path of it that is short enough for a socket's address.
    pub(super) fn short(&self, name: &str) -> io::Result<Short> {
        let path = self.path(name);
        if path.as_os_str().len() <= MAX_PATH_BYTES {
            return Ok(Short { path, _dir: None });
        }
        let dir = File::open(&self.0)?;
        let path = PathBuf::from(format!("/proc/self/fd/{}/{name}", dir.as_raw_fd()));
        Ok(Short { path, _dir: Some(dir) })
    }
}

/// A path, good while this lives.
#[derive(Debug)]
pub(super) struct Short {
    pub(super) path: PathBuf,
    /// By way of which a long one is named.
    _dir: Option<File>,
}

/// The name of a process's socket.
pub(super) fn name_of(pid: u32) -> String {
    format!("{pid}.sock")
}

/// Whose socket it is, if it has the name of one.
pub(super) fn process_of(name: &str) -> Option<u32> {
    name.strip_suffix(".sock")?.parse().ok()
}
