use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use spillway_client::{ConnectOptions, DEFAULT_NETWORK};
use spillway_disk::Clock;
use spillway_net::{Address, NetError};
use spillway_node::NodeError;
use spillway_pay::{
    Anvil, AnvilOptions, At, Chain, DeployOptions, Deployed, Deployer, Keeper, KeeperOptions,
    PayTiming, RpcChain, RpcOptions, Wallet,
};
use spillway_types::{Atto, Domain, EvmAddress, NetworkId, RewardAddress, Wei};
use tempfile::TempDir;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::{
    Manifest, TestClient, TestClock, TestNode, TestnetError, TestnetOptions,
    seed_keeper::SeedKeeper, test_node::Shared,
};

/// What the account that pays has: a thousand million of each, in units of 10^-18.
const COINS: Wei = Wei(1_000_000_000 * 1_000_000_000_000_000_000);
const TOKENS: Atto = Atto(1_000_000_000 * 1_000_000_000_000_000_000);

/// Nodes that a new one dials, at most: as many as a bucket of its routing table holds. All nodes
/// of a usual test network know each other from the start.
const BOOTSTRAP_NODES: usize = 20;

/// How long the nodes may take to find each other.
const READY_DEADLINE: Duration = Duration::from_mins(1);

/// How often, and how long after the last time, a node tries to listen where it did before.
const PORT_TRIES: u32 = 100;
const PORT_PAUSE: Duration = Duration::from_millis(20);

/// A running test network. Dropping it ends the chain and the nodes at once; [`Testnet::shutdown`]
/// ends them in order.
#[derive(Debug)]
#[must_use = "shut it down"]
pub struct Testnet {
    shared: Shared,
    deployed: Deployed,
    wallet: Arc<Wallet>,
    nodes: Vec<Slot>,
    keeper: SeedKeeper,
    anvil: Anvil,
    root: TempDir,
}

/// One node's place: running, or with the addresses that it had.
#[derive(Debug)]
enum Slot {
    Running(Box<TestNode>),
    Stopped { addresses: Vec<Address>, reward: RewardAddress },
}

impl Testnet {
    /// Starts the chain, deploys the contracts, starts the nodes, and returns when they know each
    /// other.
    ///
    /// # Errors
    /// The first thing that fails. Nothing is left running; the directory is removed.
    ///
    /// # Cancel safety
    /// Dropping it ends what was started.
    pub async fn start(options: TestnetOptions) -> Result<Self, TestnetError> {
        let data_dir = options.data_dir.clone();
        let no_dir = |source| TestnetError::Directory { path: data_dir.clone(), source };
        std::fs::create_dir_all(&data_dir).map_err(no_dir)?;
        let root = tempfile::Builder::new().prefix("testnet-").tempdir_in(&data_dir);
        let root = root.map_err(no_dir)?;
        let cache_dir = Some(root.path().join("anvil"));
        let anvil = AnvilOptions { cache_dir, ..AnvilOptions::new(options.anvil.clone()) };
        let anvil = Anvil::start(anvil).await?;
        let chain: Arc<dyn Chain> = Arc::new(RpcChain::new(RpcOptions::new(anvil.rpc_url()))?);
        let wallet = Arc::new(Wallet::random()?);
        anvil.set_coins(wallet.address(), COINS).await?;
        let clock = TestClock::default();
        let deployer =
            Deployer { chain: Arc::clone(&chain), clock: Arc::new(clock.clone()), wallet: &wallet };
        let deployed = deployer
            .deploy(DeployOptions {
                windows: options.windows,
                epoch: options.epoch,
                supply: TOKENS,
            })
            .await
            .map_err(TestnetError::Deploy)?;
        let domain = Domain {
            network: NetworkId::named(DEFAULT_NETWORK),
            chain_id: AnvilOptions::CHAIN_ID,
            vault: deployed.vault,
        };
        let count = options.nodes;
        let shared = Shared { options, domain, chain, clock };
        let nodes = Vec::with_capacity(count);
        let keeper = SeedKeeper::start(keeper(&shared, &anvil).await?, shared.options.epoch);
        let mut testnet = Self { shared, deployed, wallet, nodes, keeper, anvil, root };
        for index in 0..count {
            let node = testnet.start_node(index, testnet.free_ports()).await?;
            testnet.nodes.push(Slot::Running(Box::new(node)));
        }
        testnet.wait_until_ready().await?;
        Ok(testnet)
    }

