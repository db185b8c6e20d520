//! What a transaction costs before its contract does anything.

/// Every transaction (EIP-2), and what a creation adds.
const TRANSACTION: u64 = 21_000;
const CREATION: u64 = 32_000;
/// A byte of call data (EIP-2028).
const ZERO_BYTE: u64 = 4;
const BYTE: u64 = 16;
/// The least that a byte of call data costs, execution included (EIP-7623).
const FLOOR_ZERO_BYTE: u64 = 10;
const FLOOR_BYTE: u64 = 40;

/// Gas of a transaction with this data whose contract uses `execution`.
pub(crate) fn transaction_gas(data: &[u8], creates: bool, execution: u64) -> u64 {
    let bytes = data.iter().filter(|&&byte| byte != 0).count() as u64;
    let zeros = data.len() as u64 - bytes;
    let creation = if creates { CREATION } else { 0 };
    let used = TRANSACTION + creation + bytes * BYTE + zeros * ZERO_BYTE + execution;
    used.max(TRANSACTION + bytes * FLOOR_BYTE + zeros * FLOOR_ZERO_BYTE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn execution_counts_until_the_floor_is_reached() {
        assert_eq!(transaction_gas(&[], false, 0), 21_000);
        assert_eq!(transaction_gas(&[], true, 5), 53_005);
        assert_eq!(transaction_gas(&[0, 1], false, 1_000), 22_020);
        assert_eq!(transaction_gas(&[0, 1], false, 0), 21_050);
    }
}
