//! Settling what nodes have won. A node holds no key: whoever settles for it gets the tips.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use spillway_disk::{Disk, run};
use spillway_net::{Peers, PeersError};
use spillway_pay::{
    At, PayError, Payments, SeedPosted, SeedWanted, SettleTerms, Settled, Spend, Stopped, Wallet,
    verify,
};
use spillway_types::{
    BatchProof, LeafHash, PaymentId, PeerKey, Refusal, UnixTime, Win, WinsPage, WinsRequest,
};

use crate::{
    AccountError,
    account::Forgets,
    limits::{BUSY_PATIENCE, LEAST_BUSY_WAIT, MAX_WINS_PAGES, SETTLE_ROUND},
    session,
};

mod named;
mod report;

pub use report::{SettleReport, SettleStopped, WinsFailure};

use named::Named;
use report::plus;

/// What is settled, and with what seeds.
#[derive(Clone, Debug, Default)]
pub struct SettleOptions {
    /// The nodes whose wins are settled. Each win is in the hands of up to five: one that answers is
    /// enough.
    pub from: Vec<PeerKey>,
    /// Wins that are known already, such as those in a node's directory.
    pub wins: Vec<Win>,
    /// Seeds to make known first; see [`missing_seeds`].
    pub seeds: Vec<SeedWanted>,
    /// When settling is worth its gas.
    pub terms: SettleTerms,
    /// Only look: no seed is posted, nothing is settled and nothing is spent.
    pub dry_run: bool,
}

/// Gathers the wins of nodes and settles them, many draws a transaction. A node that is busy is asked
/// again, for two minutes in all. Seeds that are asked for are made known first, where wins that are
/// known already wait for one by the same transaction; nodes note their wins a moment after a seed is.
///
/// What nodes say is checked: proofs here, draws, records and seeds by [`Payments::settle`].
///
/// # Errors
/// When the chain cannot be asked or refuses, another process uses the wallet, there are too few
/// coins, or the gas cap is reached; with what was done before. What was settled stays settled; calling
/// again goes on. Nodes that do not answer are no error.
///
/// # Cancel safety
/// A draw is settled once, whatever is sent how often.
///
/// # Cost
/// Gas, as [`Payments::settle`] and [`Payments::post_seed`] say, all of it within
/// [`SettleTerms::gas_cap`]. Tips come back in tokens.
pub async fn settle(
    peers: &dyn Peers,
    payments: &Payments,
    wallet: &Wallet,
    options: SettleOptions,
) -> Result<SettleReport, SettleStopped> {
    settle_from(Some(peers), payments, wallet, options).await
}

/// As [`settle`], of the wins in the options alone: for whoever has a node's directory, or only makes
/// seeds known, and needs no network. Nodes in the options are silent.
///
/// # Errors
/// As there.
///
/// # Cancel safety
/// As there.
///
/// # Cost
/// As there.
pub async fn settle_known(
    payments: &Payments,
    wallet: &Wallet,
    options: SettleOptions,
) -> Result<SettleReport, SettleStopped> {
    settle_from(None, payments, wallet, options).await
}

