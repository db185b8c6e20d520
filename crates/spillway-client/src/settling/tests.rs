use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use spillway_disk::{Clock, ManualClock, MemoryDisk};
use spillway_pay::{
    Caps, ChainError, ChainFault, ChainOp, CommitChoice, MemoryChain, MemoryChainOptions,
    PayRequest, PayTiming, PaymentsOptions, Plan, PlanMode, SkipReason, SumTree, Windows,
};
use spillway_types::{
    Atto, BatchTerms, ChunkAddress, Domain, EvmAddress, HasRequest, HasResponse, Leaf, NetworkId,
    OfferRequest, PeerSecret, PutRequest, PutResponse, QuoteRequest, QuoteResponse, Retry,
    RewardAddress, Seed, Share, Wei, WinsResponse,
};

use super::*;
use crate::testing::Hasty;

mod drand;
mod rounds;

const START: UnixTime = UnixTime(1_800_000_000);
const TOKEN: EvmAddress = EvmAddress([2; 20]);
const VAULT: EvmAddress = EvmAddress([3; 20]);
const SEED: Seed = Seed([4; 32]);

/// A chain with two batches of the same four leaves, whose seed is known.
struct World {
    clock: Arc<Hasty>,
    chain: MemoryChain,
    payments: Payments,
    wallet: Wallet,
    leaves: Vec<Leaf>,
    terms: BatchTerms,
    /// The other batch.
    other: BatchTerms,
}

impl World {
    async fn new() -> Self {
        let clock = Arc::new(Hasty(ManualClock::new(START)));
        let chain = MemoryChain::new(MemoryChainOptions::new(clock.clone()));
        let wallet = Wallet::from_bytes(&[5; 32]).unwrap();
        let payer = wallet.address();
        chain.put_token(TOKEN, payer, Atto(1_000_000));
        let windows = Windows {
            min: Duration::from_mins(15),
            max: Duration::from_hours(24),
            draw_delay: Duration::from_mins(15),
            claim: Duration::from_hours(24 * 30),
        };
        chain.put_vault(VAULT, TOKEN, windows);
        chain.set_coins(payer, Wei(10_u128.pow(18)));
        let domain = Domain { network: NetworkId([1; 32]), chain_id: 31_337, vault: VAULT };
        let payments = Payments::new(PaymentsOptions {
            chain: Arc::new(chain.clone()),
            domain,
            token: None,
            clock: clock.clone(),
            wallet_locks: Arc::new(MemoryDisk::new()),
            timing: PayTiming::default(),
        });
        let leaf = |number: u8| Leaf {
            address: ChunkAddress([number; 32]),
            shares: [Share { payee: RewardAddress([number + 1; 20]), amount: Atto(100) }; 5],
        };
        let leaves: Vec<Leaf> = (0..4).map(leaf).collect();
        let root = SumTree::new(&leaves).unwrap().root().hash;
        let plan = Plan {
            domain,
            mode: PlanMode::Batch { root, tip: Atto(7), draws: 1 },
            payer,
            leaves: leaves.clone(),
            upload_by: START.saturating_add(Duration::from_hours(1)),
            valid_until: START.saturating_add(Duration::from_mins(10)),
        };
        let later = plan.upload_by.saturating_add(Duration::from_mins(1));
        let plans = [plan.clone(), Plan { upload_by: later, ..plan.clone() }];
        let request = PayRequest {
            plans: &plans,
            wallet: &wallet,
            earlier: &[],
            caps: Caps::default(),
            confirmations: 0,
            commit: CommitChoice::default(),
        };
        payments.pay(request, &mut Forgets).await.unwrap();
        let [terms, other] = plans.map(|plan| plan.batch_terms().unwrap());
        clock.0.advance(Duration::from_hours(48));
        chain.put_seed(VAULT, terms.upload_by, SEED);
        chain.mine(1);
        Self { clock, chain, payments, wallet, leaves, terms, other }
    }

    /// What a node would show if this leaf had won.
    fn win(&self, leaf: usize) -> Win {
        let siblings = SumTree::new(&self.leaves).unwrap().siblings(leaf);
        Win { terms: self.terms, draw: 0, leaf: self.leaves[leaf].clone(), siblings }
    }

    /// The leaf that was drawn.
    fn drawn(&self) -> usize {
        let id = self.terms.id(self.payments.domain());
        usize::try_from(self.terms.draw_point(SEED, id, 0).0 / 500).unwrap()
    }

