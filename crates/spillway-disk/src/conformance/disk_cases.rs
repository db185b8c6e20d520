use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{Appended, Disk, DiskError, DiskExt, EntryKind, Mode, Overwrite, TEMPORARY_PREFIX};

/// Runs every case, each on a new empty disk from `make`.
///
/// # Panics
/// When the disk does something else than it should.
pub fn disk(mut make: impl FnMut() -> Arc<dyn Disk>) {
    for case in [
        write_and_read,
        overwrite_is_said,
        limits_of_reading,
        appending_and_cutting,
        a_new_file_appears_when_it_is_persisted,
        an_unfinished_file_is_gone_on_with,
        an_unfinished_file_is_one_holders,
        directories,
        paths_stay_inside,
        links_are_entries_and_are_not_followed,
        renaming,
        removing,
        locks_exclude,
        attributes,
        reading_at_offsets,
    ] {
        case(make().as_ref());
    }
}

fn path(text: &str) -> &Path {
    Path::new(text)
}

/// The kind of an error and the path that it names, relative to the root.
fn failure<T>(disk: &dyn Disk, result: Result<T, DiskError>) -> (&'static str, PathBuf) {
    let Err(error) = result else { panic!("it must fail") };
    let (kind, at) = match &error {
        DiskError::NotFound { path } => ("not found", path),
        DiskError::Exists { path } => ("exists", path),
        DiskError::Locked { path } => ("locked", path),
        DiskError::BadPath { path } => ("bad path", path),
        DiskError::TooLong { path, .. } => ("too long", path),
        DiskError::Full { path, .. } => ("full", path),
        DiskError::Denied { path, .. } => ("denied", path),
        DiskError::Io { path, .. } => ("io", path),
    };
    (kind, at.strip_prefix(disk.display(path(""))).unwrap_or(at).to_owned())
}

fn assert_fails<T>(disk: &dyn Disk, result: Result<T, DiskError>, kind: &str, at: &str) {
    assert_eq!(failure(disk, result), (kind_of(kind), PathBuf::from(at)));
}

/// Only so that a misspelt kind fails.
fn kind_of(kind: &str) -> &'static str {
    let kinds = ["not found", "exists", "locked", "bad path", "too long", "full", "denied", "io"];
    kinds.into_iter().find(|known| *known == kind).expect("a kind of error")
}

fn good<T>(result: Result<T, DiskError>) -> T {
    result.unwrap_or_else(|error| panic!("it must work: {error:?}"))
}

fn names(disk: &dyn Disk, dir: &str) -> Vec<String> {
    let entries = good(disk.list(path(dir)));
    entries.iter().map(|entry| entry.name.display().to_string()).collect()
}

fn write_and_read(disk: &dyn Disk) {
    good(disk.write_durable(path("a"), b"bytes", Overwrite::Never));
    assert_eq!(good(disk.read(path("a"), 5)), b"bytes");
    good(disk.write_durable(path("empty"), b"", Overwrite::Never));
    assert_eq!(good(disk.read(path("empty"), 0)), b"");
    let stat = good(disk.stat(path("a")));
    assert_eq!((stat.kind, stat.len, stat.mode), (EntryKind::File, 5, 0o600));
    assert_eq!(names(disk, ""), ["a", "empty"]);
    assert_fails(
        disk,
        disk.write_durable(path("no/a"), b"", Overwrite::Never),
        "not found",
        "no/a",
    );
    assert_fails(disk, disk.read(path("b"), 9), "not found", "b");
    assert!(good(disk.exists(path("a"))) && !good(disk.exists(path("b"))));
    assert!(good(disk.free_space()) > 0);
}

fn overwrite_is_said(disk: &dyn Disk) {
    good(disk.write_durable(path("a"), b"old", Overwrite::Never));
    assert_fails(disk, disk.write_durable(path("a"), b"new", Overwrite::Never), "exists", "a");
    assert_eq!(good(disk.read(path("a"), 9)), b"old");
    good(disk.write_durable(path("a"), b"new", Overwrite::Replace));
    assert_eq!(good(disk.read(path("a"), 9)), b"new");
    good(disk.create_dir_all(path("d")));
    assert_fails(disk, disk.write_durable(path("d"), b"", Overwrite::Replace), "bad path", "d");
    assert_fails(disk, disk.write_durable(path("d"), b"", Overwrite::Never), "exists", "d");
    assert_eq!(names(disk, ""), ["a", "d"], "a temporary file was left");
}

