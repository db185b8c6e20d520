use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::FutureExt;
use spillway_client::{Client, ClientParts, WorkerLimits, Workers};
use spillway_disk::{Disk, MemoryDisk, Overwrite};
use spillway_net::{Fault, MemoryNetwork, Peers, RequestKind};
use spillway_node::{Terms, limits::TIP_GAS};
use spillway_pay::{Chain, Mining, PayTiming, Payments, PaymentsOptions, Wallet};
use spillway_types::{
    Atto, ChunkAddress, Domain, NetworkId, PaymentId, PeerKey, PeerSecret, RewardAddress,
    TokenRate, UnixTime, Wei, limits::CLOSE_GROUP,
};

use crate::{
    Fate, Life, Machine, Sabotage, SimChain, SimClock, SimDisk, SimPeers, Sky, Strike, Violation,
    chain::{BASE_FEE, TOKEN, VAULT},
    disk::Handles,
    durable::PlanReader,
    member::{Common, Lies, Member, Members, price},
    picture::Picture,
    watched::Watch,
};

/// Nodes of the network.
pub const PEERS: usize = 15;

/// What the payer has at first.
pub const TOKENS: Atto = Atto(1_000_000_000_000_000);

/// The tip a draw of nodes that take batches.
const TIP: Atto = Atto(100);

/// Nodes that sign for chunks that they do not have, at most.
const SIGN_LIES: usize = 2;

/// Directories that are not ours, in every data directory.
const NOT_OURS: &str = "other";

/// What a node lies about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum About {
    Prices,
    /// Chunks and receipts. Its prices are good, so that it is paid and asked.
    Chunks,
    Everything,
}

impl About {
    pub(crate) fn draw(random: &mut fastrand::Rng) -> Self {
        [Self::Prices, Self::Chunks, Self::Chunks, Self::Everything][random.usize(..4)]
    }
}

/// How a world differs from another.
#[derive(Clone, Debug)]
pub(crate) struct WorldOptions {
    pub mining: Mining,
    pub confirmations: u16,
    /// Which nodes may lie. The first two may also sign for chunks that they do not have: of three
    /// receipts that hold one is honest then.
    pub liars: Vec<(usize, About)>,
    pub sabotage: Option<Sabotage>,
    /// Nodes may lose what they have just signed for.
    pub lossy: bool,
}

/// Everything that there is in one simulation.
#[derive(Debug)]
pub(crate) struct World {
    pub fate: Fate,
    pub clock: SimClock,
    pub sky: Sky,
    pub domain: Domain,
    pub payer: Arc<Wallet>,
    pub members: Vec<Arc<Member>>,
    /// Their keys, in the same order.
    pub peers: Vec<PeerKey>,
    pub sabotage: Option<Sabotage>,
    pub plans: PlanReader,
    common: Common,
    /// What was seen to be broken while it happened.
    pub seen: Arc<Mutex<Vec<Violation>>>,
    clients: Mutex<u64>,
}

/// One data directory of the payer, on a machine of its own.
#[derive(Clone, Debug)]
pub(crate) struct DataDir {
    pub name: &'static str,
    /// The first of those that have handed everything over to each other: together they are one payer.
    pub family: &'static str,
    pub machine: Machine,
    pub clock: SimClock,
    /// Where the wallet's lock is.
    pub locks: MemoryDisk,
    /// What is there that is not ours.
    pub not_ours: Picture,
}

/// A process of a client, ready to be used.
pub(crate) struct Process {
    pub client: Client,
    pub payments: Arc<Payments>,
    pub life: Life,
    pub handles: Handles,
}

