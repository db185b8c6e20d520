//! Finding, loading and starting sessions.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use spillway_disk::{
    Disk, DiskError, DiskExt, EntryKind, FileLock, Overwrite, TEMPORARY_PREFIX, run,
};
use spillway_pay::SignedTx;
use spillway_types::PaymentId;

use super::{
    Held, Journal, Manifest, PlanFile, PlanIx, Progressed, Record, Session, SessionKey, VaultNote,
    files::{self, FileError, FileKind, MAX_FILE_BYTES},
    journal::JournalError,
};
use crate::{SessionError, UploadError};

/// Below `data_dir`.
pub(crate) const SESSIONS: &str = "sessions";

/// A session's files, read without a lock: for listing.
#[derive(Debug)]
pub(crate) struct Snapshot {
    pub manifest: Manifest,
    pub plans: Vec<PlanFile>,
    pub txs: Vec<SignedTx>,
    pub vault: Option<VaultNote>,
    pub progressed: Progressed,
    pub journal: Journal,
}

/// The lock of all uploads with one key.
#[derive(Debug)]
pub(crate) struct KeyLock(Box<dyn FileLock>);

impl KeyLock {
    /// Takes it. Blocks, but does not wait for another holder.
    pub(crate) fn take(disk: &dyn Disk, key: &SessionKey) -> Result<Self, UploadError> {
        disk.create_dir_all(Path::new(SESSIONS))?;
        match disk.lock(&lock_path(key)) {
            Ok(lock) => Ok(Self(lock)),
            Err(DiskError::Locked { .. }) => Err(UploadError::Busy { session: key.short() }),
            Err(error) => Err(error.into()),
        }
    }

    /// Removes the lock file and gives the lock up, unless a session of this key is there: whoever
    /// has opened the file before finds that it is the lock of nobody. Blocks.
    pub(crate) fn remove(self, disk: &dyn Disk, key: &SessionKey) -> Result<bool, DiskError> {
        self.remove_file(disk, &lock_path(key), &key.short())
    }

    /// The same of a lock file that was found, for sessions whose names begin so.
    pub(crate) fn remove_file(
        self,
        disk: &dyn Disk,
        path: &Path,
        head: &str,
    ) -> Result<bool, DiskError> {
        let hidden = format!("{TEMPORARY_PREFIX}{head}");
        let entries = disk.list(Path::new(SESSIONS))?;
        let mut names = entries.iter().filter_map(|entry| entry.name.to_str());
        // Lock files begin so too, and have another byte after it.
        let of_key =
            |name: &str| name.starts_with(&format!("{head}-")) || name.starts_with(&hidden);
        if names.any(of_key) {
            return Ok(false);
        }
        disk.remove_file(path)?;
        drop(self);
        Ok(true)
    }

    /// The lock on a lock file that was found.
    pub(crate) fn of_file(lock: Box<dyn FileLock>) -> Self {
        Self(lock)
    }
}

/// The lock files of keys, with the head that the names of their sessions have. Blocks.
pub(crate) fn lock_files(disk: &dyn Disk) -> Result<Vec<(PathBuf, String)>, DiskError> {
    let entries = match disk.list(Path::new(SESSIONS)) {
        Err(DiskError::NotFound { .. }) => return Ok(Vec::new()),
        other => other?,
    };
    let files = entries.into_iter().filter(|entry| entry.kind == EntryKind::File);
    let found = files.filter_map(|entry| {
        let name = entry.name.to_str()?;
        let key = name.strip_suffix(".lock")?;
        let is_key = key.len() == 64 && key.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_key.then(|| (Path::new(SESSIONS).join(name), key[..16].to_owned()))
    });
    Ok(found.collect())
}

fn lock_path(key: &SessionKey) -> PathBuf {
    Path::new(SESSIONS).join(format!("{key}.lock"))
}

/// The ids of all sessions. Blocks.
pub(crate) fn load_ids(disk: &dyn Disk) -> Result<Vec<String>, DiskError> {
    let entries = match disk.list(Path::new(SESSIONS)) {
        Err(DiskError::NotFound { .. }) => return Ok(Vec::new()),
        other => other?,
    };
    let is_session = |name: &str| !name.starts_with(TEMPORARY_PREFIX);
    Ok(entries
        .into_iter()
        .filter(|entry| entry.kind == EntryKind::Dir)
        .filter_map(|entry| entry.name.to_str().filter(|n| is_session(n)).map(str::to_owned))
        .collect())
}