async fn settle_from(
    peers: Option<&dyn Peers>,
    payments: &Payments,
    wallet: &Wallet,
    options: SettleOptions,
) -> Result<SettleReport, SettleStopped> {
    let (dry_run, terms) = (options.dry_run, options.terms);
    // Proofs go along with settlements; block hashes take posts of their own.
    let (proven, plain) = options.seeds.into_iter().partition(|seed| !seed.proof.is_empty());
    let (wins, named, report) = (BTreeMap::new(), Named::default(), SettleReport::default());
    let mut round = Round { payments, wallet, terms, dry_run, seeds: proven, wins, named, report };
    match round.run(peers, plain, options.wins, options.from).await {
        Ok(()) => Ok(round.report),
        Err(error) => Err(SettleStopped { done: Box::new(round.report), error }),
    }
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
    let found = run(data, move |disk| session::batches_paid(disk, &domain, None)).await?;
    for (session, error) in found.unreadable {
        tracing::warn!(%session, %error, "left out");
    }
    let windows = payments.check_domain().await?.windows;
    let now = payments.chain().block(At::Depth(0)).await?.time;
    let mut missing = Vec::new();
    for batch in found.batches {
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

/// The newest seed that could be known, if nobody has made it known: by an upload window that it draws.
/// For whoever has a proof of it and no sessions of his own; see [`missing_seeds`].
///
/// # Errors
/// When the chain cannot be asked.
///
/// # Cancel safety
/// It only reads.
pub async fn newest_seed(payments: &Payments) -> Result<Option<UnixTime>, AccountError> {
    let windows = payments.check_domain().await?.windows;
    let (chain, vault) = (payments.chain(), payments.domain().vault);
    let epoch = chain.beacon(vault).await?.epoch.as_secs().max(1);
    let now = chain.block(At::Depth(0)).await?.time;
    // The last end of an epoch decides all draws of the epoch before it.
    let draw_time = UnixTime((now.0 / epoch * epoch).saturating_sub(1));
    let upload_by = draw_time.saturating_sub(windows.draw_delay);
    Ok(chain.seed(vault, upload_by).await?.is_none().then_some(upload_by))
}

/// Wins that are settled together.
struct Round<'a> {
    payments: &'a Payments,
    wallet: &'a Wallet,
    terms: SettleTerms,
    dry_run: bool,
    /// With proofs, to go along with settlements.
    seeds: Vec<SeedWanted>,
    /// By draw and leaf: a node may name another leaf of the batch than the one that was drawn, and
    /// must not hide the right one.
    wins: BTreeMap<(PaymentId, u8, LeafHash), Win>,
    named: Named,
    report: SettleReport,
}

impl Round<'_> {
    async fn run(
        &mut self,
        peers: Option<&dyn Peers>,
        plain: Vec<SeedWanted>,
        wins: Vec<Win>,
        from: Vec<PeerKey>,
    ) -> Result<(), AccountError> {
        self.post(&plain).await?;
        for win in wins {
            self.take(win);
            self.settle_if_many().await?;
        }
        self.settle().await?;
        // Those that no settlement took along.
        let proven = std::mem::take(&mut self.seeds);
        self.post(&proven).await?;
        for peer in from {
            let gathered = match peers {
                Some(peers) => gather(peers, peer, self).await?,
                None => Err(PeersError::NoPeers.into()),
            };
            if let Err(failure) = gathered {
                tracing::warn!(%peer, %failure, "its wins are not known");
                self.report.silent.push((peer, failure));
            }
        }
        self.settle().await?;
        self.report.missing = std::mem::take(&mut self.named).missing(self.payments).await?;
        Ok(())
    }

    /// Makes seeds known, each with transactions of its own.
    async fn post(&mut self, seeds: &[SeedWanted]) -> Result<(), AccountError> {
        for wanted in seeds {
            if self.dry_run {
                self.report.seeds.push((wanted.upload_by, None));
                continue;
            }
            let cap = self.terms().gas_cap;
            let posted = self.payments.post_seed(self.wallet, wanted, cap, &mut Forgets).await;
            let (posted, error) = match posted {
                Ok(posted) => (posted, None),
                Err(error) => (SeedPosted { seed: None, spend: error.spend.clone() }, Some(error)),
            };
            self.report.seed_spend = plus(&self.report.seed_spend, posted.spend);
            if let Some(error) = error {
                return Err(error.into());
            }
            self.report.seeds.push((wanted.upload_by, posted.seed));
        }
        Ok(())
    }

    /// Takes a win in if its proof holds.
    fn take(&mut self, win: Win) {
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

    /// Settles what was gathered when it is too much to keep.
    async fn settle_if_many(&mut self) -> Result<(), AccountError> {
        if self.wins.len() >= SETTLE_ROUND { self.settle().await } else { Ok(()) }
    }

    /// Settles what was gathered.
    async fn settle(&mut self) -> Result<(), AccountError> {
        let wins: Vec<Win> = std::mem::take(&mut self.wins).into_values().collect();
        if wins.is_empty() {
            return Ok(());
        }
        let (settled, error) = match self.send(&wins).await {
            Ok(settled) => (settled, None),
            Err(Stopped { done, error }) => (done, Some(error)),
        };
        self.report.add(settled);
        let Some(PayError { failure, .. }) = error else { return Ok(()) };
        Err(PayError { failure, spend: self.report.spend() }.into())
    }

    /// With what is left of the gas cap.
    fn terms(&self) -> SettleTerms {
        let spent = self.report.spend().gas_cost;
        let gas_cap = self.terms.gas_cap.map(|cap| cap.saturating_sub(spent));
        SettleTerms { gas_cap, ..self.terms }
    }

    /// Sends what can be settled, or only looks at it, and notes whom it pays.
    async fn send(&mut self, wins: &[Win]) -> Result<Settled, Stopped<Settled>> {
        if self.dry_run {
            return self.preview(wins).await;
        }
        let (open, mut skipped) =
            match self.payments.settleable(wins, &self.seeds, self.terms).await {
                Ok(looked) => looked,
                Err(error) => return Err(Stopped { done: Settled::default(), error }),
            };
        let (terms, mut journal) = (self.terms(), Forgets);
        let sent = self
            .payments
            .settle_with_seeds(self.wallet, &open, &self.seeds, terms, &mut journal)
            .await;
        let (mut settled, error) = match sent {
            Ok(settled) => (settled, None),
            Err(Stopped { done, error }) => (done, Some(error)),
        };
        let paid: BTreeSet<(PaymentId, u8)> = settled.done.iter().copied().collect();
        let domain = *self.payments.domain();
        let is_paid = |win: &&Win| paid.contains(&(win.terms.id(&domain), win.draw));
        self.note_payees(open.iter().filter(is_paid));
        skipped.append(&mut settled.skipped);
        let settled = Settled { skipped, ..settled };
        match error {
            None => Ok(settled),
            Some(error) => Err(Stopped { done: settled, error }),
        }
    }

    /// What would be settled.
    async fn preview(&mut self, wins: &[Win]) -> Result<Settled, Stopped<Settled>> {
        let (sender, terms) = (self.wallet.address(), self.terms());
        let looked = self.payments.settle_preview(sender, wins, &self.seeds, terms).await;
        let (preview, error) = match looked {
            Ok(preview) => (preview, None),
            Err(Stopped { done, error }) => (done, Some(error)),
        };
        self.note_payees(preview.wins.iter());
        let settled = Settled {
            draws: u32::try_from(preview.wins.len()).unwrap_or(u32::MAX),
            tips: preview.wins.iter().map(|win| win.terms.tip).sum(),
            prizes: preview.wins.iter().map(|win| win.terms.prize(win.draw)).sum(),
            skipped: preview.skipped,
            spend: Spend { gas_used: preview.gas, gas_cost: preview.gas_cost, ..Spend::default() },
            ..Settled::default()
        };
        match error {
            None => Ok(settled),
            Some(error) => Err(Stopped { done: settled, error }),
        }
    }

    fn note_payees<'w>(&mut self, wins: impl Iterator<Item = &'w Win>) {
        for share in wins.flat_map(Win::payouts) {
            let sum = self.report.payees.entry(share.payee).or_default();
            *sum = sum.saturating_add(share.amount);
        }
    }
}