impl World {
    pub(crate) async fn new(fate: Fate, options: WorldOptions) -> Self {
        let clock = SimClock::new();
        let sky = Sky::new(&clock, &fate, options.mining);
        let payer = Arc::new(Wallet::from_bytes(&[7; 32]).expect("invariant: a good key"));
        sky.deploy(payer.address(), TOKENS);
        sky.chain().set_coins(payer.address(), Wei(1_000_000_000_000_000_000_000));
        let domain =
            Domain { network: NetworkId::named("simulation"), chain_id: 31_337, vault: VAULT };
        let faults = fate.clone();
        let network = MemoryNetwork::with_faults(Arc::new(
            move |_: PeerKey, _: PeerKey, kind: RequestKind| message_fault(&faults, kind),
        ));
        let common = Common {
            sky: sky.clone(),
            clock: clock.clone(),
            fate: fate.clone(),
            domain,
            network,
            members: Members::default(),
            sabotage: options.sabotage,
            lossy: options.lossy,
        };
        for index in 0..PEERS {
            let number = u8::try_from(index + 1).unwrap_or(u8::MAX);
            let terms = Terms {
                confirmations: options.confirmations,
                price: price(),
                token_rate: rate_of(TIP),
                max_prize: Some(Atto::MAX_SHARE),
                ..Terms::new(reward_of(index))
            };
            let lies = |of: About| {
                let mut all = options.liars.iter();
                all.any(|(liar, about)| {
                    *liar == index && (*about == of || *about == About::Everything)
                })
            };
            let signers = &options.liars[..options.liars.len().min(SIGN_LIES)];
            let liar = Lies {
                prices: lies(About::Prices),
                chunks: lies(About::Chunks),
                signs: signers.iter().any(|(liar, _)| *liar == index),
            };
            let secret = PeerSecret::from_seed(&[number; 32]);
            Member::start_new(&common, secret, terms, liar).await;
        }
        let members = common.members.all();
        let peers = members.iter().map(|member| member.peer()).collect();
        Self {
            fate,
            clock,
            sky,
            domain,
            payer,
            members,
            peers,
            sabotage: options.sabotage,
            plans: PlanReader::default(),
            common,
            seen: Arc::default(),
            clients: Mutex::new(0),
        }
    }

    /// Lets go of everything that holds on to everything else.
    pub(crate) fn end(&self) {
        for peer in &self.peers {
            self.common.network.leave(*peer);
        }
        self.common.members.clear();
        self.sky.chain().set_faults(None);
    }

    /// A new data directory on a machine of its own.
    pub(crate) fn data_dir(&self, name: &'static str, locks: &MemoryDisk) -> DataDir {
        let disk = MemoryDisk::new();
        let not_ours = plant(&disk);
        DataDir {
            name,
            family: name,
            machine: Machine::new(disk),
            clock: self.clock.with_own_wall(),
            locks: locks.clone(),
            not_ours,
        }
    }

    /// A process on this data directory. `watched`: it uploads, so what it sends must be durable.
    pub(crate) fn process(&self, dir: &DataDir, life: Life, watched: bool) -> Process {
        let data = SimDisk::new(life.disk(), life.clone(), self.fate.clone());
        let handles = data.handles().clone();
        let watch = watched.then(|| Watch {
            dir: dir.clone(),
            seen: Arc::clone(&self.seen),
            sabotage: self.sabotage,
            sky: self.sky.clone(),
            payer: self.payer.address(),
            plans: self.plans.clone(),
        });
        let chain: Arc<dyn Chain> = Arc::new(SimChain::of_client(&self.sky, &life, watch));
        let payments = Arc::new(Payments::new(PaymentsOptions {
            chain,
            domain: self.domain,
            token: Some(TOKEN),
            clock: Arc::new(dir.clock.clone()),
            wallet_locks: Arc::new(dir.locks.clone()),
            timing: PayTiming::default(),
        }));
        let client = Client::new(ClientParts {
            data: Arc::new(data),
            clock: Arc::new(dir.clock.clone()),
            peers: self.peers(&life),
            payments: Arc::clone(&payments),
            domain: self.domain,
            stop: life.stop().clone(),
            // Of this process alone: those of another thread's world would decide when this one waits.
            workers: Workers::new(WorkerLimits::default()),
        });
        Process { client, payments, life, handles }
    }

    /// The network as this process sees it.
    pub(crate) fn peers(&self, life: &Life) -> Arc<dyn Peers> {
        let number = {
            let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
            *clients += 1;
            *clients
        };
        let mut seed = [0xcc; 32];
        seed[..8].copy_from_slice(&number.to_le_bytes());
        let peers = self.common.network.join(PeerSecret::from_seed(&seed), None);
        Arc::new(SimPeers::new(peers, life.clone(), self.fate.clone()))
    }

