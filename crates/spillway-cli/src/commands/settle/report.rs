//! What `settle` says.

use std::collections::BTreeMap;

use serde::Serialize;
use spillway_client::{SeedNeeded, SettleReport, SkipReason};
use spillway_types::{Seed, UnixTime};

use crate::render::{Report, amount, count, utc};

/// A seed that was missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Missing {
    /// It draws uploads that had to be stored until then.
    pub(super) upload_by: UnixTime,
    /// What it is, if it is known now.
    pub(super) seed: Option<Seed>,
    /// What it takes, if not.
    pub(super) needed: Option<SeedNeeded>,
}

/// The summary of `settle`. Amounts are text: they pass 53 bits.
#[derive(Debug, Serialize)]
pub(super) struct Summary {
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
    /// The first 512 of each reason.
    skipped: Vec<LeftOut>,
    /// All of them, by reason.
    left_out: BTreeMap<&'static str, u64>,
    silent: Vec<Silent>,
    seeds: Vec<SeedLine>,
    /// Of all transactions, those for seeds included. In a dry run what settling would cost, at least.
    gas_used: u64,
    gas_cost_wei: String,
    /// Of these, what seeds have cost.
    seed_gas_used: u64,
    seed_gas_cost_wei: String,
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
    /// Since when it can be posted, and the round of drand whose signature it is; null when it is
    /// known.
    due: Option<u64>,
    due_utc: Option<String>,
    drand_round: Option<u64>,
}

pub(super) fn summary(
    report: &SettleReport,
    seeds: &[Missing],
    nodes: usize,
    dry_run: bool,
) -> Summary {
    let settled = &report.settled;
    let payees = report
        .payees
        .iter()
        .map(|(payee, amount)| Payee { payee: payee.to_string(), amount_atto: amount.to_string() });
    let skipped = settled.skipped.iter().map(|skipped| LeftOut {
        payment: skipped.payment.to_string(),
        draw: skipped.draw,
        reason: reason(&skipped.reason),
    });
    let silent = report
        .silent
        .iter()
        .map(|(peer, failure)| Silent { peer: peer.to_string(), reason: failure.to_string() });
    let seeds = seeds.iter().map(|Missing { upload_by, seed, needed }| SeedLine {
        upload_by: upload_by.as_secs(),
        upload_by_utc: utc(*upload_by),
        seed: seed.map(|seed| seed.to_string()),
        due: needed.map(|needed| needed.due.as_secs()),
        due_utc: needed.map(|needed| utc(needed.due)),
        drand_round: needed.and_then(|needed| needed.drand_round),
    });
    let spend = report.spend();
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
        left_out: report.left_out.clone(),
        silent: silent.collect(),
        seeds: seeds.collect(),
        gas_used: spend.gas_used,
        gas_cost_wei: spend.gas_cost.to_string(),
        seed_gas_used: report.seed_spend.gas_used,
        seed_gas_cost_wei: report.seed_spend.gas_cost.to_string(),
        tx_hashes: spend.tx_hashes.iter().map(ToString::to_string).collect(),
    }
}

pub(super) fn text(report: &SettleReport, seeds: &[Missing], dry_run: bool) -> String {
    let settled = &report.settled;
    let mut text = Report::default();
    for Missing { upload_by, seed, needed } in seeds {
        let how = needed.as_ref().map(how).unwrap_or_default();
        let of = format!("The seed of uploads until {}", utc(*upload_by));
        match (seed, dry_run) {
            (Some(seed), _) => text.line(format_args!(
                "{of} is known now: {seed}. Nodes note what it draws a moment later: run this again \
                 then."
            )),
            (None, true) => text.line(format_args!("{of} is missing.{how}")),
            (None, false) => text.line(format_args!("{of} is not known yet.{how}")),
        }
    }
    for (peer, failure) in &report.silent {
        text.line(format_args!("Node {peer} has not told its wins: {failure}."));
    }
    text.lines(&left_out(report));
    if report.unlisted() > 0 {
        text.line(format_args!("Left out {} more.", count(report.unlisted(), "draw")));
    }
    for (payee, sum) in &report.payees {
        text.line(format_args!("{payee} gets {} tokens.", amount(sum.get())));
    }
    let seeds = &report.seed_spend;
    if !seeds.tx_hashes.is_empty() {
        text.line(format_args!(
            "Making seeds known took {} coins of gas, in {}.",
            amount(seeds.gas_cost.get()),
            count(seeds.tx_hashes.len() as u64, "transaction"),
        ));
    }
    let draws = count(settled.draws.into(), "draw");
    let gas = amount(settled.spend.gas_cost.get());
    let (prizes, tips) = (amount(settled.prizes.get()), amount(settled.tips.get()));
    match (settled.draws, dry_run) {
        // Others were faster.
        (0, false) if settled.transactions > 0 => text.line(format_args!(
            "Settled nothing in {}, for {gas} coins of gas.",
            count(settled.transactions.into(), "transaction"),
        )),
        (0, _) => text.line("Nothing to settle."),
        (_, true) => text.line(format_args!(
            "Would settle {draws} of {prizes} tokens: {tips} tokens of tips for {gas} coins of gas.",
        )),
        (_, false) => text.line(format_args!(
            "Settled {draws} of {prizes} tokens in {}: {tips} tokens of tips for {gas} coins of gas.",
            count(settled.transactions.into(), "transaction"),
        )),
    }
    text.text()
}

/// The draws that were not settled: how many for which reason. Programs get each.
fn left_out(report: &SettleReport) -> String {
    let mut reasons: Vec<(String, u64)> = Vec::new();
    for skipped in &report.settled.skipped {
        let reason = reason(&skipped.reason);
        match reasons.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, number)) => *number += 1,
            None => reasons.push((reason, 1)),
        }
    }
    let line = |(reason, number)| format!("Left out {}: {reason}.\n", count(number, "draw"));
    reasons.into_iter().map(line).collect()
}

/// Why a draw was not settled, with units.
fn reason(reason: &SkipReason) -> String {
    match reason {
        SkipReason::ClaimOver { claim_end } => {
            format!("draws could be settled until {} ({claim_end})", utc(*claim_end))
        }
        SkipReason::NoSeed { after } => {
            format!("the seed after {} ({after}) is not known yet", utc(*after))
        }
        SkipReason::NotDrawn { point, from, sum } => format!(
            "the draw fell on token {} of the batch, the leaf has {} tokens from {} on",
            amount(point.get()),
            amount(sum.get()),
            amount(from.get()),
        ),
        SkipReason::NotWorthIt { tips, gas_cost } => format!(
            "{} tokens of tips are worth less than {} coins of gas",
            amount(tips.get()),
            amount(gas_cost.get()),
        ),
        other => other.to_string(),
    }
}

/// What has to be posted for a seed, as a sentence that follows one.
fn how(needed: &SeedNeeded) -> String {
    let SeedNeeded { due, drand_round } = needed;
    let time = format!("{} ({due})", utc(*due));
    match drand_round {
        None => format!(" It can be posted since {time}."),
        Some(round) => format!(
            " It is the signature of round {round} of drand, of {time}: give it as --seed-proof."
        ),
    }
}
