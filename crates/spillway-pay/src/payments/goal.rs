use spillway_types::{Atto, BatchTerms, EvmAddress, PaymentId, RewardAddress, UnixTime, Win};

use crate::{Call, Plan, TxPurpose, calls};

/// What the vault says to draws and batches that no other block makes good: not that a record or a
/// seed is missing, which a server that is behind may say.
const FINAL_REFUSALS: [&str; 5] =
    ["BadDraw(", "BadProof(", "ClaimOpen(", "ClaimOver(", "NotWinner("];

/// What a transaction is to bring about.
#[derive(Clone, Copy, Debug)]
pub(super) enum Goal<'p> {
    /// The vault may take this much.
    Allowance { token: EvmAddress, owner: EvmAddress, vault: EvmAddress, amount: Atto },
    /// The vault has recorded these plans: one, or several batches of one payer and deadline, which
    /// one call pays for.
    Recorded(&'p [&'p Plan]),
    /// The payee has what it was owed.
    Withdrawn { vault: EvmAddress, sender: EvmAddress, payee: RewardAddress },
    /// These draws, at least one and all of one batch, have paid their leaves; with a proof of the
    /// seed if nobody has made it known.
    Settled {
        vault: EvmAddress,
        sender: EvmAddress,
        payment: PaymentId,
        wins: &'p [&'p Win],
        proof: &'p [u8],
    },
    /// No draw of the batch is open.
    Refunded { vault: EvmAddress, sender: EvmAddress, payment: PaymentId, terms: &'p BatchTerms },
    /// The seed of the batches of this `upload_by` is known, or the beacon was told of it once
    /// more: that may not be enough.
    SeedPosted {
        vault: EvmAddress,
        beacon: EvmAddress,
        sender: EvmAddress,
        upload_by: UnixTime,
        after: UnixTime,
        proof: &'p [u8],
    },
}

impl<'p> Goal<'p> {
    pub(super) fn purpose(&self) -> TxPurpose {
        match *self {
            Self::Allowance { amount, .. } => TxPurpose::Approve { amount },
            Self::Recorded([plan]) => TxPurpose::Pay { payment: plan.id() },
            Self::Recorded(plans) => {
                TxPurpose::PayMany { payments: plans.iter().map(|plan| plan.id()).collect() }
            }
            Self::Withdrawn { payee, .. } => TxPurpose::Withdraw { payee },
            Self::Settled { payment, .. } => TxPurpose::Settle { payment },
            Self::Refunded { payment, .. } => TxPurpose::Refund { payment },
            Self::SeedPosted { after, .. } => TxPurpose::PostSeed { after },
        }
    }

    /// Always the same bytes for the same goal.
    pub(super) fn call(&self) -> Call {
        match *self {
            Self::Allowance { token, owner, vault, amount } => {
                calls::approve(token, owner, vault, amount)
            }
            Self::Recorded(plans) => calls::pay_all(plans),
            Self::Withdrawn { vault, sender, payee } => calls::withdraw(vault, sender, payee),
            Self::Settled { vault, sender, wins, proof, .. } => {
                calls::settle(vault, sender, wins, proof)
            }
            Self::Refunded { vault, sender, terms, .. } => calls::refund(vault, sender, terms),
            Self::SeedPosted { beacon, sender, after, proof, .. } => {
                calls::post_seed(beacon, sender, after, proof)
            }
        }
    }

    /// What other transactions for the same goal are for, which are gone on with; `None` when
    /// another one for the same purpose may do something else.
    pub(super) fn resumed(&self) -> Option<TxPurpose> {
        let same =
            matches!(self, Self::Allowance { .. } | Self::Recorded(_) | Self::Refunded { .. });
        same.then(|| self.purpose())
    }

    /// Whether it is reached once a transaction for it has succeeded, whatever else is seen.
    pub(super) fn is_a_receipt(&self) -> bool {
        matches!(self, Self::Withdrawn { .. } | Self::SeedPosted { .. })
    }

    /// Whether the vault's refusal is its last word: then it is not asked again until another
    /// server knows more. Only what is settled or refunded once more is looked at anew.
    pub(super) fn is_refused_for_good(&self, reason: Option<&str>) -> bool {
        matches!(self, Self::Settled { .. } | Self::Refunded { .. })
            && reason.is_some_and(|reason| {
                FINAL_REFUSALS.iter().any(|refusal| reason.starts_with(refusal))
            })
    }

    /// The plans that are to be recorded.
    pub(super) fn plans(&self) -> &'p [&'p Plan] {
        match *self {
            Self::Recorded(plans) => plans,
            _ => &[],
        }
    }
}
