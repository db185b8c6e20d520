use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::select;
use spillway_disk::Clock;
use spillway_net::{AdmittedPut, Peers, Serve};
use spillway_pay::Chain;
use spillway_store::ChunkStore;
use spillway_types::{
    Atto, ChunkAddress, Domain, HasRequest, HasResponse, OfferRequest, PaymentProof, PeerKey,
    PeerSecret, PutRequest, QuoteRequest, QuoteResponse, Refusal, RewardAddress, TokenRate,
    UnixTime, WinsRequest, WinsResponse,
    limits::{MAX_HAS_ITEMS, MAX_UPLOAD_WINDOW, MIN_DRAW_DELAY},
};
use tokio_util::{
    sync::CancellationToken,
    task::{TaskTracker, task_tracker::TaskTrackerToken},
};

use crate::{
    Batches, ChainClock, Price,
    admitted::Admitted,
    checks,
    held::Held,
    kept::Kept,
    limits::{
        ALL_PEERS_FACTOR, DEFAULT_MAX_PRIZE, JUDGED_PART_PER_PEER, MAX_GET_BYTES,
        MAX_GET_BYTES_PER_PEER, MAX_GETS, MAX_GETS_PER_PEER, MAX_JUDGED, MAX_OFFER_BYTES,
        MAX_OFFER_BYTES_PER_PEER, MAX_OFFERS, MAX_OFFERS_PER_PEER, MAX_PUT_BYTES,
        MAX_PUT_BYTES_PER_PEER, MAX_PUTS, MAX_PUTS_PER_PEER, MAX_RATED_PEERS, MAX_TRUSTED_JUDGED,
        QUOTES_BURST, QUOTES_PER_SECOND, WINS_PAGES_BURST, WINS_PAGES_PER_SECOND,
    },
    neighbourhood::Neighbourhood,
    peer_rates::{PeerRates, Rate},
    promises::{Promises, Taken, refusal},
    quoting,
    records::Records,
    slots::{Slot, SlotLimits, Slots, busy, busy_for},
};

/// What a [`NodeService`] works with.
#[derive(Clone, Debug)]
pub struct ServiceOptions {
    /// The node's key.
    pub secret: PeerSecret,
    /// The network, chain and vault that it serves.
    pub domain: Domain,
    /// What its quotes say.
    pub terms: Terms,
    /// Where chunks are kept.
    pub store: Arc<dyn ChunkStore>,
    /// Where payments are looked up.
    pub chain: Arc<dyn Chain>,
    /// What is known and kept of batches.
    pub batches: Batches,
    /// The later of the node's own time and the chain's, and whether the chain is heard.
    pub clock: ChainClock,
    /// Who else is near a chunk.
    pub peers: Arc<dyn Peers>,
}

/// What a node's quotes say beside the chunk and the price.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// Where it wants to be paid.
    pub reward: RewardAddress,
    /// What it asks.
    pub price: Price,
    /// How many blocks a payment must be deep before it counts; 0: the newest block.
    pub confirmations: u16,
    /// The longest upload window that it takes; whole seconds.
    pub max_window: Duration,
    /// What a token is worth to it. With a rate, the least tip that it takes a draw of a batch is the
    /// tokens that are worth [`TIP_GAS`](crate::limits::TIP_GAS) at the price of gas when it quotes.
    /// Without one it asks for no tip, so nobody is paid for settling: then it takes batches only with
    /// a `max_prize`, right for a test network, or where the operator settles himself; elsewhere
    /// nobody may do it, and then the payers get back what the draws would have paid.
    pub token_rate: Option<TokenRate>,
    /// The largest prize a draw that it takes in a batch; zero: no batches. `None`:
    /// [`DEFAULT_MAX_PRIZE`] with a token rate, and no batches without one, since nobody would be paid
    /// for settling them.
    pub max_prize: Option<Atto>,
    /// How long after the upload window the vault must draw at least for batches to be taken; with a
    /// vault that draws sooner there are none, whatever `max_prize` is. [`MIN_DRAW_DELAY`], or less
    /// on a test network whose machines share one clock.
    ///
    /// [`MIN_DRAW_DELAY`]: spillway_types::limits::MIN_DRAW_DELAY
    pub min_draw_delay: Duration,
}

