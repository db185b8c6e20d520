use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use spillway_disk::{Disk, DiskError, DiskExt, Mode, Overwrite, run};
use spillway_types::{ChunkAddress, UnixTime};

use super::archive::{Entry, Writer, Written};
use crate::{
    SessionError,
    session::{self, ChunkIx, KeyLock, Record, SESSIONS, Snapshot, VaultNote},
    spill::Spill,
};

/// How a session is exported.
#[derive(Clone, Copy, Debug)]
pub struct ExportOptions {
    /// The time, which is written down as that of the hand-over.
    pub now: UnixTime,
    /// Whether a file of the archive's name may be replaced.
    pub overwrite: Overwrite,
}

/// A session that was handed over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exported {
    /// Its name.
    pub session: String,
    /// Length of the archive, in bytes.
    pub bytes: u64,
    /// Sealed chunks in it.
    pub chunks: u64,
    /// Chunks that are not stored and that the spill has lost: elsewhere they are sealed again from the
    /// source, or not at all.
    pub lost: Vec<ChunkAddress>,
}

/// Hands a session over: writes its archive to `path` (0600), and makes the copy here read-only before
/// the archive has its name. Of one that was handed over before, the archive is written again.
///
/// Memory: one chunk and one session's files.
///
/// # Errors
/// [`SessionError::Busy`] while a process works on it; when a disk fails. After an error the session
/// here may be read-only already: then it is exported again, or the archive is imported here.
///
/// # Cancel safety
/// It runs to its end, unobserved.
pub async fn export_session(
    data: &Arc<dyn Disk>,
    session: &str,
    to: &Arc<dyn Disk>,
    path: &Path,
    options: ExportOptions,
) -> Result<Exported, SessionError> {
    let export =
        Export { data: Arc::clone(data), to: Arc::clone(to), path: path.to_owned(), options };
    let name = session.to_owned();
    run(data, move |_| Ok(export.run(&name))).await?
}

struct Export {
    data: Arc<dyn Disk>,
    to: Arc<dyn Disk>,
    path: PathBuf,
    options: ExportOptions,
}

impl Export {
    fn run(self, name: &str) -> Result<Exported, SessionError> {
        let disk = self.data.as_ref();
        let id = session::resolve(disk, name)?;
        let key = session::load_manifest(disk, &id)?.key;
        let lock = KeyLock::take(disk, &key)?;
        let mut snapshot = Snapshot::load(disk, &id)?;
        // Nobody would import it: whether its peers were the right ones, only that wallet knows.
        let own = snapshot.manifest.payer;
        if let Some(file) = snapshot.plans.iter().find(|file| file.plan.payer != own) {
            return Err(SessionError::OtherPayer { session: id, payer: file.plan.payer });
        }
        if self.options.overwrite == Overwrite::Never && self.to.exists(&self.path)? {
            return Err(DiskError::Exists { path: self.to.display(&self.path) }.into());
        }
        let mut writer = Writer::begin(self.to.create(&self.path, Mode::Private)?)?;
        self.files(&mut writer, &id, &snapshot)?;
        let (chunks, lost) = self.chunks(&mut writer, &id, &snapshot)?;
        let Written { file, bytes, checksum: archive } = writer.end()?;
        if snapshot.progressed.handed_over.is_none() {
            let elsewhere = Record::HandedOver { at: self.options.now, archive };
            // What is known of gas once more: a record that every version reads, after one that older
            // ones do not know.
            let spend = &snapshot.progressed.spend;
            let (used, cost) = (spend.gas_used, spend.gas_cost);
            let gas = Record::Gas { used, cost, tx_hashes: Vec::new() };
            snapshot.journal.append(disk, &[elsewhere, gas])?;
        } else {
            snapshot.journal.keep(disk)?;
        }
        file.persist(self.options.overwrite)?;
        snapshot.journal.append(disk, &[Record::Exported { archive }])?;
        drop(lock);
        Ok(Exported { session: id, bytes, chunks, lost })
    }

    /// Everything that is in the session's directory.
    fn files(
        &self,
        writer: &mut Writer,
        id: &str,
        snapshot: &Snapshot,
    ) -> Result<(), SessionError> {
        let dir = Path::new(SESSIONS).join(id);
        let mut files = vec![(Entry::Manifest, "manifest".to_owned(), None)];
        if snapshot.manifest.root.is_some() {
            files.push((Entry::Map, "map".to_owned(), None));
        }
        if snapshot.vault.is_some() {
            files.push((Entry::Vault, VaultNote::FILE.to_owned(), None));
        }
        let numbered = |name, count| (0..count).map(move |number| format!("{name}-{number}"));
        let plans = numbered("plan", snapshot.plans.len());
        files.extend(plans.map(|name| (Entry::Plan, name, None)));
        let txs = numbered("tx", snapshot.txs.len());
        files.extend(txs.map(|name| (Entry::Tx, name, None)));
        if snapshot.journal.live_len() > 0 {
            let len = Some(snapshot.journal.live_len());
            files.push((Entry::Journal, "journal".to_owned(), len));
        }
        for (entry, name, len) in files {
            if !writer.file(entry, self.data.as_ref(), (&dir.join(&name), len))? {
                let what = format!("{name}: it was cut while it was read");
                return Err(SessionError::Damaged { session: id.to_owned(), what });
            }
        }
        Ok(())
    }

    /// The sealed chunks that this session has not stored, and those of them that are lost. Whoever
    /// imports it asks the network again for what it had already, so that goes too if it is here.
    fn chunks(
        &self,
        writer: &mut Writer,
        id: &str,
        snapshot: &Snapshot,
    ) -> Result<(u64, Vec<ChunkAddress>), SessionError> {
        let numbered = (0..).map(ChunkIx).zip(&snapshot.manifest.chunks);
        let progressed = &snapshot.progressed;
        let open: Vec<(ChunkIx, ChunkAddress)> = numbered
            .filter(|(chunk, _)| !progressed.finished && !progressed.stored.contains(chunk))
            .map(|(chunk, info)| (chunk, info.address))
            .collect();
        let is_lost = |(chunk, _): &&(ChunkIx, ChunkAddress)| !progressed.is_done(*chunk);
        let spill = match Spill::open(&self.data, &snapshot.manifest.spill) {
            Ok(spill) => spill,
            Err(DiskError::NotFound { .. } | DiskError::BadPath { .. }) => {
                return Ok((0, open.iter().filter(is_lost).map(|(_, address)| *address).collect()));
            }
            Err(DiskError::Locked { .. }) => {
                return Err(SessionError::Busy { session: id.to_owned() });
            }
            Err(error) => return Err(error.into()),
        };
        let (mut count, mut lost) = (0, Vec::new());
        for open in &open {
            match spill.read(open.1)? {
                Some(bytes) => {
                    writer.bytes(Entry::Chunk, &bytes)?;
                    count += 1;
                }
                None if is_lost(&open) => lost.push(open.1),
                None => {}
            }
        }
        Ok((count, lost))
    }
}
