use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use spillway_disk::{Disk, run};
use spillway_pay::{ModeReason, Plan, PlanProofs, PlanStatus};
use spillway_seal::DataMap;
use spillway_types::{Atto, ChunkAddress, PaymentId, limits};

use super::{
    Job,
    checking::Checking,
    elsewhere::Rivals,
    finality,
    pay::{self, Counts},
    seal::Sealed,
    store::Bodies,
    turn::Turn,
};
use crate::{
    UploadError,
    session::{Batch, ChunkIx, Effect, Event, PlanFile, PlanIx, Progressed, Record, Session},
};

/// A chunk that is to be stored now.
#[derive(Clone, Copy, Debug)]
pub(super) struct Waiting {
    pub batch: usize,
    pub plan: PlanIx,
    pub chunk: ChunkIx,
}

/// What is shown to nodes of one plan. Made when the first of its chunks is stored and gone with the
/// last: plans are stored in order, so there are as many as chunks are stored at once, at most, and
/// usually one or two. One of 65,536 leaves has 131,071 nodes of 64 bytes and as many places of 32:
/// 10 MiB.
pub(super) struct Shown {
    pub proofs: PlanProofs,
    pub payment: PaymentId,
    /// Where each chunk's leaf is.
    pub places: BTreeMap<ChunkIx, usize>,
}

impl Shown {
    pub(super) fn of(file: &PlanFile) -> Self {
        let proofs = file.plan.proofs().expect("invariant: a plan that is paid was checked");
        let places = file.chunks.iter().enumerate();
        let places = places.filter_map(|(at, chunk)| chunk.map(|chunk| (chunk, at))).collect();
        Self { proofs, payment: file.plan.id(), places }
    }
}

/// One upload under way.
pub(super) struct Engine {
    pub job: Arc<Job>,
    pub turn: Turn,
    /// Whether this run has read the source and it can be read again.
    pub rereadable: bool,
    pub session: Session,
    pub bodies: Arc<Bodies>,
    pub batches: Vec<Batch>,
    /// Plans to be paid, in order, with their batch.
    pub to_pay: Vec<(usize, PlanIx)>,
    pub to_store: VecDeque<Waiting>,
    /// What nodes are shown for each plan of which something is being stored.
    pub shown: BTreeMap<PlanIx, Shown>,
    /// How many chunks of each plan wait or are being stored.
    pub left: BTreeMap<PlanIx, usize>,
    /// Plans of other sessions that this run has taken over before they were paid.
    pub adopted: BTreeSet<PlanIx>,
    /// Plans that are recorded, and not as deep as nodes ask for.
    pub shallow: BTreeSet<PlanIx>,
    /// Payments of other sessions that are not recorded any more and have stored chunks of this one.
    pub undone: BTreeSet<PaymentId>,
    /// Chunks of plans that are recorded and not deep enough yet, and of plans of other sessions that
    /// are too late to be paid and may be recorded still.
    pub undecided: BTreeSet<ChunkIx>,
    /// Why this run chose how to pay; in rounds, the last of them.
    pub reason: Option<ModeReason>,
    /// Verifying, if this upload is only done when it is verified.
    pub checking: Option<Checking>,
    /// Why paying stopped, if it did.
    pub pay_error: Option<UploadError>,
}

impl Engine {
    pub(super) async fn new(
        job: Arc<Job>,
        sealed: Sealed,
        turn: Turn,
    ) -> Result<Self, UploadError> {
        let Sealed { session, spill, layout } = sealed;
        job.options.progress.set_session(session.id());
        let map = match &session.manifest.root {
            None => None,
            Some(_) => Some(session.read_map().await?),
        };
        let map = map.map(|bytes| DataMap::decode(&bytes)).transpose().map_err(UploadError::Map)?;
        let mut engine = Self {
            job,
            turn,
            rereadable: false,
            session,
            bodies: Arc::new(Bodies { spill, layout, map }),
            batches: Vec::new(),
            to_pay: Vec::new(),
            to_store: VecDeque::new(),
            shown: BTreeMap::new(),
            left: BTreeMap::new(),
            adopted: BTreeSet::new(),
            shallow: BTreeSet::new(),
            undone: BTreeSet::new(),
            undecided: BTreeSet::new(),
            reason: None,
            checking: None,
            pay_error: None,
        };
        engine.doubt_imported().await?;
        finality::look(&engine.job, &mut engine.session).await?;
        engine.settle_plans().await?;
        engine.begin_checks().await?;
        Ok(engine)
    }