impl Terms {
    /// Terms that pay `reward`: the default price, 3 blocks (reorganisations of public chains are
    /// rarely deeper), the longest window that the vault takes, no rate, and so no batches.
    pub fn new(reward: RewardAddress) -> Self {
        Self {
            reward,
            price: Price::default(),
            confirmations: 3,
            max_window: MAX_UPLOAD_WINDOW,
            token_rate: None,
            max_prize: None,
            min_draw_delay: MIN_DRAW_DELAY,
        }
    }

    /// The largest prize a draw that it takes when batches are taken at all.
    pub(crate) fn largest_prize(&self) -> Atto {
        let usual = if self.token_rate.is_some() { DEFAULT_MAX_PRIZE } else { Atto::ZERO };
        self.max_prize.unwrap_or(usual)
    }
}

/// What a node answers to its peers: prices, puts after every check, chunks. Clones are the same
/// service.
///
/// Invariants: nothing is stored that was not checked and paid for, and no receipt is signed before
/// its chunk is durable. A quote that the node signed is honoured whatever its price is now, also
/// after a restart, since the quote itself is all that is needed.
#[derive(Clone)]
pub struct NodeService {
    shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub(crate) secret: PeerSecret,
    pub(crate) me: PeerKey,
    pub(crate) domain: Domain,
    pub(crate) terms: Terms,
    pub(crate) store: Arc<dyn ChunkStore>,
    pub(crate) clock: ChainClock,
    pub(crate) kept: Kept,
    pub(crate) batches: Batches,
    neighbourhood: Neighbourhood,
    records: Records,
    promises: Mutex<Promises>,
    quote_rates: Mutex<PeerRates>,
    wins_rates: Mutex<PeerRates>,
    /// Pages of wins for peers that have paid before: names that cost nothing do not use them up.
    wins_rates_trusted: Mutex<PeerRates>,
    /// Puts that are being judged.
    judged: Arc<Slots>,
    judged_trusted: Arc<Slots>,
    /// Puts that passed.
    puts: Arc<Slots>,
    /// Offers among them.
    offers: Arc<Slots>,
    gets: Arc<Slots>,
    stopping: CancellationToken,
    pub(crate) under_way: TaskTracker,
}

impl fmt::Debug for NodeService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodeService")
            .field("peer", &self.shared.me)
            .field("domain", &self.shared.domain)
            .field("store", &self.shared.store)
            .finish_non_exhaustive()
    }
}

impl NodeService {
    /// A service that answers at once.
    pub fn new(options: ServiceOptions) -> Self {
        let ServiceOptions { secret, domain, terms, store, chain, batches, clock, peers } = options;
        let quote_rate = Rate { per_second: QUOTES_PER_SECOND, burst: QUOTES_BURST };
        let wins_rate = Rate { per_second: WINS_PAGES_PER_SECOND, burst: WINS_PAGES_BURST };
        let rates = |rate: Rate| {
            let all = rate.times(ALL_PEERS_FACTOR);
            Mutex::new(PeerRates::new(rate, all, MAX_RATED_PEERS, clock.monotonic()))
        };
        let puts = SlotLimits {
            count: MAX_PUTS,
            bytes: MAX_PUT_BYTES,
            per_peer: MAX_PUTS_PER_PEER,
            bytes_per_peer: MAX_PUT_BYTES_PER_PEER,
        };
        let offers = SlotLimits {
            count: MAX_OFFERS,
            bytes: MAX_OFFER_BYTES,
            per_peer: MAX_OFFERS_PER_PEER,
            bytes_per_peer: MAX_OFFER_BYTES_PER_PEER,
        };
        let gets = SlotLimits {
            count: MAX_GETS,
            bytes: MAX_GET_BYTES,
            per_peer: MAX_GETS_PER_PEER,
            bytes_per_peer: MAX_GET_BYTES_PER_PEER,
        };
        let shared = Shared {
            me: secret.peer(),
            secret,
            domain,
            terms,
            neighbourhood: Neighbourhood::new(peers, Arc::new(clock.clone())),
            records: Records::new(chain, domain.vault, Arc::new(clock.clone())),
            kept: Kept::default(),
            batches,
            promises: Mutex::default(),
            quote_rates: rates(quote_rate),
            wins_rates: rates(wins_rate),
            wins_rates_trusted: rates(wins_rate),
            judged: Slots::new(judged(MAX_JUDGED)),
            judged_trusted: Slots::new(judged(MAX_TRUSTED_JUDGED)),
            puts: Slots::new(puts),
            offers: Slots::new(offers),
            gets: Slots::new(gets),
            stopping: CancellationToken::new(),
            under_way: TaskTracker::new(),
            store,
            clock,
        };
        Self { shared: Arc::new(shared) }
    }

