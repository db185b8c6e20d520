use std::{path::PathBuf, sync::Arc};

use bytes::Bytes;
use futures::future::join_all;
use spillway_disk::{Disk, MemoryDisk, Overwrite, RealDisk};
use spillway_store::{
    Capacity, ChunkStore, FsStore, FsStoreOptions, MAX_EVIDENCE_BYTES, MemoryStore, StoreError,
    Stored, reservation_bytes,
};
use spillway_types::{ChunkAddress, limits::MAX_CHUNK_BYTES};
use tempfile::TempDir;

/// Bytes of a record's header, as `docs/formats.md` says.
const HEADER: u64 = 56;

/// A store and a way to damage what is in it.
struct Subject {
    store: Arc<dyn ChunkStore>,
    rot: Box<dyn Fn(ChunkAddress)>,
}

fn memory_store(capacity_bytes: u64) -> Subject {
    let store = Arc::new(MemoryStore::new(capacity_bytes));
    let same = Arc::clone(&store);
    Subject { store, rot: Box::new(move |address| assert!(same.rot(address))) }
}

async fn fs_store(disk: Arc<dyn Disk>, capacity_bytes: u64) -> Subject {
    let options = FsStoreOptions { capacity_bytes, disk_margin_bytes: 0 };
    let store = FsStore::open(Arc::clone(&disk), options).await.unwrap();
    let rot = move |address: ChunkAddress| {
        let path = PathBuf::from(format!("chunks/{address}"));
        let mut bytes = disk.read(&path, u64::MAX).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        disk.write_durable(&path, &bytes, Overwrite::Replace).unwrap();
    };
    Subject { store: Arc::new(store), rot: Box::new(rot) }
}

/// Runs every case, each on a new empty store of the capacity that it asks for.
async fn conforms(make: impl AsyncFn(u64) -> Subject) {
    let plenty = 64 << 20;
    an_empty_store_has_nothing(make(plenty).await.store.as_ref()).await;
    what_is_put_is_got(make(plenty).await.store.as_ref()).await;
    the_largest_and_the_smallest(make(plenty).await.store.as_ref()).await;
    a_second_put_changes_nothing(make(plenty).await.store.as_ref()).await;
    a_full_store_refuses_exactly(make(3 * reservation_bytes(1000) + 17).await.store.as_ref()).await;
    sizes_are_checked(make(plenty).await.store.as_ref());
    a_wrong_put_stores_nothing(&make).await;
    concurrent_puts_of_one_chunk_store_it_once(make(plenty).await.store.as_ref()).await;
    addresses_come_in_order_and_in_pages(make(plenty).await.store.as_ref()).await;
    what_rots_is_found_and_can_be_put_anew(make(plenty).await).await;
}

#[tokio::test]
async fn memory_store_conforms() {
    conforms(async |capacity| memory_store(capacity)).await;
}

