use std::sync::Arc;

use serde::Serialize;
use spillway_client::{
    AccountError, Address, ChainError, Client, PayFailure, Payments, SeedWanted, SettleOptions,
    SettleReport, SettleTerms, SkipReason, Skipped, Wallet, missing_seeds, newest_seed,
    settle_known,
};
use spillway_types::{PeerKey, Seed, UnixTime};

use super::{Context, summary::only_report, wins::noted};
use crate::{
    args::Settle,
    config::{Layer, Settings, peer_address},
    exit::{Code, Failure},
    render::{Report, amount, count, utc},
};

/// Seeds that only nodes wait for and that one run makes known, at most: 191,000 gas each with a public
/// beacon. A node's word cannot make anybody spend more.
const MAX_NAMED_POSTS: usize = 4;

/// The summary of `settle`. Amounts are text: they pass 53 bits.
#[derive(Debug, Serialize)]
struct Summary {
    dry_run: bool,
    /// How many were asked.
    nodes: usize,
    /// Different wins that they have told of.
    wins: u64,
    /// Draws that were settled.
    draws: u32,
    transactions: u32,
    prize_atto: String,
    tip_atto: String,
    payees: Vec<Payee>,
    skipped: Vec<LeftOut>,
    silent: Vec<Silent>,
    seeds: Vec<SeedLine>,
    /// Of settling; making seeds known is apart.
    gas_used: u64,
    gas_cost_wei: String,
    tx_hashes: Vec<String>,
}

/// Who is paid how much.
#[derive(Debug, Serialize)]
struct Payee {
    payee: String,
    amount_atto: String,
}

/// A draw that was not settled.
#[derive(Debug, Serialize)]
struct LeftOut {
    payment: String,
    draw: u8,
    reason: String,
}

/// A node whose wins are not known.
#[derive(Debug, Serialize)]
struct Silent {
    peer: String,
    reason: String,
}

/// A seed that was missing.
#[derive(Debug, Serialize)]
struct SeedLine {
    /// It draws uploads that had to be stored until then.
    upload_by: u64,
    upload_by_utc: String,
    seed: Option<String>,
}

/// A seed that was missing, and whether it is known now.
type Posted = (UnixTime, Option<Seed>);

/// `settle`: the wins of these nodes, or of those that the settings begin with.
pub(super) async fn run(context: &Context, args: &Settle) -> Result<(), Failure> {
    let settings = context.settings(Layer {
        token_rate: args.rate.token_rate,
        max_gas_cost: args.max_gas_cost,
        ..Layer::from(&args.client)
    })?;
    let wallet = wallet(&settings, args.dry_run)?;
    let mut wins = Vec::new();
    for dir in &args.from_dir {
        wins.extend(noted(dir.clone()).await?);
    }
    let work = Work { context, args, settings: &settings, wallet: &wallet };
    // With a directory no node needs to be asked.
    let (outcome, nodes) = if args.nodes.is_empty() && !args.from_dir.is_empty() {
        let payments = context.chain(&settings).await?;
        let outcome = work.settle(&payments, None, SettleOptions { wins, ..work.options() }).await;
        (outcome?, 0)
    } else {
        let addresses = addresses(&settings, args)?;
        let from = peers(&addresses)?;
        let nodes = from.len();
        let connected = context.connect_to(&settings, addresses).await?;
        let (payments, client) = (connected.payments(), Some(connected.client()));
        let options = SettleOptions { from, wins, ..work.options() };
        let outcome = work.settle(payments, client, options).await;
        connected.shutdown().await;
        (outcome?, nodes)
    };
    let Outcome { report, seeds, refused } = outcome;
    let summary = summary(&report, &seeds, nodes, args.dry_run);
    context.console.summary(&summary, &only_report(text(&report, &seeds, args.dry_run)))?;
    if let Some(failure) = refused {
        return Err(failure);
    }
    left_open(&report, nodes)
}

/// What was to be settled or heard and was not.
fn left_open(report: &SettleReport, nodes: usize) -> Result<(), Failure> {
    let is_refused = |skipped: &&Skipped| matches!(skipped.reason, SkipReason::Refused { .. });
    let refused = report.settled.skipped.iter().filter(is_refused).count() as u64;
    if refused > 0 {
        let message = format!("the vault refused {}", count(refused, "draw"));
        return Err(Failure::new(Code::Failure, message).hint("the summary says which, and why"));
    }
    if nodes == 0 || report.silent.len() < nodes {
        return Ok(());
    }
    Err(Failure::new(Code::TryAgain, "no node has told its wins")
        .hint("name nodes that run, or try again later"))
}

/// To look, no key is needed.
fn wallet(settings: &Settings, dry_run: bool) -> Result<Wallet, Failure> {
    if !dry_run {
        return settings.wallet();
    }
    Wallet::random()
        .map_err(|error| Failure::new(Code::Failure, format!("cannot make an account: {error}")))
}

