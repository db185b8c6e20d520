use std::{collections::BTreeSet, pin::pin, task::Poll};

use proptest::prelude::*;
use spillway_disk::{Fault, FaultPlan, Faults, MemoryDisk, RealDisk, Survival};
use spillway_types::Retry;
use tempfile::TempDir;

use super::*;
use crate::{record::VERSION, reservation_bytes};

const GOLDEN: &[u8] = include_bytes!("../../tests/golden/record-v1.bin");
/// BLAKE3 of the bytes 0, 1, 2: from the published test vectors.
const GOLDEN_ADDRESS: &str = "e1be4d7a8ab5560aa4199eea339849ba8e293d55ca0a81006726d184519e647f";
const GOLDEN_EVIDENCE: &[u8] = b"proof, quotes, receipts";

const OPTIONS: FsStoreOptions = FsStoreOptions { capacity_bytes: 1 << 20, disk_margin_bytes: 0 };

fn path(text: &str) -> &Path {
    Path::new(text)
}

async fn open(disk: &MemoryDisk) -> FsStore {
    FsStore::open(Arc::new(disk.clone()), OPTIONS).await.unwrap()
}

async fn put(store: &FsStore, chunk: &Bytes, evidence: &[u8]) -> Result<Stored, StoreError> {
    let size = u32::try_from(chunk.len()).unwrap();
    let reservation = store.reserve(ChunkAddress::of(chunk), size)?;
    store.put(reservation, chunk.clone(), Bytes::copy_from_slice(evidence)).await
}

fn sample() -> (ChunkAddress, Bytes) {
    let chunk = Bytes::from_static(b"a sealed chunk");
    (ChunkAddress::of(&chunk), chunk)
}

fn used(store: &FsStore) -> u64 {
    assert_eq!(store.capacity().reserved_bytes, 0);
    store.capacity().used_bytes
}

fn names(disk: &dyn Disk, dir: &str) -> Vec<String> {
    let entries = disk.list(path(dir)).unwrap();
    entries.iter().map(|entry| entry.name.display().to_string()).collect()
}

#[tokio::test]
async fn a_record_is_the_golden_bytes() {
    let disk = MemoryDisk::new();
    let store = open(&disk).await;
    put(&store, &Bytes::from_static(&[0, 1, 2]), GOLDEN_EVIDENCE).await.unwrap();
    let file = path(CHUNKS).join(GOLDEN_ADDRESS);
    assert_eq!(disk.read(&file, 999).unwrap(), GOLDEN);
    assert_eq!(disk.stat(&file).unwrap().mode, 0o600);
    assert_eq!(names(&disk, CHUNKS), [GOLDEN_ADDRESS, "lock"]);
}

