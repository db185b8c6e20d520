use proptest::{prop_assert_eq, proptest};
use spillway_seal::{Cut, DataMap, SegmentSlice};

use crate::support::{cases, random, seal_segments, small, stored};

fn map_of(lens: &[usize]) -> (Vec<u8>, crate::support::Sealed) {
    let file = random(lens.iter().sum(), 1);
    let mut rest = file.as_slice();
    let segments: Vec<&[u8]> = lens
        .iter()
        .map(|len| {
            let (segment, behind) = rest.split_at(*len);
            rest = behind;
            segment
        })
        .collect();
    let sealed = seal_segments(&segments, &small(100));
    (file, sealed)
}

fn slices(map: &DataMap, range: std::ops::Range<u64>) -> Vec<SegmentSlice> {
    map.segments_in(range).collect()
}

#[test]
fn only_what_a_range_touches() {
    let (_, sealed) = map_of(&[10, 10, 10]);
    let slice = |index, start, within| SegmentSlice { index, start, within };
    let map = &sealed.map;
    assert_eq!(slices(map, 0..30), [slice(0, 0, 0..10), slice(1, 10, 0..10), slice(2, 20, 0..10)]);
    assert_eq!(slices(map, 9..11), [slice(0, 0, 9..10), slice(1, 10, 0..1)]);
    assert_eq!(slices(map, 10..20), [slice(1, 10, 0..10)]);
    assert_eq!(slices(map, 19..20), [slice(1, 10, 9..10)]);
    assert_eq!(slices(map, 25..u64::MAX), [slice(2, 20, 5..10)]);
    for nothing in [0..0, 15..15, 30..40, u64::MAX..u64::MAX] {
        assert_eq!(slices(map, nothing), []);
    }
    let backwards = std::ops::Range { start: 20, end: 10 };
    assert_eq!(slices(map, backwards), []);
}

#[test]
fn empty_segments_are_never_touched() {
    let (_, sealed) = map_of(&[0, 5, 0, 0, 5, 0]);
    let touched: Vec<usize> = sealed.map.segments_in(0..10).map(|slice| slice.index).collect();
    assert_eq!(touched, [1, 4]);
    let (_, empty) = map_of(&[0]);
    assert_eq!(slices(&empty.map, 0..10), []);
}

#[test]
fn cuts_of_files() {
    let ranges = |len, segment| -> Vec<(u64, u64)> {
        Cut::new(len, segment).ranges().map(|range| (range.start, range.end)).collect()
    };
    assert_eq!(ranges(0, 10), [(0, 0)]);
    assert_eq!(ranges(10, 10), [(0, 10)]);
    assert_eq!(ranges(11, 10), [(0, 10), (10, 11)]);
    assert_eq!(Cut::new(11, 10).range(2), None);
    let most = Cut::new(u64::MAX, 10);
    assert_eq!(most.count(), u64::MAX.div_ceil(10));
    assert_eq!(most.range(most.count() - 1), Some(u64::MAX - 5..u64::MAX));
    assert_eq!(Cut::new(3, 0).count(), 3);
}

proptest! {
    #![proptest_config(cases(300))]

    #[test]
    fn any_range_of_any_lengths_gives_its_bytes(
        lens in proptest::collection::vec(0_usize..=100, 1..20),
        (start, len) in (0_u64..2000, 0_u64..2000),
    ) {
        let (file, sealed) = map_of(&lens);
        let stored = stored(&sealed.chunks);
        let mut opener = sealed.map.opener();
        let mut read = Vec::new();
        for slice in sealed.map.segments_in(start..start + len) {
            let entry = sealed.map.entries()[slice.index];
            let keys = sealed.map.key_hashes(slice.index).unwrap();
            let segment = opener.open(&keys, &entry, &stored[&entry.address]).unwrap();
            prop_assert_eq!(slice.start + slice.within.start as u64, start + read.len() as u64);
            read.extend_from_slice(&segment[slice.within]);
        }
        let end = file.len().min(usize::try_from(start + len).unwrap());
        let from = end.min(usize::try_from(start).unwrap());
        prop_assert_eq!(read, &file[from..end]);
    }
}
