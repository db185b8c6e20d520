//! Brings one goal about: look, sign if there is nothing to send, send, look again.
//!
//! Nothing is concluded from what an RPC says to a transaction: the record, the allowance or the
//! receipt decides. Only "the nonce is used", said again and again while none of them shows up,
//! leads to another signature, and then of the same call.

use std::time::Duration;

use spillway_types::{Retry, TxHash, UnixTime};

use super::{Goal, Run, expired, gap::Gap, sign::Place};
use crate::{At, ChainError, PayFailure, SignedTx};

/// How often a used nonce must be reported, with a look in between, before something else is
/// believed to have used it: the server that says so may know a block that another does not. It
/// must go on for [`PayTiming::resend_after`](crate::PayTiming::resend_after), too.
const NONCE_LOOKS: u32 = 5;
/// How many times longer that takes for a transaction that was accepted before: then it was most
/// likely itself.
const ACCEPTED_FACTOR: u32 = 3;
/// Signatures of one goal in one run, higher fees apart.
const MAX_SIGNED: u32 = 4;
/// Higher fees in one run: after ten the fee has tripled.
const MAX_BUMPS: u32 = 10;
/// How often a server may refuse for a reason that we do not know.
const MAX_REFUSALS: u32 = 3;
/// Looks for the receipt of a transaction whose effect is there.
const RECEIPT_LOOKS: u32 = 5;

/// What one drive knows.
struct Drive<'p> {
    goal: Goal<'p>,
    /// What is sent.
    current: Option<SignedTx>,
    /// All that may bring the goal about: a failure of one of these is ours.
    ours: Vec<TxHash>,
    started: Duration,
    pause: Duration,
    /// When the last sending was, if it was neither refused nor lost.
    sent_at: Option<Duration>,
    /// Since when the current transaction is known to wait.
    accepted_at: Option<Duration>,
    failing_since: Option<Duration>,
    conflicts: u32,
    conflict_since: Option<Duration>,
    /// Since when a nonce before the current transaction's is free.
    gap_since: Option<Duration>,
    /// Since when the chain says that the call would fail.
    reverted_since: Option<Duration>,
    refusals: u32,
    signed: u32,
    bumps: u32,
}

pub(super) enum Look {
    /// Nothing more can be done for it.
    Ended(Driven),
    /// Not yet; the newest block's time where it was asked.
    Open(Option<UnixTime>),
    /// Our transaction was mined and failed.
    Failed(TxHash),
}

/// How a drive ended.
pub(in crate::payments) enum Driven {
    /// The goal is reached. For plans: since when each is recorded.
    Done(Vec<UnixTime>),
    /// Some of the plans were recorded by something else, so one call cannot pay for all of them
    /// any more: since when each is recorded.
    Split(Vec<Option<UnixTime>>),
}

enum Step {
    Done(Driven),
    Wait,
}

