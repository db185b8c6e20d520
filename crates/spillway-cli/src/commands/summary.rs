//! What an upload has done, for programs and for people.

use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};
use spillway_client::{Spend, Traffic, UploadError, Uploaded};
use spillway_types::{Atto, Wei};

use crate::{
    memory,
    render::{Report, Text, amount, bytes, count, mode_name, one_line, paid_as, seconds},
};

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
        report.line("Every chunk was found where it was stored.");
    }
    for path in &uploaded.skipped {
        let path = one_line(&path.display().to_string());
        report.line(format_args!("Left out, for it is no file: {path}"));
    }
    report.text()
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
    use spillway_client::{ModeReason, PaymentMode};
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
