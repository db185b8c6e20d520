//! The files of further proofs and of wins: `magic ‖ version ‖ body ‖ checksum`, byte by byte in
//! `docs/formats.md`, "Node".

use std::{
    path::{Path, PathBuf},
    str::FromStr,
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use spillway_types::{Atto, BatchProof, Leaf, PaymentId, Win, limits::MAX_PROOF_DEPTH};

use crate::limits::MAX_PROOF_FILE_BYTES;

/// Where further proofs live, beneath the node's directory.
pub(super) const PROOFS: &str = "proofs";

/// Where wins live, beneath the node's directory.
pub(super) const WINS: &str = "wins";

/// Where damaged ones are moved to, beneath the directory of their kind: their names stay.
pub(super) const QUARANTINE: &str = "quarantine";

/// The format that is written, and the newest that is read.
const VERSION: u16 = 1;

/// Magic and version before the body, in bytes.
const FRONT_BYTES: usize = 8;

/// CRC-32 of everything before it, in bytes.
const CHECKSUM_BYTES: usize = 4;

/// A further proof for a chunk that is stored already.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct FurtherProof {
    pub(super) leaf: Leaf,
    pub(super) proof: BatchProof,
}

/// Which proof: its payment, and the first point that its leaf covers. No two leaves of a batch
/// share one.
pub(super) type FurtherKey = (PaymentId, Atto);

/// Which draw of which payment.
pub(super) type WinKey = (PaymentId, u8);

/// Why a file is not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadFile {
    #[error("it is damaged")]
    Damaged,
    #[error("it is of version {0}, this program reads up to {VERSION}")]
    Newer(u16),
}

/// What is kept as a file of its own.
pub(super) trait Kept: Serialize + DeserializeOwned {
    /// What its file begins with.
    const MAGIC: [u8; 6];

    /// How many levels its proof has.
    fn levels(&self) -> usize;
}

impl Kept for FurtherProof {
    const MAGIC: [u8; 6] = *b"SPWPRF";

    fn levels(&self) -> usize {
        self.proof.siblings.len()
    }
}

impl Kept for Win {
    const MAGIC: [u8; 6] = *b"SPWWIN";

    fn levels(&self) -> usize {
        self.siblings.len()
    }
}

/// The file's bytes, at most [`MAX_PROOF_FILE_BYTES`] for what passed every check.
pub(super) fn encode<T: Kept>(kept: &T) -> Vec<u8> {
    let mut bytes = T::MAGIC.to_vec();
    bytes.extend(VERSION.to_le_bytes());
    let mut bytes = postcard::to_extend(kept, bytes)
        .expect("invariant: proofs are lists and numbers, which always encode");
    bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
    bytes
}

/// Reads what [`encode`] wrote; the length was checked when the file was read.
pub(super) fn decode<T: Kept>(bytes: &[u8]) -> Result<T, BadFile> {
    let (rest, checksum) = bytes.split_last_chunk::<CHECKSUM_BYTES>().ok_or(BadFile::Damaged)?;
    let (front, body) = rest.split_first_chunk::<FRONT_BYTES>().ok_or(BadFile::Damaged)?;
    // Every version keeps the magic, the version's place and a checksum at the end.
    if front[..6] != T::MAGIC || u32::from_le_bytes(*checksum) != crc32fast::hash(rest) {
        return Err(BadFile::Damaged);
    }
    match u16::from_le_bytes([front[6], front[7]]) {
        VERSION => {}
        0 => return Err(BadFile::Damaged),
        newer => return Err(BadFile::Newer(newer)),
    }
    let (kept, rest): (T, _) = postcard::take_from_bytes(body).map_err(|_| BadFile::Damaged)?;
    if !rest.is_empty() || kept.levels() > MAX_PROOF_DEPTH {
        return Err(BadFile::Damaged);
    }
    Ok(kept)
}

/// What is written for a proof, unless it is longer than any that is sound.
pub(super) fn fits(bytes: &[u8]) -> bool {
    bytes.len() as u64 <= MAX_PROOF_FILE_BYTES
}

/// `proofs/<64 digits of the payment>-<24 of the point>`.
pub(super) fn proof_path((payment, from): FurtherKey) -> PathBuf {
    Path::new(PROOFS).join(format!("{}-{:024x}", hex::encode(payment.0), from.0))
}

/// `wins/<64 digits of the payment>-<2 of the draw>`: in name order they are in the order of the
/// protocol.
pub(super) fn win_path((payment, draw): WinKey) -> PathBuf {
    Path::new(WINS).join(format!("{}-{draw:02x}", hex::encode(payment.0)))
}

/// Which proof a file name says, if it is written as [`proof_path`] writes it.
pub(super) fn proof_key(name: &Path) -> Option<FurtherKey> {
    let (payment, from) = parts(name)?;
    let key = (payment, Atto(u128::from_str_radix(from, 16).ok()?));
    (proof_path(key).file_name() == Some(name.as_os_str())).then_some(key)
}

/// Which win a file name says, if it is written as [`win_path`] writes it.
pub(super) fn win_key(name: &Path) -> Option<WinKey> {
    let (payment, draw) = parts(name)?;
    let key = (payment, u8::from_str_radix(draw, 16).ok()?);
    (win_path(key).file_name() == Some(name.as_os_str())).then_some(key)
}

fn parts(name: &Path) -> Option<(PaymentId, &str)> {
    let (payment, rest) = name.to_str()?.split_once('-')?;
    Some((PaymentId::from_str(payment).ok()?, rest))
}

