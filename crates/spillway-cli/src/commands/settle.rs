use serde::Serialize;
use spillway_client::{
    AccountError, Address, ChainError, Connected, PayFailure, SeedWanted, SettleOptions,
    SettleReport, SettleTerms, Wallet, missing_seeds, newest_seed,
};
use spillway_types::{PeerKey, Seed, UnixTime};

use super::{Context, summary::only_report};
use crate::{
    args::Settle,
    config::{Layer, Settings, peer_address},
    exit::{Code, Failure},
    render::{Report, amount, count, utc},
};

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
    let addresses = addresses(&settings, args)?;
    let from = peers(&addresses)?;
    let connected = context.connect_to(&settings, addresses).await?;
    let outcome = settle(context, args, &settings, &connected, &wallet, from.clone()).await;
    connected.shutdown().await;
    let (report, seeds) = outcome?;
    let summary = summary(&report, &seeds, from.len(), args.dry_run);
    context.console.summary(&summary, &only_report(text(&report, &seeds, args.dry_run)))?;
    if report.silent.len() < from.len() {
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

async fn settle(
    context: &Context,
    args: &Settle,
    settings: &Settings,
    connected: &Connected,
    wallet: &Wallet,
    from: Vec<PeerKey>,
) -> Result<(SettleReport, Vec<Posted>), Failure> {
    let mut seeds = Vec::new();
    for wanted in wanted(args, settings, connected).await? {
        let upload_by = wanted.upload_by;
        let seed = if args.dry_run { None } else { post(connected, wallet, wanted).await? };
        seeds.push((upload_by, seed));
    }
    let terms = SettleTerms {
        rate: settings.token_rate(),
        at_a_loss: args.at_a_loss,
        gas_cap: settings.max_gas_cost(),
    };
    let options = SettleOptions { from, terms, dry_run: args.dry_run, ..SettleOptions::default() };
    let settling = connected.client().settle(wallet, options);
    let report = if args.dry_run {
        context.until_stopped(settling).await?
    } else {
        // Not until stopped: what is sent is waited for.
        settling.await?
    };
    Ok((report, seeds))
}

/// The seeds that are missing: those that uploads of this machine wait for; with a proof only the one
/// that it may be for.
async fn wanted(
    args: &Settle,
    settings: &Settings,
    connected: &Connected,
) -> Result<Vec<SeedWanted>, Failure> {
    let payments = connected.payments();
    let own = match Context::data(settings)? {
        Some(data) => missing_seeds(payments, &data).await?,
        None => Vec::new(),
    };
    let Some(proof) = &args.seed_proof else {
        let wanted = |upload_by| SeedWanted { upload_by, proof: Vec::new() };
        return Ok(own.into_iter().map(wanted).collect());
    };
    let upload_by = match own.first() {
        Some(upload_by) => Some(*upload_by),
        None => newest_seed(payments).await?,
    };
    Ok(upload_by
        .map(|upload_by| SeedWanted { upload_by, proof: proof.0.clone() })
        .into_iter()
        .collect())
}

/// Makes a seed known. A beacon that asks for a proof is none of our business without one: others
/// have it.
async fn post(
    connected: &Connected,
    wallet: &Wallet,
    wanted: SeedWanted,
) -> Result<Option<Seed>, Failure> {
    let without_proof = wanted.proof.is_empty();
    let options = SettleOptions { seeds: vec![wanted], ..SettleOptions::default() };
    match connected.client().settle(wallet, options).await {
        Ok(report) => Ok(report.seeds.into_iter().find_map(|(_, seed)| seed)),
        Err(AccountError::Payment(error)) if is_refused(&error.failure) && without_proof => {
            tracing::info!(%error, "the beacon asks for a proof");
            Ok(None)
        }
        Err(AccountError::Payment(error)) if is_refused(&error.failure) => {
            let failure = Failure::from(error.as_ref());
            Err(failure.hint("check --seed-proof: the beacon takes that of one round only"))
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
