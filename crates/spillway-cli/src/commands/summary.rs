//! What an upload has done, for programs and for people.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use serde::Serialize;
use serde_json::{Value, json};
use spillway_client::{ChunkFailure, Spend, Traffic, UploadError, Uploaded};
use spillway_types::{Atto, ChunkAddress, Wei, limits::STORE_QUORUM};

use crate::{
    memory,
    render::{Report, Text, amount, bytes, count, mode_name, one_line, paid_as, seconds},
};

/// How many reasons why chunks are not stored are named for people; programs get that of each chunk.
const REASONS: usize = 5;

/// The summary of an upload. Amounts are text: they pass 53 bits.
#[derive(Debug, Serialize)]
pub(super) struct UploadSummary {
    upload_id: Option<String>,
    bytes: Option<u64>,
    chunks_total: u64,
    chunks_stored: u64,
    chunks_already_stored: Option<u64>,
    chunks_failed: u64,
    payment_mode: Option<&'static str>,
    /// Why this run chose it.
    mode_reason: Option<String>,
    /// What the nodes are paid.
    storage_cost_atto: String,
    /// What whoever settles batches is paid.
    tip_atto: String,
    gas_used: u64,
    gas_cost_wei: String,
    tx_hashes: Vec<String>,
    /// Path of the data map that was written.
    data_map: Option<String>,
    /// What writes the data map, if there was no place for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<[String; 1]>,
    public_address: Option<String>,
    /// Whether every chunk was looked for, and found, after it was stored.
    verified: bool,
    /// Files of a directory that were left out: devices, sockets, pipes.
    skipped: Vec<String>,
    /// Of a partial upload: each address and why.
    #[serde(skip_serializing_if = "Option::is_none")]
    failed: Option<Value>,
    /// Of a partial upload: addresses.
    #[serde(skip_serializing_if = "Option::is_none")]
    paid_unstored: Option<Vec<String>>,
    uplink_bytes: u64,
    downlink_bytes: u64,
    elapsed_seconds: f64,
    peak_rss_bytes: Option<u64>,
}

/// What a command measures about itself.
#[derive(Clone, Copy, Debug)]
pub(super) struct Measured {
    pub(super) traffic: Traffic,
    pub(super) elapsed: Duration,
}

impl UploadSummary {
    /// Of an upload that is done.
    pub(super) fn done(uploaded: &Uploaded, measured: Measured) -> Self {
        Self {
            upload_id: Some(uploaded.upload_id.clone()),
            bytes: Some(uploaded.bytes),
            chunks_total: uploaded.chunks_total,
            chunks_stored: uploaded.chunks_stored,
            chunks_already_stored: Some(uploaded.chunks_already_stored),
            payment_mode: uploaded.payment_mode.map(mode_name),
            mode_reason: uploaded.mode_reason.map(|reason| reason.to_string()),
            public_address: uploaded.public_address.map(|address| address.to_string()),
            verified: uploaded.verified,
            skipped: uploaded.skipped.iter().map(|path| path.display().to_string()).collect(),
            ..Self::of(&uploaded.spend, measured)
        }
    }

    /// Of an upload that is done in part, if the error is that.
    pub(super) fn partial(error: &UploadError, measured: Measured) -> Option<Self> {
        let UploadError::PartialUpload {
            session,
            bytes,
            payment_mode,
            mode_reason,
            stored,
            already_stored,
            failed,
            paid_unstored,
            total,
            spend,
            ..
        } = error
        else {
            return None;
        };
        let reasons = failed.iter().map(|(address, reason)| {
            json!({"address": address.to_string(), "reason": reason.to_string()})
        });
        Some(Self {
            upload_id: Some(session.clone()),
            bytes: Some(*bytes),
            payment_mode: payment_mode.map(mode_name),
            mode_reason: mode_reason.as_ref().map(ToString::to_string),
            chunks_total: *total,
            chunks_stored: stored.len() as u64,
            chunks_already_stored: Some(already_stored.len() as u64),
            chunks_failed: failed.len() as u64,
            failed: Some(reasons.collect()),
            paid_unstored: Some(paid_unstored.iter().map(ToString::to_string).collect()),
            ..Self::of(spend, measured)
        })
    }