    /// What was drawn of a batch.
    fn won(&self, terms: BatchTerms) -> Win {
        let point = terms.draw_point(SEED, terms.id(self.payments.domain()), 0).0;
        Win { terms, ..self.win(usize::try_from(point / 500).unwrap()) }
    }

    /// From the second transaction on the chain is out of reach, for every question.
    fn lose_the_chain(&self) {
        let sent = AtomicU32::new(0);
        self.chain.set_faults(Some(Box::new(move |op| {
            let more = u32::from(op == ChainOp::SendRaw);
            let sent = sent.fetch_add(more, Ordering::Relaxed) + more;
            let gone = ChainError::Unreachable { endpoint: "rpc".into() };
            (sent > 1).then_some(ChainFault::Refuse(gone))
        })));
    }

    async fn settle(&self, pages: Vec<(PeerKey, Vec<WinsPage>)>) -> SettleReport {
        self.ask(pages, false).await
    }

    async fn ask(&self, pages: Vec<(PeerKey, Vec<WinsPage>)>, dry_run: bool) -> SettleReport {
        let from = pages.iter().map(|(peer, _)| *peer).collect();
        let options = SettleOptions { from, dry_run, ..SettleOptions::default() };
        let peers = Pages::of(pages);
        settle(&peers, &self.payments, &self.wallet, options).await.unwrap()
    }
}

/// Peers that show these pages, the last one for ever.
#[derive(Debug)]
struct Pages {
    shown: BTreeMap<PeerKey, Vec<WinsPage>>,
    /// How long and how often they are busy before each page.
    busy: (u32, u32),
    asked: AtomicU32,
}

impl Pages {
    fn of(pages: Vec<(PeerKey, Vec<WinsPage>)>) -> Self {
        Self { shown: pages.into_iter().collect(), busy: (0, 0), asked: AtomicU32::new(0) }
    }
}

const NONE: PeersError = PeersError::NoPeers;

#[async_trait]
impl Peers for Pages {
    fn local(&self) -> PeerKey {
        peer(0)
    }

    async fn closest(&self, _: ChunkAddress, _: usize) -> Result<Vec<PeerKey>, PeersError> {
        Err(NONE)
    }

    async fn known_closest(&self, _: ChunkAddress, _: usize) -> Result<Vec<PeerKey>, PeersError> {
        Err(NONE)
    }

    async fn quote(&self, _: PeerKey, _: QuoteRequest) -> Result<QuoteResponse, PeersError> {
        Err(NONE)
    }

    async fn put(&self, _: PeerKey, _: PutRequest, _: Bytes) -> Result<PutResponse, PeersError> {
        Err(NONE)
    }

    async fn offer(
        &self,
        _: PeerKey,
        _: OfferRequest,
        _: Bytes,
    ) -> Result<PutResponse, PeersError> {
        Err(NONE)
    }

    async fn get(&self, _: PeerKey, _: ChunkAddress) -> Result<Option<Bytes>, PeersError> {
        Err(NONE)
    }

    async fn has(&self, _: PeerKey, _: HasRequest) -> Result<HasResponse, PeersError> {
        Err(NONE)
    }

    async fn wins(&self, peer: PeerKey, request: WinsRequest) -> Result<WinsResponse, PeersError> {
        let pages = self.shown.get(&peer).ok_or(PeersError::Unreachable { peer })?;
        let (after_ms, times) = self.busy;
        let before = self.asked.fetch_add(1, Ordering::Relaxed);
        if before % times.saturating_add(1) < times {
            return Ok(WinsResponse { page: Err(Refusal::Busy { after_ms }) });
        }
        let at = request.after.map_or(0, |_| before as usize).min(pages.len() - 1);
        Ok(WinsResponse { page: Ok(pages[at].clone()) })
    }
}

fn peer(number: u8) -> PeerKey {
    PeerSecret::from_seed(&[number + 1; 32]).peer()
}

fn page(wins: Vec<Win>, more: bool) -> WinsPage {
    WinsPage { wins, more, waiting: Vec::new() }
}

