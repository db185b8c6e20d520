//! What nodes keep of a chunk, read off their disks.

use std::path::{Path, PathBuf};

use spillway_types::{ChunkAddress, PeerKey, limits::CLOSE_GROUP};

/// The header of a node's record, in bytes; `docs/formats.md`, "Node store". Read here anew: what is
/// checked with it must not hang on what is checked.
const HEADER_BYTES: usize = 56;

/// Where in the header the lengths of evidence and chunk are, in bytes.
const EVIDENCE_LENGTH_AT: usize = 8;
const CHUNK_LENGTH_AT: usize = 12;

/// How many of a chunk's close group have the whole of it: of these nodes, each with the file that
/// the chunk has there, the five that are nearest to the address.
pub(crate) fn copies(
    nodes: impl IntoIterator<Item = (PeerKey, PathBuf)>,
    address: ChunkAddress,
) -> usize {
    let mut nearest: Vec<_> =
        nodes.into_iter().map(|(peer, file)| (peer.distance(&address), file)).collect();
    nearest.sort_unstable();
    nearest.truncate(CLOSE_GROUP);
    nearest.iter().filter(|(_, file)| is_whole(file, address)).count()
}

/// Whether what is in this record has this address.
fn is_whole(file: &Path, address: ChunkAddress) -> bool {
    std::fs::read(file)
        .is_ok_and(|record| chunk(&record).is_some_and(|it| ChunkAddress::of(it) == address))
}

/// The sealed chunk: what follows header and evidence, when it is as long as the header says.
fn chunk(record: &[u8]) -> Option<&[u8]> {
    let length = |at: usize| {
        let bytes = record.get(at..at + 4)?.try_into().ok()?;
        usize::try_from(u32::from_le_bytes(bytes)).ok()
    };
    let chunk = record.get(HEADER_BYTES + length(EVIDENCE_LENGTH_AT)?..)?;
    (chunk.len() == length(CHUNK_LENGTH_AT)?).then_some(chunk)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::TempDir;

    use super::*;

    const CHUNK: &[u8] = b"sealed bytes";

    fn record(chunk: &[u8]) -> Vec<u8> {
        let mut record = vec![0; HEADER_BYTES];
        record[..6].copy_from_slice(b"SPWREC");
        record[EVIDENCE_LENGTH_AT] = 5;
        record[CHUNK_LENGTH_AT] = u8::try_from(chunk.len()).unwrap();
        [&record, &b"proof"[..], chunk].concat()
    }

    /// Seven nodes, the nearest to the chunk first, of which these have a record.
    fn nodes(dir: &TempDir, with: &[usize]) -> Vec<(PeerKey, PathBuf)> {
        let address = ChunkAddress::of(CHUNK);
        let mut peers: Vec<_> = (1..=7).map(|number| PeerKey([number; 32])).collect();
        peers.sort_by_key(|peer| peer.distance(&address));
        let files = (0..7).map(|index| dir.path().join(format!("{index}")));
        let nodes: Vec<_> = peers.into_iter().zip(files).collect();
        for &index in with {
            fs::write(&nodes[index].1, record(CHUNK)).unwrap();
        }
        nodes
    }

    #[test]
    fn only_the_close_group_counts() {
        let address = ChunkAddress::of(CHUNK);
        let dir = TempDir::new().unwrap();
        assert_eq!(copies(nodes(&dir, &[0, 3, 4]), address), 3);
        let dir = TempDir::new().unwrap();
        let mut far = nodes(&dir, &[4, 5, 6]);
        // In whatever order they come.
        far.reverse();
        assert_eq!(copies(far, address), 1);
    }

    #[test]
    fn what_is_gone_or_damaged_is_no_copy() {
        let address = ChunkAddress::of(CHUNK);
        let dir = TempDir::new().unwrap();
        let nodes = nodes(&dir, &[0, 1, 2, 3, 4]);
        let count = || copies(nodes.clone(), address);
        assert_eq!(count(), 5);
        fs::remove_file(&nodes[0].1).unwrap();
        assert_eq!(count(), 4);
        let whole = record(CHUNK);
        let mut turned = whole.clone();
        *turned.last_mut().unwrap() ^= 1;
        let longer = [&whole[..], b"!"].concat();
        let cases = [&turned[..], &whole[..whole.len() - 1], &whole[..20], &longer, b""];
        for bad in cases {
            fs::write(&nodes[1].1, bad).unwrap();
            assert_eq!(count(), 3, "{bad:?}");
        }
        fs::write(&nodes[1].1, record(b"another")).unwrap();
        assert_eq!(count(), 3);
    }
}
