//! Settling what nodes have won. A node holds no key: whoever settles for it gets the tips.

use std::{collections::BTreeMap, sync::Arc};

use spillway_disk::{Disk, run};
use spillway_net::{Peers, PeersError};
use spillway_pay::{At, PayError, Payments, Settled, Wallet, verify};
use spillway_types::{
    BatchProof, LeafHash, PaymentId, PeerKey, Refusal, Retry, Seed, UnixTime, Win, WinsPage,
    WinsRequest,
};

use crate::{
    AccountError,
    account::Forgets,
    limits::{MAX_WINS_PAGES, SETTLE_ROUND},
    session,
};

/// What is settled, and with what seeds.
#[derive(Clone, Debug, Default)]
pub struct SettleOptions {
    /// The nodes whose wins are settled. Each win is in the hands of up to five: one that answers is
    /// enough.
    pub from: Vec<PeerKey>,
    /// Seeds to make known first; see [`missing_seeds`].
    pub seeds: Vec<SeedWanted>,
}

/// A seed that is to be known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeedWanted {
    /// It draws the batches whose upload window ends here.
    pub upload_by: UnixTime,
    /// What the beacon asks for: empty for block hashes, a signature for drand.
    pub proof: Vec<u8>,
}

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
}

impl WinsFailure {
    /// Whether the node may answer later.
    pub fn retry(&self) -> Retry {
        match self {
            Self::Peer(error) => error.retry(),
            Self::Refused(refusal) => refusal.retry(),
            Self::OutOfOrder => Retry::Never,
        }
    }
}

/// What [`settle`] has done.
#[derive(Clone, Debug, Default)]
pub struct SettleReport {
    /// The seeds that were asked for; `None`: not known yet.
    pub seeds: Vec<(UnixTime, Option<Seed>)>,
    /// Different wins that nodes have shown.
    pub wins: u64,
    /// What was settled, and what was not and why; of the latter the first 4,096.
    pub settled: Settled,
    /// Nodes whose wins are not known, or not all.
    pub silent: Vec<(PeerKey, WinsFailure)>,
}

/// Gathers the wins of nodes and settles them, many draws a transaction. Seeds that are asked for are
/// made known first; nodes note their wins a moment after a seed is.
///
/// What nodes say is checked: proofs here, draws, records and seeds by [`Payments::settle`].
///
/// # Errors
/// When the chain cannot be asked or refuses, another process uses the wallet, or there are too few
/// coins. What was settled before stays settled; calling again goes on. Nodes that do not answer are
/// no error.
///
/// # Cancel safety
/// A draw is settled once, whatever is sent how often.
///
/// # Cost
/// Gas, as [`Payments::settle`] and [`Payments::post_seed`] say. Tips come back in tokens.
pub async fn settle(
    peers: &dyn Peers,
    payments: &Payments,
    wallet: &Wallet,
    options: SettleOptions,
) -> Result<SettleReport, AccountError> {
    let mut round = Round { payments, wallet, wins: BTreeMap::new(), report: Default::default() };
    for SeedWanted { upload_by, proof } in options.seeds {
        let seed = payments.post_seed(wallet, upload_by, &proof, &mut Forgets).await?;
        round.report.seeds.push((upload_by, seed));
    }
    for peer in options.from {
        if let Err(failure) = gather(peers, peer, &mut round).await? {
            tracing::warn!(%peer, %failure, "its wins are not known");
            round.report.silent.push((peer, failure));
        }
    }
    round.settle().await?;
    Ok(round.report)
}

/// The upload windows of batches of these sessions whose draw is due and whose seed nobody has made
/// known; each once, the earliest first.
///
/// # Errors
/// When our disk or the chain fails.
///
/// # Cancel safety
/// It only reads.
pub async fn missing_seeds(
    payments: &Payments,
    data: &Arc<dyn Disk>,
) -> Result<Vec<UnixTime>, AccountError> {
    let domain = *payments.domain();
    let batches = run(data, move |disk| session::batches_paid(disk, &domain, None)).await?;
    let windows = payments.check_domain().await?.windows;
    let now = payments.chain().block(At::Depth(0)).await?.time;
    let mut missing = Vec::new();
    for batch in batches {
        let upload_by = batch.terms.upload_by;
        let over = batch.refunded.is_some() || now > windows.claim_end(upload_by);
        if over || now <= windows.draw_time(upload_by) || missing.contains(&upload_by) {
            continue;
        }
        let state = payments.batch_state(&batch.terms).await?;
        if state.recorded.is_some() && state.seed.is_none() {
            missing.push(upload_by);
        }
    }
    missing.sort_unstable();
    Ok(missing)
}

