//! The reaper: removes what crashes have left, and nothing that anybody may still need.
//!
//! It looks at the disk and at the sessions together, so the order of crashes does not matter, and it
//! may itself die anywhere: what it has not done it does the next time. A session alone decides how
//! long its proofs and its spill live: while one is not finished they stay whatever their age, and
//! only [`crate::forget`] ends one that was paid for. Any doubt keeps: a clock before 2020, a file that
//! cannot be read, a lock that cannot be taken, a name or a kind that is not ours. Nothing is followed
//! through a link.
//!
//! | what | goes when |
//! |---|---|
//! | session without a plan, of a path or a single chunk | a day old, not imported, not handed over |
//! | copy of a session that was handed over | the session is back and knows all its payments |
//! | half-written file in a session | a day old |
//! | half-made or half-removed session | a day old |
//! | half-written file beside sessions and spills | a day old |
//! | spill | a day old, and no session names it that is not finished |
//! | lock file of a key | no session has the key |
//!
//! All of it only unlocked. A session of a stream, or one that was imported, stays until it is forgotten,
//! also without a plan: its sealed chunks may be the only bytes that there are.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use spillway_disk::{Disk, DiskError, EntryKind, TEMPORARY_PREFIX, run};
use spillway_types::UnixTime;

use crate::{
    Client, UnreadableSession, UploadError, forget,
    session::{self, KeyLock, Manifest, Progressed, SESSIONS, SessionKey, Snapshot},
    spill,
};

/// How old something must be before it is taken for left behind.
pub(crate) const STALE_AFTER: Duration = Duration::from_hours(24);

/// What the reaper has removed, and what it could not read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reaped {
    /// Sessions of paths and single chunks that never came to a plan, and copies of sessions that have come back.
    pub sessions: usize,
    /// Spill directories.
    pub spills: usize,
    /// Half-written files, and half-made or half-removed sessions.
    pub leftovers: usize,
    /// Lock files.
    pub locks: usize,
    /// Sessions that cannot be read. They are kept, and with them every spill: what they need is not
    /// known.
    pub unreadable: Vec<UnreadableSession>,
}

impl Client {
    /// Removes what crashes have left below the data directory. Safe at any time, beside uploads and
    /// in several processes.
    ///
    /// # Errors
    /// When the disk fails, or the place of sessions or spills is not a directory.
    ///
    /// # Cancel safety
    /// It runs to its end, unobserved.
    pub async fn reap(&self) -> Result<Reaped, UploadError> {
        let (data, now) = (Arc::clone(&self.parts.data), self.parts.clock.now());
        run(&self.parts.data, move |_| Ok(reap(&data, now))).await?
    }
}

/// Reaps. Blocks.
fn reap(data: &Arc<dyn Disk>, now: UnixTime) -> Result<Reaped, UploadError> {
    let mut reaper = Reaper { data, now, reaped: Reaped::default() };
    if now < UnixTime::YEAR_2020 {
        return Ok(reaper.reaped);
    }
    let named = reaper.sessions()?;
    if reaper.reaped.unreadable.is_empty() {
        let disk = data.as_ref();
        reaper.reaped.spills = spill::clean(disk, now, (&named, || named_now(disk)))?;
    }
    reaper.hidden_sessions()?;
    reaper.hidden_files(Path::new(SESSIONS))?;
    reaper.hidden_files(Path::new(spill::ROOT))?;
    reaper.locks()?;
    Ok(reaper.reaped)
}

/// The spills that sessions name which are not finished; `None` when one cannot be read.
fn named_now(disk: &dyn Disk) -> Option<BTreeSet<String>> {
    let mut named = BTreeSet::new();
    for id in session::load_ids(disk).ok()? {
        let manifest = session::load_manifest(disk, &id).ok()?;
        if !session::load_journal(disk, &id).ok()?.1.finished {
            named.insert(manifest.spill);
        }
    }
    Some(named)
}

struct Reaper<'d> {
    data: &'d Arc<dyn Disk>,
    now: UnixTime,
    reaped: Reaped,
}

/// What the reaper knows of a session. Plans are large and not read for it.
struct Known {
    id: String,
    manifest: Manifest,
    progressed: Progressed,
    /// Whether there is a plan, readable or not.
    planned: bool,
}

impl Known {
    fn load(disk: &dyn Disk, id: &str) -> Result<Self, UploadError> {
        let (_, progressed) = session::load_journal(disk, id)?;
        let manifest = session::load_manifest(disk, id)?;
        let entries = disk.list(&Path::new(SESSIONS).join(id))?;
        let is_plan = |name: &str| name.starts_with("plan-");
        let planned = entries.iter().any(|entry| entry.name.to_str().is_some_and(is_plan));
        Ok(Self { id: id.to_owned(), manifest, progressed, planned })
    }
}

