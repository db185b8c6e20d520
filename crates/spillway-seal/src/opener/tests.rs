//! Chunks that no sealer makes: their payloads are crafted, their keys and tags are right.

use zstd::zstd_safe::{CCtx, CParameter, compress_bound};

use super::*;
use crate::{key_hashes::nonce, sealer::encrypt};

/// A chunk of this payload and the entry that leads to it, declaring `plaintext`'s hash.
fn crafted(payload: &[u8], declared: usize, plaintext: &[u8]) -> (KeyHashes, Entry, Vec<u8>) {
    let hash = SegmentHash::of(plaintext);
    let keys = KeyHashes::at(&[hash], 0).unwrap();
    let key = keys.key(&FileSecret::public(), 0);
    let nonce = nonce(&key, payload);
    let mut ciphertext = payload.to_vec();
    let tag = encrypt(&key, nonce, &mut ciphertext);
    let chunk = [&nonce, ciphertext.as_slice(), tag.as_ref()].concat();
    let len = u32::try_from(declared).unwrap();
    (keys, Entry { address: ChunkAddress::of(&chunk), hash, len }, chunk)
}

fn open(payload: &[u8], declared: usize, plaintext: &[u8]) -> Result<Bytes, OpenError> {
    let (keys, entry, chunk) = crafted(payload, declared, plaintext);
    Opener::new(FileSecret::public(), 0).open(&keys, &entry, &chunk)
}

fn frame(plaintext: &[u8], with_len: bool) -> Vec<u8> {
    let mut context = CCtx::create();
    context.set_parameter(CParameter::ContentSizeFlag(with_len)).unwrap();
    let mut payload = Vec::with_capacity(compress_bound(plaintext.len()));
    context.compress2(&mut payload, plaintext).unwrap();
    payload.insert(0, FLAG_ZSTD);
    payload
}

#[test]
fn unknown_flags() {
    for found in 2..=255 {
        assert_eq!(open(&[found, 1, 2], 2, &[1, 2]), Err(OpenError::Flag { found }));
        assert_eq!(open(&[found, 1, 2], 1, &[1]), Err(OpenError::Flag { found }));
    }
}

#[test]
fn a_bomb_that_says_how_large_it_is() {
    let bomb = frame(&vec![0; 64 << 20], true);
    assert!(bomb.len() < 10_000);
    let declared = limits::SEGMENT_BYTES;
    assert_eq!(
        open(&bomb, declared, &[]),
        Err(OpenError::Len { declared: declared as u64, found: 64 << 20 })
    );
}

#[test]
fn a_bomb_that_does_not_say_it() {
    let bomb = frame(&vec![0; 64 << 20], false);
    assert_eq!(
        open(&bomb, 1000, &[]),
        Err(OpenError::Decompress { reason: "Destination buffer is too small" })
    );
}

#[test]
fn a_bomb_in_a_second_frame() {
    let plaintext = [0; 1000];
    let mut bomb = frame(&plaintext, true);
    bomb.extend_from_slice(&frame(&vec![0; 64 << 20], true)[1..]);
    assert_eq!(
        open(&bomb, 1000, &plaintext),
        Err(OpenError::Decompress { reason: "Destination buffer is too small" })
    );
}

#[test]
fn frames_without_a_length_open_when_they_are_right() {
    let plaintext = vec![5; 1000];
    let payload = frame(&plaintext, false);
    assert_eq!(open(&payload, 1000, &plaintext).unwrap(), plaintext);
    assert_eq!(
        open(&payload, 1001, &plaintext),
        Err(OpenError::Len { declared: 1001, found: 1000 })
    );
}

#[test]
fn payloads_that_are_no_frame() {
    for payload in [&[FLAG_ZSTD][..], &[FLAG_ZSTD, 1, 2, 3], &frame(&[7; 999], true)[..12]] {
        let found = open(payload, 999, &[7; 999]);
        assert!(matches!(found, Err(OpenError::Decompress { .. } | OpenError::Len { .. })));
    }
    assert_eq!(
        open(&[FLAG_ZSTD, 1, 2, 3], 999, &[]),
        Err(OpenError::Decompress { reason: "Src size is incorrect" })
    );
}

#[test]
fn a_compressed_payload_as_long_as_a_raw_one() {
    // The buffer is chosen by the length; the flag decides what is in it.
    let plaintext = vec![9; 30];
    let payload = frame(&plaintext, true);
    let padded = payload.len() - 1;
    assert_eq!(
        open(&payload, padded, &plaintext),
        Err(OpenError::Len { declared: padded as u64, found: 30 })
    );
}

#[test]
fn right_bytes_with_another_hash() {
    assert_eq!(open(&[FLAG_RAW, 1, 2], 2, &[1, 3]), Err(OpenError::Hash));
    assert_eq!(open(&frame(&[1; 500], true), 500, &[2; 500]), Err(OpenError::Hash));
    assert_eq!(open(&[FLAG_RAW, 1, 2], 2, &[1, 2]).unwrap(), [1, 2][..]);
}

#[test]
fn damaged_frames_with_right_tags_never_give_plaintext() {
    let mut rng = fastrand::Rng::with_seed(1);
    let plaintext: Vec<u8> = (0..2000).map(|_| rng.u8(..4)).collect();
    let sound = frame(&plaintext, true);
    assert_eq!(open(&sound, 2000, &plaintext).unwrap(), plaintext);
    for _ in 0..2000 {
        let mut damaged = sound.clone();
        let at = rng.usize(1..damaged.len());
        damaged[at] ^= rng.u8(1..);
        // Reserved bits may be ignored by zstd; what opens has the right hash all the same.
        if let Ok(opened) = open(&damaged, 2000, &plaintext) {
            assert_eq!(opened, plaintext);
        }
    }
}

#[test]
fn sealers_and_openers_move_between_threads() {
    fn assert_send<T: Send>() {}
    assert_send::<Opener>();
    assert_send::<crate::Sealer>();
    assert_send::<crate::StreamSealer>();
    assert_send::<crate::Unpacker>();
}
