//! The third stage: planning and paying. What is signed is durable in the session before it is sent;
//! the chain's record decides what is paid.

use std::{collections::BTreeSet, sync::Arc};

use async_trait::async_trait;
use futures::{FutureExt, future::BoxFuture};
use spillway_pay::{
    At, Candidate, Caps, GasEstimate, JournalError, ModeReason, PaidPlan, PayError, PayRequest,
    PaymentMode, Plan, PlanStatus, SignedTx, TxJournal,
};
use spillway_types::{
    Atto, PaymentId, Quote, UnixTime,
    limits::{CLOSE_GROUP, STORE_QUORUM},
};
use tokio::sync::mpsc;

use super::Job;
use crate::{
    Offer, Spend, UploadError,
    limits::PAID_QUEUE,
    session::{PlanFile, PlanIx, Session, TxWriter},
};

/// What paying reports while it goes on.
#[derive(Debug)]
pub(crate) enum PayEvent {
    /// A transaction is durable in the session and may be sent now.
    Signed(SignedTx),
    /// The vault has recorded a plan.
    Paid { payment: PaymentId, recorded: UnixTime },
}

/// How paying ended: what all transactions of the session have cost, and why it stopped early.
#[derive(Debug)]
pub(crate) struct PayEnd {
    pub spend: Spend,
    pub error: Option<UploadError>,
}

impl Job {
    /// What gas these plans take.
    pub(crate) async fn estimate(&self, plans: &[Plan]) -> Result<GasEstimate, UploadError> {
        let commit = self.options.batch.commit;
        Ok(self.parts.payments.estimate(plans, self.wallet.address(), commit).await?)
    }
}

/// The chunks of an upload, as an offer counts them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Counts {
    /// Those that are paid for now.
    pub to_pay: u64,
    /// Those that are priced in later rounds.
    pub later: u64,
    /// All.
    pub total: u64,
}

/// What these plans cost, for the user to judge.
pub(crate) fn offer(
    plans: &[Plan],
    reason: Option<ModeReason>,
    gas: GasEstimate,
    chunks: Counts,
) -> Offer {
    let Candidate { storage_cost, tips, gas } = Candidate::of(plans, gas);
    Offer {
        mode: plans.iter().map(Plan::payment_mode).reduce(PaymentMode::and),
        reason,
        storage_cost,
        tips,
        gas: gas.gas,
        gas_cost: gas.cost,
        chunks_to_pay: chunks.to_pay,
        chunks_later: chunks.later,
        chunks_already_stored: chunks.total.saturating_sub(chunks.to_pay + chunks.later),
    }
}

/// Compares an offer and what was spent before with the caps of the options.
pub(crate) fn check_caps(job: &Job, offer: &Offer, spent: &Spend) -> Result<(), UploadError> {
    let cost: Atto = offer.total().saturating_add(spent.storage_cost);
    if let Some(cap) = job.options.max_cost
        && cost > cap
    {
        return Err(UploadError::OverCost { cost, cap });
    }
    let cost = offer.gas_cost.saturating_add(spent.gas_cost);
    if let Some(cap) = job.options.max_gas_cost
        && cost > cap
    {
        return Err(UploadError::OverGasCost { cost, cap });
    }
    Ok(())
}

/// What became of a plan of an earlier run.
pub(crate) async fn status(job: &Job, plan: &Plan) -> Result<PlanStatus, UploadError> {
    Ok(job.parts.payments.status(plan).await?)
}

