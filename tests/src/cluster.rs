use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures::FutureExt;
use spillway_client::{
    BatchOptions, Client, ClientParts, CommitChoice, DownloadError, DownloadOptions, ModeChoice,
    Remote, Source, Target, UploadOptions, WorkerLimits, Workers,
};
use spillway_disk::{Disk, MemoryDisk, Overwrite};
use spillway_net::{Fault, MemoryNetwork, Peers, RequestKind};
use spillway_node::{
    Batches, BatchesOptions, ChainClock, NodeService, Price, ServiceOptions, Terms,
    limits::{LEAST_BILLED_BYTES, TIP_GAS},
};
use spillway_pay::{
    Chain, MemoryChain, MemoryChainOptions, PayTiming, Payments, PaymentsOptions, Wallet, Windows,
};
use spillway_store::{ChunkStore, MemoryStore};
use spillway_types::{
    Atto, ChunkAddress, Domain, EvmAddress, NetworkId, PeerKey, PeerSecret, RewardAddress,
    TokenRate, UnixTime, Wei,
    limits::{CLOSE_GROUP, MAX_UPLOAD_WINDOW},
};
use tokio_util::sync::CancellationToken;

use crate::{Asked, Member, Playbook, TurboClock};

/// Plaintext bytes of a segment in these tests.
pub const SEGMENT: usize = 1_000;

/// What the payer has at first.
pub const TOKENS: Atto = Atto(1_000_000_000_000);

/// What every node asks for a MiB while it is practically empty: one a byte, so that prices can be
/// told from sizes.
pub const PRICE_PER_MIB: Atto = Atto(1024 * 1024);

/// When it all begins.
const START: UnixTime = UnixTime(1_750_000_000);

type Decide = Box<dyn Fn(PeerKey, RequestKind) -> Fault + Send + Sync>;

/// How a cluster is made.
#[derive(Clone, Copy, Debug)]
pub struct ClusterOptions {
    /// How many nodes.
    pub nodes: usize,
    /// What each may store, in bytes. The default is so much that prices do not rise.
    pub capacity_bytes: u64,
    /// The least tip a draw that each quotes.
    pub min_tip: Atto,
    /// The largest prize a draw that each quotes: none, so that chunks are paid for directly, unless
    /// a test says otherwise.
    pub max_prize: Atto,
    /// How deep a payment must be for each to take its chunks, in blocks.
    pub confirmations: u16,
}

impl ClusterOptions {
    /// So many nodes that take batches.
    pub fn batches(nodes: usize) -> Self {
        Self { nodes, min_tip: Cluster::TIP, max_prize: Atto::MAX_SHARE, ..Self::default() }
    }
}

impl Default for ClusterOptions {
    fn default() -> Self {
        Self {
            nodes: 10,
            capacity_bytes: 1 << 50,
            min_tip: Atto::ZERO,
            max_prize: Atto::ZERO,
            confirmations: 0,
        }
    }
}

/// A whole network in one process, in which time passes only by waiting.
pub struct Cluster {
    /// Everybody's clock, the chain's too.
    pub clock: TurboClock,
    /// The chain.
    pub chain: MemoryChain,
    /// Which network, chain and vault.
    pub domain: Domain,
    /// The token.
    pub token: EvmAddress,
    /// Who pays.
    pub payer: Arc<Wallet>,
    /// The nodes.
    pub members: Vec<Member>,
    options: ClusterOptions,
    /// Of the nodes, beside their chunks.
    disks: Vec<MemoryDisk>,
    /// What each node knows of batches.
    batches: Mutex<BTreeMap<usize, Batches>>,
    network: MemoryNetwork,
    faults: Arc<Mutex<Decide>>,
    book: Playbook,
    wallet_locks: Arc<dyn Disk>,
    clients: AtomicU64,
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cluster").field("members", &self.members).finish_non_exhaustive()
    }
}

/// Who has what on the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Charged {
    /// What the payer has paid.
    pub paid: Atto,
    /// What the vault holds.
    pub vault: Atto,
    /// What the vault owes, by payee; those without are left out.
    pub credits: BTreeMap<RewardAddress, Atto>,
}

impl Charged {
    /// Nobody has paid anything.
    pub fn nothing() -> Self {
        Self { paid: Atto::ZERO, vault: Atto::ZERO, credits: BTreeMap::new() }
    }

    /// The sum of all credits.
    pub fn credited(&self) -> Atto {
        self.credits.values().copied().sum()
    }
}

