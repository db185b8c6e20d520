//! Directories: what is in them comes back as it was, and nothing else does.

use std::{
    ffi::OsStr,
    os::unix::{ffi::OsStrExt, fs::PermissionsExt},
    path::{Path, PathBuf},
    sync::Arc,
};

use spillway_client::{
    DiskError, DownloadError, DownloadOptions, Downloaded, Overwrite, Remote, Source, Spend,
    Target, UploadOptions, Uploaded,
};
use spillway_disk::{Disk, MemoryDisk, RealDisk};
use spillway_tests::{Cluster, Picture, SEGMENT, Seen, noise, words};

const ROOT: &str = "album";

fn put(disk: &dyn Disk, path: &[u8], contents: &[u8], mode: u32, modified: (i64, u32)) {
    let path = Path::new(ROOT).join(OsStr::from_bytes(path));
    disk.create_dir_all(path.parent().unwrap()).unwrap();
    disk.write_durable(&path, contents, Overwrite::Never).unwrap();
    disk.set_attributes(&path, mode, modified).unwrap();
}

/// A bit of everything.
fn album(disk: &dyn Disk) {
    put(disk, b"empty", b"", 0o600, (1_000_000_000, 1));
    put(disk, b"one", b"1", 0o644, (1_000_000_001, 999_999_999));
    put(disk, b"run.sh", b"#!/bin/sh\n", 0o755, (1_500_000_000, 0));
    put(disk, b"large/exact", &noise(1, SEGMENT), 0o640, (1_600_000_000, 5));
    put(disk, b"large/more", &noise(2, 3 * SEGMENT + 17), 0o400, (1_600_000_001, 6));
    put(disk, b"small/text", &words(3, 700), 0o644, (0, 0));
    put(disk, b"small/text2", &words(4, 700), 0o644, (-1, 500_000_000));
    put(disk, b"deep/er/and/deeper", b"down here", 0o600, (1_234_567_890, 123));
    put(disk, b"strange/not \xff\xfe utf-8\n", b"bytes", 0o604, (1_700_000_000, 0));
    let at = |path: &str| Path::new(ROOT).join(path);
    disk.create_dir_all(&at("nothing/in/here")).unwrap();
    disk.symlink(Path::new("../one"), &at("small/link")).unwrap();
    disk.symlink(Path::new("/etc/passwd"), &at("small/outside")).unwrap();
    disk.symlink(Path::new("does/not/exist"), &at("dangling")).unwrap();
    disk.symlink(Path::new("large"), &at("to-a-directory")).unwrap();
    for (path, mode, time) in [
        ("nothing/in/here", 0o700, 100),
        ("nothing/in", 0o711, 200),
        ("nothing", 0o755, 300),
        ("deep", 0o750, 400),
        ("", 0o705, 500),
    ] {
        disk.set_attributes(&at(path), mode, (1_650_000_000 + time, 7)).unwrap();
    }
}

async fn upload(cluster: &Cluster, disk: Arc<dyn Disk>, options: UploadOptions) -> Uploaded {
    let source = Source::Path { disk, path: ROOT.into() };
    cluster.client(&MemoryDisk::new()).upload(source, &cluster.payer, options).await.unwrap()
}

async fn download(
    cluster: &Cluster,
    map: &[u8],
    disk: &Arc<dyn Disk>,
    overwrite: Overwrite,
) -> Result<Downloaded, DownloadError> {
    let target = Target::Path { disk: Arc::clone(disk), path: "back".into(), overwrite };
    let client = cluster.client(&MemoryDisk::new());
    client.download(Remote::DataMap(map.to_vec()), target, DownloadOptions::default()).await
}

#[tokio::test]
async fn a_directory_comes_back_as_it_was() {
    let cluster = Cluster::new();
    let disk = MemoryDisk::new();
    album(&disk);
    let original = Picture::of(&disk, Path::new(ROOT));
    let uploaded = upload(&cluster, Arc::new(disk), Cluster::options()).await;
    assert_eq!(uploaded.skipped, Vec::<PathBuf>::new());
    assert_eq!(cluster.charged().await.paid, cluster.price_of_all());

    let back: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
    let map = uploaded.data_map.unwrap();
    let downloaded = download(&cluster, &map, &back, Overwrite::Never).await.unwrap();
    assert_eq!((downloaded.files, downloaded.bytes), (9, uploaded.bytes));
    assert_eq!(Picture::of(back.as_ref(), Path::new("back")), original);
    assert_eq!(back.list(Path::new("")).unwrap().len(), 1, "nothing beside it");
}