    /// Leaves the beacon alone, so that no seed becomes known any more, until
    /// [`Testnet::wake_beacon`]. [`Testnet::post_seeds`] still posts.
    pub async fn silence_beacon(&self) {
        self.keeper.set_silent(true).await;
    }

    /// Tends the beacon again.
    pub async fn wake_beacon(&self) {
        self.keeper.set_silent(false).await;
    }

    /// Makes all seeds known that are due, and lets every node that runs hear of it: when this
    /// returns, they have noted what they won. After [`Testnet::advance`], nothing has to be waited
    /// for.
    ///
    /// # Errors
    /// When the chain does not take a seed, or cannot be asked.
    pub async fn post_seeds(&self) -> Result<(), TestnetError> {
        self.keeper.post_due().await.map_err(TestnetError::Seeds)?;
        self.follow_chain().await?;
        self.refresh().await
    }

    /// Lets every node that runs hear the chain's news now.
    ///
    /// # Errors
    /// When the chain cannot be asked.
    pub async fn refresh(&self) -> Result<(), TestnetError> {
        futures::future::try_join_all(self.running().map(TestNode::refresh)).await?;
        Ok(())
    }

    /// Any free port of each transport.
    fn free_ports(&self) -> Vec<Address> {
        let transports = self.shared.options.transports;
        let quic = transports.quic.then_some("/ip4/127.0.0.1/udp/0/quic-v1");
        let tcp = transports.tcp.then_some("/ip4/127.0.0.1/tcp/0");
        let parse = |text: &str| text.parse().expect("invariant: these are addresses");
        quic.into_iter().chain(tcp).map(parse).collect()
    }

    async fn start_node(
        &self,
        index: usize,
        listen: Vec<Address>,
    ) -> Result<TestNode, TestnetError> {
        let bootstrap = self.bootstrap();
        TestNode::start(&self.shared, index, self.root.path(), listen, bootstrap).await
    }

    /// Returns when every running node knows every other, or as many as surely fit its routing
    /// table.
    ///
    /// # Errors
    /// [`TestnetError::NotReady`].
    ///
    /// # Cancel safety
    /// It may be dropped.
    pub async fn wait_until_ready(&self) -> Result<(), TestnetError> {
        let running: Vec<&TestNode> = self.running().collect();
        let wanted = running.len().saturating_sub(1).min(BOOTSTRAP_NODES - 1);
        for node in running {
            let (index, after) = (node.index(), READY_DEADLINE);
            match timeout(after, node.known_at_least(wanted)).await {
                Ok(known) => known.map_err(|source| TestnetError::Node { node: index, source })?,
                Err(_) => return Err(TestnetError::NotReady { node: index, wanted, after }),
            }
        }
        Ok(())
    }

    /// Addresses of nodes that run, to begin with.
    pub fn bootstrap(&self) -> Vec<Address> {
        self.running().take(BOOTSTRAP_NODES).flat_map(TestNode::addresses).collect()
    }

    /// How a client reaches it.
    pub fn manifest(&self) -> Manifest {
        Manifest {
            bootstrap: self.bootstrap().iter().map(ToString::to_string).collect(),
            rpc_url: self.anvil.rpc_url().to_owned(),
            chain_id: self.shared.domain.chain_id,
            token: self.deployed.token.to_string(),
            vault: self.deployed.vault.to_string(),
            private_key: self.wallet.expose_hex().as_str().to_owned(),
            network: None,
        }
    }