#[tokio::test]
async fn a_wrong_leaf_does_not_hide_the_one_that_was_drawn() {
    let world = World::new().await;
    let drawn = world.drawn();
    let wrong = (drawn + 1) % 4;
    let liar = (peer(1), vec![page(vec![world.win(wrong)], false)]);
    let honest = (peer(2), vec![page(vec![world.win(drawn)], false)]);
    let payee = world.leaves[drawn].shares[0].payee;
    let payees = BTreeMap::from([(payee, Atto(2_000))]);
    let look = world.ask(vec![liar.clone(), honest.clone()], true).await;
    assert_eq!((look.settled.draws, look.settled.transactions, &look.payees), (1, 0, &payees));
    let report = world.settle(vec![liar, honest.clone()]).await;
    assert_eq!(report.payees, payees);
    assert_eq!((report.wins, report.settled.draws, report.silent.len()), (2, 1, 0));
    assert_eq!((report.settled.prizes, report.settled.tips), (Atto(2_000), Atto(7)));
    let [skipped] = report.settled.skipped.as_slice() else { panic!("{report:?}") };
    assert!(matches!(skipped.reason, SkipReason::NotDrawn { .. }), "{skipped:?}");

    let again = world.settle(vec![honest]).await;
    assert_eq!((again.wins, again.settled.draws, again.settled.spend.gas_used), (1, 0, 0));
}

#[tokio::test]
async fn wins_whose_proof_does_not_hold_are_not_kept() {
    let world = World::new().await;
    let mut cut = world.win(world.drawn());
    cut.siblings.pop();
    let mut bent = world.win(world.drawn());
    bent.leaf.shares[0].amount = Atto(101);
    let pages = vec![page(vec![cut, bent], false)];
    let report = world.settle(vec![(peer(1), pages)]).await;
    assert_eq!((report.wins, report.settled.draws, report.settled.skipped.len()), (0, 0, 0));
}

#[tokio::test]
async fn a_node_that_shows_the_same_page_for_ever_is_left_and_what_it_showed_is_settled() {
    let world = World::new().await;
    let win = world.win(world.drawn());
    let pages = vec![page(vec![win], true)];
    let empty = (peer(2), vec![page(Vec::new(), true)]);
    let report = world.settle(vec![(peer(1), pages), empty]).await;
    assert_eq!((report.wins, report.settled.draws), (1, 1));
    let out_of_order = WinsFailure::OutOfOrder;
    assert_eq!(report.silent, [(peer(1), out_of_order.clone()), (peer(2), out_of_order)]);
}

#[tokio::test]
async fn a_node_with_more_pages_than_are_asked_for_is_named() {
    let world = World::new().await;
    let ask = async |pages: usize| {
        let mut wins: Vec<Win> = (0..pages as u64).map(|_| world.win(world.drawn())).collect();
        for (later, win) in (1..).zip(&mut wins) {
            win.terms.upload_by.0 += later;
        }
        wins.sort_by_key(|win| win.terms.id(world.payments.domain()));
        let pages = wins.into_iter().enumerate().map(|(at, win)| page(vec![win], at + 1 < pages));
        world.settle(vec![(peer(1), pages.collect())]).await.silent
    };
    assert_eq!(ask(MAX_WINS_PAGES).await, []);
    assert_eq!(ask(MAX_WINS_PAGES + 1).await, [(peer(1), WinsFailure::TooMany)]);
}

#[tokio::test]
async fn the_newest_seed_is_that_of_the_last_end_of_an_epoch_until_it_is_known() {
    let World { chain, payments, .. } = World::new().await;
    let wanted = newest_seed(&payments).await.unwrap().unwrap();
    let windows = payments.check_domain().await.unwrap().windows;
    let epoch = payments.chain().beacon(VAULT).await.unwrap().epoch.as_secs();
    let now = payments.chain().block(At::Depth(0)).await.unwrap().time.0;
    let drawn_by = (windows.draw_time(wanted).0 / epoch + 1) * epoch;
    assert!(drawn_by <= now && now < drawn_by + epoch, "{drawn_by} {now}");
    chain.put_seed(VAULT, wanted, SEED);
    assert_eq!(newest_seed(&payments).await.unwrap(), None);
}

