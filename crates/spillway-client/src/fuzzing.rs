//! What sessions, archives and manifests are read from, for `cargo xtask fuzz` and the test below.

use std::{fmt::Debug, path::Path, sync::Arc};

use serde::{Serialize, de::DeserializeOwned};
use spillway_disk::{Disk, MemoryDisk, Overwrite};
use spillway_pay::SignedTx;
use spillway_seal::FileSecret;
use spillway_types::{ChunkAddress, Domain, EvmAddress, NetworkId, SegmentHash, UnixTime};

use crate::{
    hand_over::{ImportOptions, import},
    session::{
        ChunkInfo, FileKind, Journal, KeyParts, Manifest, PlanFile, Progressed, SessionKey,
        SourceNote, VaultNote, decode, encode,
    },
    tree::{HEADER_BYTES as TREE_HEADER_BYTES, Modified, Node, Place, Tree, TreeEntry},
};

/// Name, what is run on every input, seeds.
pub type Target = (&'static str, fn(&[u8]), fn() -> Vec<Vec<u8>>);

/// The decoders of this crate.
pub const TARGETS: &[Target] = &[
    ("session_file", session_file, session_file_seeds),
    ("journal", journal, || golden("journal")),
    ("archive", archive, archive_seeds),
    ("tree", tree, tree_seeds),
];

const GOLDEN: [&str; 3] = [
    include_str!("../tests/golden/session-v1.txt"),
    include_str!("../tests/golden/session-batches-v1.txt"),
    include_str!("../tests/golden/session-handed-over-v1.txt"),
];

/// The golden files of this name.
fn golden(name: &str) -> Vec<Vec<u8>> {
    let digits = |text: &'static str| {
        let lines = text.lines().filter_map(|line| line.split_once(' '));
        lines.filter(|(found, _)| *found == name).map(|(_, digits)| digits).next()
    };
    let bytes = |digits| hex::decode(digits).expect("invariant: golden bytes are digits");
    GOLDEN.into_iter().filter_map(digits).map(bytes).collect()
}

const KINDS: [FileKind; 5] =
    [FileKind::Manifest, FileKind::Plan, FileKind::Tx, FileKind::Map, FileKind::Vault];

/// Of a session's file before its body: magic, kind, version, length.
const FILE_HEADER_BYTES: usize = 15;

/// The whole file of a body, with its checksum.
fn framed(kind: FileKind, body: &[u8]) -> Vec<u8> {
    let version = 1_u16.to_le_bytes();
    let len = (body.len() as u64).to_le_bytes();
    let file = [&b"SPWS"[..], &[kind as u8], &version, &len, body].concat();
    let checksum = blake3::hash(&file);
    [&file[..], checksum.as_bytes()].concat()
}

/// The body of any file of a session, in a frame that is right; and the input as it is.
fn session_file(input: &[u8]) {
    for kind in KINDS {
        for file in [input.to_vec(), framed(kind, input)] {
            match kind {
                FileKind::Manifest => drop(read::<Manifest>(kind, &file)),
                FileKind::Tx => drop(read::<SignedTx>(kind, &file).map(|tx| tx.calldata())),
                FileKind::Map => drop(read::<Vec<u8>>(kind, &file)),
                FileKind::Vault => {
                    if let Some(vault) = read::<VaultNote>(kind, &file) {
                        assert!(vault.refundable_from(UnixTime(7)) > UnixTime(7));
                    }
                }
                FileKind::Plan => {
                    if let Some(file) = read::<PlanFile>(kind, &file) {
                        let _ = (file.is_over(UnixTime(1)), file.plan.id(), file.plan.total());
                        let _ = (file.own_chunks().count(), file.plan.proofs().is_ok());
                    }
                }
            }
        }
    }
}

fn read<T>(kind: FileKind, file: &[u8]) -> Option<T>
where
    T: Serialize + DeserializeOwned + PartialEq + Debug,
{
    let read: T = decode(kind, file).ok()?;
    assert_eq!(decode(kind, &encode(kind, &read)).as_ref(), Ok(&read));
    assert!(decode::<T>(kind, &[file, &[0]].concat()).is_err(), "nothing follows a file");
    Some(read)
}

/// The bodies of golden files, and one file whole.
fn session_file_seeds() -> Vec<Vec<u8>> {
    let files: Vec<Vec<u8>> =
        ["manifest", "plan", "tx", "map", "vault"].into_iter().flat_map(golden).collect();
    let bodies = files.iter().map(|file| file[FILE_HEADER_BYTES..file.len() - 32].to_vec());
    bodies.chain(files.first().cloned()).collect()
}

