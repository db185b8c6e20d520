use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::Arc,
};

use spillway_disk::{Disk, Mode, Overwrite, TEMPORARY_PREFIX, run};
use spillway_types::{ChunkAddress, PaymentId, UnixTime};

use super::{
    archive::{Entry, Reader, bad},
    check,
};
use crate::{
    SessionError, forget,
    session::{self, FileKind, KeyLock, Manifest, SESSIONS, Snapshot, VaultNote},
    spill::Spill,
};

/// How a session is imported.
#[derive(Clone, Copy, Debug)]
pub struct ImportOptions {
    /// The time, which names the directory of the sealed chunks.
    pub now: UnixTime,
}

/// A session that goes on here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Imported {
    /// Its name here.
    pub session: String,
    /// Chunks of the upload.
    pub chunks_total: u64,
    /// Sealed chunks that came with it.
    pub chunks: u64,
    /// The copy that was handed over from here and has come back, if so: it is gone.
    pub replaces: Option<String>,
}

/// Takes a session over from its archive: all of it, or nothing. Everything in it is checked, with
/// limits, before the session is there, and nothing outside the data directory is written. A session
/// that was handed over from here comes back so.
///
/// Memory: one chunk and one session's files. Disk: as much as the archive has.
///
/// # Errors
/// [`SessionError::BadArchive`], [`SessionError::NewerArchive`]; [`SessionError::AlreadyHere`] when the
/// same upload goes on here or is finished here with the same payments;
/// [`SessionError::OlderThanHere`]; [`SessionError::Busy`].
///
/// # Cancel safety
/// It runs to its end, unobserved. A crash leaves the session whole or not there; what is left of it
/// goes with [`Client::reap`](crate::Client::reap).
pub async fn import_session(
    data: &Arc<dyn Disk>,
    from: &Arc<dyn Disk>,
    path: &Path,
    options: ImportOptions,
) -> Result<Imported, SessionError> {
    let (disk, from, path) = (Arc::clone(data), Arc::clone(from), path.to_owned());
    run(data, move |_| Ok(import(&disk, (from.as_ref(), &path), options))).await?
}

pub(crate) fn import(
    data: &Arc<dyn Disk>,
    (from, path): (&dyn Disk, &Path),
    options: ImportOptions,
) -> Result<Imported, SessionError> {
    let mut reader = Reader::open(from.open(path)?)?;
    let (_, len) = reader.next()?;
    let manifest = session::decode(FileKind::Manifest, &reader.bytes(len)?);
    let manifest: Manifest = manifest.map_err(|error| bad(&format!("manifest: {error}")))?;
    let disk = data.as_ref();
    let lock = KeyLock::take(disk, &manifest.key)?;
    let key = manifest.key;
    let done = Import { data, manifest, staged: None }.run(reader, options);
    if done.is_err() {
        // Nothing is left, as far as the disk lets us.
        if let Err(error) = lock.remove(disk, &key) {
            tracing::warn!(%error, "a lock file is left; it goes with the next clean-up");
        }
    }
    done
}

struct Import<'d> {
    data: &'d Arc<dyn Disk>,
    manifest: Manifest,
    /// Where the session's files are until it is whole.
    staged: Option<PathBuf>,
}

impl Drop for Import<'_> {
    fn drop(&mut self) {
        if let Some(staged) = &self.staged
            && let Err(error) = session::remove_leftover(self.data.as_ref(), staged)
        {
            tracing::warn!(%error, "a half-imported session is left; it goes when it is stale");
        }
    }
}

/// What is here of the same upload.
struct Here {
    id: String,
    snapshot: Snapshot,
    payments: BTreeSet<PaymentId>,
}

