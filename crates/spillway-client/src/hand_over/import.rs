use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::Arc,
};

use spillway_disk::{Disk, DiskError, Mode, Overwrite, TEMPORARY_PREFIX, run};
use spillway_types::{ChunkAddress, PaymentId, UnixTime};

use super::{
    archive::{Entry, Reader, bad},
    check, proofs,
};
use crate::{
    SessionError, forget,
    session::{
        self, FileKind, KeyLock, MAX_FILE_BYTES, Manifest, Record, SESSIONS, Snapshot, VaultNote,
    },
    spill::Spill,
};

/// Bytes of one kind that an archive may have beside those of its chunks, at most: a plan of another
/// session that it has taken over may be as large as a file.
const BESIDE_BYTES: u64 = MAX_FILE_BYTES;
/// Bytes of plans a chunk, at most: 1,700 of a leaf, planned anew three times.
const PLAN_BYTES: u64 = 4 * 1_700;
/// Bytes of transactions a chunk, at most: 320 of a direct payment and a part of the rest, signed anew
/// three times.
const TX_BYTES: u64 = 4 * 512;
/// Bytes of journal a chunk, at most: 1,600 of receipts, stored anew four times.
const JOURNAL_BYTES: u64 = 5 * 1_600;
/// What a file counts at least, in bytes: so there are 4,096 of each kind beside those of the chunks.
const LEAST_FILE_BYTES: u64 = 64 * 1024;

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
    /// The copy that was handed over from here and has come back, or else the session of the same upload
    /// that had planned nothing and whose chunks this one has now, if so: it is gone.
    pub replaces: Option<String>,
}

/// Takes a session over from its archive: all of it, or nothing. Everything in it is checked, with
/// limits, before the session is there, and nothing outside the data directory is written: prices and
/// receipts are signed by the peers that they name, transactions by the wallet that pays. A session
/// that was handed over from here comes back so.
///
/// Of two sessions of one upload, the one that has plans goes on: a session that came with an archive
/// before, or was handed over, and that has planned nothing makes room for it. Its sealed chunks stay.
///
/// What an archive says is still its author's word. So when the session goes on, chunks count as stored
/// only for payments that the chain has recorded and are looked for on the network, chunks that the
/// network is said to have are asked for again, and plans that the wallet has not signed are shown to the
/// user once more. Before that nothing is finished here, whatever it was there.
///
/// Memory: one chunk and one session's files, which are at most 256 MiB of each kind and 16 KiB a chunk.
/// Disk: as much as the archive has.
///
/// # Errors
/// [`SessionError::BadArchive`], [`SessionError::NewerArchive`]; [`SessionError::AlreadyHere`] when the
/// same upload goes on here or is finished here with the same payments;
/// [`SessionError::OlderThanHere`] when it does not begin as the copy that was handed over from here
/// ends; [`SessionError::Busy`].
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

impl Here {
    /// Whether nothing of it is lost but its sealed chunks when another session takes its place: it is a
    /// copy of what is elsewhere, too, and was never planned.
    fn is_unplanned_copy(&self) -> bool {
        let Snapshot { plans, txs, progressed, .. } = &self.snapshot;
        let is_copy = progressed.imported || progressed.handed_over.is_some();
        is_copy && !progressed.finished && plans.is_empty() && txs.is_empty()
    }

    /// Whether it makes room for what came: resumed, it would pay once more for what is paid there.
    fn makes_room_for(&self, came: &Snapshot) -> bool {
        let (ours, theirs) = (&self.snapshot.manifest, &came.manifest);
        let is_same = (ours.domain, ours.payer) == (theirs.domain, theirs.payer)
            && ours.chunks == theirs.chunks;
        is_same && self.is_unplanned_copy() && !came.plans.is_empty()
    }
}