/// A node that many others ask at once is waited for.
#[tokio::test]
async fn a_busy_node_is_asked_again_as_long_as_it_says_and_not_for_ever() {
    let world = World::new().await;
    let pages = || vec![(peer(1), vec![page(vec![world.win(world.drawn())], false)])];
    let ask = async |busy| {
        let peers = Pages { busy, ..Pages::of(pages()) };
        let from = vec![peer(1)];
        let options = SettleOptions { from, dry_run: true, ..SettleOptions::default() };
        let before = world.clock.monotonic();
        let report = settle(&peers, &world.payments, &world.wallet, options).await.unwrap();
        let asked = peers.asked.load(Ordering::Relaxed);
        (report, asked, world.clock.monotonic().saturating_sub(before))
    };
    let (report, asked, waited) = ask((250, 40)).await;
    assert_eq!((report.wins, report.silent, asked), (1, Vec::new(), 41));
    assert_eq!(waited, Duration::from_secs(10));
    for (after_ms, most) in [(0, 1_201), (1_000, 121), (120_000, 2), (120_001, 1), (u32::MAX, 1)] {
        let (report, asked, waited) = ask((after_ms, u32::MAX)).await;
        let busy = WinsFailure::Refused(Refusal::Busy { after_ms });
        assert_eq!((report.wins, report.silent, asked), (0, vec![(peer(1), busy)], most));
        assert!(waited <= Duration::from_mins(2), "{waited:?}");
    }
}

/// Whoever runs the node needs no peer to tell its wins.
#[tokio::test]
async fn wins_that_are_known_are_settled_without_a_network() {
    let world = World::new().await;
    let mut cut = world.win(world.drawn());
    cut.siblings.pop();
    let wins = vec![cut, world.win(world.drawn())];
    let options = SettleOptions { wins, from: vec![peer(1)], ..SettleOptions::default() };
    let report = settle_known(&world.payments, &world.wallet, options).await.unwrap();
    assert_eq!((report.wins, report.settled.draws), (1, 1));
    assert_eq!(report.silent, [(peer(1), WinsFailure::Peer(PeersError::NoPeers))]);
}

/// What nodes name is their word: the chain is asked, and what most name comes first.
#[tokio::test]
async fn seeds_that_nodes_wait_for_are_named_when_they_are_missing() {
    let world = World::new().await;
    let windows = world.payments.check_domain().await.unwrap().windows;
    let beacon = world.payments.chain().beacon(VAULT).await.unwrap();
    let epoch = beacon.epoch;
    // Time for draws after that of the batch, whose seed is known.
    let start = world.terms.upload_by;
    world.clock.0.advance(6 * epoch);
    world.chain.mine(1);
    let now = world.payments.chain().block(At::Depth(0)).await.unwrap().time;
    let after = |epochs: u32| start.saturating_add(epoch * epochs);
    let not_due = now.saturating_sub(windows.draw_delay);
    let over = now.saturating_sub(windows.claim + windows.draw_delay + Duration::from_secs(1));
    let says = |number, waiting: &[UnixTime]| {
        (peer(number), vec![WinsPage { waiting: waiting.to_vec(), ..page(Vec::new(), false) }])
    };
    let pages = vec![
        says(1, &[after(3), UnixTime(u64::MAX), start, UnixTime(0), not_due, over]),
        // Another window of the same epoch, as it were one more.
        says(2, &[UnixTime(after(4).0 - 1), after(4), after(1)]),
        says(3, &[after(4)]),
    ];
    let report = world.ask(pages.clone(), true).await;
    assert_eq!(report.missing, [UnixTime(after(4).0 - 1), after(1), after(3)]);
    world.chain.put_seed(VAULT, after(4), SEED);
    assert_eq!(world.ask(pages, false).await.missing, [after(1), after(3)]);
    let nothing = world.ask(vec![says(1, &[])], false).await;
    assert_eq!(nothing.missing, []);
}

/// Wins that are known are the first round, those of nodes a later one; and both in one.
#[tokio::test]
async fn what_was_settled_before_an_error_is_told() {
    for in_one_round in [true, false] {
        let world = World::new().await;
        let (first, second) = (world.won(world.terms), world.won(world.other));
        let both = vec![first.clone(), second.clone()];
        let wins = if in_one_round { both.clone() } else { vec![first] };
        let peers = Pages::of(vec![(peer(1), vec![page(vec![second], false)])]);
        let options = SettleOptions { wins, from: vec![peer(1)], ..SettleOptions::default() };
        world.lose_the_chain();
        let stopped = settle(&peers, &world.payments, &world.wallet, options).await.unwrap_err();
        assert_eq!(stopped.retry(), Retry::Backoff);
        let SettleStopped { done, error } = stopped;
        let AccountError::Payment(error) = error else { panic!("{error:?}") };
        assert_eq!((done.wins, done.settled.draws, done.settled.transactions), (2, 1, 1));
        assert_eq!((done.settled.tips, done.settled.prizes), (Atto(7), Atto(2_000)));
        assert_eq!(done.settled.spend.tx_hashes.len(), 1);
        assert_eq!(done.spend(), error.spend);
        // Whom the one paid that was settled, and not the other.
        assert_eq!(done.payees.values().map(|amount| amount.0).sum::<u128>(), 2_000);

        world.chain.set_faults(None);
        let options = SettleOptions { wins: both, ..SettleOptions::default() };
        let rest = settle_known(&world.payments, &world.wallet, options).await.unwrap();
        assert_eq!((rest.settled.draws, rest.settled.skipped.len()), (1, 1));
        assert_ne!(rest.settled.done, done.settled.done);
    }
}

