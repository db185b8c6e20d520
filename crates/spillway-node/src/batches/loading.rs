//! What of further proofs and wins a start finds on the disk.

use std::path::{Path, PathBuf};

use spillway_disk::{Disk, DiskError, EntryKind, Overwrite, TEMPORARY_PREFIX};
use spillway_pay::verify::batch_leaf;
use spillway_types::{BatchProof, Domain, Win};

use super::files::{
    BadFile, FurtherKey, FurtherProof, Kept, PROOFS, QUARANTINE, WINS, WinKey, decode, proof_key,
    proof_path, win_key, win_path,
};
use crate::limits::MAX_PROOF_FILE_BYTES;

/// What was found, of this domain and sound.
pub(super) struct Loaded {
    pub(super) proofs: Vec<(FurtherKey, FurtherProof)>,
    pub(super) wins: Vec<(WinKey, Win)>,
    /// Some files could not be read, for what may pass.
    pub(super) unread: bool,
}

/// The files of one kind, each with the key that its name says.
struct Files<K, T> {
    read: Vec<(K, Result<T, BadFile>)>,
    unread: bool,
}

/// Makes the directories, removes what a crash has left, moves aside what a bad disk has, and reads
/// the rest. Blocking; only the node that owns the directory may do it, and only at its start.
pub(super) fn load(disk: &dyn Disk, domain: &Domain) -> Result<Loaded, DiskError> {
    for dir in [PROOFS, WINS] {
        disk.create_dir_all(&Path::new(dir).join(QUARANTINE))?;
        clean(disk, dir)?;
    }
    let (proofs, wins) = (read_all(disk, PROOFS, proof_key)?, read_all(disk, WINS, win_key)?);
    move_aside(disk, &proofs, proof_path);
    move_aside(disk, &wins, win_path);
    Ok(of_domain(proofs, wins, domain))
}

/// Reads once more, after some files could not be read. Blocking; changes nothing.
pub(super) fn read(disk: &dyn Disk, domain: &Domain) -> Result<Loaded, DiskError> {
    let (proofs, wins) = (read_all(disk, PROOFS, proof_key)?, read_all(disk, WINS, win_key)?);
    Ok(of_domain(proofs, wins, domain))
}

fn of_domain(
    proofs: Files<FurtherKey, FurtherProof>,
    wins: Files<WinKey, Win>,
    domain: &Domain,
) -> Loaded {
    let unread = proofs.unread || wins.unread;
    let proofs = proofs.read.into_iter().filter_map(|(key, kept)| Some((key, kept.ok()?)));
    let wins = wins.read.into_iter().filter_map(|(key, win)| Some((key, win.ok()?)));
    Loaded {
        proofs: proofs.filter(|(key, kept)| is_proof(*key, kept, domain)).collect(),
        wins: wins.filter(|(key, win)| is_win(*key, win, domain)).collect(),
        unread,
    }
}

/// The wins that are noted beneath this disk's root, whatever their domain, in order. Blocking;
/// changes nothing.
pub(crate) fn stored_wins(disk: &dyn Disk) -> Result<Vec<(WinKey, Win)>, DiskError> {
    let mut wins = Vec::new();
    for (key, win) in read_all::<_, Win>(disk, WINS, win_key)?.read {
        match win {
            Ok(win) if win.draw == key.1 => wins.push((key, win)),
            Ok(_) => log(WINS, BadFile::Damaged),
            Err(bad) => log(WINS, bad),
        }
    }
    wins.sort_by_key(|(key, _)| *key);
    Ok(wins)
}

fn log(dir: &str, bad: BadFile) {
    tracing::error!(dir, error = %bad, "a file is not read");
}

fn is_proof(key: FurtherKey, kept: &FurtherProof, domain: &Domain) -> bool {
    let (payment, from) = key;
    kept.proof.terms.id(domain) == payment
        && batch_leaf(&kept.proof, &kept.leaf).is_ok_and(|span| span.from == from)
}

fn is_win((payment, draw): WinKey, win: &Win, domain: &Domain) -> bool {
    let proof = BatchProof { terms: win.terms, siblings: win.siblings.clone() };
    win.terms.id(domain) == payment && win.draw == draw && batch_leaf(&proof, &win.leaf).is_ok()
}

fn clean(disk: &dyn Disk, dir: &str) -> Result<(), DiskError> {
    for entry in disk.list(Path::new(dir))? {
        let name = entry.name.to_str();
        if name.is_some_and(|name| name.starts_with(TEMPORARY_PREFIX)) {
            disk.remove_file(&Path::new(dir).join(&entry.name))?;
        }
    }
    Ok(())
}

/// All files of a directory whose names say a key.
fn read_all<K, T: Kept>(
    disk: &dyn Disk,
    dir: &str,
    key: fn(&Path) -> Option<K>,
) -> Result<Files<K, T>, DiskError> {
    let mut files = Files { read: Vec::new(), unread: false };
    let entries = match disk.list(Path::new(dir)) {
        Ok(entries) => entries,
        Err(DiskError::NotFound { .. }) => return Ok(files),
        Err(error) => return Err(error),
    };
    for entry in entries.into_iter().filter(|entry| entry.kind == EntryKind::File) {
        let Some(key) = key(&entry.name) else { continue };
        match disk.read(&Path::new(dir).join(&entry.name), MAX_PROOF_FILE_BYTES) {
            Ok(bytes) => files.read.push((key, decode(&bytes))),
            Err(DiskError::TooLong { .. }) => files.read.push((key, Err(BadFile::Damaged))),
            // Dropped meanwhile by the node that owns it.
            Err(DiskError::NotFound { .. }) => {}
            Err(error) => {
                tracing::error!(dir, %error, "a file cannot be read");
                files.unread = true;
            }
        }
    }
    Ok(files)
}

/// Moves the damaged ones aside: they prove nothing as they are, but what they would have won is not
/// always found again, and somebody may be able to mend them. What a newer version wrote is left
/// alone.
fn move_aside<K: Copy, T>(disk: &dyn Disk, files: &Files<K, T>, path: fn(K) -> PathBuf) {
    for (key, kept) in &files.read {
        let Err(bad) = kept else { continue };
        let path = path(*key);
        let shown = disk.display(&path);
        tracing::error!(path = %shown.display(), error = %bad, "a proof or win is not read");
        if *bad != BadFile::Damaged {
            continue;
        }
        let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else { continue };
        let aside = dir.join(QUARANTINE).join(name);
        if let Err(error) = disk.rename(&path, &aside, Overwrite::Replace) {
            tracing::error!(%error, "a damaged file cannot be moved aside");
        }
    }
}