    fn of(spend: &Spend, measured: Measured) -> Self {
        Self {
            upload_id: None,
            bytes: None,
            chunks_total: 0,
            chunks_stored: 0,
            chunks_already_stored: None,
            chunks_failed: 0,
            payment_mode: None,
            mode_reason: None,
            storage_cost_atto: spend.storage_cost.saturating_sub(spend.tips).to_string(),
            tip_atto: spend.tips.to_string(),
            gas_used: spend.gas_used,
            gas_cost_wei: spend.gas_cost.to_string(),
            tx_hashes: spend.tx_hashes.iter().map(ToString::to_string).collect(),
            data_map: None,
            next: None,
            public_address: None,
            verified: false,
            skipped: Vec::new(),
            failed: None,
            paid_unstored: None,
            uplink_bytes: measured.traffic.sent_bytes,
            downlink_bytes: measured.traffic.received_bytes,
            elapsed_seconds: measured.elapsed.as_secs_f64(),
            peak_rss_bytes: memory::peak_rss_bytes(),
        }
    }

    /// With the path of the data map, if it was written.
    pub(super) fn with_data_map(self, path: Option<&std::path::Path>) -> Self {
        Self { data_map: path.map(|path| path.display().to_string()), ..self }
    }

    /// With the command that writes the data map, if it is still to be written.
    pub(super) fn with_next(self, next: Option<String>) -> Self {
        Self { next: next.map(|command| [command]), ..self }
    }
}

/// What people read about an upload, without where its result is.
pub(super) fn report(uploaded: &Uploaded, measured: Measured) -> String {
    let mut report = Report::default();
    report.line(format_args!(
        "Uploaded {} as {}, {} of them stored before, in {}.\n{}",
        bytes(uploaded.bytes),
        count(uploaded.chunks_total, "chunk"),
        uploaded.chunks_already_stored,
        seconds(measured.elapsed),
        paid(&uploaded.spend),
    ));
    if let Some(text) = paid_as(uploaded.payment_mode, uploaded.mode_reason.as_ref()) {
        report.line(format_args!("{text}."));
    }
    if uploaded.verified {
        report.line("In the end every chunk was looked for, and found.");
    }
    for path in &uploaded.skipped {
        let path = one_line(&path.display().to_string());
        report.line(format_args!("Left out, for it is no file: {path}"));
    }
    report.text()
}

/// What people read about an upload that is done in part: what there is for the money, and why not more.
/// Nothing of any other error.
pub(super) fn partial_report(error: &UploadError, measured: Measured) -> String {
    let UploadError::PartialUpload {
        payment_mode,
        mode_reason,
        stored,
        already_stored,
        failed,
        paid_unstored,
        total,
        spend,
        ..
    } = error
    else {
        return String::new();
    };
    let mut report = Report::default();
    let there: BTreeSet<_> = stored.iter().chain(already_stored).collect();
    report.line(format_args!(
        "Stored {} of {}, {} of them stored before, in {}.",
        there.len(),
        count(*total, "chunk"),
        already_stored.len(),
        seconds(measured.elapsed),
    ));
    report.line(format_args!(
        "Paid for and not stored: {}.",
        count(paid_unstored.len() as u64, "chunk")
    ));
    report.line(paid(spend));
    if let Some(text) = paid_as(*payment_mode, mode_reason.as_deref()) {
        report.line(format_args!("{text}."));
    }
    reasons(&mut report, failed);
    report.text()
}

