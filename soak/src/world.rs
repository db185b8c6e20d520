//! One chain with its nodes, and what the chain itself says of payments.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use spillway_disk::{Clock, SystemClock};
use spillway_node::Price;
use spillway_testnet::{Anvil, ChangeNode, FindOptions, NodeOptions, Testnet, TestnetOptions};
use spillway_types::{Atto, ChunkAddress, EvmAddress, Wei};

use crate::{
    rpc::{Rpc, hex_number},
    stored,
    way::Way,
};

/// Two more than a close group, so that chunks are not all with the same nodes.
const NODES: usize = 7;

/// A price a MiB at which a few chunks are worth a draw even when fees are high, and a hundred are no
/// more than the largest prize, 10 tokens: 2^62, so a chunk that is billed as 4 KiB costs each of its
/// five payees 2^54.
const PRICE_PER_MIB: Atto = Atto(1 << 62);

/// What one chunk of at most 4 KiB costs. The store is so large that what is in it does not change
/// the price.
pub(crate) const CHUNK_COST: u128 = 5 << 54;

/// Room in a node's store, in bytes: 2^60. Prices rise by a millionth when 2^40 are stored.
const CAPACITY_BYTES: u64 = 1 << 60;

/// What an account gets: a thousand tokens and a thousand coins.
const TOKENS: Atto = Atto(1_000_000_000_000_000_000_000);
const COINS: Wei = Wei(1_000_000_000_000_000_000_000);

/// Cycles after which a network is replaced, so that its stores do not grow without end: some 800
/// chunks.
const MAX_CYCLES: u64 = 100;

/// How far a chain's time may be ahead of ours, in seconds: quotes last an hour.
const MAX_AHEAD_SECS: u64 = 120;

/// How long a chain may be. Anvil puts older states on disk, and a reorganisation on a chain of some
/// 970 blocks leaves one without contracts; one cycle adds 80 blocks at most.
const MAX_BLOCKS: u64 = 800;

/// A test network of its own.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) testnet: Testnet,
    pub(crate) rpc: Rpc,
    pub(crate) manifest: PathBuf,
    topics: [Value; 2],
    /// Cycles that ran here.
    pub(crate) cycles: u64,
    /// What an upload of each kind takes here, once it was measured.
    pub(crate) usual: BTreeMap<Way, Usual>,
}

/// What an upload without trouble takes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usual {
    /// From start to exit.
    pub(crate) took: Duration,
    /// Operations that change the disk.
    pub(crate) operations: u64,
}

/// A payment that the vault has recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Recorded {
    pub(crate) id: String,
    /// What the nodes get.
    pub(crate) total: u128,
    /// What whoever settles gets.
    pub(crate) tips: u128,
}

impl World {
    /// Starts one below this directory.
    pub(crate) async fn start(place: &Path, root: &Path) -> Result<Self> {
        let find = FindOptions { start_dir: Some(root.to_owned()), ..FindOptions::default() };
        let anvil = Anvil::find(&find).context("no Anvil")?;
        let price = Price::per_mib(PRICE_PER_MIB).context("a price")?;
        let change: ChangeNode = Arc::new(move |_, node| NodeOptions { price, ..node });
        let options = TestnetOptions {
            nodes: NODES,
            capacity_bytes: CAPACITY_BYTES,
            change: Some(change),
            ..TestnetOptions::new(place.to_owned(), anvil)
        };
        let testnet = Testnet::start(options).await.context("no test network")?;
        let rpc = Rpc::new(&testnet.manifest().rpc_url)?;
        let manifest = testnet.dir().join("devnet.json");
        let text = serde_json::to_vec(&testnet.manifest()).context("a manifest")?;
        std::fs::write(&manifest, text).context("cannot write the manifest")?;
        let topics = [
            topic(&rpc, "PaidDirect(bytes32,address,uint256)").await?,
            topic(&rpc, "Committed(bytes32,address,bytes32,uint96,uint96,uint40,uint8)").await?,
        ];
        Ok(Self { testnet, rpc, manifest, topics, cycles: 0, usual: BTreeMap::new() })
    }

    /// A new account with money, and its key.
    pub(crate) async fn account(&self) -> Result<(EvmAddress, String)> {
        let wallet = self.testnet.fund(TOKENS, COINS).await.context("no account")?;
        Ok((wallet.address(), wallet.expose_hex().as_str().to_owned()))
    }

