//! The frame of every write-once file of a session: magic, kind, version, length, body, checksum.

use serde::{Serialize, de::DeserializeOwned};

const MAGIC: &[u8; 4] = b"SPWS";
const VERSION: u16 = 1;
const HEADER_BYTES: usize = 4 + 1 + 2 + 8;
const CHECKSUM_BYTES: usize = 32;

/// Largest file of a session that is read, in bytes: the manifest of two million chunks. The largest
/// plan has [`MAX_BATCH_LEAVES`](spillway_types::limits::MAX_BATCH_LEAVES) of at most 1,700 bytes
/// each, 107 MiB.
pub(crate) const MAX_FILE_BYTES: u64 = 256 * 1024 * 1024;

/// What a file holds; part of the frame, so that no file passes for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FileKind {
    Manifest = 1,
    Plan = 2,
    Tx = 3,
    Map = 4,
    Vault = 5,
}

/// Why a file's bytes are refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FileError {
    #[error("cut short or not a session file")]
    Frame,
    #[error("written by a newer version ({0}); update this program")]
    Version(u16),
    #[error("its checksum does not match")]
    Checksum,
    #[error("its contents do not decode")]
    Contents,
}

/// The bytes of a file: header ‖ postcard ‖ BLAKE3 of both.
pub(crate) fn encode<T: Serialize>(kind: FileKind, value: &T) -> Vec<u8> {
    let body = postcard::to_stdvec(value).expect("invariant: session records always encode");
    let mut bytes = Vec::with_capacity(HEADER_BYTES + body.len() + CHECKSUM_BYTES);
    bytes.extend_from_slice(MAGIC);
    bytes.push(kind as u8);
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    bytes.extend_from_slice(&(body.len() as u64).to_le_bytes());
    bytes.extend_from_slice(&body);
    let checksum = blake3::hash(&bytes);
    bytes.extend_from_slice(checksum.as_bytes());
    bytes
}

/// Reads a file's bytes; nothing is decoded before the checksum holds.
pub(crate) fn decode<T: DeserializeOwned>(kind: FileKind, bytes: &[u8]) -> Result<T, FileError> {
    let header = bytes.first_chunk::<HEADER_BYTES>().ok_or(FileError::Frame)?;
    if !header.starts_with(MAGIC) || header[4] != kind as u8 {
        return Err(FileError::Frame);
    }
    let version = u16::from_le_bytes([header[5], header[6]]);
    if version > VERSION {
        return Err(FileError::Version(version));
    }
    let mut len = [0; 8];
    len.copy_from_slice(&header[7..]);
    let rest = &bytes[HEADER_BYTES..];
    if rest.len() as u64 != u64::from_le_bytes(len).saturating_add(CHECKSUM_BYTES as u64) {
        return Err(FileError::Frame);
    }
    let (framed, checksum) = bytes.split_at(bytes.len() - CHECKSUM_BYTES);
    if blake3::hash(framed).as_bytes().as_slice() != checksum {
        return Err(FileError::Checksum);
    }
    match postcard::take_from_bytes(&framed[HEADER_BYTES..]) {
        Ok((value, [])) => Ok(value),
        _ => Err(FileError::Contents),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flipped_bit_and_every_cut_is_seen() {
        let bytes = encode(FileKind::Plan, &(1_u32, "text"));
        assert_eq!(decode(FileKind::Plan, &bytes), Ok((1_u32, String::from("text"))));
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            decode::<(u32, String)>(FileKind::Plan, &flipped).unwrap_err();
        }
        for cut in 0..bytes.len() {
            let error = decode::<(u32, String)>(FileKind::Plan, &bytes[..cut]).unwrap_err();
            assert_eq!(error, FileError::Frame);
        }
    }

    #[test]
    fn a_file_does_not_pass_for_another_nor_a_newer_for_ours() {
        let mut bytes = encode(FileKind::Plan, &7_u64);
        assert_eq!(decode::<u64>(FileKind::Tx, &bytes), Err(FileError::Frame));
        bytes[5] = 2;
        assert_eq!(decode::<u64>(FileKind::Plan, &bytes), Err(FileError::Version(2)));
    }
}