/// The one session of this name, or whose name alone begins so. Blocks.
///
/// # Errors
/// [`SessionError::NotFound`], [`SessionError::Ambiguous`].
pub(crate) fn resolve(disk: &dyn Disk, name: &str) -> Result<String, SessionError> {
    let mut found = load_ids(disk)?;
    if found.iter().any(|id| id == name) {
        return Ok(name.to_owned());
    }
    found.retain(|id| !name.is_empty() && id.starts_with(name));
    match found.len() {
        0 => Err(SessionError::NotFound { session: name.to_owned() }),
        1 => Ok(found.remove(0)),
        found => Err(SessionError::Ambiguous { session: name.to_owned(), found }),
    }
}

/// Whether the directory of a session is there. Blocks.
pub(crate) fn is_there(disk: &dyn Disk, id: &str) -> Result<bool, DiskError> {
    DiskExt::exists(disk, &Path::new(SESSIONS).join(id))
}

/// What `told` says of every session, from its files and whether a process works on it: of one after the
/// other, since the plans of one may be large. Blocks.
pub(crate) fn list<T>(
    disk: &dyn Disk,
    told: impl Fn(String, Result<(Snapshot, bool), UploadError>) -> T,
) -> Result<Vec<T>, DiskError> {
    let mut sessions = Vec::new();
    for id in load_ids(disk)? {
        let snapshot = Snapshot::load(disk, &id).map(|snapshot| {
            let running = matches!(
                disk.lock(&lock_path(&snapshot.manifest.key)),
                Err(DiskError::Locked { .. })
            );
            (snapshot, running)
        });
        sessions.push(told(id, snapshot));
    }
    Ok(sessions)
}

impl Snapshot {
    /// Reads a session's files. Blocks.
    ///
    /// The journal comes first: what it speaks of was written before it.
    pub(crate) fn load(disk: &dyn Disk, id: &str) -> Result<Self, UploadError> {
        let dir = Path::new(SESSIONS).join(id);
        let (journal, mut progressed) = load_journal(disk, id)?;
        let manifest = load_manifest(disk, id)?;
        let plans = read_numbered(disk, id, &dir, ("plan", FileKind::Plan))?;
        let txs = read_numbered(disk, id, &dir, ("tx", FileKind::Tx))?;
        let vault = load_vault(disk, id)?;
        progressed.open_dropped(&plans);
        let snapshot = Self { manifest, plans, txs, vault, progressed, journal };
        if snapshot.is_sound() {
            return Ok(snapshot);
        }
        let what = "its files do not belong together".to_owned();
        Err(UploadError::DamagedSession { session: id.to_owned(), what })
    }

    /// The payments that its plans are.
    pub(crate) fn payments(&self) -> BTreeSet<PaymentId> {
        self.plans.iter().map(|file| file.plan.id()).collect()
    }

    /// Whether every number points to something.
    fn is_sound(&self) -> bool {
        let chunks = self.manifest.chunks.len();
        let plan_is_sound = |file: &PlanFile| {
            let leaves = file.plan.leaves.len();
            (file.chunks.len(), file.quotes.len()) == (leaves, leaves)
                && file.own_chunks().all(|chunk| (chunk.0 as usize) < chunks)
        };
        let known = |plan: &PlanIx| (plan.0 as usize) < self.plans.len();
        let Progressed { stored, already, paid, dropped, refundable, refunded, .. } =
            &self.progressed;
        let Progressed { finals, undone, .. } = &self.progressed;
        self.plans.iter().all(plan_is_sound)
            && stored.iter().chain(already).all(|chunk| (chunk.0 as usize) < chunks)
            && paid.keys().chain(dropped).chain(finals).chain(undone).all(known)
            && refundable.keys().chain(refunded.keys()).all(known)
    }
}

pub(crate) fn load_manifest(disk: &dyn Disk, id: &str) -> Result<Manifest, UploadError> {
    read(disk, id, &Path::new(SESSIONS).join(id).join("manifest"), FileKind::Manifest)
}

pub(crate) fn load_plans(disk: &dyn Disk, id: &str) -> Result<Vec<PlanFile>, UploadError> {
    read_numbered(disk, id, &Path::new(SESSIONS).join(id), ("plan", FileKind::Plan))
}

/// The vault's times; sessions that planned no batch have none.
pub(super) fn load_vault(disk: &dyn Disk, id: &str) -> Result<Option<VaultNote>, UploadError> {
    let path = Path::new(SESSIONS).join(id).join(VaultNote::FILE);
    match read(disk, id, &path, FileKind::Vault) {
        Err(UploadError::Disk(DiskError::NotFound { .. })) => Ok(None),
        other => other.map(Some),
    }
}

pub(super) fn load_txs(disk: &dyn Disk, id: &str) -> Result<Vec<SignedTx>, UploadError> {
    read_numbered(disk, id, &Path::new(SESSIONS).join(id), ("tx", FileKind::Tx))
}

pub(crate) fn load_journal(
    disk: &dyn Disk,
    id: &str,
) -> Result<(Journal, Progressed), UploadError> {
    let (journal, records) = load_records(disk, id)?;
    Ok((journal, Progressed::of(&records)))
}

