use std::{collections::BTreeMap, convert::Infallible};

use proptest::{prop_assert_eq, proptest};
use spillway_seal::{
    ContentKind, DataMap, HoldKey, Pushed, SealError, SealOptions, SealedChunk, StreamError,
    StreamSealer,
};
use spillway_types::limits::SEGMENT_BYTES;

use crate::support::{
    cases, cut, files, open_file, random, seal_segments, small, stored, with_secret,
};

/// What a stream gave: its map, its chunks by index, and what was held for it.
struct Streamed {
    map: DataMap,
    chunks: BTreeMap<u64, SealedChunk>,
    held: BTreeMap<u64, Vec<u8>>,
}

fn stream(segments: &[&[u8]], options: &SealOptions) -> Streamed {
    let mut sealer = StreamSealer::new(options.clone(), &HoldKey::from_bytes([7; 32])).unwrap();
    let (mut chunks, mut held) = (BTreeMap::new(), BTreeMap::new());
    for segment in segments {
        match sealer.push(segment).unwrap() {
            Pushed::Held { index, bytes } => assert_eq!(held.insert(index, bytes.to_vec()), None),
            Pushed::Sealed { index, chunk } => assert_eq!(chunks.insert(index, chunk), None),
        }
    }
    let map = sealer
        .finish(
            ContentKind::File,
            |index| Ok::<_, Infallible>(held[&index].clone()),
            |index, chunk| {
                assert_eq!(chunks.insert(index, chunk), None);
                Ok(())
            },
        )
        .unwrap();
    Streamed { map, chunks, held }
}

fn equals_a_file(segments: &[&[u8]], options: &SealOptions) {
    let streamed = stream(segments, options);
    let whole: &[&[u8]] = if segments.is_empty() { &[&[]] } else { segments };
    let sealed = seal_segments(whole, options);
    assert_eq!(streamed.map, sealed.map);
    let chunks: Vec<SealedChunk> = streamed.chunks.into_values().collect();
    assert_eq!(chunks, sealed.chunks);
    assert_eq!(open_file(&streamed.map, &stored(&chunks)).unwrap(), segments.concat());
}

#[test]
fn an_empty_stream_is_an_empty_file() {
    for options in [SealOptions::default(), with_secret(small(9), "s")] {
        equals_a_file(&[], &options);
        equals_a_file(&[&[]], &options);
    }
}

#[test]
fn real_segments() {
    let file = random(3 * SEGMENT_BYTES + 5, 1);
    equals_a_file(&cut(&file, SEGMENT_BYTES), &SealOptions::default());
}

#[test]
fn segments_of_any_length() {
    let parts: Vec<Vec<u8>> =
        [7, 100, 0, 1, 100, 33].iter().map(|len| random(*len, *len as u64)).collect();
    let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
    equals_a_file(&parts, &small(100));
    equals_a_file(&parts, &with_secret(small(100), "s"));
}

#[test]
fn two_segments_wait_in_public_and_all_with_a_secret() {
    let file = random(100, 2);
    let segments = cut(&file, 10);
    let public = stream(&segments, &small(10));
    assert_eq!(public.held.keys().copied().collect::<Vec<_>>(), [0, 1]);
    let secret = stream(&segments, &with_secret(small(10), "s"));
    assert_eq!(secret.held.len(), 10);
    for (index, held) in public.held.iter().chain(&secret.held) {
        let segment = segments[usize::try_from(*index).unwrap()];
        assert_eq!(held.len(), segment.len() + 16);
        assert!(!held.windows(segment.len()).any(|window| window == segment));
    }
}

#[test]
fn a_held_segment_that_comes_back_changed() {
    let finish = |back: fn(u64, &BTreeMap<u64, Vec<u8>>) -> Vec<u8>| {
        let mut sealer = StreamSealer::new(small(4), &HoldKey::random().unwrap()).unwrap();
        let mut held = BTreeMap::new();
        for segment in [b"abcd", b"efgh", b"ijkl"] {
            if let Pushed::Held { index, bytes } = sealer.push(segment).unwrap() {
                held.insert(index, bytes.to_vec());
            }
        }
        sealer.finish(
            ContentKind::File,
            |index| Ok::<_, Infallible>(back(index, &held)),
            |_, _| Ok(()),
        )
    };
    assert_eq!(finish(|_, held| held[&0].clone()).unwrap_err(), StreamError::Held { index: 1 });
    assert_eq!(
        finish(|index, held| {
            let mut bytes = held[&index].clone();
            bytes[0] ^= 1;
            bytes
        })
        .unwrap_err(),
        StreamError::Held { index: 0 }
    );
    assert_eq!(finish(|_, _| Vec::new()).unwrap_err(), StreamError::Held { index: 0 });
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct NoSpace;

impl std::fmt::Display for NoSpace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("no space")
    }
}

impl std::error::Error for NoSpace {}

#[test]
fn the_callers_own_errors_come_back() {
    let finish = |reads: Result<Vec<u8>, NoSpace>, takes: Result<(), NoSpace>| {
        let mut sealer = StreamSealer::new(small(4), &HoldKey::from_bytes([1; 32])).unwrap();
        let Pushed::Held { bytes, .. } = sealer.push(b"abcd").unwrap() else {
            panic!("the first segment waits");
        };
        let reads = reads.map(|_| bytes.to_vec());
        sealer.finish(ContentKind::File, |_| reads.clone(), |_, _| takes.clone())
    };
    assert_eq!(finish(Err(NoSpace), Ok(())).unwrap_err(), StreamError::Caller(NoSpace));
    assert_eq!(finish(Ok(Vec::new()), Err(NoSpace)).unwrap_err(), StreamError::Caller(NoSpace));
}

#[test]
fn segments_over_the_segment_size() {
    let mut sealer = StreamSealer::new(small(4), &HoldKey::from_bytes([1; 32])).unwrap();
    sealer.push(b"abcd").unwrap();
    assert_eq!(
        sealer.push(b"abcde"),
        Err(SealError::SegmentTooLong { index: 1, found: 5, max: 4 })
    );
    let error = StreamSealer::new(small(0), &HoldKey::from_bytes([1; 32])).unwrap_err();
    assert_eq!(error, SealError::SegmentBytes { found: 0, max: SEGMENT_BYTES });
}

proptest! {
    #![proptest_config(cases(300))]

    #[test]
    fn a_stream_equals_a_file((segment, file) in files(), secret: bool) {
        let options = small(segment);
        let options = if secret { with_secret(options, "s") } else { options };
        let segments = if file.is_empty() { Vec::new() } else { cut(&file, segment) };
        equals_a_file(&segments, &options);
        prop_assert_eq!(segments.concat(), file);
    }
}