#[tokio::test]
async fn a_directory_comes_back_onto_a_real_disk_too() {
    let cluster = Cluster::new();
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let disk = RealDisk::open(from.path()).unwrap();
    album(&disk);
    let original = Picture::of(&disk, Path::new(ROOT));
    let uploaded = upload(&cluster, Arc::new(disk), Cluster::options()).await;
    let back: Arc<dyn Disk> = Arc::new(RealDisk::open(to.path()).unwrap());
    let map = uploaded.data_map.unwrap();
    download(&cluster, &map, &back, Overwrite::Never).await.unwrap();
    assert_eq!(Picture::of(back.as_ref(), Path::new("back")), original);
    assert_eq!(back.list(Path::new("")).unwrap().len(), 1);
}

#[tokio::test]
async fn special_files_are_reported_and_skipped_and_setuid_is_dropped() {
    use rustix::fs::{CWD, FileType, Mode, mknodat};
    let cluster = Cluster::new();
    let place = tempfile::tempdir().unwrap();
    let disk = RealDisk::open(place.path()).unwrap();
    put(&disk, b"file", b"contents", 0o644, (1_600_000_000, 0));
    put(&disk, b"setuid", b"root", 0o755, (1_600_000_000, 0));
    let at = |path: &str| place.path().join(ROOT).join(path);
    std::fs::set_permissions(at("setuid"), std::fs::Permissions::from_mode(0o6755)).unwrap();
    let fifo = Mode::from_raw_mode(0o644);
    mknodat(CWD, at("pipe"), FileType::Fifo, fifo, 0).unwrap();
    disk.create_dir_all(&Path::new(ROOT).join("sub")).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(at("sub/socket")).unwrap();

    let uploaded = upload(&cluster, Arc::new(disk), Cluster::options()).await;
    assert_eq!(uploaded.skipped, [Path::new("pipe"), Path::new("sub/socket")]);
    assert_eq!(uploaded.bytes, 12);
    let back: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
    let map = uploaded.data_map.unwrap();
    download(&cluster, &map, &back, Overwrite::Never).await.unwrap();
    let picture = Picture::of(back.as_ref(), Path::new("back"));
    assert_eq!(picture.paths(), ["", "file", "setuid", "sub"]);
    let setuid = Seen::File(0o755, (1_600_000_000, 0), b"root".to_vec());
    assert_eq!(picture.0[Path::new("setuid")], setuid);
}

#[tokio::test]
async fn the_same_directory_elsewhere_pays_nothing() {
    let cluster = Cluster::new();
    let (here, there) = (MemoryDisk::new(), MemoryDisk::new());
    album(&here);
    album(&there);
    let first = upload(&cluster, Arc::new(here), Cluster::options()).await;
    let before = cluster.charged().await;
    let again = upload(&cluster, Arc::new(there), Cluster::options()).await;
    assert_eq!((again.chunks_already_stored, again.spend), (first.chunks_total, Spend::default()));
    assert_eq!((cluster.charged().await, again.data_map), (before, first.data_map));
}

#[tokio::test]
async fn a_public_directory_is_read_by_its_address() {
    let cluster = Cluster::new();
    let disk = MemoryDisk::new();
    album(&disk);
    let original = Picture::of(&disk, Path::new(ROOT));
    let options = UploadOptions { public: true, ..Cluster::options() };
    let uploaded = upload(&cluster, Arc::new(disk), options).await;
    let back: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
    let target =
        Target::Path { disk: Arc::clone(&back), path: "back".into(), overwrite: Overwrite::Never };
    let client = cluster.client(&MemoryDisk::new());
    let remote = Remote::Public(uploaded.public_address.unwrap());
    client.download(remote, target, DownloadOptions::default()).await.unwrap();
    assert_eq!(Picture::of(back.as_ref(), Path::new("back")), original);
}