    /// Tokens of an account.
    pub(crate) async fn tokens(&self, account: EvmAddress) -> Result<u128> {
        let tokens = self.testnet.chain().tokens(self.testnet.token(), account).await;
        Ok(tokens.context("its tokens")?.0)
    }

    /// Every payment of an account that the vault's events tell of.
    pub(crate) async fn payments(&self, payer: EvmAddress) -> Result<Vec<Recorded>> {
        let padded = format!("0x{:0>64}", payer.to_string().trim_start_matches("0x"));
        let filter = json!([{
            "address": self.testnet.domain().vault.to_string(),
            "fromBlock": "0x0",
            "topics": [self.topics, null, padded],
        }]);
        let logs = self.rpc.ask("eth_getLogs", filter).await?;
        logs.as_array().context("no list of events")?.iter().map(|log| self.event(log)).collect()
    }

    fn event(&self, log: &Value) -> Result<Recorded> {
        let data = log["data"].as_str().context("an event without data")?;
        let word = |index: usize| -> Result<u128> {
            // 32 bytes a word, of which the lower 16 hold every amount of ours.
            let digits = data.get(2 + 64 * index + 32..2 + 64 * (index + 1));
            u128::from_str_radix(digits.context("an event that is too short")?, 16)
                .context("an amount")
        };
        let id = log["topics"][1].as_str().context("an event without an id")?.to_owned();
        if log["topics"][0] == self.topics[0] {
            return Ok(Recorded { id, total: word(0)?, tips: 0 });
        }
        // root, total, tip a draw, upload_by, draws
        Ok(Recorded { id, total: word(1)?, tips: word(2)? * word(4)? })
    }

    /// How many of its five nearest nodes have the whole of a chunk.
    pub(crate) fn copies(&self, address: ChunkAddress) -> usize {
        let nodes = self.testnet.running().map(|node| (node.peer(), node.chunk_file(address)));
        stored::copies(nodes, address)
    }

    /// How many chunks there are with any node.
    pub(crate) fn chunks(&self) -> usize {
        let mut chunks = BTreeSet::new();
        for node in self.testnet.running() {
            let entries = std::fs::read_dir(node.dir().join("chunks")).into_iter().flatten();
            for entry in entries.flatten() {
                let name = entry.file_name().to_string_lossy().into_owned();
                if name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                    chunks.insert(name);
                }
            }
        }
        chunks.len()
    }

    /// Mines so many blocks without setting time forward.
    pub(crate) async fn mine(&self, blocks: u64) -> Result<()> {
        self.rpc.ask("anvil_mine", json!([format!("{blocks:#x}")])).await.map(drop)
    }

    /// Mines whatever waits, and every transaction at once from here on.
    pub(crate) async fn mine_at_once(&self) -> Result<()> {
        self.rpc.ask("evm_setAutomine", json!([true])).await?;
        self.mine(1).await
    }

    /// Whether another one should take its place.
    pub(crate) async fn is_old(&self) -> Result<bool> {
        let block = self.rpc.ask("eth_getBlockByNumber", json!(["latest", false])).await?;
        let time = hex_number(&block["timestamp"]).context("a block without a time")?;
        let number = hex_number(&block["number"]).context("a block without a number")?;
        let ahead = time.saturating_sub(SystemClock.now().as_secs());
        Ok(self.cycles >= MAX_CYCLES || ahead > MAX_AHEAD_SECS || number > MAX_BLOCKS)
    }

    /// Ends it.
    pub(crate) async fn shutdown(self) -> Result<()> {
        self.testnet.shutdown().await.context("the test network does not end")
    }
}

/// The hash that an event is found by, as the chain itself counts it.
async fn topic(rpc: &Rpc, signature: &str) -> Result<Value> {
    let mut hex = "0x".to_owned();
    for byte in signature.bytes() {
        // Writing to a string does not fail.
        let _ = write!(hex, "{byte:02x}");
    }
    let hash = rpc.ask("web3_sha3", json!([hex])).await?;
    ensure!(hash.as_str().is_some_and(|text| text.len() == 66), "no hash of {signature}");
    Ok(hash)
}
