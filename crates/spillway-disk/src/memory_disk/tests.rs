use std::{path::Path, sync::Arc};

use super::*;
use crate::{Fault, FaultPlan, ManualClock, conformance, run};
use spillway_types::UnixTime;

fn path(text: &str) -> &Path {
    Path::new(text)
}

fn names(disk: &MemoryDisk) -> Vec<String> {
    let entries = disk.list(path("")).unwrap();
    entries.iter().map(|entry| entry.name.display().to_string()).collect()
}

#[test]
fn conforms() {
    conformance::disk(|| Arc::new(MemoryDisk::new()));
}

#[tokio::test]
async fn calls_from_async_code_are_made_in_place() {
    let disk: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
    let thread = std::thread::current().id();
    let here = run(&disk, move |_| Ok(std::thread::current().id() == thread)).await;
    assert!(here.unwrap());
}

#[test]
fn a_name_whose_sync_failed_is_durable_when_its_directory_is_synced() {
    let faults = Arc::new(crate::Faults::default());
    let disk = MemoryDisk::new().with_faults(Arc::clone(&faults));
    disk.create_dir_all(path("d")).unwrap();
    // Open, write, sync, rename, sync of the directory.
    faults.arm(FaultPlan::once(5, Fault::Io));
    disk.write_durable(path("d/tx"), b"signed", Overwrite::Never).unwrap_err();
    faults.disarm();
    assert_eq!(disk.read(path("d/tx"), 9).unwrap(), b"signed", "it can be seen");
    disk.crash(Survival::Nothing).read(path("d/tx"), 9).unwrap_err();
    Disk::sync_dir(&disk, path("d")).unwrap();
    assert_eq!(disk.crash(Survival::Nothing).read(path("d/tx"), 9).unwrap(), b"signed");
}

#[test]
fn a_power_cut_takes_what_was_not_synced() {
    let disk = MemoryDisk::new();
    disk.write_durable(path("kept"), b"kept", Overwrite::Never).unwrap();
    disk.append_durable(path("journal"), b"one").unwrap();
    let unsynced = disk.create(path("lost"), Mode::Private).unwrap();
    unsynced.write_at(0, b"lost").unwrap();
    disk.symlink(path("kept"), path("link")).unwrap();
    let after = disk.crash(Survival::Nothing);
    assert_eq!(names(&after), ["journal", "kept"]);
    assert_eq!(after.read(path("journal"), 9).unwrap(), b"one");
    let killed = disk.crash(Survival::Everything);
    let left = names(&killed);
    assert!(matches!(&left[..], [temporary, ..] if temporary.starts_with(".tmp-")), "{left:?}");
    assert_eq!(left[1..], ["journal", "kept", "link"]);
}

#[test]
fn an_overwritten_file_is_old_or_new_after_any_power_cut() {
    for at in 1..=6 {
        for seed in 0..200 {
            let faults = Arc::new(Faults::default());
            let disk = MemoryDisk::new().with_faults(Arc::clone(&faults));
            disk.write_durable(path("a"), b"old", Overwrite::Never).unwrap();
            faults.arm(FaultPlan::onwards(at, Fault::Io));
            let written = disk.write_durable(path("a"), b"newer", Overwrite::Replace);
            let after = disk.crash(Survival::Seeded(seed));
            let found = after.read(path("a"), 9).unwrap();
            assert!(found == b"old" || found == b"newer", "step {at}, seed {seed}: {found:?}");
            if written.is_ok() {
                assert_eq!(found, b"newer", "step {at}, seed {seed}");
            }
        }
    }
}

#[test]
fn a_torn_append_leaves_a_prefix_and_never_touches_what_was_durable() {
    let mut lengths = std::collections::BTreeSet::new();
    for seed in 0..300 {
        let faults = Arc::new(Faults::default());
        let disk = MemoryDisk::new().with_faults(Arc::clone(&faults));
        disk.append_durable(path("j"), b"durable").unwrap();
        faults.arm(FaultPlan::once(1, Fault::Io).only(DiskOp::Sync));
        disk.append_durable(path("j"), b"+torn").unwrap_err();
        let found = disk.crash(Survival::Seeded(seed)).read(path("j"), 99).unwrap();
        assert!(b"durable+torn".starts_with(&found) && found.len() >= 7, "seed {seed}: {found:?}");
        lengths.insert(found.len());
    }
    assert_eq!(lengths.into_iter().collect::<Vec<_>>(), [7, 8, 9, 10, 11, 12]);
}

