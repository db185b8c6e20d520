//! One batch of a session: the chunks that one plan pays for.
//!
//! ```text
//!            Quoted: all there                        AllStored
//!   Sealed ───────────────────────────────────────▶ Stored
//!     │ Quoted                                         ▲
//!     ▼                                                │ last chunk stored
//!   Quoted ──Approved──▶ Planning ──PlanWritten──▶ Planned ──Paid──▶ Paid
//!                                                      │              │ last chunk stored or failed
//!                                          PayFailed   ▼              ▼
//!                                                   Unpaid         Partial
//! ```
//!
//! [`Batch::step`] is pure: it looks at nothing but its arguments and does nothing but say what has
//! to be done. The engine does it and feeds back what happened.

use std::collections::{BTreeMap, BTreeSet};

use spillway_types::{Leaf, Quote, limits::CLOSE_GROUP};

use super::{ChunkIx, PlanIx, even_parts};
use crate::ChunkFailure;

/// A chunk with its price.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Priced {
    pub chunk: ChunkIx,
    pub leaf: Leaf,
    /// In share order.
    pub quotes: [Quote; CLOSE_GROUP],
}

/// Where a batch is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Batch {
    /// On disk, without a price.
    Sealed { chunks: Vec<ChunkIx> },
    /// Priced; what the network had already is left out.
    Quoted { priced: Vec<Priced> },
    /// Approved; the plan is being written.
    Planning { chunks: Vec<ChunkIx> },
    /// The plan is durable.
    Planned { plan: PlanIx, chunks: Vec<ChunkIx> },
    /// The vault has taken the plan.
    Paid { plan: PlanIx, waiting: BTreeSet<ChunkIx>, failed: BTreeMap<ChunkIx, ChunkFailure> },
    /// Every chunk has its receipts.
    Stored,
    /// Some chunks are paid for and not stored; the session goes on later.
    Partial { failed: BTreeMap<ChunkIx, ChunkFailure> },
    /// The plan is not recorded; the session goes on later with the same plan.
    Unpaid { chunks: Vec<ChunkIx> },
}

/// What happened to a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// The work begins, or goes on after a restart.
    Begin,
    /// All prices are in.
    Quoted { priced: Vec<Priced> },
    /// Another session's plan pays for these.
    Covered { chunks: BTreeSet<ChunkIx> },
    /// The user takes the price.
    Approved,
    /// The plan is durable.
    PlanWritten { plan: PlanIx },
    /// The vault has taken the plan.
    Paid,
    /// The plan could not be paid in this run.
    PayFailed,
    /// A quorum of receipts for this chunk is durable.
    ChunkStored { chunk: ChunkIx },
    /// This chunk has no quorum after all retries.
    ChunkFailed { chunk: ChunkIx, failure: ChunkFailure },
}

/// What has to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Ask for prices.
    Quote { chunks: Vec<ChunkIx> },
    /// Write the plan of these.
    WritePlan { priced: Vec<Priced> },
    /// Pay the plan, or see that it is paid.
    Pay { plan: PlanIx },
    /// Store these of the plan.
    Store { plan: PlanIx, chunks: Vec<ChunkIx> },
    /// The chunk's bytes are no longer needed.
    Release { chunk: ChunkIx },
}

impl Batch {
    /// The next state, and what has to be done. An event that does not belong to the state changes
    /// nothing: late answers are no surprise.
    pub(crate) fn step(self, event: Event) -> (Self, Vec<Effect>) {
        match (self, event) {
            (Self::Sealed { chunks }, Event::Begin) => {
                let effect = Effect::Quote { chunks: chunks.clone() };
                (Self::Sealed { chunks }, vec![effect])
            }
            (Self::Sealed { .. }, Event::Quoted { priced }) if priced.is_empty() => {
                (Self::Stored, vec![])
            }
            (Self::Sealed { .. }, Event::Quoted { priced }) => (Self::Quoted { priced }, vec![]),
            (Self::Sealed { chunks: mut open }, Event::Covered { chunks }) => {
                open.retain(|chunk| !chunks.contains(chunk));
                let state =
                    if open.is_empty() { Self::Stored } else { Self::Sealed { chunks: open } };
                (state, vec![])
            }
            (Self::Quoted { mut priced }, Event::Covered { chunks }) => {
                priced.retain(|priced| !chunks.contains(&priced.chunk));
                if priced.is_empty() {
                    (Self::Stored, vec![])
                } else {
                    (Self::Quoted { priced }, vec![])
                }
            }
            (Self::Quoted { priced }, Event::Approved) => {
                let chunks = priced.iter().map(|priced| priced.chunk).collect();
                (Self::Planning { chunks }, vec![Effect::WritePlan { priced }])
            }
            (Self::Planning { chunks }, Event::PlanWritten { plan })
            | (Self::Planned { plan, chunks }, Event::Begin) => {
                (Self::Planned { plan, chunks }, vec![Effect::Pay { plan }])
            }
            (Self::Planned { plan, chunks }, Event::Paid) => Self::store(plan, chunks),
            (Self::Planned { chunks, .. }, Event::PayFailed) => (Self::Unpaid { chunks }, vec![]),
            (Self::Paid { plan, waiting, failed }, event) => {
                Self::step_paid(plan, waiting, failed, event)
            }
            (state, _) => (state, vec![]),
        }
    }

