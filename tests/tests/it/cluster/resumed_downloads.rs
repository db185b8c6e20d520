//! Downloads that end in the middle and are run again: what is there and good is not fetched again,
//! what is not is, and the target is there whole or not at all.

mod directories;
mod limits;

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::Arc,
};

use spillway_client::{
    DiskError, DownloadError, DownloadOptions, Downloaded, Overwrite, Progress, ProgressSender,
    Remote, Source, Target, UploadOptions, WorkerLimits, Workers,
};
use spillway_disk::{Disk, MemoryDisk, Survival};
use spillway_seal::DataMap;
use spillway_tests::{Cluster, ClusterOptions, SEGMENT, Tricks, noise};
use spillway_types::{ChunkAddress, SegmentHash};
use tokio_util::sync::CancellationToken;

const BACK: &str = "back";

/// Something stored, and the disk that it is downloaded to.
struct Stored {
    cluster: Cluster,
    map: Vec<u8>,
    disk: MemoryDisk,
}

fn six() -> Cluster {
    Cluster::with(ClusterOptions { nodes: 6, ..ClusterOptions::default() })
}

impl Stored {
    async fn file(contents: &[u8]) -> Self {
        Self::of(six(), Cluster::file(contents)).await
    }

    async fn of(cluster: Cluster, source: Source) -> Self {
        let client = cluster.client(&MemoryDisk::new());
        let uploaded = client.upload(source, &cluster.payer, Cluster::options()).await.unwrap();
        cluster.take_log();
        Self { cluster, map: uploaded.data_map.unwrap(), disk: MemoryDisk::new() }
    }

    fn entries(&self) -> Vec<(ChunkAddress, SegmentHash, usize)> {
        let map = DataMap::decode(&self.map).unwrap();
        assert_eq!(map.level(), 0);
        map.entries().iter().map(|entry| (entry.address, entry.hash, entry.len as usize)).collect()
    }

    /// What the part of this target is called.
    fn part(&self) -> PathBuf {
        let id = ChunkAddress::of(&self.map).to_string();
        format!(".{BACK}.{}.spillway-part", &id[..16]).into()
    }

    /// The chunks of which nothing good is in a part on this disk.
    fn missing(&self, disk: &MemoryDisk) -> BTreeSet<ChunkAddress> {
        let part = match disk.read(&self.part(), u64::MAX) {
            Err(DiskError::NotFound { .. }) => Vec::new(),
            found => found.unwrap(),
        };
        let mut start = 0;
        let mut missing = BTreeSet::new();
        for (address, hash, len) in self.entries() {
            let found = part.get(start..start + len).unwrap_or_default();
            start += len;
            if found.is_empty() || SegmentHash::of(found) != hash {
                missing.insert(address);
            }
        }
        missing
    }

    async fn run_on(
        &self,
        disk: &MemoryDisk,
        overwrite: Overwrite,
        progress: ProgressSender,
        stop: CancellationToken,
    ) -> Result<Downloaded, DownloadError> {
        let workers = Workers::new(WorkerLimits::default());
        self.run_among(Arc::new(disk.clone()), overwrite, progress, (stop, workers)).await
    }

    async fn run_among(
        &self,
        disk: Arc<dyn Disk>,
        overwrite: Overwrite,
        progress: ProgressSender,
        (stop, workers): (CancellationToken, Workers),
    ) -> Result<Downloaded, DownloadError> {
        let target = Target::Path { disk, path: BACK.into(), overwrite };
        let client = self.cluster.client_among(Arc::new(MemoryDisk::new()), stop, workers);
        client
            .download(Remote::DataMap(self.map.clone()), target, DownloadOptions { progress })
            .await
    }

    async fn run(&self, disk: &MemoryDisk) -> Result<Downloaded, DownloadError> {
        let stop = CancellationToken::new();
        self.run_on(disk, Overwrite::Never, ProgressSender::default(), stop).await
    }

    /// Downloads until so many chunks are there, and is dropped then. What a kill at this moment
    /// leaves, and a power cut, are taken with it.
    async fn dropped_after(&self, chunks: usize, images: &[Survival]) -> Vec<MemoryDisk> {
        self.cluster.book().give_only(chunks);
        let (progress, mut seen) = ProgressSender::channel();
        let stop = CancellationToken::new();
        let images = tokio::select! {
            result = self.run_on(&self.disk, Overwrite::Never, progress, stop) => {
                panic!("{result:?}")
            }
            half = seen.wait_for(|now| now.chunks_done == chunks as u64) => {
                half.unwrap();
                images.iter().map(|survival| self.disk.crash(*survival)).collect()
            }
        };
        self.cluster.book().behave();
        self.cluster.take_log();
        images
    }

