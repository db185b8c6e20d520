use std::{fmt, path::PathBuf, sync::Arc, time::Duration};

use spillway_net::{Serve, Transports};
use spillway_node::{NodeOptions, limits::DEFAULT_MAX_PRIZE};
use spillway_pay::Windows;
use spillway_types::{Atto, TokenRate, Wei, limits::MAX_UPLOAD_WINDOW};

/// The shortest window of the vault. Uploads take a day at least; the vault's own limit must leave
/// room between the plan and the block that takes it, and there tests can be short.
const MIN_WINDOW: Duration = Duration::from_mins(15);

/// Times of the draw as on a public chain: 15 minutes after the upload window at least, one seed a
/// day, 30 days to settle.
const DRAW_DELAY: Duration = Duration::from_mins(15);
const CLAIM_WINDOW: Duration = Duration::from_hours(30 * 24);
const EPOCH: Duration = Duration::from_hours(24);

/// Puts something in front of what node `index` answers, given its honest self; `None` leaves the
/// node as it is.
pub type WrapServe = Arc<dyn Fn(usize, Arc<dyn Serve>) -> Option<Arc<dyn Serve>> + Send + Sync>;

/// Changes how node `index` is started.
pub type ChangeNode = Arc<dyn Fn(usize, NodeOptions) -> NodeOptions + Send + Sync>;

/// What a test network is made of.
#[derive(Clone)]
pub struct TestnetOptions {
    /// How many nodes. An upload needs 5.
    pub nodes: usize,
    /// Where its directory is made.
    pub data_dir: PathBuf,
    /// The program Anvil itself, as [`crate::Anvil::find`] finds it.
    pub anvil: PathBuf,
    /// What each node stores, in bytes.
    pub capacity_bytes: u64,
    /// What connections run over.
    pub transports: Transports,
    /// The times of the vault.
    pub windows: Windows,
    /// How long there is between two seeds of the beacon.
    pub epoch: Duration,
    /// What a token is worth to the nodes: what the tips are counted by that they ask for. `None`:
    /// they ask for none.
    pub token_rate: Option<TokenRate>,
    /// The largest prize a draw that the nodes take; zero: they take no batches.
    pub max_prize: Atto,
    /// Nodes that are started in another way.
    pub change: Option<ChangeNode>,
    /// Nodes that are not honest.
    pub wrap: Option<WrapServe>,
}

impl TestnetOptions {
    /// Capacity of a node when nothing else is said: 10 GiB.
    pub const CAPACITY_BYTES: u64 = 10 << 30;

    /// What a token is worth to the nodes when nothing else is said: one coin.
    ///
    /// A chunk of 4 MiB costs 5 · 4 · 10^13 = 2 · 10^14 units of the token. The tip of a draw is
    /// worth 153,032 gas, so at Anvil's price of gas, which falls from 2 to 1 gwei, it is 3.1 to 1.5
    /// · 10^14 units: one and a half to less than one chunk. A draw must pay four tips to be worth
    /// settling, and a batch has one draw for up to 256 chunks: 7 chunks at 2 gwei, 4 at 1 gwei. A
    /// batch costs its payer 69,000 gas and that tip, together 222,000 gas, whatever its size;
    /// directly one chunk costs 97,000 gas and each further one some 30,000. So up to five chunks
    /// are paid directly, and a few dozen are a batch.
    pub const TOKEN_RATE: TokenRate = TokenRate(Wei(1_000_000_000_000_000_000));

    /// 20 nodes of 10 GiB with QUIC and TCP, and windows of 15 minutes to 14 days.
    pub fn new(data_dir: PathBuf, anvil: PathBuf) -> Self {
        Self {
            nodes: 20,
            data_dir,
            anvil,
            capacity_bytes: Self::CAPACITY_BYTES,
            transports: Transports::default(),
            windows: Windows {
                min: MIN_WINDOW,
                max: MAX_UPLOAD_WINDOW,
                draw_delay: DRAW_DELAY,
                claim: CLAIM_WINDOW,
            },
            epoch: EPOCH,
            token_rate: Some(Self::TOKEN_RATE),
            max_prize: DEFAULT_MAX_PRIZE,
            change: None,
            wrap: None,
        }
    }
}

impl fmt::Debug for TestnetOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestnetOptions")
            .field("nodes", &self.nodes)
            .field("data_dir", &self.data_dir)
            .field("capacity_bytes", &self.capacity_bytes)
            .field("transports", &self.transports)
            .field("token_rate", &self.token_rate)
            .finish_non_exhaustive()
    }
}