/// Starts paying: what is paid already is only looked up. Without plans there is nothing to do.
pub(crate) fn start(
    job: &Arc<Job>,
    session: &Session,
    plans: &[(usize, PlanIx)],
) -> (BoxFuture<'static, PayEnd>, mpsc::Receiver<PayEvent>) {
    let (events, receiver) = mpsc::channel(PAID_QUEUE);
    // Plans that this session has paid before are named too, so that the spend is that of the session.
    // Those that another session has paid are looked up nowhere here: they may be another wallet's.
    let open = plans.iter().map(|(_, plan)| *plan);
    let wanted: BTreeSet<PlanIx> = open.chain(session.paid_here()).collect();
    let files = || wanted.iter().map(|plan| session.plan(*plan));
    let confirmations = files().map(depth).max().unwrap_or(0);
    let paying = Paying {
        job: Arc::clone(job),
        plans: files().map(|file| file.plan.clone()).collect(),
        earlier: session.txs.clone(),
        confirmations,
        journal: SessionJournal { writer: session.tx_writer(), events },
    };
    (paying.run().boxed(), receiver)
}

/// How deep a plan's record must be before nodes take its chunks: as deep as a quorum of each close group
/// asks for, so that one peer alone holds nobody up.
fn depth(file: &PlanFile) -> u16 {
    let of_group = |quotes: &[Quote; CLOSE_GROUP]| {
        let mut depths = quotes.map(|quote| quote.terms.confirmations);
        depths.sort_unstable();
        depths[STORE_QUORUM - 1]
    };
    file.quotes.iter().map(of_group).max().unwrap_or(0)
}

/// Whether a plan that is recorded is known to be as deep as that.
pub(crate) async fn is_deep(job: &Job, file: &PlanFile) -> bool {
    let depth = depth(file);
    if depth == 0 {
        return true;
    }
    let (chain, plan) = (job.parts.payments.chain(), &file.plan);
    match chain.record(plan.domain.vault, plan.id(), At::Depth(depth)).await {
        Ok(record) => record.recorded.is_some(),
        Err(error) => {
            tracing::debug!(%error, "the depth of a payment is asked for again");
            false
        }
    }
}

struct Paying {
    job: Arc<Job>,
    plans: Vec<Plan>,
    earlier: Vec<SignedTx>,
    confirmations: u16,
    journal: SessionJournal,
}

impl Paying {
    async fn run(mut self) -> PayEnd {
        let request = PayRequest {
            plans: &self.plans,
            wallet: &self.job.wallet,
            earlier: &self.earlier,
            caps: Caps {
                storage_cost: self.job.options.max_cost,
                gas_cost: self.job.options.max_gas_cost,
            },
            confirmations: self.confirmations,
            commit: self.job.options.batch.commit,
        };
        match self.job.parts.payments.pay(request, &mut self.journal).await {
            Ok(paid) => PayEnd { spend: paid.spend.into(), error: None },
            Err(error) => PayEnd { spend: error.spend.clone().into(), error: Some(error.into()) },
        }
    }
}

/// The session as the journal of its payments.
#[derive(Debug)]
struct SessionJournal {
    writer: TxWriter,
    events: mpsc::Sender<PayEvent>,
}

#[async_trait]
impl TxJournal for SessionJournal {
    async fn signed(&mut self, tx: &SignedTx) -> Result<(), JournalError> {
        self.writer.write(tx).await.map_err(JournalError::new)?;
        self.events.send(PayEvent::Signed(tx.clone())).await.map_err(JournalError::new)
    }

    async fn paid(&mut self, plan: &PaidPlan) -> Result<(), JournalError> {
        let event = PayEvent::Paid { payment: plan.payment, recorded: plan.recorded };
        self.events.send(event).await.map_err(JournalError::new)
    }
}

impl From<spillway_pay::Spend> for Spend {
    fn from(spend: spillway_pay::Spend) -> Self {
        Self {
            storage_cost: spend.paid,
            // What they are is known to the session, which has the plans.
            tips: Atto::ZERO,
            refunded: Atto::ZERO,
            gas_used: spend.gas_used,
            gas_cost: spend.gas_cost,
            tx_hashes: spend.tx_hashes,
        }
    }
}

impl From<PayError> for UploadError {
    fn from(error: PayError) -> Self {
        let spend = error.spend.clone().into();
        Self::Payment { source: Box::new(error), spend }
    }
}
