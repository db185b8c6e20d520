//! What happened in a session, in the order in which it happened: an append-only file of framed,
//! checksummed records. A torn tail is dropped; a bad record before a good one is damage, and
//! damage is never repaired in silence.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use spillway_disk::{Disk, DiskError};
use spillway_types::{Atto, Receipt, TxHash, UnixTime, Wei};

use super::{ChunkIx, PlanIx};

/// Before every record, so that a good record can be found after a bad one.
const MAGIC: &[u8; 4] = b"SPWJ";
/// Magic, sequence number, length, CRC-32 of all that and the body.
const HEADER_BYTES: usize = 4 + 8 + 4 + 4;
/// Longest journal that is read, in bytes: two million chunks, which is the most of one upload, with
/// 1.6 KiB of receipts each.
pub(crate) const MAX_JOURNAL_BYTES: u64 = 4 * 1024 * 1024 * 1024;
/// Largest record, in bytes: a chunk's receipts are about 1.5 KiB.
const MAX_RECORD_BYTES: usize = 64 * 1024;
/// How much is checksummed to find a good record behind a bad one, in bytes: a second or less. A torn
/// write has next to no place that looks like a record; what has more is damage.
const MAX_SEARCH_BYTES: usize = 256 * 1024 * 1024;
/// How much of two journals is compared at once, in bytes.
const COMPARED_BYTES: usize = 64 * 1024;

/// One thing that happened. Variants are only ever added at the end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Record {
    /// A quorum of the chunk's quoted peers has it.
    Stored { chunk: ChunkIx, receipts: Vec<Receipt> },
    /// The network had it before: a quorum of the five closest said so.
    Already { chunk: ChunkIx, receipts: Vec<Receipt> },
    /// The vault has taken a plan.
    Paid { plan: PlanIx, recorded: UnixTime, total: Atto },
    /// What the mined transactions of the session have cost so far, all together, and which were
    /// mined since the last record of this kind.
    Gas { used: u64, cost: Wei, tx_hashes: Vec<TxHash> },
    /// A plan can never be recorded any more.
    Dropped { plan: PlanIx },
    /// Everything is stored and the data map was handed out.
    Finished,
    /// The claim window of a batch is over: so much of it comes back to its payer, from now on
    /// without change. Written before it is asked for.
    ClaimOver { plan: PlanIx, refundable: Atto },
    /// Nothing more comes back of a batch: so much did.
    Refunded { plan: PlanIx, amount: Atto },
    /// The session goes on elsewhere, with the archive of this hash: from here on it is only read.
    /// Written before the archive has its name, and always with a record after it, so that programs
    /// that do not know of it take the journal for damaged and stop.
    HandedOver { at: UnixTime, archive: [u8; 32] },
    /// The archive of this hash has its name.
    Exported { archive: [u8; 32] },
    /// The upload is done only when it is verified: until then its spill stays.
    ToVerify,
    /// Too few of the peers that should have a stored chunk have it, for the `attempt`th time since it
    /// was verified last. It is looked at and stored again from `next` on.
    Missed { chunk: ChunkIx, attempt: u32, next: UnixTime },
    /// All chunks were verified after they were stored.
    Verified,
    /// What stands before came with an archive, and is another's word: written by who imports it. An
    /// archive may carry those of earlier imports; they only make less count.
    Imported,
    /// The record of a plan is so deep that no reorganisation takes it back.
    Final { plan: PlanIx },
    /// The record of a plan was there and is gone: what is signed for it goes out again. The upload is
    /// done only when that is recorded and its chunks are verified.
    Undone { plan: PlanIx },
    /// The network was said to have a chunk, too few of its peers do, and nothing here can store it
    /// again without a payment: what was said before does not count any more.
    Reopened { chunk: ChunkIx },
}

/// Why a journal cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum JournalError {
    #[error(transparent)]
    Disk(#[from] DiskError),
    #[error("a damaged record at byte {at} with good ones after it")]
    Damaged { at: usize },
    #[error("a record of a newer version at byte {at}; update this program")]
    Newer { at: usize },
}

/// The journal of one session.
#[derive(Debug)]
pub(crate) struct Journal {
    path: PathBuf,
    next: u64,
    /// Set when an append failed: the file may end in a part of a record, which has to be cut off
    /// before anything is written after it.
    torn_from: Option<u64>,
    len: u64,
    /// How much of it was written before the session was handed over, in bytes; all, if it was not.
    live_len: u64,
}