    /// Goes on, fetches exactly this, and has the whole file then and nothing else.
    async fn goes_on(&self, disk: &MemoryDisk, missing: &BTreeSet<ChunkAddress>, contents: &[u8]) {
        let all = self.entries().len() as u64;
        let done = self.run(disk).await.unwrap();
        assert_eq!(&self.cluster.take_gets(), missing);
        assert_eq!(done.chunks, missing.len() as u64);
        assert_eq!((done.chunks_resumed, done.bytes), (all - done.chunks, contents.len() as u64));
        assert!(disk.read(Path::new(BACK), u64::MAX).unwrap() == contents, "other bytes");
        assert_eq!(disk.list(Path::new("")).unwrap().len(), 1, "nothing beside it");
    }
}

#[tokio::test]
async fn dropped_and_run_again_only_the_rest_is_fetched() {
    let contents = noise(300, 19 * SEGMENT + 7);
    let mut stored = Stored::file(&contents).await;
    for chunks in [0, 1, 7, 19] {
        stored.disk = MemoryDisk::new();
        stored.dropped_after(chunks, &[]).await;
        assert!(stored.disk.stat(Path::new(BACK)).is_err(), "whole or not at all");
        let missing = stored.missing(&stored.disk);
        assert_eq!(missing.len(), 20 - chunks);
        assert_eq!(stored.disk.list(Path::new("")).unwrap().len(), usize::from(chunks > 0));
        stored.goes_on(&stored.disk, &missing, &contents).await;
    }
}

#[tokio::test]
async fn killed_or_cut_off_only_what_is_not_there_is_fetched() {
    let contents = noise(301, 12 * SEGMENT + 1);
    let stored = Stored::file(&contents).await;
    let mut survivals = vec![Survival::Nothing, Survival::Everything];
    survivals.extend((0..30).map(Survival::Seeded));
    let images = stored.dropped_after(9, &survivals).await;
    let mut left = BTreeSet::new();
    for image in &images {
        let missing = stored.missing(image);
        left.insert(missing.len());
        stored.goes_on(image, &missing, &contents).await;
    }
    assert!(left.contains(&4) && left.contains(&13) && left.len() > 3, "{left:?}");
}

#[tokio::test]
async fn a_stop_keeps_what_is_there_and_says_so() {
    let contents = noise(302, 10 * SEGMENT);
    let stored = Stored::file(&contents).await;
    stored.cluster.book().give_only(6);
    let (progress, mut seen) = ProgressSender::channel();
    let stop = CancellationToken::new();
    let (result, ()) = tokio::join!(
        stored.run_on(&stored.disk, Overwrite::Never, progress, stop.clone()),
        async {
            seen.wait_for(|now| now.chunks_done == 6).await.unwrap();
            stop.cancel();
        }
    );
    let DownloadError::Unfinished { path, chunks, bytes, bytes_total, source } =
        result.unwrap_err()
    else {
        panic!("what is kept is said");
    };
    assert!(matches!(*source, DownloadError::Interrupted));
    assert_eq!((chunks, bytes, bytes_total), (6, 6 * SEGMENT as u64, 10 * SEGMENT as u64));
    assert_eq!(path, stored.disk.display(&stored.part()));
    // Once more before anything is fetched: it is still there.
    let stopped = CancellationToken::new();
    stopped.cancel();
    let again = stored.run_on(&stored.disk, Overwrite::Never, ProgressSender::default(), stopped);
    assert!(matches!(again.await, Err(DownloadError::Interrupted)));
    stored.cluster.book().behave();
    stored.cluster.take_log();
    let missing = stored.missing(&stored.disk);
    assert_eq!(missing.len(), 4);
    stored.goes_on(&stored.disk, &missing, &contents).await;
}

#[tokio::test]
async fn what_is_there_counts_as_done_at_once() {
    let contents = noise(303, 10 * SEGMENT);
    let stored = Stored::file(&contents).await;
    stored.dropped_after(6, &[]).await;
    stored.cluster.book().give_only(0);
    let (progress, mut seen) = ProgressSender::channel();
    let stop = CancellationToken::new();
    tokio::select! {
        result = stored.run_on(&stored.disk, Overwrite::Never, progress, stop) => {
            panic!("{result:?}")
        }
        now = seen.wait_for(|now| now.chunks_done > 0) => {
            let Progress { bytes_done, bytes_total, chunks_done, .. } = *now.unwrap();
            assert_eq!((bytes_done, bytes_total), (6 * SEGMENT as u64, Some(10 * SEGMENT as u64)));
            assert_eq!(chunks_done, 6);
        }
    }
}