    /// Answers everything that comes from now on with [`Refusal::Busy`].
    pub fn stop(&self) {
        self.shared.stopping.cancel();
        self.shared.under_way.close();
    }

    /// Stops, and returns when what was under way is done, or after `deadline`. True when it is
    /// done.
    ///
    /// # Cancel safety
    /// It may be dropped; the service stays stopped.
    pub async fn drain(&self, deadline: Duration) -> bool {
        self.stop();
        let done = std::pin::pin!(self.shared.under_way.wait());
        select(done, self.shared.clock.sleep(deadline)).await;
        self.shared.under_way.is_empty()
    }
}

/// Headers, and no bytes of chunks yet.
fn judged(count: usize) -> SlotLimits {
    SlotLimits { count, bytes: 0, per_peer: count / JUDGED_PART_PER_PEER, bytes_per_peer: 0 }
}

impl Shared {
    /// A place among the puts that are judged. Peers that have paid before have places of their own.
    fn place(&self, from: PeerKey) -> Result<Slot, Refusal> {
        if self.records.trusts(from)
            && let Ok(place) = self.judged_trusted.take(from, 0)
        {
            return Ok(place);
        }
        self.judged.take(from, 0)
    }

    /// Counts something as under way, unless the node is stopping.
    fn enter(&self) -> Result<TaskTrackerToken, Refusal> {
        // The token first: a drain that begins in between waits for it.
        let token = self.under_way.token();
        if self.stopping.is_cancelled() { Err(busy()) } else { Ok(token) }
    }

    pub(crate) fn promises(&self) -> MutexGuard<'_, Promises> {
        self.promises.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn quote_rates(&self) -> MutexGuard<'_, PeerRates> {
        self.quote_rates.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A page of wins for this peer, from what is kept for peers that have paid before or else from
    /// what all share.
    fn take_wins_page(&self, from: PeerKey) -> Result<(), Refusal> {
        let now = self.clock.monotonic();
        let take = |rates: &Mutex<PeerRates>| {
            rates.lock().unwrap_or_else(PoisonError::into_inner).take(from, 1, now)
        };
        if self.records.trusts(from) && take(&self.wins_rates_trusted).is_ok() {
            return Ok(());
        }
        take(&self.wins_rates).map_err(busy_for)
    }

    /// All checks of a put's header, in their order, then a place and the space for its body.
    async fn judge(
        self: &Arc<Self>,
        from: PeerKey,
        put: PutRequest,
        pass: TaskTrackerToken,
    ) -> Result<Admitted, Refusal> {
        let own = checks::own_quote(&put, self.me, &self.domain)?;
        let now = self.clock.now();
        let payment = checks::payment(&put, &own, &self.domain, now)?;
        let is_batch = matches!(put.proof, PaymentProof::Batch(_));
        if is_batch {
            // Not heard of, it cannot be judged below: then nothing is looked up for it.
            self.batches.beacon()?;
        }
        checks::quotes(&put, Some(&own), &self.domain)?;
        let address = put.leaf.address;
        self.neighbourhood.check(from, &put, self.me).await?;
        let recorded = self.records.recorded(from, payment, own.terms.confirmations).await?;
        let now = self.clock.now().max(recorded.seen_at);
        checks::recorded(&put, &own, recorded.time, now)?;
        if is_batch {
            self.batches.taken(recorded.time)?;
        }
        // Only now, so that what nobody paid for never takes the place of what was.
        let slots = (self.puts.take(from, put.size.into())?, None);
        let promised = self.promises().take((address, put.size), self.clock.now());
        let mut taken = if let Some(taken) = promised {
            taken
        } else {
            let reserved = self.store.reserve(address, put.size);
            let reservation = reserved.map_err(|error| refusal(&error))?;
            Taken { reservation, ends: own.terms.expires }
        };
        // It is paid for until then, not only while the quote lasts.
        taken.ends = taken.ends.max(own.terms.expires).max(put.proof.upload_by());
        let held = Held::new(Arc::clone(self), taken);
        let service = Arc::clone(self);
        let seen_at = recorded.seen_at;
        let offered = None;
        Ok(Admitted { service, put, offered, payment, seen_at, held, _slots: slots, _pass: pass })
    }

