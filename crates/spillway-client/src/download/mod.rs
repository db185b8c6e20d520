//! Downloads: from a data map to bytes, `data map → fetch → open → file`, one direction.
//!
//! Chunks are fetched a few at a time and checked against their address; a bad or missing one is
//! asked for at the next peer. A file grows under a hidden name beside its target and gets its own
//! when all of it is there and durable; a directory likewise, unless it is merged into one that
//! exists.
//!
//! What is not finished stays, and the next download through the same data map to the same target
//! goes on with it. There is no journal: what is there is read, hashed and compared with the data
//! map, segment by segment, and what is missing or different is fetched. So nothing that a crash
//! has torn or anybody has changed passes, and nothing needs to be synced before the end. Of a
//! directory, finished files count by what is in them too; they must have length, mode and time of
//! the manifest. What goes into a stream is gone, and the data maps above the lowest are fetched
//! again.
//!
//! What a process holds does not grow with the number of its downloads: those over
//! [`crate::WorkerLimits::downloads`] wait. A segment for the disk keeps its place among all fetches,
//! and its bytes, until it is written. One for a stream gives both back as soon as it is opened:
//! streams may be slow without end, and one must not keep the others from fetching. What waits for
//! its turn there is at most as much as a download fetches at once.

mod directory;
mod fetch;
mod file;
mod names;

use std::{
    collections::BTreeSet,
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use spillway_disk::{Disk, DiskError, DiskExt, Overwrite, run};
use spillway_seal::{ContentKind, DataMap, Entry, MAX_ROOT_BYTES, Opener, Unpacker};

use spillway_types::SegmentHash;

pub(crate) use fetch::fetch_chunk;

use fetch::fetch_held;
use names::Names;

use crate::{
    ClientParts, DownloadError, DownloadOptions, Downloaded, ProgressSender, Remote, Stage, Target,
    limits::FETCH_WORKERS,
    workers::{Held, Work},
};

/// Downloads what a data map describes.
pub(crate) async fn download(
    parts: &ClientParts,
    remote: Remote,
    target: Target,
    options: DownloadOptions,
) -> Result<Downloaded, DownloadError> {
    let started = parts.clock.monotonic();
    refuse_existing(&remote, &target).await?;
    let _place = tokio::select! {
        biased;
        () = parts.stop.cancelled() => return Err(DownloadError::Interrupted),
        place = parts.workers.enter(Work::Download) => place,
    };
    let (map, names, map_chunks) = resolve(parts, remote).await?;
    let job = Job {
        parts: parts.clone(),
        openers: Mutex::new(Vec::new()),
        progress: options.progress,
        names,
        counts: Mutex::default(),
        map,
    };
    let (content_len, count) = (job.map.content_len(), job.map.entries().len() as u64);
    job.progress.begin(Stage::Fetch, Some(content_len), Some(count));
    let job = Arc::new(job);
    let (bytes, files) = match target {
        Target::Path { disk, path, overwrite } => {
            let place = (Arc::clone(&disk), path.clone());
            let done = match job.map.content() {
                ContentKind::File => {
                    file::write(&job, disk, path, overwrite).await.map(|bytes| (bytes, 1))
                }
                ContentKind::Directory => directory::restore(&job, disk, path, overwrite).await,
            };
            match done {
                Ok(done) => done,
                Err(error) => return Err(unfinished(&job, place, error).await),
            }
        }
        Target::Stream(output) => match job.map.content() {
            ContentKind::File => (to_stream(&job, output).await?, 1),
            ContentKind::Directory => return Err(DownloadError::DirectoryToStream),
        },
    };
    job.progress.set_stage(Stage::Done);
    let elapsed = parts.clock.monotonic().saturating_sub(started);
    let Counts { chunks_resumed, bytes_resumed, .. } = *job.counts();
    let chunks = map_chunks + count - chunks_resumed;
    Ok(Downloaded { bytes, chunks, chunks_resumed, bytes_resumed, files, elapsed })
}

/// Adds to an error what is kept.
async fn unfinished(
    job: &Job,
    (disk, path): (Arc<dyn Disk>, PathBuf),
    error: DownloadError,
) -> DownloadError {
    let Counts { chunks, bytes, .. } = *job.counts();
    let part = path.with_file_name(job.names.part(&path));
    let look = move |disk: &dyn Disk| Ok(disk.exists(&part)?.then(|| disk.display(&part)));
    match run(&disk, look).await {
        Ok(Some(path)) if chunks > 0 => {
            let bytes_total = job.map.content_len();
            let source = Box::new(error);
            DownloadError::Unfinished { path, chunks, bytes, bytes_total, source }
        }
        _ => error,
    }
}

/// One download under way.
pub(crate) struct Job {
    parts: ClientParts,
    map: DataMap,
    /// Openers that no thread uses now: at most as many as fetches run at once.
    openers: Mutex<Vec<Opener>>,
    progress: ProgressSender,
    names: Names,
    counts: Mutex<Counts>,
}

/// Segments that are where they belong, and those of them that were when the download began.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    chunks: u64,
    bytes: u64,
    chunks_resumed: u64,
    bytes_resumed: u64,
}

