//! The chain as one of its users sees it, and what happens to it meanwhile.

use std::{
    collections::BTreeSet,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use spillway_disk::Clock;
use spillway_pay::{
    At, BeaconState, Block, Call, Chain, ChainError, ChainFault, ChainOp, Fees, MemoryChain,
    MemoryChainOptions, Mining, RecordAt, TxReceipt, Windows,
};
use spillway_types::{
    Atto, EvmAddress, PaymentId, RewardAddress, Seed, TxHash, UnixTime, Wei,
    limits::MAX_UPLOAD_WINDOW,
};

use crate::{Fate, Life, SimClock, Strike, watched::Watch};

/// Between two blocks.
const BLOCK_TIME: u64 = 12;

/// Blocks that are mined at once at most when time has passed: finality is 64.
const MAX_CATCH_UP: u64 = 70;

/// Seconds between two seeds of the beacon, as [`MemoryChain::put_vault`] sets it.
const EPOCH: u64 = 24 * 3600;

/// Days of seeds that are made up for at most: a claim window and an upload window.
const MAX_SEEDS: u64 = 50;

/// One read of a client in so many may fail.
const READS_SPARED: u8 = 12;

/// One look of a node at a record in so many may fail.
const RECORDS_SPARED: u8 = 4;

/// The base fee in quiet times.
pub(crate) const BASE_FEE: Wei = Wei(1_000_000_000);

/// The vault's address.
pub(crate) const VAULT: EvmAddress = EvmAddress([0x71; 20]);
/// The token's.
pub(crate) const TOKEN: EvmAddress = EvmAddress([0x70; 20]);

/// The one chain of a simulation, with its weather: blocks as time passes, a seed a day, fees,
/// reorganisations.
#[derive(Clone)]
pub struct Sky(Arc<Shared>);

struct Shared {
    chain: MemoryChain,
    clock: SimClock,
    fate: Fate,
    windows: Windows,
    /// What goes wrong with the call that is being made.
    next: Arc<Mutex<Option<ChainFault>>>,
    weather: Mutex<Weather>,
}

#[derive(Debug)]
struct Weather {
    last_block: UnixTime,
    last_seed: u64,
    spike_until: UnixTime,
    reorgs: u64,
    /// Payments that a reorganisation has found recorded.
    undone: BTreeSet<PaymentId>,
}

impl fmt::Debug for Sky {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sky").field("weather", &self.weather()).finish_non_exhaustive()
    }
}

impl Sky {
    /// A chain with a token and a vault.
    pub fn new(clock: &SimClock, fate: &Fate, mining: Mining) -> Self {
        let options =
            MemoryChainOptions { mining, ..MemoryChainOptions::new(Arc::new(clock.clone())) };
        let chain = MemoryChain::new(options);
        let windows = Windows {
            min: Duration::from_mins(15),
            max: MAX_UPLOAD_WINDOW,
            draw_delay: Duration::from_mins(15),
            claim: Duration::from_hours(30 * 24),
        };
        let next: Arc<Mutex<Option<ChainFault>>> = Arc::default();
        let fault = Arc::clone(&next);
        chain.set_faults(Some(Box::new(move |_| {
            fault.lock().unwrap_or_else(PoisonError::into_inner).take()
        })));
        let now = clock.true_now();
        let weather = Weather {
            last_block: now,
            last_seed: now.0 / EPOCH,
            spike_until: UnixTime(0),
            reorgs: 0,
            undone: BTreeSet::new(),
        };
        Self(Arc::new(Shared {
            chain,
            clock: clock.clone(),
            fate: fate.clone(),
            windows,
            next,
            weather: Mutex::new(weather),
        }))
    }

    /// The chain itself, on which nothing goes wrong.
    pub fn chain(&self) -> &MemoryChain {
        &self.0.chain
    }

    /// The vault's times.
    pub fn windows(&self) -> Windows {
        self.0.windows
    }

    /// Puts the vault and its token there; `owner` has all of it.
    pub fn deploy(&self, owner: EvmAddress, supply: Atto) {
        self.chain().put_token(TOKEN, owner, supply);
        self.chain().put_vault(VAULT, TOKEN, self.0.windows);
    }

    /// How often blocks were taken back.
    pub fn reorgs(&self) -> u64 {
        self.weather().reorgs
    }

    /// Payments that were recorded at some time before a reorganisation.
    pub(crate) fn undone(&self) -> BTreeSet<PaymentId> {
        self.weather().undone.clone()
    }

    fn weather(&self) -> MutexGuard<'_, Weather> {
        self.0.weather.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks the chain something aside, while a call is being made: what goes wrong with that call does
    /// not go wrong with this.
    pub(crate) fn aside<T>(&self, ask: impl FnOnce(&MemoryChain) -> T) -> T {
        let next = || self.0.next.lock().unwrap_or_else(PoisonError::into_inner);
        let fault = next().take();
        let answer = ask(self.chain());
        *next() = fault;
        answer
    }