#[tokio::test]
async fn an_empty_directory_and_one_of_empty_files() {
    let cluster = Cluster::new();
    for files in [&[][..], &["a", "b/c"]] {
        let disk = MemoryDisk::new();
        disk.create_dir_all(Path::new(ROOT)).unwrap();
        for file in files {
            put(&disk, file.as_bytes(), b"", 0o644, (1_600_000_000, 0));
        }
        let original = Picture::of(&disk, Path::new(ROOT));
        let uploaded = upload(&cluster, Arc::new(disk), Cluster::options()).await;
        assert_eq!((uploaded.bytes, uploaded.chunks_total), (0, 1));
        let back: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
        let map = uploaded.data_map.unwrap();
        let downloaded = download(&cluster, &map, &back, Overwrite::Never).await.unwrap();
        assert_eq!(downloaded.files, files.len() as u64);
        assert_eq!(Picture::of(back.as_ref(), Path::new("back")), original);
    }
}

#[tokio::test]
async fn what_is_there_is_merged_into_only_when_asked_for() {
    let cluster = Cluster::new();
    let disk = MemoryDisk::new();
    album(&disk);
    let original = Picture::of(&disk, Path::new(ROOT));
    let map = upload(&cluster, Arc::new(disk), Cluster::options()).await.data_map.unwrap();
    let memory = MemoryDisk::new();
    memory.create_dir_all(Path::new("back")).unwrap();
    memory.write_durable(Path::new("back/mine"), b"keep", Overwrite::Never).unwrap();
    memory.write_durable(Path::new("back/one"), b"old", Overwrite::Never).unwrap();
    let before = Picture::of(&memory, Path::new(""));
    let back: Arc<dyn Disk> = Arc::new(memory.clone());
    match download(&cluster, &map, &back, Overwrite::Never).await.unwrap_err() {
        DownloadError::Disk(DiskError::Exists { path }) => {
            assert_eq!(path, Path::new("memory:/back"));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(Picture::of(&memory, Path::new("")), before);
    download(&cluster, &map, &back, Overwrite::Replace).await.unwrap();
    let mut merged = Picture::of(&memory, Path::new("back"));
    let Some(Seen::File(_, _, mine)) = merged.0.remove(Path::new("mine")) else {
        panic!("what was there and is not in the upload stays");
    };
    assert_eq!((mine.as_slice(), &merged), (&b"keep"[..], &original));
}

#[tokio::test]
async fn a_directory_does_not_go_into_a_stream() {
    let cluster = Cluster::new();
    let disk = MemoryDisk::new();
    album(&disk);
    let map = upload(&cluster, Arc::new(disk), Cluster::options()).await.data_map.unwrap();
    let client = cluster.client(&MemoryDisk::new());
    let target = Target::Stream(Box::new(std::io::sink()));
    let result = client.download(Remote::DataMap(map), target, DownloadOptions::default()).await;
    assert!(matches!(result, Err(DownloadError::DirectoryToStream)), "{result:?}");
}

#[tokio::test]
async fn a_directory_that_cannot_be_fetched_whole_is_not_there() {
    let cluster = Cluster::new();
    let disk = MemoryDisk::new();
    album(&disk);
    let map = upload(&cluster, Arc::new(disk), Cluster::options()).await.data_map.unwrap();
    // One chunk is lost everywhere.
    let lost = *cluster.stored().keys().next_back().unwrap();
    for member in &cluster.members {
        member.play(spillway_tests::Tricks {
            get: Some(Box::new(move |address, chunk| chunk.filter(|_| address != lost))),
            ..spillway_tests::Tricks::default()
        });
    }
    let back: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
    let error = match download(&cluster, &map, &back, Overwrite::Never).await.unwrap_err() {
        DownloadError::Unfinished { source, .. } => *source,
        error => {
            assert_eq!(back.list(Path::new("")).unwrap(), [], "without a manifest nothing is kept");
            error
        }
    };
    match error {
        DownloadError::NotFound { address, asked } => assert_eq!((address, asked), (lost, 10)),
        other => panic!("{other:?}"),
    }
    assert!(back.stat(Path::new("back")).is_err());
}
