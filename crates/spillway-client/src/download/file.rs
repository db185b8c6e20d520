use std::{path::PathBuf, sync::Arc};

use spillway_disk::{Disk, DiskError, DiskExt, Mode, Overwrite, Unfinished, run};

use super::Job;
use crate::DownloadError;

/// An unfinished file that several threads write.
pub(super) type Shared = Arc<Box<dyn Unfinished>>;

/// Goes on with a file and gives it its name when it is whole.
pub(super) async fn write(
    job: &Arc<Job>,
    disk: Arc<dyn Disk>,
    path: PathBuf,
    overwrite: Overwrite,
) -> Result<u64, DownloadError> {
    let Opened { file, len: found, .. } = open(job, &disk, path, (Mode::Shared, overwrite)).await?;
    let starts = Arc::new(job.starts());
    let ends = |index: usize| starts[index] + u64::from(job.map.entries()[index].len);
    // Of nothing nothing is there, not even a segment without a byte.
    let maybe = (0..starts.len()).filter(|index| found > 0 && ends(*index) <= found).collect();
    let (reader, places) = (Arc::clone(&file), Arc::clone(&starts));
    let read = move |_: &dyn Disk, index: usize, buffer: &mut [u8]| {
        reader.read_at(places[index], buffer).map(drop)
    };
    let here = job.here(&disk, maybe, read).await?;
    file.keep(!here.is_empty());
    job.resumed(&here);
    let missing = (0..starts.len()).filter(|index| !here.contains(index));
    job.each(missing, |index, segment| {
        let (file, start, disk) = (Arc::clone(&file), starts[index], Arc::clone(&disk));
        let write = move |_: &dyn Disk| {
            file.write_at(start, &segment)?;
            file.keep(true);
            Ok(())
        };
        async move { Ok(run(&disk, write).await?) }
    })
    .await?;
    let file = Arc::into_inner(file).expect("invariant: every read and write has ended");
    let len = job.map.content_len();
    let finish = move |_: &dyn Disk| {
        // Whatever was behind its end goes.
        file.set_len(len)?;
        file.persist(overwrite)
    };
    run(&disk, finish).await?;
    Ok(len)
}

/// What is not finished yet, opened and locked.
pub(super) struct Opened {
    pub(super) file: Shared,
    /// How long it is, in bytes.
    pub(super) len: u64,
    /// Whether its target exists.
    pub(super) exists: bool,
}

/// Opens and locks what is not finished yet.
pub(super) async fn open(
    job: &Job,
    disk: &Arc<dyn Disk>,
    path: PathBuf,
    (mode, overwrite): (Mode, Overwrite),
) -> Result<Opened, DownloadError> {
    let part = job.names.part(&path);
    let open = move |disk: &dyn Disk| {
        let file = disk.resume(&path, &part, mode)?;
        // Whoever had it before may have finished it.
        let exists = disk.exists(&path)?;
        if exists && overwrite == Overwrite::Never {
            return Err(DiskError::Exists { path: disk.display(&path) });
        }
        let len = file.stat()?.len;
        Ok(Opened { file: Arc::new(file), len, exists })
    };
    Ok(run(disk, open).await?)
}
