//! What of further proofs and wins a start finds on the disk.

use std::path::Path;

use spillway_disk::{Disk, DiskError, EntryKind, TEMPORARY_PREFIX};
use spillway_pay::verify::batch_leaf;
use spillway_types::{BatchProof, Domain, Win};

use super::files::{
    BadFile, FurtherKey, FurtherProof, Kept, PROOFS, WINS, WinKey, decode, proof_key, win_key,
};
use crate::limits::MAX_PROOF_FILE_BYTES;

/// What was found, of this domain and sound.
pub(super) struct Loaded {
    pub(super) proofs: Vec<(FurtherKey, FurtherProof)>,
    pub(super) wins: Vec<(WinKey, Win)>,
}

/// A file with the key that its name says.
type File<K, T> = (K, Result<T, BadFile>);

/// Makes the directories, removes what a crash or a bad disk has left, and reads the rest. Blocking;
/// only the node that owns the directory may do it.
pub(super) fn load(disk: &dyn Disk, domain: &Domain) -> Result<Loaded, DiskError> {
    for dir in [PROOFS, WINS] {
        disk.create_dir_all(Path::new(dir))?;
        clean(disk, dir)?;
    }
    let proofs = sound(disk, read_all(disk, PROOFS, proof_key)?, super::files::proof_path);
    let wins = sound(disk, read_all(disk, WINS, win_key)?, super::files::win_path);
    Ok(Loaded {
        proofs: proofs.into_iter().filter(|(key, kept)| is_proof(*key, kept, domain)).collect(),
        wins: wins.into_iter().filter(|(key, win)| is_win(*key, win, domain)).collect(),
    })
}

/// The wins that are noted beneath this disk's root, whatever their domain, in order. Blocking;
/// changes nothing.
pub(crate) fn stored_wins(disk: &dyn Disk) -> Result<Vec<(WinKey, Win)>, DiskError> {
    let mut wins = Vec::new();
    for (key, win) in read_all::<_, Win>(disk, WINS, win_key)? {
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

/// All files of a directory whose names say a key; a file that cannot be read is left out.
fn read_all<K, T: Kept>(
    disk: &dyn Disk,
    dir: &str,
    key: fn(&Path) -> Option<K>,
) -> Result<Vec<File<K, T>>, DiskError> {
    let entries = match disk.list(Path::new(dir)) {
        Ok(entries) => entries,
        Err(DiskError::NotFound { .. }) => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut files = Vec::new();
    for entry in entries.into_iter().filter(|entry| entry.kind == EntryKind::File) {
        let Some(key) = key(&entry.name) else { continue };
        match disk.read(&Path::new(dir).join(&entry.name), MAX_PROOF_FILE_BYTES) {
            Ok(bytes) => files.push((key, decode(&bytes))),
            Err(DiskError::TooLong { .. }) => files.push((key, Err(BadFile::Damaged))),
            // Dropped meanwhile by the node that owns it.
            Err(DiskError::NotFound { .. }) => {}
            Err(error) => tracing::error!(dir, %error, "a file cannot be read"),
        }
    }
    Ok(files)
}

/// Those that can be read. Damaged ones are removed: a win is found again from its proof, and a
/// proof with a flipped bit proves nothing. What a newer version wrote is left alone.
fn sound<K: Copy, T>(
    disk: &dyn Disk,
    files: Vec<File<K, T>>,
    path: fn(K) -> std::path::PathBuf,
) -> Vec<(K, T)> {
    let mut sound = Vec::new();
    for (key, kept) in files {
        match kept {
            Ok(kept) => sound.push((key, kept)),
            Err(bad) => {
                let path = path(key);
                tracing::error!(path = %disk.display(&path).display(), error = %bad, "not read");
                if bad == BadFile::Damaged
                    && let Err(error) = disk.remove_file(&path)
                {
                    tracing::error!(%error, "a damaged file cannot be removed");
                }
            }
        }
    }
    sound
}