fn limits_of_reading(disk: &dyn Disk) {
    good(disk.write_durable(path("a"), b"12345", Overwrite::Never));
    match disk.read(path("a"), 4) {
        Err(DiskError::TooLong { found: 5, limit: 4, .. }) => {}
        other => panic!("a file over the limit was {other:?}"),
    }
    good(disk.create_dir_all(path("d")));
    assert_fails(disk, disk.read(path("d"), 9), "bad path", "d");
    assert_fails(disk, disk.open(path("d")), "bad path", "d");
    assert_fails(disk, disk.open(path("")), "bad path", "");
    assert_fails(disk, disk.open(path("b")), "not found", "b");
}

fn appending_and_cutting(disk: &dyn Disk) {
    assert_eq!(good(disk.append_durable(path("j"), b"one")), Appended { len: 3 });
    assert_eq!(good(disk.append_durable(path("j"), b"two")), Appended { len: 6 });
    assert_eq!(good(disk.read(path("j"), 9)), b"onetwo");
    assert_eq!(good(disk.stat(path("j"))).mode, 0o600);
    good(disk.truncate(path("j"), 4));
    assert_eq!(good(disk.append_durable(path("j"), b"!")), Appended { len: 5 });
    assert_eq!(good(disk.read(path("j"), 9)), b"onet!");
    good(disk.truncate(path("j"), 7));
    assert_eq!(good(disk.read(path("j"), 9)), b"onet!\0\0");
    assert_fails(disk, disk.truncate(path("k"), 0), "not found", "k");
    assert_fails(disk, disk.append_durable(path("no/j"), b""), "not found", "no/j");
    good(disk.create_dir_all(path("d")));
    assert_fails(disk, disk.append_durable(path("d"), b"x"), "bad path", "d");
}

fn a_new_file_appears_when_it_is_persisted(disk: &dyn Disk) {
    let file = good(disk.create(path("a"), Mode::Private));
    good(file.write_at(4, b"tail"));
    good(file.write_at(0, b"he"));
    assert!(!good(disk.exists(path("a"))));
    let temporary = names(disk, "");
    assert!(matches!(&temporary[..], [name] if name.starts_with(TEMPORARY_PREFIX)));
    good(file.persist(Overwrite::Never));
    assert_eq!(good(disk.read(path("a"), 9)), b"he\0\0tail");
    let second = good(disk.create(path("a"), Mode::Private));
    good(second.write_at(0, b"second"));
    assert_fails(disk, second.persist(Overwrite::Never), "exists", "a");
    assert_eq!(good(disk.read(path("a"), 9)), b"he\0\0tail");
    let third = good(disk.create(path("a"), Mode::Shared));
    good(third.write_at(0, b"third"));
    good(third.set_attributes(0o640, (1_600_000_000, 7)));
    good(third.persist(Overwrite::Replace));
    let stat = good(disk.stat(path("a")));
    assert_eq!((stat.len, stat.mode, stat.modified), (5, 0o640, (1_600_000_000, 7)));
    drop(good(disk.create(path("b"), Mode::Private)));
    assert_eq!(names(disk, ""), ["a"], "a temporary file was left");
    assert_fails(disk, disk.create(path("no/a"), Mode::Private), "not found", "no/a");
}