pub(crate) fn load_records(
    disk: &dyn Disk,
    id: &str,
) -> Result<(Journal, Vec<Record>), UploadError> {
    let path = Path::new(SESSIONS).join(id).join("journal");
    Journal::load(disk, path).map_err(|error| match error {
        JournalError::Disk(error) => error.into(),
        damaged => UploadError::DamagedSession {
            session: id.to_owned(),
            what: format!("journal: {damaged}"),
        },
    })
}

/// Removes a session whose lock the caller holds. Blocks.
pub(crate) fn discard(disk: &dyn Disk, id: &str) -> Result<(), DiskError> {
    let hidden = hidden(id);
    remove_leftover(disk, &hidden)?;
    disk.rename(&Path::new(SESSIONS).join(id), &hidden, Overwrite::Never)?;
    remove_leftover(disk, &hidden)
}

/// Where a session is while it is made or removed: nobody takes it for one.
pub(crate) fn hidden(id: &str) -> PathBuf {
    Path::new(SESSIONS).join(format!("{TEMPORARY_PREFIX}{id}"))
}

/// The name of a session that begins: of two uploads of one key within a second, the first keeps its
/// name. Blocks.
pub(crate) fn free_id(disk: &dyn Disk, manifest: &Manifest) -> Result<String, DiskError> {
    let base = format!("{}-{}", manifest.key.short(), manifest.created);
    let mut id = base.clone();
    let mut count = 1;
    while is_there(disk, &id)? {
        count += 1;
        id = format!("{base}-{count}");
    }
    Ok(id)
}

impl Session {
    /// The unfinished session of this key, if there is one. A second one cannot be: sessions of a
    /// key are started under its lock. Blocks.
    pub(crate) fn find(
        disk: &Arc<dyn Disk>,
        key: &SessionKey,
        lock: KeyLock,
    ) -> Result<Result<Self, KeyLock>, UploadError> {
        let mut handed_over = None;
        for id in load_ids(disk.as_ref())? {
            if !id.starts_with(&key.short()) {
                continue;
            }
            let snapshot = Snapshot::load(disk.as_ref(), &id)?;
            if snapshot.manifest.key != *key || snapshot.progressed.finished {
                continue;
            }
            if let Some(elsewhere) = snapshot.progressed.handed_over {
                handed_over = Some(UploadError::HandedOver { session: id, at: elsewhere.at });
                continue;
            }
            keep(disk.as_ref(), &id, &snapshot.journal)?;
            return Ok(Ok(Self::assemble(disk, id, snapshot, lock)));
        }
        handed_over.map_or(Ok(Err(lock)), Err)
    }

    /// The session of this name, whose key is locked. Blocks.
    ///
    /// # Errors
    /// [`UploadError::HandedOver`]; when it cannot be read.
    pub(crate) fn open(disk: &Arc<dyn Disk>, id: &str, lock: KeyLock) -> Result<Self, UploadError> {
        let snapshot = Snapshot::load(disk.as_ref(), id)?;
        match snapshot.progressed.handed_over {
            Some(elsewhere) if !snapshot.progressed.finished => {
                Err(UploadError::HandedOver { session: id.to_owned(), at: elsewhere.at })
            }
            _ => {
                keep(disk.as_ref(), id, &snapshot.journal)?;
                Ok(Self::assemble(disk, id.to_owned(), snapshot, lock))
            }
        }
    }

    fn assemble(disk: &Arc<dyn Disk>, id: String, snapshot: Snapshot, lock: KeyLock) -> Self {
        Self {
            disk: Arc::clone(disk),
            dir: Path::new(SESSIONS).join(&id),
            id,
            manifest: snapshot.manifest,
            plans: snapshot.plans,
            txs: snapshot.txs,
            vault: snapshot.vault,
            progressed: snapshot.progressed,
            held: Arc::new(Held { journal: Mutex::new(snapshot.journal), _lock: lock.0 }),
        }
    }

    /// Starts a session: from when this returns it is found again. Blocks.
    ///
    /// `map` is the encoded data map of level 0, `None` for a raw chunk.
    pub(crate) fn start(
        disk: &Arc<dyn Disk>,
        manifest: Manifest,
        map: Option<Vec<u8>>,
        lock: KeyLock,
    ) -> Result<Self, UploadError> {
        let root = Path::new(SESSIONS);
        let id = free_id(disk.as_ref(), &manifest)?;
        // Whole before it is visible: a directory without a manifest is never seen.
        let hidden = hidden(&id);
        remove_leftover(disk.as_ref(), &hidden)?;
        disk.create_dir_all(&hidden)?;
        if let Some(map) = map {
            let bytes = files::encode(FileKind::Map, &map);
            disk.write_durable(&hidden.join("map"), &bytes, Overwrite::Never)?;
        }
        let bytes = files::encode(FileKind::Manifest, &manifest);
        disk.write_durable(&hidden.join("manifest"), &bytes, Overwrite::Never)?;
        disk.rename(&hidden, &root.join(&id), Overwrite::Never)?;
        let journal = Journal::new(root.join(&id).join("journal"));
        let snapshot = Snapshot {
            manifest,
            plans: Vec::new(),
            txs: Vec::new(),
            vault: None,
            progressed: Progressed::default(),
            journal,
        };
        Ok(Self::assemble(disk, id, snapshot, lock))
    }

