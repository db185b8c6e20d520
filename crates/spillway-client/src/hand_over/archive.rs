//! The file in which a session goes to another machine: `docs/formats.md`, "Session archive". It names
//! no paths: what an entry is follows from its kind and its place.

use std::cmp::Ordering;

use spillway_disk::{Disk, DiskError, ReadAt, WriteAt};
use spillway_types::limits::MAX_CHUNK_BYTES;

use crate::{
    SessionError,
    session::{FileKind, MAX_FILE_BYTES, MAX_JOURNAL_BYTES},
};

const MAGIC: &[u8; 4] = b"SPWX";
const VERSION: u16 = 1;
/// Kind and length of an entry.
const HEADER_BYTES: usize = 1 + 8;
const CHECKSUM_BYTES: usize = 32;

/// What is copied at once: of large files never more is in memory, in bytes.
const PIECE_BYTES: usize = 1024 * 1024;

/// What an entry holds, in the order in which entries stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Entry {
    Manifest,
    Map,
    Vault,
    Plan,
    Tx,
    Journal,
    Chunk,
    End,
}

impl Entry {
    const ALL: [Self; 8] = [
        Self::Manifest,
        Self::Map,
        Self::Vault,
        Self::Plan,
        Self::Tx,
        Self::Journal,
        Self::Chunk,
        Self::End,
    ];

    /// The number in the archive; of a session's file that of its own frame.
    fn number(self) -> u8 {
        match self {
            Self::End => 0,
            Self::Manifest => FileKind::Manifest as u8,
            Self::Plan => FileKind::Plan as u8,
            Self::Tx => FileKind::Tx as u8,
            Self::Map => FileKind::Map as u8,
            Self::Vault => FileKind::Vault as u8,
            Self::Journal => 6,
            Self::Chunk => 7,
        }
    }

    fn of(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|entry| entry.number() == number)
    }

    /// The longest that is read, in bytes.
    fn limit(self) -> u64 {
        match self {
            Self::End => 0,
            Self::Chunk => MAX_CHUNK_BYTES as u64,
            Self::Journal => MAX_JOURNAL_BYTES,
            Self::Manifest | Self::Plan | Self::Tx | Self::Map | Self::Vault => MAX_FILE_BYTES,
        }
    }

    /// Whether there may be more than one.
    fn repeats(self) -> bool {
        matches!(self, Self::Plan | Self::Tx | Self::Chunk)
    }
}

/// An archive that is being written. It has no name until it is complete.
#[derive(Debug)]
pub(super) struct Writer {
    file: Box<dyn WriteAt>,
    at: u64,
    hasher: blake3::Hasher,
}

impl Writer {
    pub(super) fn begin(file: Box<dyn WriteAt>) -> Result<Self, DiskError> {
        let mut writer = Self { file, at: 0, hasher: blake3::Hasher::new() };
        writer.put(MAGIC)?;
        writer.put(&VERSION.to_le_bytes())?;
        Ok(writer)
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), DiskError> {
        self.file.write_at(self.at, bytes)?;
        self.at += bytes.len() as u64;
        self.hasher.update(bytes);
        Ok(())
    }

    fn header(&mut self, entry: Entry, len: u64) -> Result<(), DiskError> {
        self.put(&[entry.number()])?;
        self.put(&len.to_le_bytes())
    }

    /// The checksum of everything before.
    fn checksum(&mut self) -> Result<[u8; CHECKSUM_BYTES], DiskError> {
        let checksum = *self.hasher.finalize().as_bytes();
        self.put(&checksum)?;
        Ok(checksum)
    }

    /// An entry of these bytes.
    pub(super) fn bytes(&mut self, entry: Entry, bytes: &[u8]) -> Result<(), DiskError> {
        self.header(entry, bytes.len() as u64)?;
        self.put(bytes)?;
        self.checksum().map(drop)
    }

