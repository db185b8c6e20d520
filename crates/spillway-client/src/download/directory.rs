use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use futures::{StreamExt, TryStreamExt, stream};
use spillway_disk::{Disk, DiskError, Overwrite, TEMPORARY_PREFIX, run};
use spillway_seal::Cut;

use super::{Job, remove_tree};
use crate::{
    DownloadError, TreeError,
    limits::FETCH_WORKERS,
    tree::{RestoreError, Tree, prepare},
};

/// Restores a directory; returns the bytes and the number of its files.
///
/// A new directory grows under a temporary name. One that exists is merged into under
/// [`Overwrite::Replace`], file by file.
pub(super) async fn restore(
    job: &Arc<Job>,
    disk: Arc<dyn Disk>,
    path: PathBuf,
    overwrite: Overwrite,
) -> Result<(u64, u64), DownloadError> {
    let (tree, head_segments) = read_tree(job).await?;
    let probe = path.clone();
    let merge = run(&disk, move |disk| match disk.stat(&probe) {
        Ok(_) => Ok(true),
        Err(DiskError::NotFound { .. }) => Ok(false),
        Err(error) => Err(error),
    })
    .await?;
    if merge {
        return fill(job, &disk, (&path, overwrite), tree, head_segments).await;
    }
    let hidden = path.with_file_name(format!("{TEMPORARY_PREFIX}{:016x}", fastrand::u64(..)));
    let filled = fill(job, &disk, (&hidden, Overwrite::Never), tree, head_segments).await;
    let (from, to) = (hidden.clone(), path);
    let done = match filled {
        Err(error) => Err(error),
        Ok(counts) => run(&disk, move |disk| disk.rename(&from, &to, Overwrite::Never))
            .await
            .map(|()| counts)
            .map_err(DownloadError::from),
    };
    if done.is_err() {
        let removed = run(&disk, move |disk| remove_tree(disk, &hidden)).await;
        if let Err(error) = removed
            && !matches!(error, DiskError::NotFound { .. })
        {
            tracing::warn!(%error, "a part of the directory could not be removed");
        }
    }
    done
}

/// The manifest from the first segments, and how many those are.
async fn read_tree(job: &Arc<Job>) -> Result<(Tree, usize), DownloadError> {
    let first = job.segment(0).await?;
    let len = Tree::encoded_len(&first)?;
    let count = Cut::new(len as u64, job.map.segment_bytes()).count();
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    if count > job.map.entries().len() {
        return Err(TreeError::NotATree.into());
    }
    let mut bytes = first.to_vec();
    let mut rest = stream::iter(1..count).map(|index| job.segment(index)).buffered(FETCH_WORKERS);
    while let Some(segment) = rest.try_next().await? {
        bytes.extend_from_slice(&segment);
    }
    job.progress.add(bytes.len() as u64, count as u64);
    Ok((Tree::decode(&bytes)?, count))
}

async fn fill(
    job: &Arc<Job>,
    disk: &Arc<dyn Disk>,
    (root, overwrite): (&Path, Overwrite),
    tree: Tree,
    head: usize,
) -> Result<(u64, u64), DownloadError> {
    let lens: Vec<u32> = job.map.entries()[head..].iter().map(|entry| entry.len).collect();
    let root = root.to_owned();
    let restore = run(disk, move |disk| Ok(prepare(disk, (&root, overwrite), tree, &lens))).await?;
    let restore = Arc::new(restore?);
    job.each(head..job.map.entries().len(), |index, segment| {
        let (restore, disk) = (Arc::clone(&restore), Arc::clone(disk));
        async move { Ok(run(&disk, move |disk| restore.fill(disk, index - head, &segment)).await?) }
    })
    .await?;
    let (files, bytes) = (restore.files(), restore.bytes());
    run(disk, move |disk| restore.finish(disk)).await?;
    Ok((bytes, files))
}

impl From<RestoreError> for DownloadError {
    fn from(error: RestoreError) -> Self {
        match error {
            RestoreError::Tree(error) => error.into(),
            RestoreError::Disk(error) => error.into(),
        }
    }
}