impl Journal {
    /// A journal that nothing was written to.
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path, next: 0, torn_from: None, len: 0, live_len: 0 }
    }

    /// Reads a journal. A torn tail is left on disk: it is cut off before the next append.
    pub(crate) fn load(
        disk: &dyn Disk,
        path: PathBuf,
    ) -> Result<(Self, Vec<Record>), JournalError> {
        let bytes = match disk.read(&path, MAX_JOURNAL_BYTES) {
            Err(DiskError::NotFound { .. }) => Vec::new(),
            other => other?,
        };
        let (records, good) = parse(&bytes)?;
        let journal = Self {
            path,
            next: records.len() as u64,
            torn_from: (good < bytes.len()).then_some(good as u64),
            len: good as u64,
            live_len: live_len(&bytes[..good], &records) as u64,
        };
        Ok((journal, records))
    }

    /// What an archive takes of it, in bytes from its beginning.
    pub(crate) fn live_len(&self) -> u64 {
        self.live_len
    }

    /// Whether it begins with what the other was before that was handed over. Blocks.
    pub(crate) fn goes_on_from(&self, disk: &dyn Disk, other: &Self) -> Result<bool, DiskError> {
        let len = other.live_len;
        if len == 0 || self.len < len {
            return Ok(len == 0);
        }
        let (ours, theirs) = (disk.open(&self.path)?, disk.open(&other.path)?);
        let (mut a, mut b) = (vec![0; COMPARED_BYTES], vec![0; COMPARED_BYTES]);
        let mut at = 0;
        while at < len {
            let want = usize::try_from(len - at).unwrap_or(usize::MAX).min(COMPARED_BYTES);
            let read = (ours.read_at(at, &mut a[..want])?, theirs.read_at(at, &mut b[..want])?);
            if read != (want, want) || a[..want] != b[..want] {
                return Ok(false);
            }
            at += want as u64;
        }
        Ok(true)
    }

    /// Whether it ends in a part of a record.
    pub(crate) fn is_torn(&self) -> bool {
        self.torn_from.is_some()
    }

    /// Makes durable what was read: a process that died between writing a record and syncing it has left
    /// one that the next power cut takes back. Blocks.
    pub(crate) fn keep(&self, disk: &dyn Disk) -> Result<(), DiskError> {
        if self.len > 0 {
            disk.append_durable(&self.path, &[])?;
        }
        Ok(())
    }

    /// Appends records durably, all in one write. Blocks.
    pub(crate) fn append(&mut self, disk: &dyn Disk, records: &[Record]) -> Result<(), DiskError> {
        if records.is_empty() {
            return Ok(());
        }
        self.cut_torn(disk)?;
        let mut bytes = Vec::new();
        for (sequence, record) in (self.next..).zip(records) {
            frame(sequence, record, &mut bytes);
        }
        match disk.append_durable(&self.path, &bytes) {
            Ok(_) => {
                self.next += records.len() as u64;
                self.len += bytes.len() as u64;
                Ok(())
            }
            Err(error) => {
                self.torn_from = Some(self.len);
                Err(error)
            }
        }
    }

    fn cut_torn(&mut self, disk: &dyn Disk) -> Result<(), DiskError> {
        if let Some(len) = self.torn_from {
            match disk.truncate(&self.path, len) {
                Err(DiskError::NotFound { .. }) if len == 0 => {}
                other => other?,
            }
            self.torn_from = None;
        }
        Ok(())
    }
}

/// A whole journal of these records.
#[cfg(test)]
pub(super) fn encode(records: &[Record]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (sequence, record) in (0..).zip(records) {
        frame(sequence, record, &mut bytes);
    }
    bytes
}

fn frame(sequence: u64, record: &Record, bytes: &mut Vec<u8>) {
    let body = postcard::to_stdvec(record).expect("invariant: records always encode");
    let len = u32::try_from(body.len()).expect("invariant: records are far below 4 GiB");
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&sequence.to_le_bytes());
    bytes.extend_from_slice(&len.to_le_bytes());
    bytes.extend_from_slice(&checksum(sequence, &body).to_le_bytes());
    bytes.extend_from_slice(&body);
}

fn checksum(sequence: u64, body: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(MAGIC);
    crc.update(&sequence.to_le_bytes());
    crc.update(&(body.len() as u64).to_le_bytes());
    crc.update(body);
    crc.finalize()
}

/// What stands at some place of a journal.
enum Frame {
    /// A record, with its number and the length of its frame.
    Good(u64, Record, usize),
    /// Framed as a record is, and none that is known here.
    Newer,
    Bad,
}

