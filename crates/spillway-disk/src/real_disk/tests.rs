use std::{
    fs,
    os::unix::{
        fs::{MetadataExt, PermissionsExt, symlink},
        process::CommandExt,
    },
    process::Command,
    sync::{
        Barrier,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use rustix::fs::{CWD, FileType, mknodat, renameat_with};
use tempfile::TempDir;

use super::*;
use crate::{Fault, FaultPlan, TEMPORARY_PREFIX, conformance, run};

mod durable;
mod unfinished;

fn path(text: &str) -> &Path {
    Path::new(text)
}

fn disk() -> (TempDir, RealDisk) {
    let dir = TempDir::new().unwrap();
    let disk = RealDisk::open(dir.path()).unwrap();
    (dir, disk)
}

/// Both ways of resolving a path.
fn both() -> [(TempDir, RealDisk); 2] {
    let walking = disk();
    walking.1.root.walk_name_by_name();
    [disk(), walking]
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn assert_bad_path<T>(result: Result<T, DiskError>) {
    match result {
        Err(DiskError::BadPath { .. }) => {}
        Err(error) => panic!("{error:?}"),
        Ok(_) => panic!("a bad path was taken"),
    }
}

fn make_fifo(at: &Path) {
    mknodat(CWD, at, FileType::Fifo, Permissions::from_raw_mode(0o600), 0).unwrap();
}

#[test]
fn conforms() {
    let mut dirs = Vec::new();
    conformance::disk(|| {
        let (dir, disk) = disk();
        dirs.push(dir);
        Arc::new(disk)
    });
}

#[test]
fn conforms_walking_name_by_name() {
    let mut dirs = Vec::new();
    conformance::disk(|| {
        let (dir, disk) = disk();
        disk.root.walk_name_by_name();
        dirs.push(dir);
        Arc::new(disk)
    });
}

#[tokio::test]
async fn calls_from_async_code_leave_its_thread() {
    let (_dir, disk) = disk();
    let disk: Arc<dyn Disk> = Arc::new(disk);
    let thread = thread::current().id();
    assert!(!run(&disk, move |_| Ok(thread::current().id() == thread)).await.unwrap());
}

#[test]
fn a_root_is_a_directory_and_no_link() {
    let dir = TempDir::new().unwrap();
    fs::create_dir(dir.path().join("d")).unwrap();
    symlink("d", dir.path().join("link")).unwrap();
    fs::write(dir.path().join("file"), "").unwrap();
    assert_bad_path(RealDisk::open(&dir.path().join("link")));
    assert_bad_path(RealDisk::open(&dir.path().join("file")));
    assert_bad_path(RealDisk::create(&dir.path().join("link")));
    assert_bad_path(RealDisk::create(&dir.path().join("file")));
    let missing = RealDisk::open(&dir.path().join("none")).unwrap_err();
    assert!(matches!(missing, DiskError::NotFound { .. }), "{missing:?}");
}

#[test]
fn a_root_that_is_made_is_private_and_ours() {
    let dir = TempDir::new().unwrap();
    let root = dir.path().join("a/b");
    RealDisk::create(&root).unwrap().write_durable(path("f"), b"", Overwrite::Never).unwrap();
    assert_eq!(fs::metadata(&root).unwrap().permissions().mode() & 0o7777, 0o700);
    assert_eq!(fs::metadata(dir.path().join("a")).unwrap().permissions().mode() & 0o7777, 0o700);
    RealDisk::create(&root).unwrap();
    fs::set_permissions(&root, fs::Permissions::from_mode(0o777)).unwrap();
    let open_to_all = RealDisk::create(&root).unwrap_err();
    assert!(matches!(open_to_all, DiskError::Denied { .. }), "{open_to_all:?}");
    if !rustix::process::geteuid().is_root() {
        eprintln!("SKIPPED: a directory of another user, which only root can make");
        return;
    }
    fs::set_permissions(&root, fs::Permissions::from_mode(0o700)).unwrap();
    std::os::unix::fs::chown(&root, Some(12_345), None).unwrap();
    let foreign = RealDisk::create(&root).unwrap_err();
    assert!(matches!(foreign, DiskError::Denied { .. }), "{foreign:?}");
}

#[test]
fn a_root_stays_the_directory_that_was_opened() {
    let dir = TempDir::new().unwrap();
    let (root, moved) = (dir.path().join("root"), dir.path().join("moved"));
    let outside = dir.path().join("outside");
    fs::create_dir(&outside).unwrap();
    let disk = RealDisk::create(&root).unwrap();
    fs::rename(&root, &moved).unwrap();
    symlink(&outside, &root).unwrap();
    disk.write_durable(path("f"), b"f", Overwrite::Never).unwrap();
    assert_eq!((names(&moved), names(&outside)), (vec!["f".to_owned()], vec![]));
}

#[test]
fn nothing_is_reached_through_links() {
    for (dir, disk) in both() {
        let outside = TempDir::new().unwrap();
        fs::write(outside.path().join("secret"), "secret").unwrap();
        fs::create_dir(dir.path().join("in")).unwrap();
        symlink(outside.path(), dir.path().join("in/out")).unwrap();
        symlink(outside.path().join("secret"), dir.path().join("s")).unwrap();
        symlink(outside.path().join("new"), dir.path().join("n")).unwrap();
        assert_bad_path(disk.read(path("in/out/secret"), 99));
        assert_bad_path(disk.read(path("s"), 99));
        assert_bad_path(disk.append_durable(path("n"), b"x"));
        assert_bad_path(disk.lock(path("n")));
        assert_bad_path(disk.list(path("in/out")));
        assert_bad_path(disk.remove_file(path("in/out/secret")));
        assert_bad_path(disk.create(path("in/out/x"), Mode::Private));
        assert_bad_path(disk.create_dir_all(path("in/out/x")));
        assert_bad_path(disk.rename(path("s"), path("in/out/x"), Overwrite::Replace));
        assert_bad_path(disk.set_attributes(path("s"), 0o777, (0, 0)));
        disk.write_durable(path("n"), b"inside", Overwrite::Replace).unwrap();
        disk.remove_file(path("s")).unwrap();
        assert_eq!(names(outside.path()), ["secret"]);
        assert_eq!(fs::read(outside.path().join("secret")).unwrap(), b"secret");
        assert_eq!(names(dir.path()), ["in", "n"]);
    }
}

#[test]
fn a_pipe_or_socket_in_the_way_is_an_error_and_no_hang() {
    for (dir, disk) in both() {
        make_fifo(&dir.path().join("p"));
        let _socket = std::os::unix::net::UnixListener::bind(dir.path().join("s")).unwrap();
        for name in ["p", "s"] {
            assert_bad_path(disk.open(path(name)));
            assert_bad_path(disk.read(path(name), 9));
            assert_bad_path(disk.append_durable(path(name), b"x"));
            assert_bad_path(disk.truncate(path(name), 0));
            assert_bad_path(disk.lock(path(name)));
            assert_bad_path(disk.set_attributes(path(name), 0o777, (0, 0)));
            assert_eq!(disk.stat(path(name)).unwrap().kind, EntryKind::Other);
        }
        let kinds: Vec<_> = disk.list(path("")).unwrap().into_iter().map(|e| e.kind).collect();
        assert_eq!(kinds, [EntryKind::Other; 2]);
    }
}

/// Another process swaps a directory for a link to the outside, again and again.
#[test]
fn a_directory_swapped_during_the_walk_leads_nowhere() {
    const MOST: u32 = 5_000_000;
    for (dir, disk) in both() {
        let outside = TempDir::new().unwrap();
        fs::create_dir_all(outside.path().join("e")).unwrap();
        fs::create_dir_all(dir.path().join("d/e")).unwrap();
        symlink(outside.path(), dir.path().join("swap")).unwrap();
        let stop = AtomicBool::new(false);
        let (a, b) = (dir.path().join("d"), dir.path().join("swap"));
        let (mut taken, mut refused, mut surprise) = (0, 0, None);
        thread::scope(|scope| {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    renameat_with(CWD, &a, CWD, &b, rustix::fs::RenameFlags::EXCHANGE).unwrap();
                }
            });
            // Refusals are much faster than the other thread gets its turn.
            for number in 0..MOST {
                if taken > 20 && refused > 20 {
                    break;
                }
                let name = format!("d/e/f{}", number % 50);
                match disk.append_durable(path(&name), b"x") {
                    Ok(_) => taken += 1,
                    Err(DiskError::BadPath { .. }) => refused += 1,
                    Err(error) => {
                        surprise = Some(error);
                        break;
                    }
                }
                thread::yield_now();
            }
            stop.store(true, Ordering::Relaxed);
        });
        assert!(surprise.is_none(), "{surprise:?}");
        assert_eq!(names(outside.path()), ["e"]);
        assert_eq!(names(&outside.path().join("e")), Vec::<String>::new());
        assert!(taken > 0 && refused > 0, "the race was not run: {taken} and {refused}");
    }
}

