//! Keeps the beacon of a test network going. **Not for money**: its seeds are hashes of blocks that
//! one machine makes at will. A network with real money has a beacon that nobody has to keep.
//!
//! No tasks and nothing on disk: whoever runs the network calls [`Keeper::tend`] now and then. A
//! crash between the two posts of a seed leaves an armed boundary; the next round finds it.

use std::{fmt, sync::Arc, time::Duration};

use alloy::{
    consensus::TxEip1559,
    primitives::{Bytes, TxKind, U64, U256},
    sol_types::SolCall,
};
use serde_json::Value;
use spillway_disk::Clock;
use spillway_types::{EvmAddress, TxHash, UnixTime};
use tokio::sync::Mutex;

use crate::{
    Call, Chain, ChainError, PayError, PayFailure, RpcChain, RpcOptions, Wallet,
    contracts::{IBeacon, address},
};

/// Seeds that one round makes at most: 2 × 64 posts of 54k gas are 7 M, a block's worth on any
/// chain, and far fewer blocks than the 256 for which a hash is kept.
const MAX_SEEDS_A_ROUND: usize = 64;

/// How often a round posts for what is missing: once to arm, once to take the hashes, once more for
/// boundaries that somebody else armed too long ago.
const PASSES: usize = 4;

/// Blocks that are mined after each pass: the beacon arms two blocks ahead.
const LEAD: u64 = 2;

/// Gas of a post: twice what the dearer one uses.
const POST_GAS: u64 = 110_000;

/// Pause between looks at a transaction, and how long is looked.
const POLL: Duration = Duration::from_millis(10);
const PATIENCE: Duration = Duration::from_mins(1);

/// Who keeps which beacon.
#[derive(Debug)]
pub struct KeeperOptions {
    /// An Anvil: the keeper mines blocks there.
    pub rpc: RpcOptions,
    /// Time, for waiting.
    pub clock: Arc<dyn Clock>,
    /// Who posts. Nothing else may send with it: its nonces are the keeper's. It needs coins for
    /// gas, about 110k units a seed.
    pub wallet: Wallet,
    /// The vault whose beacon is kept.
    pub vault: EvmAddress,
}

/// Posts the seeds that a test network's batches are drawn by.
pub struct Keeper {
    chain: RpcChain,
    clock: Arc<dyn Clock>,
    wallet: Wallet,
    vault: EvmAddress,
    /// All boundaries up to this time have their seeds, or need none; `None` before the first round.
    done: Mutex<Option<UnixTime>>,
}

impl Keeper {
    /// A keeper; nothing is asked yet.
    ///
    /// # Errors
    /// [`ChainError::BadUrl`].
    pub fn new(options: KeeperOptions) -> Result<Self, ChainError> {
        let KeeperOptions { rpc, clock, wallet, vault } = options;
        Ok(Self { chain: RpcChain::new(rpc)?, clock, wallet, vault, done: Mutex::new(None) })
    }

    /// Makes the missing seeds of boundaries that have passed, the oldest first and at most 64, and
    /// says how many. Less than 64 means that nothing is left to do; after a long jump in time, call
    /// again until then. It mines up to eight blocks if there is anything to do, and none if not.
    ///
    /// A new keeper begins at the beacon's newest seed. It leaves out boundaries whose batches cannot
    /// be settled any more, because the vault's claim window has passed. So it never has more to do
    /// than the seeds of one claim window, however far time has jumped, and an older gap, which only
    /// others who post out of order can leave, is for whoever needs that seed.
    ///
    /// # Errors
    /// When the chain cannot be asked or refuses, or the wallet has no coins. What is posted by then
    /// stays, and the next round goes on.
    ///
    /// # Cancel safety
    /// It may be dropped; the next round goes on. Rounds at the same time take turns.
    ///
    /// # Cost
    /// Gas of two transactions a seed.
    pub async fn tend(&self) -> Result<usize, PayError> {
        let mut done = self.done.lock().await;
        let (beacon, windows, now) = futures::try_join!(
            self.chain.beacon(self.vault),
            self.chain.windows(self.vault),
            self.chain.pending_time(),
        )?;
        let needed = now.saturating_sub(windows.claim);
        let from = done.unwrap_or(beacon.latest).max(needed);
        let due = Due { epoch: beacon.epoch, from, now }.boundaries();
        let mut open = self.without_seed(beacon.beacon, due.clone()).await?;
        let missing = open.len();
        for _ in 0..PASSES {
            if open.is_empty() {
                break;
            }
            self.post(beacon.beacon, &open).await?;
            self.mine().await?;
            open = self.without_seed(beacon.beacon, open).await?;
        }
        let through = match open.first() {
            Some(&first) => first.saturating_sub(beacon.epoch),
            None => due.last().copied().unwrap_or(from),
        };
        *done = Some(through);
        Ok(missing - open.len())
    }