/// Asks one node for all its wins, page by page, and settles in between what is too much to keep.
async fn gather(
    peers: &dyn Peers,
    peer: PeerKey,
    round: &mut Round<'_>,
) -> Result<Result<(), WinsFailure>, AccountError> {
    let (mut after, mut patience) = (None, BUSY_PATIENCE);
    for _ in 0..MAX_WINS_PAGES {
        let request = WinsRequest { after };
        let page = match page(peers, peer, request, round.payments, &mut patience).await {
            Ok(page) => page,
            Err(failure) => return Ok(Err(failure)),
        };
        let WinsPage { wins, more, waiting } = page;
        round.named.take(peer, waiting);
        let last = wins.last();
        let last = last.map(|win| (win.terms.id(round.payments.domain()), win.draw));
        // Without this a node could show the same page for ever.
        if more && last <= after {
            return Ok(Err(WinsFailure::OutOfOrder));
        }
        for win in wins {
            round.take(win);
        }
        round.settle_if_many().await?;
        if !more {
            return Ok(Ok(()));
        }
        after = last;
    }
    Ok(Err(WinsFailure::TooMany))
}

/// Asks for one page. When the node is busy, as long as it says, out of what is left of the patience.
async fn page(
    peers: &dyn Peers,
    peer: PeerKey,
    request: WinsRequest,
    payments: &Payments,
    patience: &mut Duration,
) -> Result<WinsPage, WinsFailure> {
    loop {
        let refusal = match peers.wins(peer, request.clone()).await?.page {
            Ok(page) => return Ok(page),
            Err(refusal) => refusal,
        };
        let Refusal::Busy { after_ms } = refusal else {
            return Err(WinsFailure::Refused(refusal));
        };
        let wait = Duration::from_millis(after_ms.into()).max(LEAST_BUSY_WAIT);
        let Some(left) = patience.checked_sub(wait) else {
            return Err(WinsFailure::Refused(refusal));
        };
        *patience = left;
        payments.clock().sleep(wait).await;
    }
}

#[cfg(test)]
mod tests;