    /// The fees of quiet times.
    pub fn calm(&self) {
        self.weather().spike_until = UnixTime(0);
        self.chain().set_base_fee(BASE_FEE);
    }

    /// Blocks and seeds that are due.
    pub fn catch_up(&self) {
        let now = self.0.clock.true_now();
        let (blocks, seeds) = {
            let mut weather = self.weather();
            let blocks = now.0.saturating_sub(weather.last_block.0) / BLOCK_TIME;
            weather.last_block = UnixTime(weather.last_block.0 + blocks * BLOCK_TIME);
            let day = now.0 / EPOCH;
            let first = weather.last_seed.max(day.saturating_sub(MAX_SEEDS)) + 1;
            weather.last_seed = day;
            (blocks.min(MAX_CATCH_UP), first..=day)
        };
        for day in seeds {
            // The seed of this boundary draws what ends in the epoch before it.
            let before = Duration::from_secs(EPOCH) + self.0.windows.draw_delay;
            let upload_by = UnixTime(day * EPOCH).saturating_sub(before);
            let mut seed = [0; 32];
            seed[..8].copy_from_slice(&day.to_le_bytes());
            self.chain().put_seed(VAULT, upload_by, Seed(*blake3::hash(&seed).as_bytes()));
        }
        if blocks > 0 {
            self.chain().mine(blocks);
        }
    }

    /// What happens to the chain before a client's call.
    fn weather_strikes(&self, op: ChainOp) {
        let fate = &self.0.fate;
        if op != ChainOp::Read && fate.strikes(Strike::ChainReorg) {
            let depth = fate
                .draw(|random| if random.bool() { random.u64(1..=4) } else { random.u64(1..=64) });
            let recorded = self.chain().recorded(VAULT);
            self.weather().undone.extend(recorded.into_keys());
            // Nothing that is final is taken back.
            self.chain().reorg(depth.min(64));
            self.weather().reorgs += 1;
            fate.note(format_args!("reorg {depth}"));
        }
        let now = self.0.clock.true_now();
        if fate.strikes(Strike::ChainFeeSpike) {
            let factor = fate.draw(|random| random.u128(2..=60));
            let lasts = fate.draw(|random| random.u64(10..=2_000));
            self.chain().set_base_fee(Wei(BASE_FEE.0 * factor));
            self.weather().spike_until = UnixTime(now.0 + lasts);
        } else {
            let over = {
                let weather = self.weather();
                weather.spike_until.0 != 0 && weather.spike_until < now
            };
            if over {
                self.calm();
            }
        }
    }
}

/// The chain seam of one client process, or of one node.
#[derive(Debug, Clone)]
pub struct SimChain {
    sky: Sky,
    /// `None`: a node's. It hears less trouble, since 15 of them ask.
    life: Option<Life>,
    watch: Option<Arc<Watch>>,
}

impl SimChain {
    /// The chain as this process of a client sees it.
    pub(crate) fn of_client(sky: &Sky, life: &Life, watch: Option<Watch>) -> Self {
        Self { sky: sky.clone(), life: Some(life.clone()), watch: watch.map(Arc::new) }
    }

    /// The chain as a node sees it.
    pub fn of_node(sky: &Sky) -> Self {
        Self { sky: sky.clone(), life: None, watch: None }
    }

    fn fault(&self, op: ChainOp) -> Option<ChainFault> {
        let fate = &self.sky.0.fate;
        // What is only read is asked for much more often than what matters, and a node is asked for a
        // record at every put.
        let spared = match (self.life.is_some(), op) {
            (true, ChainOp::Read) => READS_SPARED,
            (true, _) => 1,
            (false, ChainOp::Record) => RECORDS_SPARED,
            (false, _) => return None,
        };
        if fate.draw(|random| random.u8(..spared)) != 0 {
            return None;
        }
        let endpoint = || "sim".to_owned();
        if fate.strikes(Strike::ChainRefuse) {
            return Some(ChainFault::Refuse(match fate.draw(|random| random.u8(..3)) {
                0 => ChainError::Unreachable { endpoint: endpoint() },
                1 => ChainError::RateLimited,
                _ => ChainError::Behind,
            }));
        }
        if op == ChainOp::SendRaw && fate.strikes(Strike::ChainForget) {
            return Some(ChainFault::Forget);
        }
        if fate.strikes(Strike::ChainLose) {
            let after = Duration::from_secs(30);
            return Some(ChainFault::Lose(ChainError::Timeout { endpoint: endpoint(), after }));
        }
        if op != ChainOp::SendRaw && fate.strikes(Strike::ChainLag) {
            return Some(ChainFault::Lag(fate.draw(|random| random.u16(1..=5))));
        }
        None
    }

