//! What is on a client's disk, read without the client: plans, signed transactions, sealed chunks.
//!
//! Of a session's files only the frame is known here (15 bytes before the body, a BLAKE3 of
//! both after it) and that a plan file begins with its plan. A plan proves itself: its id is a hash
//! over all that it says, and the vault has recorded that id or not. The journal, which is
//! the client's own opinion of what has happened, is never read.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use spillway_disk::{Disk, EntryKind, MemoryDisk};
use spillway_pay::{Plan, SignedTx, TxPurpose};
use spillway_types::{ChunkAddress, PaymentId};

/// Bytes before the body of a session's file: magic, kind, version, length.
const HEADER: usize = 15;

/// Bytes after it.
const CHECKSUM: usize = 32;

/// A plan that was read, and what the vault calls it.
type Read = (PaymentId, Arc<Plan>);

/// Plans by what the vault calls them.
pub(crate) type Plans = BTreeMap<PaymentId, Arc<Plan>>;

/// The largest file that is read here; sessions in a simulation are small.
const LIMIT: u64 = 1 << 24;

/// The body of a file whose checksum holds.
fn body(bytes: &[u8]) -> Option<&[u8]> {
    let end = bytes.len().checked_sub(CHECKSUM)?;
    let (framed, checksum) = bytes.split_at(end);
    let whole = blake3::hash(framed).as_bytes() == checksum;
    framed.get(HEADER..).filter(|_| whole)
}

/// The entries of a directory; none when it is not there.
pub(crate) fn entries(disk: &MemoryDisk, dir: &Path) -> Vec<(PathBuf, EntryKind)> {
    let entries = disk.list(dir).unwrap_or_default();
    entries.into_iter().map(|entry| (dir.join(entry.name), entry.kind)).collect()
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// The sessions on a disk.
pub(crate) fn sessions(disk: &MemoryDisk) -> Vec<PathBuf> {
    let all = entries(disk, Path::new("sessions")).into_iter();
    all.filter(|(path, kind)| *kind == EntryKind::Dir && !name(path).starts_with(".tmp-"))
        .map(|(path, _)| path)
        .collect()
}

/// The files of one kind in a session, whole or not.
fn files(disk: &MemoryDisk, session: &Path, prefix: &str) -> Vec<Vec<u8>> {
    let files = entries(disk, session).into_iter();
    files
        .filter(|(path, _)| name(path).starts_with(prefix))
        .filter_map(|(path, _)| disk.read(&path, LIMIT).ok())
        .collect()
}

fn decoded<T: serde::de::DeserializeOwned>(file: &[u8]) -> Option<T> {
    postcard::take_from_bytes(body(file)?).ok().map(|(value, _)| value)
}

/// Reads plans. What one file says is worked out once, whoever has it and however often it is read: a
/// file is known by its checksum, which is compared each time.
#[derive(Clone, Debug, Default)]
pub(crate) struct PlanReader(Arc<Mutex<BTreeMap<Vec<u8>, Read>>>);

impl PlanReader {
    fn read(&self, file: &[u8]) -> Option<(PaymentId, Arc<Plan>)> {
        let checksum = &file[body(file)?.len() + HEADER..];
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = known.get(checksum) {
            return Some(known.clone());
        }
        let plan: Plan = decoded(file)?;
        let read = (plan.id(), Arc::new(plan));
        known.insert(checksum.to_vec(), read.clone());
        Some(read)
    }

    /// The plans of one session, by what the vault calls them.
    pub(crate) fn of(&self, disk: &MemoryDisk, session: &Path) -> Plans {
        files(disk, session, "plan-").iter().filter_map(|file| self.read(file)).collect()
    }

    /// Every plan on a disk.
    pub(crate) fn all(&self, disk: &MemoryDisk) -> Plans {
        sessions(disk).into_iter().flat_map(|session| self.of(disk, &session)).collect()
    }

    /// Whether a session holds these signed bytes, and the plans of all that they pay.
    pub(crate) fn check_before_send(&self, disk: &MemoryDisk, raw: &[u8]) -> Result<(), String> {
        for session in sessions(disk) {
            let txs = files(disk, &session, "tx-");
            let mut txs = txs.iter().filter_map(|file| decoded::<SignedTx>(file));
            let Some(tx) = txs.find(|tx| tx.raw == raw) else { continue };
            let planned = self.all(disk);
            let pays = match tx.purpose {
                TxPurpose::Pay { payment } => vec![payment],
                TxPurpose::PayMany { payments } => payments,
                _ => Vec::new(),
            };
            let missing = pays.into_iter().find(|payment| !planned.contains_key(payment));
            return match missing {
                None => Ok(()),
                Some(payment) => Err(format!("the plan of payment {payment} is not durable")),
            };
        }
        Err("the signed bytes are in no session".to_owned())
    }
}

/// The spill directories on a disk; a link is none.
pub(crate) fn spills(disk: &MemoryDisk) -> Vec<PathBuf> {
    let all = entries(disk, Path::new("spill")).into_iter();
    all.filter(|(_, kind)| *kind == EntryKind::Dir).map(|(path, _)| path).collect()
}

/// Whether a chunk's bytes are in any spill.
pub(crate) fn is_spilled(disk: &MemoryDisk, address: ChunkAddress) -> bool {
    let file = address.to_string();
    spills(disk).iter().any(|spill| {
        let bytes = disk.read(&spill.join(&file), LIMIT);
        bytes.is_ok_and(|bytes| ChunkAddress::of(&bytes) == address)
    })
}

/// The sealed chunks in all spills.
pub(crate) fn spilled_files(disk: &MemoryDisk) -> Vec<(PathBuf, ChunkAddress)> {
    let files = spills(disk).into_iter().flat_map(|spill| entries(disk, &spill));
    files.filter_map(|(path, _)| name(&path).parse().ok().map(|address| (path, address))).collect()
}

/// Files that are being written, anywhere below this directory.
pub(crate) fn temporaries(disk: &MemoryDisk, dir: &Path, found: &mut Vec<PathBuf>) {
    for (path, kind) in entries(disk, dir) {
        if name(&path).starts_with(".tmp-") {
            found.push(path);
        } else if kind == EntryKind::Dir {
            temporaries(disk, &path, found);
        }
    }
}
