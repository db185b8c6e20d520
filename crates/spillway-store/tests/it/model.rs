use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use bytes::Bytes;
use proptest::prelude::*;
use spillway_disk::{Disk, MemoryDisk, Overwrite, Survival};
use spillway_store::{ChunkStore, FsStore, FsStoreOptions, Reservation, StoreError};
use spillway_types::ChunkAddress;

/// Few chunks, so that steps meet.
const CHUNKS: u8 = 6;
/// Room for some of them only, with their evidence.
const CAPACITY: u64 = 400_000;

#[derive(Clone, Debug)]
enum Step {
    Put { chunk: u8, evidence: u16 },
    Reserve { chunk: u8 },
    DropReservation,
    Get { chunk: u8 },
    Rot { chunk: u8, at: u32 },
    Restart,
    PowerCut { seed: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    let chunk = 0..CHUNKS;
    prop_oneof![
        4 => (chunk.clone(), 0..40_000_u16).prop_map(|(chunk, evidence)| Step::Put { chunk, evidence }),
        2 => chunk.clone().prop_map(|chunk| Step::Reserve { chunk }),
        1 => Just(Step::DropReservation),
        3 => chunk.clone().prop_map(|chunk| Step::Get { chunk }),
        1 => (chunk, any::<u32>()).prop_map(|(chunk, at)| Step::Rot { chunk, at }),
        1 => Just(Step::Restart),
        1 => any::<u64>().prop_map(|seed| Step::PowerCut { seed }),
    ]
}

fn bytes_of(chunk: u8) -> Bytes {
    Bytes::from(vec![chunk; 100 + 10_000 * usize::from(chunk)])
}

fn evidence_of(chunk: u8, len: u16) -> Bytes {
    Bytes::from(vec![0x80 | chunk; len.into()])
}

struct World {
    disk: MemoryDisk,
    store: Option<FsStore>,
    held: Vec<Reservation>,
    /// What must be there, with its evidence's length.
    stored: BTreeMap<u8, u16>,
    /// What has rotted and nobody has looked at since; what rotted and was moved aside.
    rotten: BTreeMap<u8, u16>,
    aside: BTreeMap<u8, u64>,
}

impl World {
    async fn open(disk: MemoryDisk) -> FsStore {
        let options = FsStoreOptions { capacity_bytes: CAPACITY, disk_margin_bytes: 0 };
        FsStore::open(Arc::new(disk), options).await.unwrap()
    }

    fn store(&self) -> &FsStore {
        self.store.as_ref().unwrap()
    }

    async fn restart(&mut self, disk: MemoryDisk) {
        self.held.clear();
        self.store = None;
        self.disk = disk;
        self.store = Some(Self::open(self.disk.clone()).await);
    }

    fn record_bytes(chunk: u8, evidence: u16) -> u64 {
        56 + u64::from(evidence) + bytes_of(chunk).len() as u64
    }

    fn known(&self, chunk: u8) -> bool {
        self.stored.contains_key(&chunk) || self.rotten.contains_key(&chunk)
    }

    fn used(&self) -> u64 {
        let records = self.stored.iter().chain(&self.rotten);
        let records: u64 = records.map(|(chunk, len)| Self::record_bytes(*chunk, *len)).sum();
        records + self.aside.values().sum::<u64>()
    }

    async fn apply(&mut self, step: Step) {
        match step {
            Step::Put { chunk, evidence } => self.put(chunk, evidence).await,
            Step::Reserve { chunk } => {
                let bytes = bytes_of(chunk);
                let size = u32::try_from(bytes.len()).unwrap();
                let reserved = self.store().reserve(ChunkAddress::of(&bytes), size);
                self.held.extend(reserved.ok());
            }
            Step::DropReservation => drop(self.held.pop()),
            Step::Get { chunk } => self.get(chunk).await,
            Step::Rot { chunk, at } => self.rot(chunk, at),
            Step::Restart => self.restart(self.disk.clone()).await,
            Step::PowerCut { seed } => {
                self.restart(self.disk.crash(Survival::Seeded(seed))).await;
            }
        }
    }