impl Import<'_> {
    fn run(mut self, reader: Reader, options: ImportOptions) -> Result<Imported, SessionError> {
        let disk = self.data.as_ref();
        let here = self.here()?;
        let goes_on = |here: &&Here| {
            let progressed = &here.snapshot.progressed;
            progressed.handed_over.is_none() && !progressed.finished
        };
        if let Some(Here { id, .. }) = here.iter().find(goes_on) {
            return Err(SessionError::AlreadyHere { session: id.clone() });
        }
        let id = session::free_id(disk, &self.manifest)?;
        let hidden = session::hidden(&id);
        session::remove_leftover(disk, &hidden)?;
        self.staged = Some(hidden.clone());
        disk.create_dir_all(&hidden)?;
        let spill = Spill::create(self.data, options.now)?;
        spill.name().clone_into(&mut self.manifest.spill);
        let chunks = self.stage(reader, &hidden, &spill)?;
        let name = format!("{TEMPORARY_PREFIX}{id}");
        let snapshot = Snapshot::load(disk, &name).map_err(|error| bad(&error.to_string()))?;
        check::history(&snapshot)?;
        let old = compare(here, &snapshot)?;
        // Kept before the session is there: a spill that nobody names goes when it is stale, a session
        // without its spill would have lost its chunks.
        spill.keep();
        disk.rename(&hidden, &Path::new(SESSIONS).join(&id), Overwrite::Never)?;
        self.staged = None;
        let replaces = old.as_ref().map(|old| old.id.clone());
        if let Some(old) = old
            && let Err(error) = forget::remove(self.data, &old.id, &old.snapshot)
        {
            tracing::warn!(%error, "the copy that was handed over goes with the next clean-up");
        }
        let chunks_total = self.manifest.chunks.len() as u64;
        Ok(Imported { session: id, chunks_total, chunks, replaces })
    }

    fn here(&self) -> Result<Vec<Here>, SessionError> {
        let disk = self.data.as_ref();
        let mut here = Vec::new();
        for id in session::load_ids(disk)? {
            if !id.starts_with(&self.manifest.key.short()) {
                continue;
            }
            let snapshot = Snapshot::load(disk, &id)?;
            if snapshot.manifest.key == self.manifest.key {
                let payments = snapshot.payments();
                here.push(Here { id, snapshot, payments });
            }
        }
        Ok(here)
    }

    /// Writes everything where nobody takes it for a session; returns how many chunks came.
    fn stage(&self, mut reader: Reader, dir: &Path, spill: &Spill) -> Result<u64, SessionError> {
        let disk = self.data.as_ref();
        let mut wanted: BTreeSet<ChunkAddress> =
            self.manifest.chunks.iter().map(|chunk| chunk.address).collect();
        let (mut plans, mut txs, mut chunks, mut map) = (0_u32, 0_u32, 0, None);
        loop {
            let (entry, len) = reader.next()?;
            let name = match entry {
                Entry::End => break,
                Entry::Manifest => return Err(bad("it has two manifests")),
                Entry::Chunk => {
                    let bytes = reader.bytes(len)?;
                    let address = ChunkAddress::of(&bytes);
                    if !wanted.remove(&address) {
                        return Err(bad("a chunk that is not of this upload"));
                    }
                    spill.write(address, &bytes)?;
                    chunks += 1;
                    continue;
                }
                Entry::Map => {
                    let bytes = reader.bytes(len)?;
                    let decoded: Vec<u8> = session::decode(FileKind::Map, &bytes)
                        .map_err(|error| bad(&format!("map: {error}")))?;
                    map = Some(decoded);
                    disk.write_durable(&dir.join("map"), &bytes, Overwrite::Never)?;
                    continue;
                }
                Entry::Vault => VaultNote::FILE.to_owned(),
                Entry::Journal => "journal".to_owned(),
                Entry::Plan => numbered("plan", &mut plans),
                Entry::Tx => numbered("tx", &mut txs),
            };
            let file = disk.create(&dir.join(name), Mode::Private)?;
            reader.copy(len, file.as_ref())?;
            file.persist(Overwrite::Never)?;
        }
        reader.end()?;
        check::contents(&self.manifest, map.as_deref())?;
        let bytes = session::encode(FileKind::Manifest, &self.manifest);
        disk.write_durable(&dir.join("manifest"), &bytes, Overwrite::Never)?;
        Ok(chunks)
    }
}

/// Compares what is here with what came; returns the copy that was handed over.
fn compare(here: Vec<Here>, came: &Snapshot) -> Result<Option<Here>, SessionError> {
    let payments = came.payments();
    let mut old = None;
    for copy in here {
        if copy.snapshot.progressed.handed_over.is_none() {
            if !copy.payments.is_disjoint(&payments) {
                return Err(SessionError::AlreadyHere { session: copy.id });
            }
        } else if payments.is_superset(&copy.payments) {
            old = Some(copy);
        } else if !copy.snapshot.progressed.finished {
            return Err(SessionError::OlderThanHere { session: copy.id });
        }
    }
    Ok(old)
}

fn numbered(name: &str, count: &mut u32) -> String {
    *count += 1;
    format!("{name}-{}", *count - 1)
}
