use std::{sync::Arc, time::Duration};

use spillway_disk::{Clock, Disk, SystemClock};
use spillway_net::{Address, NetLimits, Transports};
use spillway_pay::Chain;
use spillway_store::FsStoreOptions;
use spillway_types::{Atto, Domain, RewardAddress, TokenRate};

use crate::{Price, Terms, limits::DEFAULT_HEAD_POLL};

/// How a [`Node`](crate::Node) is started.
#[derive(Clone, Debug)]
pub struct NodeOptions {
    /// The node's directory: its key, its chunks, further proofs and wins.
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
    /// What a token is worth to its operator: what the tip that it asks is computed with. Without one
    /// it asks for none, and takes no batches unless `max_prize` says so; see [`Terms::token_rate`].
    pub token_rate: Option<TokenRate>,
    /// The largest prize a draw that it takes in a batch; zero: no batches. `None`: see
    /// [`Terms::max_prize`].
    pub max_prize: Option<Atto>,
    /// How soon the vault may draw for batches to be taken; see [`Terms::min_draw_delay`].
    pub min_draw_delay: Duration,
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
    /// How often it asks for the chain's newest block, the price of gas and the beacon's state.
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
            token_rate: terms.token_rate,
            max_prize: terms.max_prize,
            min_draw_delay: terms.min_draw_delay,
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
            reward: self.reward,
            price: self.price,
            confirmations: self.confirmations,
            max_window: self.max_window,
            token_rate: self.token_rate,
            max_prize: self.max_prize,
            min_draw_delay: self.min_draw_delay,
        }
    }
}
