//! Blocks, receipts and the transactions that wait.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use alloy::{
    consensus::{Transaction, TxEnvelope, transaction::SignerRecoverable},
    eips::eip2718::Decodable2718,
    primitives::{Address, TxKind},
};
use spillway_types::{EvmAddress, TxHash, UnixTime, Wei};

use super::{
    MemoryChainOptions, Mining, gas,
    world::{Context, Revert, World},
};
use crate::{
    At, Block, Call, ChainError, TxReceipt, contracts::address, intrinsic::transaction_gas, revert,
    rpc_error::unexpected,
};

/// Blocks whose state is kept: more than any reorganisation or depth that is asked for.
const KEPT_BLOCKS: usize = 512;

/// How much more a replacement must offer, in percent, as in geth's pool.
const REPLACE_PERCENT: u128 = 10;

/// Transactions that wait at most.
const POOL_LIMIT: usize = 4096;

/// A block and what it left.
#[derive(Clone, Debug)]
struct Mined {
    block: Block,
    world: Arc<World>,
    transactions: Vec<TxHash>,
}

/// A transaction whose signature holds.
#[derive(Clone, Debug)]
struct Waiting {
    hash: TxHash,
    sender: EvmAddress,
    nonce: u64,
    to: Option<EvmAddress>,
    data: Vec<u8>,
    value: u128,
    gas_limit: u64,
    max_fee: u128,
    priority: u128,
}

/// The chain's state. The newest block is the last; its world is changed in place only through
/// [`Ledger::edit`].
#[derive(Debug)]
pub(super) struct Ledger {
    options: MemoryChainOptions,
    blocks: VecDeque<Mined>,
    receipts: BTreeMap<TxHash, TxReceipt>,
    pool: BTreeMap<(EvmAddress, u64), Waiting>,
}

impl Ledger {
    pub(super) fn new(options: MemoryChainOptions) -> Self {
        let block = Block { number: 0, time: options.clock.now() };
        let genesis = Mined { block, world: Arc::new(World::default()), transactions: Vec::new() };
        Self {
            options,
            blocks: VecDeque::from([genesis]),
            receipts: BTreeMap::new(),
            pool: BTreeMap::new(),
        }
    }

    /// Changes the newest state without a transaction.
    pub(super) fn edit(&mut self, change: impl FnOnce(&mut World)) {
        if let Some(newest) = self.blocks.back_mut() {
            change(Arc::make_mut(&mut newest.world));
        }
    }

    /// The block and the state that `at` names, seen from `lag` blocks before the newest.
    pub(super) fn at(&self, at: At, lag: u16) -> (Block, &World) {
        let back = match at {
            At::Depth(depth) => u64::from(depth),
            At::Finalized => self.options.finality,
        };
        let back = usize::try_from(back.saturating_add(lag.into())).unwrap_or(usize::MAX);
        let mined = &self.blocks[(self.blocks.len() - 1).saturating_sub(back)];
        (mined.block, &mined.world)
    }

    pub(super) fn receipt(&self, hash: TxHash, lag: u16) -> Option<TxReceipt> {
        let (seen, _) = self.at(At::Depth(0), lag);
        self.receipts.get(&hash).filter(|receipt| receipt.block <= seen.number).cloned()
    }

    pub(super) fn pending_nonce(&self, account: EvmAddress, lag: u16) -> u64 {
        let (_, world) = self.at(At::Depth(0), lag);
        let mut nonce = world.nonces.get(&account).copied().unwrap_or(0);
        while lag == 0 && self.pool.contains_key(&(account, nonce)) {
            nonce += 1;
        }
        nonce
    }

    pub(super) fn estimate(&self, call: &Call) -> Result<u64, ChainError> {
        let context = self.context(call.from);
        let mut world = self.at(At::Depth(0), 0).1.clone();
        match world.call(context, call.to, &call.data) {
            Ok(used) => Ok(transaction_gas(&call.data, false, used)),
            Err(data) => Err(ChainError::Reverted { reason: revert::reason(&data) }),
        }
    }