fn an_unfinished_file_is_gone_on_with(disk: &dyn Disk) {
    let resume = || good(disk.resume(path("a"), OsStr::new("a.part"), Mode::Shared));
    drop(resume());
    assert_eq!(names(disk, ""), Vec::<String>::new(), "nothing was in it");
    let first = resume();
    good(first.write_at(4, b"tail"));
    first.keep(true);
    drop(first);
    assert_eq!(names(disk, ""), ["a.part"]);
    let second = resume();
    let mut buffer = [9; 9];
    assert_eq!(good(second.read_at(2, &mut buffer)), 6);
    assert_eq!(&buffer[..6], b"\0\0tail");
    assert_eq!(good(second.stat()).len, 8);
    good(second.write_at(0, b"head"));
    drop(second);
    assert_eq!(
        good(disk.read(path("a.part"), 9)),
        b"headtail",
        "kept unless something else is said"
    );
    let third = resume();
    good(third.set_len(10));
    good(third.set_len(5));
    good(third.set_attributes(0o640, (1_600_000_000, 7)));
    good(third.persist(Overwrite::Never));
    let stat = good(disk.stat(path("a")));
    assert_eq!((stat.mode, stat.modified), (0o640, (1_600_000_000, 7)));
    assert_eq!(
        (good(disk.read(path("a"), 9)), names(disk, "")),
        (b"headt".to_vec(), vec!["a".into()])
    );
    let fourth = resume();
    good(fourth.write_at(0, b"new"));
    fourth.keep(true);
    assert_fails(disk, fourth.persist(Overwrite::Never), "exists", "a");
    assert_eq!(names(disk, ""), ["a", "a.part"], "kept for another try");
    good(resume().persist(Overwrite::Replace));
    assert_eq!(good(disk.read(path("a"), 9)), b"new");
    let fifth = resume();
    good(fifth.write_at(0, b"unwanted"));
    fifth.keep(false);
    drop(fifth);
    assert_eq!(names(disk, ""), ["a"]);
    let removed = resume();
    good(removed.write_at(0, b"lost"));
    good(disk.remove_file(path("a.part")));
    assert_fails(disk, removed.persist(Overwrite::Replace), "not found", "a.part");
    let swapped = resume();
    swapped.keep(true);
    good(disk.rename(path("a"), path("a.part"), Overwrite::Replace));
    assert_fails(disk, swapped.persist(Overwrite::Replace), "not found", "a.part");
    assert_eq!(names(disk, ""), ["a.part"], "what was never written here gets no name");
}

fn an_unfinished_file_is_one_holders(disk: &dyn Disk) {
    let resume = |at, part| disk.resume(path(at), OsStr::new(part), Mode::Private);
    let held = good(resume("a", "a.part"));
    assert_eq!(good(disk.stat(path("a.part"))).mode, 0o600);
    assert_fails(disk, resume("a", "a.part"), "locked", "a.part");
    assert_fails(disk, disk.lock(path("a.part")), "locked", "a.part");
    let other = good(resume("a", "b.part"));
    good(held.persist(Overwrite::Never));
    drop((good(resume("a", "a.part")), other));
    assert_eq!(names(disk, ""), ["a"]);
    assert_fails(disk, resume("no/a", "a.part"), "not found", "no/a.part");
    good(disk.create_dir_all(path("d")));
    assert_fails(disk, resume("a", "d"), "bad path", "d");
    good(disk.symlink(path("a"), path("l")));
    assert_fails(disk, resume("d/b", "b/c"), "bad path", "b/c");
    assert_fails(disk, resume("a", "l"), "bad path", "l");
    assert_fails(disk, resume("l/b", "b.part"), "bad path", "l/b.part");
    assert_eq!(names(disk, ""), ["a", "d", "l"]);
}

fn directories(disk: &dyn Disk) {
    good(disk.create_dir_all(path("x/y/z")));
    good(disk.create_dir_all(path("x/y/z")));
    good(disk.create_dir_all(path("")));
    good(disk.sync_dir(path("x/y")));
    good(disk.sync_dir(path("")));
    assert_fails(disk, disk.sync_dir(path("w")), "not found", "w");
    let stat = good(disk.stat(path("x/y")));
    assert_eq!((stat.kind, stat.mode), (EntryKind::Dir, 0o700));
    assert_eq!(good(disk.stat(path(""))).kind, EntryKind::Dir);
    good(disk.write_durable(path("x/f"), b"", Overwrite::Never));
    assert_fails(disk, disk.create_dir_all(path("x/f/g")), "bad path", "x/f/g");
    assert_fails(disk, disk.create_dir_all(path("x/f")), "bad path", "x/f");
    assert_fails(disk, disk.list(path("x/f")), "bad path", "x/f");
    assert_fails(disk, disk.list(path("w")), "not found", "w");
    assert_fails(disk, disk.stat(path("x/f/g")), "bad path", "x/f/g");
    let kinds: Vec<_> = good(disk.list(path("x"))).into_iter().map(|entry| entry.kind).collect();
    assert_eq!(kinds, [EntryKind::File, EntryKind::Dir]);
}

