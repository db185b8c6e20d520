//! Which plans one transaction pays for, and paying what is open, group by group.

use std::collections::{BTreeMap, BTreeSet};

use spillway_types::{Atto, PaymentId, limits::MAX_COMMITS};

use super::{CommitChoice, Goal, Run, drive::Driven};
use crate::{ChainError, PayFailure, Plan, PlanMode, TxPurpose};

/// Plans that one transaction pays for: one of either mode, or batches of one payer and deadline.
pub(in crate::payments) type Group<'p> = Vec<&'p Plan>;

/// Puts plans together that can be paid with one transaction, in the order of their first.
pub(in crate::payments) fn groups<'p>(plans: &[&'p Plan], commit: CommitChoice) -> Vec<Group<'p>> {
    let terms = |plan: &Plan| match (commit, plan.mode) {
        (CommitChoice::Together, PlanMode::Batch { .. }) => {
            Some((plan.payer, plan.domain, plan.valid_until))
        }
        _ => None,
    };
    let mut groups: Vec<Group<'p>> = Vec::new();
    for &plan in plans {
        let place = terms(plan).and_then(|own| {
            groups.iter_mut().find(|group| {
                group.len() < MAX_COMMITS && terms(group[0]).is_some_and(|of| of == own)
            })
        });
        match place {
            Some(group) => group.push(plan),
            None => groups.push(vec![plan]),
        }
    }
    groups
}

/// How often the allowance is raised again for one group: each time, another session has used it.
const MAX_RAISES: u32 = 3;

/// Whether the vault may not take as much.
fn is_allowance(failure: &PayFailure) -> bool {
    let (PayFailure::Failed { reason, .. } | PayFailure::Chain(ChainError::Reverted { reason })) =
        failure
    else {
        return false;
    };
    reason.as_deref().is_some_and(|reason| reason.starts_with("ERC20InsufficientAllowance"))
}

fn holds(group: &[&Plan], plan: &Plan) -> bool {
    group.iter().any(|&other| std::ptr::eq(other, plan))
}

fn total(group: &[&Plan]) -> Atto {
    group.iter().map(|plan| plan.total()).sum()
}

impl<'a> Run<'a> {
    /// Pays what is not recorded: first what is signed already and may be on its way, in the order
    /// in which it was signed, so that the allowance is then exact for the rest. Returns why the
    /// first plan was missed whose deadline passed meanwhile.
    pub(super) async fn pay_open(
        &mut self,
        open: Vec<&'a Plan>,
    ) -> Result<Option<PayFailure>, PayFailure> {
        let mut missed = None;
        let mut tried = BTreeSet::new();
        let mut kept: Vec<Group<'a>> = Vec::new();
        for group in self.signed_groups(&open) {
            let known = |plan: &&Plan| tried.contains(&plan.id());
            // Others of it were paid or have expired with another group: what is left is grouped
            // anew.
            if group.iter().any(known) {
                continue;
            }
            if self.allowance().await? >= total(&group) {
                tried.extend(group.iter().map(|plan| plan.id()));
                let late = self.pay_group(group, Atto::ZERO).await?;
                missed = missed.or(late);
            } else if !kept.iter().flatten().any(|&plan| holds(&group, plan)) {
                kept.push(group);
            }
        }
        kept.retain(|group| !group.iter().any(|plan| tried.contains(&plan.id())));
        tried.extend(kept.iter().flatten().map(|plan| plan.id()));
        let fresh: Vec<&'a Plan> =
            open.iter().copied().filter(|plan| !tried.contains(&plan.id())).collect();
        // What was signed is signed again only as it was.
        kept.extend(groups(&fresh, self.commit));
        let mut needed: Atto = kept.iter().map(|group| total(group)).sum();
        self.allow(needed).await?;
        for group in kept {
            needed = needed.saturating_sub(total(&group));
            let late = self.pay_group(group, needed).await?;
            missed = missed.or(late);
        }
        Ok(missed)
    }

    /// Lets the vault take this much. Never lowered: another session may count on what is there.
    async fn allow(&mut self, amount: Atto) -> Result<(), PayFailure> {
        if self.allowance().await? < amount {
            self.drive(Goal::Allowance {
                token: self.token,
                owner: self.wallet.address(),
                vault: self.options.domain.vault,
                amount,
            })
            .await?;
        }
        Ok(())
    }

