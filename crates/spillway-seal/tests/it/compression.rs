use proptest::{prop_assert_eq, proptest};
use spillway_seal::{Compression, SealOptions};
use spillway_types::limits::{SEAL_OVERHEAD_BYTES, SEGMENT_BYTES};

use crate::support::{cases, random, seal_file, with_secret};

/// What zstd 1 makes of it, computed here and not by the crate.
fn zstd_len(segment: &[u8]) -> usize {
    zstd::bulk::compress(segment, 1).unwrap().len()
}

fn chunk_len(segment: &[u8], options: &SealOptions) -> usize {
    seal_file(segment, options).chunks[0].bytes.len()
}

fn expected_len(segment: &[u8]) -> usize {
    let compressed = zstd_len(segment);
    let kept = 100 * compressed <= 97 * segment.len();
    SEAL_OVERHEAD_BYTES + if kept { compressed } else { segment.len() }
}

#[test]
fn both_sides_of_the_threshold() {
    // `len` bytes of which the first `dull` are all the same and the rest is random.
    let mixed = |dull: usize| {
        let mut segment = random(100_000, 1);
        segment[..dull].fill(0);
        segment
    };
    let ratio = |dull| 100 * zstd_len(&mixed(dull)) <= 97 * 100_000;
    let first_kept = (0..10_000).step_by(10).find(|dull| ratio(*dull)).unwrap();
    for dull in [first_kept - 10, first_kept, first_kept + 10] {
        let found = chunk_len(&mixed(dull), &SealOptions::default());
        assert_eq!(found, expected_len(&mixed(dull)), "{dull}");
    }
    assert_eq!(
        chunk_len(&mixed(first_kept - 10), &SealOptions::default()),
        100_000 + SEAL_OVERHEAD_BYTES
    );
    assert!(chunk_len(&mixed(first_kept), &SealOptions::default()) <= 97_000 + SEAL_OVERHEAD_BYTES);
}

#[test]
fn real_segments_of_both_kinds() {
    let dull = vec![b'x'; SEGMENT_BYTES];
    assert_eq!(chunk_len(&dull, &SealOptions::default()), expected_len(&dull));
    let random = random(SEGMENT_BYTES, 2);
    assert_eq!(chunk_len(&random, &SealOptions::default()), SEGMENT_BYTES + SEAL_OVERHEAD_BYTES);
}

#[test]
fn a_secret_turns_it_off_unless_it_is_asked_for() {
    let dull = vec![b'x'; 10_000];
    let raw = 10_000 + SEAL_OVERHEAD_BYTES;
    let small = SEAL_OVERHEAD_BYTES + zstd_len(&dull);
    for (secret, compression, expected) in [
        (false, Compression::Auto, small),
        (false, Compression::On, small),
        (false, Compression::Off, raw),
        (true, Compression::Auto, raw),
        (true, Compression::On, small),
        (true, Compression::Off, raw),
    ] {
        let options = SealOptions { compression, ..SealOptions::default() };
        let options = if secret { with_secret(options, "s") } else { options };
        assert_eq!(chunk_len(&dull, &options), expected, "{secret} {compression:?}");
    }
}

proptest! {
    #![proptest_config(cases(200))]

    #[test]
    fn kept_iff_it_saves_three_hundredths(len in 0_usize..3000, dull in 0_usize..3000) {
        let mut segment = random(len, 3);
        segment[..dull.min(len)].fill(1);
        prop_assert_eq!(chunk_len(&segment, &SealOptions::default()), expected_len(&segment));
    }
}