fn paths_stay_inside(disk: &dyn Disk) {
    for bad in ["/etc/passwd", "../a", "a/../b", "..", ".", "./a", "a\0b"] {
        let at = path(bad);
        let calls = [
            failure(disk, disk.read(at, 1)),
            failure(disk, disk.open(at)),
            failure(disk, disk.write_durable(at, b"", Overwrite::Replace)),
            failure(disk, disk.append_durable(at, b"")),
            failure(disk, disk.create(at, Mode::Private)),
            failure(disk, disk.resume(at, OsStr::new("part"), Mode::Private)),
            failure(disk, disk.resume(path("b"), at.as_os_str(), Mode::Private)),
            failure(disk, disk.truncate(at, 0)),
            failure(disk, disk.create_dir_all(at)),
            failure(disk, disk.list(at)),
            failure(disk, disk.stat(at)),
            failure(disk, disk.rename(at, path("b"), Overwrite::Replace)),
            failure(disk, disk.rename(path("b"), at, Overwrite::Replace)),
            failure(disk, disk.remove_file(at)),
            failure(disk, disk.remove_dir(at)),
            failure(disk, disk.lock(at)),
            failure(disk, disk.read_link(at)),
            failure(disk, disk.symlink(path("b"), at)),
            failure(disk, disk.set_attributes(at, 0o600, (0, 0))),
        ];
        for (number, call) in calls.iter().enumerate() {
            assert_eq!(call.0, "bad path", "{bad:?}, call {number}");
        }
    }
    assert_eq!(names(disk, ""), Vec::<String>::new());
}

fn links_are_entries_and_are_not_followed(disk: &dyn Disk) {
    good(disk.create_dir_all(path("d")));
    good(disk.write_durable(path("d/f"), b"kept", Overwrite::Never));
    good(disk.symlink(path("d"), path("l")));
    good(disk.symlink(path("d/f"), path("lf")));
    good(disk.symlink(path("/no/../where"), path("dangling")));
    assert_eq!(good(disk.read_link(path("l"))), path("d"));
    assert_eq!(good(disk.read_link(path("dangling"))), path("/no/../where"));
    assert_eq!(good(disk.stat(path("l"))).kind, EntryKind::Link);
    assert_fails(disk, disk.read_link(path("d")), "bad path", "d");
    assert_fails(disk, disk.symlink(path("x"), path("l")), "exists", "l");
    for through in ["l/f", "lf"] {
        let at = path(through);
        assert_fails(disk, disk.read(at, 9), "bad path", through);
        assert_fails(disk, disk.open(at), "bad path", through);
        assert_fails(disk, disk.append_durable(at, b"x"), "bad path", through);
        assert_fails(disk, disk.truncate(at, 0), "bad path", through);
        assert_fails(disk, disk.lock(at), "bad path", through);
        assert_fails(disk, disk.set_attributes(at, 0o777, (0, 0)), "bad path", through);
        assert_fails(disk, disk.create_dir_all(at), "bad path", through);
    }
    assert_fails(disk, disk.write_durable(path("l/n"), b"", Overwrite::Never), "bad path", "l/n");
    assert_fails(disk, disk.stat(path("l/f")), "bad path", "l/f");
    assert_fails(disk, disk.list(path("l")), "bad path", "l");
    assert_fails(disk, disk.remove_file(path("l/f")), "bad path", "l/f");
    assert_fails(disk, disk.remove_dir(path("l")), "bad path", "l");
    assert_fails(disk, disk.rename(path("l/f"), path("g"), Overwrite::Never), "bad path", "l/f");
    assert_fails(disk, disk.rename(path("d/f"), path("l/g"), Overwrite::Never), "bad path", "l/g");
    // A file that takes a link's place leaves alone what the link pointed to.
    good(disk.write_durable(path("lf"), b"new", Overwrite::Replace));
    assert_eq!(good(disk.stat(path("lf"))).kind, EntryKind::File);
    assert_eq!(good(disk.read(path("d/f"), 9)), b"kept");
    good(disk.remove_file(path("l")));
    assert_eq!(names(disk, ""), ["d", "dangling", "lf"]);
    assert_eq!(names(disk, "d"), ["f"]);
}

fn renaming(disk: &dyn Disk) {
    good(disk.create_dir_all(path("d/e")));
    good(disk.write_durable(path("a"), b"a", Overwrite::Never));
    good(disk.write_durable(path("b"), b"b", Overwrite::Never));
    assert_fails(disk, disk.rename(path("a"), path("b"), Overwrite::Never), "exists", "b");
    good(disk.rename(path("a"), path("b"), Overwrite::Replace));
    assert_eq!(good(disk.read(path("b"), 1)), b"a");
    good(disk.rename(path("b"), path("d/c"), Overwrite::Never));
    good(disk.rename(path("d"), path("g"), Overwrite::Never));
    assert_eq!(good(disk.read(path("g/c"), 1)), b"a");
    assert_eq!(
        (names(disk, ""), names(disk, "g")),
        (vec!["g".into()], vec!["c".into(), "e".into()])
    );
    let missing = disk.rename(path("a"), path("h"), Overwrite::Replace);
    assert_fails(disk, missing, "not found", "a");
    let nowhere = disk.rename(path("g/c"), path("no/h"), Overwrite::Replace);
    assert_fails(disk, nowhere, "not found", "no/h");
    assert_fails(disk, disk.rename(path("g"), path("g/e/i"), Overwrite::Replace), "io", "g");
    good(disk.create_dir_all(path("k")));
    assert_fails(disk, disk.rename(path("k"), path("g"), Overwrite::Replace), "io", "k");
    assert_fails(disk, disk.rename(path("g/c"), path("k"), Overwrite::Replace), "bad path", "g/c");
}