#[tokio::test]
async fn what_was_changed_is_fetched_again_and_nothing_else() {
    let contents = noise(304, 5 * SEGMENT + 5);
    let stored = Stored::file(&contents).await;
    let entries = stored.entries();
    let part = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = contents.clone();
        change(&mut bytes);
        let disk = MemoryDisk::new();
        disk.write_durable(&stored.part(), &bytes, Overwrite::Never).unwrap();
        disk
    };
    for (index, (address, ..)) in entries.iter().enumerate() {
        for offset in [0, 4] {
            let disk = part(&|bytes| bytes[index * SEGMENT + offset] ^= 1);
            stored.goes_on(&disk, &[*address].into(), &contents).await;
        }
    }
    // Too long, too short, and all there.
    let last: BTreeSet<_> = [entries[5].0].into();
    stored.goes_on(&part(&|bytes| bytes.push(0)), &[].into(), &contents).await;
    stored.goes_on(&part(&|bytes| bytes.truncate(5 * SEGMENT + 4)), &last, &contents).await;
    stored.goes_on(&part(&|_| {}), &[].into(), &contents).await;
}

#[tokio::test]
async fn small_files_are_gone_on_with_too() {
    for len in [0, 1, SEGMENT - 1, SEGMENT] {
        let contents = noise(305, len);
        let stored = Stored::file(&contents).await;
        let all: BTreeSet<_> = stored.entries().iter().map(|entry| entry.0).collect();
        let image = stored.dropped_after(0, &[Survival::Everything]).await.remove(0);
        stored.goes_on(&image, &all, &contents).await;
        if len > 0 {
            let disk = MemoryDisk::new();
            disk.write_durable(&stored.part(), &contents, Overwrite::Never).unwrap();
            stored.goes_on(&disk, &[].into(), &contents).await;
        }
    }
}

#[tokio::test]
async fn a_chunk_that_is_lost_keeps_the_others() {
    let contents = noise(306, 30 * SEGMENT);
    let stored = Stored::file(&contents).await;
    let lost = stored.entries()[20].0;
    let lose = |address: ChunkAddress| {
        for index in 0..stored.cluster.members.len() {
            let get = Box::new(move |asked, chunk: Option<_>| chunk.filter(|_| asked != address));
            let tricks = spillway_tests::Tricks { get: Some(get), ..Default::default() };
            stored.cluster.book().play(index, tricks);
        }
    };
    lose(lost);
    match stored.run(&stored.disk).await.unwrap_err() {
        DownloadError::Unfinished { source, chunks, .. } => {
            assert!(matches!(*source, DownloadError::NotFound { address, .. } if address == lost));
            assert!(chunks >= 20);
        }
        other => panic!("{other:?}"),
    }
    stored.cluster.book().behave();
    stored.cluster.take_log();
    let missing = stored.missing(&stored.disk);
    assert!(missing.contains(&lost) && missing.len() <= 10);
    stored.goes_on(&stored.disk, &missing, &contents).await;
    // When nothing is good, nothing stays.
    let one = Stored::file(b"one segment").await;
    for index in 0..one.cluster.members.len() {
        let get = Box::new(|_, _: Option<_>| None);
        let tricks = spillway_tests::Tricks { get: Some(get), ..Default::default() };
        one.cluster.book().play(index, tricks);
    }
    one.disk.write_durable(&one.part(), b"garbage", Overwrite::Never).unwrap();
    assert!(matches!(one.run(&one.disk).await, Err(DownloadError::NotFound { .. })));
    assert_eq!(one.disk.list(Path::new("")).unwrap(), []);
}

#[tokio::test]
async fn the_part_of_another_data_map_is_left_alone() {
    let contents = noise(307, 3 * SEGMENT);
    let stored = Stored::file(&contents).await;
    let other = Path::new(".back.0123456789abcdef.spillway-part");
    stored.disk.write_durable(other, b"of another", Overwrite::Never).unwrap();
    stored.run(&stored.disk).await.unwrap();
    assert_eq!(stored.disk.read(other, 99).unwrap(), b"of another");
    assert_eq!(stored.disk.list(Path::new("")).unwrap().len(), 2);
}