impl Cluster {
    /// The tip a draw of nodes that take batches. One chunk of a whole segment is worth more than four
    /// of them, so that it may be a batch.
    pub const TIP: Atto = Atto(100);

    /// What one chunk of a [`SEGMENT`] or less costs: the least that is billed.
    pub const CHUNK_COST: u128 = LEAST_BILLED_BYTES as u128 * CLOSE_GROUP as u128;

    /// A cluster of ten honest nodes.
    pub fn new() -> Self {
        Self::with(ClusterOptions::default())
    }

    /// A cluster of honest nodes.
    pub fn with(options: ClusterOptions) -> Self {
        let stores = (0..options.nodes).map(|_| {
            let store: Arc<dyn ChunkStore> = Arc::new(MemoryStore::new(options.capacity_bytes));
            store
        });
        Self::build(stores.collect(), options)
    }

    /// A cluster of honest nodes that keep their chunks in these stores.
    pub fn with_stores(stores: impl IntoIterator<Item = Arc<dyn ChunkStore>>) -> Self {
        Self::build(stores.into_iter().collect(), ClusterOptions::default())
    }

    fn build(stores: Vec<Arc<dyn ChunkStore>>, options: ClusterOptions) -> Self {
        let clock = TurboClock::new(START);
        let chain = MemoryChain::new(MemoryChainOptions::new(Arc::new(clock.clone())));
        let payer = Arc::new(Wallet::from_bytes(&[7; 32]).unwrap());
        let (token, vault) = (EvmAddress([0x70; 20]), EvmAddress([0x71; 20]));
        chain.put_token(token, payer.address(), TOKENS);
        let windows = Windows {
            min: Duration::from_mins(15),
            max: MAX_UPLOAD_WINDOW,
            draw_delay: Duration::from_mins(15),
            claim: Duration::from_hours(30 * 24),
        };
        chain.put_vault(vault, token, windows);
        chain.set_coins(payer.address(), Wei(1_000_000_000_000_000_000));
        let domain = Domain { network: NetworkId::named("cluster"), chain_id: 31_337, vault };
        let faults: Arc<Mutex<Decide>> = Arc::new(Mutex::new(Box::new(|_, _| Fault::Deliver)));
        let decide = Arc::clone(&faults);
        let network = MemoryNetwork::with_faults(Arc::new(
            move |_: PeerKey, to: PeerKey, kind: RequestKind| {
                decide.lock().unwrap_or_else(PoisonError::into_inner)(to, kind)
            },
        ));
        let mut cluster = Self {
            clock,
            chain,
            domain,
            token,
            payer,
            members: Vec::new(),
            options,
            disks: stores.iter().map(|_| MemoryDisk::new()).collect(),
            batches: Mutex::default(),
            network,
            faults,
            book: Playbook::new(stores.len()),
            wallet_locks: Arc::new(MemoryDisk::new()),
            clients: AtomicU64::new(0),
        };
        for (index, store) in stores.into_iter().enumerate() {
            let member = cluster.member(index, store);
            cluster.members.push(member);
        }
        cluster
    }

    fn member(&self, index: usize, store: Arc<dyn ChunkStore>) -> Member {
        let number = u8::try_from(index + 1).unwrap();
        let mut reward = [0xee; 20];
        reward[19] = number;
        let member = Member {
            secret: PeerSecret::from_seed(&[number; 32]),
            reward: RewardAddress(reward),
            store,
            index,
            book: self.book.clone(),
        };
        self.start_member(&member);
        member
    }

    /// Starts the node's service anew: what it had in memory is gone.
    pub fn start_member(&self, member: &Member) {
        // Without an answer first, for the way out; then in the same place with one.
        let peers = self.network.join(member.secret.clone(), None);
        let terms = Terms {
            confirmations: self.options.confirmations,
            price: Price::per_mib(PRICE_PER_MIB).unwrap(),
            token_rate: self.rate_of(self.options.min_tip),
            max_prize: Some(self.options.max_prize),
            ..Terms::new(member.reward)
        };
        let clock = ChainClock::new(Arc::new(self.clock.clone()));
        let opened = Batches::open(BatchesOptions {
            disk: Arc::new(self.disks[member.index].clone()),
            chain: Arc::new(self.chain.clone()),
            domain: self.domain,
            terms,
            clock: clock.clone(),
        });
        // Nothing in memory waits.
        let batches = opened.now_or_never().unwrap().unwrap();
        let service = NodeService::new(ServiceOptions {
            secret: member.secret.clone(),
            domain: self.domain,
            terms,
            store: Arc::clone(&member.store),
            chain: Arc::new(self.chain.clone()),
            batches: batches.clone(),
            clock,
            peers,
        });
        let serve = self.book.wrap(member.index, Arc::new(service));
        self.network.join(member.secret.clone(), Some(serve));
        self.batches.lock().unwrap_or_else(PoisonError::into_inner).insert(member.index, batches);
    }

