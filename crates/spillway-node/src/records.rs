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
        LOOKUP_DEADLINE, MAX_KNOWN_PAYMENTS, MAX_LOOKUPS, MAX_RATED_PEERS, UNKNOWN_PAYMENTS_BURST,
        UNKNOWN_PAYMENTS_PER_SECOND,
    },
    lru::Lru,
    peer_rates::{PeerRates, Rate},
    slots::{busy, busy_for},
};

/// What the chain says of payments, asked once for each.
///
/// A record that was found is remembered with the depth at which it was seen. "No record" is never
/// remembered: whoever comes after an answer asks anew, and whoever came while it was under way asks
/// once more if it says so, since the payment may have been recorded in between. So that this cannot
/// be used to flood the RPC, each peer may cause only so many answers of "no record", and concurrent
/// questions for one payment are one question.
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
    unknown: PeerRates,
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
    Ask { number: u64, answer: Shared<Asking>, joined: bool },
}

impl Records {
    pub(crate) fn new(chain: Arc<dyn Chain>, vault: EvmAddress, clock: Arc<dyn Clock>) -> Self {
        let rate = Rate { per_second: UNKNOWN_PAYMENTS_PER_SECOND, burst: UNKNOWN_PAYMENTS_BURST };
        let unknown = PeerRates::new(rate, MAX_RATED_PEERS, clock.monotonic());
        let state = State {
            known: Lru::new(MAX_KNOWN_PAYMENTS),
            lookups: BTreeMap::new(),
            next: 0,
            unknown,
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
            let (number, answer, joined) = match self.begin(from, question)? {
                Step::Known(recorded) => return Ok(recorded),
                Step::Ask { number, answer, joined } => (number, answer, joined),
            };
            let answer = answer.await;
            let found = self.end(question, number, &answer);
            let unpaid = found.is_none() && answer.is_ok();
            if !joined && !unpaid {
                self.state().unknown.give_back(from, 1);
            }
            if let Err(error) = answer {
                tracing::warn!(%error, "the chain cannot be asked for a payment");
                return Err(Refusal::ChainUnavailable);
            }
            if let Some(recorded) = found {
                return Ok(recorded);
            }
            if !joined {
                break;
            }
        }
        Err(Refusal::Unpaid { payment })
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
            return Ok(Step::Ask { number: lookup.number, answer, joined: true });
        }
        // Those whose askers are all gone.
        state.lookups.retain(|_, lookup| lookup.answer.upgrade().is_some());
        if state.lookups.len() >= MAX_LOOKUPS {
            return Err(busy());
        }
        state.unknown.take(from, 1, self.clock.monotonic()).map_err(busy_for)?;
        let answer = self.ask(question).shared();
        let weak =
            answer.downgrade().expect("invariant: a question that was never polled is not done");
        state.next += 1;
        let number = state.next;
        state.lookups.insert(question, Lookup { number, answer: weak });
        Ok(Step::Ask { number, answer, joined: false })
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

    fn ask(&self, (payment, depth): Question) -> Asking {
        let (chain, clock, vault) = (Arc::clone(&self.chain), Arc::clone(&self.clock), self.vault);
        async move {
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