/// Why chunks are not stored, the most frequent reason first.
fn reasons(report: &mut Report, failed: &[(ChunkAddress, ChunkFailure)]) {
    let mut kinds: BTreeMap<String, (usize, Option<String>)> = BTreeMap::new();
    for (_, failure) in failed {
        // What peers say last differs from chunk to chunk: one of them is an example for all.
        let (kind, example) = match failure {
            ChunkFailure::NoQuorum { receipts, last } => (
                format!("no quorum: {receipts} of {STORE_QUORUM} receipts"),
                last.as_ref().map(|last| format!(", for instance {last}")),
            ),
            other => (other.to_string(), None),
        };
        let (chunks, said) = kinds.entry(kind).or_default();
        *chunks += 1;
        *said = said.take().or(example);
    }
    let mut kinds: Vec<_> = kinds.into_iter().collect();
    kinds.sort_by_key(|(_, (chunks, _))| Reverse(*chunks));
    for (kind, (chunks, example)) in kinds.iter().take(REASONS) {
        report.line(format_args!("{chunks} × {kind}{}", example.as_deref().unwrap_or_default()));
    }
    let rest: usize = kinds.iter().skip(REASONS).map(|(_, (chunks, _))| chunks).sum();
    if rest > 0 {
        report.line(format_args!("{rest} × for other reasons, which --json names"));
    }
}

fn paid(spend: &Spend) -> String {
    if spend.storage_cost == Atto::ZERO && spend.gas_cost == Wei(0) {
        return "Nothing was paid.".to_owned();
    }
    let tips = match spend.tips.get() {
        0 => String::new(),
        tips => format!(" and {} tokens for tips", amount(tips)),
    };
    let tokens = amount(spend.storage_cost.saturating_sub(spend.tips).get());
    // A payment that was seen on the chain by its record alone.
    if spend.tx_hashes.is_empty() {
        return format!("Paid {tokens} tokens{tips}; what gas has cost is not known.");
    }
    format!(
        "Paid {tokens} tokens{tips}, and {} coins for gas, in {}.",
        amount(spend.gas_cost.get()),
        count(spend.tx_hashes.len() as u64, "transaction"),
    )
}

/// Nothing but a report.
pub(super) fn only_report(report: String) -> Text {
    Text { report, result: String::new() }
}

#[cfg(test)]
mod tests {
    use spillway_client::{ModeReason, PaymentMode, PutFailure};
    use spillway_types::TxHash;

    use super::*;

    const TOKEN: u128 = 1_000_000_000_000_000_000;

    fn uploaded() -> Uploaded {
        Uploaded {
            upload_id: "a".into(),
            bytes: 1_200_000_000,
            chunks_total: 302,
            chunks_stored: 300,
            chunks_already_stored: 2,
            payment_mode: Some(PaymentMode::Batch),
            mode_reason: Some(ModeReason::Cheaper {
                mode: PaymentMode::Batch,
                saved: Wei(TOKEN / 2),
            }),
            spend: Spend {
                storage_cost: Atto(TOKEN + TOKEN / 50),
                tips: Atto(TOKEN / 50),
                gas_cost: Wei(TOKEN / 1_000),
                tx_hashes: vec![TxHash([1; 32]); 2],
                ..Spend::default()
            },
            data_map: None,
            public_address: None,
            skipped: Vec::new(),
            verified: false,
            elapsed: Duration::from_secs(9),
        }
    }

    fn measured() -> Measured {
        Measured { traffic: Traffic::default(), elapsed: Duration::from_secs(10) }
    }

    #[test]
    fn a_batch_says_its_tips_and_why() {
        assert_eq!(
            report(&uploaded(), measured()),
            "Uploaded 1.20 GB as 302 chunks, 2 of them stored before, in 10.0 s.\nPaid 1 tokens and \
             0.02 tokens for tips, and 0.001 coins for gas, in 2 transactions.\nPayment as batch: \
             0.5 coins less than direct.\n"
        );
        let json = serde_json::to_value(UploadSummary::done(&uploaded(), measured())).unwrap();
        assert_eq!(json["payment_mode"], "batch");
        assert_eq!(json["mode_reason"], "batch: 0.5 coins less than direct");
        assert_eq!(json["storage_cost_atto"], "1000000000000000000");
        assert_eq!(json["tip_atto"], "20000000000000000");
    }

