use std::{
    collections::BTreeSet,
    fmt,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use spillway_disk::{Disk, FaultPlan, Faults, MemoryDisk, Survival};
use spillway_net::{MemoryNetwork, Serve};
use spillway_node::{
    Batches, BatchesOptions, ChainClock, NodeService, Price, ServiceOptions, Terms,
};
use spillway_store::{ChunkStore, FsStore, FsStoreOptions};
use spillway_types::{ChunkAddress, Domain, PeerKey, PeerSecret};

use crate::{Fate, Sabotage, SimChain, SimClock, Sky, Strike, serve::SimServe};

/// What all nodes of a network have in common.
#[derive(Clone, Debug)]
pub(crate) struct Common {
    pub sky: Sky,
    pub clock: SimClock,
    pub fate: Fate,
    pub domain: Domain,
    pub network: MemoryNetwork,
    pub members: Members,
    pub sabotage: Option<Sabotage>,
    /// Nodes may lose what they have just signed for.
    pub lossy: bool,
}

/// The nodes of a network. Whoever serves for one knows them weakly, so that nothing keeps itself
/// alive.
#[derive(Clone, Debug, Default)]
pub(crate) struct Members(Arc<Mutex<Vec<Arc<Member>>>>);

impl Members {
    pub(crate) fn all(&self) -> Vec<Arc<Member>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn push(&self, member: Arc<Member>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(member);
    }

    pub(crate) fn clear(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

/// Whether a node lies.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Lies {
    /// About prices.
    pub prices: bool,
    /// About chunks and receipts.
    pub chunks: bool,
    /// In receipts that hold, for chunks that it does not have.
    pub signs: bool,
}

/// One node: a real service on a disk of its own, which it loses what it did not sync of when it
/// dies.
pub(crate) struct Member {
    pub index: usize,
    pub secret: PeerSecret,
    pub terms: Terms,
    pub lies: Lies,
    common: Common,
    alive: Mutex<Option<Alive>>,
    /// Chunks that it says it has.
    claims: Mutex<BTreeSet<ChunkAddress>>,
    /// Chunks that it has signed for, and lost.
    lost: Mutex<BTreeSet<ChunkAddress>>,
}

/// A node from one start to its next.
#[derive(Clone)]
pub(crate) struct Alive {
    /// Counts starts.
    pub generation: u64,
    pub disk: MemoryDisk,
    pub faults: Arc<Faults>,
    pub store: Arc<dyn ChunkStore>,
    pub batches: Batches,
}

impl fmt::Debug for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Member").field("index", &self.index).finish_non_exhaustive()
    }
}

impl Member {
    /// Makes a node and starts it.
    pub(crate) async fn start_new(
        common: &Common,
        secret: PeerSecret,
        terms: Terms,
        lies: Lies,
    ) -> Arc<Self> {
        let member = Arc::new(Self {
            index: common.members.all().len(),
            secret,
            terms,
            lies,
            // The list of all is no part of what one of them holds.
            common: Common { members: Members::default(), ..common.clone() },
            alive: Mutex::new(None),
            claims: Mutex::default(),
            lost: Mutex::default(),
        });
        common.members.push(Arc::clone(&member));
        member.start(MemoryDisk::new(), 0).await;
        member
    }

    pub(crate) fn peer(&self) -> PeerKey {
        self.secret.peer()
    }

    pub(crate) fn domain(&self) -> Domain {
        self.common.domain
    }

    pub(crate) fn fate(&self) -> &Fate {
        &self.common.fate
    }

    pub(crate) fn clock(&self) -> &SimClock {
        &self.common.clock
    }

    /// What it is now.
    pub(crate) fn alive(&self) -> Alive {
        let alive = self.alive_slot().clone();
        alive.expect("invariant: a node was started when it was made")
    }

    fn alive_slot(&self) -> MutexGuard<'_, Option<Alive>> {
        self.alive.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it has this chunk.
    pub(crate) fn has(&self, address: ChunkAddress) -> bool {
        self.alive().store.has(address)
    }

    /// It says that it has this chunk.
    pub(crate) fn claim(&self, address: ChunkAddress) {
        self.claims.lock().unwrap_or_else(PoisonError::into_inner).insert(address);
    }

    /// Whether it lied about having this chunk.
    pub(crate) fn has_claimed(&self, address: ChunkAddress) -> bool {
        self.claims.lock().unwrap_or_else(PoisonError::into_inner).contains(&address)
    }