    /// Pays plans with one transaction; with more, when something else has paid some of them.
    /// `Some`: their deadline has passed, which is no reason not to pay the others. `later`: what
    /// the vault is to take after that; allowed with it when the allowance must be raised again.
    async fn pay_group(
        &mut self,
        group: Group<'a>,
        later: Atto,
    ) -> Result<Option<PayFailure>, PayFailure> {
        let mut rest = group;
        let mut raised = 0;
        // Every round but the last records one plan at least, or raises the allowance.
        while !rest.is_empty() {
            match self.drive(Goal::Recorded(&rest)).await {
                Ok(driven) => {
                    rest = self.note_driven(rest, driven);
                    self.tell_deep().await?;
                }
                Err(failure @ PayFailure::Expired { .. }) => return Ok(Some(failure)),
                // A transaction of another session that waited has used it.
                Err(failure)
                    if raised < MAX_RAISES
                        && is_allowance(&failure)
                        && self.allowance().await? < total(&rest) =>
                {
                    raised += 1;
                    self.allow(total(&rest).saturating_add(later)).await?;
                }
                Err(failure) => return Err(failure),
            }
        }
        Ok(None)
    }

    /// Notes what is recorded; returns the others.
    fn note_driven(&mut self, group: Group<'a>, driven: Driven) -> Group<'a> {
        let times = match driven {
            Driven::Done(times) => times.into_iter().map(Some).collect(),
            Driven::Split(times) => {
                // A transaction for all of them may yet be mined, and fail: what it cost is looked
                // up at the end.
                self.vanished = true;
                times
            }
        };
        let mut rest = Group::new();
        for (plan, recorded) in group.into_iter().zip(times) {
            match recorded {
                Some(recorded) => self.note_untold(plan, recorded),
                None => rest.push(plan),
            }
        }
        rest
    }

    /// The plans that signed transactions pay for which are not known to be mined, in the order of
    /// their nonces. What pays for something that is not open can do nothing any more.
    fn signed_groups(&self, open: &[&'a Plan]) -> Vec<Group<'a>> {
        let open: BTreeMap<PaymentId, &'a Plan> =
            open.iter().map(|&plan| (plan.id(), plan)).collect();
        let mut found: BTreeMap<u64, Vec<Group<'a>>> = BTreeMap::new();
        let mut purposes: Vec<&TxPurpose> = Vec::new();
        for tx in &self.txs {
            if purposes.contains(&&tx.purpose) {
                continue;
            }
            purposes.push(&tx.purpose);
            let newest = self.unmined(&tx.purpose);
            if let (Some(newest), Some(group)) = (newest, resolve(&tx.purpose, &open)) {
                found.entry(newest.nonce).or_default().push(group);
            }
        }
        found.into_values().flatten().collect()
    }

    /// The plans that the newest transaction for this plan pays for which is not known to be mined;
    /// empty when there is none that we know all plans of.
    pub(super) fn signed_with(&self, plan: &'a Plan) -> Group<'a> {
        let known: BTreeMap<PaymentId, &'a Plan> =
            self.plans.iter().map(|plan| (plan.id(), plan)).collect();
        let payment = plan.id();
        let unmined = self.txs.iter().filter(|tx| !self.receipts.contains_key(&tx.hash));
        unmined
            .filter(|tx| tx.purpose.pays(payment))
            .max_by_key(|tx| (tx.nonce, tx.max_fee))
            .and_then(|tx| resolve(&tx.purpose, &known))
            .unwrap_or_default()
    }
}

/// The plans that a transaction pays for, if it does for plans and all of them are here.
fn resolve<'p>(purpose: &TxPurpose, plans: &BTreeMap<PaymentId, &'p Plan>) -> Option<Group<'p>> {
    let payments = match purpose {
        TxPurpose::Pay { payment } => std::slice::from_ref(payment),
        TxPurpose::PayMany { payments } => payments,
        _ => return None,
    };
    payments.iter().map(|payment| plans.get(payment).copied()).collect()
}