fn addresses(settings: &Settings, args: &Settle) -> Result<Vec<Address>, Failure> {
    if args.nodes.is_empty() {
        return settings.bootstrap();
    }
    args.nodes.iter().map(|text| peer_address("NODE", text)).collect()
}

/// The peers at these addresses, each once.
fn peers(addresses: &[Address]) -> Result<Vec<PeerKey>, Failure> {
    let mut peers = Vec::new();
    for address in addresses {
        let peer = address.peer().ok_or_else(|| {
            Failure::usage(format!("the address {address} does not name its peer"))
                .hint("end it with /p2p/ and the peer's id")
        })?;
        if !peers.contains(&peer) {
            peers.push(peer);
        }
    }
    Ok(peers)
}

/// What a run works with.
struct Work<'a> {
    context: &'a Context,
    args: &'a Settle,
    settings: &'a Settings,
    wallet: &'a Wallet,
}

/// What a run has done. What was settled is said also when no seed took the proof.
struct Outcome {
    report: SettleReport,
    seeds: Vec<Posted>,
    refused: Option<Failure>,
}

impl Work<'_> {
    fn options(&self) -> SettleOptions {
        let terms = SettleTerms {
            rate: self.settings.token_rate(),
            at_a_loss: self.args.at_a_loss,
            gas_cap: self.settings.max_gas_cost(),
        };
        SettleOptions { terms, dry_run: self.args.dry_run, ..SettleOptions::default() }
    }

    /// Settles first, since only then it is known which seeds nodes wait for; what these draw can be
    /// settled a moment later.
    async fn settle(
        &self,
        payments: &Arc<Payments>,
        client: Option<&Client>,
        options: SettleOptions,
    ) -> Result<Outcome, Failure> {
        let settling = async {
            match client {
                Some(client) => client.settle(self.wallet, options).await,
                None => settle_known(payments, self.wallet, options).await,
            }
        };
        let report = if self.args.dry_run {
            self.context.until_stopped(settling).await?
        } else {
            // Not until stopped: what is sent is waited for.
            settling.await?
        };
        let wanted = self.wanted(payments, &report.missing).await?;
        if self.args.dry_run {
            let seeds = wanted.into_iter().map(|upload_by| (upload_by, None)).collect();
            return Ok(Outcome { report, seeds, refused: None });
        }
        let proof = self.args.seed_proof.as_ref();
        let post = async |upload_by| {
            let proof = proof.map(|proof| proof.0.clone()).unwrap_or_default();
            post(payments, self.wallet, SeedWanted { upload_by, proof }).await
        };
        let (seeds, refused) = post_all(&wanted, proof.is_some(), post).await?;
        Ok(Outcome { report, seeds, refused })
    }

    /// The seeds that are missing: those that uploads of this machine wait for, and some of those that
    /// nodes do; for a proof all of them, or else the newest.
    async fn wanted(
        &self,
        payments: &Arc<Payments>,
        named: &[UnixTime],
    ) -> Result<Vec<UnixTime>, Failure> {
        let mut wanted = match Context::data(self.settings)? {
            Some(data) => missing_seeds(payments, &data).await?,
            None => Vec::new(),
        };
        // With a proof they cost nothing but for the one that takes it.
        let most = if self.args.seed_proof.is_some() { usize::MAX } else { MAX_NAMED_POSTS };
        let others = named.iter().filter(|named| !wanted.contains(named)).take(most);
        let others: Vec<UnixTime> = others.copied().collect();
        wanted.extend(others);
        if wanted.is_empty() && self.args.seed_proof.is_some() {
            wanted.extend(newest_seed(payments).await?);
        }
        Ok(wanted)
    }
}

/// What became of making a seed known.
enum Post {
    Known(Seed),
    NotYet,
    /// The beacon asks for a proof, or for another one.
    Refused(Failure),
}

/// Makes these seeds known. A proof is that of one round, so it is tried until a seed takes it: a
/// refusal is seen before anything is sent and costs nothing. Without one, a beacon that asks for it
/// is none of our business: others have it. The failure says that no seed took the proof.
async fn post_all(
    wanted: &[UnixTime],
    with_proof: bool,
    mut post: impl AsyncFnMut(UnixTime) -> Result<Post, Failure>,
) -> Result<(Vec<Posted>, Option<Failure>), Failure> {
    let mut seeds: Vec<Posted> = wanted.iter().map(|upload_by| (*upload_by, None)).collect();
    let mut refused = None;
    for (upload_by, known) in &mut seeds {
        match post(*upload_by).await? {
            Post::Known(seed) => {
                *known = Some(seed);
                if with_proof {
                    return Ok((seeds, None));
                }
            }
            Post::NotYet => {}
            Post::Refused(failure) => refused = Some(failure),
        }
    }
    let hint = "check --seed-proof: the beacon takes that of one round only";
    let refused = refused.filter(|_| with_proof).map(|failure| failure.hint(hint));
    Ok((seeds, refused))
}

