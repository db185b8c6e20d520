use std::time::Duration;

use spillway_pay::{Anvil, MemoryChain, Mining};
use spillway_types::{EvmAddress, TxHash, Wei};

use super::TurboClock;

/// What only a test may do to a chain.
pub(crate) enum Control {
    Memory { chain: MemoryChain, clock: TurboClock },
    Anvil(Anvil),
}

impl Control {
    pub(crate) async fn set_coins(&self, account: EvmAddress, coins: Wei) {
        match self {
            Self::Memory { chain, .. } => chain.set_coins(account, coins),
            Self::Anvil(anvil) => anvil.set_coins(account, coins).await.unwrap(),
        }
    }

    pub(crate) async fn mine(&self, blocks: u64) {
        match self {
            Self::Memory { chain, .. } => chain.mine(blocks),
            Self::Anvil(anvil) => anvil.mine(blocks).await.unwrap(),
        }
    }

    pub(crate) async fn set_automine(&self, on: bool) {
        match self {
            Self::Memory { chain, .. } => {
                chain.set_mining(if on { Mining::Automatic } else { Mining::Manual });
            }
            Self::Anvil(anvil) => anvil.set_automine(on).await.unwrap(),
        }
    }

    /// The next block is so much later.
    pub(crate) async fn advance(&self, by: Duration) {
        match self {
            Self::Memory { clock, .. } => clock.advance(by),
            Self::Anvil(anvil) => anvil.advance(by).await.unwrap(),
        }
    }

    pub(crate) async fn reorg(&self, depth: u64) {
        match self {
            Self::Memory { chain, .. } => chain.reorg(depth),
            Self::Anvil(anvil) => anvil.reorg(depth).await.unwrap(),
        }
    }

    pub(crate) async fn drop_transaction(&self, hash: TxHash) {
        match self {
            Self::Memory { chain, .. } => chain.drop_transaction(hash),
            Self::Anvil(anvil) => anvil.drop_transaction(hash).await.unwrap(),
        }
    }
}