    /// The encoded data map of level 0.
    pub(crate) async fn read_map(&self) -> Result<Vec<u8>, UploadError> {
        let (id, path) = (self.id.clone(), self.dir.join("map"));
        run(&self.disk, move |disk| Ok(read(disk, &id, &path, FileKind::Map))).await?
    }
}

/// Makes it certain that a session is found again after a power cut, as it was read. The start that made
/// it may have died, or its sync failed, between giving the directory its name and making that name
/// durable.
fn keep(disk: &dyn Disk, id: &str, journal: &Journal) -> Result<(), DiskError> {
    let dir = Path::new(SESSIONS).join(id);
    disk.create_dir_all(&dir)?;
    // The same for its files: bytes that were signed, and perhaps sent, must not be forgotten.
    disk.sync_dir(&dir)?;
    journal.keep(disk)
}

/// Removes what a start that died has left. Nothing in it was ever acted on.
pub(crate) fn remove_leftover(disk: &dyn Disk, dir: &Path) -> Result<(), DiskError> {
    let entries = match disk.list(dir) {
        Err(DiskError::NotFound { .. }) => return Ok(()),
        other => other?,
    };
    for entry in entries {
        disk.remove_file(&dir.join(entry.name))?;
    }
    disk.remove_dir(dir)
}

fn damaged(id: &str, path: &Path, error: FileError) -> UploadError {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    UploadError::DamagedSession { session: id.to_owned(), what: format!("{name}: {error}") }
}

fn read<T: serde::de::DeserializeOwned>(
    disk: &dyn Disk,
    id: &str,
    path: &Path,
    kind: FileKind,
) -> Result<T, UploadError> {
    let bytes = disk.read(path, MAX_FILE_BYTES)?;
    files::decode(kind, &bytes).map_err(|error| damaged(id, path, error))
}

/// Reads `name-0`, `name-1`, … up to the last one. A gap is damage.
fn read_numbered<T: serde::de::DeserializeOwned>(
    disk: &dyn Disk,
    id: &str,
    dir: &Path,
    (name, kind): (&str, FileKind),
) -> Result<Vec<T>, UploadError> {
    let prefix = format!("{name}-");
    let count = disk
        .list(dir)?
        .iter()
        .filter(|entry| entry.name.to_str().is_some_and(|n| n.starts_with(&prefix)))
        .count();
    (0..count).map(|k| read(disk, id, &dir.join(format!("{prefix}{k}")), kind)).collect()
}

#[cfg(test)]
mod tests {
    use spillway_disk::MemoryDisk;

    use super::*;
    use crate::session::golden;

    #[test]
    fn sessions_of_one_key_and_second_are_numbered() {
        let (disk, manifest) = (MemoryDisk::new(), golden::manifest());
        let base = "0303030303030303-1800000000";
        for id in [base.to_owned(), format!("{base}-2"), format!("{base}-3")] {
            assert_eq!(free_id(&disk, &manifest).unwrap(), id);
            disk.create_dir_all(&Path::new(SESSIONS).join(&id)).unwrap();
        }
    }

    #[test]
    fn lock_files_are_those_of_keys() {
        let disk = MemoryDisk::new();
        assert_eq!(lock_files(&disk).unwrap(), []);
        let key = "0123456789abcdef".repeat(4);
        for name in [
            format!("{key}.lock"),
            format!("{key}0.lock"),
            format!("{}.lock", &key[1..]),
            format!("{}x.lock", &key[1..]),
            key.clone(),
            "planning.lock".to_owned(),
        ] {
            let path = Path::new(SESSIONS).join(name);
            disk.create_dir_all(Path::new(SESSIONS)).unwrap();
            disk.write_durable(&path, b"", Overwrite::Never).unwrap();
        }
        let dir = format!("{}.lock", "f".repeat(64));
        disk.create_dir_all(&Path::new(SESSIONS).join(dir)).unwrap();
        let path = Path::new(SESSIONS).join(format!("{key}.lock"));
        assert_eq!(lock_files(&disk).unwrap(), [(path, key[..16].to_owned())]);
    }
}
