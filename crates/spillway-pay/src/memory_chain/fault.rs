use crate::ChainError;

/// What is asked of a chain: for faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum ChainOp {
    /// Any other question.
    Read,
    /// A question for a payment's record.
    Record,
    /// A question for a receipt.
    Receipt,
    /// A transaction.
    SendRaw,
}

/// What goes wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ChainFault {
    /// The call is not made; the answer is this error.
    Refuse(ChainError),
    /// The call is made and its answer is lost: the answer is this error.
    Lose(ChainError),
    /// A transaction is acknowledged and forgotten. Questions are not concerned.
    Forget,
    /// A question is answered from the state of so many blocks before, as by a replica that lags.
    /// Transactions are not concerned.
    Lag(u16),
}

/// Says what goes wrong with a call.
pub type FaultHook = Box<dyn FnMut(ChainOp) -> Option<ChainFault> + Send>;