    async fn put(&mut self, chunk: u8, evidence: u16) {
        let bytes = bytes_of(chunk);
        let address = ChunkAddress::of(&bytes);
        let size = u32::try_from(bytes.len()).unwrap();
        let free = self.store().capacity().free_bytes();
        match self.store().reserve(address, size) {
            Ok(reservation) => {
                let evidence_bytes = evidence_of(chunk, evidence);
                self.store().put(reservation, bytes, evidence_bytes).await.unwrap();
                if !self.known(chunk) {
                    self.stored.insert(chunk, evidence);
                }
            }
            Err(StoreError::Full { free_bytes, needed_bytes }) => {
                assert_eq!(free_bytes, free);
                assert!(needed_bytes > free && !self.known(chunk));
            }
            Err(error) => panic!("{error:?}"),
        }
    }

    async fn get(&mut self, chunk: u8) {
        let bytes = bytes_of(chunk);
        let address = ChunkAddress::of(&bytes);
        let found = self.store().get(address).await.unwrap();
        if let Some(evidence) = self.stored.get(&chunk) {
            assert_eq!(found, Some(bytes));
            let kept = self.store().evidence(address).await.unwrap();
            assert_eq!(kept, Some(evidence_of(chunk, *evidence)));
        } else {
            assert_eq!(found, None);
            if let Some(evidence) = self.rotten.remove(&chunk) {
                // A second one takes the first one's place; both stay counted until a restart.
                let bytes = self.aside.entry(chunk).or_default();
                *bytes += Self::record_bytes(chunk, evidence);
            }
        }
    }

    /// Flips a bit somewhere in the chunk's own bytes.
    fn rot(&mut self, chunk: u8, at: u32) {
        let Some(evidence) = self.stored.remove(&chunk) else {
            return;
        };
        self.rotten.insert(chunk, evidence);
        let bytes = bytes_of(chunk);
        let path = PathBuf::from(format!("chunks/{}", ChunkAddress::of(&bytes)));
        let mut record = self.disk.read(&path, u64::MAX).unwrap();
        let from = record.len() - bytes.len();
        record[from + at as usize % bytes.len()] ^= 1 << (at % 8);
        self.disk.write_durable(&path, &record, Overwrite::Replace).unwrap();
    }

    fn check(&self, after: &Step) {
        let capacity = self.store().capacity();
        if matches!(after, Step::Restart | Step::PowerCut { .. }) {
            assert!(capacity.used_bytes <= self.used());
        } else {
            assert_eq!(capacity.used_bytes, self.used());
        }
        for chunk in 0..CHUNKS {
            assert_eq!(self.store().has(ChunkAddress::of(&bytes_of(chunk))), self.known(chunk));
        }
        assert_eq!(self.store().chunks(), self.stored.len() + self.rotten.len());
    }

    /// What was moved aside twice is there once after a restart.
    fn recount_aside(&mut self) {
        for (chunk, bytes) in &mut self.aside {
            let name = ChunkAddress::of(&bytes_of(*chunk));
            let path = PathBuf::from(format!("chunks/quarantine/{name}"));
            *bytes = self.disk.stat(&path).unwrap().len;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn the_store_does_what_a_map_does(steps in prop::collection::vec(step(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let disk = MemoryDisk::new();
            let store = Some(World::open(disk.clone()).await);
            let mut world = World {
                disk,
                store,
                held: Vec::new(),
                stored: BTreeMap::new(),
                rotten: BTreeMap::new(),
                aside: BTreeMap::new(),
            };
            for step in steps {
                world.apply(step.clone()).await;
                world.check(&step);
                if matches!(step, Step::Restart | Step::PowerCut { .. }) {
                    world.recount_aside();
                    assert_eq!(world.store().capacity().used_bytes, world.used());
                }
            }
        });
    }
}