    /// An entry of the first `len` bytes of a file, in pieces; false when it has fewer.
    pub(super) fn file(
        &mut self,
        entry: Entry,
        disk: &dyn Disk,
        (path, len): (&std::path::Path, Option<u64>),
    ) -> Result<bool, DiskError> {
        let file = disk.open(path)?;
        let len = match len {
            Some(len) => len,
            None => file.stat()?.len,
        };
        self.header(entry, len)?;
        let mut piece = vec![0; PIECE_BYTES];
        let mut at = 0;
        while at < len {
            let want = usize::try_from(len - at).unwrap_or(usize::MAX).min(PIECE_BYTES);
            if file.read_at(at, &mut piece[..want])? != want {
                return Ok(false);
            }
            self.put(&piece[..want])?;
            at += want as u64;
        }
        self.checksum()?;
        Ok(true)
    }

    /// Ends it.
    pub(super) fn end(mut self) -> Result<Written, DiskError> {
        self.header(Entry::End, 0)?;
        let checksum = self.checksum()?;
        Ok(Written { file: self.file, bytes: self.at, checksum })
    }
}

/// An archive that is whole and has no name yet.
#[derive(Debug)]
pub(super) struct Written {
    pub file: Box<dyn WriteAt>,
    /// Its length, in bytes.
    pub bytes: u64,
    /// That of all of it.
    pub checksum: [u8; CHECKSUM_BYTES],
}

/// An archive that is being read. Nothing is believed before its checksum holds but its length, and
/// that is compared with the limit of its kind and with what is left of the file.
#[derive(Debug)]
pub(super) struct Reader {
    file: Box<dyn ReadAt>,
    at: u64,
    len: u64,
    hasher: blake3::Hasher,
    /// The last entry that was read.
    last: Option<Entry>,
}

impl Reader {
    pub(super) fn open(file: Box<dyn ReadAt>) -> Result<Self, SessionError> {
        let len = file.stat()?.len;
        let mut reader = Self { file, at: 0, len, hasher: blake3::Hasher::new(), last: None };
        let mut head = [0; 6];
        reader.take(&mut head)?;
        let (magic, version) = head.split_at(4);
        if magic != MAGIC {
            return Err(bad("it does not begin like one"));
        }
        let version = u16::from_le_bytes([version[0], version[1]]);
        match version.cmp(&VERSION) {
            Ordering::Equal => Ok(reader),
            Ordering::Greater => Err(SessionError::NewerArchive { version }),
            Ordering::Less => Err(bad("its version is none")),
        }
    }

    fn take(&mut self, buffer: &mut [u8]) -> Result<(), SessionError> {
        if self.file.read_at(self.at, buffer)? != buffer.len() {
            return Err(bad("it is cut short"));
        }
        self.at += buffer.len() as u64;
        self.hasher.update(buffer);
        Ok(())
    }

    /// The kind and length of the next entry.
    pub(super) fn next(&mut self) -> Result<(Entry, u64), SessionError> {
        let mut header = [0; HEADER_BYTES];
        self.take(&mut header)?;
        let entry = Entry::of(header[0]).ok_or_else(|| bad("an entry of no known kind"))?;
        let mut len = [0; 8];
        len.copy_from_slice(&header[1..]);
        let len = u64::from_le_bytes(len);
        let in_order = match self.last {
            None => entry == Entry::Manifest,
            Some(last) if last == entry => entry.repeats(),
            Some(last) => last < entry,
        };
        if !in_order {
            return Err(bad("its entries are out of order"));
        }
        let left = self.len.saturating_sub(self.at).saturating_sub(CHECKSUM_BYTES as u64);
        if len > entry.limit() || len > left {
            return Err(bad("an entry is too long"));
        }
        self.last = Some(entry);
        Ok((entry, len))
    }

    /// All of an entry.
    pub(super) fn bytes(&mut self, len: u64) -> Result<Vec<u8>, SessionError> {
        let len = usize::try_from(len).map_err(|_| bad("an entry is too long"))?;
        let mut bytes = vec![0; len];
        self.take(&mut bytes)?;
        self.check()?;
        Ok(bytes)
    }