impl Import<'_> {
    fn run(mut self, reader: Reader, options: ImportOptions) -> Result<Imported, SessionError> {
        let disk = self.data.as_ref();
        let here = self.here()?;
        let goes_on = |here: &&Here| {
            let progressed = &here.snapshot.progressed;
            let goes_on = progressed.handed_over.is_none() && !progressed.finished;
            goes_on && !here.is_unplanned_copy()
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
        proofs::check(&snapshot, &session::load_records(disk, &name)?.1)?;
        let Compared { old, unplanned } = compare(disk, here, &snapshot)?;
        let mut records = vec![Record::Imported];
        // Elsewhere some may have been lost: those of the copy are the only ones then.
        for copy in old.iter().chain(&unplanned) {
            self.take_chunks(&copy.snapshot, &spill)?;
        }
        for session in &unplanned {
            // Whoever waits for it waits for this one.
            records.extend(session.snapshot.progressed.to_verify.then_some(Record::ToVerify));
        }
        let Snapshot { mut journal, .. } = snapshot;
        journal.append(disk, &records)?;
        // Kept before the session is there: a spill that nobody names goes when it is stale, a session
        // without its spill would have lost its chunks.
        spill.keep();
        disk.rename(&hidden, &Path::new(SESSIONS).join(&id), Overwrite::Never)?;
        self.staged = None;
        let gone: Vec<Here> = old.into_iter().chain(unplanned).collect();
        for old in &gone {
            if let Err(error) = forget::remove(self.data, &old.id, &old.snapshot) {
                tracing::warn!(session = %old.id, %error, "a copy that is not needed any more is left");
            }
        }
        let replaces = gone.into_iter().next().map(|old| old.id);
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

    /// Takes over the sealed chunks of a session that makes room, as far as they did not come.
    fn take_chunks(&self, from: &Snapshot, to: &Spill) -> Result<(), SessionError> {
        let spill = match Spill::open(self.data, &from.manifest.spill) {
            Ok(spill) => spill,
            Err(DiskError::NotFound { .. } | DiskError::BadPath { .. }) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        for chunk in &self.manifest.chunks {
            if to.read(chunk.address)?.is_none()
                && let Some(bytes) = spill.read(chunk.address)?
            {
                to.write(chunk.address, &bytes)?;
            }
        }
        Ok(())
    }

    /// Writes everything where nobody takes it for a session; returns how many chunks came.
    fn stage(&self, mut reader: Reader, dir: &Path, spill: &Spill) -> Result<u64, SessionError> {
        let disk = self.data.as_ref();
        let mut wanted: BTreeSet<ChunkAddress> =
            self.manifest.chunks.iter().map(|chunk| chunk.address).collect();
        let (mut plans, mut txs, mut chunks, mut map) = (0_u32, 0_u32, 0, None);
        let mut room = Room::of(&self.manifest);
        loop {
            let (entry, len) = reader.next()?;
            room.take(entry, len)?;
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

/// How much of each kind an archive may still bring, in bytes: all of it is in memory when it goes on.
struct Room {
    plans: u64,
    txs: u64,
    journal: u64,
}

impl Room {
    fn of(manifest: &Manifest) -> Self {
        let chunks = manifest.chunks.len() as u64;
        let all = |a_chunk: u64| a_chunk.saturating_mul(chunks).saturating_add(BESIDE_BYTES);
        Self { plans: all(PLAN_BYTES), txs: all(TX_BYTES), journal: all(JOURNAL_BYTES) }
    }

    fn take(&mut self, entry: Entry, len: u64) -> Result<(), SessionError> {
        let left = match entry {
            Entry::Plan => &mut self.plans,
            Entry::Tx => &mut self.txs,
            Entry::Journal => &mut self.journal,
            _ => return Ok(()),
        };
        let rest = left.checked_sub(len.max(LEAST_FILE_BYTES));
        *left =
            rest.ok_or_else(|| bad("more plans, transactions or records than its chunks need"))?;
        Ok(())
    }
}

/// What is here and makes room for what came, and nothing of it is lost.
#[derive(Default)]
struct Compared {
    /// The copy that was handed over.
    old: Option<Here>,
    /// Copies that have planned nothing.
    unplanned: Vec<Here>,
}

/// Compares what is here with what came.
fn compare(disk: &dyn Disk, here: Vec<Here>, came: &Snapshot) -> Result<Compared, SessionError> {
    let payments = came.payments();
    let mut compared = Compared::default();
    for copy in here {
        let progressed = &copy.snapshot.progressed;
        let is_live = progressed.handed_over.is_none();
        if !is_live && session::goes_on_from(disk, came, &copy.snapshot)? {
            compared.old = Some(copy);
        } else if copy.makes_room_for(came) {
            compared.unplanned.push(copy);
        } else if is_live {
            if !progressed.finished || !copy.payments.is_disjoint(&payments) {
                return Err(SessionError::AlreadyHere { session: copy.id });
            }
        } else if !progressed.finished {
            return Err(SessionError::OlderThanHere { session: copy.id });
        }
    }
    Ok(compared)
}

fn numbered(name: &str, count: &mut u32) -> String {
    *count += 1;
    format!("{name}-{}", *count - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_room_of_its_own_and_small_files_count_too() {
        let (least, most) = (LEAST_FILE_BYTES, 3 * LEAST_FILE_BYTES);
        let mut room = Room { plans: least, txs: 2 * least, journal: most };
        room.take(Entry::Plan, 1).unwrap();
        assert!(room.take(Entry::Plan, 1).is_err());
        room.take(Entry::Tx, least).unwrap();
        room.take(Entry::Tx, 0).unwrap();
        assert!(room.take(Entry::Tx, 0).is_err());
        assert!(room.take(Entry::Journal, most + 1).is_err());
        room.take(Entry::Journal, most).unwrap();
        assert!(room.take(Entry::Journal, 1).is_err());
        // A chunk goes to the spill, which has limits of its own.
        room.take(Entry::Chunk, u64::MAX).unwrap();
    }
}
