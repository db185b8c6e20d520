//! Downloads: from a data map to bytes, `data map → fetch → open → file`, one direction.
//!
//! Chunks are fetched a few at a time and checked against their address; a bad or missing one is
//! asked for at the next peer. A file grows under a temporary name and gets its own when all of it
//! is there and durable; a directory likewise, unless it is merged into one that exists. Downloads
//! keep no state: what a crash leaves is a temporary file.

mod directory;
mod fetch;

use std::{
    ops::Range,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use spillway_disk::{Disk, DiskError, Mode, Overwrite, WriteAt, run};
use spillway_seal::{ContentKind, DataMap, Entry, MAX_ROOT_BYTES, Opener, Unpacker};

pub(crate) use fetch::fetch_chunk;

use crate::{
    ClientParts, DownloadError, DownloadOptions, Downloaded, ProgressSender, Remote, Stage, Target,
    limits::FETCH_WORKERS,
};

/// Downloads what a data map describes.
pub(crate) async fn download(
    parts: &ClientParts,
    remote: Remote,
    target: Target,
    options: DownloadOptions,
) -> Result<Downloaded, DownloadError> {
    let started = parts.clock.monotonic();
    refuse_existing(&target).await?;
    let (map, map_chunks) = resolve(parts, remote).await?;
    let chunks = map_chunks + map.entries().len() as u64;
    let job = Job {
        parts: parts.clone(),
        openers: Mutex::new(Vec::new()),
        progress: options.progress,
        map,
    };
    let (content_len, count) = (job.map.content_len(), job.map.entries().len() as u64);
    job.progress.begin(Stage::Fetch, Some(content_len), Some(count));
    let job = Arc::new(job);
    let (bytes, files) = match (job.map.content(), target) {
        (ContentKind::File, Target::Path { disk, path, overwrite }) => {
            (to_file(&job, disk, path, overwrite).await?, 1)
        }
        (ContentKind::File, Target::Stream(output)) => (to_stream(&job, output).await?, 1),
        (ContentKind::Directory, Target::Path { disk, path, overwrite }) => {
            directory::restore(&job, disk, path, overwrite).await?
        }
        (ContentKind::Directory, Target::Stream(_)) => {
            return Err(DownloadError::DirectoryToStream);
        }
    };
    job.progress.set_stage(Stage::Done);
    let elapsed = parts.clock.monotonic().saturating_sub(started);
    Ok(Downloaded { bytes, chunks, files, elapsed })
}

/// One download under way.
pub(crate) struct Job {
    parts: ClientParts,
    map: DataMap,
    /// Openers that no thread uses now: at most as many as fetches run at once.
    openers: Mutex<Vec<Opener>>,
    progress: ProgressSender,
}

/// An output that is there already is said before anything is fetched.
async fn refuse_existing(target: &Target) -> Result<(), DownloadError> {
    let Target::Path { disk, path, overwrite: Overwrite::Never } = target else {
        return Ok(());
    };
    let path = path.clone();
    let found = run(disk, move |disk| match disk.stat(&path) {
        Err(DiskError::NotFound { .. }) => Ok(None),
        Err(error) => Err(error),
        Ok(_) => Ok(Some(disk.display(&path))),
    });
    match found.await? {
        None => Ok(()),
        Some(path) => Err(DiskError::Exists { path }.into()),
    }
}

/// The data map of level 0, and how many chunks of maps were fetched for it.
async fn resolve(parts: &ClientParts, remote: Remote) -> Result<(DataMap, u64), DownloadError> {
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
            return Ok((unpacker.finish()?, chunks));
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
    /// Fetches and opens one segment.
    async fn segment(self: &Arc<Self>, index: usize) -> Result<Bytes, DownloadError> {
        let entry = self.map.entries()[index];
        let chunk = fetch_chunk(&self.parts, entry.address).await?;
        let job = Arc::clone(self);
        let opened = run(&self.parts.data, move |_| Ok(job.open(index, &chunk))).await?;
        opened.map_err(|source| DownloadError::Open { address: entry.address, source })
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

    /// Fetches these segments, a few at a time, and hands each to `take` as it comes. After a failure
    /// nothing new begins, and what has begun is waited for: nothing writes after this returns.
    async fn each<T, F>(self: &Arc<Self>, range: Range<usize>, take: T) -> Result<(), DownloadError>
    where
        T: Fn(usize, Bytes) -> F,
        F: Future<Output = Result<(), DownloadError>>,
    {
        let (take, failed) = (&take, &AtomicBool::new(false));
        let mut segments = stream::iter(range)
            .map(|index| async move {
                if failed.load(Ordering::Relaxed) {
                    return Ok(());
                }
                let segment = self.segment(index).await?;
                let len = segment.len() as u64;
                take(index, segment).await?;
                self.progress.add(len, 1);
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

/// Writes a file that gets its name when it is whole.
async fn to_file(
    job: &Arc<Job>,
    disk: Arc<dyn Disk>,
    path: PathBuf,
    overwrite: Overwrite,
) -> Result<u64, DownloadError> {
    let file = run(&disk, move |disk| disk.create(&path, Mode::Shared)).await?;
    let file: Arc<Box<dyn WriteAt>> = Arc::new(file);
    let starts = job.starts();
    job.each(0..starts.len(), |index, segment| {
        let (file, start, disk) = (Arc::clone(&file), starts[index], Arc::clone(&disk));
        async move { Ok(run(&disk, move |_| file.write_at(start, &segment)).await?) }
    })
    .await?;
    let file = Arc::into_inner(file).expect("invariant: every write has ended");
    run(&disk, move |_| file.persist(overwrite)).await?;
    Ok(job.map.content_len())
}

/// Writes segments in order.
async fn to_stream(
    job: &Arc<Job>,
    output: Box<dyn std::io::Write + Send>,
) -> Result<u64, DownloadError> {
    let output = Arc::new(Mutex::new(output));
    let mut segments = stream::iter(0..job.map.entries().len())
        .map(|index| job.segment(index))
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

/// Removes a directory that a failed download leaves. Links are removed, not followed. Blocks.
fn remove_tree(disk: &dyn Disk, dir: &Path) -> Result<(), DiskError> {
    // It may have got the mode that it had when it was uploaded.
    let stat = disk.stat(dir)?;
    disk.set_attributes(dir, 0o700, stat.modified)?;
    for entry in disk.list(dir)? {
        let path = dir.join(&entry.name);
        match entry.kind {
            spillway_disk::EntryKind::Dir => remove_tree(disk, &path)?,
            _ => disk.remove_file(&path)?,
        }
    }
    disk.remove_dir(dir)
}
