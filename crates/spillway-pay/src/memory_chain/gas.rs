//! What things cost on the twin: near what the real contracts were measured at, on the high side.

/// A question as a transaction.
pub(super) const VIEW: u64 = 3_000;
/// `approve`.
pub(super) const APPROVE: u64 = 25_000;
/// `transfer` of tokens.
pub(super) const TRANSFER: u64 = 30_000;
/// `payDirect` but for its entries: the record, and `transferFrom`.
pub(super) const PAY: u64 = 60_000;
/// A share whose payee has never had credit.
pub(super) const FRESH_PAYEE: u64 = 22_200;
/// A share whose payee has credit.
pub(super) const KNOWN_PAYEE: u64 = 5_100;
/// A further share of the same payee in one call.
pub(super) const REPEATED_PAYEE: u64 = 400;
/// `withdraw`.
pub(super) const WITHDRAW: u64 = 45_000;
/// `commit`, or `commitMany` of one batch: the record, and `transferFrom`.
pub(super) const COMMIT: u64 = 52_100;
/// A further batch of `commitMany`.
pub(super) const FURTHER_BATCH: u64 = 27_700;
/// `settle` but for its wins: looking up record and seed.
pub(super) const SETTLE: u64 = 12_000;
/// A win whose draw is done.
pub(super) const DONE: u64 = 700;
/// A win but for levels and shares.
pub(super) const WIN: u64 = 5_900;
/// A level of a win's proof.
pub(super) const LEVEL: u64 = 500;
/// Writing down what is settled, once a call.
pub(super) const SETTLED: u64 = 5_000;
/// Sending the tips to somebody who has tokens.
pub(super) const TIPS: u64 = 17_000;
/// `refund` but for its draws.
pub(super) const REFUND: u64 = 26_000;
/// Looking at one draw in `refund`.
pub(super) const REFUND_DRAW: u64 = 400;
/// The post that arms a block.
pub(super) const ARM: u64 = 27_500;
/// The post that takes a block's hash; with a seed that is known it takes less.
pub(super) const CAPTURE: u64 = 32_500;
/// The constructors and codes of the contracts.
pub(super) const CREATE_TOKEN: u64 = 1_240_000;
pub(super) const CREATE_BEACON: u64 = 270_000;
pub(super) const CREATE_VAULT: u64 = 2_370_000;
