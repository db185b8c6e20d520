//! Directories that are gone on with, and power cuts everywhere.

use spillway_disk::{Fault, FaultPlan, Faults, ManualClock, Mode};
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
