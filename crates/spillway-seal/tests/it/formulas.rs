//! The formulas of the protocol, computed here step by step from its primitives.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use spillway_seal::{Compression, FileSecret, KeyHashes, SealOptions, UserSecret};
use spillway_types::SegmentHash;

use crate::support::{cut, random, seal_file, small, with_secret};

fn chunk(
    secret: [u8; 32],
    level: u8,
    index: u64,
    hashes: [SegmentHash; 3],
    payload: &[u8],
) -> Vec<u8> {
    let mut material = secret.to_vec();
    material.push(level);
    material.extend_from_slice(&index.to_le_bytes());
    for hash in hashes {
        material.extend_from_slice(hash.as_bytes());
    }
    let key = blake3::derive_key("spillway/segment-key/v1", &material);
    let mut material = key.to_vec();
    material.extend_from_slice(blake3::hash(payload).as_bytes());
    let nonce = blake3::derive_key("spillway/nonce/v1", &material);
    let mut sealed = payload.to_vec();
    LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &key).unwrap())
        .seal_in_place_append_tag(
            Nonce::try_assume_unique_for_key(&nonce[..12]).unwrap(),
            Aad::empty(),
            &mut sealed,
        )
        .unwrap();
    [&nonce[..12], &sealed].concat()
}

fn payload(segment: &[u8], compressed: bool) -> Vec<u8> {
    if compressed {
        [vec![1], zstd::bulk::compress(segment, 1).unwrap()].concat()
    } else {
        [&[0], segment].concat()
    }
}

fn check(file: &[u8], options: &SealOptions, secret: [u8; 32], compressed: bool) {
    let segments = cut(file, options.segment_bytes);
    let count = segments.len();
    let hash = |index: usize| SegmentHash::of(segments[index % count]);
    let sealed = seal_file(file, options);
    for (index, segment) in segments.iter().enumerate() {
        let hashes = [hash(index), hash(index + 2 * count - 1), hash(index + 2 * count - 2)];
        let expected = chunk(secret, 0, index as u64, hashes, &payload(segment, compressed));
        assert_eq!(sealed.chunks[index].bytes, expected, "segment {index} of {count}");
    }
}

#[test]
fn chunks_of_one_to_five_segments() {
    for count in 1..=5 {
        check(&random(count * 30, 1), &small(30), [0; 32], false);
        check(&vec![3; count * 300], &small(300), [0; 32], true);
    }
    check(&[], &SealOptions::default(), [0; 32], false);
}

#[test]
fn chunks_with_a_secret() {
    let file = random(100, 2);
    let hashes: Vec<u8> =
        cut(&file, 30).iter().flat_map(|segment| SegmentHash::of(segment).0).collect();
    let material = [b"my secret", blake3::hash(&hashes).as_bytes().as_slice()].concat();
    let secret = blake3::derive_key("spillway/file-secret/v1", &material);
    check(&file, &with_secret(small(30), "my secret"), secret, false);
    let compressing = SealOptions { compression: Compression::On, ..small(300) };
    let dull = vec![0; 900];
    let hashes: Vec<SegmentHash> =
        cut(&dull, 300).iter().map(|segment| SegmentHash::of(segment)).collect();
    let secret = FileSecret::derive(&UserSecret::new(b"my secret".to_vec()), &hashes);
    check(&dull, &with_secret(compressing, "my secret"), *secret.as_bytes(), true);
}

#[test]
fn the_hashes_of_a_key_are_cyclic() {
    let hashes: Vec<SegmentHash> = (0..4).map(|byte| SegmentHash([byte; 32])).collect();
    assert_eq!(KeyHashes::at(&hashes, 4), None);
    assert_eq!(KeyHashes::at(&[], 0), None);
    let third = KeyHashes::at(&hashes, 2).unwrap();
    assert_eq!((third.index(), third.own()), (2, hashes[2]));
    assert_eq!(KeyHashes::at(&hashes[..1], 0).unwrap().own(), hashes[0]);
}
