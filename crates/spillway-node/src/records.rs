use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::{
    FutureExt,
    future::{BoxFuture, Either, Shared, WeakShared, select},
};
use spillway_disk::Clock;
use spillway_pay::{At, Chain, ChainError, RecordAt};
use spillway_types::{EvmAddress, PaymentId, PeerKey, Refusal, UnixTime};

use crate::{
    limits::{
        LOOKUP_DEADLINE, LOOKUPS_PART_PER_PEER, MAX_KNOWN_PAYMENTS, MAX_LOOKUPS, MAX_RATED_PEERS,
        MAX_TRUSTED_LOOKUPS, MAX_TRUSTED_PEERS, STRANGERS_BURST, STRANGERS_PER_SECOND,
        TRUSTED_BURST, TRUSTED_PER_SECOND, UNKNOWN_PAYMENTS_BURST, UNKNOWN_PAYMENTS_PER_SECOND,
    },
    lru::Lru,
    peer_rates::{PeerRates, Rate},
    slots::{Slot, SlotLimits, Slots, busy_for},
};

/// What the chain says of payments, asked once for each.
///
/// A record that was found is remembered with the depth at which it was seen. "No record" is never
/// remembered: whoever comes after an answer asks anew, and whoever came while it was under way asks
/// once more if it says so, since the payment may have been recorded in between. So that this cannot
/// be used to flood the RPC, each peer may cause only so many answers of "no record", and concurrent
/// questions for one payment are one question.
///
/// Names of peers and quotes are free, so strangers can use up what strangers may ask. A peer whose
/// last question found a record has paid: it has a share of its own, which it loses with the first
/// payment that nobody recorded.
#[derive(Debug)]
pub(crate) struct Records {
    chain: Arc<dyn Chain>,
    vault: EvmAddress,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    known: Lru<PaymentId, Known>,
    lookups: BTreeMap<Question, Lookup>,
    next: u64,
    /// Peers whose last question found a record.
    trusted: Lru<PeerKey, ()>,
    of_strangers: Allowance,
    of_trusted: Allowance,
}

/// How much one kind of peers may ask.
#[derive(Debug)]
struct Allowance {
    /// Answers of "no record".
    unknown: PeerRates,
    /// Questions under way.
    places: Arc<Slots>,
}

impl Allowance {
    fn new(all: Rate, places: usize, now: Duration) -> Self {
        let rate = Rate { per_second: UNKNOWN_PAYMENTS_PER_SECOND, burst: UNKNOWN_PAYMENTS_BURST };
        let limits = SlotLimits {
            count: places,
            per_peer: places / LOOKUPS_PART_PER_PEER,
            bytes: 0,
            bytes_per_peer: 0,
        };
        let unknown = PeerRates::new(rate, all, MAX_RATED_PEERS, now);
        Self { unknown, places: Slots::new(limits) }
    }

    fn take(&mut self, from: PeerKey, now: Duration) -> Result<Slot, Refusal> {
        let place = self.places.take(from, 0)?;
        self.unknown.take(from, 1, now).map_err(busy_for)?;
        Ok(place)
    }
}

/// Whose share a question was put from.
#[derive(Clone, Copy, Debug)]
enum Share {
    Strangers,
    Trusted,
}

impl State {
    fn share(&mut self, share: Share) -> &mut Allowance {
        match share {
            Share::Strangers => &mut self.of_strangers,
            Share::Trusted => &mut self.of_trusted,
        }
    }

    /// A place for one question, out of the share of the trusted if the peer is one of them.
    fn take(&mut self, from: PeerKey, now: Duration) -> Result<(Share, Slot), Refusal> {
        if self.trusted.get(&from).is_some()
            && let Ok(place) = self.of_trusted.take(from, now)
        {
            return Ok((Share::Trusted, place));
        }
        Ok((Share::Strangers, self.of_strangers.take(from, now)?))
    }
}

/// A payment, and how many blocks deep it must be.
type Question = (PaymentId, u16);

/// What was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Recorded {
    /// When the payment was recorded.
    pub(crate) time: UnixTime,
    /// The time of the block at which that was seen.
    pub(crate) seen_at: UnixTime,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    recorded: Recorded,
    depth: u16,
}

/// Why there is no answer.
#[derive(Clone, Debug, thiserror::Error)]
enum LookupError {
    #[error(transparent)]
    Chain(#[from] ChainError),
    #[error("no answer within {} s", after.as_secs())]
    Timeout { after: Duration },
}

type Answer = Result<RecordAt, LookupError>;
type Asking = BoxFuture<'static, Answer>;

/// A question under way. It is driven by those who wait for it: when all of them are gone, so is it.
#[derive(Debug)]
struct Lookup {
    number: u64,
    answer: WeakShared<Asking>,
}

enum Step {
    Known(Recorded),
    /// `paid_by`: the share that a question of one's own was put from; none for one that was joined.
    Ask {
        number: u64,
        answer: Shared<Asking>,
        paid_by: Option<Share>,
    },
}

impl Records {
    pub(crate) fn new(chain: Arc<dyn Chain>, vault: EvmAddress, clock: Arc<dyn Clock>) -> Self {
        let now = clock.monotonic();
        let strangers = Rate { per_second: STRANGERS_PER_SECOND, burst: STRANGERS_BURST };
        let trusted = Rate { per_second: TRUSTED_PER_SECOND, burst: TRUSTED_BURST };
        let state = State {
            known: Lru::new(MAX_KNOWN_PAYMENTS),
            lookups: BTreeMap::new(),
            next: 0,
            trusted: Lru::new(MAX_TRUSTED_PEERS),
            of_strangers: Allowance::new(strangers, MAX_LOOKUPS, now),
            of_trusted: Allowance::new(trusted, MAX_TRUSTED_LOOKUPS, now),
        };
        Self { chain, vault, clock, state: Mutex::new(state) }
    }