    async fn ask<T: fmt::Debug>(
        &self,
        name: &str,
        op: ChainOp,
        call: impl Future<Output = Result<T, ChainError>> + Send,
    ) -> Result<T, ChainError> {
        let Shared { fate, clock, next, .. } = &*self.sky.0;
        if let Some(life) = &self.life {
            life.pass().await;
            if fate.strikes(Strike::ChainDelay) {
                let wait = fate.draw(|random| random.u64(1..20_000));
                clock.sleep(Duration::from_millis(wait)).await;
            }
            self.sky.weather_strikes(op);
        }
        self.sky.catch_up();
        let fault = self.fault(op);
        *next.lock().unwrap_or_else(PoisonError::into_inner) = fault;
        // The twin answers at once: nobody else's call comes between.
        let result = call.await;
        *next.lock().unwrap_or_else(PoisonError::into_inner) = None;
        let who = if self.life.is_some() { "client" } else { "node" };
        fate.note(format_args!("chain {who} {name}: {result:?}"));
        if let Some(life) = &self.life {
            life.pass().await;
        }
        result
    }

    fn chain(&self) -> &MemoryChain {
        self.sky.chain()
    }
}

#[async_trait]
impl Chain for SimChain {
    async fn chain_id(&self) -> Result<u64, ChainError> {
        self.ask("id", ChainOp::Read, self.chain().chain_id()).await
    }

    async fn has_code(&self, address: EvmAddress) -> Result<bool, ChainError> {
        self.ask("code", ChainOp::Read, self.chain().has_code(address)).await
    }

    async fn block(&self, at: At) -> Result<Block, ChainError> {
        self.ask("block", ChainOp::Read, self.chain().block(at)).await
    }

    async fn fees(&self) -> Result<Fees, ChainError> {
        self.ask("fees", ChainOp::Read, self.chain().fees()).await
    }

    async fn estimate_gas(&self, call: &Call) -> Result<u64, ChainError> {
        self.ask("estimate", ChainOp::Read, self.chain().estimate_gas(call)).await
    }

    async fn pending_nonce(&self, account: EvmAddress) -> Result<u64, ChainError> {
        self.ask("nonce", ChainOp::Read, self.chain().pending_nonce(account)).await
    }

    async fn coins(&self, account: EvmAddress) -> Result<Wei, ChainError> {
        self.ask("coins", ChainOp::Read, self.chain().coins(account)).await
    }

    async fn token(&self, vault: EvmAddress) -> Result<EvmAddress, ChainError> {
        self.ask("token", ChainOp::Read, self.chain().token(vault)).await
    }

    async fn windows(&self, vault: EvmAddress) -> Result<Windows, ChainError> {
        self.ask("windows", ChainOp::Read, self.chain().windows(vault)).await
    }

    async fn beacon(&self, vault: EvmAddress) -> Result<BeaconState, ChainError> {
        self.ask("beacon", ChainOp::Read, self.chain().beacon(vault)).await
    }

    async fn seed(
        &self,
        vault: EvmAddress,
        upload_by: UnixTime,
    ) -> Result<Option<Seed>, ChainError> {
        self.ask("seed", ChainOp::Read, self.chain().seed(vault, upload_by)).await
    }

    async fn tokens(&self, token: EvmAddress, account: EvmAddress) -> Result<Atto, ChainError> {
        self.ask("tokens", ChainOp::Read, self.chain().tokens(token, account)).await
    }

    async fn allowance(
        &self,
        token: EvmAddress,
        owner: EvmAddress,
        spender: EvmAddress,
    ) -> Result<Atto, ChainError> {
        let call = self.chain().allowance(token, owner, spender);
        self.ask("allowance", ChainOp::Read, call).await
    }

    async fn credit(&self, vault: EvmAddress, payee: RewardAddress) -> Result<Atto, ChainError> {
        self.ask("credit", ChainOp::Read, self.chain().credit(vault, payee)).await
    }

    async fn record(
        &self,
        vault: EvmAddress,
        payment: PaymentId,
        at: At,
    ) -> Result<RecordAt, ChainError> {
        self.ask("record", ChainOp::Record, self.chain().record(vault, payment, at)).await
    }

    async fn send_raw(&self, raw: &[u8]) -> Result<TxHash, ChainError> {
        let call = async {
            let before = self.watch.as_ref().map(|watch| watch.before(raw));
            let sent = self.chain().send_raw(raw).await;
            if let (Some(watch), Some(before)) = (&self.watch, before) {
                watch.after(before);
            }
            sent
        };
        self.ask("send", ChainOp::SendRaw, call).await
    }

    async fn receipt(&self, hash: TxHash) -> Result<Option<TxReceipt>, ChainError> {
        self.ask("receipt", ChainOp::Receipt, self.chain().receipt(hash)).await
    }
}
