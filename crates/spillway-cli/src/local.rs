//! Local files and directories as a user names them.

use std::{
    ffi::OsStr,
    fs,
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use spillway_client::{Disk, DiskError, DiskExt, EntryKind, Mode, Overwrite, RealDisk};

use crate::exit::{Code, Failure};

/// Standard input or output.
pub(crate) fn is_stream(path: &Path) -> bool {
    path.as_os_str() == "-"
}

/// A file or directory that is there and can be read: the directory that it is in, and its name.
/// Links that the user names are followed; what is below is not.
///
/// # Errors
/// When it is not there, or neither a file nor a directory, or cannot be read.
pub(crate) fn readable(path: &Path) -> Result<(Arc<dyn Disk>, PathBuf), Failure> {
    let real = resolve(path)?;
    let (parent, name) = match (real.parent(), real.file_name()) {
        (Some(parent), Some(name)) => (parent, PathBuf::from(name)),
        _ => (real.as_path(), PathBuf::new()),
    };
    let disk = RealDisk::open(parent)?;
    match disk.stat(&name)?.kind {
        EntryKind::File => drop(disk.open(&name)?),
        EntryKind::Dir => drop(disk.list(&name)?),
        EntryKind::Link | EntryKind::Other => {
            let message = format!("{} is neither a file nor a directory", path.display());
            return Err(Failure::usage(message).hint("pipe it in with - instead of a path"));
        }
    }
    Ok((Arc::new(disk), name))
}

/// The whole of a file of at most `limit` bytes.
///
/// # Errors
/// When it is not there, cannot be read, or is longer.
pub(crate) fn read(path: &Path, limit: u64) -> Result<Vec<u8>, Failure> {
    let (disk, name) = readable(path)?;
    Ok(disk.read(&name, limit)?)
}

/// Bytes of a text that this program is told to read, at most. The manifest of a test network is the
/// longest one, with about 200 bytes a node.
const MAX_TEXT_BYTES: u64 = 1 << 20;

/// A small text that this program is told to read, such as its settings. A pipe will do.
///
/// # Errors
/// When it is not there, cannot be read, or is longer than 1 MiB; the failure names it as `what` and
/// says `hint`.
pub(crate) fn read_text(path: &Path, what: &str, hint: &str) -> Result<String, Failure> {
    let read = || {
        let mut text = String::new();
        fs::File::open(path)?.take(MAX_TEXT_BYTES + 1).read_to_string(&mut text)?;
        if text.len() as u64 > MAX_TEXT_BYTES {
            return Err(io::Error::other(format!("more than {MAX_TEXT_BYTES} bytes")));
        }
        Ok(text)
    };
    read().map_err(|error: io::Error| {
        let path = path.display();
        let failure = if error.kind() == io::ErrorKind::NotFound {
            Failure::new(Code::NotFound, format!("{what} {path} does not exist"))
        } else {
            Failure::new(Code::Failure, format!("cannot read {what} {path}: {error}"))
        };
        failure.hint(hint)
    })
}

/// The name that a user would give to it: of `.` and `..`, that of the directory.
pub(crate) fn name_of(path: &Path) -> Result<PathBuf, Failure> {
    if let Some(name) = path.file_name() {
        return Ok(name.into());
    }
    let real = resolve(path)?;
    real.file_name().map(PathBuf::from).ok_or_else(|| {
        Failure::usage(format!("{} has no name", path.display()))
            .hint("say where the data map goes with -o")
    })
}

fn resolve(path: &Path) -> Result<PathBuf, Failure> {
    fs::canonicalize(path).map_err(|error| unresolved(path, &error))
}

fn unresolved(path: &Path, error: &io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::NotFound => {
            let message = format!("{} does not exist", path.display());
            Failure::new(Code::NotFound, message).hint("check the path")
        }
        io::ErrorKind::PermissionDenied => {
            let message = format!("no permission to look at {}", path.display());
            Failure::new(Code::Failure, message).hint("check owner and permissions")
        }
        _ => Failure::new(Code::Failure, format!("cannot look at {}: {error}", path.display())),
    }
}

