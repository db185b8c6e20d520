use spillway_types::{ChunkAddress, limits::MAX_CHUNK_BYTES};

use crate::MAX_EVIDENCE_BYTES;

/// What a record begins with.
const MAGIC: [u8; 6] = *b"SPWREC";

/// The format that is written, and the newest that is read.
pub(crate) const VERSION: u16 = 1;

/// Header of a record, in bytes: 6 of magic, 2 of version, 4 + 4 of lengths, 32 of address, 4 + 4
/// of checksums.
pub(crate) const HEADER_BYTES: usize = 56;

/// The header of a record: `header ‖ evidence ‖ chunk` is one file, so that both become durable with
/// one sync and one rename. Byte by byte in `docs/formats.md`, "Node store".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) evidence_bytes: u32,
    pub(crate) chunk_bytes: u32,
    pub(crate) address: ChunkAddress,
    pub(crate) evidence_crc: u32,
}

/// Why bytes are not the header of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BadHeader {
    /// Not one that this or an older version writes, or damaged.
    Damaged,
    /// Whole, and of a newer version.
    Newer(u16),
}

impl Header {
    /// The header of a record whose parts were checked.
    pub(crate) fn of(address: ChunkAddress, chunk: &[u8], evidence: &[u8]) -> Self {
        let length = |bytes: &[u8]| {
            u32::try_from(bytes.len()).expect("invariant: chunk and evidence were measured before")
        };
        Self {
            evidence_bytes: length(evidence),
            chunk_bytes: length(chunk),
            address,
            evidence_crc: crc32fast::hash(evidence),
        }
    }

    pub(crate) fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..6].copy_from_slice(&MAGIC);
        bytes[6..8].copy_from_slice(&VERSION.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.evidence_bytes.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.chunk_bytes.to_le_bytes());
        bytes[16..48].copy_from_slice(self.address.as_bytes());
        bytes[48..52].copy_from_slice(&self.evidence_crc.to_le_bytes());
        let crc = crc32fast::hash(&bytes[..52]);
        bytes[52..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Reads a header and checks everything that it can be checked for alone.
    pub(crate) fn decode(bytes: &[u8; HEADER_BYTES]) -> Result<Self, BadHeader> {
        let word = |at: usize| {
            u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        // Every version keeps the magic, the version's place, and a checksum at the header's end.
        if bytes[..6] != MAGIC || word(52) != crc32fast::hash(&bytes[..52]) {
            return Err(BadHeader::Damaged);
        }
        match u16::from_le_bytes([bytes[6], bytes[7]]) {
            VERSION => {}
            newer @ 2.. => return Err(BadHeader::Newer(newer)),
            _ => return Err(BadHeader::Damaged),
        }
        let mut address = [0; 32];
        address.copy_from_slice(&bytes[16..48]);
        let header = Self {
            evidence_bytes: word(8),
            chunk_bytes: word(12),
            address: ChunkAddress(address),
            evidence_crc: word(48),
        };
        let chunk_fits = (1..=MAX_CHUNK_BYTES).contains(&(header.chunk_bytes as usize));
        if !chunk_fits || header.evidence_bytes > MAX_EVIDENCE_BYTES {
            return Err(BadHeader::Damaged);
        }
        Ok(header)
    }

    /// Length of the whole record, in bytes.
    pub(crate) fn record_bytes(&self) -> u64 {
        HEADER_BYTES as u64 + u64::from(self.evidence_bytes) + u64::from(self.chunk_bytes)
    }

    /// Where the chunk begins, in bytes.
    pub(crate) fn chunk_offset(&self) -> u64 {
        HEADER_BYTES as u64 + u64::from(self.evidence_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Header {
        let chunk = b"sealed bytes";
        Header::of(ChunkAddress::of(chunk), chunk, b"evidence")
    }

    /// The header with a field changed and its checksum made right again.
    fn forged(change: impl FnOnce(&mut [u8; HEADER_BYTES])) -> [u8; HEADER_BYTES] {
        let mut bytes = sample().encode();
        change(&mut bytes);
        let crc = crc32fast::hash(&bytes[..52]);
        bytes[52..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    #[test]
    fn a_header_round_trips() {
        assert_eq!(Header::decode(&sample().encode()), Ok(sample()));
        assert_eq!((sample().chunk_offset(), sample().record_bytes()), (64, 76));
    }

    #[test]
    fn every_flipped_bit_is_found() {
        for bit in 0..HEADER_BYTES * 8 {
            let mut bytes = sample().encode();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Header::decode(&bytes), Err(BadHeader::Damaged), "bit {bit}");
        }
    }

    #[test]
    fn a_newer_version_is_named_and_none_is_damage() {
        let newer = forged(|bytes| bytes[6..8].copy_from_slice(&9_u16.to_le_bytes()));
        assert_eq!(Header::decode(&newer), Err(BadHeader::Newer(9)));
        let none = forged(|bytes| bytes[6..8].copy_from_slice(&0_u16.to_le_bytes()));
        assert_eq!(Header::decode(&none), Err(BadHeader::Damaged));
    }

    #[test]
    fn lengths_out_of_bounds_are_damage() {
        for (at, length) in [(8, MAX_EVIDENCE_BYTES + 1), (12, 0), (12, 4 * 1024 * 1024 + 1)] {
            let bytes = forged(|bytes| bytes[at..at + 4].copy_from_slice(&length.to_le_bytes()));
            assert_eq!(Header::decode(&bytes), Err(BadHeader::Damaged), "{length} at {at}");
        }
    }
}