    /// What a token must be worth for this to be the least tip of a draw, at the gas price of the
    /// moment.
    pub fn rate_of(&self, tip: Atto) -> Option<TokenRate> {
        let fees = self.chain.fees().now_or_never().unwrap().unwrap();
        let price = fees.base.saturating_add(fees.priority).0;
        let worth = price * u128::from(TIP_GAS) * 10_u128.pow(18);
        worth.checked_div(tip.0).map(|rate| TokenRate(Wei(rate)))
    }

    /// All nodes hear what is new on the chain, and do what follows from it: they note what they have
    /// won.
    pub async fn tend(&self) {
        for member in &self.members {
            let batches = {
                let all = self.batches.lock().unwrap_or_else(PoisonError::into_inner);
                all[&member.index].clone()
            };
            batches.hear().await.unwrap();
            batches.tend(member.store.as_ref()).await;
        }
    }

    /// Payments into the vault, as a client makes them.
    pub fn payments(&self) -> Payments {
        Payments::new(PaymentsOptions {
            chain: Arc::new(self.chain.clone()),
            domain: self.domain,
            token: Some(self.token),
            clock: Arc::new(self.clock.clone()),
            wallet_locks: Arc::clone(&self.wallet_locks),
            timing: PayTiming::default(),
        })
    }

    /// The network as somebody sees it who is no node.
    pub fn peers(&self) -> Arc<dyn Peers> {
        let mut seed = [0xcc; 32];
        seed[..8].copy_from_slice(&self.clients.fetch_add(1, Ordering::Relaxed).to_le_bytes());
        self.network.join(PeerSecret::from_seed(&seed), None)
    }

    /// A client whose sessions and spill are on this disk.
    pub fn client(&self, data: &MemoryDisk) -> Client {
        self.client_on(Arc::new(data.clone()), CancellationToken::new())
    }

    /// A client on any disk, that can be asked to stop.
    pub fn client_on(&self, data: Arc<dyn Disk>, stop: CancellationToken) -> Client {
        self.client_among(data, stop, Workers::new(WorkerLimits::default()))
    }

    /// A client that shares limits with others.
    pub fn client_among(
        &self,
        data: Arc<dyn Disk>,
        stop: CancellationToken,
        workers: Workers,
    ) -> Client {
        Client::new(ClientParts {
            data,
            clock: Arc::new(self.clock.clone()),
            peers: self.peers(),
            payments: Arc::new(self.payments()),
            domain: self.domain,
            stop,
            workers,
        })
    }

    /// From now on this decides what happens to each request.
    pub fn set_faults(
        &self,
        decide: impl Fn(PeerKey, RequestKind) -> Fault + Send + Sync + 'static,
    ) {
        *self.faults.lock().unwrap_or_else(PoisonError::into_inner) = Box::new(decide);
    }

    /// From now on everything arrives.
    pub fn heal(&self) {
        self.set_faults(|_, _| Fault::Deliver);
    }

    /// What the nodes do otherwise than honest ones.
    pub fn book(&self) -> &Playbook {
        &self.book
    }

    /// Every request that reached a node since the last call.
    pub fn take_log(&self) -> Vec<Asked> {
        self.book.take_log()
    }

    /// Chunks that a node was asked for since the last look at the log.
    pub fn take_gets(&self) -> BTreeSet<ChunkAddress> {
        let gets = self.take_log().into_iter().filter(|asked| asked.kind == RequestKind::Get);
        gets.map(|asked| asked.address).collect()
    }

    /// Puts that reached a node since the last look at the log, by chunk.
    pub fn take_puts(&self) -> BTreeMap<ChunkAddress, usize> {
        let mut puts = BTreeMap::new();
        for asked in self.take_log() {
            if asked.kind == RequestKind::Put {
                *puts.entry(asked.address).or_default() += 1;
            }
        }
        puts
    }

    /// Returns when so many puts hang since the beginning.
    pub async fn wait_for_hanging(&self, count: usize) {
        self.book.wait_for_hanging(count).await;
    }

