//! What things cost on the twin: near what the real contracts were measured at, on the high side.

/// A question as a transaction.
pub(super) const VIEW: u64 = 3_000;
/// `approve`.
pub(super) const APPROVE: u64 = 25_000;
/// `transfer` of tokens.
pub(super) const TRANSFER: u64 = 30_000;
/// `payDirect` but for its entries: the record, and `transferFrom`.
pub(super) const PAY: u64 = 60_000;
/// An entry whose payee has never had credit.
pub(super) const FRESH_PAYEE: u64 = 22_200;
/// An entry whose payee has credit.
pub(super) const KNOWN_PAYEE: u64 = 5_100;
/// A further entry of the same payee in one payment.
pub(super) const REPEATED_PAYEE: u64 = 400;
/// `withdraw`.
pub(super) const WITHDRAW: u64 = 45_000;
/// The constructor and the code of a contract.
pub(super) const CREATE: u64 = 1_000_000;