    /// Does all that can be done.
    pub(super) async fn work(&mut self) -> Result<(), UploadError> {
        self.go_on().await?;
        if self.pay_error.is_none() {
            self.renew().await?;
            self.begin_rest().await?;
        }
        self.finish_checks().await
    }

    /// Asks the chain what became of the plans that an earlier run left, and builds the batches. Plans
    /// that were recorded are asked for again while chunks of them are not stored: a reorganisation
    /// may have undone them, and then the same bytes are sent again.
    async fn settle_plans(&mut self) -> Result<(), UploadError> {
        let mut records = Vec::new();
        let mut undone = Vec::new();
        let mut recorded_now = Vec::new();
        let mut shallow = BTreeSet::new();
        for (plan, file) in self.session.numbered_plans() {
            let known = &self.session.progressed;
            let paid = known.paid.contains_key(&plan);
            let open = file.own_chunks().any(|chunk| !known.is_done(chunk));
            if known.dropped.contains(&plan) || (paid && !open) {
                continue;
            }
            match pay::status(&self.job, &file.plan).await? {
                PlanStatus::Paid { .. } if paid => {}
                PlanStatus::Paid { .. }
                    if open
                        && self.is_shallow(file, self.session.is_signed(file.plan.id())).await =>
                {
                    shallow.insert(plan);
                }
                PlanStatus::Paid { recorded } => recorded_now.push((plan, recorded)),
                PlanStatus::Dropped => records.push(Record::Dropped { plan }),
                PlanStatus::Open => undone.push(plan),
            }
        }
        // Another session may have paid meanwhile what was signed here.
        let elsewhere = self.counted_elsewhere(recorded_now.iter().map(|(plan, _)| *plan)).await?;
        records.extend(recorded_now.into_iter().map(|(plan, recorded)| {
            let total = self.session.plan(plan).plan.total();
            let total = if elsewhere.contains(&plan) { Atto::ZERO } else { total };
            Record::Paid { plan, recorded, total }
        }));
        self.session.record(records).await?;
        for plan in undone {
            self.session.progressed.undo(plan);
        }
        let reopened = self.session.progressed.reopened.clone();
        self.ask_again(&reopened).await?;
        let paid = self.session.paid_plans();
        let plan_of = self.session.plan_of(self.job.parts.clock.now());
        self.batches = Batch::rebuild(
            self.session.open_chunks(),
            &plan_of,
            |plan| paid.contains(&plan),
            self.job.round_leaves().unwrap_or(limits::MAX_DIRECT_LEAVES),
        );
        self.batches.extend(self.taken_back());
        // What another session has paid may be counted there.
        self.adopted.extend(&self.session.progressed.undone);
        self.adopted.extend(&shallow);
        for &plan in &shallow {
            self.undecided.extend(self.session.plan(plan).own_chunks());
        }
        self.shallow = shallow;
        Ok(())
    }

    /// Feeds an event to a batch and queues what follows from it. Effects of a single stage go back
    /// to that stage, which caused the event.
    pub(super) fn apply(&mut self, batch: usize, event: Event) -> Vec<Effect> {
        let state = std::mem::replace(&mut self.batches[batch], Batch::Stored);
        let (state, effects) = state.step(event);
        self.batches[batch] = state;
        let mut rest = Vec::new();
        for effect in effects {
            match effect {
                Effect::Pay { plan } => self.to_pay.push((batch, plan)),
                Effect::Store { plan, chunks } => self.queue(batch, plan, &chunks),
                other => rest.push(other),
            }
        }
        rest
    }

    fn queue(&mut self, batch: usize, plan: PlanIx, chunks: &[ChunkIx]) {
        *self.left.entry(plan).or_default() += chunks.len();
        self.to_store.extend(chunks.iter().map(|&chunk| Waiting { batch, plan, chunk }));
    }

    /// Pays and stores what an earlier run has planned. What cannot be paid now does not keep back
    /// what is paid already.
    pub(super) async fn go_on(&mut self) -> Result<(), UploadError> {
        for batch in 0..self.batches.len() {
            if !matches!(self.batches[batch], Batch::Sealed { .. }) {
                self.apply(batch, Event::Begin);
            }
        }
        // For these nothing more is to be signed: they are waited for.
        let (shallow, open): (Vec<_>, Vec<_>) = std::mem::take(&mut self.to_pay)
            .into_iter()
            .partition(|(_, plan)| self.shallow.contains(plan));
        self.to_pay = open;
        if let Err(error) = self.check_open_plans().await {
            for (batch, _) in std::mem::take(&mut self.to_pay) {
                self.apply(batch, Event::PayFailed);
            }
            self.pay_error = Some(error);
        }
        self.to_pay.extend(shallow);
        self.pay_and_store().await
    }