/// The body at the head of `bytes`, with its number, when its checksum holds.
fn framed(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let header = bytes.first_chunk::<HEADER_BYTES>()?;
    let body = header.strip_prefix(MAGIC)?;
    let sequence = u64::from_le_bytes(*body.first_chunk()?);
    let len = u32::from_le_bytes(*body[8..].first_chunk()?) as usize;
    let crc = u32::from_le_bytes(*body[12..].first_chunk()?);
    if len > MAX_RECORD_BYTES {
        return None;
    }
    let body = bytes.get(HEADER_BYTES..HEADER_BYTES + len)?;
    (checksum(sequence, body) == crc).then_some((sequence, body))
}

fn first(bytes: &[u8]) -> Frame {
    let Some((sequence, body)) = framed(bytes) else { return Frame::Bad };
    match postcard::take_from_bytes(body) {
        Ok((record, [])) => Frame::Good(sequence, record, HEADER_BYTES + body.len()),
        // No torn write has a good checksum.
        _ => Frame::Newer,
    }
}

/// The length of the records before the one that hands the session over.
fn live_len(bytes: &[u8], records: &[Record]) -> usize {
    let handed_over = |record: &Record| matches!(record, Record::HandedOver { .. });
    let live = records.iter().position(handed_over).unwrap_or(records.len());
    let mut at = 0;
    for _ in 0..live {
        at += framed(&bytes[at..]).map_or(0, |(_, body)| HEADER_BYTES + body.len());
    }
    at
}

/// Whether something is behind a bad record that a torn write does not leave: a good record, or more
/// that looks like records than is looked at.
fn has_more(bytes: &[u8], most: usize) -> bool {
    let mut left = most;
    (1..bytes.len()).any(|later| {
        let rest = &bytes[later..];
        if !rest.starts_with(MAGIC) {
            return false;
        }
        match left.checked_sub(rest.len().min(MAX_RECORD_BYTES)) {
            None => true,
            Some(less) => {
                left = less;
                framed(rest).is_some()
            }
        }
    })
}