impl Reaper<'_> {
    fn disk(&self) -> &dyn Disk {
        self.data.as_ref()
    }

    /// Looks at every session; returns the spills that may still be needed.
    fn sessions(&mut self) -> Result<BTreeSet<String>, UploadError> {
        let mut named = BTreeSet::new();
        let mut by_key: BTreeMap<SessionKey, Vec<Known>> = BTreeMap::new();
        for id in session::load_ids(self.disk())? {
            let known = match Known::load(self.disk(), &id) {
                Ok(known) => known,
                Err(UploadError::Disk(error)) if !is_missing(&error) => return Err(error.into()),
                Err(error) => {
                    // Gone since the list was read is nothing to say.
                    if session::is_there(self.disk(), &id)? {
                        let why = error.to_string();
                        self.reaped.unreadable.push(UnreadableSession { session: id, why });
                    }
                    continue;
                }
            };
            if self.is_stale(&known)? && self.remove_stale(&known)? {
                continue;
            }
            self.half_written(&known)?;
            if !known.progressed.finished {
                named.insert(known.manifest.spill.clone());
            }
            by_key.entry(known.manifest.key).or_default().push(known);
        }
        for known in by_key.into_values() {
            self.superseded(&known);
        }
        Ok(named)
    }

    /// Whether a session never came to a plan within a day, and what it has can be read again: nothing of
    /// it is at stake. The plan of one which was handed over may be made elsewhere.
    fn is_stale(&self, known: &Known) -> Result<bool, UploadError> {
        let Progressed { finished, handed_over, imported, .. } = known.progressed;
        let idle = !known.planned && !finished && handed_over.is_none();
        let may_be_all = imported || known.manifest.source.is_stream();
        if !idle || may_be_all || self.now.since(known.manifest.created) <= STALE_AFTER {
            return Ok(false);
        }
        // A clock may have been wrong when it began.
        Ok(self.is_old(&Path::new(SESSIONS).join(&known.id).join("manifest"))?)
    }

    fn remove_stale(&mut self, known: &Known) -> Result<bool, UploadError> {
        let Some(lock) = self.lock(&known.manifest.key) else { return Ok(false) };
        // Looked at again under the lock: it may have come to a plan since.
        let again = match Known::load(self.disk(), &known.id) {
            Err(UploadError::Disk(error)) if is_missing(&error) => return Ok(true),
            other => other?,
        };
        if !self.is_stale(&again)? {
            return Ok(false);
        }
        session::discard(self.disk(), &known.id)?;
        drop(lock);
        self.reaped.sessions += 1;
        Ok(true)
    }

    /// Removes copies of sessions that were handed over and have come back.
    fn superseded(&mut self, known: &[Known]) {
        let (copies, live): (Vec<_>, Vec<_>) =
            known.iter().partition(|known| known.progressed.handed_over.is_some());
        for copy in copies {
            let Some(lock) = self.lock(&copy.manifest.key) else { return };
            let Ok(snapshot) = Snapshot::load(self.disk(), &copy.id) else { continue };
            // Only what was imported can have come of the copy, and any doubt keeps it.
            let knows_all = |live: &Known| {
                live.progressed.imported
                    && Snapshot::load(self.disk(), &live.id).is_ok_and(|live| {
                        session::goes_on_from(self.disk(), &live, &snapshot).unwrap_or(false)
                    })
            };
            if !live.iter().copied().any(knows_all) {
                continue;
            }
            match forget::remove(self.data, &copy.id, &snapshot) {
                Ok(()) => self.reaped.sessions += 1,
                Err(error) => tracing::warn!(%error, "a copy could not be removed"),
            }
            drop(lock);
        }
    }

    /// Files of a session that were never renamed into place.
    fn half_written(&mut self, known: &Known) -> Result<(), UploadError> {
        let dir = Path::new(SESSIONS).join(&known.id);
        let old = self.old_files(&dir)?;
        if old.is_empty() {
            return Ok(());
        }
        let Some(lock) = self.lock(&known.manifest.key) else { return Ok(()) };
        self.remove_files(&old);
        drop(lock);
        Ok(())
    }

    /// Files beside sessions or spills that were never renamed into place.
    fn hidden_files(&mut self, dir: &Path) -> Result<(), UploadError> {
        let old = self.old_files(dir)?;
        self.remove_files(&old);
        Ok(())
    }

    fn old_files(&self, dir: &Path) -> Result<Vec<PathBuf>, DiskError> {
        let entries = match self.disk().list(dir) {
            Err(error) if is_missing(&error) => return Ok(Vec::new()),
            other => other?,
        };
        let mut old = Vec::new();
        for entry in entries {
            let random = entry.name.to_str().and_then(|name| name.strip_prefix(TEMPORARY_PREFIX));
            let path = dir.join(&entry.name);
            if entry.kind == EntryKind::File
                && random.is_some_and(is_random)
                && self.is_old(&path)?
            {
                old.push(path);
            }
        }
        Ok(old)
    }

    fn remove_files(&mut self, paths: &[PathBuf]) {
        for path in paths {
            match self.disk().remove_file(path) {
                Ok(()) => self.reaped.leftovers += 1,
                Err(error) => tracing::warn!(%error, "a half-written file could not be removed"),
            }
        }
    }

    /// Sessions that were being made or removed when their process died. Whoever makes or removes one
    /// holds the lock of its key, whose file was there before.
    fn hidden_sessions(&mut self) -> Result<(), UploadError> {
        let entries = match self.disk().list(Path::new(SESSIONS)) {
            Err(error) if is_missing(&error) => return Ok(()),
            other => other?,
        };
        for entry in entries {
            let name = entry.name.to_str().and_then(|name| name.strip_prefix(TEMPORARY_PREFIX));
            let Some((head, created)) = name.and_then(made_at) else { continue };
            let path = Path::new(SESSIONS).join(&entry.name);
            let old = self.now.since(created) > STALE_AFTER && self.is_old(&path)?;
            if entry.kind != EntryKind::Dir || !old {
                continue;
            }
            let files = session::lock_files(self.disk())?;
            let files = files.iter().filter(|(_, of)| of == head);
            let locks: Result<Vec<_>, _> = files.map(|(path, _)| self.disk().lock(path)).collect();
            let Ok(locks) = locks else { continue };
            match session::remove_leftover(self.disk(), &path) {
                Ok(()) => self.reaped.leftovers += 1,
                Err(error) => tracing::warn!(%error, "a leftover could not be removed"),
            }
            drop(locks);
        }
        Ok(())
    }

    /// Lock files of keys that no session has.
    fn locks(&mut self) -> Result<(), UploadError> {
        for (path, head) in session::lock_files(self.disk())? {
            // Any failure is doubt.
            let Ok(lock) = self.disk().lock(&path) else { continue };
            match KeyLock::of_file(lock).remove_file(self.disk(), &path, &head) {
                Ok(removed) => self.reaped.locks += usize::from(removed),
                Err(error) => tracing::warn!(%error, "a lock file could not be removed"),
            }
        }
        Ok(())
    }

    /// The lock of a key. `None`: somebody has it, or it cannot be taken.
    fn lock(&self, key: &SessionKey) -> Option<KeyLock> {
        KeyLock::take(self.disk(), key).inspect_err(|error| tracing::debug!(%error, "kept")).ok()
    }

    /// Whether it was not changed for a day. What is gone is young.
    fn is_old(&self, path: &Path) -> Result<bool, DiskError> {
        match self.disk().stat(path) {
            Ok(stat) => Ok(self.now.since(stat.modified_at()) > STALE_AFTER),
            Err(error) if is_missing(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

fn is_missing(error: &DiskError) -> bool {
    matches!(error, DiskError::NotFound { .. })
}

fn is_random(name: &str) -> bool {
    name.len() == 16 && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The head and the time in the name of a session; `None` for a name that is none.
fn made_at(name: &str) -> Option<(&str, UnixTime)> {
    let (head, rest) = name.split_once('-')?;
    let (created, count) = rest.split_once('-').unwrap_or((rest, "2"));
    count.parse::<u32>().ok()?;
    is_random(head).then_some(())?;
    created.parse().ok().map(|created| (head, UnixTime(created)))
}

#[cfg(test)]
mod tests {
    use spillway_disk::{DiskOp, Fault, FaultPlan, Faults, MemoryDisk, Overwrite};
    use spillway_types::{Domain, EvmAddress, NetworkId};

    use super::*;
    use crate::session::{Record, Session, SourceNote};

    #[test]
    fn only_names_of_sessions_are_read_as_such() {
        let head = "0123456789abcdef";
        let made = Some((head, UnixTime(1_800_000_000)));
        assert_eq!(made_at("0123456789abcdef-1800000000"), made);
        assert_eq!(made_at("0123456789abcdef-1800000000-2"), made);
        for name in [
            "",
            "photos",
            "0123456789abcde-1800000000",
            "0123456789abcdex-1800000000",
            "0123456789abcdef-yesterday",
            "0123456789abcdef-1800000000-x",
            "0123456789abcdef",
        ] {
            assert_eq!(made_at(name), None, "{name}");
        }
    }

    /// A session with a spill, of which nothing is planned.
    fn session(disk: &Arc<dyn Disk>, number: u8, spill: &str) -> Session {
        let key = SessionKey([number; 32]);
        let lock = KeyLock::take(disk.as_ref(), &key).unwrap();
        let domain =
            Domain { network: NetworkId([1; 32]), chain_id: 31_337, vault: EvmAddress([3; 20]) };
        let manifest = Manifest {
            key,
            created: UnixTime(1_800_000_000),
            domain,
            payer: EvmAddress([4; 20]),
            source: SourceNote { name: "a".into(), bytes: 5, skipped: Vec::new() },
            spill: spill.into(),
            chunks: Vec::new(),
            root: None,
            public_address: None,
        };
        Session::start(disk, manifest, None, lock).unwrap()
    }

    /// What a session may still need is asked once more when the lock of a spill is held.
    #[tokio::test]
    async fn spills_are_named_by_sessions_that_are_not_finished() {
        let disk: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
        assert_eq!(named_now(disk.as_ref()), Some(BTreeSet::new()));
        let mut done = session(&disk, 1, "spill_1_aa");
        done.record(vec![Record::Finished]).await.unwrap();
        let open = session(&disk, 2, "spill_2_bb");
        assert_eq!(named_now(disk.as_ref()), Some(BTreeSet::from(["spill_2_bb".to_owned()])));
        let manifest = Path::new(SESSIONS).join(open.id()).join("manifest");
        disk.write_durable(&manifest, b"what is this", Overwrite::Replace).unwrap();
        assert_eq!(named_now(disk.as_ref()), None, "nobody can say");
    }

    /// A disk that fails says nothing of the session.
    #[test]
    fn a_disk_that_fails_is_an_error_and_no_unreadable_session() {
        let faults = Arc::new(Faults::default());
        let disk: Arc<dyn Disk> = Arc::new(MemoryDisk::new().with_faults(Arc::clone(&faults)));
        drop(session(&disk, 1, "spill_1_aa"));
        let now = UnixTime(1_800_000_100);
        for at in 1.. {
            faults.arm(FaultPlan::once(at, Fault::Io).only(DiskOp::Read));
            let reaped = reap(&disk, now);
            if faults.count() < at {
                assert_eq!(reaped.unwrap(), Reaped::default());
                assert!(at > 1, "it is read");
                break;
            }
            assert!(matches!(reaped, Err(UploadError::Disk(_))), "read {at}: {reaped:?}");
        }
    }

    /// One that was imported and has begun as the copy did: any doubt keeps the copy.
    #[tokio::test]
    async fn a_copy_goes_when_what_came_of_it_is_back() {
        let at = UnixTime(1_800_000_000);
        let handed_over = Record::HandedOver { at, archive: [1; 32] };
        for (live, removed) in [
            (&[Record::ToVerify, Record::Imported][..], 1),
            (&[Record::Imported], 0),
            (&[Record::ToVerify], 0),
        ] {
            let disk: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
            let mut copy = session(&disk, 1, "spill_1_aa");
            copy.record(vec![Record::ToVerify, handed_over.clone()]).await.unwrap();
            drop(copy);
            let mut back = session(&disk, 1, "spill_2_bb");
            back.record(live.to_vec()).await.unwrap();
            let left = back.id().to_owned();
            drop(back);
            let reaped = reap(&disk, at).unwrap();
            assert_eq!((reaped.sessions, reaped.unreadable), (removed, Vec::new()), "{live:?}");
            let ids = session::load_ids(disk.as_ref()).unwrap();
            assert_eq!((ids.len(), ids.contains(&left)), (2 - removed, true), "{live:?}");
        }
    }

    /// Its files are older than that: a clock may have been wrong, either way.
    #[test]
    fn what_was_begun_a_day_ago_to_the_second_stays() {
        let began = UnixTime(1_800_000_000);
        let day = began.saturating_add(STALE_AFTER);
        for (now, removed) in [(day, 0), (UnixTime(day.0 + 1), 1)] {
            let disk: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
            drop(session(&disk, 1, "spill_1_aa"));
            let hidden = format!("{TEMPORARY_PREFIX}0123456789abcdef-{began}");
            disk.create_dir_all(&Path::new(SESSIONS).join(hidden)).unwrap();
            let reaped = reap(&disk, now).unwrap();
            assert_eq!((reaped.sessions, reaped.leftovers), (removed, removed), "at {now}");
        }
    }
}
