//! Finding, loading and starting sessions.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use spillway_disk::{Disk, DiskError, EntryKind, FileLock, Overwrite, TEMPORARY_PREFIX, run};
use spillway_pay::SignedTx;
use spillway_types::UnixTime;

use super::{
    Held, Journal, Manifest, PlanFile, PlanIx, Progressed, Session, SessionKey, VaultNote,
    files::{self, FileError, FileKind, MAX_FILE_BYTES},
    journal::JournalError,
};
use crate::UploadError;

/// Below `data_dir`.
pub(crate) const SESSIONS: &str = "sessions";

/// How old a session without a plan must be before it is removed.
const STALE_AFTER: Duration = Duration::from_hours(24);

/// A session's files, read without a lock: for listing.
#[derive(Debug)]
pub(crate) struct Snapshot {
    pub manifest: Manifest,
    pub plans: Vec<PlanFile>,
    pub txs: Vec<SignedTx>,
    pub vault: Option<VaultNote>,
    pub progressed: Progressed,
    journal: Journal,
}

/// A session's id, and its files with whether a process works on it.
pub(crate) type Listed = (String, Result<(Snapshot, bool), UploadError>);

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

/// Every session with its files and whether a process works on it. Blocks.
pub(crate) fn list(disk: &dyn Disk) -> Result<Vec<Listed>, DiskError> {
    let mut sessions = Vec::new();
    for id in load_ids(disk)? {
        let snapshot = Snapshot::load(disk, &id).map(|snapshot| {
            let running = matches!(
                disk.lock(&lock_path(&snapshot.manifest.key)),
                Err(DiskError::Locked { .. })
            );
            (snapshot, running)
        });
        sessions.push((id, snapshot));
    }
    Ok(sessions)
}

impl Snapshot {
    /// Reads a session's files. Blocks.
    ///
    /// The journal comes first: what it speaks of was written before it.
    pub(crate) fn load(disk: &dyn Disk, id: &str) -> Result<Self, UploadError> {
        let dir = Path::new(SESSIONS).join(id);
        let (journal, progressed) = load_journal(disk, id)?;
        let manifest = load_manifest(disk, id)?;
        let plans = read_numbered(disk, id, &dir, ("plan", FileKind::Plan))?;
        let txs = read_numbered(disk, id, &dir, ("tx", FileKind::Tx))?;
        let vault = load_vault(disk, id)?;
        let snapshot = Self { manifest, plans, txs, vault, progressed, journal };
        if snapshot.is_sound() {
            return Ok(snapshot);
        }
        let what = "its files do not belong together".to_owned();
        Err(UploadError::DamagedSession { session: id.to_owned(), what })
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
        self.plans.iter().all(plan_is_sound)
            && stored.iter().chain(already).all(|chunk| (chunk.0 as usize) < chunks)
            && paid.keys().chain(dropped).all(known)
            && refundable.keys().chain(refunded.keys()).all(known)
    }
}

pub(super) fn load_manifest(disk: &dyn Disk, id: &str) -> Result<Manifest, UploadError> {
    read(disk, id, &Path::new(SESSIONS).join(id).join("manifest"), FileKind::Manifest)
}

pub(super) fn load_plans(disk: &dyn Disk, id: &str) -> Result<Vec<PlanFile>, UploadError> {
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

pub(super) fn load_journal(
    disk: &dyn Disk,
    id: &str,
) -> Result<(Journal, Progressed), UploadError> {
    let path = Path::new(SESSIONS).join(id).join("journal");
    let (journal, records) = Journal::load(disk, path).map_err(|error| match error {
        JournalError::Disk(error) => error.into(),
        damaged @ JournalError::Damaged { .. } => UploadError::DamagedSession {
            session: id.to_owned(),
            what: format!("journal: {damaged}"),
        },
    })?;
    let mut progressed = Progressed::default();
    for record in &records {
        progressed.apply(record);
    }
    Ok((journal, progressed))
}

/// The spills that sessions may still need. On the way, sessions that never came to a plan within a
/// day are removed: nothing of theirs is at stake. Blocks.
pub(crate) fn spills_in_use(
    disk: &dyn Disk,
    now: UnixTime,
) -> Result<BTreeSet<String>, UploadError> {
    let mut named = BTreeSet::new();
    for id in load_ids(disk)? {
        let manifest = load_manifest(disk, &id)?;
        let (_, progressed) = load_journal(disk, &id)?;
        if progressed.finished {
            continue;
        }
        let stale = now.since(manifest.created) > STALE_AFTER && now >= UnixTime::YEAR_2020;
        if stale
            && load_plans(disk, &id)?.is_empty()
            && let Ok(lock) = KeyLock::take(disk, &manifest.key)
        {
            discard(disk, &id)?;
            drop(lock);
            continue;
        }
        named.insert(manifest.spill);
    }
    Ok(named)
}

/// Removes a session whose lock the caller holds. Blocks.
pub(crate) fn discard(disk: &dyn Disk, id: &str) -> Result<(), DiskError> {
    let hidden = Path::new(SESSIONS).join(format!("{TEMPORARY_PREFIX}{id}"));
    disk.rename(&Path::new(SESSIONS).join(id), &hidden, Overwrite::Never)?;
    remove_leftover(disk, &hidden)
}

impl Session {
    /// The unfinished session of this key, if there is one. A second one cannot be: sessions of a
    /// key are started under its lock. Blocks.
    pub(crate) fn find(
        disk: &Arc<dyn Disk>,
        key: &SessionKey,
        lock: KeyLock,
    ) -> Result<Result<Self, KeyLock>, UploadError> {
        for id in load_ids(disk.as_ref())? {
            if !id.starts_with(&key.short()) {
                continue;
            }
            let snapshot = Snapshot::load(disk.as_ref(), &id)?;
            if snapshot.manifest.key != *key || snapshot.progressed.finished {
                continue;
            }
            return Ok(Ok(Self::assemble(disk, id, snapshot, lock)));
        }
        Ok(Err(lock))
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
        let base = format!("{}-{}", manifest.key.short(), manifest.created);
        // Two uploads of one key within a second: the finished one keeps its name.
        let mut id = base.clone();
        let mut count = 1;
        while spillway_disk::DiskExt::exists(disk.as_ref(), &root.join(&id))? {
            count += 1;
            id = format!("{base}-{count}");
        }
        // Whole before it is visible: a directory without a manifest is never seen.
        let hidden = root.join(format!("{TEMPORARY_PREFIX}{id}"));
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

/// Removes what a start that died has left. Nothing in it was ever acted on.
fn remove_leftover(disk: &dyn Disk, dir: &Path) -> Result<(), DiskError> {
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