    fn step_paid(
        plan: PlanIx,
        mut waiting: BTreeSet<ChunkIx>,
        mut failed: BTreeMap<ChunkIx, ChunkFailure>,
        event: Event,
    ) -> (Self, Vec<Effect>) {
        let effects = match event {
            Event::Begin => {
                let chunks = waiting.iter().copied().collect();
                vec![Effect::Store { plan, chunks }]
            }
            Event::ChunkStored { chunk } if waiting.remove(&chunk) => {
                vec![Effect::Release { chunk }]
            }
            Event::ChunkFailed { chunk, failure } if waiting.remove(&chunk) => {
                failed.insert(chunk, failure);
                vec![]
            }
            _ => vec![],
        };
        (Self::settle(plan, waiting, failed), effects)
    }

    /// A paid batch of chunks that are not stored yet.
    fn store(plan: PlanIx, chunks: Vec<ChunkIx>) -> (Self, Vec<Effect>) {
        let waiting: BTreeSet<ChunkIx> = chunks.iter().copied().collect();
        let state = Self::settle(plan, waiting, BTreeMap::new());
        let effects = match state {
            Self::Paid { .. } => vec![Effect::Store { plan, chunks }],
            _ => vec![],
        };
        (state, effects)
    }

    fn settle(
        plan: PlanIx,
        waiting: BTreeSet<ChunkIx>,
        failed: BTreeMap<ChunkIx, ChunkFailure>,
    ) -> Self {
        match (waiting.is_empty(), failed.is_empty()) {
            (false, _) => Self::Paid { plan, waiting, failed },
            (true, true) => Self::Stored,
            (true, false) => Self::Partial { failed },
        }
    }

