use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use spillway_disk::RealDisk;
use spillway_net::Address;
use spillway_node::{Node, NodeError, NodeOptions};
use spillway_pay::{Chain, Wallet};
use spillway_store::{Capacity, ChunkStore};
use spillway_types::{ChunkAddress, Domain, PeerKey, RewardAddress};

use crate::{TestClock, TestnetError, TestnetOptions, hostile_node::HostileNode, keys};

/// What all nodes share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) options: TestnetOptions,
    pub(crate) domain: Domain,
    pub(crate) chain: Arc<dyn Chain>,
    pub(crate) clock: TestClock,
}

/// One running node.
#[derive(Debug)]
#[must_use = "shut it down"]
pub struct TestNode {
    index: usize,
    dir: PathBuf,
    reward: RewardAddress,
    running: Running,
}

#[derive(Debug)]
enum Running {
    Honest(Node),
    Hostile(HostileNode),
}

impl TestNode {
    /// Starts node `index` in its directory.
    pub(crate) async fn start(
        shared: &Shared,
        index: usize,
        root: &Path,
        listen: Vec<Address>,
        bootstrap: Vec<Address>,
    ) -> Result<Self, TestnetError> {
        let dir = root.join(format!("node-{index:03}"));
        let disk = Arc::new(RealDisk::create(&dir)?);
        let reward = RewardAddress(Wallet::from_bytes(&keys::reward(index))?.address().0);
        let chain = Arc::clone(&shared.chain);
        let usual = NodeOptions {
            clock: Arc::new(shared.clock.clone()),
            capacity_bytes: shared.options.capacity_bytes,
            confirmations: 0,
            max_window: shared.options.windows.max,
            token_rate: shared.options.token_rate,
            max_prize: Some(shared.options.max_prize),
            // One machine, one clock: what its vault was given is long enough.
            min_draw_delay: shared.options.windows.draw_delay,
            listen,
            bootstrap,
            transports: shared.options.transports,
            ..NodeOptions::new(disk, chain, shared.domain, reward)
        };
        // Four times an epoch at least: seeds count as late after two epochs.
        let head_poll = usual.head_poll.min(shared.options.epoch / 4);
        let usual = NodeOptions { head_poll, ..usual };
        let options = match &shared.options.change {
            Some(change) => change(index, usual),
            None => usual,
        };
        let reward = options.reward;
        let running = Running::start(shared, index, options).await;
        let running = running.map_err(|source| TestnetError::Node { node: index, source })?;
        Ok(Self { index, dir, reward, running })
    }

    /// Its number.
    pub fn index(&self) -> usize {
        self.index
    }

    /// The key that it is known by.
    pub fn peer(&self) -> PeerKey {
        match &self.running {
            Running::Honest(node) => node.peer(),
            Running::Hostile(node) => node.net.local(),
        }
    }

    /// Where it is paid.
    pub fn reward(&self) -> RewardAddress {
        self.reward
    }

    /// The wallet that may take out what it earned, unless it was started with another reward
    /// address.
    ///
    /// # Errors
    /// [`TestnetError::Wallet`], which cannot be with the keys of test networks.
    pub fn reward_wallet(&self) -> Result<Wallet, TestnetError> {
        Ok(Wallet::from_bytes(&keys::reward(self.index))?)
    }

    /// Where it is reached.
    pub fn addresses(&self) -> Vec<Address> {
        match &self.running {
            Running::Honest(node) => node.addresses(),
            Running::Hostile(node) => node.net.listen_addresses(),
        }
    }

    /// How full it is.
    pub fn capacity(&self) -> Capacity {
        match &self.running {
            Running::Honest(node) => node.capacity(),
            Running::Hostile(node) => node.store.capacity(),
        }
    }

    /// How many chunks it keeps.
    pub fn chunks(&self) -> usize {
        match &self.running {
            Running::Honest(node) => node.chunks(),
            Running::Hostile(node) => node.store.chunks(),
        }
    }

    /// Its directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The file of a chunk, which is there if it keeps the chunk.
    pub fn chunk_file(&self, address: ChunkAddress) -> PathBuf {
        self.dir.join("chunks").join(address.to_string())
    }

    /// Whether its disk has the chunk.
    pub fn has_file(&self, address: ChunkAddress) -> bool {
        self.chunk_file(address).exists()
    }

    /// Hears the chain's news now, and not only when it is due: what follows from the newest block
    /// is so when this returns, wins included.
    ///
    /// # Errors
    /// When the chain cannot be asked.
    pub async fn refresh(&self) -> Result<(), TestnetError> {
        let refreshed = match &self.running {
            Running::Honest(node) => node.refresh_time().await,
            Running::Hostile(node) => node.refresh().await,
        };
        refreshed.map_err(|source| TestnetError::Node { node: self.index, source })
    }

    /// Waits until the network is found and it knows this many other nodes.
    pub(crate) async fn known_at_least(&self, count: usize) -> Result<(), NodeError> {
        match &self.running {
            Running::Honest(node) => {
                node.known_at_least(count).await?;
                node.bootstrapped().await
            }
            Running::Hostile(node) => {
                node.net.known_at_least(count).await?;
                Ok(node.net.bootstrapped().await?)
            }
        }
    }

    /// Ends it in order; its directory stays.
    pub async fn shutdown(self) {
        match self.running {
            Running::Honest(node) => node.shutdown().await,
            Running::Hostile(node) => node.shutdown().await,
        }
    }
}

impl Running {
    async fn start(shared: &Shared, index: usize, options: NodeOptions) -> Result<Self, NodeError> {
        let Some(wrap) = &shared.options.wrap else {
            return Node::start(options).await.map(Self::Honest);
        };
        // Whether it is hostile is only known when its honest self is there.
        let hostile = HostileNode::start(options, |honest| {
            wrap(index, Arc::clone(&honest)).unwrap_or(honest)
        });
        hostile.await.map(Self::Hostile)
    }
}
