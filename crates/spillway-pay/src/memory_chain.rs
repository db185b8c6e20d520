//! The twin of the real chain, for tests and simulation: it decodes the real signed bytes and does
//! to its books what vault, beacon and token would do. Deterministic; no tasks; nothing survives it.
//!
//! Deliberately absent: the token's signatures. The vault's three calls that rest on them revert
//! here and say so; that they work is shown on a real chain.

mod batch;
mod beacon;
mod fault;
mod gas;
mod ledger;
mod token;
mod vault;
mod world;

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use alloy::primitives::{U256, keccak256};
use async_trait::async_trait;
use spillway_disk::Clock;
use spillway_types::{Atto, EvmAddress, PaymentId, RewardAddress, Seed, TxHash, UnixTime, Wei};

use self::{beacon::Beacon, ledger::Ledger, token::Token, vault::Vault, world::World};
use crate::{
    At, BeaconState, Block, Call, Chain, ChainError, Fees, RecordAt, TxReceipt, Windows,
    contracts::atto, rpc_error::unexpected,
};

pub use fault::{ChainFault, ChainOp, FaultHook};

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
    /// The finalized block is this many behind the newest; at most 511.
    pub finality: u64,
}

impl MemoryChainOptions {
    /// Anvil's chain id, base fee and finality, a block for every transaction.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            chain_id: 31_337,
            mining: Mining::Automatic,
            clock,
            base_fee: Wei(1_000_000_000),
            finality: 64,
        }
    }
}

/// How long there is between two seeds of a beacon that was put there: one a day.
const BEACON_EPOCH: Duration = Duration::from_hours(24);

/// The tip that gets a transaction in.
const PRIORITY_FEE: Wei = Wei(1_000_000_000);

/// The twin of [`crate::RpcChain`]. Clones show the same chain.
#[derive(Clone)]
pub struct MemoryChain {
    state: Arc<Mutex<State>>,
    chain_id: u64,
}

struct State {
    ledger: Ledger,
    faults: Option<FaultHook>,
}

impl MemoryChain {
    /// An empty chain.
    pub fn new(options: MemoryChainOptions) -> Self {
        let chain_id = options.chain_id;
        let state = State { ledger: Ledger::new(options), faults: None };
        Self { state: Arc::new(Mutex::new(state)), chain_id }
    }

    /// Puts a token at this address, all of it owned by `owner`.
    pub fn put_token(&self, token: EvmAddress, owner: EvmAddress, supply: Atto) {
        let balances = [(owner, U256::from(supply.0))].into();
        self.state().ledger.edit(|world| {
            world.tokens.insert(token, Token { balances, ..Token::default() });
        });
    }

    /// Puts a vault at this address, with a beacon of its own: a seed a day, none yet.
    pub fn put_vault(&self, vault: EvmAddress, token: EvmAddress, windows: Windows) {
        let mut beacon = vault;
        beacon.0[0] ^= 0xff;
        let mut state = self.state();
        let now = state.ledger.next_time();
        state.ledger.edit(|world| {
            world.beacons.insert(beacon, Beacon::new(BEACON_EPOCH, now));
            world.put_vault(vault, token, beacon, windows);
        });
    }

    /// Makes the seed known that draws all batches with this `upload_by` (and those of the same
    /// epoch), without anybody posting it: for tests. A seed that is known stays. Nothing happens
    /// without such a vault.
    pub fn put_seed(&self, vault: EvmAddress, upload_by: UnixTime, seed: Seed) {
        self.state().ledger.edit(|world| {
            let Some(vault) = world.vaults.get(&vault) else { return };
            let time = vault.windows.draw_time(upload_by);
            if let Some(beacon) = world.beacons.get_mut(&vault.beacon) {
                beacon.put(time, seed);
            }
        });
    }

    /// Every payment that the vault has recorded, with the time of its block. Nothing goes wrong with
    /// this question: it is for whoever judges.
    pub fn recorded(&self, vault: EvmAddress) -> BTreeMap<PaymentId, UnixTime> {
        let state = self.state();
        let (_, world) = state.ledger.at(At::Depth(0), 0);
        world.vaults.get(&vault).map(|vault| vault.records.clone()).unwrap_or_default()
    }

