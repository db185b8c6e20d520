//! Directories that are gone on with, and power cuts everywhere.

use spillway_disk::{Fault, FaultPlan, Faults, ManualClock, Mode, RealDisk};
use spillway_tests::Picture;
use spillway_types::UnixTime;

use super::*;

/// A large file, small ones that share segments, empty ones, links, and modes that are in the way.
fn album(disk: &dyn Disk) {
    disk.create_dir_all(Path::new("album/sub/empty")).unwrap();
    for (path, len, mode) in [
        ("a-large", 6 * SEGMENT + 17, 0o640),
        ("b-small", 300, 0o444),
        ("c-small", 400, 0o644),
        ("d-empty", 0, 0o600),
        ("sub/e-large", 2 * SEGMENT, 0o600),
        ("sub/f-small", 500, 0o600),
        ("sub/g-small", 501, 0o600),
    ] {
        let path = Path::new("album").join(path);
        let file = disk.create(&path, Mode::Private).unwrap();
        file.write_at(0, &noise(len as u64, len)).unwrap();
        file.set_attributes(mode, (1_600_000_000, 3)).unwrap();
        file.persist(Overwrite::Never).unwrap();
    }
    disk.symlink(Path::new("../a-large"), Path::new("album/sub/link")).unwrap();
    disk.set_attributes(Path::new("album/sub"), 0o500, (1_500_000_000, 1)).unwrap();
    disk.set_attributes(Path::new("album"), 0o755, (1_500_000_000, 2)).unwrap();
}

async fn stored_album() -> (Stored, Picture) {
    let disk = MemoryDisk::new();
    album(&disk);
    let picture = Picture::of(&disk, Path::new("album"));
    let source = Source::Path { disk: Arc::new(disk), path: "album".into() };
    (Stored::of(six(), source).await, picture)
}

#[tokio::test]
async fn a_directory_is_gone_on_with() {
    let (mut stored, picture) = stored_album().await;
    let all = stored.entries().len();
    assert!(all > 10, "{all}");
    for chunks in 1..=all {
        stored.disk = MemoryDisk::new();
        let image = if chunks < all {
            stored.dropped_after(chunks, &[Survival::Everything]).await.remove(0)
        } else {
            stored.disk.clone()
        };
        let before = stored.run(&image).await.unwrap();
        let expected = if chunks < all { all - chunks } else { all };
        assert_eq!(before.chunks, expected as u64, "after {chunks} of {all}");
        assert_eq!(stored.cluster.take_gets().len(), expected);
        assert_eq!(before.chunks_resumed, (all - expected) as u64);
        assert_eq!(Picture::of(&image, Path::new(BACK)), picture);
        assert_eq!(image.list(Path::new("")).unwrap().len(), 1, "nothing beside it");
    }
}

#[tokio::test]
async fn what_was_changed_in_an_unfinished_directory_is_fetched_again() {
    let (stored, picture) = stored_album().await;
    let all = stored.entries().len();
    let image = stored.dropped_after(all - 1, &[Survival::Everything]).await.remove(0);
    let tree = stored.part().with_extension("spillway-tree");
    let mut changed = 0;
    for name in ["a-large", "b-small"] {
        let path = tree.join(name);
        let Ok(mut bytes) = image.read(&path, u64::MAX) else { continue };
        bytes[5] ^= 1;
        let stat = image.stat(&path).unwrap();
        image.write_durable(&path, &bytes, Overwrite::Replace).unwrap();
        // So that only its bytes tell.
        image.set_attributes(&path, stat.mode, stat.modified).unwrap();
        changed += 1;
    }
    assert!(changed > 0);
    let done = stored.run(&image).await.unwrap();
    assert!(done.chunks > changed, "{done:?}");
    assert_eq!(Picture::of(&image, Path::new(BACK)), picture);
}

