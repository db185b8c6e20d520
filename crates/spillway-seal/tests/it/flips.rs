use spillway_seal::{Compression, DataMap, Entry, OpenError, SealOptions};
use spillway_types::ChunkAddress;

use crate::support::{Sealed, random, seal_file, small};

/// Every bit of a chunk: refused by its address and, if somebody had stored the changed chunk under
/// its own address and put that into the map, by its tag.
fn every_bit_is_refused(sealed: &Sealed) {
    let mut opener = sealed.map.opener();
    let (keys, entry) = (sealed.map.key_hashes(0).unwrap(), sealed.map.entries()[0]);
    let chunk = &sealed.chunks[0].bytes;
    for bit in 0..chunk.len() * 8 {
        let mut wrong = chunk.to_vec();
        wrong[bit / 8] ^= 1 << (bit % 8);
        let found = ChunkAddress::of(&wrong);
        assert_eq!(
            opener.open(&keys, &entry, &wrong),
            Err(OpenError::Address { expected: entry.address, found })
        );
        let adopted = Entry { address: found, ..entry };
        assert_eq!(opener.open(&keys, &adopted, &wrong), Err(OpenError::Tag));
    }
    assert_eq!(opener.open(&keys, &entry, chunk).unwrap().len(), entry.len as usize);
}

#[test]
fn any_bit_of_a_chunk() {
    every_bit_is_refused(&seal_file(b"", &SealOptions::default()));
    every_bit_is_refused(&seal_file(&random(100, 1), &SealOptions::default()));
    let compressed = seal_file(&[b'z'; 500], &SealOptions::default());
    assert!(compressed.chunks[0].bytes.len() < 100);
    every_bit_is_refused(&compressed);
}

#[test]
fn any_bit_of_a_large_chunk_sampled() {
    let options = SealOptions { compression: Compression::Off, ..SealOptions::default() };
    let sealed = seal_file(&random(options.segment_bytes, 2), &options);
    let mut opener = sealed.map.opener();
    let keys = sealed.map.key_hashes(0).unwrap();
    let len = sealed.chunks[0].bytes.len();
    for at in [0, 11, 12, 13, len / 2, len - 17, len - 16, len - 1] {
        let mut wrong = sealed.chunks[0].bytes.to_vec();
        wrong[at] ^= 0x80;
        let entry = Entry { address: ChunkAddress::of(&wrong), ..sealed.map.entries()[0] };
        assert_eq!(opener.open(&keys, &entry, &wrong), Err(OpenError::Tag), "byte {at}");
    }
}

#[test]
fn any_bit_of_a_data_map() {
    let sealed = seal_file(&random(150, 3), &small(50));
    let encoded = sealed.map.encode();
    for bit in 0..encoded.len() * 8 {
        let mut wrong = encoded.clone();
        wrong[bit / 8] ^= 1 << (bit % 8);
        // Which error it is depends on the field; that there is one is all that can be said of all.
        let decoded = DataMap::decode(&wrong);
        assert!(decoded.is_err(), "bit {bit} of a data map was believed: {decoded:?}");
    }
    assert_eq!(DataMap::decode(&encoded), Ok(sealed.map));
}

#[test]
fn any_cut_of_a_chunk_or_a_map() {
    let sealed = seal_file(&random(60, 4), &small(50));
    let mut opener = sealed.map.opener();
    let (keys, entry) = (sealed.map.key_hashes(0).unwrap(), sealed.map.entries()[0]);
    let chunk = &sealed.chunks[0].bytes;
    for len in 29..chunk.len() {
        let cut = &chunk[..len];
        let entry = Entry { address: ChunkAddress::of(cut), ..entry };
        assert_eq!(opener.open(&keys, &entry, cut), Err(OpenError::Tag), "{len}");
    }
}
