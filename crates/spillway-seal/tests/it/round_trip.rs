use proptest::{prop_assert_eq, proptest};
use spillway_seal::{Compression, DataMap, SealOptions};
use spillway_types::limits;

use crate::support::{cases, files, open_file, random, seal_file, small, stored, with_secret};

fn round_trip(file: &[u8], options: &SealOptions) {
    let sealed = seal_file(file, options);
    let map = DataMap::decode(&sealed.map.encode()).unwrap();
    assert_eq!(map, sealed.map);
    assert_eq!(map.content_len(), file.len() as u64);
    assert_eq!(map.entries().len(), file.len().div_ceil(options.segment_bytes).max(1));
    for chunk in &sealed.chunks {
        assert!(chunk.bytes.len() <= limits::MAX_CHUNK_BYTES);
        assert!(chunk.bytes.len() >= limits::SEAL_OVERHEAD_BYTES);
    }
    assert!(open_file(&map, &stored(&sealed.chunks)).unwrap() == file, "{} bytes", file.len());
}

#[test]
fn every_length_up_to_five_small_segments() {
    for segment in [1, 2, 7, 16] {
        for len in 0..=5 * segment {
            round_trip(&random(len, len as u64), &small(segment));
            round_trip(&vec![b'a'; len], &with_secret(small(segment), "secret"));
        }
    }
}

#[test]
fn around_every_boundary_of_real_segments() {
    let segment = limits::SEGMENT_BYTES;
    for count in 1..=4 {
        for len in [segment * count - 1, segment * count, segment * count + 1] {
            round_trip(&random(len, 4), &SealOptions::default());
        }
    }
    for len in [0, 1, 2, limits::MAX_CHUNK_BYTES - 1, limits::MAX_CHUNK_BYTES] {
        round_trip(&random(len, 5), &SealOptions::default());
        round_trip(&vec![7; len], &SealOptions::default());
    }
}

#[test]
fn a_full_incompressible_segment_is_exactly_the_largest_chunk() {
    let sealed = seal_file(&random(limits::SEGMENT_BYTES, 6), &SealOptions::default());
    assert_eq!(sealed.chunks[0].bytes.len(), limits::MAX_CHUNK_BYTES);
}

#[test]
fn an_empty_file_is_one_empty_segment() {
    let sealed = seal_file(&[], &SealOptions::default());
    assert_eq!(sealed.chunks.len(), 1);
    assert_eq!(sealed.chunks[0].bytes.len(), limits::SEAL_OVERHEAD_BYTES);
    assert_eq!(sealed.map.entries()[0].len, 0);
}

proptest! {
    #![proptest_config(cases(400))]

    #[test]
    fn any_file_with_any_options((segment, file) in files(), secret: bool, mode in 0..3) {
        let compression =
            [Compression::Auto, Compression::Off, Compression::On][usize::try_from(mode).unwrap()];
        let options = SealOptions { compression, ..small(segment) };
        let options = if secret { with_secret(options, "hush") } else { options };
        round_trip(&file, &options);
    }

    #[test]
    fn same_input_same_chunks((segment, file) in files()) {
        let (first, second) = (seal_file(&file, &small(segment)), seal_file(&file, &small(segment)));
        prop_assert_eq!(first.chunks, second.chunks);
        prop_assert_eq!(first.map.encode(), second.map.encode());
    }
}