#[tokio::test]
async fn merging_keeps_the_files_that_are_finished() {
    let (stored, picture) = stored_album().await;
    stored.run(&stored.disk).await.unwrap();
    stored.cluster.take_log();
    let large = Path::new(BACK).join("a-large");
    stored.disk.remove_file(&large).unwrap();
    let merge = || {
        let (progress, stop) = (ProgressSender::default(), CancellationToken::new());
        stored.run_on(&stored.disk, Overwrite::Replace, progress, stop)
    };
    let done = merge().await.unwrap();
    assert_eq!(
        (done.chunks, stored.cluster.take_gets().len()),
        (8, 8),
        "the list of files and the large file"
    );
    assert_eq!(Picture::of(&stored.disk, Path::new(BACK)), picture);
    // The same length and time, other bytes: all of the file is fetched, and only that.
    let mut bytes = stored.disk.read(&large, u64::MAX).unwrap();
    bytes[SEGMENT] ^= 1;
    stored.disk.write_durable(&large, &bytes, Overwrite::Replace).unwrap();
    stored.disk.set_attributes(&large, 0o640, (1_600_000_000, 3)).unwrap();
    assert_eq!(merge().await.unwrap().chunks, 8);
    assert_eq!(Picture::of(&stored.disk, Path::new(BACK)), picture);
    assert_eq!(stored.disk.list(Path::new("")).unwrap().len(), 1, "nothing beside it");
}

/// A directory with one file of four segments.
async fn stored_large() -> (Stored, Picture) {
    let disk = MemoryDisk::new();
    disk.create_dir_all(Path::new("album")).unwrap();
    let large = Path::new("album/large");
    disk.write_durable(large, &noise(320, 4 * SEGMENT), Overwrite::Never).unwrap();
    disk.set_attributes(large, 0o600, (1_600_000_000, 3)).unwrap();
    disk.set_attributes(Path::new("album"), 0o700, (1_500_000_000, 2)).unwrap();
    let picture = Picture::of(&disk, Path::new("album"));
    let source = Source::Path { disk: Arc::new(disk), path: "album".into() };
    (Stored::of(six(), source).await, picture)
}

#[tokio::test]
async fn a_part_that_got_a_second_name_is_fetched_again_and_not_written_into() {
    let (stored, picture) = stored_large().await;
    let place = tempfile::tempdir().unwrap();
    let real = || -> Arc<dyn Disk> { Arc::new(RealDisk::open(place.path()).unwrap()) };
    stored.cluster.book().give_only(3);
    let (progress, mut seen) = ProgressSender::channel();
    let stop = CancellationToken::new();
    let among = |stop| (stop, Workers::new(WorkerLimits::default()));
    let first = stored.run_among(real(), Overwrite::Never, progress, among(stop.clone()));
    let (first, ()) = tokio::join!(first, async {
        seen.wait_for(|now| now.chunks_done == 3).await.unwrap();
        stop.cancel();
    });
    assert!(matches!(first, Err(DownloadError::Unfinished { chunks: 3, .. })), "{first:?}");
    let tree = place.path().join(stored.part().with_extension("spillway-tree"));
    let parts: Vec<_> = std::fs::read_dir(&tree).unwrap().map(|entry| entry.unwrap()).collect();
    assert_eq!(parts.len(), 1);
    // As a backup makes it that links what has not changed.
    let backup = place.path().join("backup");
    std::fs::hard_link(parts[0].path(), &backup).unwrap();
    let before = std::fs::read(&backup).unwrap();
    stored.cluster.book().behave();
    stored.cluster.take_log();
    let progress = ProgressSender::default();
    let done = stored
        .run_among(real(), Overwrite::Never, progress, among(CancellationToken::new()))
        .await
        .unwrap();
    let back = real();
    assert!(Picture::of(back.as_ref(), Path::new(BACK)) == picture, "other bytes, said to be good");
    assert_eq!(
        (done.chunks, done.chunks_resumed),
        (4, 1),
        "only the list of files is gone on with"
    );
    assert!(std::fs::read(&backup).unwrap() == before, "a file of somebody else was written into");
}