    /// Copies an entry in pieces.
    pub(super) fn copy(&mut self, len: u64, to: &dyn WriteAt) -> Result<(), SessionError> {
        let mut piece = vec![0; PIECE_BYTES];
        let mut at = 0;
        while at < len {
            let want = usize::try_from(len - at).unwrap_or(usize::MAX).min(PIECE_BYTES);
            self.take(&mut piece[..want])?;
            to.write_at(at, &piece[..want])?;
            at += want as u64;
        }
        self.check()
    }

    /// Reads the checksum behind an entry.
    fn check(&mut self) -> Result<(), SessionError> {
        let expected = *self.hasher.finalize().as_bytes();
        let mut found = [0; CHECKSUM_BYTES];
        self.take(&mut found)?;
        if found == expected { Ok(()) } else { Err(bad("a checksum does not match")) }
    }

    /// After the last entry: nothing follows.
    pub(super) fn end(mut self) -> Result<(), SessionError> {
        self.check()?;
        if self.at == self.len { Ok(()) } else { Err(bad("something follows its end")) }
    }
}

pub(super) fn bad(what: &str) -> SessionError {
    SessionError::BadArchive { what: what.to_owned() }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use spillway_disk::{MemoryDisk, Mode, Overwrite};

    use super::*;

    const GOLDEN: &str = include_str!("../../tests/golden/archive-v1.txt");
    const ENTRIES: [(Entry, &[u8]); 10] = [
        (Entry::Manifest, b"manifest"),
        (Entry::Map, b"map"),
        (Entry::Vault, b"vault"),
        (Entry::Plan, b"plan-0"),
        (Entry::Plan, b"plan-1"),
        (Entry::Tx, b"tx-0"),
        (Entry::Tx, b"tx-1"),
        (Entry::Journal, b"journal"),
        (Entry::Chunk, b"a chunk"),
        (Entry::Chunk, b"another"),
    ];

    fn written(entries: &[(Entry, &[u8])]) -> Vec<u8> {
        let (disk, path) = (MemoryDisk::new(), Path::new("archive"));
        let mut writer = Writer::begin(disk.create(path, Mode::Private).unwrap()).unwrap();
        for (entry, bytes) in entries {
            writer.bytes(*entry, bytes).unwrap();
        }
        let Written { file, bytes: len, .. } = writer.end().unwrap();
        file.persist(Overwrite::Never).unwrap();
        let bytes = disk.read(path, u64::MAX).unwrap();
        assert_eq!(bytes.len() as u64, len);
        bytes
    }

    fn read(bytes: &[u8]) -> Result<Vec<(Entry, Vec<u8>)>, String> {
        let (disk, path) = (MemoryDisk::new(), Path::new("archive"));
        disk.write_durable(path, bytes, Overwrite::Never).unwrap();
        let all = || {
            let mut reader = Reader::open(disk.open(path).unwrap())?;
            let mut entries = Vec::new();
            loop {
                let (entry, len) = reader.next()?;
                if entry == Entry::End {
                    reader.end()?;
                    return Ok(entries);
                }
                entries.push((entry, reader.bytes(len)?));
            }
        };
        all().map_err(|error: SessionError| error.to_string())
    }

    #[test]
    fn an_archive_is_byte_for_byte_as_documented() {
        let bytes = written(&ENTRIES);
        assert_eq!(format!("{}\n", hex::encode(&bytes)), GOLDEN);
        let entries = read(&bytes).unwrap();
        let expected = ENTRIES.map(|(entry, bytes)| (entry, bytes.to_vec()));
        assert_eq!(entries, expected);
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_seen() {
        let bytes = written(&ENTRIES[..4]);
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            read(&flipped).unwrap_err();
        }
        for cut in 0..bytes.len() {
            read(&bytes[..cut]).unwrap_err();
        }
    }

    #[test]
    fn entries_stand_in_order_and_what_is_one_is_one() {
        let [manifest, map, _, plan, .., chunk, _] = ENTRIES;
        for entries in [
            &[][..],
            &[map],
            &[manifest, manifest],
            &[manifest, map, map],
            &[manifest, plan, map],
            &[manifest, chunk, plan],
        ] {
            let why = read(&written(entries)).unwrap_err();
            assert!(why.ends_with("its entries are out of order"), "{entries:?}: {why}");
        }
    }

    #[test]
    fn nothing_is_taken_for_a_length_that_cannot_be() {
        let good = written(&ENTRIES[..1]);
        // The length of the first entry; a chunk more than the file has, and more than memory has.
        for len in [good.len() as u64, MAX_FILE_BYTES + 1, u64::MAX] {
            let mut bytes = good.clone();
            bytes[7..15].copy_from_slice(&len.to_le_bytes());
            let why = read(&bytes).unwrap_err();
            assert!(why.ends_with("an entry is too long"), "{len}: {why}");
        }
        let mut newer = good.clone();
        newer[4] = 2;
        assert!(read(&newer).unwrap_err().contains("newer version (2)"));
    }

    /// Pieces, the last of which may be short, or may be as long as the others.
    #[test]
    fn a_file_that_is_longer_than_a_piece_goes_through_whole() {
        let (disk, path) = (MemoryDisk::new(), Path::new("archive"));
        for extra in [0, 1] {
            let body: Vec<u8> =
                (0..2 * PIECE_BYTES + extra).map(|at| (at % 251).to_le_bytes()[0]).collect();
            disk.write_durable(Path::new("plan"), &body, Overwrite::Replace).unwrap();
            let mut writer = Writer::begin(disk.create(path, Mode::Private).unwrap()).unwrap();
            let whole = (Path::new("plan"), None);
            assert!(writer.file(Entry::Manifest, &disk, whole).unwrap());
            let part = PIECE_BYTES as u64 + 1;
            assert!(writer.file(Entry::Map, &disk, (Path::new("plan"), Some(part))).unwrap());
            let written = writer.end().unwrap();
            written.file.persist(Overwrite::Replace).unwrap();
            assert_eq!(disk.open(path).unwrap().stat().unwrap().len, written.bytes);

            let mut reader = Reader::open(disk.open(path).unwrap()).unwrap();
            for len in [body.len(), PIECE_BYTES + 1] {
                assert_eq!(reader.next().unwrap().1, len as u64);
                let copy = disk.create(Path::new("copy"), Mode::Private).unwrap();
                reader.copy(len as u64, &*copy).unwrap();
                copy.persist(Overwrite::Replace).unwrap();
                let copied = disk.read(Path::new("copy"), u64::MAX).unwrap();
                assert!(copied == body[..len], "{len} bytes are the same");
            }
            assert_eq!(reader.next().unwrap(), (Entry::End, 0));
            reader.end().unwrap();
        }
    }

    #[test]
    fn a_file_that_has_become_shorter_is_said() {
        let disk = MemoryDisk::new();
        disk.write_durable(Path::new("journal"), b"seven..", Overwrite::Never).unwrap();
        for (len, is_whole) in [(7, true), (8, false)] {
            let file = disk.create(Path::new("archive"), Mode::Private).unwrap();
            let mut writer = Writer::begin(file).unwrap();
            let journal = (Path::new("journal"), Some(len));
            assert_eq!(writer.file(Entry::Journal, &disk, journal).unwrap(), is_whole);
        }
    }

    #[test]
    fn an_entry_is_as_long_as_its_kind_may_be() {
        let manifest: (Entry, &[u8]) = (Entry::Manifest, b"manifest");
        let most = vec![7; MAX_CHUNK_BYTES];
        assert_eq!(read(&written(&[manifest, (Entry::Chunk, &most)])).unwrap().len(), 2);
        let more = vec![7; MAX_CHUNK_BYTES + 1];
        let why = read(&written(&[manifest, (Entry::Chunk, &more)])).unwrap_err();
        assert!(why.ends_with("an entry is too long"), "{why}");
        let mut none = written(&[manifest]);
        none[4] = 0;
        assert!(read(&none).unwrap_err().ends_with("its version is none"));
        let limits = Entry::ALL.map(Entry::limit);
        let (files, chunk) = ([MAX_FILE_BYTES; 5], MAX_CHUNK_BYTES as u64);
        assert_eq!(limits[..5], files);
        assert_eq!(limits[5..], [MAX_JOURNAL_BYTES, chunk, 0]);
    }
}
