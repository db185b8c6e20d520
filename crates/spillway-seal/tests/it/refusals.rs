use spillway_seal::{
    Compression, Entry, FileSecret, KeyHashes, OpenError, Opener, SealError, SealOptions, Sealer,
};
use spillway_types::{ChunkAddress, SegmentHash, limits};

use crate::support::{random, seal_file, small, with_secret};

#[test]
fn a_source_that_changed_between_the_passes() {
    let hashes = [SegmentHash::of(b"first"), SegmentHash::of(b"second")];
    let mut sealer = Sealer::new(FileSecret::public(), 0, Compression::Auto);
    let keys = KeyHashes::at(&hashes, 1).unwrap();
    assert_eq!(sealer.seal(&keys, b"changed"), Err(SealError::SourceChanged { index: 1 }));
}

#[test]
fn segments_that_fit_no_chunk() {
    let segment = vec![0; limits::SEGMENT_BYTES + 1];
    let keys = KeyHashes::at(&[SegmentHash::of(&segment)], 0).unwrap();
    let mut sealer = Sealer::new(FileSecret::public(), 0, Compression::Auto);
    assert_eq!(
        sealer.seal(&keys, &segment),
        Err(SealError::SegmentTooLong {
            index: 0,
            found: limits::SEGMENT_BYTES + 1,
            max: limits::SEGMENT_BYTES
        })
    );
}

#[test]
fn segment_sizes_that_are_not_possible() {
    for found in [0, limits::SEGMENT_BYTES + 1, usize::MAX] {
        let expected = SealError::SegmentBytes { found, max: limits::SEGMENT_BYTES };
        assert_eq!(small(found).check(), Err(expected));
    }
    assert_eq!(SealOptions::default().check(), Ok(()));
    assert_eq!(small(1).check(), Ok(()));
}

#[test]
fn chunks_shorter_or_longer_than_any() {
    let sealed = seal_file(b"x", &SealOptions::default());
    let (keys, entry) = (sealed.map.key_hashes(0).unwrap(), sealed.map.entries()[0]);
    for found in [0, 28, limits::MAX_CHUNK_BYTES + 1] {
        let chunk = vec![0; found];
        let entry = Entry { address: ChunkAddress::of(&chunk), ..entry };
        assert_eq!(
            sealed.map.opener().open(&keys, &entry, &chunk),
            Err(OpenError::ChunkLen { found, min: 29, max: limits::MAX_CHUNK_BYTES })
        );
    }
}

#[test]
fn declared_lengths_that_no_segment_has() {
    let sealed = seal_file(b"x", &SealOptions::default());
    let keys = sealed.map.key_hashes(0).unwrap();
    let max = u32::try_from(limits::SEGMENT_BYTES).unwrap();
    for len in [max + 1, u32::MAX] {
        let entry = Entry { len, ..sealed.map.entries()[0] };
        assert_eq!(
            sealed.map.opener().open(&keys, &entry, &sealed.chunks[0].bytes),
            Err(OpenError::DeclaredLen { declared: u64::from(len), max: u64::from(max) })
        );
    }
}

#[test]
fn keys_of_another_place_level_secret_or_neighbour() {
    let options = with_secret(small(50), "secret");
    let sealed = seal_file(&random(200, 1), &options);
    let (entry, chunk) = (sealed.map.entries()[1], &sealed.chunks[1].bytes);
    let keys = sealed.map.key_hashes(1).unwrap();
    let secret = sealed.map.secret();
    let open = |opener: &mut Opener, keys| opener.open(&keys, &entry, chunk);
    assert_eq!(open(&mut sealed.map.opener(), keys).unwrap(), random(200, 1)[50..100]);
    for wrong in [0, 2, 3] {
        let keys = sealed.map.key_hashes(wrong).unwrap();
        assert_eq!(open(&mut sealed.map.opener(), keys), Err(OpenError::Tag));
    }
    assert_eq!(open(&mut Opener::new(secret.clone(), 1), keys), Err(OpenError::Tag));
    assert_eq!(open(&mut Opener::new(FileSecret::public(), 0), keys), Err(OpenError::Tag));
    let mut hashes: Vec<SegmentHash> = sealed.map.entries().iter().map(|e| e.hash).collect();
    hashes[3] = SegmentHash([0; 32]);
    let keys = KeyHashes::at(&hashes, 1).unwrap();
    assert_eq!(open(&mut sealed.map.opener(), keys), Err(OpenError::Tag));
}

#[test]
fn lengths_and_hashes_that_are_not_the_segments() {
    for file in [random(50, 2), vec![1; 500]] {
        let sealed = seal_file(&file, &SealOptions::default());
        let (keys, entry) = (sealed.map.key_hashes(0).unwrap(), sealed.map.entries()[0]);
        let chunk = &sealed.chunks[0].bytes;
        for len in [0, entry.len - 1, entry.len + 1, entry.len * 2] {
            assert_eq!(
                sealed.map.opener().open(&keys, &Entry { len, ..entry }, chunk),
                Err(OpenError::Len { declared: u64::from(len), found: u64::from(entry.len) })
            );
        }
        let entry = Entry { hash: SegmentHash([9; 32]), ..entry };
        assert_eq!(sealed.map.opener().open(&keys, &entry, chunk), Err(OpenError::Hash));
    }
}

#[test]
fn secrets_are_not_printed() {
    let options = with_secret(SealOptions::default(), "hunter2");
    let secret = options.file_secret(&[SegmentHash::of(b"")]);
    assert_eq!(format!("{secret:?}"), "FileSecret(…)");
    assert_eq!(format!("{:?}", FileSecret::public()), "FileSecret(public)");
    assert!(!format!("{options:?}").contains("hunter2"));
}