#[tokio::test]
async fn a_torn_list_of_files_does_not_cost_the_files() {
    let (stored, picture) = stored_album().await;
    let all = stored.entries().len();
    let images = stored.dropped_after(all - 1, &[Survival::Everything]).await;
    let tree = stored.part().with_extension("spillway-tree");
    for torn in [Some(&b"torn"[..]), Some(&b""[..]), None] {
        let image = images[0].crash(Survival::Everything);
        image.remove_file(&stored.part()).unwrap();
        if let Some(torn) = torn {
            image.write_durable(&stored.part(), torn, Overwrite::Never).unwrap();
        }
        let before = Picture::of(&image, &tree);
        for index in 0..stored.cluster.members.len() {
            let get = Box::new(|_, _: Option<_>| None);
            let tricks = spillway_tests::Tricks { get: Some(get), ..Default::default() };
            stored.cluster.book().play(index, tricks);
        }
        let result = stored.run(&image).await;
        assert!(matches!(result, Err(DownloadError::NotFound { .. })), "{result:?}");
        assert_eq!(Picture::of(&image, &tree), before);
        stored.cluster.book().behave();
        let done = stored.run(&image).await.unwrap();
        assert!(done.chunks_resumed > 5, "{done:?}");
        assert_eq!(Picture::of(&image, Path::new(BACK)), picture);
        assert_eq!(image.list(Path::new("")).unwrap().len(), 1, "nothing beside it");
    }
}

#[tokio::test]
async fn a_run_that_ends_before_its_last_step_leaves_nothing_for_ever() {
    let (stored, picture) = stored_large().await;
    // Removing the hidden directory and then the list of files is what comes last.
    let faults = Arc::new(Faults::default());
    let dying = stored.disk.clone().with_faults(Arc::clone(&faults));
    faults.arm(FaultPlan::onwards(1, Fault::Io).only(spillway_disk::DiskOp::Remove));
    stored.run(&dying).await.unwrap();
    assert_eq!(stored.disk.stat(&stored.part()).unwrap().len, 0);
    let exists = |result: Result<Downloaded, _>| {
        matches!(result, Err(DownloadError::Disk(DiskError::Exists { .. })))
    };
    assert!(exists(stored.run(&stored.disk).await));
    assert!(stored.disk.stat(&stored.part()).is_err());
    assert_eq!(Picture::of(&stored.disk, Path::new(BACK)), picture);
    // One with something in it may be gone on with.
    stored.disk.write_durable(&stored.part(), b"something", Overwrite::Never).unwrap();
    assert!(exists(stored.run(&stored.disk).await));
    assert_eq!(stored.disk.read(&stored.part(), 99).unwrap(), b"something");
}

/// The disk dies at its Nth change, for every N; then a power cut; then again on what is left.
async fn cut_off_everywhere(stored: &Stored, survival: impl Fn(u64) -> Survival) {
    // Times that nobody sets are all the same.
    let clock = Arc::new(ManualClock::new(UnixTime(1_700_000_000)));
    let empty = || MemoryDisk::new().with_clock(clock.clone());
    let whole = empty();
    stored.run(&whole).await.unwrap();
    let picture = Picture::of(&whole, Path::new(""));
    for at in 1.. {
        let faults = Arc::new(Faults::default());
        let data = empty();
        let dying = data.clone().with_faults(Arc::clone(&faults));
        faults.arm(FaultPlan::onwards(at, Fault::Io));
        let result = stored.run(&dying).await;
        if faults.count() < at {
            result.unwrap();
            assert!(at > 8, "{at}");
            return;
        }
        let image = data.crash(survival(at));
        if image.stat(Path::new(BACK)).is_err() {
            stored.run(&image).await.unwrap_or_else(|error| panic!("at change {at}: {error:?}"));
        }
        let mut seen = Picture::of(&image, Path::new(""));
        // A part may come back when it was removed and the power failed at once.
        let name = |path: &PathBuf| path.to_string_lossy().into_owned();
        seen.0.retain(|path, _| !name(path).contains(".spillway-"));
        seen.0.remove(Path::new(""));
        let mut expected = picture.0.clone();
        expected.remove(Path::new(""));
        assert!(seen.0 == expected, "at change {at}: {:?}", seen.paths());
    }
}

#[tokio::test]
async fn cut_off_at_any_change_of_the_disk_it_comes_whole() {
    let file = Stored::file(&noise(310, 3 * SEGMENT + 9)).await;
    let (directory, _) = stored_album().await;
    for stored in [&file, &directory] {
        cut_off_everywhere(stored, |_| Survival::Everything).await;
        cut_off_everywhere(stored, |_| Survival::Nothing).await;
        for round in 0..3 {
            cut_off_everywhere(stored, |at| Survival::Seeded(at * 1_000 + round)).await;
        }
    }
}