fn removing(disk: &dyn Disk) {
    good(disk.create_dir_all(path("d")));
    good(disk.write_durable(path("d/f"), b"f", Overwrite::Never));
    assert_fails(disk, disk.remove_dir(path("d")), "io", "d");
    assert_fails(disk, disk.remove_dir(path("d/f")), "bad path", "d/f");
    assert_fails(disk, disk.remove_file(path("d")), "bad path", "d");
    assert_fails(disk, disk.remove_file(path("d/g")), "not found", "d/g");
    let open = good(disk.open(path("d/f")));
    good(disk.remove_file(path("d/f")));
    let mut byte = [0];
    assert_eq!((good(open.read_at(0, &mut byte)), byte), (1, *b"f"), "an open file stays");
    good(disk.remove_dir(path("d")));
    assert_fails(disk, disk.remove_dir(path("d")), "not found", "d");
    assert_eq!(names(disk, ""), Vec::<String>::new());
}

fn locks_exclude(disk: &dyn Disk) {
    let held = good(disk.lock(path("lock")));
    assert_eq!(good(disk.stat(path("lock"))).mode, 0o600);
    assert_fails(disk, disk.lock(path("lock")), "locked", "lock");
    let other = good(disk.lock(path("other")));
    drop(held);
    let again = good(disk.lock(path("lock")));
    assert_fails(disk, disk.lock(path("lock")), "locked", "lock");
    // A lock is on the file, not on its name.
    good(disk.remove_file(path("lock")));
    let new = good(disk.lock(path("lock")));
    assert_fails(disk, disk.lock(path("no/lock")), "not found", "no/lock");
    drop((other, again, new));
}

fn attributes(disk: &dyn Disk) {
    good(disk.write_durable(path("f"), b"f", Overwrite::Never));
    good(disk.create_dir_all(path("d")));
    good(disk.set_attributes(path("f"), 0o6755, (-5, 250)));
    let stat = good(disk.stat(path("f")));
    assert_eq!((stat.mode, stat.modified), (0o755, (-5, 250)), "setuid and setgid are dropped");
    assert_eq!(stat.modified_at().as_secs(), 0);
    good(disk.set_attributes(path("d"), 0o750, (1_000_000_000, 0)));
    let stat = good(disk.stat(path("d")));
    assert_eq!((stat.mode, stat.modified), (0o750, (1_000_000_000, 0)));
    assert_eq!(stat.modified_at().as_secs(), 1_000_000_000);
    let missing = disk.set_attributes(path("g"), 0o600, (0, 0));
    assert_fails(disk, missing, "not found", "g");
}

fn reading_at_offsets(disk: &dyn Disk) {
    good(disk.write_durable(path("f"), b"0123456789", Overwrite::Never));
    let file = good(disk.open(path("f")));
    let mut buffer = [0; 4];
    assert_eq!(good(file.read_at(3, &mut buffer)), 4);
    assert_eq!(&buffer, b"3456");
    assert_eq!(good(file.read_at(8, &mut buffer)), 2);
    assert_eq!(&buffer[..2], b"89");
    assert_eq!(good(file.read_at(10, &mut buffer)), 0);
    assert_eq!(good(file.read_at(1 << 40, &mut buffer)), 0);
    let before = good(file.stat());
    assert_eq!(before, good(disk.stat(path("f"))));
    good(disk.append_durable(path("f"), b"!"));
    let after = good(file.stat());
    assert_eq!((after.len, after.identity), (11, before.identity));
    good(disk.write_durable(path("f"), b"another", Overwrite::Replace));
    assert_eq!(good(file.stat()).len, 11, "an open file is the one that was opened");
    assert_ne!(good(disk.stat(path("f"))).identity, before.identity);
}