/// The good records and how many bytes they take.
pub(super) fn parse(bytes: &[u8]) -> Result<(Vec<Record>, usize), JournalError> {
    let mut records = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        match first(&bytes[at..]) {
            Frame::Good(sequence, record, len) if sequence == records.len() as u64 => {
                records.push(record);
                at += len;
            }
            // A repeated or missing record, or a bad one with good ones behind it.
            Frame::Good(..) => return Err(JournalError::Damaged { at }),
            Frame::Newer => return Err(JournalError::Newer { at }),
            Frame::Bad if has_more(&bytes[at..], MAX_SEARCH_BYTES) => {
                return Err(JournalError::Damaged { at });
            }
            Frame::Bad => break,
        }
    }
    Ok((records, at))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use spillway_disk::{DiskOp, Fault, FaultPlan, Faults, MemoryDisk};

    use super::*;

    fn records() -> Vec<Record> {
        vec![
            Record::Paid { plan: PlanIx(0), recorded: UnixTime(5), total: Atto(7) },
            Record::Gas { used: 9, cost: Wei(11), tx_hashes: vec![TxHash([1; 32])] },
            Record::Dropped { plan: PlanIx(1) },
            Record::Finished,
        ]
    }

    fn frames(records: &[Record]) -> (Vec<u8>, Vec<usize>) {
        let mut bytes = Vec::new();
        let mut ends = vec![0];
        for (sequence, record) in records.iter().enumerate() {
            frame(sequence as u64, record, &mut bytes);
            ends.push(bytes.len());
        }
        (bytes, ends)
    }

    #[test]
    fn every_prefix_gives_the_whole_records_in_it() {
        let (bytes, ends) = frames(&records());
        for cut in 0..=bytes.len() {
            let whole = ends.iter().filter(|&&end| end > 0 && end <= cut).count();
            let (read, good) = parse(&bytes[..cut]).unwrap();
            assert_eq!((read.as_slice(), good), (&records()[..whole], ends[whole]), "cut at {cut}");
        }
    }

    #[test]
    fn every_flipped_bit_is_damage_or_a_torn_last_record() {
        let (bytes, ends) = frames(&records());
        let last = ends[records().len() - 1];
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            match parse(&flipped) {
                Err(JournalError::Damaged { at }) => assert!(at < last, "bit {bit}"),
                Ok((read, good)) => {
                    assert!(bit / 8 >= last, "bit {bit}");
                    assert_eq!((read.as_slice(), good), (&records()[..3], last), "bit {bit}");
                }
                Err(error) => panic!("{error}"),
            }
        }
    }

    #[test]
    fn a_record_twice_or_missing_is_damage() {
        let (bytes, ends) = frames(&records());
        let mut twice = bytes[..ends[2]].to_vec();
        twice.extend_from_slice(&bytes[ends[1]..]);
        assert!(matches!(parse(&twice), Err(JournalError::Damaged { at }) if at == ends[2]));
        let mut missing = bytes[..ends[1]].to_vec();
        missing.extend_from_slice(&bytes[ends[2]..]);
        assert!(matches!(parse(&missing), Err(JournalError::Damaged { at }) if at == ends[1]));
    }

    #[test]
    fn what_a_failed_append_has_left_is_cut_before_the_next() {
        let faults = Arc::new(Faults::default());
        let disk = MemoryDisk::new().with_faults(Arc::clone(&faults));
        let mut journal = Journal::new(PathBuf::from("journal"));
        journal.append(&disk, &records()[..1]).unwrap();
        faults.arm(FaultPlan::once(1, Fault::Full).only(DiskOp::Write));
        journal.append(&disk, &records()[1..]).unwrap_err();
        faults.disarm();
        journal.append(&disk, &records()[1..]).unwrap();
        let (journal, read) = Journal::load(&disk, PathBuf::from("journal")).unwrap();
        assert_eq!((read, journal.is_torn()), (records(), false));
    }

    #[test]
    fn a_first_append_that_made_no_file_is_not_in_the_way_of_the_next() {
        let faults = Arc::new(Faults::default());
        let disk = MemoryDisk::new().with_faults(Arc::clone(&faults));
        let mut journal = Journal::new("journal".into());
        faults.arm(FaultPlan::once(1, Fault::Io));
        journal.append(&disk, &records()).unwrap_err();
        assert!(disk.list(&PathBuf::new()).unwrap().is_empty());
        journal.append(&disk, &records()).unwrap();
        let (loaded, read) = Journal::load(&disk, "journal".into()).unwrap();
        assert_eq!((read, loaded.is_torn()), (records(), false));
    }

    #[test]
    fn zeros_after_the_last_record_are_a_torn_tail() {
        let (mut bytes, ends) = frames(&records());
        bytes.extend_from_slice(&[0; 100]);
        assert_eq!(parse(&bytes).unwrap(), (records(), ends[4]));
    }

    #[test]
    fn a_tail_that_is_made_to_look_like_records_is_damage_and_soon_seen() {
        let (good, ends) = frames(&records());
        // The head of a long record, again and again, and none of them is one.
        let mut head = good[..HEADER_BYTES].to_vec();
        head[12..16].copy_from_slice(&65_536_u32.to_le_bytes());
        let tail = head.repeat(8_000);
        assert!(!has_more(&tail, usize::MAX), "all of it is looked at");
        assert!(has_more(&tail, 1024 * 1024), "no more than this");
        assert!(!has_more(&[0_u8].repeat(100_000), 0), "zeros cost nothing");
        let bytes = [&good[..], b"x", &good[ends[3]..]].concat();
        assert!(matches!(parse(&bytes), Err(JournalError::Damaged { .. })));
    }

    #[test]
    fn a_record_of_a_newer_version_is_no_torn_tail() {
        let (mut bytes, ends) = frames(&records()[..2]);
        // The variant after the last that is known.
        let body = [10_u8, 1, 2];
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&2_u64.to_le_bytes());
        bytes.extend_from_slice(&3_u32.to_le_bytes());
        bytes.extend_from_slice(&checksum(2, &body).to_le_bytes());
        bytes.extend_from_slice(&body);
        assert!(matches!(parse(&bytes), Err(JournalError::Newer { at }) if at == ends[2]));
    }

    #[test]
    fn an_archive_takes_what_was_written_before_the_session_was_handed_over() {
        let disk = spillway_disk::MemoryDisk::new();
        let mut all = records();
        all.truncate(3);
        let (_, ends) = frames(&all);
        let mut journal = Journal::new("journal".into());
        journal.append(&disk, &all).unwrap();
        let loaded = Journal::load(&disk, "journal".into()).unwrap().0;
        assert_eq!(loaded.live_len(), ends[3] as u64);
        let handed = Record::HandedOver { at: UnixTime(9), archive: [7; 32] };
        journal.append(&disk, &[handed, Record::Dropped { plan: PlanIx(1) }]).unwrap();
        let loaded = Journal::load(&disk, "journal".into()).unwrap().0;
        assert_eq!((loaded.live_len(), loaded.is_torn()), (ends[3] as u64, false));
    }
}