    /// Takes a transaction as a server's pool does.
    pub(super) fn send(&mut self, raw: &[u8]) -> Result<TxHash, ChainError> {
        let tx = self.decode(raw)?;
        let hash = tx.hash;
        let next = self.at(At::Depth(0), 0).1.nonces.get(&tx.sender).copied().unwrap_or(0);
        let place = (tx.sender, tx.nonce);
        if self.pool.get(&place).is_some_and(|waiting| waiting.hash == hash) {
            return Ok(hash);
        }
        if tx.nonce < next {
            return Err(ChainError::NonceTooLow);
        }
        if tx.max_fee < self.options.base_fee.0 {
            return Err(ChainError::FeeTooLow);
        }
        self.check_funds(&tx)?;
        if let Some(waiting) = self.pool.get(&place) {
            let enough = |old: u128| old + old * REPLACE_PERCENT / 100;
            if tx.max_fee < enough(waiting.max_fee) || tx.priority < enough(waiting.priority) {
                return Err(ChainError::Underpriced);
            }
        }
        if self.pool.len() >= POOL_LIMIT {
            return Err(unexpected("eth_sendRawTransaction", "txpool is full"));
        }
        self.pool.insert(place, tx);
        if self.options.mining == Mining::Automatic {
            while self.ready() {
                self.mine();
            }
        }
        Ok(hash)
    }

    pub(super) fn drop_waiting(&mut self, hash: TxHash) {
        self.pool.retain(|_, tx| tx.hash != hash);
    }

    pub(super) fn waiting(&self) -> Vec<TxHash> {
        self.pool.values().map(|tx| tx.hash).collect()
    }

    pub(super) fn set_mining(&mut self, mining: Mining) {
        self.options.mining = mining;
    }

    pub(super) fn base_fee(&self) -> Wei {
        self.options.base_fee
    }

    pub(super) fn set_base_fee(&mut self, base_fee: Wei) {
        self.options.base_fee = base_fee;
    }

    /// Mines one block with everything that can be in it.
    pub(super) fn mine(&mut self) {
        let newest = &self.blocks[self.blocks.len() - 1];
        let number = newest.block.number + 1;
        let time = self.next_time();
        let mut world = Arc::clone(&newest.world);
        let mut transactions = Vec::new();
        while let Some(place) = self.next_ready(&world) {
            let Some(tx) = self.pool.remove(&place) else { break };
            transactions.push(tx.hash);
            let receipt = self.execute(Arc::make_mut(&mut world), &tx, Block { number, time });
            self.receipts.insert(tx.hash, receipt);
        }
        self.blocks.push_back(Mined { block: Block { number, time }, world, transactions });
        while self.blocks.len() > KEPT_BLOCKS {
            self.blocks.pop_front();
        }
    }

    /// Takes blocks back and puts empty ones in their place.
    pub(super) fn reorg(&mut self, depth: u64) {
        let depth = usize::try_from(depth).unwrap_or(usize::MAX).min(self.blocks.len() - 1);
        for _ in 0..depth {
            for hash in self.blocks.pop_back().into_iter().flat_map(|mined| mined.transactions) {
                self.receipts.remove(&hash);
            }
        }
        for _ in 0..depth {
            let waiting = std::mem::take(&mut self.pool);
            self.mine();
            self.pool = waiting;
        }
    }

    /// The time that a block mined now would have.
    pub(super) fn next_time(&self) -> UnixTime {
        let newest = &self.blocks[self.blocks.len() - 1];
        self.options.clock.now().max(newest.block.time)
    }

    fn context(&self, sender: EvmAddress) -> Context {
        let number = self.blocks[self.blocks.len() - 1].block.number + 1;
        Context { chain_id: self.options.chain_id, sender, time: self.next_time(), number }
    }

    fn ready(&self) -> bool {
        self.next_ready(self.at(At::Depth(0), 0).1).is_some()
    }