/// Makes sure that what is written does not replace what is read.
///
/// # Errors
/// When both are one file, under whatever names.
pub(crate) fn differs(input: &Path, output: &Path) -> Result<(), Failure> {
    let identity = |path: &Path| fs::metadata(path).ok().map(|file| (file.dev(), file.ino()));
    if is_stream(input) || is_stream(output) || identity(output).is_none() {
        return Ok(());
    }
    if identity(input) != identity(output) {
        return Ok(());
    }
    let message = format!("{} would be replaced by its own result", input.display());
    Err(Failure::usage(message).hint("choose another -o"))
}

/// A place for a file or directory that is to be made.
#[derive(Clone, Debug)]
pub(crate) struct Output {
    /// The directory that it goes in.
    pub(crate) disk: Arc<dyn Disk>,
    /// Its name in there.
    pub(crate) name: PathBuf,
    /// Whether what is there may be replaced.
    pub(crate) overwrite: Overwrite,
    /// The path as it was given.
    pub(crate) path: PathBuf,
}

impl Output {
    /// Makes sure, before anything is asked or paid, that something can be written there.
    ///
    /// # Errors
    /// When there is something and `overwrite` was not said, or the directory is not there or
    /// cannot be written to.
    pub(crate) fn check(path: &Path, overwrite: bool) -> Result<Self, Failure> {
        let output = Self::at(path, overwrite)?;
        if !overwrite && output.disk.exists(&output.name)? {
            return Err(DiskError::Exists { path: path.to_owned() }.into());
        }
        output.writable()
    }

    /// The same for bytes that are known: a file that has them will do, and is left as it is. `None` when
    /// something else is there.
    ///
    /// # Errors
    /// When the directory is not there or cannot be written to.
    pub(crate) fn check_for(path: &Path, bytes: &[u8]) -> Result<Option<Self>, Failure> {
        let output = Self::at(path, false)?;
        if output.disk.exists(&output.name)? && !output.holds(bytes) {
            return Ok(None);
        }
        output.writable().map(Some)
    }

    fn at(path: &Path, overwrite: bool) -> Result<Self, Failure> {
        let name = path.file_name().map(PathBuf::from).ok_or_else(|| {
            Failure::usage(format!("{} does not name what to write", path.display()))
                .hint("end the path with a name, such as ./NAME")
        })?;
        let parent = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let disk = RealDisk::open(&resolve(parent)?)?;
        Ok(Self {
            disk: Arc::new(disk),
            name,
            overwrite: if overwrite { Overwrite::Replace } else { Overwrite::Never },
            path: path.to_owned(),
        })
    }

    fn writable(self) -> Result<Self, Failure> {
        // A file that is never given its name goes away by itself.
        drop(self.disk.create(&self.name, Mode::Private)?);
        Ok(self)
    }

    /// Whether a file with just these bytes is there.
    fn holds(&self, bytes: &[u8]) -> bool {
        let len = bytes.len() as u64;
        let stat = self.disk.stat(&self.name);
        stat.is_ok_and(|stat| stat.kind == EntryKind::File && stat.len == len)
            && self.disk.read(&self.name, len).is_ok_and(|found| found == bytes)
    }

    /// Writes a file, durably and at once: whole or not at all. One that has these bytes already is as
    /// good as written.
    ///
    /// # Errors
    /// What the disk says.
    pub(crate) fn write(&self, bytes: &[u8], mode: Mode) -> Result<(), DiskError> {
        let file = self.disk.create(&self.name, mode)?;
        file.write_at(0, bytes)?;
        match file.persist(self.overwrite) {
            Err(DiskError::Exists { .. }) if self.holds(bytes) => Ok(()),
            outcome => outcome,
        }
    }
}

