/// Bytes that do not compress, always the same for a seed.
pub fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    fastrand::Rng::with_seed(seed).fill(&mut bytes);
    bytes
}

/// Text that compresses, always the same for a seed.
pub fn words(seed: u64, len: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(seed);
    let list = ["segment ", "chunk ", "quote ", "receipt ", "of ", "the ", "vault\n"];
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        bytes.extend_from_slice(list[random.usize(..list.len())].as_bytes());
    }
    bytes.truncate(len);
    bytes
}