    /// The nodes' indices, those nearest to the chunk first.
    pub fn nearest(&self, address: ChunkAddress) -> Vec<usize> {
        let mut all: Vec<usize> = (0..self.members.len()).collect();
        all.sort_by_key(|&index| self.members[index].peer().distance(&address));
        all
    }

    /// Every chunk that is stored anywhere, with its size and on how many nodes it is.
    pub fn stored(&self) -> BTreeMap<ChunkAddress, (u32, usize)> {
        let mut stored: BTreeMap<ChunkAddress, (u32, usize)> = BTreeMap::new();
        for member in &self.members {
            for address in member.store.addresses(None, usize::MAX) {
                let size = member.store.size(address).unwrap();
                stored.entry(address).or_insert((size, 0)).1 += 1;
            }
        }
        stored
    }

    /// What five honest nodes ask for these chunks: five times their sizes, or the least billed.
    pub fn price_of(&self, chunks: &BTreeSet<ChunkAddress>) -> Atto {
        let stored = self.stored();
        let billed = |address| stored[address].0.max(LEAST_BILLED_BYTES);
        let bytes: u128 = chunks.iter().map(|address| u128::from(billed(address))).sum();
        Atto(bytes * CLOSE_GROUP as u128)
    }

    /// What five honest nodes ask for everything that is stored.
    pub fn price_of_all(&self) -> Atto {
        self.price_of(&self.stored().into_keys().collect())
    }

    /// Who has what on the chain now.
    pub async fn charged(&self) -> Charged {
        let vault = self.domain.vault;
        let left = self.tokens_left().await;
        let mut credits = BTreeMap::new();
        for member in &self.members {
            let credit = self.chain.credit(vault, member.reward).await.unwrap();
            if credit > Atto::ZERO {
                credits.insert(member.reward, credit);
            }
        }
        Charged {
            paid: TOKENS.saturating_sub(left),
            vault: self.chain.tokens(self.token, vault).await.unwrap(),
            credits,
        }
    }

    /// Tokens that the payer has.
    pub async fn tokens_left(&self) -> Atto {
        self.chain.tokens(self.token, self.payer.address()).await.unwrap()
    }

    /// Transactions that the payer has had mined.
    pub async fn transactions(&self) -> u64 {
        self.chain.pending_nonce(self.payer.address()).await.unwrap()
    }

    /// How these tests upload.
    pub fn options() -> UploadOptions {
        UploadOptions { segment_bytes: SEGMENT, ..UploadOptions::default() }
    }

    /// How they upload with batches of so many chunks at most.
    pub fn batch_options(max_leaves: usize, commit: CommitChoice) -> UploadOptions {
        let batch = BatchOptions { max_leaves, commit };
        UploadOptions { mode: ModeChoice::Batch, batch, ..Self::options() }
    }

    /// A source that is a file with these contents on a disk of its own.
    pub fn file(contents: &[u8]) -> Source {
        let disk = MemoryDisk::new();
        let path = Path::new("source");
        disk.write_durable(path, contents, Overwrite::Never).unwrap();
        Source::Path { disk: Arc::new(disk), path: path.to_owned() }
    }

    /// Downloads a file as somebody else does, and returns its bytes.
    ///
    /// # Errors
    /// The download's.
    pub async fn read_back(&self, remote: Remote) -> Result<Vec<u8>, DownloadError> {
        let disk = MemoryDisk::new();
        let path = Path::new("back");
        let target = Target::Path {
            disk: Arc::new(disk.clone()),
            path: path.to_owned(),
            overwrite: Overwrite::Never,
        };
        let client = self.client(&MemoryDisk::new());
        let done = client.download(remote, target, DownloadOptions::default()).await;
        let left: Vec<_> = disk.list(Path::new("")).unwrap();
        match done {
            Ok(downloaded) => {
                let bytes = disk.read(path, u64::MAX).unwrap();
                assert_eq!((downloaded.bytes, downloaded.files), (bytes.len() as u64, 1));
                assert_eq!(left.len(), 1, "nothing else is left: {left:?}");
                Ok(bytes)
            }
            Err(DownloadError::Unfinished { source, .. }) => {
                assert_eq!(left.len(), 1, "what is there already is kept: {left:?}");
                assert!(disk.stat(path).is_err(), "under another name");
                Err(*source)
            }
            Err(error) => {
                assert_eq!(left, [], "nothing is left of a download that failed");
                Err(error)
            }
        }
    }
}

impl Default for Cluster {
    fn default() -> Self {
        Self::new()
    }
}