    /// Sets an account's coins.
    pub fn set_coins(&self, account: EvmAddress, coins: Wei) {
        self.state().ledger.edit(|world| {
            world.coins.insert(account, coins.0);
        });
    }

    /// Sets an account's tokens.
    pub fn set_tokens(&self, token: EvmAddress, account: EvmAddress, amount: Atto) {
        self.state().ledger.edit(|world| {
            let token = world.tokens.entry(token).or_default();
            token.balances.insert(account, U256::from(amount.0));
        });
    }

    /// Mines this many blocks; the first takes all that waits.
    pub fn mine(&self, blocks: u64) {
        let mut state = self.state();
        for _ in 0..blocks {
            state.ledger.mine();
        }
    }

    /// Whether transactions are mined at once. What waits stays until the next block.
    pub fn set_mining(&self, mining: Mining) {
        self.state().ledger.set_mining(mining);
    }

    /// Sets the base fee from the next block on.
    pub fn set_base_fee(&self, base_fee: Wei) {
        self.state().ledger.set_base_fee(base_fee);
    }

    /// Takes the newest blocks back and puts empty ones in their place; their transactions are
    /// gone.
    pub fn reorg(&self, depth: u64) {
        self.state().ledger.reorg(depth);
    }

    /// Forgets a waiting transaction.
    pub fn drop_transaction(&self, hash: TxHash) {
        self.state().ledger.drop_waiting(hash);
    }

    /// The transactions that wait, by sender and nonce.
    pub fn waiting(&self) -> Vec<TxHash> {
        self.state().ledger.waiting()
    }

    /// Asks this for a fault at every call from now on.
    pub fn set_faults(&self, hook: Option<FaultHook>) {
        self.state().faults = hook;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A question, with whatever goes wrong with it; the second argument is how far it lags.
    fn read<T>(
        &self,
        op: ChainOp,
        question: impl FnOnce(&Ledger, u16) -> Result<T, ChainError>,
    ) -> Result<T, ChainError> {
        let mut state = self.state();
        match state.faults.as_mut().and_then(|hook| hook(op)) {
            Some(ChainFault::Refuse(error) | ChainFault::Lose(error)) => Err(error),
            Some(ChainFault::Lag(blocks)) => question(&state.ledger, blocks),
            Some(ChainFault::Forget) | None => question(&state.ledger, 0),
        }
    }

    fn world<T>(&self, answer: impl FnOnce(&World) -> T) -> Result<T, ChainError> {
        self.read(ChainOp::Read, |ledger, lag| Ok(answer(ledger.at(At::Depth(0), lag).1)))
    }

    fn in_token(
        &self,
        token: EvmAddress,
        answer: impl FnOnce(&Token) -> Option<U256>,
    ) -> Result<Atto, ChainError> {
        self.world(|world| world.tokens.get(&token).map(|t| answer(t).map_or(Atto::ZERO, atto)))?
            .ok_or_else(no_contract)
    }

    fn in_vault<T>(
        &self,
        vault: EvmAddress,
        answer: impl FnOnce(&Vault) -> T,
    ) -> Result<T, ChainError> {
        self.world(|world| world.vaults.get(&vault).map(answer))?.ok_or_else(no_contract)
    }
}

/// What an account without the function answers.
fn no_contract() -> ChainError {
    unexpected("eth_call", "0x")
}

#[async_trait]
impl Chain for MemoryChain {
    async fn chain_id(&self) -> Result<u64, ChainError> {
        self.world(|_| self.chain_id)
    }

    async fn has_code(&self, address: EvmAddress) -> Result<bool, ChainError> {
        self.world(|world| world.has_code(address))
    }

    async fn block(&self, at: At) -> Result<Block, ChainError> {
        self.read(ChainOp::Read, |ledger, lag| Ok(ledger.at(at, lag).0))
    }

    async fn fees(&self) -> Result<Fees, ChainError> {
        self.read(ChainOp::Read, |ledger, _| {
            Ok(Fees { base: ledger.base_fee(), priority: PRIORITY_FEE })
        })
    }