/// A journal as it is, and with the checksum of each frame made right.
fn journal(input: &[u8]) {
    one_journal(input);
    one_journal(&with_checksums(input));
}

fn one_journal(bytes: &[u8]) {
    let (disk, path) = (MemoryDisk::new(), Path::new("journal"));
    disk.write_durable(path, bytes, Overwrite::Never).expect("a disk in memory");
    let Ok((mut read, records)) = Journal::load(&disk, path.into()) else { return };
    let _ = (Progressed::of(&records), read.live_len());
    // What is appended is read again, behind all that was good.
    let added = records.last().cloned().into_iter().collect::<Vec<_>>();
    read.append(&disk, &added).expect("a disk in memory");
    let (again, all) = Journal::load(&disk, path.into()).expect("what was written is read");
    assert!(!again.is_torn() || added.is_empty());
    assert_eq!(all, [records, added].concat());
}

/// Of a record before its body: magic, number, length, checksum.
const RECORD_HEADER_BYTES: usize = 20;

fn with_checksums(input: &[u8]) -> Vec<u8> {
    let mut bytes = input.to_vec();
    let mut at = 0;
    let mut sequence: u64 = 0;
    while let Some(header) = bytes.get(at..at + RECORD_HEADER_BYTES) {
        let Some(len) = header[12..16].first_chunk().map(|len| u32::from_le_bytes(*len)) else {
            break;
        };
        let end = at + RECORD_HEADER_BYTES + len as usize;
        let Some(body) = bytes.get(at + RECORD_HEADER_BYTES..end) else { break };
        let mut crc = crc32fast::Hasher::new();
        crc.update(b"SPWJ");
        crc.update(&sequence.to_le_bytes());
        crc.update(&u64::from(len).to_le_bytes());
        crc.update(body);
        let crc = crc.finalize().to_le_bytes();
        bytes[at..at + 4].copy_from_slice(b"SPWJ");
        bytes[at + 4..at + 12].copy_from_slice(&sequence.to_le_bytes());
        bytes[at + 16..at + 20].copy_from_slice(&crc);
        (at, sequence) = (end, sequence + 1);
    }
    bytes
}

/// The archive of a session as it is, and with all checksums in it made right: it is imported.
fn archive(input: &[u8]) {
    one_archive(input);
    one_archive(&sealed_archive(input));
}

fn one_archive(bytes: &[u8]) {
    let (data, from) = (MemoryDisk::new(), MemoryDisk::new());
    let path = Path::new("archive");
    from.write_durable(path, bytes, Overwrite::Never).expect("a disk in memory");
    let data: Arc<dyn Disk> = Arc::new(data);
    let options = ImportOptions { now: UnixTime(1_800_000_000) };
    if let Ok(imported) = import(&data, (&from, path), options) {
        // It is a session like any other, and does not come twice.
        assert!(crate::session::Snapshot::load(data.as_ref(), &imported.session).is_ok());
        let again = import(&data, (&from, path), options);
        let finished = crate::session::load_journal(data.as_ref(), &imported.session)
            .is_ok_and(|(_, progressed)| progressed.finished);
        assert!(again.is_err() || finished);
    }
}

/// Magic and version before the first entry.
const ARCHIVE_HEAD_BYTES: usize = 6;

/// The same entries, each with the checksum of all before it; files of sessions in them too.
fn sealed_archive(input: &[u8]) -> Vec<u8> {
    let Some((head, mut rest)) = input.split_first_chunk::<ARCHIVE_HEAD_BYTES>() else {
        return input.to_vec();
    };
    let mut sealed = head.to_vec();
    while let Some((header, after)) = rest.split_first_chunk::<9>() {
        let [kind, len @ ..] = *header;
        let len = usize::try_from(u64::from_le_bytes(len)).unwrap_or(usize::MAX).min(after.len());
        let mut body = after[..len].to_vec();
        match (kind, body.split_last_chunk_mut::<32>()) {
            (1..=5, Some((framed, checksum))) => {
                *checksum = *blake3::hash(framed).as_bytes();
            }
            (6, _) => body = with_checksums(&body),
            _ => {}
        }
        sealed.push(kind);
        sealed.extend((len as u64).to_le_bytes());
        sealed.extend(body);
        let checksum = blake3::hash(&sealed);
        sealed.extend(checksum.as_bytes());
        rest = after[len..].get(32..).unwrap_or_default();
    }
    sealed
}