/// Wins that are settled together.
struct Round<'a> {
    payments: &'a Payments,
    wallet: &'a Wallet,
    /// By draw and leaf: a node may name another leaf of the batch than the one that was drawn, and
    /// must not hide the right one.
    wins: BTreeMap<(PaymentId, u8, LeafHash), Win>,
    report: SettleReport,
}

impl Round<'_> {
    /// Takes a page in whose proofs hold.
    fn take(&mut self, page: WinsPage) {
        for win in page.wins {
            let proof = BatchProof { terms: win.terms, siblings: win.siblings };
            match verify::batch_leaf(&proof, &win.leaf) {
                Ok(_) => {
                    let key = (proof.terms.id(self.payments.domain()), win.draw, win.leaf.hash());
                    let win = Win { siblings: proof.siblings, ..win };
                    if self.wins.insert(key, win).is_none() {
                        self.report.wins += 1;
                    }
                }
                Err(error) => tracing::debug!(%error, "not a win"),
            }
        }
    }

    /// Settles what was gathered.
    async fn settle(&mut self) -> Result<(), AccountError> {
        let wins: Vec<Win> = std::mem::take(&mut self.wins).into_values().collect();
        if wins.is_empty() {
            return Ok(());
        }
        let total = &mut self.report.settled;
        match self.payments.settle(self.wallet, &wins, &mut Forgets).await {
            Ok(settled) => {
                total.transactions += settled.transactions;
                total.draws += settled.draws;
                total.tips = total.tips.saturating_add(settled.tips);
                total.prizes = total.prizes.saturating_add(settled.prizes);
                let room = SETTLE_ROUND.saturating_sub(total.skipped.len());
                total.skipped.extend(settled.skipped.into_iter().take(room));
                total.spend = plus(&total.spend, settled.spend);
                Ok(())
            }
            Err(PayError { failure, spend }) => {
                let spend = plus(&total.spend, spend);
                Err(PayError { failure, spend }.into())
            }
        }
    }
}

fn plus(before: &spillway_pay::Spend, more: spillway_pay::Spend) -> spillway_pay::Spend {
    spillway_pay::Spend {
        paid: before.paid.saturating_add(more.paid),
        gas_used: before.gas_used.saturating_add(more.gas_used),
        gas_cost: before.gas_cost.saturating_add(more.gas_cost),
        tx_hashes: [before.tx_hashes.clone(), more.tx_hashes].concat(),
    }
}

/// Asks one node for all its wins, page by page, and settles in between what is too much to keep.
async fn gather(
    peers: &dyn Peers,
    peer: PeerKey,
    round: &mut Round<'_>,
) -> Result<Result<(), WinsFailure>, AccountError> {
    let mut after = None;
    for _ in 0..MAX_WINS_PAGES {
        let page = match peers.wins(peer, WinsRequest { after }).await {
            Ok(response) => response.page.map_err(WinsFailure::Refused),
            Err(error) => Err(error.into()),
        };
        let page = match page {
            Ok(page) => page,
            Err(failure) => return Ok(Err(failure)),
        };
        let last = page.wins.last();
        let last = last.map(|win| (win.terms.id(round.payments.domain()), win.draw));
        let more = page.more;
        // Without this a node could show the same page for ever.
        if more && last <= after {
            return Ok(Err(WinsFailure::OutOfOrder));
        }
        round.take(page);
        if round.wins.len() >= SETTLE_ROUND {
            round.settle().await?;
        }
        if !more {
            break;
        }
        after = last;
    }
    Ok(Ok(()))
}