#[test]
fn of_many_writers_of_one_new_file_one_wins() {
    const WRITERS: u8 = 8;
    for _ in 0..20 {
        let (dir, disk) = disk();
        let start = Barrier::new(WRITERS.into());
        let winners: Vec<u8> = thread::scope(|scope| {
            let threads: Vec<_> = (0..WRITERS)
                .map(|writer| {
                    let (disk, start) = (&disk, &start);
                    scope.spawn(move || {
                        start.wait();
                        match disk.write_durable(path("f"), &[writer; 99], Overwrite::Never) {
                            Ok(()) => Some(writer),
                            Err(DiskError::Exists { .. }) => None,
                            Err(error) => panic!("{error:?}"),
                        }
                    })
                })
                .collect();
            threads.into_iter().filter_map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(winners.len(), 1);
        assert_eq!(disk.read(path("f"), 99).unwrap(), [winners[0]; 99]);
        assert_eq!(names(dir.path()), ["f"]);
    }
}

#[test]
fn without_an_exclusive_rename_a_second_name_does_it() {
    let (dir, disk) = disk();
    disk.write_durable(path("a"), b"a", Overwrite::Never).unwrap();
    disk.write_durable(path("b"), b"b", Overwrite::Never).unwrap();
    let root = File::open(dir.path()).unwrap();
    let to = |name| (&root, OsStr::new(name));
    assert_eq!(calls::link_fresh(to("a"), to("b")), Err(Errno::EXIST));
    assert_eq!(names(dir.path()), ["a", "b"]);
    calls::link_fresh(to("a"), to("c")).unwrap();
    assert_eq!(names(dir.path()), ["b", "c"]);
    assert_eq!(disk.read(path("c"), 9).unwrap(), b"a");
    assert_eq!(disk.read(path("b"), 9).unwrap(), b"b");
    disk.create_dir_all(path("d/e")).unwrap();
    assert_eq!(calls::link_fresh(to("d"), to("b")), Err(Errno::EXIST));
    calls::link_fresh(to("d"), to("f")).unwrap();
    assert_eq!((names(dir.path()).len(), names(&dir.path().join("f"))), (3, vec!["e".into()]));
}

#[test]
fn a_durable_write_that_fails_at_any_step_leaves_old_or_new_and_nothing_else() {
    for fault in [Fault::Full, Fault::Io] {
        for overwrite in [Overwrite::Never, Overwrite::Replace] {
            let mut step = 1;
            loop {
                let (dir, disk) = disk();
                let faults = Arc::new(Faults::default());
                let disk = disk.with_faults(Arc::clone(&faults));
                if overwrite == Overwrite::Replace {
                    disk.write_durable(path("f"), b"old", Overwrite::Never).unwrap();
                }
                faults.arm(FaultPlan::once(step, fault));
                let written = disk.write_durable(path("f"), b"newer", overwrite);
                let found = disk.read(path("f"), 99);
                let left = names(dir.path());
                match (written, step) {
                    (Ok(()), 6) => {
                        assert_eq!((found.unwrap(), left), (b"newer".into(), vec!["f".into()]));
                        break;
                    }
                    (Err(error), 1..=5) => {
                        let full = matches!(error, DiskError::Full { .. });
                        assert_eq!(full, fault == Fault::Full, "{error:?}");
                        // The last step is the directory's sync: the new name is there already.
                        match (overwrite, step) {
                            (_, 5) => assert_eq!(found.unwrap(), b"newer"),
                            (Overwrite::Replace, _) => assert_eq!(found.unwrap(), b"old"),
                            (Overwrite::Never, _) => {
                                let missing = found.unwrap_err();
                                assert!(matches!(missing, DiskError::NotFound { .. }));
                            }
                        }
                        assert!(left.iter().all(|name| name == "f"), "step {step}: {left:?}");
                    }
                    (written, _) => panic!("step {step}: {written:?}"),
                }
                step += 1;
            }
        }
    }
}

#[test]
fn an_append_that_fails_leaves_a_prefix() {
    for step in 1..=4 {
        let (dir, disk) = disk();
        let faults = Arc::new(Faults::default());
        let disk = disk.with_faults(Arc::clone(&faults));
        faults.arm(FaultPlan::once(step, Fault::Io));
        let error = disk.append_durable(path("j"), b"record").unwrap_err();
        assert!(matches!(error, DiskError::Io { .. }), "{error:?}");
        let found = fs::read(dir.path().join("j")).unwrap_or_default();
        let expected: &[u8] = match step {
            1 => b"",
            2 => b"rec",
            _ => b"record",
        };
        assert_eq!(found, expected, "step {step}");
        // The first append may have failed to sync the directory: the next one does it again.
        faults.disarm();
        disk.append_durable(path("j"), b"+").unwrap();
        assert_eq!(faults.count(), 4, "open, write, sync, sync of the directory");
        faults.disarm();
        disk.append_durable(path("j"), b"+").unwrap();
        assert_eq!(faults.count(), 3, "the directory is known to be durable");
    }
}

#[test]
fn a_temporary_file_is_left_only_when_it_cannot_be_removed() {
    let (dir, disk) = disk();
    let faults = Arc::new(Faults::default());
    let disk = disk.with_faults(Arc::clone(&faults));
    faults.arm(FaultPlan::onwards(3, Fault::Io));
    disk.write_durable(path("f"), b"f", Overwrite::Never).unwrap_err();
    let left = names(dir.path());
    assert!(matches!(&left[..], [name] if name.starts_with(TEMPORARY_PREFIX)), "{left:?}");
}

#[test]
fn a_lock_that_cannot_be_opened_says_why() {
    let (_dir, disk) = disk();
    let faults = Arc::new(Faults::default());
    let disk = disk.with_faults(Arc::clone(&faults));
    faults.arm(FaultPlan::once(1, Fault::TooManyOpen));
    let error = disk.lock(path("lock")).unwrap_err();
    let DiskError::Io { op: DiskOp::Open, source, .. } = &error else { panic!("{error:?}") };
    assert_eq!(Errno::from_io_error(source), Some(Errno::MFILE));
    faults.arm(FaultPlan::once(1, Fault::Io).only(DiskOp::Lock));
    let error = disk.lock(path("lock")).unwrap_err();
    assert!(matches!(error, DiskError::Io { op: DiskOp::Lock, .. }), "{error:?}");
    disk.lock(path("lock")).unwrap();
}

#[test]
fn without_permission_nothing_is_read_or_written() {
    const NOBODY: u32 = 65_534;
    let dir = TempDir::new().unwrap();
    if !rustix::process::geteuid().is_root() {
        denied(dir.path());
        return;
    }
    // Root is never denied: the same as somebody else.
    std::os::unix::fs::chown(dir.path(), Some(NOBODY), None).unwrap();
    let mut command = another_process("child_is_denied", dir.path());
    match command.uid(NOBODY).gid(NOBODY).status() {
        Ok(status) => assert!(status.success()),
        Err(error) => eprintln!("SKIPPED: permission denied, this test cannot be run so: {error}"),
    }
}

#[test]
#[ignore = "run in another process by without_permission_nothing_is_read_or_written"]
fn child_is_denied() {
    denied(path("."));
}

fn denied(dir: &Path) {
    let disk = RealDisk::open(dir).unwrap();
    disk.create_dir_all(path("d")).unwrap();
    disk.write_durable(path("f"), b"f", Overwrite::Never).unwrap();
    fs::set_permissions(dir.join("d"), fs::Permissions::from_mode(0o500)).unwrap();
    fs::set_permissions(dir.join("f"), fs::Permissions::from_mode(0o000)).unwrap();
    let error = disk.write_durable(path("d/f"), b"f", Overwrite::Never).unwrap_err();
    assert!(matches!(error, DiskError::Denied { op: DiskOp::Open, .. }), "{error:?}");
    let error = disk.read(path("f"), 9).unwrap_err();
    assert!(matches!(error, DiskError::Denied { op: DiskOp::Open, .. }), "{error:?}");
    // A directory that may be searched and not listed: what is in it can be reached by name.
    fs::set_permissions(dir.join("d"), fs::Permissions::from_mode(0o100)).unwrap();
    let error = disk.list(path("d")).unwrap_err();
    assert!(matches!(error, DiskError::Denied { op: DiskOp::Open, .. }), "{error:?}");
    let error = disk.stat(path("d/f")).unwrap_err();
    assert!(matches!(error, DiskError::NotFound { .. }), "{error:?}");
    fs::set_permissions(dir.join("d"), fs::Permissions::from_mode(0o700)).unwrap();
}

#[test]
fn a_shared_file_obeys_the_umask() {
    let (dir, disk) = disk();
    disk.create(path("f"), Mode::Shared).unwrap().persist(Overwrite::Never).unwrap();
    // What the system gives a new file of the same wish.
    fs::write(dir.path().join("g"), "").unwrap();
    let mode = |name| fs::metadata(dir.path().join(name)).unwrap().mode();
    assert_eq!(mode("f"), mode("g"));
}

/// Runs one of the tests below in a process of its own, in this directory.
fn in_another_process(test: &str, dir: &Path) -> std::process::ExitStatus {
    another_process(test, dir).status().unwrap()
}

fn another_process(test: &str, dir: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "--ignored", &format!("real_disk::tests::{test}")]);
    command.current_dir(dir).stdout(std::process::Stdio::null());
    command
}

