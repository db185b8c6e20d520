use std::{
    collections::BTreeSet,
    ffi::OsStr,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use spillway_disk::{Disk, DiskError, EntryKind, Mode, Overwrite, run};
use spillway_seal::Cut;

use super::{
    Job,
    file::{Shared, open},
};
use crate::{
    DownloadError, TreeError,
    limits::FETCH_WORKERS,
    tree::{Destination, RestoreError, Tree, prepare},
};

/// Restores a directory; returns the bytes and the number of its files.
///
/// A new directory grows under a hidden name. One that exists is merged into under
/// [`Overwrite::Replace`], file by file. Beside either is the manifest, whose lock is that of the
/// whole download.
pub(super) async fn restore(
    job: &Arc<Job>,
    disk: Arc<dyn Disk>,
    path: PathBuf,
    overwrite: Overwrite,
) -> Result<(u64, u64), DownloadError> {
    let opened = open(job, &disk, path.clone(), (Mode::Private, overwrite)).await?;
    let (manifest, merge) = (opened.file, opened.exists);
    let hidden = job.names.tree(&path);
    let root = if merge { &path } else { &hidden };
    let mut done = write(job, &disk, &manifest, (root, merge)).await;
    if done.is_ok() && !merge {
        let (from, to, emptied) = (hidden.clone(), path, Arc::clone(&manifest));
        let rename = move |disk: &dyn Disk| {
            // Should this process end before the manifest is removed, it is known to be of no use.
            emptied.set_len(0)?;
            disk.rename(&from, &to, Overwrite::Never)
        };
        done = run(&disk, rename).await.map_err(DownloadError::from).and(done);
    }
    // Not even when the manifest is torn and cannot be fetched: what is in the directory is good.
    if matches!(done, Ok(_) | Err(DownloadError::Tree(_))) {
        // Still under the lock.
        match run(&disk, move |disk| remove_tree(disk, &hidden)).await {
            Ok(()) | Err(DiskError::NotFound { .. }) => {}
            Err(error) => {
                tracing::warn!(%error, "a part of the directory could not be removed");
            }
        }
        manifest.keep(false);
    }
    done
}

async fn write(
    job: &Arc<Job>,
    disk: &Arc<dyn Disk>,
    manifest: &Shared,
    to: (&Path, bool),
) -> Result<(u64, u64), DownloadError> {
    let (tree, head_segments) = read_tree(job, disk, manifest).await?;
    fill(job, disk, to, tree, head_segments).await
}

/// The manifest from the first segments, and how many those are.
async fn read_tree(
    job: &Arc<Job>,
    disk: &Arc<dyn Disk>,
    manifest: &Shared,
) -> Result<(Tree, usize), DownloadError> {
    let starts = job.starts();
    let first = kept(job, disk, manifest, (0, 0)).await?;
    let len = Tree::encoded_len(&first)?;
    let count = Cut::new(len as u64, job.map.segment_bytes()).count();
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    if count > starts.len() {
        return Err(TreeError::NotATree.into());
    }
    let mut bytes = first.to_vec();
    let mut rest = stream::iter(1..count)
        .map(|index| kept(job, disk, manifest, (index, starts[index])))
        .buffered(FETCH_WORKERS);
    while let Some(segment) = rest.try_next().await? {
        bytes.extend_from_slice(&segment);
    }
    Ok((Tree::decode(&bytes)?, count))
}

/// A segment of the manifest: from the disk, or fetched and written there.
async fn kept(
    job: &Arc<Job>,
    disk: &Arc<dyn Disk>,
    manifest: &Shared,
    (index, start): (usize, u64),
) -> Result<Bytes, DownloadError> {
    let (reader, checker) = (Arc::clone(manifest), Arc::clone(job));
    let read = move |_: &dyn Disk| {
        Ok(checker.good(index, |buffer| reader.read_at(start, buffer).map(drop)))
    };
    if let Some(segment) = run(disk, read).await? {
        job.resumed(&BTreeSet::from([index]));
        return Ok(segment.into());
    }
    let (segment, _held) = job.segment(index).await?;
    let (writer, bytes) = (Arc::clone(manifest), segment.clone());
    let write = move |_: &dyn Disk| {
        writer.write_at(start, &bytes)?;
        writer.keep(true);
        Ok(())
    };
    run(disk, write).await?;
    job.written(segment.len() as u64);
    Ok(segment)
}

async fn fill(
    job: &Arc<Job>,
    disk: &Arc<dyn Disk>,
    (root, merge): (&Path, bool),
    tree: Tree,
    head: usize,
) -> Result<(u64, u64), DownloadError> {
    let all = head..job.map.entries().len();
    let lens: Vec<u32> = job.map.entries()[head..].iter().map(|entry| entry.len).collect();
    let (root, names) = (root.to_owned(), job.names.clone());
    let look = move |disk: &dyn Disk| {
        let to = Destination { root: &root, merge, part: &|path| names.part(path) };
        Ok(prepare(disk, &to, tree, &lens))
    };
    let restore = Arc::new(run(disk, look).await??);
    let maybe = all.clone().filter(|index| restore.may_have(index - head)).collect();
    let reader = Arc::clone(&restore);
    let read = move |disk: &dyn Disk, index: usize, buffer: &mut [u8]| {
        reader.read(disk, index - head, buffer)
    };
    let mut here = job.here(disk, maybe, read).await?;
    let settler = Arc::clone(&restore);
    let settle = move |disk: &dyn Disk| {
        here = here.into_iter().map(|index| index - head).collect();
        settler.settle(disk, &mut here)?;
        Ok(here.into_iter().map(|segment| segment + head).collect::<BTreeSet<usize>>())
    };
    let here = run(disk, settle).await?;
    job.resumed(&here);
    job.each(all.filter(|index| !here.contains(index)), |index, segment| {
        let (restore, disk) = (Arc::clone(&restore), Arc::clone(disk));
        async move { Ok(run(&disk, move |disk| restore.fill(disk, index - head, &segment)).await?) }
    })
    .await?;
    let (files, bytes) = (restore.files(), restore.bytes());
    run(disk, move |disk| restore.finish(disk)).await?;
    Ok((bytes, files))
}

/// Removes the empty part of a target that exists: a run that was finished, and ended before it could.
/// Blocks.
pub(super) fn remove_emptied(disk: &dyn Disk, path: &Path, part: &OsStr) -> Result<(), DiskError> {
    let found = match disk.stat(&path.with_file_name(part)) {
        Err(DiskError::NotFound { .. }) => return Ok(()),
        found => found?,
    };
    if (found.kind, found.len) == (EntryKind::File, 0) {
        // Under its lock: who has it may be about to write. Dropped, it goes unless anything is in it.
        drop(disk.resume(path, part, Mode::Private)?);
    }
    Ok(())
}

/// Removes a directory that is of no use. Links are removed, not followed. Blocks.
fn remove_tree(disk: &dyn Disk, dir: &Path) -> Result<(), DiskError> {
    // It may have got the mode that it had when it was uploaded.
    let stat = disk.stat(dir)?;
    disk.set_attributes(dir, 0o700, stat.modified)?;
    for entry in disk.list(dir)? {
        let path = dir.join(&entry.name);
        match entry.kind {
            EntryKind::Dir => remove_tree(disk, &path)?,
            _ => disk.remove_file(&path)?,
        }
    }
    disk.remove_dir(dir)
}

impl From<RestoreError> for DownloadError {
    fn from(error: RestoreError) -> Self {
        match error {
            RestoreError::Tree(error) => error.into(),
            RestoreError::Disk(error) => error.into(),
        }
    }
}