impl Run<'_> {
    /// Returns when the goal is reached, or cannot be as it is.
    pub(in crate::payments) async fn drive(
        &mut self,
        goal: Goal<'_>,
    ) -> Result<Driven, PayFailure> {
        let timing = self.options.timing;
        let mut drive = self.begin(goal);
        loop {
            let step = Box::pin(self.step(&mut drive)).await;
            let now = self.options.clock.monotonic();
            match step {
                Ok(Step::Done(driven)) => return Ok(driven),
                Ok(Step::Wait) => drive.failing_since = None,
                Err(PayFailure::Chain(error)) if error.retry() != Retry::Never => {
                    let since = *drive.failing_since.get_or_insert(now);
                    if now.saturating_sub(since) >= timing.outage {
                        return Err(error.into());
                    }
                    tracing::debug!(%error, "the chain is asked again");
                }
                Err(failure) => return Err(failure),
            }
            let waited = now.saturating_sub(drive.started);
            if waited >= timing.patience {
                let tx = drive.ours.last().copied().unwrap_or(TxHash([0; 32]));
                return Err(PayFailure::NotMined { tx, waited });
            }
            // Chunks of the plans before this one can be stored meanwhile.
            self.tell_deep().await?;
            self.options.clock.sleep(drive.pause).await;
            drive.pause = (drive.pause * 2).min(timing.longest_poll);
        }
    }

    fn begin<'p>(&self, goal: Goal<'p>) -> Drive<'p> {
        let purpose = goal.resumed();
        let unmined = |tx: &&SignedTx| {
            Some(&tx.purpose) == purpose.as_ref() && !self.receipts.contains_key(&tx.hash)
        };
        Drive {
            goal,
            current: purpose.as_ref().and_then(|purpose| self.unmined(purpose)).cloned(),
            ours: self.txs.iter().filter(unmined).map(|tx| tx.hash).collect(),
            started: self.options.clock.monotonic(),
            pause: self.options.timing.first_poll,
            sent_at: None,
            accepted_at: None,
            failing_since: None,
            conflicts: 0,
            conflict_since: None,
            gap_since: None,
            reverted_since: None,
            refusals: 0,
            signed: 0,
            bumps: 0,
        }
    }

    async fn step(&mut self, drive: &mut Drive<'_>) -> Result<Step, PayFailure> {
        let mut time = match self.look(drive).await? {
            Look::Ended(driven) => return self.done(drive, driven).await,
            Look::Open(time) => time,
            // What failed may have failed because the goal was reached meanwhile, or a part of it.
            Look::Failed(tx) => match self.reached(drive.goal, true).await? {
                Look::Ended(driven) => return self.done(drive, driven).await,
                Look::Open(time) => return Err(self.failed(drive.goal, tx, time).await),
                Look::Failed(tx) => return Err(self.failed(drive.goal, tx, None).await),
            },
        };
        if let Some(plan) = drive.goal.plans().first() {
            if drive.accepted_at.is_none() {
                // Nothing is known to be on its way: our own clock counts too.
                time = time.max(Some(self.options.clock.now()));
            }
            if let Some(now) = time.filter(|&now| now > plan.valid_until) {
                return Err(expired(plan, now));
            }
        }
        if drive.current.is_none()
            && let Some(driven) = self.sign_first(drive).await?
        {
            return self.done(drive, driven).await;
        }
        self.send_if_due(drive).await?;
        Ok(Step::Wait)
    }

    /// Whether the goal is reached, whoever brought it about. Of several plans only the first is
    /// looked at while it is not recorded, unless this is to be `thorough`.
    pub(super) async fn reached(&self, goal: Goal<'_>, thorough: bool) -> Result<Look, ChainError> {
        let chain = &self.options.chain;
        match goal {
            Goal::Recorded(plans) => self.plans_reached(plans, thorough).await,
            Goal::Allowance { amount, .. } => Ok(match self.allowance().await? {
                allowance if allowance >= amount => Look::Ended(Driven::Done(Vec::new())),
                _ => Look::Open(None),
            }),
            Goal::Settled { vault, payment, wins, .. } => {
                let record = chain.record(vault, payment, At::Depth(0)).await?;
                Ok(all_or_open(wins.iter().all(|win| record.settled.contains(win.draw))))
            }
            Goal::Refunded { vault, payment, terms, .. } => {
                let record = chain.record(vault, payment, At::Depth(0)).await?;
                Ok(all_or_open((0..terms.draws).all(|draw| record.settled.contains(draw))))
            }
            Goal::SeedPosted { vault, upload_by, .. } => {
                Ok(all_or_open(chain.seed(vault, upload_by).await?.is_some()))
            }
            Goal::Withdrawn { .. } => Ok(Look::Open(None)),
        }
    }

    async fn plans_reached(
        &self,
        plans: &[&crate::Plan],
        thorough: bool,
    ) -> Result<Look, ChainError> {
        let Some(first) = plans.first() else { return Ok(Look::Open(None)) };
        let chain = &self.options.chain;
        let record = chain.record(first.domain.vault, first.id(), At::Depth(0)).await?;
        let open = Look::Open(Some(record.block.time));
        if record.recorded.is_none() && (plans.len() == 1 || !thorough) {
            return Ok(open);
        }
        // Some may have been asked before, some after a block that took all: then the second look
        // sees all of them.
        let mut times = vec![record.recorded];
        for _ in 0..2 {
            if plans.len() > 1 {
                times = self.records(plans).await?.into_iter().map(|(_, time)| time).collect();
            }
            if let Some(all) = times.iter().copied().collect::<Option<Vec<UnixTime>>>() {
                return Ok(Look::Ended(Driven::Done(all)));
            }
        }
        if times.iter().all(Option::is_none) {
            return Ok(open);
        }
        Ok(Look::Ended(Driven::Split(times)))
    }

    async fn look(&mut self, drive: &Drive<'_>) -> Result<Look, ChainError> {
        let reached = self.reached(drive.goal, false).await?;
        if matches!(reached, Look::Ended(_)) {
            return Ok(reached);
        }
        for hash in &drive.ours {
            match self.options.chain.receipt(*hash).await? {
                Some(receipt) => {
                    let success = receipt.success;
                    self.note_mined(receipt);
                    if !success {
                        return Ok(Look::Failed(*hash));
                    }
                    if drive.goal.is_a_receipt() {
                        return Ok(Look::Ended(Driven::Done(Vec::new())));
                    }
                    // The server that is asked for the effect is behind the one that had the
                    // receipt: it will follow.
                }
                // A reorganisation may have taken it back.
                None => self.forget(*hash),
            }
        }
        Ok(reached)
    }

    /// The goal is reached, or cannot be as it is: what did it cost?
    async fn done(&mut self, drive: &Drive<'_>, driven: Driven) -> Result<Step, PayFailure> {
        for _ in 0..RECEIPT_LOOKS {
            for hash in &drive.ours {
                if let Some(receipt) = self.options.chain.receipt(*hash).await? {
                    self.note_mined(receipt);
                }
            }
            let known = drive.ours.iter().any(|hash| self.receipts.contains_key(hash));
            if known || drive.ours.is_empty() {
                break;
            }
            self.options.clock.sleep(drive.pause).await;
        }
        Ok(Step::Done(driven))
    }

    /// Signs when there is nothing to send. `Some`: the goal turned out to be reached, or cannot be
    /// as it is.
    async fn sign_first(&mut self, drive: &mut Drive<'_>) -> Result<Option<Driven>, PayFailure> {
        if drive.signed >= MAX_SIGNED {
            return Err(ChainError::NonceTooLow.into());
        }
        match self.sign(drive.goal, Place::Next).await {
            Ok(Some(tx)) => {
                drive.signed += 1;
                drive.reverted_since = None;
                drive.next(tx);
                Ok(None)
            }
            Ok(None) => Ok(None),
            // Perhaps because it is done already, or will be by a transaction that waits and that
            // we do not know; or the server that was asked is behind the one that showed the
            // allowance.
            Err(PayFailure::Chain(error @ ChainError::Reverted { .. })) => {
                if let Look::Ended(driven) = self.reached(drive.goal, true).await? {
                    return Ok(Some(driven));
                }
                let ChainError::Reverted { reason } = &error else { return Err(error.into()) };
                if drive.goal.is_refused_for_good(reason.as_deref()) {
                    return Err(error.into());
                }
                let now = self.options.clock.monotonic();
                let since = *drive.reverted_since.get_or_insert(now);
                // What it needs may have been taken back.
                let purpose = drive.goal.resumed();
                self.fill_gap(self.free_nonce(), purpose.as_ref()).await;
                if now.saturating_sub(since) < self.options.timing.outage {
                    return Ok(None);
                }
                Err(error.into())
            }
            Err(failure) => Err(failure),
        }
    }

    async fn send_if_due(&mut self, drive: &mut Drive<'_>) -> Result<(), PayFailure> {
        let timing = self.options.timing;
        let now = self.options.clock.monotonic();
        let over = |since: Option<Duration>, limit: Duration| {
            since.is_none_or(|since| now.saturating_sub(since) >= limit)
        };
        let stuck = drive.accepted_at.is_some() && over(drive.accepted_at, timing.bump_after);
        if stuck && drive.bumps < MAX_BUMPS {
            drive.bumps += 1;
            drive.accepted_at = Some(now);
            if let Some(old) = drive.current.clone()
                && let Some(tx) = self.sign(drive.goal, Place::Of(&old)).await?
            {
                drive.next(tx);
            }
        }
        if over(drive.sent_at, timing.resend_after) {
            self.send(drive, now).await?;
        }
        Ok(())
    }

    async fn send(&mut self, drive: &mut Drive<'_>, now: Duration) -> Result<(), PayFailure> {
        let Some(tx) = self.after_gap(drive, now).await? else { return Ok(()) };
        match self.options.chain.send_raw(&tx.raw).await {
            Ok(hash) => {
                tracing::debug!(%hash, nonce = tx.nonce, "sent");
                drive.sent_at = Some(now);
                drive.accepted_at.get_or_insert(now);
                Ok(())
            }
            Err(ChainError::NonceTooLow) => {
                drive.conflicts += 1;
                let since = *drive.conflict_since.get_or_insert(now);
                let resend_after = self.options.timing.resend_after;
                let long = match drive.accepted_at {
                    Some(_) => resend_after * ACCEPTED_FACTOR,
                    None => resend_after,
                };
                if drive.conflicts >= NONCE_LOOKS && now.saturating_sub(since) >= long {
                    self.used_nonce = self.used_nonce.max(tx.nonce + 1);
                    drive.give_up_nonce();
                }
                Ok(())
            }
            Err(ChainError::FeeTooLow) => {
                drive.sent_at = Some(now);
                self.raise_fee(drive, &tx).await
            }
            Err(ChainError::Underpriced) => {
                drive.sent_at = Some(now);
                self.outbid(drive, &tx).await
            }
            Err(ChainError::NotEnoughCoins) => {
                let found = self.options.chain.coins(self.wallet.address()).await?;
                Err(PayFailure::NotEnoughCoins { needed: tx.max_cost(), found })
            }
            Err(error) if error.retry() == Retry::Never => {
                // Some servers take nothing that comes after a free nonce.
                drive.refusals += u32::from(drive.gap_since.is_none());
                if drive.refusals >= MAX_REFUSALS { Err(error.into()) } else { Ok(()) }
            }
            Err(error) => Err(error.into()),
        }
    }

    /// What is to be sent, once what is missing before it was sent; `None`: nothing, one of those
    /// does as well.
    ///
    /// A nonce before it that stays free, and that nothing known is for, would keep it waiting for
    /// ever: then the same goal is signed for that nonce. Both may be mined; the vault takes an id
    /// once.
    async fn after_gap(
        &mut self,
        drive: &mut Drive<'_>,
        now: Duration,
    ) -> Result<Option<SignedTx>, PayFailure> {
        let Some(tx) = drive.current.clone() else { return Ok(None) };
        let purpose = drive.goal.resumed();
        let free = match self.fill_gap(tx.nonce, purpose.as_ref()).await {
            Gap::Closed => {
                drive.gap_since = None;
                return Ok(Some(tx));
            }
            Gap::Taken(lower) => {
                drive.next(*lower);
                drive.sent_at = Some(now);
                drive.accepted_at.get_or_insert(now);
                return Ok(None);
            }
            Gap::Open(nonce) => nonce,
        };
        let since = *drive.gap_since.get_or_insert(now);
        // The server that was asked may be behind.
        let is_young = now.saturating_sub(since) < self.options.timing.resend_after;
        if is_young || drive.signed >= MAX_SIGNED {
            return Ok(Some(tx));
        }
        match self.sign(drive.goal, Place::At(free)).await {
            Ok(Some(lower)) => {
                drive.signed += 1;
                drive.gap_since = None;
                drive.next(lower.clone());
                Ok(Some(lower))
            }
            Ok(None) => Ok(Some(tx)),
            // It needs what waits before it.
            Err(PayFailure::Chain(error @ ChainError::Reverted { .. })) => {
                tracing::debug!(%error, nonce = free, "a free nonce cannot be filled");
                Ok(Some(tx))
            }
            Err(failure) => Err(failure),
        }
    }

    /// The fee is too low to replace something. If something of this nonce waits, it is left
    /// alone: it was not sent by us, or with a higher fee, and what becomes of it decides. If
    /// nothing does, fees have risen.
    async fn outbid(&mut self, drive: &mut Drive<'_>, old: &SignedTx) -> Result<(), PayFailure> {
        let pending = self.options.chain.pending_nonce(old.from).await?;
        if pending <= old.nonce { self.raise_fee(drive, old).await } else { Ok(()) }
    }

    /// The same call at the same nonce for the fees of the moment.
    async fn raise_fee(&mut self, drive: &mut Drive<'_>, old: &SignedTx) -> Result<(), PayFailure> {
        if drive.bumps < MAX_BUMPS {
            drive.bumps += 1;
            if let Some(tx) = self.sign(drive.goal, Place::Of(old)).await? {
                drive.next(tx);
            }
        }
        Ok(())
    }

    /// Why a mined transaction failed: what the same call would say now. `time`: the newest
    /// block's. Plans whose deadline has passed are late, whatever else was wrong.
    async fn failed(&self, goal: Goal<'_>, tx: TxHash, time: Option<UnixTime>) -> PayFailure {
        if let (Some(plan), Some(now)) = (goal.plans().first(), time)
            && now > plan.valid_until
        {
            return expired(plan, now);
        }
        let reason = match self.options.chain.estimate_gas(&goal.call()).await {
            Err(ChainError::Reverted { reason }) => reason,
            _ => None,
        };
        PayFailure::Failed { tx, reason }
    }
}

fn all_or_open(all: bool) -> Look {
    if all { Look::Ended(Driven::Done(Vec::new())) } else { Look::Open(None) }
}

impl Drive<'_> {
    /// This is what is sent from now on.
    fn next(&mut self, tx: SignedTx) {
        self.ours.push(tx.hash);
        self.current = Some(tx);
        self.sent_at = None;
        self.conflicts = 0;
        self.conflict_since = None;
    }

    /// Something else has used the nonce.
    fn give_up_nonce(&mut self) {
        self.current = None;
        self.sent_at = None;
        self.accepted_at = None;
        self.conflicts = 0;
        self.conflict_since = None;
    }
}