/// One cap for all: what seeds have cost is not there for settling.
#[tokio::test]
async fn the_gas_of_seeds_counts_under_the_cap() {
    let world = World::new().await;
    let beacon = world.payments.chain().beacon(VAULT).await.unwrap();
    let upload_by = world.terms.upload_by.saturating_add(2 * beacon.epoch);
    world.clock.0.advance(3 * beacon.epoch);
    world.chain.mine(1);
    let plain = SeedWanted { upload_by, proof: Vec::new() };
    let wins = vec![world.won(world.terms)];
    let ask = async |seeds: Vec<SeedWanted>, gas_cap, dry_run| {
        let terms = SettleTerms { gas_cap, ..SettleTerms::default() };
        let options =
            SettleOptions { wins: wins.clone(), seeds, terms, dry_run, ..SettleOptions::default() };
        settle_known(&world.payments, &world.wallet, options).await
    };
    let dry = ask(vec![plain.clone()], None, true).await.unwrap();
    let least = dry.settled.spend.gas_cost;
    assert!(least > Wei(0) && dry.settled.spend.tx_hashes.is_empty());
    assert_eq!((&dry.seeds[..], dry.seed_spend), (&[(upload_by, None)][..], Spend::default()));
    let stopped = ask(Vec::new(), Some(Wei(least.0 - 1)), true).await.unwrap_err();
    assert!(matches!(stopped.error, AccountError::Payment(_)), "{stopped:?}");

    // Nobody mines, so that the first post is all that is sent for the seed.
    let posted = ask(vec![plain.clone()], Some(least), false).await.unwrap_err();
    let SettleStopped { done, error } = posted;
    let AccountError::Payment(error) = error else { panic!("{error:?}") };
    assert!(matches!(*error.failure, spillway_pay::PayFailure::OverGasCost { .. }), "{error:?}");
    assert_eq!((done.seed_spend.tx_hashes.len(), done.settled.draws), (1, 0));
    assert!(done.seed_spend.gas_cost > Wei(0) && done.seed_spend.gas_cost < least);
    assert_eq!(done.spend(), done.seed_spend);
    let enough = Some(least.saturating_mul(2));
    let report = ask(Vec::new(), enough, false).await.unwrap();
    assert_eq!((report.settled.draws, report.seed_spend), (1, Spend::default()));
}

/// Wins that are none cost nothing to make: they must not hide what the vault has refused.
#[test]
fn no_number_of_wins_that_are_none_hides_a_refusal() {
    let settled = |draws: u32, reason: SkipReason| {
        let payment = PaymentId([1; 32]);
        let skipped = |_| spillway_pay::Skipped { payment, draw: 0, reason: reason.clone() };
        Settled { skipped: (0..draws).map(skipped).collect(), ..Settled::default() }
    };
    let mut report = SettleReport::default();
    let lies = 2 * u32::try_from(SETTLE_ROUND).unwrap();
    report.add(settled(lies, SkipReason::NotRecorded));
    assert_eq!((report.refused(), report.unlisted()), (0, u64::from(lies) - 512));
    let refused = SkipReason::Refused { reason: None };
    report.add(settled(3, refused.clone()));
    report.add(settled(1, SkipReason::NotRecorded));
    assert_eq!((report.refused(), report.unlisted()), (3, u64::from(lies) + 1 - 512));
    let listed = report.settled.skipped.iter().filter(|skipped| skipped.reason == refused);
    assert_eq!((listed.count(), report.settled.skipped.len()), (3, 515));
}