    /// Of these chunks, those that are neither in the spill nor can be sealed again.
    pub(super) async fn lost_of(
        &self,
        chunks: impl IntoIterator<Item = ChunkIx>,
    ) -> Result<Vec<ChunkAddress>, UploadError> {
        let mut lost = Vec::new();
        for chunk in chunks {
            self.job.check_stop()?;
            let (bodies, info) = (Arc::clone(&self.bodies), *self.session.chunk(chunk));
            let _held = self.job.reserve(u64::from(info.size)).await?;
            let read = move |_: &dyn Disk| Ok(bodies.read(&info).map(|body| body.is_none()));
            if run(&self.job.parts.data, read).await?? {
                lost.push(info.address);
            }
        }
        Ok(lost)
    }

    /// What is lost of a plan of which nothing was ever signed: it must not be paid. What is signed
    /// may be paid already, and goes on.
    async fn lost_before_signing(&self, plan: PlanIx) -> Result<Vec<ChunkAddress>, UploadError> {
        let file = self.session.plan(plan);
        if self.session.is_signed(file.plan.id()) {
            return Ok(Vec::new());
        }
        let open = file.own_chunks().filter(|chunk| !self.session.progressed.is_done(*chunk));
        self.lost_of(open).await
    }

    /// Whether nobody can have sent a plan: nothing is signed for it here, and it was never recorded for
    /// another session that may have signed it. One that came with an archive may be signed elsewhere.
    fn never_went_out(&self, plan: PlanIx) -> bool {
        let Progressed { imported, paid, undone, .. } = &self.session.progressed;
        let was_recorded = paid.contains_key(&plan) || undone.contains(&plan);
        let is_known = *imported || was_recorded || self.adopted.contains(&plan);
        !is_known && !self.session.is_signed(self.session.plan(plan).plan.id())
    }

    /// Leaves the plans that can still be recorded, whose chunks are there, for which no other session
    /// pays, and which are agreed to. One that is too late is given up when nobody can have sent it;
    /// others have to wait until the chain says that they never will be recorded.
    async fn check_open_plans(&mut self) -> Result<(), UploadError> {
        let now = self.job.parts.clock.now();
        for (batch, plan) in std::mem::take(&mut self.to_pay) {
            let valid_until = self.session.plan(plan).plan.valid_until;
            let lost = self.lost_before_signing(plan).await?;
            if valid_until > now && lost.is_empty() {
                self.to_pay.push((batch, plan));
                continue;
            }
            if lost.is_empty() && self.never_went_out(plan) {
                self.drop_plan(batch, plan).await?;
                continue;
            }
            self.apply(batch, Event::PayFailed);
            self.pay_error = Some(if lost.is_empty() {
                UploadError::Undecided { valid_until }
            } else {
                UploadError::LostChunks { session: self.session.id().to_owned(), lost }
            });
        }
        self.give_way(Rivals::Leave).await?;
        let open: Vec<Plan> =
            self.to_pay.iter().map(|(_, plan)| self.session.plan(*plan).plan.clone()).collect();
        if open.is_empty() {
            return Ok(());
        }
        let gas = self.job.estimate(&open).await?;
        let plans = self.to_pay.iter().map(|(_, plan)| self.session.plan(*plan));
        let to_pay = plans.map(|file| file.own_chunks().count() as u64).sum();
        let offer = pay::offer(&open, None, gas, self.counts(to_pay));
        self.job.options.progress.set_mode(offer.mode, None);
        self.agree(offer).await?;
        self.give_way(Rivals::GiveUp).await
    }

    /// The chunks of the upload, when so many of them are to be paid now.
    pub(super) fn counts(&self, to_pay: u64) -> Counts {
        let later = self.batches.iter().map(|batch| match batch {
            Batch::Sealed { chunks } => chunks.len() as u64,
            _ => 0,
        });
        Counts { to_pay, later: later.sum(), total: self.chunks_total() }
    }

    pub(super) fn chunks_total(&self) -> u64 {
        self.session.manifest.chunks.len() as u64
    }
}