/// An output that is there already is said before anything is fetched.
async fn refuse_existing(remote: &Remote, target: &Target) -> Result<(), DownloadError> {
    let Target::Path { disk, path, overwrite: Overwrite::Never } = target else {
        return Ok(());
    };
    let path = path.clone();
    let names = match remote {
        Remote::DataMap(bytes) => Some(Names::of(bytes)),
        Remote::Public(_) => None,
    };
    let found = run(disk, move |disk| match disk.stat(&path) {
        Err(DiskError::NotFound { .. }) => Ok(None),
        Err(error) => Err(error),
        Ok(_) => {
            if let Some(names) = names
                && let Err(error) = directory::remove_emptied(disk, &path, &names.part(&path))
            {
                tracing::debug!(%error, "what a finished download left could not be removed");
            }
            Ok(Some(disk.display(&path)))
        }
    });
    match found.await? {
        None => Ok(()),
        Some(path) => Err(DiskError::Exists { path }.into()),
    }
}

/// The data map of level 0, the names that go with the root of it, and how many chunks of maps were
/// fetched.
async fn resolve(
    parts: &ClientParts,
    remote: Remote,
) -> Result<(DataMap, Names, u64), DownloadError> {
    let (bytes, mut chunks) = match remote {
        Remote::DataMap(bytes) => (bytes, 0),
        Remote::Public(address) => (fetch_chunk(parts, address).await?.to_vec(), 1),
    };
    if bytes.len() > MAX_ROOT_BYTES {
        return Err(DownloadError::MapTooLong { found: bytes.len() });
    }
    let root = DataMap::decode(&bytes).map_err(DownloadError::DataMap)?;
    let mut unpacker = Unpacker::new(root)?;
    loop {
        let pending: Vec<Entry> = unpacker.pending().to_vec();
        if pending.is_empty() {
            return Ok((unpacker.finish()?, Names::of(&bytes), chunks));
        }
        let mut fetched = stream::iter(pending)
            .map(|entry| fetch_chunk(parts, entry.address))
            .buffered(FETCH_WORKERS);
        while let Some(chunk) = fetched.try_next().await? {
            unpacker.supply(&chunk)?;
            chunks += 1;
        }
    }
}

impl Job {
    /// Fetches and opens one segment. What comes with it is dropped when it is written.
    async fn segment(self: &Arc<Self>, index: usize) -> Result<(Bytes, Held), DownloadError> {
        let entry = self.map.entries()[index];
        let (chunk, held) = fetch_held(&self.parts, entry.address, u64::from(entry.len)).await?;
        let job = Arc::clone(self);
        let opened = run(&self.parts.data, move |_| Ok(job.open(index, &chunk))).await?;
        let segment =
            opened.map_err(|source| DownloadError::Open { address: entry.address, source })?;
        Ok((segment, held))
    }

    fn open(&self, index: usize, chunk: &[u8]) -> Result<Bytes, spillway_seal::OpenError> {
        let pool = || self.openers.lock().expect("invariant: no panic while it is held");
        let taken = pool().pop();
        let mut opener = taken.unwrap_or_else(|| self.map.opener());
        let keys = self.map.key_hashes(index).expect("invariant: every entry has its keys");
        let opened = opener.open(&keys, &self.map.entries()[index], chunk);
        pool().push(opener);
        opened
    }

    /// Fetches these segments, a few at a time, and hands each to `take` as it comes. After a
    /// failure nothing new begins, and what has begun is waited for: nothing writes after this
    /// returns.
    async fn each<T, F>(
        self: &Arc<Self>,
        segments: impl Iterator<Item = usize>,
        take: T,
    ) -> Result<(), DownloadError>
    where
        T: Fn(usize, Bytes) -> F,
        F: Future<Output = Result<(), DownloadError>>,
    {
        let (take, failed) = (&take, &AtomicBool::new(false));
        let mut segments = stream::iter(segments)
            .map(|index| async move {
                if failed.load(Ordering::Relaxed) {
                    return Ok(());
                }
                let (segment, _held) = self.segment(index).await?;
                let len = segment.len() as u64;
                take(index, segment).await?;
                self.written(len);
                Ok(())
            })
            .buffer_unordered(FETCH_WORKERS);
        let mut first = Ok(());
        while let Some(result) = segments.next().await {
            if result.is_err() && first.is_ok() {
                failed.store(true, Ordering::Relaxed);
                first = result;
            }
        }
        first
    }