    /// All checks of an offer's header, in their order, then a place and the space for its body. What
    /// was quoted of tips, prizes and windows was judged by the peers whose receipts it comes with.
    async fn judge_offer(
        self: &Arc<Self>,
        from: PeerKey,
        offer: OfferRequest,
        pass: TaskTrackerToken,
    ) -> Result<Admitted, Refusal> {
        let put = &offer.put;
        let payment = checks::offered_payment(put, &self.domain)?;
        checks::quotes(put, None, &self.domain)?;
        checks::receipts(&offer, payment, &self.domain)?;
        let known = self.neighbourhood.check(from, put, self.me).await?;
        checks::near_itself(put, self.me, &known)?;
        let recorded = self.records.recorded(from, payment, self.terms.confirmations).await?;
        checks::quotes_recorded(&offer.put, recorded.time)?;
        let OfferRequest { put, receipts } = offer;
        let (address, size) = (put.leaf.address, put.size);
        let of_offers = self.offers.take(from, size.into())?;
        let slots = (self.puts.take(from, size.into())?, Some(of_offers));
        let reservation = self.store.reserve(address, size).map_err(|error| refusal(&error))?;
        // Nobody has paid this node for it: what comes to nothing is not set aside.
        let held = Held::new(Arc::clone(self), Taken { reservation, ends: UnixTime(0) });
        let (service, seen_at) = (Arc::clone(self), recorded.seen_at);
        let offered = Some(receipts);
        Ok(Admitted { service, put, offered, payment, seen_at, held, _slots: slots, _pass: pass })
    }
}

#[async_trait]
impl Serve for NodeService {
    async fn quote(&self, from: PeerKey, request: QuoteRequest) -> QuoteResponse {
        let answers = match self.shared.enter() {
            Ok(_pass) => quoting::answer(&self.shared, from, &request).await,
            Err(refusal) => Err(refusal),
        };
        if let Err(refusal) = &answers {
            tracing::debug!(%from, %refusal, "no prices");
        }
        QuoteResponse { answers }
    }

    async fn admit(
        &self,
        from: PeerKey,
        request: PutRequest,
    ) -> Result<Box<dyn AdmittedPut>, Refusal> {
        let address = request.leaf.address;
        let judged = async {
            let pass = self.shared.enter()?;
            checks::header(&request)?;
            let _place = self.shared.place(from)?;
            self.shared.judge(from, request, pass).await
        };
        match judged.await {
            Ok(admitted) => Ok(Box::new(admitted)),
            Err(refusal) => {
                tracing::debug!(%from, %address, %refusal, "a put is refused");
                Err(refusal)
            }
        }
    }

    async fn admit_offer(
        &self,
        from: PeerKey,
        request: OfferRequest,
    ) -> Result<Box<dyn AdmittedPut>, Refusal> {
        let address = request.put.leaf.address;
        let judged = async {
            let pass = self.shared.enter()?;
            checks::offer_header(&request)?;
            let _place = self.shared.place(from)?;
            self.shared.judge_offer(from, request, pass).await
        };
        match judged.await {
            Ok(admitted) => Ok(Box::new(admitted)),
            Err(refusal) => {
                tracing::debug!(%from, %address, %refusal, "an offer is refused");
                Err(refusal)
            }
        }
    }

    async fn get(&self, from: PeerKey, address: ChunkAddress) -> Result<Option<Bytes>, Refusal> {
        let _pass = self.shared.enter()?;
        let store = &self.shared.store;
        let Some(size) = store.size(address) else {
            return Ok(None);
        };
        let _slot = self.shared.gets.take(from, size.into())?;
        store.get(address).await.map_err(|error| refusal(&error))
    }

    async fn has(&self, _from: PeerKey, request: HasRequest) -> HasResponse {
        let present = self.shared.enter().and_then(|_pass| {
            if !(1..=MAX_HAS_ITEMS).contains(&request.addresses.len()) {
                return Err(Refusal::Malformed);
            }
            let store = &self.shared.store;
            Ok(request.addresses.iter().map(|&address| store.has(address)).collect())
        });
        HasResponse { present }
    }

    async fn wins(&self, from: PeerKey, request: WinsRequest) -> WinsResponse {
        let shared = &self.shared;
        let page = shared.enter().and_then(|_pass| {
            shared.take_wins_page(from)?;
            Ok(shared.batches.page(request.after))
        });
        WinsResponse { page }
    }
}