async fn post(payments: &Payments, wallet: &Wallet, wanted: SeedWanted) -> Result<Post, Failure> {
    let options = SettleOptions { seeds: vec![wanted], ..SettleOptions::default() };
    match settle_known(payments, wallet, options).await {
        Ok(report) => {
            let seed = report.seeds.into_iter().find_map(|(_, seed)| seed);
            Ok(seed.map_or(Post::NotYet, Post::Known))
        }
        Err(AccountError::Payment(error)) if is_refused(&error.failure) => {
            tracing::info!(%error, "the beacon asks for a proof, or for another one");
            Ok(Post::Refused(Failure::from(error.as_ref())))
        }
        Err(error) => Err(error.into()),
    }
}

fn is_refused(failure: &PayFailure) -> bool {
    matches!(failure, PayFailure::Chain(ChainError::Reverted { .. }) | PayFailure::Failed { .. })
}

fn summary(report: &SettleReport, seeds: &[Posted], nodes: usize, dry_run: bool) -> Summary {
    let settled = &report.settled;
    let payees = report
        .payees
        .iter()
        .map(|(payee, amount)| Payee { payee: payee.to_string(), amount_atto: amount.to_string() });
    let skipped = settled.skipped.iter().map(|skipped| LeftOut {
        payment: skipped.payment.to_string(),
        draw: skipped.draw,
        reason: skipped.reason.to_string(),
    });
    let silent = report
        .silent
        .iter()
        .map(|(peer, failure)| Silent { peer: peer.to_string(), reason: failure.to_string() });
    let seeds = seeds.iter().map(|(upload_by, seed)| SeedLine {
        upload_by: upload_by.as_secs(),
        upload_by_utc: utc(*upload_by),
        seed: seed.map(|seed| seed.to_string()),
    });
    Summary {
        dry_run,
        nodes,
        wins: report.wins,
        draws: settled.draws,
        transactions: settled.transactions,
        prize_atto: settled.prizes.to_string(),
        tip_atto: settled.tips.to_string(),
        payees: payees.collect(),
        skipped: skipped.collect(),
        silent: silent.collect(),
        seeds: seeds.collect(),
        gas_used: settled.spend.gas_used,
        gas_cost_wei: settled.spend.gas_cost.to_string(),
        tx_hashes: settled.spend.tx_hashes.iter().map(ToString::to_string).collect(),
    }
}

fn text(report: &SettleReport, seeds: &[Posted], dry_run: bool) -> String {
    let settled = &report.settled;
    let mut text = Report::default();
    for (upload_by, seed) in seeds {
        let of = format!("The seed of uploads until {}", utc(*upload_by));
        match (seed, dry_run) {
            (Some(seed), _) => text.line(format_args!(
                "{of} is known now: {seed}. Nodes note what it draws a moment later: run this again \
                 then."
            )),
            (None, true) => text.line(format_args!("{of} is missing.")),
            (None, false) => text.line(format_args!("{of} is not known yet.")),
        }
    }
    for (peer, failure) in &report.silent {
        text.line(format_args!("Node {peer} has not told its wins: {failure}."));
    }
    text.lines(&left_out(report));
    for (payee, sum) in &report.payees {
        text.line(format_args!("{payee} gets {} tokens.", amount(sum.get())));
    }
    let draws = count(settled.draws.into(), "draw");
    let (prizes, tips) = (amount(settled.prizes.get()), amount(settled.tips.get()));
    match (settled.draws, dry_run) {
        (0, _) => text.line("Nothing to settle."),
        (_, true) => text.line(format_args!(
            "Would settle {draws} of {prizes} tokens, for {tips} tokens of tips."
        )),
        (_, false) => text.line(format_args!(
            "Settled {draws} of {prizes} tokens in {}: {tips} tokens of tips for {} coins of gas.",
            count(settled.transactions.into(), "transaction"),
            amount(settled.spend.gas_cost.get()),
        )),
    }
    text.text()
}

/// The draws that were not settled: how many for which reason. Programs get each.
fn left_out(report: &SettleReport) -> String {
    let mut reasons: Vec<(String, u64)> = Vec::new();
    for skipped in &report.settled.skipped {
        let reason = skipped.reason.to_string();
        match reasons.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, number)) => *number += 1,
            None => reasons.push((reason, 1)),
        }
    }
    let line = |(reason, number)| format!("Left out {}: {reason}.\n", count(number, "draw"));
    reasons.into_iter().map(line).collect()
}

#[cfg(test)]
mod tests;
