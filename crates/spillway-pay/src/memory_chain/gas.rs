//! What things cost on the twin: near what the real contracts were measured at, on the high side.

/// Every transaction, and what a creation adds (EIP-2).
const TRANSACTION: u64 = 21_000;
const CREATION: u64 = 32_000;

/// A byte of call data (EIP-2028).
const ZERO_BYTE: u64 = 4;
const BYTE: u64 = 16;

/// A question as a transaction.
pub(super) const VIEW: u64 = 3_000;
/// `approve`.
pub(super) const APPROVE: u64 = 25_000;
/// `transfer` of tokens.
pub(super) const TRANSFER: u64 = 30_000;
/// `payDirect` but for its entries: the record, and `transferFrom`.
pub(super) const PAY: u64 = 65_000;
/// An entry whose payee has never had credit.
pub(super) const FRESH_PAYEE: u64 = 22_500;
/// An entry whose payee has credit.
pub(super) const KNOWN_PAYEE: u64 = 5_300;
/// A further entry of the same payee in one payment.
pub(super) const REPEATED_PAYEE: u64 = 600;
/// `withdraw`.
pub(super) const WITHDRAW: u64 = 45_000;
/// The constructor and the code of a contract.
pub(super) const CREATE: u64 = 1_000_000;

/// What a transaction costs before it does anything.
pub(super) fn intrinsic(data: &[u8], creates: bool) -> u64 {
    let bytes: u64 = data.iter().map(|&byte| if byte == 0 { ZERO_BYTE } else { BYTE }).sum();
    TRANSACTION + bytes + if creates { CREATION } else { 0 }
}