#[tokio::test]
async fn of_two_at_once_one_is_told() {
    let contents = noise(308, 6 * SEGMENT);
    let stored = Stored::file(&contents).await;
    stored.cluster.book().give_only(2);
    let (progress, mut seen) = ProgressSender::channel();
    let (stop, stop_first) = (CancellationToken::new(), CancellationToken::new());
    let (first, second) = tokio::join!(
        stored.run_on(&stored.disk, Overwrite::Never, progress, stop_first.clone()),
        async {
            seen.wait_for(|now| now.chunks_done == 2).await.unwrap();
            let other = ProgressSender::default();
            let result = stored.run_on(&stored.disk, Overwrite::Replace, other, stop).await;
            stop_first.cancel();
            result
        }
    );
    match second.unwrap_err() {
        DownloadError::Disk(DiskError::Locked { path }) => {
            assert_eq!(path, stored.disk.display(&stored.part()));
        }
        other => panic!("{other:?}"),
    }
    assert!(matches!(first, Err(DownloadError::Unfinished { chunks: 2, .. })), "{first:?}");
}

#[tokio::test]
async fn a_target_that_comes_in_between_is_kept_and_so_is_the_download() {
    let contents = noise(309, 4 * SEGMENT);
    let stored = Stored::file(&contents).await;
    stored.dropped_after(3, &[]).await;
    let target = Path::new(BACK);
    stored.disk.write_durable(target, b"mine", Overwrite::Never).unwrap();
    let result = stored.run(&stored.disk).await;
    assert!(matches!(result, Err(DownloadError::Disk(DiskError::Exists { .. }))), "{result:?}");
    assert_eq!(stored.disk.read(target, 99).unwrap(), b"mine");
    assert_eq!(stored.missing(&stored.disk).len(), 1, "nothing of it is lost");
    let stop = CancellationToken::new();
    let progress = ProgressSender::default();
    let done = stored.run_on(&stored.disk, Overwrite::Replace, progress, stop).await.unwrap();
    assert_eq!((done.chunks, done.chunks_resumed), (1, 3));
    assert!(stored.disk.read(target, u64::MAX).unwrap() == contents);
}

#[tokio::test]
async fn a_target_that_appears_while_it_is_fetched_is_kept_and_so_is_the_download() {
    let contents = noise(314, 4 * SEGMENT);
    let stored = Stored::file(&contents).await;
    let target = Path::new(BACK);
    for member in &stored.cluster.members {
        let disk = stored.disk.clone();
        member.play(Tricks {
            get: Some(Box::new(move |_, chunk| {
                // The first of them makes it.
                let _ = disk.write_durable(target, b"mine", Overwrite::Never);
                chunk
            })),
            ..Tricks::default()
        });
    }
    match stored.run(&stored.disk).await.unwrap_err() {
        DownloadError::Unfinished { source, .. } => {
            assert!(matches!(*source, DownloadError::Disk(DiskError::Exists { .. })), "{source:?}");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(stored.disk.read(target, 99).unwrap(), b"mine");
    assert_eq!(stored.missing(&stored.disk), [].into(), "nothing of it is lost");
}

#[tokio::test]
async fn a_full_disk_keeps_what_fits() {
    let contents = noise(311, 10 * SEGMENT);
    let stored = Stored::file(&contents).await;
    stored.disk.set_capacity(5 * SEGMENT as u64);
    match stored.run(&stored.disk).await.unwrap_err() {
        DownloadError::Unfinished { source, .. } => {
            assert!(matches!(*source, DownloadError::Disk(DiskError::Full { .. })), "{source:?}");
        }
        other => panic!("{other:?}"),
    }
    stored.disk.set_capacity(1 << 30);
    stored.cluster.take_log();
    let missing = stored.missing(&stored.disk);
    assert!((5..10).contains(&missing.len()));
    stored.goes_on(&stored.disk, &missing, &contents).await;
}

#[tokio::test]
async fn a_public_file_is_gone_on_with_by_its_data_map() {
    let contents = noise(312, 4 * SEGMENT);
    let cluster = six();
    let client = cluster.client(&MemoryDisk::new());
    let options = UploadOptions { public: true, ..Cluster::options() };
    let done = client.upload(Cluster::file(&contents), &cluster.payer, options).await.unwrap();
    let (map, disk) = (done.data_map.unwrap(), MemoryDisk::new());
    let stored = Stored { cluster, map, disk };
    stored.dropped_after(3, &[]).await;
    let target = Target::Path {
        disk: Arc::new(stored.disk.clone()),
        path: BACK.into(),
        overwrite: Overwrite::Never,
    };
    let remote = Remote::Public(done.public_address.unwrap());
    let client = stored.cluster.client(&MemoryDisk::new());
    let done = client.download(remote, target, DownloadOptions::default()).await.unwrap();
    assert_eq!((done.chunks, done.chunks_resumed), (2, 3), "the data map and what was missing");
    assert!(stored.disk.read(Path::new(BACK), u64::MAX).unwrap() == contents);
}