#[cfg(test)]
mod tests {
    use spillway_types::{
        BatchTerms, ChunkAddress, EvmAddress, NodeHash, RewardAddress, Share, Sibling, Side,
        UnixTime,
    };

    use super::*;

    /// The bytes that version 1 writes for [`proof`] and [`win`], in hexadecimal digits.
    const GOLDEN_PROOF: &str = include_str!("../../tests/golden/further-proof-v1.hex");
    const GOLDEN_WIN: &str = include_str!("../../tests/golden/win-v1.hex");

    fn proof(levels: usize, amount: Atto) -> FurtherProof {
        let share = |number| Share { payee: RewardAddress([number; 20]), amount };
        let leaf = Leaf { address: ChunkAddress::of(b"chunk"), shares: [1, 2, 3, 4, 5].map(share) };
        let terms = BatchTerms {
            payer: EvmAddress([0xee; 20]),
            root: NodeHash([0xaa; 32]),
            total: amount,
            tip: amount,
            upload_by: UnixTime(1_800_090_000),
            draws: 200,
        };
        let sibling = Sibling { hash: NodeHash([0xbb; 32]), sum: amount, side: Side::Left };
        FurtherProof { leaf, proof: BatchProof { terms, siblings: vec![sibling; levels] } }
    }

    fn win(levels: usize, amount: Atto) -> Win {
        let FurtherProof { leaf, proof: BatchProof { terms, siblings } } = proof(levels, amount);
        Win { terms, draw: 199, leaf, siblings }
    }

    fn golden(text: &str) -> Vec<u8> {
        hex::decode(text.split_whitespace().collect::<String>()).unwrap()
    }

    #[test]
    fn golden_bytes() {
        let (proof, win) = (proof(2, Atto(1_000_000_007)), win(2, Atto(1_000_000_007)));
        assert_eq!(hex::encode(encode(&proof)), hex::encode(golden(GOLDEN_PROOF)));
        assert_eq!(hex::encode(encode(&win)), hex::encode(golden(GOLDEN_WIN)));
        assert_eq!(decode(&golden(GOLDEN_PROOF)), Ok(proof));
        assert_eq!(decode(&golden(GOLDEN_WIN)), Ok(win));
    }

    #[test]
    fn the_largest_fits() {
        let bytes = encode(&proof(MAX_PROOF_DEPTH, Atto::MAX_SHARE));
        assert!(fits(&bytes), "{}", bytes.len());
        assert_eq!(decode(&bytes), Ok(proof(MAX_PROOF_DEPTH, Atto::MAX_SHARE)));
        let deep = encode(&proof(MAX_PROOF_DEPTH + 1, Atto(1)));
        assert_eq!(decode::<FurtherProof>(&deep), Err(BadFile::Damaged));
        let bytes = encode(&win(MAX_PROOF_DEPTH, Atto::MAX_SHARE));
        assert!(fits(&bytes), "{}", bytes.len());
        assert_eq!(decode(&bytes), Ok(win(MAX_PROOF_DEPTH, Atto::MAX_SHARE)));
        let deep = encode(&win(MAX_PROOF_DEPTH + 1, Atto(1)));
        assert_eq!(decode::<Win>(&deep), Err(BadFile::Damaged));
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_found() {
        let bytes = encode(&win(1, Atto(5)));
        for bit in 0..bytes.len() * 8 {
            let mut bytes = bytes.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode::<Win>(&bytes), Err(BadFile::Damaged), "bit {bit}");
        }
        for length in 0..bytes.len() {
            assert_eq!(decode::<Win>(&bytes[..length]), Err(BadFile::Damaged), "{length}");
        }
        // One is not the other.
        assert_eq!(decode::<FurtherProof>(&bytes), Err(BadFile::Damaged));
    }

    /// Whole bytes with a right checksum.
    fn forged(change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let mut bytes = encode(&win(1, Atto(5)));
        bytes.truncate(bytes.len() - CHECKSUM_BYTES);
        change(&mut bytes);
        bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
        bytes
    }

    #[test]
    fn newer_versions_are_named_and_what_follows_is_refused() {
        assert_eq!(decode::<Win>(&forged(|bytes| bytes[6] = 2)), Err(BadFile::Newer(2)));
        assert_eq!(decode::<Win>(&forged(|bytes| bytes[6] = 0)), Err(BadFile::Damaged));
        assert_eq!(decode::<Win>(&forged(|bytes| bytes.push(0))), Err(BadFile::Damaged));
    }

    #[test]
    fn names_are_read_as_they_are_written() {
        let payment = PaymentId([0xab; 32]);
        for draw in [0, 9, 199] {
            let path = win_path((payment, draw));
            assert_eq!(win_key(Path::new(path.file_name().unwrap())), Some((payment, draw)));
        }
        for from in [Atto::ZERO, Atto::MAX_SHARE] {
            let path = proof_path((payment, from));
            assert_eq!(proof_key(Path::new(path.file_name().unwrap())), Some((payment, from)));
        }
        let upper = hex::encode_upper(payment.0);
        let lower = hex::encode(payment.0);
        let others = [format!("{upper}-00"), format!("{lower}-0"), format!("0x{lower}-00"), lower];
        for other in others {
            assert_eq!(win_key(Path::new(&other)), None, "{other}");
        }
        assert_eq!(win_key(Path::new(".tmp-1")), None);
    }
}