    /// The batches of a session as its files and journal say: what is planned goes on as its plan,
    /// what is not planned is priced anew, in even batches of at most `limit`.
    pub(crate) fn rebuild(
        chunks: impl Iterator<Item = ChunkIx>,
        plan_of: &BTreeMap<ChunkIx, PlanIx>,
        is_paid: impl Fn(PlanIx) -> bool,
        limit: usize,
    ) -> Vec<Self> {
        let mut planned: BTreeMap<PlanIx, Vec<ChunkIx>> = BTreeMap::new();
        let mut sealed = Vec::new();
        for chunk in chunks {
            match plan_of.get(&chunk) {
                Some(&plan) => planned.entry(plan).or_default().push(chunk),
                None => sealed.push(chunk),
            }
        }
        let planned = planned.into_iter().map(|(plan, chunks)| {
            if is_paid(plan) {
                let waiting = chunks.into_iter().collect();
                Self::Paid { plan, waiting, failed: BTreeMap::new() }
            } else {
                Self::Planned { plan, chunks }
            }
        });
        let sealed = even_parts(&sealed, limit);
        let sealed = sealed.map(|chunks| Self::Sealed { chunks: chunks.to_vec() });
        planned.chain(sealed).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAN: PlanIx = PlanIx(3);

    fn chunks(count: u32) -> Vec<ChunkIx> {
        (0..count).map(ChunkIx).collect()
    }

    fn failure() -> ChunkFailure {
        ChunkFailure::NoQuorum { receipts: 2, last: None }
    }

    fn priced(chunk: ChunkIx) -> Priced {
        use spillway_types::{
            Atto, ChunkAddress, Domain, EvmAddress, NetworkId, PeerSecret, QuoteTerms,
            RewardAddress, Share, UnixTime,
        };
        let address = ChunkAddress([9; 32]);
        let reward = RewardAddress([1; 20]);
        let terms = QuoteTerms {
            domain: Domain { network: NetworkId([0; 32]), chain_id: 1, vault: EvmAddress([0; 20]) },
            address,
            size: 1,
            price: Atto(1),
            reward,
            issued: UnixTime(0),
            expires: UnixTime(1),
            min_tip: Atto(0),
            max_prize: Atto(0),
            max_window_secs: 0,
            confirmations: 0,
        };
        let quote = terms.sign(&PeerSecret::from_seed(&[1; 32]));
        let share = Share { payee: reward, amount: Atto(1) };
        Priced { chunk, leaf: Leaf { address, shares: [share; 5] }, quotes: [quote; 5] }
    }

    #[test]
    fn a_batch_goes_from_sealed_to_stored() {
        let (state, effects) = Batch::Sealed { chunks: chunks(2) }.step(Event::Begin);
        assert_eq!(effects, [Effect::Quote { chunks: chunks(2) }]);
        let offers: Vec<_> = chunks(2).into_iter().map(priced).collect();
        let (state, effects) = state.step(Event::Quoted { priced: offers.clone() });
        assert_eq!(effects, []);
        let (state, effects) = state.step(Event::Approved);
        assert_eq!(effects, [Effect::WritePlan { priced: offers }]);
        let (state, effects) = state.step(Event::PlanWritten { plan: PLAN });
        assert_eq!(effects, [Effect::Pay { plan: PLAN }]);
        let (state, effects) = state.step(Event::Paid);
        assert_eq!(effects, [Effect::Store { plan: PLAN, chunks: chunks(2) }]);
        let (state, effects) = state.step(Event::ChunkStored { chunk: ChunkIx(1) });
        assert_eq!(effects, [Effect::Release { chunk: ChunkIx(1) }]);
        let (state, effects) = state.step(Event::ChunkStored { chunk: ChunkIx(0) });
        assert_eq!((state, effects), (Batch::Stored, vec![Effect::Release { chunk: ChunkIx(0) }]));
    }

    #[test]
    fn nothing_to_pay_is_stored_at_once() {
        let (state, effects) =
            Batch::Sealed { chunks: chunks(2) }.step(Event::Quoted { priced: vec![] });
        assert_eq!((state, effects), (Batch::Stored, vec![]));
    }

    #[test]
    fn what_another_plan_pays_for_is_not_planned() {
        let offers: Vec<_> = chunks(2).into_iter().map(priced).collect();
        let quoted = Batch::Quoted { priced: offers.clone() };
        let (state, effects) = quoted.step(Event::Covered { chunks: [ChunkIx(0)].into() });
        assert_eq!((&state, effects), (&Batch::Quoted { priced: offers[1..].to_vec() }, vec![]));
        let (state, _) = state.step(Event::Covered { chunks: [ChunkIx(1)].into() });
        assert_eq!(state, Batch::Stored);
    }

    #[test]
    fn what_another_plan_pays_for_is_not_priced_in_a_later_round() {
        let sealed = Batch::Sealed { chunks: chunks(2) };
        let (state, effects) = sealed.step(Event::Covered { chunks: [ChunkIx(0)].into() });
        assert_eq!((&state, effects), (&Batch::Sealed { chunks: vec![ChunkIx(1)] }, vec![]));
        let (state, _) = state.step(Event::Covered { chunks: [ChunkIx(1)].into() });
        assert_eq!(state, Batch::Stored);
    }

    #[test]
    fn nothing_is_planned_before_it_is_approved() {
        let sealed = Batch::Sealed { chunks: chunks(1) };
        assert_eq!(sealed.clone().step(Event::Approved), (sealed.clone(), vec![]));
        assert_eq!(sealed.clone().step(Event::Paid), (sealed, vec![]));
    }

    #[test]
    fn one_bad_chunk_does_not_lose_the_others() {
        let planned = Batch::Planned { plan: PLAN, chunks: chunks(2) };
        let (state, _) = planned.step(Event::Paid);
        let (state, effects) =
            state.step(Event::ChunkFailed { chunk: ChunkIx(0), failure: failure() });
        assert_eq!(effects, []);
        let (state, _) = state.step(Event::ChunkStored { chunk: ChunkIx(1) });
        let failed = BTreeMap::from([(ChunkIx(0), failure())]);
        assert_eq!(state, Batch::Partial { failed });
    }

    #[test]
    fn a_failed_payment_keeps_its_plan_and_a_late_payment_changes_nothing() {
        let planned = Batch::Planned { plan: PLAN, chunks: chunks(1) };
        let (state, _) = planned.step(Event::PayFailed);
        assert_eq!(state, Batch::Unpaid { chunks: chunks(1) });
        assert_eq!(state.clone().step(Event::Begin), (state, vec![]));
    }

    #[test]
    fn a_chunk_stored_twice_is_released_once() {
        let (state, _) = Batch::Planned { plan: PLAN, chunks: chunks(2) }.step(Event::Paid);
        let (state, _) = state.step(Event::ChunkStored { chunk: ChunkIx(0) });
        let (_, effects) = state.step(Event::ChunkStored { chunk: ChunkIx(0) });
        assert_eq!(effects, []);
    }

    #[test]
    fn a_restart_goes_on_where_the_journal_says() {
        let plan_of = BTreeMap::from([
            (ChunkIx(0), PlanIx(0)),
            (ChunkIx(1), PlanIx(0)),
            (ChunkIx(2), PlanIx(1)),
        ]);
        let batches = Batch::rebuild((0..6).map(ChunkIx), &plan_of, |plan| plan == PlanIx(0), 2);
        assert_eq!(
            batches,
            [
                Batch::Paid {
                    plan: PlanIx(0),
                    waiting: [ChunkIx(0), ChunkIx(1)].into(),
                    failed: BTreeMap::new()
                },
                Batch::Planned { plan: PlanIx(1), chunks: vec![ChunkIx(2)] },
                Batch::Sealed { chunks: vec![ChunkIx(3), ChunkIx(4)] },
                Batch::Sealed { chunks: vec![ChunkIx(5)] },
            ]
        );
        let (_, effects) = batches[0].clone().step(Event::Begin);
        let stored = Effect::Store { plan: PlanIx(0), chunks: chunks(2) };
        assert_eq!(effects, [stored]);
    }
}