    /// When the payment was recorded, seen `depth` blocks below the newest.
    ///
    /// # Errors
    /// [`Refusal::Unpaid`], [`Refusal::ChainUnavailable`], or [`Refusal::Busy`] when this peer has
    /// shown too many payments that nobody recorded, or too many lookups are under way.
    ///
    /// # Cancel safety
    /// It may be dropped at any time; others that wait for the same answer still get it.
    pub(crate) async fn recorded(
        &self,
        from: PeerKey,
        payment: PaymentId,
        depth: u16,
    ) -> Result<Recorded, Refusal> {
        let question = (payment, depth);
        // Twice, because a question that was under way already may be older than the payment.
        for _ in 0..2 {
            let (number, answer, paid_by) = match self.begin(from, question)? {
                Step::Known(recorded) => return Ok(recorded),
                Step::Ask { number, answer, paid_by } => (number, answer, paid_by),
            };
            let answer = answer.await;
            let found = self.end(question, number, &answer);
            if let Some(share) = paid_by {
                self.settle(from, share, answer.as_ref().ok().map(|_| found.is_some()));
            }
            if let Err(error) = answer {
                tracing::warn!(%error, "the chain cannot be asked for a payment");
                return Err(Refusal::ChainUnavailable);
            }
            if let Some(recorded) = found {
                return Ok(recorded);
            }
            if paid_by.is_some() {
                break;
            }
        }
        Err(Refusal::Unpaid { payment })
    }

    /// Whether this peer's last question found a record.
    pub(crate) fn trusts(&self, peer: PeerKey) -> bool {
        self.state().trusted.get(&peer).is_some()
    }

    /// Finds the answer, the question under way, or begins one.
    fn begin(&self, from: PeerKey, question: Question) -> Result<Step, Refusal> {
        let mut state = self.state();
        let (payment, depth) = question;
        if let Some(known) = state.known.get(&payment)
            && known.depth >= depth
        {
            return Ok(Step::Known(known.recorded));
        }
        if let Some(lookup) = state.lookups.get(&question)
            && let Some(answer) = lookup.answer.upgrade()
        {
            return Ok(Step::Ask { number: lookup.number, answer, paid_by: None });
        }
        // Those whose askers are all gone.
        state.lookups.retain(|_, lookup| lookup.answer.upgrade().is_some());
        let (share, place) = state.take(from, self.clock.monotonic())?;
        let answer = self.ask(question, place).shared();
        let weak =
            answer.downgrade().expect("invariant: a question that was never polled is not done");
        state.next += 1;
        let number = state.next;
        state.lookups.insert(question, Lookup { number, answer: weak });
        Ok(Step::Ask { number, answer, paid_by: Some(share) })
    }

    /// What the answer to a peer's own question means for its share and its standing; `None` when
    /// the chain could not be asked.
    fn settle(&self, from: PeerKey, share: Share, found: Option<bool>) {
        let mut state = self.state();
        if found != Some(false) {
            state.share(share).unknown.give_back(from, 1);
        }
        match found {
            Some(true) => state.trusted.insert(from, ()),
            Some(false) => state.trusted.remove(&from),
            None => {}
        }
    }

    /// Takes a question that is answered off the list and remembers a record that was found.
    fn end(&self, question: Question, number: u64, answer: &Answer) -> Option<Recorded> {
        let mut state = self.state();
        if state.lookups.get(&question).is_some_and(|lookup| lookup.number == number) {
            state.lookups.remove(&question);
        }
        let record = answer.as_ref().ok()?;
        let recorded = Recorded { time: record.recorded?, seen_at: record.block.time };
        let (payment, depth) = question;
        let deeper = state.known.get(&payment).is_none_or(|known| known.depth < depth);
        if deeper {
            state.known.insert(payment, Known { recorded, depth });
        }
        Some(recorded)
    }

    /// The question holds its place until it is answered or all who asked are gone.
    fn ask(&self, (payment, depth): Question, place: Slot) -> Asking {
        let (chain, clock, vault) = (Arc::clone(&self.chain), Arc::clone(&self.clock), self.vault);
        async move {
            let _place = place;
            let record = chain.record(vault, payment, At::Depth(depth));
            match select(record, clock.sleep(LOOKUP_DEADLINE)).await {
                Either::Left((record, _)) => Ok(record?),
                Either::Right(_) => Err(LookupError::Timeout { after: LOOKUP_DEADLINE }),
            }
        }
        .boxed()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