/// Archives of a session of one chunk, paid and not.
fn archive_seeds() -> Vec<Vec<u8>> {
    let chunk = b"a sealed chunk";
    let address = ChunkAddress::of(chunk);
    let domain =
        Domain { network: NetworkId([1; 32]), chain_id: 31_337, vault: EvmAddress([2; 20]) };
    let payer = EvmAddress([4; 20]);
    let key = SessionKey::of(&KeyParts {
        domain: &domain,
        payer,
        content: None,
        public: true,
        segment_bytes: 0,
        secret: &FileSecret::public(),
        hashes: &[SegmentHash(address.0)],
    });
    let manifest = Manifest {
        key,
        created: UnixTime(1_800_000_000),
        domain,
        payer,
        source: SourceNote { name: "-".into(), bytes: 14, skipped: Vec::new() },
        spill: "spill_1800000000_0123456789abcdef".into(),
        chunks: vec![ChunkInfo { address, size: 14, segment: None }],
        root: None,
        public_address: Some(address),
    };
    let manifest = encode(FileKind::Manifest, &manifest);
    let entry = |kind: u8, body: &[u8]| {
        let len = (body.len() as u64).to_le_bytes();
        [&[kind][..], &len, body, &[0; 32]].concat()
    };
    let first = |name| golden(name).swap_remove(0);
    let archive = |entries: &[Vec<u8>]| {
        let head = [&b"SPWX"[..], &1_u16.to_le_bytes()].concat();
        sealed_archive(&[head, entries.concat(), entry(0, b"")].concat())
    };
    let (manifest, vault) = (
        entry(1, &manifest),
        entry(
            5,
            &encode(FileKind::Vault, &VaultNote { draw_delay_secs: 900, claim_secs: 2_592_000 }),
        ),
    );
    vec![
        archive(std::slice::from_ref(&manifest)),
        archive(&[manifest.clone(), vault.clone(), entry(6, b""), entry(7, chunk)]),
        archive(&[
            manifest,
            vault,
            entry(2, &first("plan")),
            entry(3, &first("tx")),
            entry(6, &first("journal")),
            entry(7, chunk),
        ]),
    ]
}

/// The manifest of a directory as it is, and its body with a header that is right.
fn tree(input: &[u8]) {
    one_tree(input);
    let len = (input.len() as u64).to_le_bytes();
    one_tree(&[&b"SPWT"[..], &[1], &len, input].concat());
}

fn one_tree(bytes: &[u8]) {
    let Ok(tree) = Tree::decode(bytes) else { return };
    let again = tree.encode().expect("what was read is within the limits");
    assert_eq!(Tree::decode(&again).ok().as_ref(), Some(&tree));
    assert!(Tree::decode(&[bytes, &[0]].concat()).is_err(), "nothing follows a manifest");
    for entry in &tree.entries {
        let mut parts = entry.path.split(|byte| *byte == b'/');
        let plain = |part: &[u8]| !part.is_empty() && part != b"." && part != b"..";
        assert!(entry.path.is_empty() || parts.all(plain), "{:?}", entry.path);
        assert!(!entry.path.contains(&0));
    }
}

fn tree_seeds() -> Vec<Vec<u8>> {
    let modified: Modified = (1_700_000_000, 5);
    let entry = |path: &str, node| TreeEntry { path: path.as_bytes().to_vec(), node };
    let dir = || Node::Dir { mode: 0o755, modified };
    let place = Place { segment: 1, offset: 0 };
    let file = || Node::File { mode: 0o644, modified, len: 7, place };
    let link = || Node::Link { target: b"../b".to_vec() };
    let trees = [
        vec![entry("", dir())],
        vec![entry("", dir()), entry("a", dir()), entry("a/b", file()), entry("c", link())],
    ];
    let encoded = trees.map(|entries| Tree { entries }.encode().expect("invariant: small"));
    let bodies = encoded.iter().map(|bytes| bytes[TREE_HEADER_BYTES..].to_vec());
    bodies.chain(encoded.iter().cloned()).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn files_that_are_wrong_in_every_way() {
        spillway_fuzz::play_all(super::TARGETS, 1_000);
    }

    #[test]
    fn the_seeds_are_imported() {
        for seed in &super::archive_seeds()[..2] {
            let from = super::MemoryDisk::new();
            let path = super::Path::new("archive");
            super::Disk::write_durable(&from, path, seed, super::Overwrite::Never).unwrap();
            let data: super::Arc<dyn super::Disk> = super::Arc::new(super::MemoryDisk::new());
            let options = super::ImportOptions { now: super::UnixTime(1_800_000_000) };
            super::import(&data, (&from, path), options).unwrap();
        }
    }
}