#[tokio::test]
async fn fs_store_in_memory_conforms() {
    conforms(async |capacity| fs_store(Arc::new(MemoryDisk::new()), capacity).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fs_store_on_disk_conforms() {
    let root = TempDir::new().unwrap();
    conforms(async |capacity| {
        let dir = root.path().join(format!("{:016x}", fastrand::u64(..)));
        fs_store(Arc::new(RealDisk::create(&dir).unwrap()), capacity).await
    })
    .await;
}

fn chunk(fill: u8, len: usize) -> (ChunkAddress, Bytes) {
    let bytes = Bytes::from(vec![fill; len]);
    (ChunkAddress::of(&bytes), bytes)
}

async fn put(store: &dyn ChunkStore, chunk: &Bytes, evidence: &'static [u8]) {
    let size = u32::try_from(chunk.len()).unwrap();
    let reservation = store.reserve(ChunkAddress::of(chunk), size).unwrap();
    store.put(reservation, chunk.clone(), Bytes::from_static(evidence)).await.unwrap();
}

fn assert_space(store: &dyn ChunkStore, used_bytes: u64, reserved_bytes: u64) {
    let Capacity { capacity_bytes, .. } = store.capacity();
    assert_eq!(store.capacity(), Capacity { capacity_bytes, used_bytes, reserved_bytes });
}

async fn an_empty_store_has_nothing(store: &dyn ChunkStore) {
    let (address, _) = chunk(1, 9);
    assert_eq!(store.get(address).await.unwrap(), None);
    assert_eq!(store.evidence(address).await.unwrap(), None);
    assert_eq!((store.has(address), store.size(address), store.chunks()), (false, None, 0));
    assert_eq!(store.addresses(None, 9), []);
    assert_space(store, 0, 0);
    assert_eq!(store.capacity().free_bytes(), 64 << 20);
}

async fn what_is_put_is_got(store: &dyn ChunkStore) {
    let (address, bytes) = chunk(1, 1000);
    let reservation = store.reserve(address, 1000).unwrap();
    assert_eq!((reservation.address(), reservation.size_bytes()), (address, 1000));
    assert_space(store, 0, reservation_bytes(1000));
    store.put(reservation, bytes.clone(), Bytes::from_static(b"evidence")).await.unwrap();
    assert_eq!(store.get(address).await.unwrap(), Some(bytes));
    assert_eq!(store.evidence(address).await.unwrap().unwrap(), "evidence");
    assert_eq!((store.has(address), store.size(address), store.chunks()), (true, Some(1000), 1));
    assert_space(store, HEADER + 8 + 1000, 0);
}

async fn the_largest_and_the_smallest(store: &dyn ChunkStore) {
    let (small_address, small) = chunk(1, 1);
    put(store, &small, b"").await;
    let (address, large) = chunk(2, MAX_CHUNK_BYTES);
    let evidence = Bytes::from(vec![3; MAX_EVIDENCE_BYTES as usize]);
    let reservation = store.reserve(address, u32::try_from(MAX_CHUNK_BYTES).unwrap()).unwrap();
    store.put(reservation, large.clone(), evidence.clone()).await.unwrap();
    assert_eq!(store.get(address).await.unwrap(), Some(large));
    assert_eq!(store.evidence(address).await.unwrap(), Some(evidence));
    assert_eq!(store.get(small_address).await.unwrap(), Some(small));
    assert_eq!(store.evidence(small_address).await.unwrap(), Some(Bytes::new()));
    let full = reservation_bytes(u32::try_from(MAX_CHUNK_BYTES).unwrap());
    assert_space(store, HEADER + 1 + full, 0);
}

async fn a_second_put_changes_nothing(store: &dyn ChunkStore) {
    let (address, bytes) = chunk(1, 100);
    let early = store.reserve(address, 100).unwrap();
    put(store, &bytes, b"first").await;
    assert_space(store, HEADER + 5 + 100, reservation_bytes(100));
    let second = store.put(early, bytes.clone(), Bytes::from_static(b"second")).await.unwrap();
    assert_eq!(second, Stored::Before);
    let late = store.reserve(address, 100).unwrap();
    assert_space(store, HEADER + 5 + 100, 0);
    store.put(late, bytes, Bytes::from_static(b"third")).await.unwrap();
    assert_eq!(store.evidence(address).await.unwrap().unwrap(), "first");
    assert_space(store, HEADER + 5 + 100, 0);
}

async fn a_full_store_refuses_exactly(store: &dyn ChunkStore) {
    let held: Vec<_> = (0..3)
        .map(|fill| {
            let (address, bytes) = chunk(fill, 1000);
            (bytes, store.reserve(address, 1000).unwrap())
        })
        .collect();
    assert_space(store, 0, 3 * reservation_bytes(1000));
    let needed = reservation_bytes(1);
    let assert_full = |free: u64| match store.reserve(chunk(9, 1).0, 1) {
        Err(StoreError::Full { free_bytes, needed_bytes }) => {
            assert_eq!((free_bytes, needed_bytes), (free, needed));
        }
        other => panic!("a full store said {other:?}"),
    };
    assert_full(17);
    let mut held = held.into_iter();
    let (bytes, reservation) = held.next().unwrap();
    let large = Bytes::from(vec![7; MAX_EVIDENCE_BYTES as usize - 5]);
    store.put(reservation, bytes, large).await.unwrap();
    assert_full(17 + 5);
    assert_space(store, reservation_bytes(1000) - 5, 2 * reservation_bytes(1000));
    drop(held);
    assert_space(store, reservation_bytes(1000) - 5, 0);
    drop(store.reserve(chunk(9, 1).0, 1).unwrap());
}

fn sizes_are_checked(store: &dyn ChunkStore) {
    let too_large = u32::try_from(MAX_CHUNK_BYTES).unwrap() + 1;
    for size in [0, too_large, u32::MAX] {
        match store.reserve(chunk(1, 1).0, size) {
            Err(StoreError::BadSize { size_bytes }) => assert_eq!(size_bytes, size),
            other => panic!("a size of {size} was {other:?}"),
        }
    }
    assert_space(store, 0, 0);
}

async fn a_wrong_put_stores_nothing(make: &impl AsyncFn(u64) -> Subject) {
    let subject = make(1 << 20).await;
    let store = subject.store.as_ref();
    let (address, bytes) = chunk(1, 100);
    let (other_address, other_bytes) = chunk(2, 100);
    let reserve = || store.reserve(address, 100).unwrap();

    let error = store.put(reserve(), bytes.slice(..99), Bytes::new()).await.unwrap_err();
    assert!(
        matches!(error, StoreError::WrongSize { reserved_bytes: 100, found_bytes: 99 }),
        "{error:?}"
    );
    let error = store.put(reserve(), other_bytes, Bytes::new()).await.unwrap_err();
    assert!(
        matches!(error, StoreError::WrongHash { expected, found }
            if expected == address && found == other_address),
        "{error:?}"
    );
    let long = Bytes::from(vec![0; MAX_EVIDENCE_BYTES as usize + 1]);
    let error = store.put(reserve(), bytes.clone(), long).await.unwrap_err();
    assert!(
        matches!(error, StoreError::EvidenceTooLong { limit_bytes: MAX_EVIDENCE_BYTES, found_bytes }
            if found_bytes == u64::from(MAX_EVIDENCE_BYTES) + 1),
        "{error:?}"
    );
    let elsewhere = make(1 << 20).await;
    let foreign = elsewhere.store.reserve(address, 100).unwrap();
    let error = store.put(foreign, bytes, Bytes::new()).await.unwrap_err();
    assert!(
        matches!(error, StoreError::ForeignReservation { address: found } if found == address),
        "{error:?}"
    );
    for store in [store, elsewhere.store.as_ref()] {
        assert_space(store, 0, 0);
        assert_eq!((store.has(address), store.chunks()), (false, 0));
        assert_eq!(store.get(address).await.unwrap(), None);
    }
}

async fn concurrent_puts_of_one_chunk_store_it_once(store: &dyn ChunkStore) {
    let (address, bytes) = chunk(1, 5000);
    let (other_address, other) = chunk(2, 5000);
    let puts = (0..8_u8).map(|number| {
        let (address, bytes) =
            if number % 2 == 0 { (address, &bytes) } else { (other_address, &other) };
        let reservation = store.reserve(address, 5000).unwrap();
        store.put(reservation, bytes.clone(), Bytes::from(vec![number; 10]))
    });
    let stored: Vec<Stored> = join_all(puts).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(stored.iter().filter(|stored| **stored == Stored::Now).count(), 2);
    assert_space(store, 2 * (HEADER + 10 + 5000), 0);
    assert_eq!(store.chunks(), 2);
    assert_eq!(store.get(address).await.unwrap(), Some(bytes));
    let evidence = store.evidence(address).await.unwrap().unwrap();
    assert_eq!((evidence.len(), evidence[0] % 2), (10, 0));
    // Who is told so is whose evidence is kept.
    assert_eq!(stored[usize::from(evidence[0])], Stored::Now);
    assert!(evidence.iter().all(|byte| *byte == evidence[0]));
}

async fn addresses_come_in_order_and_in_pages(store: &dyn ChunkStore) {
    let mut expected = Vec::new();
    for fill in 0..20 {
        let (address, bytes) = chunk(fill, 10);
        put(store, &bytes, b"e").await;
        expected.push(address);
    }
    expected.sort_unstable();
    assert_eq!(store.addresses(None, usize::MAX), expected);
    assert_eq!(store.addresses(None, 0), []);
    let mut walked = Vec::new();
    loop {
        let page = store.addresses(walked.last().copied(), 7);
        if page.is_empty() {
            break;
        }
        assert!(page.len() <= 7);
        walked.extend(page);
    }
    assert_eq!(walked, expected);
}

async fn what_rots_is_found_and_can_be_put_anew(subject: Subject) {
    let store = subject.store.as_ref();
    let (address, bytes) = chunk(1, 100);
    let (kept, kept_bytes) = chunk(2, 100);
    put(store, &bytes, b"first").await;
    put(store, &kept_bytes, b"first").await;
    // Made while the chunk was there, and so without space of its own.
    let idle = store.reserve(address, 100).unwrap();
    (subject.rot)(address);
    assert!(store.has(address), "nobody has looked yet");
    assert_eq!(store.get(address).await.unwrap(), None);
    assert_eq!((store.has(address), store.size(address), store.chunks()), (false, None, 1));
    assert_eq!(store.evidence(address).await.unwrap(), None);
    assert_eq!(store.get(kept).await.unwrap(), Some(kept_bytes));
    assert_space(store, 2 * (HEADER + 5 + 100), 0);
    store.put(idle, bytes.clone(), Bytes::from_static(b"anew")).await.unwrap();
    assert_eq!(store.get(address).await.unwrap(), Some(bytes));
    assert_eq!(store.evidence(address).await.unwrap().unwrap(), "anew");
    assert_space(store, 2 * (HEADER + 5 + 100) + HEADER + 4 + 100, 0);
}
