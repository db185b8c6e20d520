use std::sync::Arc;

use spillway_disk::Clock;
use spillway_types::{Atto, EvmAddress, Wei};

use crate::{ChainError, Windows};

/// When transactions are put into blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mining {
    /// Each at once, in a block of its own.
    Automatic,
    /// When [`MemoryChain::mine`] is called.
    Manual,
}

/// A chain in memory.
#[derive(Clone, Debug)]
pub struct MemoryChainOptions {
    /// Its id.
    pub chain_id: u64,
    /// When transactions are put into blocks.
    pub mining: Mining,
    /// Block times follow this clock, and never go back.
    pub clock: Arc<dyn Clock>,
    /// The base fee of every block.
    pub base_fee: Wei,
    /// The finalized block is this many behind the newest.
    pub finality: u64,
}

/// What is asked of a chain: for faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum ChainOp {
    /// A question.
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
    /// The call is made, and its answer is lost: the answer is this error.
    Lose(ChainError),
    /// A transaction is acknowledged and forgotten.
    Forget,
}

/// Says what goes wrong with a call.
pub type FaultHook = Box<dyn FnMut(ChainOp) -> Option<ChainFault> + Send>;

/// The twin of [`crate::RpcChain`]. Clones show the same chain.
#[derive(Clone, Debug)]
pub struct MemoryChain {
    options: MemoryChainOptions,
}

impl MemoryChain {
    /// An empty chain.
    pub fn new(options: MemoryChainOptions) -> Self {
        Self { options }
    }

    /// Puts a token at this address, all of it owned by `owner`.
    pub fn put_token(&self, token: EvmAddress, owner: EvmAddress, supply: Atto) {
        unimplemented!("{token}{owner}{supply}{:?}", self.options)
    }

    /// Puts a vault at this address.
    pub fn put_vault(&self, vault: EvmAddress, token: EvmAddress, windows: Windows) {
        unimplemented!("{vault}{token}{windows:?}")
    }

    /// Sets an account's coins.
    pub fn set_coins(&self, account: EvmAddress, coins: Wei) {
        unimplemented!("{account}{coins}")
    }

    /// Moves tokens without a transaction.
    pub fn give_tokens(&self, token: EvmAddress, to: EvmAddress, amount: Atto) {
        unimplemented!("{token}{to}{amount}")
    }

    /// Mines this many blocks; the first takes all that waits.
    pub fn mine(&self, blocks: u64) {
        unimplemented!("{blocks}")
    }

    /// Takes the newest blocks back; their transactions are gone.
    pub fn reorg(&self, depth: u64) {
        unimplemented!("{depth}")
    }

    /// Asks this for a fault at every call from now on.
    pub fn set_faults(&self, hook: Option<FaultHook>) {
        unimplemented!("{}", hook.is_some())
    }
}
