//! Keys that are the same in every run: for test networks only, everybody knows them.

/// What the bytes of a made-up key are, but for its number. Below the order of secp256k1.
const REWARD: u8 = 0x52;

/// The key of the account that node `index` is paid to.
pub(crate) fn reward(index: usize) -> [u8; 32] {
    let mut key = [REWARD; 32];
    key[24..].copy_from_slice(&(index as u64).to_be_bytes());
    key
}
