use std::path::Path;

use spillway_types::Win;

use super::files::{FurtherProof, Kept, decode, encode, proof_key, proof_path, win_key, win_path};

/// Further proofs and wins, as they are and with their checksum made right.
pub(crate) fn proof_file(input: &[u8]) {
    let sealed = input.split_last_chunk::<4>().map(|(rest, _)| {
        let crc = crc32fast::hash(rest).to_le_bytes();
        [rest, &crc].concat()
    });
    for bytes in [Some(input.to_vec()), sealed].into_iter().flatten() {
        kept::<FurtherProof>(&bytes);
        kept::<Win>(&bytes);
    }
}

fn kept<T: Kept + PartialEq + std::fmt::Debug>(bytes: &[u8]) {
    if let Ok(kept) = decode::<T>(bytes) {
        assert_eq!(decode::<T>(&encode(&kept)), Ok(kept));
    }
}

/// The names of both.
pub(crate) fn proof_name(input: &[u8]) {
    let Ok(name) = std::str::from_utf8(input) else { return };
    let name = Path::new(name);
    if let Some(key) = proof_key(name) {
        assert_eq!(proof_path(key).file_name(), Some(name.as_os_str()));
    }
    if let Some(key) = win_key(name) {
        assert_eq!(win_path(key).file_name(), Some(name.as_os_str()));
    }
}