    /// Which of these segments are there already: `read` fills a buffer with what may be one.
    async fn here<R>(
        self: &Arc<Self>,
        disk: &Arc<dyn Disk>,
        maybe: Vec<usize>,
        read: R,
    ) -> Result<BTreeSet<usize>, DownloadError>
    where
        R: Fn(&dyn Disk, usize, &mut [u8]) -> Result<(), DiskError> + Send + Sync + 'static,
    {
        let read = Arc::new(read);
        let mut checks = stream::iter(maybe)
            .map(|index| {
                let (job, read) = (Arc::clone(self), Arc::clone(&read));
                async move {
                    let len = u64::from(job.map.entries()[index].len);
                    let _held = tokio::select! {
                        biased;
                        () = job.parts.stop.cancelled() => return Err(DownloadError::Interrupted),
                        held = job.parts.workers.hold(Work::Seal, len) => held,
                    };
                    let job = Arc::clone(&job);
                    let check = move |disk: &dyn Disk| {
                        Ok(job.good(index, |buffer| read(disk, index, buffer)).is_some())
                    };
                    Ok((index, run(disk, check).await?))
                }
            })
            .buffer_unordered(FETCH_WORKERS);
        let mut here = BTreeSet::new();
        while let Some((index, good)) = checks.try_next().await? {
            if good {
                here.insert(index);
            }
        }
        Ok(here)
    }

    /// What `read` gives, if it is this segment. What cannot be read is fetched like what is not
    /// there.
    fn good(
        &self,
        index: usize,
        read: impl FnOnce(&mut [u8]) -> Result<(), DiskError>,
    ) -> Option<Vec<u8>> {
        let entry = &self.map.entries()[index];
        // At most 4 MiB: the data map was checked.
        let mut buffer = vec![0; entry.len as usize];
        if let Err(error) = read(&mut buffer) {
            tracing::debug!(%error, "a part of an earlier download cannot be read");
            return None;
        }
        (SegmentHash::of(&buffer) == entry.hash).then_some(buffer)
    }

    /// Counts a segment that was fetched and is where it belongs.
    fn written(&self, len: u64) {
        let mut counts = self.counts();
        counts.chunks += 1;
        counts.bytes += len;
        self.progress.add(len, 1);
    }

    /// Counts segments that were there.
    fn resumed(&self, here: &BTreeSet<usize>) {
        let bytes = here.iter().map(|index| u64::from(self.map.entries()[*index].len)).sum();
        let chunks = here.len() as u64;
        let mut counts = self.counts();
        counts.chunks += chunks;
        counts.bytes += bytes;
        counts.chunks_resumed += chunks;
        counts.bytes_resumed += bytes;
        self.progress.add(bytes, chunks);
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().expect("invariant: no panic while it is held")
    }

    fn starts(&self) -> Vec<u64> {
        let lens = self.map.entries().iter().map(|entry| u64::from(entry.len));
        lens.scan(0, |end, len| {
            let start = *end;
            *end += len;
            Some(start)
        })
        .collect()
    }
}

/// Writes segments in order.
async fn to_stream(
    job: &Arc<Job>,
    output: Box<dyn std::io::Write + Send>,
) -> Result<u64, DownloadError> {
    let output = Arc::new(Mutex::new(output));
    let mut segments = stream::iter(0..job.map.entries().len())
        .map(|index| async move { job.segment(index).await.map(|(segment, _)| segment) })
        .buffered(FETCH_WORKERS);
    while let Some(segment) = segments.try_next().await? {
        let (output, len) = (Arc::clone(&output), segment.len() as u64);
        let write = move |_: &dyn Disk| {
            let mut output = output.lock().expect("invariant: no panic while it is held");
            Ok(output.write_all(&segment))
        };
        tokio::select! {
            biased;
            () = job.parts.stop.cancelled() => return Err(DownloadError::Interrupted),
            written = run(&job.parts.data, write) => written?.map_err(DownloadError::Stream)?,
        }
        job.progress.add(len, 1);
    }
    let flush = move |_: &dyn Disk| {
        Ok(output.lock().expect("invariant: no panic while it is held").flush())
    };
    run(&job.parts.data, flush).await?.map_err(DownloadError::Stream)?;
    Ok(job.map.content_len())
}