    /// The first that waits, whose nonce is its sender's next, and whose fee is enough for a block:
    /// one that offers too little is stuck until fees fall or it is replaced.
    fn next_ready(&self, world: &World) -> Option<(EvmAddress, u64)> {
        let next = |account| world.nonces.get(&account).copied().unwrap_or(0);
        let base = self.options.base_fee.0;
        let ready = |((sender, nonce), tx): &(&(EvmAddress, u64), &Waiting)| {
            *nonce == next(*sender) && tx.max_fee >= base
        };
        self.pool.iter().find(ready).map(|(place, _)| *place)
    }

    fn decode(&self, raw: &[u8]) -> Result<Waiting, ChainError> {
        let bad = |detail| unexpected("eth_sendRawTransaction", detail);
        let tx = TxEnvelope::decode_2718_exact(raw).map_err(|_| bad("cannot be decoded"))?;
        let sender = tx.recover_signer().map_err(|_| bad("its signature does not hold"))?;
        if tx.chain_id() != Some(self.options.chain_id) {
            return Err(bad("for another chain"));
        }
        let data = tx.input().to_vec();
        if tx.gas_limit() < transaction_gas(&data, tx.is_create(), 0) {
            return Err(bad("intrinsic gas too low"));
        }
        Ok(Waiting {
            hash: TxHash(tx.tx_hash().0),
            sender: EvmAddress(sender.into_array()),
            nonce: tx.nonce(),
            to: match tx.kind() {
                TxKind::Call(to) => Some(EvmAddress(to.into_array())),
                TxKind::Create => None,
            },
            data,
            value: tx.value().saturating_to(),
            gas_limit: tx.gas_limit(),
            max_fee: tx.max_fee_per_gas(),
            priority: tx.max_priority_fee_per_gas().unwrap_or(0),
        })
    }

    fn check_funds(&self, tx: &Waiting) -> Result<(), ChainError> {
        let (_, world) = self.at(At::Depth(0), 0);
        let found = world.coins.get(&tx.sender).copied().unwrap_or(0);
        let needed = u128::from(tx.gas_limit).saturating_mul(tx.max_fee).saturating_add(tx.value);
        if needed > found { Err(ChainError::NotEnoughCoins) } else { Ok(()) }
    }

    fn execute(&self, world: &mut World, tx: &Waiting, block: Block) -> TxReceipt {
        let Block { number, time } = block;
        let context = Context { chain_id: self.options.chain_id, sender: tx.sender, time, number };
        *world.nonces.entry(tx.sender).or_default() += 1;
        let gas = |execution| transaction_gas(&tx.data, tx.to.is_none(), execution);
        let mut after = world.clone();
        let result = run(&mut after, context, tx);
        let (success, gas_used) = match result {
            Ok(used) if gas(used) <= tx.gas_limit => (true, gas(used)),
            // Out of gas uses all of it; a revert what it did until then, about a write.
            Ok(_) => (false, tx.gas_limit),
            Err(_) => (false, gas(gas::VIEW).min(tx.gas_limit)),
        };
        let mut events = std::mem::take(&mut after.events);
        if success {
            *world = after;
        } else {
            events.clear();
        }
        let base = self.options.base_fee.0;
        let price = tx.max_fee.min(base + tx.priority);
        let cost = price.saturating_mul(gas_used.into());
        let coins = world.coins.entry(tx.sender).or_default();
        *coins = coins.saturating_sub(cost);
        TxReceipt { hash: tx.hash, success, block: number, gas_used, gas_cost: Wei(cost), events }
    }
}

fn run(world: &mut World, context: Context, tx: &Waiting) -> Result<u64, Revert> {
    let Some(to) = tx.to else {
        let at: Address = address(tx.sender).create(tx.nonce);
        return world.create(context, EvmAddress(at.into_array()), &tx.data);
    };
    let coins = world.coins.entry(tx.sender).or_default();
    *coins = coins.checked_sub(tx.value).ok_or_else(Revert::new)?;
    let coins = world.coins.entry(to).or_default();
    *coins = coins.saturating_add(tx.value);
    world.call(context, to, &tx.data)
}
