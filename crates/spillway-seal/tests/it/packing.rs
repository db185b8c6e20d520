use proptest::{prop_assert_eq, proptest};
use spillway_seal::{
    ENTRY_BYTES, MAP_OVERHEAD_BYTES, MAX_ROOT_BYTES, OpenError, PackError, PackOptions, SealError,
    SealOptions, UnpackError, Unpacker,
};
use spillway_types::{ChunkAddress, limits};

use crate::support::{cases, open_file, random, seal_file, small, stored, unpack, with_secret};

fn tiny(max_root_bytes: usize, segment_bytes: usize) -> PackOptions {
    PackOptions { max_root_bytes, segment_bytes }
}

fn round_trip(file: &[u8], options: &SealOptions, pack: PackOptions) -> u8 {
    let sealed = seal_file(file, options);
    let packed = sealed.map.clone().pack(pack).unwrap();
    assert!(packed.root.encoded_len() <= pack.max_root_bytes);
    assert_eq!(packed.root.content_len(), file.len() as u64);
    let mut all = stored(&sealed.chunks);
    all.extend(stored(&packed.chunks));
    let public = packed.root.public_chunk();
    assert_eq!(public.address, ChunkAddress::of(&public.bytes));
    let root = spillway_seal::DataMap::decode(&public.bytes).unwrap();
    assert_eq!(root, packed.root);
    let level = root.level();
    let map = unpack(root, &all).unwrap();
    assert_eq!(map, sealed.map);
    assert_eq!(open_file(&map, &all).unwrap(), file);
    level
}

#[test]
fn down_to_every_depth() {
    let file = random(4000, 1);
    for options in [small(10), with_secret(small(10), "s")] {
        // 400 entries: 27,292 bytes. Segments of 272 make maps a quarter as long.
        assert_eq!(round_trip(&file, &options, tiny(30_000, 272)), 0);
        assert_eq!(round_trip(&file, &options, tiny(10_000, 272)), 1);
        assert_eq!(round_trip(&file, &options, tiny(2_000, 272)), 2);
        assert_eq!(round_trip(&file, &options, tiny(700, 272)), 3);
    }
}

#[test]
fn a_map_that_fits_is_its_own_root() {
    let sealed = seal_file(&random(40, 2), &small(10));
    let exactly = MAP_OVERHEAD_BYTES + 4 * ENTRY_BYTES;
    assert_eq!(sealed.map.encode().len(), exactly);
    let packed = sealed.map.clone().pack(tiny(exactly, 200)).unwrap();
    assert_eq!((packed.root, packed.chunks), (sealed.map.clone(), Vec::new()));
    let packed = sealed.map.pack(tiny(exactly - 1, 200)).unwrap();
    assert_eq!((packed.root.level(), packed.chunks.len()), (1, 2));
}

#[test]
fn packing_with_the_defaults_at_the_real_limit() {
    // One segment more than a root of 4 MiB has entries: the map goes up one level.
    let most = (MAX_ROOT_BYTES - MAP_OVERHEAD_BYTES) / ENTRY_BYTES;
    assert_eq!(most, 61_679);
    for (count, level) in [(most, 0), (most + 1, 1)] {
        assert_eq!(round_trip(&vec![3; count], &small(1), PackOptions::default()), level);
    }
}

#[test]
fn maps_that_cannot_fit() {
    let map = seal_file(&random(4000, 3), &small(10)).map;
    let refused = |options: PackOptions| map.clone().pack(options).unwrap_err();
    // Smaller than any map; segments that do not make it smaller; too many levels.
    for (root, segment) in [(100, 272), (700, 68), (200, 90)] {
        assert_eq!(refused(tiny(root, segment)), PackError::NoFit { max_root_bytes: root });
    }
    let found = MAX_ROOT_BYTES + 1;
    assert_eq!(refused(tiny(found, 272)), PackError::RootBytes { found, max: MAX_ROOT_BYTES });
    for found in [0, limits::SEGMENT_BYTES + 1] {
        assert_eq!(
            refused(tiny(700, found)),
            PackError::Seal(SealError::SegmentBytes { found, max: limits::SEGMENT_BYTES })
        );
    }
}

#[test]
fn an_unpacker_takes_another_copy_after_a_wrong_one() {
    let sealed = seal_file(&random(400, 4), &small(10));
    let packed = sealed.map.clone().pack(tiny(700, 500)).unwrap();
    let stored = stored(&packed.chunks);
    let mut unpacker = Unpacker::new(packed.root.clone()).unwrap();
    let missing = packed.root.entries().len() as u64;
    assert_eq!(unpacker.pending(), packed.root.entries());
    let wanted = unpacker.pending()[0].address;
    let wrong = packed.chunks[1].clone();
    assert_eq!(
        unpacker.supply(&wrong.bytes),
        Err(UnpackError::Open {
            level: 0,
            index: 0,
            source: OpenError::Address { expected: wanted, found: wrong.address }
        })
    );
    unpacker.supply(&stored[&wanted]).unwrap();
    assert_eq!(unpacker.pending(), &packed.root.entries()[1..]);
    while let Some(entry) = unpacker.pending().first().copied() {
        unpacker.supply(&stored[&entry.address]).unwrap();
    }
    assert_eq!(unpacker.supply(&wrong.bytes), Err(UnpackError::NotNeeded));
    assert_eq!(unpacker.finish(), Ok(sealed.map));
    let unpacker = Unpacker::new(packed.root).unwrap();
    assert_eq!(unpacker.finish(), Err(UnpackError::Incomplete { level: 0, missing }));
}

#[test]
fn maps_are_never_compressed() {
    let map = seal_file(&vec![0; 5000], &small(1)).map;
    let encoded = map.encoded_len();
    let packed = map.pack(PackOptions { max_root_bytes: 1000, ..PackOptions::default() }).unwrap();
    assert_eq!(packed.chunks.len(), 1);
    assert_eq!(packed.chunks[0].bytes.len(), encoded + limits::SEAL_OVERHEAD_BYTES);
}

proptest! {
    #![proptest_config(cases(60))]

    #[test]
    fn any_size_any_root(count in 1_usize..300, segment in 300_usize..2000, root in 900_usize..3000) {
        let file = random(count * 3, 5);
        let sealed = seal_file(&file, &small(3));
        let packed = sealed.map.clone().pack(tiny(root, segment)).unwrap();
        let found = unpack(packed.root, &stored(&packed.chunks));
        prop_assert_eq!(found, Ok(sealed.map));
    }
}
