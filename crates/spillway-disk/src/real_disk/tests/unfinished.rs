use super::*;

#[test]
fn a_killed_process_leaves_its_unfinished_file_and_no_lock() {
    let (dir, disk) = disk();
    let status = in_another_process("unfinished::child_is_killed_while_it_writes", dir.path());
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(9));
    assert_eq!(names(dir.path()), ["f.part"]);
    let file = disk.resume(path("f"), OsStr::new("f.part"), Mode::Shared).unwrap();
    let mut buffer = [0; 9];
    assert_eq!(file.read_at(0, &mut buffer).unwrap(), 4);
    assert_eq!(&buffer[..4], b"some");
    assert!(
        in_another_process("unfinished::child_finds_the_unfinished_file_taken", dir.path())
            .success()
    );
}

#[test]
#[ignore = "run in another process by a_killed_process_leaves_its_unfinished_file_and_no_lock"]
fn child_is_killed_while_it_writes() {
    let faults = Arc::new(Faults::default());
    let disk = RealDisk::open(path("")).unwrap().with_faults(Arc::clone(&faults));
    let file = disk.resume(path("f"), OsStr::new("f.part"), Mode::Shared).unwrap();
    file.write_at(0, b"some").unwrap();
    faults.arm(FaultPlan::once(1, Fault::Kill).only(DiskOp::Sync));
    file.persist(Overwrite::Never).unwrap();
}

#[test]
#[ignore = "run in another process by a_killed_process_leaves_its_unfinished_file_and_no_lock"]
fn child_finds_the_unfinished_file_taken() {
    let disk = RealDisk::open(path("")).unwrap();
    let error = disk.resume(path("f"), OsStr::new("f.part"), Mode::Shared).unwrap_err();
    assert!(matches!(error, DiskError::Locked { .. }), "{error:?}");
}

#[test]
fn an_unfinished_file_that_is_not_ours_alone_is_made_anew() {
    let (dir, disk) = disk();
    fs::write(dir.path().join("mine"), "precious").unwrap();
    fs::hard_link(dir.path().join("mine"), dir.path().join("f.part")).unwrap();
    let resume = || disk.resume(path("f"), OsStr::new("f.part"), Mode::Shared).unwrap();
    let file = resume();
    assert_eq!(file.stat().unwrap().len, 0);
    file.write_at(0, b"written").unwrap();
    drop(file);
    assert_eq!(fs::read(dir.path().join("mine")).unwrap(), b"precious");
    if !rustix::process::geteuid().is_root() {
        eprintln!("SKIPPED: a file of another user, which only root can make");
        return;
    }
    fs::write(dir.path().join("f.part"), "foreign").unwrap();
    std::os::unix::fs::chown(dir.path().join("f.part"), Some(12_345), None).unwrap();
    assert_eq!(resume().stat().unwrap().len, 0);
}

#[test]
fn an_unfinished_file_obeys_the_umask() {
    let (dir, disk) = disk();
    let file = disk.resume(path("f"), OsStr::new("f.part"), Mode::Shared).unwrap();
    file.persist(Overwrite::Never).unwrap();
    fs::write(dir.path().join("g"), "").unwrap();
    let mode = |name| fs::metadata(dir.path().join(name)).unwrap().mode();
    assert_eq!(mode("f"), mode("g"));
}