    /// Those boundaries that have no seed.
    async fn without_seed(
        &self,
        beacon: EvmAddress,
        boundaries: Vec<UnixTime>,
    ) -> Result<Vec<UnixTime>, ChainError> {
        let mut open = Vec::new();
        for boundary in boundaries {
            if self.chain.seed_after(beacon, before(boundary)).await?.is_none() {
                open.push(boundary);
            }
        }
        Ok(open)
    }

    /// Posts once for each boundary that takes a post now, and waits until all are mined.
    async fn post(&self, beacon: EvmAddress, open: &[UnixTime]) -> Result<(), PayFailure> {
        let from = self.wallet.address();
        let fees = self.chain.fees().await?;
        let chain_id = self.chain.chain_id().await?;
        let mut nonce = self.chain.pending_nonce(from).await?;
        let mut sent = Vec::new();
        for &boundary in open {
            let call = IBeacon::postCall { t: U256::from(before(boundary).0), proof: Bytes::new() };
            let call = Call { from, to: beacon, data: call.abi_encode() };
            match self.chain.estimate_gas(&call).await {
                Ok(_) => {}
                // Armed and not mined yet, or a little early after all: the next pass or round.
                Err(ChainError::Reverted { .. }) => continue,
                Err(error) => return Err(error.into()),
            }
            let (hash, raw) = self.wallet.sign(TxEip1559 {
                chain_id,
                nonce,
                gas_limit: POST_GAS,
                max_fee_per_gas: fees.base.saturating_mul(2).saturating_add(fees.priority).0,
                max_priority_fee_per_gas: fees.priority.0,
                to: TxKind::Call(address(beacon)),
                input: call.data.into(),
                ..TxEip1559::default()
            });
            self.chain.send_raw(&raw).await?;
            sent.push(hash);
            nonce += 1;
        }
        for hash in sent {
            self.wait(hash).await?;
        }
        Ok(())
    }

    /// Waits until it is mined. Whether it did anything is seen by the seeds.
    async fn wait(&self, tx: TxHash) -> Result<(), PayFailure> {
        let started = self.clock.monotonic();
        while self.chain.receipt(tx).await?.is_none() {
            let waited = self.clock.monotonic().saturating_sub(started);
            if waited > PATIENCE {
                return Err(PayFailure::NotMined { tx, waited });
            }
            self.clock.sleep(POLL).await;
        }
        Ok(())
    }

    /// Mines the blocks of the lead. Without a distance in time, which would put the chain's clock
    /// forward for good.
    async fn mine(&self) -> Result<(), ChainError> {
        self.chain.read::<_, Option<Value>>("anvil_mine", (U64::from(LEAD),)).await.map(drop)
    }
}

/// The latest time whose seed is that of this boundary.
fn before(boundary: UnixTime) -> UnixTime {
    boundary.saturating_sub(Duration::from_secs(1))
}

/// Which boundaries of epochs a round looks at.
struct Due {
    epoch: Duration,
    from: UnixTime,
    now: UnixTime,
}

impl Due {
    /// Those later than `from` and not later than `now`, the oldest first, as many as a round takes.
    fn boundaries(&self) -> Vec<UnixTime> {
        let epoch = self.epoch.as_secs().max(1);
        let first = (self.from.0 / epoch).saturating_add(1);
        let times = (first..).map(|index| UnixTime(index.saturating_mul(epoch)));
        times.take_while(|&time| time <= self.now).take(MAX_SEEDS_A_ROUND).collect()
    }
}

impl fmt::Debug for Keeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keeper")
            .field("chain", &self.chain)
            .field("wallet", &self.wallet)
            .field("vault", &self.vault)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn due(epoch: u64, from: u64, now: u64) -> Vec<u64> {
        let epoch = Duration::from_secs(epoch);
        let due = Due { epoch, from: UnixTime(from), now: UnixTime(now) };
        due.boundaries().into_iter().map(|time| time.0).collect()
    }

    #[test]
    fn boundaries_between_two_times() {
        assert!(due(10, 20, 29).is_empty());
        assert_eq!(due(10, 19, 20), [20]);
        assert_eq!(due(10, 20, 50), [30, 40, 50]);
        assert!(due(10, 50, 20).is_empty());
        assert_eq!(due(1, 0, 1_000).len(), MAX_SEEDS_A_ROUND);
        assert!(due(7, u64::MAX, u64::MAX - 7).is_empty());
    }
}