#[test]
fn a_lock_excludes_other_processes() {
    let (dir, disk) = disk();
    let held = disk.lock(path("lock")).unwrap();
    assert!(in_another_process("child_finds_the_lock_taken", dir.path()).success());
    drop(held);
    assert!(!in_another_process("child_finds_the_lock_taken", dir.path()).success());
}

#[test]
#[ignore = "run in another process by a_lock_excludes_other_processes"]
fn child_finds_the_lock_taken() {
    let error = RealDisk::open(path("")).unwrap().lock(path("lock")).unwrap_err();
    assert!(matches!(error, DiskError::Locked { .. }), "{error:?}");
}

#[test]
fn a_killed_process_leaves_a_temporary_file_and_no_lock() {
    let (dir, disk) = disk();
    let status = in_another_process("child_is_killed_before_the_rename", dir.path());
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(9));
    let left = names(dir.path());
    assert!(matches!(&left[..], [temporary, lock]
        if temporary.starts_with(TEMPORARY_PREFIX) && lock == "lock"));
    disk.lock(path("lock")).unwrap();
}

#[test]
#[ignore = "run in another process by a_killed_process_leaves_a_temporary_file_and_no_lock"]
fn child_is_killed_before_the_rename() {
    let faults = Arc::new(Faults::default());
    let disk = RealDisk::open(path("")).unwrap().with_faults(Arc::clone(&faults));
    let _held = disk.lock(path("lock")).unwrap();
    faults.arm(FaultPlan::once(1, Fault::Kill).only(DiskOp::Rename));
    disk.write_durable(path("f"), b"f", Overwrite::Never).unwrap();
}

/// Holders that remove the file while they hold its lock, as who cleans up does: never two at once.
#[test]
fn a_lock_file_that_its_holder_removes_is_never_held_twice() {
    let (dir, _) = disk();
    let holders = std::sync::atomic::AtomicUsize::new(0);
    let held = std::sync::atomic::AtomicUsize::new(0);
    let order = std::sync::atomic::Ordering::SeqCst;
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let disk = RealDisk::open(dir.path()).unwrap();
                for _ in 0..2_000 {
                    let Ok(lock) = disk.lock(path("lock")) else { continue };
                    assert_eq!(holders.fetch_add(1, order), 0, "two holders");
                    held.fetch_add(1, order);
                    std::thread::yield_now();
                    holders.fetch_sub(1, order);
                    // Whoever has opened this file must find that it is nobody's lock any more.
                    disk.remove_file(path("lock")).unwrap();
                    drop(lock);
                }
            });
        }
    });
    assert!(held.load(order) > 100);
}