/// `NAME.datamap`.
pub(crate) fn data_map_name(name: &Path) -> PathBuf {
    let mut file = name.as_os_str().to_owned();
    file.push(OsStr::new(".datamap"));
    file.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_replaced_unasked() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out");
        fs::write(&path, "old").unwrap();
        let failure = Output::check(&path, false).unwrap_err();
        assert_eq!(failure.message, format!("{} exists already", path.display()));
        assert_eq!(failure.code, Code::Failure);
        let output = Output::check(&path, true).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "old");
        output.write(b"new", Mode::Private).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_file_that_came_in_between_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out");
        let output = Output::check(&path, false).unwrap();
        fs::write(&path, "other").unwrap();
        let error = output.write(b"new", Mode::Private).unwrap_err();
        assert!(matches!(error, DiskError::Exists { .. }), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "other");
    }

    #[test]
    fn what_is_there_already_is_as_good_as_written_and_nothing_else_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out");
        let output = Output::check_for(&path, b"map").unwrap().unwrap();
        output.write(b"map", Mode::Private).unwrap();
        let again = Output::check_for(&path, b"map").unwrap().unwrap();
        again.write(b"map", Mode::Private).unwrap();
        for other in [&b"new"[..], b"longer", b""] {
            assert!(Output::check_for(&path, other).unwrap().is_none());
        }
        // Replaced between: that stays.
        fs::write(&path, "new").unwrap();
        let error = again.write(b"map", Mode::Private).unwrap_err();
        assert!(matches!(error, DiskError::Exists { .. }), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
        assert!(Output::check_for(dir.path(), b"map").unwrap().is_none());
    }

    #[test]
    fn a_data_map_is_private() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out");
        Output::check(&path, false).unwrap().write(b"map", Mode::Private).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn names_are_what_a_user_would_say() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(name_of(Path::new("a/b.tar")).unwrap(), Path::new("b.tar"));
        assert_eq!(name_of(Path::new("a/b/")).unwrap(), Path::new("b"));
        let inner = dir.path().join("inner");
        fs::create_dir(&inner).unwrap();
        assert_eq!(name_of(&inner.join("../inner/.")).unwrap(), Path::new("inner"));
        assert_eq!(name_of(&inner.join("..")).unwrap(), dir.path().file_name().unwrap());
        assert_eq!(name_of(Path::new("/")).unwrap_err().code, Code::Usage);
        assert_eq!(data_map_name(Path::new("b.tar")), Path::new("b.tar.datamap"));
    }

    #[test]
    fn an_output_needs_a_name_and_a_directory() {
        let dir = tempfile::tempdir().unwrap();
        let missing = dir.path().join("missing/out");
        assert_eq!(Output::check(&missing, false).unwrap_err().code, Code::NotFound);
        for nameless in ["/", ".."] {
            let failure = Output::check(&dir.path().join(nameless), true).unwrap_err();
            assert_eq!(failure.code, Code::Usage, "{nameless}");
        }
    }

    #[test]
    fn a_file_is_known_under_all_its_names() {
        let dir = tempfile::tempdir().unwrap();
        let (file, link) = (dir.path().join("file"), dir.path().join("link"));
        fs::write(&file, "bytes").unwrap();
        std::os::unix::fs::symlink("file", &link).unwrap();
        let failure = differs(&file, &dir.path().join("./link")).unwrap_err();
        assert_eq!(failure.code, Code::Usage);
        fs::write(dir.path().join("other"), "bytes").unwrap();
        differs(&file, &dir.path().join("other")).unwrap();
        differs(&file, &dir.path().join("none")).unwrap();
        differs(Path::new("-"), &file).unwrap();
    }

    #[test]
    fn a_text_has_an_end() {
        let failure = read_text(Path::new("/dev/zero"), "the key file", "look").unwrap_err();
        assert_eq!(
            failure.to_string(),
            "cannot read the key file /dev/zero: more than 1048576 bytes; look"
        );
    }

    #[test]
    fn a_link_that_was_named_is_followed() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("file"), "bytes").unwrap();
        let link = dir.path().join("link");
        std::os::unix::fs::symlink("file", &link).unwrap();
        assert_eq!(read(&link, 10).unwrap(), b"bytes");
        let failure = read(&dir.path().join("none"), 10).unwrap_err();
        assert_eq!(failure.code, Code::NotFound);
    }
}