    /// How many nodes it has, stopped ones included.
    pub fn nodes(&self) -> usize {
        self.nodes.len()
    }

    /// The nodes that run.
    pub fn running(&self) -> impl Iterator<Item = &TestNode> {
        self.nodes.iter().filter_map(|slot| match slot {
            Slot::Running(node) => Some(node.as_ref()),
            Slot::Stopped { .. } => None,
        })
    }

    /// Where each node is paid, stopped ones included.
    pub fn rewards(&self) -> Vec<RewardAddress> {
        let reward = |slot: &Slot| match slot {
            Slot::Running(node) => node.reward(),
            Slot::Stopped { reward, .. } => *reward,
        };
        self.nodes.iter().map(reward).collect()
    }

    /// Node `index`; `None` when it is stopped or there is none.
    pub fn node(&self, index: usize) -> Option<&TestNode> {
        self.running().find(|node| node.index() == index)
    }

    /// Ends node `index` in order. Its chunks stay. Nothing, if it is stopped.
    pub async fn stop_node(&mut self, index: usize) {
        let Some(slot) = self.nodes.get_mut(index) else { return };
        if let Slot::Running(node) = slot {
            let stopped = Slot::Stopped { addresses: node.addresses(), reward: node.reward() };
            if let Slot::Running(node) = std::mem::replace(slot, stopped) {
                node.shutdown().await;
            }
        }
    }

    /// Starts node `index` again, at the addresses that it had and with what it stored, and returns
    /// when it knows the others. Nothing, if it runs.
    ///
    /// # Errors
    /// As [`Testnet::start`].
    pub async fn restart_node(&mut self, index: usize) -> Result<(), TestnetError> {
        let Some(Slot::Stopped { addresses, .. }) = self.nodes.get(index) else { return Ok(()) };
        let node = self.start_where_it_was(index, &addresses.clone()).await?;
        self.nodes[index] = Slot::Running(Box::new(node));
        self.wait_until_ready().await
    }

    /// QUIC's socket is closed by a task of its library that nobody can wait for, so the port may
    /// be taken for a moment.
    async fn start_where_it_was(
        &self,
        index: usize,
        addresses: &[Address],
    ) -> Result<TestNode, TestnetError> {
        for _ in 1..PORT_TRIES {
            match self.start_node(index, addresses.to_vec()).await {
                Err(TestnetError::Node {
                    source: NodeError::Net(NetError::Listen { .. }), ..
                }) => {
                    self.shared.clock.sleep(PORT_PAUSE).await;
                }
                other => return other,
            }
        }
        self.start_node(index, addresses.to_vec()).await
    }

    /// A new client in this process; client and network have one clock.
    ///
    /// # Errors
    /// When its directory cannot be used or it cannot join.
    pub async fn client(&self, data_dir: &Path) -> Result<TestClient, TestnetError> {
        self.client_with(data_dir, PayTiming::default()).await
    }

    /// The same, with other waiting times for its payments.
    ///
    /// # Errors
    /// As [`Testnet::client`].
    pub async fn client_with(
        &self,
        data_dir: &Path,
        timing: PayTiming,
    ) -> Result<TestClient, TestnetError> {
        let locks = self.state_dir();
        TestClient::start(&self.shared, data_dir, &locks, self.bootstrap(), timing).await
    }

    /// What [`spillway_client::Connected`] needs for a client on the machine's own clock.
    pub fn connect_options(&self, data_dir: PathBuf) -> ConnectOptions {
        ConnectOptions {
            data_dir,
            state_dir: self.state_dir(),
            network: self.shared.domain.network,
            bootstrap: self.bootstrap(),
            rpc_url: self.anvil.rpc_url().to_owned(),
            chain_id: Some(self.shared.domain.chain_id),
            vault: self.shared.domain.vault,
            stop: CancellationToken::new(),
        }
    }

