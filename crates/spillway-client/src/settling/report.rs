//! What settling has done.

use std::collections::BTreeMap;

use spillway_net::PeersError;
use spillway_pay::{Settled, SkipReason, Spend};
use spillway_types::{Atto, PeerKey, Refusal, Retry, RewardAddress, Seed, UnixTime};

use crate::{AccountError, limits::SETTLE_ROUND};

/// Draws that are listed of each reason why some were left out. There are ten reasons, so that the list
/// takes half a megabyte at most; a node can fill the place of the reasons that its wins make, and of no
/// other: it makes none that the vault refuses.
pub(super) const LISTED_OF_A_REASON: u64 = 512;

/// Why a node's wins are not known.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WinsFailure {
    /// No answer.
    #[error(transparent)]
    Peer(#[from] PeersError),
    /// It said no.
    #[error("refused: {0}")]
    Refused(Refusal),
    /// Its pages are not in order.
    #[error("its pages are not in order")]
    OutOfOrder,
    /// It has still more after the last page that is asked for; what it had shown until then counts.
    #[error("it has more wins than are asked for at once")]
    TooMany,
}

impl WinsFailure {
    /// Whether the node may answer later.
    pub fn retry(&self) -> Retry {
        match self {
            Self::Peer(error) => error.retry(),
            Self::Refused(refusal) => refusal.retry(),
            Self::OutOfOrder => Retry::Never,
            // Settled ones are not shown again.
            Self::TooMany => Retry::Backoff,
        }
    }
}

/// What [`settle`](super::settle) has done, or in a dry run would do.
#[derive(Clone, Debug, Default)]
pub struct SettleReport {
    /// The seeds that were asked for; `None`: not known yet.
    pub seeds: Vec<(UnixTime, Option<Seed>)>,
    /// What making them known has cost, but for those that a settlement took along.
    pub seed_spend: Spend,
    /// Different wins that nodes have shown.
    pub wins: u64,
    /// What was settled, the first 4,096 draws by name, and what was not and why, the first 512 of each
    /// reason. In a dry run there are no transactions, and what it cost is what it would cost at least
    /// at the fees of the moment.
    pub settled: Settled,
    /// How many draws were left out for which reason, all of them, by [`SkipReason::name`]: a node may
    /// show any number of wins that are none.
    pub left_out: BTreeMap<&'static str, u64>,
    /// What these draws pay whom, as credit in the vault. Payees are those of draws that the vault has
    /// paid, so nobody makes this long for nothing.
    pub payees: BTreeMap<RewardAddress, Atto>,
    /// Seeds that nodes wait for and that nobody has made known, although the draw is due and can be
    /// claimed: asked of the chain. Each by an upload window that it draws, first what most nodes
    /// named; at most 64.
    pub missing: Vec<UnixTime>,
    /// Nodes whose wins are not known, or not all.
    pub silent: Vec<(PeerKey, WinsFailure)>,
}

/// Why [`settle`](super::settle) did not come to its end, and what it has done.
#[derive(Debug, thiserror::Error)]
#[error("settling did not come to its end")]
pub struct SettleStopped {
    /// What was settled and made known before, and what that has cost. Which seeds are missing was
    /// not asked.
    pub done: Box<SettleReport>,
    /// Why it stopped.
    #[source]
    pub error: AccountError,
}

impl SettleStopped {
    /// Whether the same call may go on later.
    pub fn retry(&self) -> Retry {
        self.error.retry()
    }
}

impl SettleReport {
    /// What all transactions have cost in gas, those for seeds included.
    pub fn spend(&self) -> Spend {
        plus(&self.seed_spend, self.settled.spend.clone())
    }

    /// How many draws the vault refused.
    pub fn refused(&self) -> u64 {
        self.left_out.get(SkipReason::REFUSED).copied().unwrap_or_default()
    }

    /// How many draws were left out and are not listed, for whatever reason.
    pub fn unlisted(&self) -> u64 {
        let all: u64 = self.left_out.values().sum();
        all.saturating_sub(self.settled.skipped.len() as u64)
    }

    /// Adds what one more call has settled.
    pub(super) fn add(&mut self, settled: Settled) {
        let total = &mut self.settled;
        total.transactions += settled.transactions;
        total.draws += settled.draws;
        total.tips = total.tips.saturating_add(settled.tips);
        total.prizes = total.prizes.saturating_add(settled.prizes);
        let room = SETTLE_ROUND.saturating_sub(total.done.len());
        total.done.extend(settled.done.into_iter().take(room));
        total.spend = plus(&total.spend, settled.spend);
        for skipped in settled.skipped {
            let known = self.left_out.entry(skipped.reason.name()).or_default();
            *known += 1;
            if *known <= LISTED_OF_A_REASON {
                total.skipped.push(skipped);
            }
        }
    }
}

pub(super) fn plus(before: &Spend, more: Spend) -> Spend {
    Spend {
        paid: before.paid.saturating_add(more.paid),
        payments: [before.payments.clone(), more.payments].concat(),
        gas_used: before.gas_used.saturating_add(more.gas_used),
        gas_cost: before.gas_cost.saturating_add(more.gas_cost),
        tx_hashes: [before.tx_hashes.clone(), more.tx_hashes].concat(),
    }
}
