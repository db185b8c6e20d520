use std::{sync::Arc, time::Duration};

use spillway_disk::{Clock, Disk, SystemClock};
use spillway_net::{Address, NetLimits, Transports};
use spillway_pay::Chain;
use spillway_store::FsStoreOptions;
use spillway_types::{Domain, RewardAddress};

use crate::{Price, Terms, limits::DEFAULT_HEAD_POLL};

/// How a [`Node`](crate::Node) is started.
#[derive(Clone, Debug)]
pub struct NodeOptions {
    /// The node's directory: its key and its chunks.
    pub disk: Arc<dyn Disk>,
    /// The node's own clock. It goes by the chain's time where that is later.
    pub clock: Arc<dyn Clock>,
    /// Where payments are looked up. The node only reads.
    pub chain: Arc<dyn Chain>,
    /// The network, chain and vault that it serves.
    pub domain: Domain,
    /// Who is paid.
    pub reward: RewardAddress,
    /// What it may fill with chunks and their evidence, in bytes.
    pub capacity_bytes: u64,
    /// What it leaves free on its disk, in bytes.
    pub disk_margin_bytes: u64,
    /// How many blocks a payment must be deep before it counts; 0: the newest block.
    pub confirmations: u16,
    /// What it asks.
    pub price: Price,
    /// The longest upload window that it takes; whole seconds.
    pub max_window: Duration,
    /// Where to accept connections; port 0 takes a free one.
    pub listen: Vec<Address>,
    /// Where others reach this node, where that differs from `listen`.
    pub external: Vec<Address>,
    /// Peers to find the others through. Empty only for the first node of a network.
    pub bootstrap: Vec<Address>,
    /// What connections run over.
    pub transports: Transports,
    /// What the network takes on at once.
    pub net_limits: NetLimits,
    /// How often it asks for the chain's time.
    pub head_poll: Duration,
}

impl NodeOptions {
    /// A node that listens nowhere yet, with the defaults of [`Terms`] and of the store.
    pub fn new(
        disk: Arc<dyn Disk>,
        chain: Arc<dyn Chain>,
        domain: Domain,
        reward: RewardAddress,
    ) -> Self {
        let store = FsStoreOptions::default();
        let terms = Terms::new(reward);
        Self {
            disk,
            clock: Arc::new(SystemClock),
            chain,
            domain,
            reward,
            capacity_bytes: store.capacity_bytes,
            disk_margin_bytes: store.disk_margin_bytes,
            confirmations: terms.confirmations,
            price: terms.price,
            max_window: terms.max_window,
            listen: Vec::new(),
            external: Vec::new(),
            bootstrap: Vec::new(),
            transports: Transports::default(),
            net_limits: NetLimits::default(),
            head_poll: DEFAULT_HEAD_POLL,
        }
    }

    pub(crate) fn store(&self) -> FsStoreOptions {
        FsStoreOptions {
            capacity_bytes: self.capacity_bytes,
            disk_margin_bytes: self.disk_margin_bytes,
        }
    }

    pub(crate) fn terms(&self) -> Terms {
        Terms {
            confirmations: self.confirmations,
            price: self.price,
            max_window: self.max_window,
            ..Terms::new(self.reward)
        }
    }
}