#[tokio::test]
async fn the_golden_record_is_read() {
    let disk = MemoryDisk::new();
    disk.create_dir_all(path(CHUNKS)).unwrap();
    let file = path(CHUNKS).join(GOLDEN_ADDRESS);
    disk.write_durable(&file, GOLDEN, Overwrite::Never).unwrap();
    let store = open(&disk).await;
    let address: ChunkAddress = GOLDEN_ADDRESS.parse().unwrap();
    assert_eq!(store.get(address).await.unwrap().unwrap(), [0, 1, 2][..]);
    assert_eq!(store.evidence(address).await.unwrap().unwrap(), GOLDEN_EVIDENCE);
    assert_eq!((store.size(address), used(&store)), (Some(3), GOLDEN.len() as u64));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_keeps_chunks_and_the_count() {
    let dir = TempDir::new().unwrap();
    let mut expected = Vec::new();
    for round in 0..3_u8 {
        let disk = Arc::new(RealDisk::open(dir.path()).unwrap());
        let store = FsStore::open(disk, OPTIONS).await.unwrap();
        assert_eq!(store.chunks(), expected.len());
        for fill in 0..5_u8 {
            let chunk = Bytes::from(vec![round * 5 + fill; 500]);
            put(&store, &chunk, &[fill; 50]).await.unwrap();
            expected.push((ChunkAddress::of(&chunk), chunk, [fill; 50]));
        }
        for (address, chunk, evidence) in &expected {
            assert_eq!(store.get(*address).await.unwrap().as_ref(), Some(chunk));
            assert_eq!(store.evidence(*address).await.unwrap().unwrap(), evidence[..]);
        }
        assert_eq!(used(&store), expected.len() as u64 * (56 + 500 + 50));
    }
}

#[tokio::test]
async fn a_second_store_in_the_same_directory_is_locked_out() {
    let dir = TempDir::new().unwrap();
    let disk = || Arc::new(RealDisk::open(dir.path()).unwrap());
    let store = FsStore::open(disk(), OPTIONS).await.unwrap();
    let error = FsStore::open(disk(), OPTIONS).await.unwrap_err();
    assert!(matches!(error, StoreError::Locked { .. }), "{error:?}");
    assert_eq!(error.retry(), Retry::Backoff);
    drop(store);
    FsStore::open(disk(), OPTIONS).await.unwrap();
}

#[tokio::test]
async fn leftovers_go_and_what_is_foreign_stays() {
    let disk = MemoryDisk::new();
    let (address, chunk) = sample();
    put(&open(&disk).await, &chunk, b"e").await.unwrap();
    let shouted = address.to_string().to_uppercase();
    let elsewhere = ChunkAddress([7; 32]).to_string();
    let linked = ChunkAddress([8; 32]).to_string();
    for name in [".tmp-0123", "README", "lock.old", &shouted, &format!("0x{address}")] {
        disk.write_durable(&path(CHUNKS).join(name), b"x", Overwrite::Never).unwrap();
    }
    disk.create_dir_all(&path(CHUNKS).join(&elsewhere)).unwrap();
    disk.symlink(path("../secret"), &path(CHUNKS).join(&linked)).unwrap();
    let store = open(&disk).await;
    let left: BTreeSet<_> = names(&disk, CHUNKS).into_iter().collect();
    let named = address.to_string();
    let prefixed = format!("0x{address}");
    let expected = [&named, "README", "lock", "lock.old", &shouted, &prefixed, &elsewhere, &linked];
    assert_eq!(left, expected.into_iter().map(str::to_owned).collect());
    assert_eq!(store.addresses(None, 9), [address]);
    assert_eq!(used(&store), 56 + 1 + chunk.len() as u64);
}

#[tokio::test]
async fn temporary_files_of_an_open_store_are_not_touched() {
    let disk = MemoryDisk::new();
    let _store = open(&disk).await;
    disk.write_durable(&path(CHUNKS).join(".tmp-live"), b"x", Overwrite::Never).unwrap();
    let error = FsStore::open(Arc::new(disk.clone()), OPTIONS).await.unwrap_err();
    assert!(matches!(error, StoreError::Locked { .. }), "{error:?}");
    assert!(names(&disk, CHUNKS).contains(&".tmp-live".to_owned()));
}

#[tokio::test]
async fn a_torn_record_is_moved_aside_at_start_and_counted() {
    for len in 0..GOLDEN.len() {
        let disk = MemoryDisk::new();
        disk.create_dir_all(path(CHUNKS)).unwrap();
        let file = path(CHUNKS).join(GOLDEN_ADDRESS);
        disk.write_durable(&file, &GOLDEN[..len], Overwrite::Never).unwrap();
        let store = open(&disk).await;
        assert_eq!((store.chunks(), used(&store)), (0, len as u64), "{len} bytes");
        assert_eq!(names(&disk, QUARANTINE), [GOLDEN_ADDRESS]);
        put(&store, &Bytes::from_static(&[0, 1, 2]), GOLDEN_EVIDENCE).await.unwrap();
        assert_eq!(disk.read(&file, 999).unwrap(), GOLDEN);
        drop(store);
        assert_eq!(used(&open(&disk).await), (len + GOLDEN.len()) as u64);
    }
}

#[tokio::test]
async fn a_record_under_another_name_is_moved_aside() {
    let disk = MemoryDisk::new();
    disk.create_dir_all(path(CHUNKS)).unwrap();
    let other = ChunkAddress([9; 32]);
    disk.write_durable(&record_path(other), GOLDEN, Overwrite::Never).unwrap();
    let store = open(&disk).await;
    assert_eq!((store.chunks(), store.has(other)), (0, false));
    assert_eq!(names(&disk, QUARANTINE), [other.to_string()]);
}

#[tokio::test]
async fn no_flipped_bit_is_ever_served() {
    let address: ChunkAddress = GOLDEN_ADDRESS.parse().unwrap();
    for restart in [false, true] {
        for bit in 0..GOLDEN.len() * 8 {
            let disk = MemoryDisk::new();
            let file = path(CHUNKS).join(GOLDEN_ADDRESS);
            disk.create_dir_all(path(CHUNKS)).unwrap();
            disk.write_durable(&file, GOLDEN, Overwrite::Never).unwrap();
            let mut store = open(&disk).await;
            let mut bytes = GOLDEN.to_vec();
            bytes[bit / 8] ^= 1 << (bit % 8);
            disk.write_durable(&file, &bytes, Overwrite::Replace).unwrap();
            if restart {
                drop(store);
                store = open(&disk).await;
            }
            let chunk = store.get(address).await.unwrap();
            let evidence = store.evidence(address).await.unwrap();
            assert!(chunk.as_deref().is_none_or(|chunk| chunk == [0, 1, 2]), "bit {bit}");
            assert!(evidence.as_deref().is_none_or(|e| e == GOLDEN_EVIDENCE), "bit {bit}");
            // In the header it is found at the next start, in evidence and chunk when they are read.
            if restart || bit / 8 >= HEADER_BYTES {
                assert!(chunk.is_none() || evidence.is_none(), "bit {bit}");
                assert_eq!((store.has(address), names(&disk, QUARANTINE).len()), (false, 1));
            }
            assert_eq!(used(&store), GOLDEN.len() as u64);
        }
    }
}

#[tokio::test]
async fn a_record_of_a_newer_version_stops_the_start() {
    let disk = MemoryDisk::new();
    disk.create_dir_all(path(CHUNKS)).unwrap();
    let mut bytes = GOLDEN.to_vec();
    bytes[6] = 2;
    let crc = crc32fast::hash(&bytes[..52]);
    bytes[52..56].copy_from_slice(&crc.to_le_bytes());
    let file = path(CHUNKS).join(GOLDEN_ADDRESS);
    disk.write_durable(&file, &bytes, Overwrite::Never).unwrap();
    let error = FsStore::open(Arc::new(disk.clone()), OPTIONS).await.unwrap_err();
    assert!(
        matches!(error, StoreError::NewerFormat { found: 2, supported: VERSION, .. }),
        "{error:?}"
    );
    assert_eq!(disk.read(&file, 999).unwrap(), bytes, "and is left alone");
}

#[tokio::test]
async fn a_record_that_was_removed_is_absent_and_counted_out() {
    let disk = MemoryDisk::new();
    let store = open(&disk).await;
    let (address, chunk) = sample();
    put(&store, &chunk, b"e").await.unwrap();
    disk.remove_file(&record_path(address)).unwrap();
    assert_eq!(store.get(address).await.unwrap(), None);
    assert_eq!((store.has(address), used(&store)), (false, 0));
    put(&store, &chunk, b"e").await.unwrap();
    assert_eq!(store.get(address).await.unwrap(), Some(chunk));
}

#[tokio::test]
async fn a_disk_that_cannot_be_read_is_an_error_and_loses_nothing() {
    let faults = Arc::new(Faults::default());
    let disk = MemoryDisk::new();
    let failing = Arc::new(disk.clone().with_faults(Arc::clone(&faults)));
    let store = FsStore::open(failing, OPTIONS).await.unwrap();
    let (address, chunk) = sample();
    put(&store, &chunk, b"e").await.unwrap();
    faults.arm(FaultPlan::onwards(1, Fault::Io).only(spillway_disk::DiskOp::Read));
    let error = store.get(address).await.unwrap_err();
    assert!(matches!(error, StoreError::Disk { .. }), "{error:?}");
    let error = store.evidence(address).await.unwrap_err();
    assert!(matches!(error, StoreError::Disk { .. }), "{error:?}");
    faults.disarm();
    assert_eq!(store.get(address).await.unwrap(), Some(chunk));
}

/// Fails step after step of a put until one has no more steps to fail. Gives back what is left on
/// the disk after each failure.
async fn fail_every_step(fault: Fault, onwards: bool, mut left: impl AsyncFnMut(MemoryDisk, bool)) {
    let (_, other) = sample();
    let chunk = Bytes::from_static(b"the chunk that fails");
    for at in 1.. {
        let faults = Arc::new(Faults::default());
        let disk = MemoryDisk::new();
        let failing = Arc::new(disk.clone().with_faults(Arc::clone(&faults)));
        let store = FsStore::open(failing, OPTIONS).await.unwrap();
        put(&store, &other, b"other").await.unwrap();
        let before = used(&store);
        faults.arm(FaultPlan { at, fault, onwards, only: None });
        let result = put(&store, &chunk, b"evidence").await;
        let clean = faults.count() < at;
        faults.disarm();
        let address = ChunkAddress::of(&chunk);
        match result {
            Ok(_) => {
                assert!(clean || !onwards, "step {at} did not fail");
                assert_eq!(store.get(address).await.unwrap().as_ref(), Some(&chunk));
            }
            Err(error) => {
                assert!(!clean);
                match fault {
                    Fault::Full => assert!(matches!(error, StoreError::Full { .. }), "{error:?}"),
                    _ => assert!(matches!(error, StoreError::Disk { .. }), "{error:?}"),
                }
                assert_eq!((store.has(address), used(&store)), (false, before), "step {at}");
                assert_eq!(store.get(address).await.unwrap(), None);
            }
        }
        drop(store);
        left(disk, clean).await;
        if clean {
            assert_eq!(at, 7, "open, write, write, sync, rename, sync and no more");
            break;
        }
    }
}

/// Opens what is left: the chunk is whole or not there, the other one is there, nothing else is.
async fn assert_none_or_whole(disk: &MemoryDisk) -> bool {
    let store = open(disk).await;
    let (other_address, other) = sample();
    assert_eq!(store.get(other_address).await.unwrap(), Some(other));
    let chunk = Bytes::from_static(b"the chunk that fails");
    let address = ChunkAddress::of(&chunk);
    let found = store.get(address).await.unwrap();
    let evidence = store.evidence(address).await.unwrap();
    assert_eq!(found.is_some(), evidence.is_some());
    assert!(found.as_ref().is_none_or(|found| *found == chunk));
    assert!(evidence.as_deref().is_none_or(|evidence| evidence == b"evidence"));
    let mut expected = vec![other_address.to_string(), "lock".to_owned()];
    expected.extend(found.is_some().then(|| address.to_string()));
    expected.sort();
    assert_eq!(names(disk, CHUNKS), expected);
    found.is_some()
}

#[tokio::test]
async fn a_put_that_fails_at_any_step_leaves_no_chunk_or_a_whole_one() {
    for fault in [Fault::Io, Fault::Full, Fault::Denied] {
        for onwards in [false, true] {
            fail_every_step(fault, onwards, async |disk, clean| {
                let there = assert_none_or_whole(&disk).await;
                assert!(there || !clean);
                // Only a disk that refuses to remove it too leaves a chunk that was not reported.
                assert!(!there || clean || onwards);
            })
            .await;
        }
    }
}

#[tokio::test]
async fn a_power_cut_at_any_step_leaves_no_chunk_or_a_whole_one() {
    fail_every_step(Fault::Io, true, async |disk, clean| {
        let cuts = (0..100).map(Survival::Seeded);
        for survival in cuts.chain([Survival::Nothing, Survival::Everything]) {
            let there = assert_none_or_whole(&disk.crash(survival)).await;
            assert!(there || !clean, "a chunk that was put is gone: {survival:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_disk_that_is_nearly_full_refuses_to_reserve_with_the_exact_rest() {
    let needed = reservation_bytes(100);
    let disk = MemoryDisk::with_capacity(2 * needed + 1000 + 7);
    let options = FsStoreOptions { disk_margin_bytes: 1000, ..OPTIONS };
    let store = FsStore::open(Arc::new(disk.clone()), options).await.unwrap();
    let chunks: Vec<_> = (0..3).map(|fill| Bytes::from(vec![fill; 100])).collect();
    let reserve = |number: usize| store.reserve(ChunkAddress::of(&chunks[number]), 100);
    let (first, second) = (reserve(0).unwrap(), reserve(1).unwrap());
    let error = reserve(2).unwrap_err();
    assert!(
        matches!(error, StoreError::Full { free_bytes: 7, needed_bytes } if needed_bytes == needed),
        "{error:?}"
    );
    assert_eq!(store.capacity().reserved_bytes, 2 * needed);
    store.put(first, chunks[0].clone(), Bytes::new()).await.unwrap();
    // Somebody else fills the disk: the put is refused, and writes nothing that stays.
    disk.set_capacity(200);
    let error = store.put(second, chunks[1].clone(), Bytes::new()).await.unwrap_err();
    assert!(matches!(error, StoreError::Full { free_bytes: 44, needed_bytes: 156 }), "{error:?}");
    assert_eq!(error.retry(), Retry::Backoff);
    assert_eq!((used(&store), disk.free_space().unwrap()), (156, 44));
    assert_eq!(names(&disk, CHUNKS), [ChunkAddress::of(&chunks[0]).to_string(), "lock".into()]);
}

#[tokio::test]
async fn a_store_that_shrank_keeps_what_it_has_and_takes_no_more() {
    let disk = MemoryDisk::new();
    let (address, chunk) = sample();
    put(&open(&disk).await, &chunk, b"e").await.unwrap();
    let options = FsStoreOptions { capacity_bytes: 10, ..OPTIONS };
    let store = FsStore::open(Arc::new(disk), options).await.unwrap();
    assert_eq!(store.get(address).await.unwrap(), Some(chunk));
    let error = store.reserve(ChunkAddress([1; 32]), 1).unwrap_err();
    assert!(matches!(error, StoreError::Full { free_bytes: 0, .. }), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_put_that_is_dropped_runs_to_its_end_and_is_counted() {
    let dir = TempDir::new().unwrap();
    let disk = Arc::new(RealDisk::open(dir.path()).unwrap());
    let store = FsStore::open(disk, FsStoreOptions { capacity_bytes: 64 << 20, ..OPTIONS });
    let store = store.await.unwrap();
    let chunk = Bytes::from(vec![5; 1 << 20]);
    {
        let mut dropped = pin!(put(&store, &chunk, b"first"));
        let polled = std::future::poll_fn(|cx| Poll::Ready(dropped.as_mut().poll(cx))).await;
        assert!(polled.is_pending());
    }
    // It waits its turn behind the one that was dropped.
    put(&store, &chunk, b"second").await.unwrap();
    let evidence = store.evidence(ChunkAddress::of(&chunk)).await.unwrap().unwrap();
    assert_eq!(evidence, "first");
    assert_eq!(used(&store), 56 + 5 + (1 << 20));
    assert!(store.shared.index().busy.is_empty());
}

#[tokio::test]
async fn nobody_is_left_in_the_queue_of_an_address() {
    let disk = MemoryDisk::new();
    let store = open(&disk).await;
    let (address, chunk) = sample();
    let turn = store.shared.turn(address).await;
    {
        let mut waiting = pin!(put(&store, &chunk, b"e"));
        let polled = std::future::poll_fn(|cx| Poll::Ready(waiting.as_mut().poll(cx))).await;
        assert!(polled.is_pending());
        assert_eq!(store.shared.index().busy.len(), 1);
    }
    assert_eq!(store.shared.index().busy.len(), 1, "the turn is still taken");
    drop(turn);
    assert!(store.shared.index().busy.is_empty());
    put(&store, &chunk, b"e").await.unwrap();
    assert_eq!(store.get(address).await.unwrap(), Some(chunk));
    assert!(store.shared.index().busy.is_empty());
}

proptest! {
    #[test]
    fn no_header_makes_the_scan_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), fix: bool) {
        let mut bytes = bytes;
        // Half of them with a right beginning and checksum.
        if fix && bytes.len() >= HEADER_BYTES {
            bytes[..8].copy_from_slice(&GOLDEN[..8]);
            let crc = crc32fast::hash(&bytes[..52]);
            bytes[52..56].copy_from_slice(&crc.to_le_bytes());
        }
        let disk = MemoryDisk::new();
        disk.create_dir_all(path(CHUNKS)).unwrap();
        disk.write_durable(&path(CHUNKS).join(GOLDEN_ADDRESS), &bytes, Overwrite::Never).unwrap();
        let found = scan::scan(&disk).unwrap();
        prop_assert_eq!((found.records.len(), found.used_bytes), (0, bytes.len() as u64));
    }
}
