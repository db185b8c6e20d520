// The real disk and its twin, side by side: the same calls, the same answers.

use std::{ffi::OsStr, path::Path};

use proptest::prelude::*;
use tempfile::TempDir;

use crate::{Disk, DiskError, EntryKind, MemoryDisk, Mode, Overwrite, RealDisk};

/// Few names, so that calls meet: files, directories and links at and below each other.
const PATHS: [&str; 10] = ["", "a", "b", "c", "a/a", "a/b", "b/a", "a/a/a", "../a", "b/./a"];

#[derive(Clone, Debug)]
enum Call {
    Write(usize, u8, bool),
    Append(usize, u8),
    Create(usize, u8, bool),
    Resume(usize, usize, u8, Option<bool>),
    Truncate(usize, u8),
    MakeDirs(usize),
    Rename(usize, usize, bool),
    RemoveFile(usize),
    RemoveDir(usize),
    Symlink(usize, usize),
    SetAttributes(usize, u8),
}

fn call() -> impl Strategy<Value = Call> {
    let path = || 0..PATHS.len();
    prop_oneof![
        1 => (path(), any::<u8>(), any::<bool>()).prop_map(|(at, n, o)| Call::Write(at, n, o)),
        1 => (path(), any::<u8>()).prop_map(|(at, n)| Call::Append(at, n)),
        1 => (path(), any::<u8>(), any::<bool>()).prop_map(|(at, n, o)| Call::Create(at, n, o)),
        2 => (path(), path(), any::<u8>(), any::<Option<bool>>())
            .prop_map(|(at, part, n, end)| Call::Resume(at, part, n, end)),
        1 => (path(), any::<u8>()).prop_map(|(at, n)| Call::Truncate(at, n)),
        2 => path().prop_map(Call::MakeDirs),
        3 => (path(), path(), any::<bool>()).prop_map(|(from, to, o)| Call::Rename(from, to, o)),
        1 => path().prop_map(Call::RemoveFile),
        1 => path().prop_map(Call::RemoveDir),
        1 => (path(), path()).prop_map(|(target, at)| Call::Symlink(target, at)),
        1 => (path(), any::<u8>()).prop_map(|(at, n)| Call::SetAttributes(at, n)),
    ]
}

fn overwrite(replace: bool) -> Overwrite {
    if replace { Overwrite::Replace } else { Overwrite::Never }
}

fn make(disk: &dyn Disk, call: &Call) -> Result<u64, DiskError> {
    let path = |index: usize| Path::new(PATHS[index]);
    match *call {
        Call::Write(at, fill, replace) => {
            disk.write_durable(path(at), &[fill; 9], overwrite(replace)).map(|()| 0)
        }
        Call::Append(at, fill) => disk.append_durable(path(at), &[fill; 3]).map(|done| done.len),
        Call::Create(at, fill, replace) => {
            let file = disk.create(path(at), Mode::Private)?;
            file.write_at(fill.into(), &[fill])?;
            file.persist(overwrite(replace)).map(|()| 0)
        }
        Call::Resume(at, part, fill, end) => {
            let file = disk.resume(path(at), OsStr::new(PATHS[part]), Mode::Private)?;
            file.write_at(fill.into(), &[fill])?;
            match end {
                Some(replace) => file.persist(overwrite(replace)).map(|()| 0),
                None => Ok(file.stat()?.len),
            }
        }
        Call::Truncate(at, len) => disk.truncate(path(at), len.into()).map(|()| 0),
        Call::MakeDirs(at) => disk.create_dir_all(path(at)).map(|()| 0),
        Call::Rename(from, to, replace) => {
            disk.rename(path(from), path(to), overwrite(replace)).map(|()| 0)
        }
        Call::RemoveFile(at) => disk.remove_file(path(at)).map(|()| 0),
        Call::RemoveDir(at) => disk.remove_dir(path(at)).map(|()| 0),
        Call::Symlink(target, at) => disk.symlink(path(target), path(at)).map(|()| 0),
        Call::SetAttributes(at, mode) => {
            let mode = 0o700 | u32::from(mode);
            disk.set_attributes(path(at), mode, (1_600_000_000, 0)).map(|()| 0)
        }
    }
}

/// An answer, without what the two cannot have in common.
fn answer<T>(result: Result<T, DiskError>) -> Result<T, &'static str> {
    result.map_err(|error| match error {
        DiskError::NotFound { .. } => "not found",
        DiskError::Exists { .. } => "exists",
        DiskError::Locked { .. } => "locked",
        DiskError::BadPath { .. } => "bad path",
        DiskError::TooLong { .. } => "too long",
        DiskError::Full { .. } => "full",
        DiskError::Denied { .. } => "denied",
        DiskError::Io { .. } => "io",
    })
}

/// Everything that can be seen on a disk.
fn picture(disk: &dyn Disk, dir: &Path, lines: &mut Vec<String>) {
    for entry in disk.list(dir).unwrap() {
        let path = dir.join(&entry.name);
        let stat = disk.stat(&path).unwrap();
        assert_eq!(stat.kind, entry.kind);
        let contents = match entry.kind {
            EntryKind::File => format!("{} {:?}", stat.mode, disk.read(&path, 9999).unwrap()),
            EntryKind::Link => format!("{:?}", disk.read_link(&path).unwrap()),
            _ => stat.mode.to_string(),
        };
        lines.push(format!("{} {:?} {contents}", path.display(), entry.kind));
        if entry.kind == EntryKind::Dir {
            picture(disk, &path, lines);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn the_twins_agree(calls in prop::collection::vec(call(), 1..25)) {
        let dir = TempDir::new().unwrap();
        let real = RealDisk::open(dir.path()).unwrap();
        let memory = MemoryDisk::new();
        for call in &calls {
            prop_assert_eq!(
                answer(make(&memory, call)),
                answer(make(&real, call)),
                "in memory and real: {:?}", call
            );
        }
        let mut pictures = [Vec::new(), Vec::new()];
        picture(&memory, Path::new(""), &mut pictures[0]);
        picture(&real, Path::new(""), &mut pictures[1]);
        prop_assert_eq!(&pictures[0], &pictures[1]);
    }
}