    fn partial(failed: Vec<ChunkFailure>) -> UploadError {
        let numbered = (10..).map(|number| ChunkAddress([number; 32]));
        UploadError::PartialUpload {
            session: "a".into(),
            bytes: 1_200_000_000,
            payment_mode: uploaded().payment_mode,
            mode_reason: uploaded().mode_reason.map(Box::new),
            // One that the network had already was stored again, too.
            stored: vec![ChunkAddress([1; 32]), ChunkAddress([2; 32])],
            already_stored: vec![ChunkAddress([2; 32]), ChunkAddress([3; 32])],
            failed: numbered.zip(failed).collect(),
            paid_unstored: vec![ChunkAddress([10; 32])],
            total: 14,
            spend: uploaded().spend,
            cause: None,
        }
    }

    #[test]
    fn a_partial_upload_says_what_there_is_for_the_money_and_why_not_more() {
        let few = |receipts, last| ChunkFailure::NoQuorum { receipts, last };
        let no_receipt = Some(PutFailure::NoReceipt);
        let failed = vec![ChunkFailure::LostBytes, few(2, None), few(2, no_receipt), few(0, None)];
        assert_eq!(
            partial_report(&partial(failed), measured()),
            "Stored 3 of 14 chunks, 2 of them stored before, in 10.0 s.\nPaid for and not stored: 1 \
             chunk.\nPaid 1 tokens and 0.02 tokens for tips, and 0.001 coins for gas, in 2 \
             transactions.\nPayment as batch: 0.5 coins less than direct.\n2 × no quorum: 2 of 3 \
             receipts, for instance no receipt\n1 × its sealed bytes are lost, and not in the source, \
             if one was given\n1 × no quorum: 0 of 3 receipts\n"
        );
        assert_eq!(partial_report(&UploadError::Interrupted, measured()), "");
    }

    #[test]
    fn no_more_than_five_reasons_are_named() {
        let mut failed: Vec<_> =
            (0..3).map(|copies| ChunkFailure::NotVerified { copies }).collect();
        let more = [ChunkFailure::NotPaid, ChunkFailure::Undecided, ChunkFailure::WindowOver];
        failed.extend(more.iter().chain([&ChunkFailure::NotPaid]).cloned());
        let said = partial_report(&partial(failed), measured());
        let reasons: Vec<&str> = said.lines().filter(|line| line.contains('×')).collect();
        let [most, .., rest] = reasons.as_slice() else { panic!("{said}") };
        assert_eq!((reasons.len(), *most), (6, "2 × it is not paid"), "{said}");
        assert_eq!(*rest, "1 × for other reasons, which --json names");
    }

    #[test]
    fn names_of_an_archive_do_not_reach_the_terminal() {
        let odd = Uploaded { skipped: vec!["a\nb\x1b[2J".into()], ..uploaded() };
        let said = report(&odd, measured());
        assert!(said.ends_with("\nLeft out, for it is no file: a\u{fffd}b\u{fffd}[2J\n"), "{said}");
    }

    #[test]
    fn what_was_paid_is_said_though_its_gas_is_not_known() {
        let spend = Spend { storage_cost: Atto(TOKEN), tips: Atto(TOKEN / 2), ..Spend::default() };
        let said = "Paid 0.5 tokens and 0.5 tokens for tips; what gas has cost is not known.";
        assert_eq!(paid(&spend), said);
        assert_eq!(paid(&Spend::default()), "Nothing was paid.");
    }

    #[test]
    fn what_was_not_chosen_has_no_reason() {
        let again =
            Uploaded { payment_mode: Some(PaymentMode::Mixed), mode_reason: None, ..uploaded() };
        let json = serde_json::to_value(UploadSummary::done(&again, measured())).unwrap();
        assert_eq!((&json["payment_mode"], &json["mode_reason"]), (&"mixed".into(), &Value::Null));
        assert!(report(&again, measured()).ends_with("\nPayment as mixed.\n"));
    }
}