    /// Whether it has lost this chunk after it had signed for it.
    pub(crate) fn has_lost(&self, address: ChunkAddress) -> bool {
        self.lost.lock().unwrap_or_else(PoisonError::into_inner).contains(&address)
    }

    /// What is broken on purpose.
    pub(crate) fn sabotage(&self) -> Option<Sabotage> {
        self.common.sabotage
    }

    /// Whether it loses a chunk that it has just stored.
    pub(crate) fn loses(&self) -> bool {
        self.common.lossy && self.fate().strikes(Strike::NodeLoses)
    }

    /// It loses chunks that it has signed for.
    pub(crate) async fn lose(self: &Arc<Self>, chunks: &[ChunkAddress]) {
        self.lost.lock().unwrap_or_else(PoisonError::into_inner).extend(chunks);
        self.remove(chunks).await;
    }

    /// These chunks are gone from its disk when it starts anew.
    pub(crate) async fn remove(self: &Arc<Self>, chunks: &[ChunkAddress]) {
        let before = self.alive();
        let disk = before.disk.crash(Survival::Everything);
        for address in chunks {
            self.fate().note(format_args!("node {} loses {address}", self.index));
            let removed = disk.remove_file(&Path::new("chunks").join(address.to_string()));
            removed.expect("invariant: a chunk that is here is a file");
        }
        disk.sync_dir(Path::new("chunks")).expect("invariant: a disk without faults works");
        self.start(disk, before.generation + 1).await;
    }

    /// It dies, and what its disk keeps of what was not synced is for `survival` to say; then it
    /// starts anew.
    pub(crate) async fn restart(self: &Arc<Self>, survival: Survival) {
        let before = self.alive();
        self.fate().note(format_args!("node {} restarts: {survival:?}", self.index));
        self.start(before.disk.crash(survival), before.generation + 1).await;
    }

    async fn start(self: &Arc<Self>, disk: MemoryDisk, generation: u64) {
        let Common { sky, clock, domain, network, .. } = &self.common;
        let faults = Arc::new(Faults::default());
        let seen: Arc<dyn Disk> = Arc::new(disk.clone().with_faults(Arc::clone(&faults)));
        let options = FsStoreOptions { capacity_bytes: 1 << 50, disk_margin_bytes: 0 };
        let store = FsStore::open(Arc::clone(&seen), options).await;
        let store = store.expect("invariant: a store opens on whatever a crash has left");
        let store: Arc<dyn ChunkStore> = Arc::new(store);
        let node_clock = ChainClock::new(Arc::new(clock.clone()));
        let batches = Batches::open(BatchesOptions {
            disk: seen,
            // A node that cannot ask when it starts tries again until it can.
            chain: Arc::new(sky.chain().clone()),
            domain: *domain,
            terms: self.terms,
            clock: node_clock.clone(),
        });
        let batches = batches.await.expect("invariant: the chain itself never fails");
        batches.walk(store.as_ref()).await;
        let service = NodeService::new(ServiceOptions {
            secret: self.secret.clone(),
            domain: *domain,
            terms: self.terms,
            store: Arc::clone(&store),
            chain: Arc::new(SimChain::of_node(sky)),
            batches: batches.clone(),
            clock: node_clock,
            // Without an answer first, for the way out; then in the same place with one.
            peers: network.join(self.secret.clone(), None),
        });
        *self.alive_slot() = Some(Alive { generation, disk, faults, store, batches });
        let serve: Arc<dyn Serve> =
            Arc::new(SimServe::new(Arc::downgrade(self), generation, Arc::new(service)));
        network.join(self.secret.clone(), Some(serve));
    }

    /// The next change of its disk fails.
    pub(crate) fn fail_disk(&self, plan: FaultPlan) {
        self.alive().faults.arm(plan);
    }

    /// Its disk fails no more.
    pub(crate) fn heal_disk(&self) {
        self.alive().faults.disarm();
    }

    /// It follows the chain and notes what it has won.
    pub(crate) async fn tend(&self) {
        let Alive { batches, store, .. } = self.alive();
        // What it does not hear now it hears at the next look.
        let _ = batches.hear().await;
        batches.tend(store.as_ref()).await;
    }
}

/// A node that may be gone when its service is asked.
pub(crate) type Known = Weak<Member>;

/// What every node asks a MiB: one a byte.
pub(crate) fn price() -> Price {
    Price::per_mib(spillway_types::Atto(1024 * 1024)).expect("invariant: it fits the vault")
}
