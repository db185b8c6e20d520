//! Waits until recorded plans are deep enough to count, and tells the journal of each: while other
//! plans are paid, at the end, and before an error is returned.

use spillway_types::{Retry, TxHash};

use super::{
    Goal, Run,
    drive::{Driven, Look},
};
use crate::{At, PayFailure, Plan};

impl<'a> Run<'a> {
    /// Tells of what is recorded and deep enough already, without waiting. Only the first is asked
    /// for until it is: the others are not deeper.
    pub(super) async fn tell_deep(&mut self) -> Result<(), PayFailure> {
        while let Some(&plan) = self.untold.front() {
            if self.confirmations > 0 {
                let (vault, at) = (plan.domain.vault, At::Depth(self.confirmations));
                match self.options.chain.record(vault, plan.id(), at).await {
                    Ok(record) => match record.recorded {
                        Some(recorded) => self.note_paid(plan, recorded),
                        None => break,
                    },
                    Err(error) => {
                        tracing::debug!(%error, "the depth of a payment is asked for again");
                        break;
                    }
                }
            }
            self.tell(plan).await?;
        }
        Ok(())
    }

    /// Deepens and tells all that is recorded. `failure`: why the payments have ended. What goes
    /// wrong with one plan does not keep the others from being told of; the first failure is
    /// returned.
    pub(super) async fn finish(&mut self, failure: Option<PayFailure>) -> Result<(), PayFailure> {
        let mut first = failure;
        while let Some(&plan) = self.untold.front() {
            match &first {
                // Nobody listens.
                Some(PayFailure::Journal(_)) => break,
                Some(failure) if waited_enough(failure) => {
                    if let Err(failure) = self.tell_deep().await {
                        tracing::debug!(%failure, "a payment could not be told of");
                    }
                    break;
                }
                _ => {}
            }
            let told = match self.deepen(plan).await {
                Ok(()) => self.tell(plan).await,
                Err(failure) => Err(failure),
            };
            if let Err(failure) = told {
                self.untold.retain(|untold| untold.id() != plan.id());
                first.get_or_insert(failure);
            }
        }
        first.map_or(Ok(()), Err)
    }

    async fn tell(&mut self, plan: &'a Plan) -> Result<(), PayFailure> {
        let payment = plan.id();
        let before = self.untold.len();
        self.untold.retain(|untold| untold.id() != payment);
        match self.paid.get(&payment) {
            // Once.
            Some(paid) if self.untold.len() < before => Ok(self.journal.paid(paid).await?),
            _ => Ok(()),
        }
    }

    /// Waits until a recorded plan is deep enough, and pays it again if it vanishes.
    async fn deepen(&mut self, plan: &'a Plan) -> Result<(), PayFailure> {
        if self.confirmations == 0 {
            return Ok(());
        }
        let timing = self.options.timing;
        let (chain, clock) = (&self.options.chain, &self.options.clock);
        let (started, mut pause) = (clock.monotonic(), timing.first_poll);
        let mut failing_since = None;
        loop {
            let (vault, payment) = (plan.domain.vault, plan.id());
            let now = clock.monotonic();
            match chain.record(vault, payment, At::Depth(self.confirmations)).await {
                Ok(record) if record.recorded.is_some() => return Ok(()),
                Ok(_) => failing_since = None,
                Err(error) if error.retry() != Retry::Never => {
                    if now.saturating_sub(*failing_since.get_or_insert(now)) >= timing.outage {
                        return Err(error.into());
                    }
                }
                Err(error) => return Err(error.into()),
            }
            self.keep_recorded(plan).await?;
            let waited = now.saturating_sub(started);
            if waited >= timing.patience {
                let known = self.paid.get(&payment).and_then(|paid| paid.tx);
                let tx = known.unwrap_or(TxHash([0; 32]));
                return Err(PayFailure::NotMined { tx, waited });
            }
            self.options.clock.sleep(pause).await;
            pause = (pause * 2).min(timing.longest_poll);
        }
    }

    /// Pays a plan again that a reorganisation has taken back, with the identical bytes if they are
    /// good for it. The time of its record may have changed, too.
    async fn keep_recorded(&mut self, plan: &'a Plan) -> Result<(), PayFailure> {
        match self.reached(Goal::Recorded(&[plan]), false).await {
            Ok(Look::Ended(Driven::Done(times))) => {
                if let [recorded] = times[..] {
                    self.note_paid(plan, recorded);
                }
            }
            Ok(_) => {
                if self.check_payer(plan).is_err() {
                    // Its payer's business; the server may be behind, too.
                    return Ok(());
                }
                match self.hold_lock().await {
                    Ok(()) => {}
                    // Its holder may be at it, or the server is behind: the next look says.
                    Err(PayFailure::Locked { .. }) => return Ok(()),
                    Err(failure) => return Err(failure),
                }
                self.look_back().await?;
                self.pay_again(plan).await?;
            }
            // The next look is at it again.
            Err(error) if error.retry() != Retry::Never => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// What was signed for a plan is gone: the identical bytes go out, with all plans that they pay
    /// for; by itself it is paid only when that cannot be.
    async fn pay_again(&mut self, plan: &'a Plan) -> Result<(), PayFailure> {
        for group in [self.signed_with(plan), vec![plan]] {
            if group.is_empty() {
                continue;
            }
            match self.drive(Goal::Recorded(&group)).await? {
                Driven::Done(times) => {
                    for (plan, recorded) in group.into_iter().zip(times) {
                        self.note_paid(plan, recorded);
                    }
                    return Ok(());
                }
                Driven::Split(_) => self.vanished = true,
            }
        }
        Ok(())
    }
}

/// After this, waiting for depth is of no use: the chain does not answer or does not go on.
fn waited_enough(failure: &PayFailure) -> bool {
    match failure {
        PayFailure::Chain(error) => error.retry() != Retry::Never,
        PayFailure::NotMined { .. } => true,
        _ => false,
    }
}
