use std::{fmt, sync::Arc, time::Duration};

use spillway_disk::{Clock, run};
use spillway_net::{Address, Net, NetOptions};
use spillway_pay::Chain;
use spillway_store::{Capacity, ChunkStore, FsStore, FsStoreOptions};
use spillway_types::{Domain, PeerKey, RewardAddress, UnixTime};

use crate::{
    Batches, BatchesOptions, ChainClock, Follower, Identity, NodeError, NodeOptions, NodeService,
    ServiceOptions,
    limits::{BATCH_FILES_BYTES, DRAIN_DEADLINE, LOOKUP_DEADLINE, SILENT_POLLS},
};

/// A running storage node. Dropping it ends it at once, as a crash would; [`Node::shutdown`] lets it
/// finish what is under way.
#[must_use = "dropping it ends the node"]
pub struct Node {
    net: Net,
    service: NodeService,
    store: Arc<FsStore>,
    batches: Batches,
    clock: ChainClock,
    follower: Follower,
}

impl Node {
    /// Starts a node: reads its key or makes one, opens its store, makes sure that the chain is the
    /// right one and has the vault, and answers peers. When it returns, every address of `listen`
    /// accepts requests; [`Node::bootstrapped`] tells when the others are found.
    ///
    /// # Errors
    /// The first thing that is wrong; then nothing runs, and at most the key was made.
    pub async fn start(options: NodeOptions) -> Result<Self, NodeError> {
        if options.reward == RewardAddress::ZERO {
            return Err(NodeError::NoReward);
        }
        // The store first: it holds the lock that keeps a second process away.
        let store =
            Arc::new(FsStore::open(Arc::clone(&options.disk), store_options(&options)).await?);
        let identity = run(&options.disk, |disk| Ok(Identity::load_or_create(disk))).await??;
        check_chain(options.chain.as_ref(), &options.domain).await?;
        let clock =
            ChainClock::new(Arc::clone(&options.clock)).with_patience(patience(options.head_poll));
        let batches = Batches::open(BatchesOptions {
            disk: Arc::clone(&options.disk),
            chain: Arc::clone(&options.chain),
            domain: options.domain,
            terms: options.terms(),
            clock: clock.clone(),
        })
        .await?;
        let net = Net::start(net_options(&options, &identity)).await?;
        let service = NodeService::new(ServiceOptions {
            secret: identity.secret().clone(),
            domain: options.domain,
            terms: options.terms(),
            store: Arc::clone(&store) as Arc<dyn ChunkStore>,
            chain: options.chain,
            batches: batches.clone(),
            clock: clock.clone(),
            peers: net.peers(),
        });
        net.serve(Arc::new(service.clone()));
        let chunks = Arc::clone(&store) as Arc<dyn ChunkStore>;
        let follower = Follower::start(batches.clone(), chunks, clock.clone(), options.head_poll);
        tracing::info!(peer = %net.local(), chunks = store.chunks(), "the node runs");
        Ok(Self { net, service, store, batches, clock, follower })
    }

    /// Who this node is.
    pub fn peer(&self) -> PeerKey {
        self.net.local()
    }

    /// Where others reach this node, with its name.
    pub fn addresses(&self) -> Vec<Address> {
        self.net.listen_addresses()
    }

    /// Waits until the network is found through the bootstrap addresses. The first node of a network
    /// is there at once.
    ///
    /// # Errors
    /// [`NodeError::Net`] when nobody answers in time; the node goes on trying.
    ///
    /// # Cancel safety
    /// Dropping the call changes nothing.
    pub async fn bootstrapped(&self) -> Result<(), NodeError> {
        Ok(self.net.bootstrapped().await?)
    }

    /// Waits until this many other nodes are known.
    ///
    /// # Errors
    /// [`NodeError::Net`] when the network ends.
    ///
    /// # Cancel safety
    /// Dropping the call changes nothing.
    pub async fn known_at_least(&self, count: usize) -> Result<(), NodeError> {
        Ok(self.net.known_at_least(count).await?)
    }

    /// How full the node is.
    pub fn capacity(&self) -> Capacity {
        self.store.capacity()
    }

    /// How many chunks it keeps.
    pub fn chunks(&self) -> usize {
        self.store.chunks()
    }

    /// What time it is for this node: the later of its own clock and the chain's.
    pub fn now(&self) -> UnixTime {
        self.clock.now()
    }

    /// How many draws it knows to be won by its chunks, and not to be settled.
    pub fn wins(&self) -> usize {
        self.batches.wins()
    }

    /// Asks for the chain's news now, and not only when it is due: after a test network's time was
    /// moved or its beacon has a seed. When it returns, the store was walked once since the start
    /// (as far as the index has room), and the wins that follow from these news are noted or dropped.
    ///
    /// # Errors
    /// [`NodeError::Chain`]; what was known before is kept.
    ///
    /// # Cancel safety
    /// It may be dropped at any time.
    pub async fn refresh_time(&self) -> Result<(), NodeError> {
        self.batches.hear().await?;
        // The sender lives in `batches`, so this cannot end early.
        let _ = self.batches.walked().wait_for(|walked| *walked > 0).await;
        self.batches.tend(self.store.as_ref()).await;
        Ok(())
    }

    /// Refuses what comes from now on, lets what is under way finish within
    /// [`DRAIN_DEADLINE`], closes all connections, and waits for every task.
    ///
    /// # Cancel safety
    /// Dropping it ends the node at once.
    ///
    /// # Panics
    /// When a task of the node did.
    pub async fn shutdown(self) {
        let Self { net, service, store, follower, .. } = self;
        if !service.drain(DRAIN_DEADLINE).await {
            tracing::warn!("requests were still under way and are given up");
        }
        drop(service);
        net.shutdown().await;
        follower.shutdown().await;
        drop(store);
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node")
            .field("net", &self.net)
            .field("store", &self.store)
            .finish_non_exhaustive()
    }
}

fn net_options(options: &NodeOptions, identity: &Identity) -> NetOptions {
    let (listen, bootstrap) = (options.listen.clone(), options.bootstrap.clone());
    NetOptions {
        external: options.external.clone(),
        transports: options.transports,
        limits: options.net_limits.clone(),
        ..NetOptions::node(identity.secret().clone(), listen, bootstrap)
    }
}

/// The store leaves on the disk, beside what the operator wants to be left, what further proofs and
/// wins may fill: a disk that is full of chunks would lose what they earn.
fn store_options(options: &NodeOptions) -> FsStoreOptions {
    let store = options.store();
    let disk_margin_bytes = store.disk_margin_bytes.saturating_add(BATCH_FILES_BYTES);
    FsStoreOptions { disk_margin_bytes, ..store }
}

/// Makes sure that the chain is the one of this domain and has its vault.
async fn check_chain(chain: &dyn Chain, domain: &Domain) -> Result<(), NodeError> {
    let found = chain.chain_id().await?;
    if found != domain.chain_id {
        return Err(NodeError::WrongChain { expected: domain.chain_id, found });
    }
    if !chain.has_code(domain.vault).await? {
        return Err(NodeError::NoVault { vault: domain.vault });
    }
    Ok(())
}

/// How long a silence of the chain is waited out.
fn patience(head_poll: Duration) -> Duration {
    head_poll.saturating_mul(SILENT_POLLS).max(LOOKUP_DEADLINE)
}
