use std::{
    ffi::OsStr,
    os::unix::ffi::OsStrExt,
    path::{Component, Path, PathBuf},
};

use crate::DiskError;

/// The names on a path, from the root down; none for the root itself. Refuses what is absolute or
/// has `.` in front, `..` anywhere or a NUL byte.
pub(crate) fn parts(path: &Path) -> Result<Vec<&OsStr>, DiskError> {
    let bad = || DiskError::BadPath { path: path.to_owned() };
    path.components()
        .map(|component| match component {
            Component::Normal(name) if !name.as_bytes().contains(&0) => Ok(name),
            _ => Err(bad()),
        })
        .collect()
}

/// The names of the directory, and the name in it. The root itself has none: it is refused.
pub(crate) fn parent_and_name(path: &Path) -> Result<(Vec<&OsStr>, &OsStr), DiskError> {
    let mut parents = parts(path)?;
    match parents.pop() {
        Some(name) => Ok((parents, name)),
        None => Err(DiskError::BadPath { path: path.to_owned() }),
    }
}

/// The path of another entry in the same directory. Refuses what is not one plain name.
pub(crate) fn beside(path: &Path, name: &OsStr) -> Result<PathBuf, DiskError> {
    match parts(Path::new(name))?[..] {
        [plain] if plain == name => Ok(path.with_file_name(name)),
        _ => Err(DiskError::BadPath { path: name.into() }),
    }
}

/// Whether a link may say this: anything that the system can store, verbatim.
pub(crate) fn check_link_target(target: &Path) -> Result<(), DiskError> {
    let bytes = target.as_os_str().as_bytes();
    if bytes.is_empty() || bytes.contains(&0) {
        return Err(DiskError::BadPath { path: target.to_owned() });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_names_are_taken() {
        assert_eq!(parts(Path::new("")).unwrap(), Vec::<&OsStr>::new());
        assert_eq!(parts(Path::new("a/b")).unwrap(), ["a", "b"]);
        for bad in ["/", "/a", "..", "a/..", "a/../b", ".", "./a", "a\0b"] {
            let error = parts(Path::new(bad)).unwrap_err();
            assert!(matches!(error, DiskError::BadPath { .. }), "{bad:?}: {error}");
        }
        let error = parent_and_name(Path::new("")).unwrap_err();
        assert!(matches!(error, DiskError::BadPath { .. }), "{error}");
        let beside = |name: &str| beside(Path::new("a/b"), OsStr::new(name));
        assert_eq!(beside("c").unwrap(), Path::new("a/c"));
        for bad in ["", "c/d", "c/", "/c", "..", "c\0"] {
            let error = beside(bad).unwrap_err();
            assert!(matches!(error, DiskError::BadPath { .. }), "{bad:?}: {error}");
        }
    }
}