    /// Lets time pass.
    pub(crate) async fn wait(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
        self.sky.catch_up();
    }

    pub(crate) fn now(&self) -> UnixTime {
        self.clock.true_now()
    }

    /// What the payer has paid so far, less what came back.
    pub(crate) fn paid(&self) -> Atto {
        let balance = self.sky.chain().tokens(TOKEN, self.payer.address()).now_or_never();
        let balance = balance.and_then(Result::ok);
        TOKENS.saturating_sub(balance.expect("invariant: the chain itself answers at once"))
    }

    /// The payments that the vault has recorded.
    pub(crate) fn recorded(&self) -> std::collections::BTreeMap<PaymentId, UnixTime> {
        self.sky.chain().recorded(VAULT)
    }

    /// How many nodes have this chunk, or lie about it.
    pub(crate) fn holders(&self, address: ChunkAddress) -> usize {
        self.members.iter().filter(|node| node.has(address) || node.has_claimed(address)).count()
    }

    /// The five nodes that are closest to a chunk, by their place in [`Self::members`].
    pub(crate) fn closest(&self, address: ChunkAddress) -> Vec<usize> {
        let mut all: Vec<usize> = (0..self.peers.len()).collect();
        all.sort_by_cached_key(|&index| self.peers[index].distance(&address));
        all.truncate(CLOSE_GROUP);
        all
    }
}

/// Where the node in this place is paid.
pub(crate) fn reward_of(index: usize) -> RewardAddress {
    let mut reward = [0xee; 20];
    reward[19] = u8::try_from(index + 1).unwrap_or(u8::MAX);
    RewardAddress(reward)
}

/// What a token is worth when this is the least tip of a draw, at quiet fees.
fn rate_of(tip: Atto) -> Option<TokenRate> {
    let price = 2 * BASE_FEE.0;
    let worth = price * u128::from(TIP_GAS) * 10_u128.pow(18);
    worth.checked_div(tip.0).map(|rate| TokenRate(Wei(rate)))
}

fn message_fault(fate: &Fate, kind: RequestKind) -> Fault {
    let fault = if fate.strikes(Strike::NetDelay) {
        Fault::Delay(Duration::from_millis(fate.draw(|random| random.u64(1..8_000))))
    } else if fate.strikes(Strike::NetUnreachable) {
        Fault::Unreachable
    } else if fate.strikes(Strike::NetBreakBefore) {
        Fault::BreakBefore
    } else if fate.strikes(Strike::NetBreakAfter) {
        Fault::BreakAfter
    } else if fate.strikes(Strike::NetSilence) {
        Fault::Silence
    } else {
        return Fault::Deliver;
    };
    fate.note(format_args!("message {kind:?}: {fault:?}"));
    fault
}

/// Puts things into a data directory that are not ours, links among them.
fn plant(disk: &MemoryDisk) -> Picture {
    let put = |path: &str, bytes: &[u8]| {
        disk.write_durable(Path::new(path), bytes, Overwrite::Never)
            .expect("invariant: an empty disk takes a file");
    };
    for dir in [NOT_OURS, "spill"] {
        disk.create_dir_all(Path::new(dir)).expect("invariant: an empty disk takes a directory");
    }
    put("other/file", b"somebody else's");
    // A link that looks like an old spill. The file beside it makes it durable.
    disk.symlink(Path::new("../other"), Path::new("spill/spill_1600000000_00000000000000ff"))
        .expect("invariant: an empty disk takes a link");
    put("spill/notes", b"no spill");
    Picture::of(disk, Path::new(NOT_OURS))
}

impl DataDir {
    /// Whether what is not ours is as it was.
    pub(crate) fn is_untouched(&self) -> bool {
        let disk = self.machine.disk();
        Picture::of(&disk, Path::new(NOT_OURS)) == self.not_ours
            && disk.read(Path::new("spill/notes"), 100).is_ok_and(|bytes| bytes == b"no spill")
            && disk
                .read_link(Path::new("spill/spill_1600000000_00000000000000ff"))
                .is_ok_and(|target| target == Path::new("../other"))
    }
}