    async fn estimate_gas(&self, call: &Call) -> Result<u64, ChainError> {
        self.read(ChainOp::Read, |ledger, _| ledger.estimate(call))
    }

    async fn pending_nonce(&self, account: EvmAddress) -> Result<u64, ChainError> {
        self.read(ChainOp::Read, |ledger, lag| Ok(ledger.pending_nonce(account, lag)))
    }

    async fn coins(&self, account: EvmAddress) -> Result<Wei, ChainError> {
        self.world(|world| Wei(world.coins.get(&account).copied().unwrap_or(0)))
    }

    async fn token(&self, vault: EvmAddress) -> Result<EvmAddress, ChainError> {
        self.in_vault(vault, |vault| vault.token)
    }

    async fn windows(&self, vault: EvmAddress) -> Result<Windows, ChainError> {
        self.in_vault(vault, |vault| vault.windows)
    }

    async fn beacon(&self, vault: EvmAddress) -> Result<BeaconState, ChainError> {
        let state = self.world(|world| {
            let beacon = world.vaults.get(&vault)?.beacon;
            let found = world.beacons.get(&beacon)?;
            Some(BeaconState { beacon, epoch: found.epoch, latest: found.latest })
        });
        state?.ok_or_else(no_contract)
    }

    async fn seed(
        &self,
        vault: EvmAddress,
        upload_by: UnixTime,
    ) -> Result<Option<Seed>, ChainError> {
        let seed = self.world(|world| {
            let vault = world.vaults.get(&vault)?;
            let beacon = world.beacons.get(&vault.beacon)?;
            Some(beacon.seed_after(vault.windows.draw_time(upload_by)))
        });
        seed?.ok_or_else(no_contract)
    }

    async fn tokens(&self, token: EvmAddress, account: EvmAddress) -> Result<Atto, ChainError> {
        self.in_token(token, |token| token.balances.get(&account).copied())
    }

    async fn allowance(
        &self,
        token: EvmAddress,
        owner: EvmAddress,
        spender: EvmAddress,
    ) -> Result<Atto, ChainError> {
        self.in_token(token, |token| token.allowances.get(&(owner, spender)).copied())
    }

    async fn credit(&self, vault: EvmAddress, payee: RewardAddress) -> Result<Atto, ChainError> {
        self.in_vault(vault, |vault| vault.credits.get(&payee).map_or(Atto::ZERO, |&c| atto(c)))
    }

    async fn record(
        &self,
        vault: EvmAddress,
        payment: PaymentId,
        at: At,
    ) -> Result<RecordAt, ChainError> {
        self.read(ChainOp::Record, |ledger, lag| {
            let (block, world) = ledger.at(at, lag);
            let (recorded, settled) = match world.vaults.get(&vault) {
                Some(vault) => (vault.records.get(&payment), vault.settled.get(&payment)),
                None if at == At::Depth(0) => return Err(no_contract()),
                None => (None, None),
            };
            let (recorded, settled) = (recorded.copied(), settled.copied().unwrap_or_default());
            Ok(RecordAt { recorded, settled, block })
        })
    }

    async fn send_raw(&self, raw: &[u8]) -> Result<TxHash, ChainError> {
        let mut state = self.state();
        match state.faults.as_mut().and_then(|hook| hook(ChainOp::SendRaw)) {
            Some(ChainFault::Refuse(error)) => Err(error),
            Some(ChainFault::Lose(error)) => {
                // Taken or not: nobody hears of it.
                let _ = state.ledger.send(raw);
                Err(error)
            }
            Some(ChainFault::Forget) => Ok(TxHash(keccak256(raw).0)),
            Some(ChainFault::Lag(_)) | None => state.ledger.send(raw),
        }
    }

    async fn receipt(&self, hash: TxHash) -> Result<Option<TxReceipt>, ChainError> {
        self.read(ChainOp::Receipt, |ledger, lag| Ok(ledger.receipt(hash, lag)))
    }
}

impl fmt::Debug for MemoryChain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MemoryChain({})", self.chain_id)
    }
}