    /// Where clients of this network keep the locks of wallets.
    pub fn state_dir(&self) -> PathBuf {
        self.root.path().join("state")
    }

    /// The account that has all coins and tokens.
    pub fn wallet(&self) -> &Arc<Wallet> {
        &self.wallet
    }

    /// A new account with this much.
    ///
    /// # Errors
    /// When the chain does not do it.
    pub async fn fund(&self, tokens: Atto, coins: Wei) -> Result<Arc<Wallet>, TestnetError> {
        let wallet = Wallet::random()?;
        self.anvil.set_coins(wallet.address(), coins).await?;
        if tokens > Atto::ZERO {
            self.deployer()
                .send_tokens(self.deployed.token, wallet.address(), tokens)
                .await
                .map_err(TestnetError::Deploy)?;
        }
        Ok(Arc::new(wallet))
    }

    fn deployer(&self) -> Deployer<'_> {
        Deployer {
            chain: Arc::clone(&self.shared.chain),
            clock: Arc::new(self.shared.clock.clone()),
            wallet: &self.wallet,
        }
    }

    /// The chain.
    pub fn chain(&self) -> &Arc<dyn Chain> {
        &self.shared.chain
    }

    /// The chain's program, to be told what a chain does by itself.
    pub fn anvil(&self) -> &Anvil {
        &self.anvil
    }

    /// Network, chain and vault.
    pub fn domain(&self) -> &Domain {
        &self.shared.domain
    }

    /// The token that the vault takes.
    pub fn token(&self) -> EvmAddress {
        self.deployed.token
    }

    /// The time that nodes and clients see.
    pub fn clock(&self) -> &TestClock {
        &self.shared.clock
    }

    /// Lets time jump forward for the chain, the nodes and the clients, in whole seconds. One block
    /// is mined, so that the chain shows it.
    ///
    /// # Errors
    /// When the chain does not do it.
    pub async fn advance(&self, by: Duration) -> Result<(), TestnetError> {
        self.anvil.advance(by).await?;
        self.anvil.mine(1).await?;
        self.shared.clock.advance(by);
        self.follow_chain().await
    }

    /// Lets nodes and clients be at the chain's time at least: each block that is mined by hand
    /// sets it a second forward.
    async fn follow_chain(&self) -> Result<(), TestnetError> {
        self.shared.clock.reach(self.shared.chain.block(At::Depth(0)).await?.time);
        Ok(())
    }

    /// Where everything of it is written.
    pub fn dir(&self) -> &Path {
        self.root.path()
    }

    /// Ends nodes and chain in order, and removes its directory.
    ///
    /// # Errors
    /// When the chain does not end or something cannot be removed.
    pub async fn shutdown(self) -> Result<(), TestnetError> {
        let Self { nodes, keeper, anvil, root, .. } = self;
        keeper.shutdown().await;
        let ending = nodes.into_iter().filter_map(|slot| match slot {
            Slot::Running(node) => Some(node.shutdown()),
            Slot::Stopped { .. } => None,
        });
        futures::future::join_all(ending).await;
        anvil.shutdown().await.map_err(TestnetError::Shutdown)?;
        let path = root.path().to_owned();
        remove(root).map_err(|source| TestnetError::Directory { path, source })
    }
}

/// Who tends the beacon, with a wallet of its own.
async fn keeper(shared: &Shared, anvil: &Anvil) -> Result<Keeper, TestnetError> {
    let wallet = Wallet::random()?;
    anvil.set_coins(wallet.address(), COINS).await?;
    Ok(Keeper::new(KeeperOptions {
        rpc: RpcOptions::new(anvil.rpc_url()),
        clock: Arc::new(shared.clock.clone()),
        wallet,
        vault: shared.domain.vault,
    })?)
}

/// Removes the directory, which Anvil may be clearing at the same moment.
fn remove(root: TempDir) -> io::Result<()> {
    match root.close() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