#[test]
fn a_rename_between_directories_is_in_one_place_after_any_power_cut() {
    let mut places = std::collections::BTreeSet::new();
    for seed in 0..200 {
        let disk = MemoryDisk::new();
        disk.create_dir_all(path("d")).unwrap();
        disk.write_durable(path("a"), b"a", Overwrite::Never).unwrap();
        let faults = Arc::new(Faults::default());
        let failing = disk.with_faults(Arc::clone(&faults));
        faults.arm(FaultPlan::onwards(2, Fault::Io));
        failing.rename(path("a"), path("d/a"), Overwrite::Never).unwrap_err();
        let after = failing.crash(Survival::Seeded(seed));
        let here = after.read(path("a"), 9).is_ok();
        let there = after.read(path("d/a"), 9).is_ok();
        assert!(here != there, "seed {seed}");
        places.insert(there);
    }
    assert_eq!(places.len(), 2);
}

#[test]
fn the_same_seed_gives_the_same_disk() {
    let disk = MemoryDisk::new();
    for number in 0..20 {
        let file = disk.create(path(&format!("f{number}")), Mode::Private).unwrap();
        file.write_at(0, &[number; 9]).unwrap();
        if number % 3 == 0 {
            file.persist(Overwrite::Never).unwrap();
        }
    }
    let image = |seed| {
        let after = disk.crash(Survival::Seeded(seed));
        let read = |name: &String| after.read(path(name), 99).unwrap();
        names(&after).iter().map(|name| (name.clone(), read(name))).collect::<Vec<_>>()
    };
    assert_eq!(image(7), image(7));
}

#[test]
fn a_full_disk_says_so_and_takes_again_when_there_is_room() {
    let disk = MemoryDisk::with_capacity(10);
    disk.write_durable(path("a"), b"123456", Overwrite::Never).unwrap();
    let error = disk.write_durable(path("b"), b"12345", Overwrite::Never).unwrap_err();
    assert!(matches!(error, DiskError::Full { op: DiskOp::Write, .. }), "{error:?}");
    assert_eq!(names(&disk), ["a"]);
    assert_eq!(disk.free_space().unwrap(), 4);
    let error = disk.append_durable(path("a"), b"12345").unwrap_err();
    assert!(matches!(error, DiskError::Full { .. }), "{error:?}");
    assert_eq!(disk.read(path("a"), 99).unwrap(), b"1234561234", "a torn tail, to the last byte");
    disk.remove_file(path("a")).unwrap();
    assert_eq!(disk.free_space().unwrap(), 10);
    disk.write_durable(path("b"), b"1234567890", Overwrite::Never).unwrap();
    disk.set_capacity(5);
    assert_eq!(disk.free_space().unwrap(), 0);
}

#[test]
fn a_power_cut_frees_locks_and_counts_anew() {
    let disk = MemoryDisk::with_capacity(100);
    let _held = disk.lock(path("lock")).unwrap();
    disk.write_durable(path("a"), b"1234", Overwrite::Never).unwrap();
    disk.create(path("b"), Mode::Private).unwrap().write_at(0, b"12345678").unwrap();
    let after = disk.crash(Survival::Nothing);
    let _again = after.lock(path("lock")).unwrap();
    assert_eq!(after.free_space().unwrap(), 96);
}

#[test]
fn times_come_from_the_clock() {
    let clock = ManualClock::new(UnixTime(1_700_000_000));
    let disk = MemoryDisk::new().with_clock(Arc::new(clock.clone()));
    disk.write_durable(path("a"), b"1", Overwrite::Never).unwrap();
    clock.set(UnixTime(1_600_000_000));
    disk.append_durable(path("b"), b"1").unwrap();
    assert_eq!(disk.stat(path("a")).unwrap().modified, (1_700_000_000, 0));
    assert_eq!(disk.stat(path("b")).unwrap().modified, (1_600_000_000, 0));
}

#[test]
fn of_an_unfinished_file_a_power_cut_leaves_what_it_likes_and_a_kill_all() {
    let disk = MemoryDisk::new();
    let file = disk.resume(path("a"), OsStr::new("a.part"), Mode::Private).unwrap();
    file.write_at(0, b"12345").unwrap();
    assert_eq!(names(&disk.crash(Survival::Nothing)), Vec::<String>::new());
    let killed = disk.crash(Survival::Everything);
    assert_eq!(killed.read(path("a.part"), 9).unwrap(), b"12345");
    let again = killed.resume(path("a"), OsStr::new("a.part"), Mode::Private).unwrap();
    again.persist(Overwrite::Never).unwrap();
    assert_eq!(killed.crash(Survival::Nothing).read(path("a"), 9).unwrap(), b"12345");
}
