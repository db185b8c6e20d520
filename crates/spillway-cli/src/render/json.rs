//! Progress as programs read it.

use std::time::Duration;

use serde::Serialize;
use spillway_client::Progress;

use super::{
    estimate::{fraction, remaining},
    mode_name,
};

/// The body of a `status` line. What is not known (the end of a pipe) is null. Counts are numbers:
/// no source has 2^53 bytes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Status {
    stage: &'static str,
    /// 0 to 100, of this stage.
    percent_done: Option<f64>,
    bytes_done: u64,
    total_bytes: Option<u64>,
    chunks_done: u64,
    total_chunks: Option<u64>,
    /// Of this stage, at its rate so far.
    seconds_remaining: Option<u64>,
    /// Of an upload, once it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    payment_mode: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mode_reason: Option<String>,
}

impl Status {
    /// `elapsed`: since this stage began.
    pub(super) fn new(progress: &Progress, elapsed: Duration) -> Self {
        let fraction = fraction(progress);
        Self {
            stage: progress.stage.name(),
            percent_done: fraction.map(|fraction| (fraction * 1000.0).round() / 10.0),
            bytes_done: progress.bytes_done,
            total_bytes: progress.bytes_total,
            chunks_done: progress.chunks_done,
            total_chunks: progress.chunks_total,
            seconds_remaining: remaining(progress, elapsed).map(|left| left.as_secs()),
            payment_mode: progress.mode.map(mode_name),
            mode_reason: progress.mode_reason.map(|reason| reason.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use spillway_client::{ModeReason, PaymentMode, Stage};

    use super::*;

    fn json(progress: Progress, seconds: u64) -> String {
        serde_json::to_string(&Status::new(&progress, Duration::from_secs(seconds))).unwrap()
    }

    #[test]
    fn a_stage_on_its_way() {
        let progress = Progress {
            stage: Stage::Store,
            bytes_done: 25,
            bytes_total: Some(200),
            chunks_done: 1,
            chunks_total: Some(8),
            ..Progress::default()
        };
        assert_eq!(
            json(progress, 3),
            r#"{"stage":"store","percent_done":12.5,"bytes_done":25,"total_bytes":200,"chunks_done":1,"total_chunks":8,"seconds_remaining":21}"#
        );
    }

    #[test]
    fn how_is_paid_is_said_once_it_is_known() {
        let progress = Progress {
            stage: Stage::Pay,
            bytes_total: Some(1),
            mode: Some(PaymentMode::Batch),
            mode_reason: Some(ModeReason::Asked { mode: PaymentMode::Batch }),
            ..Progress::default()
        };
        let end = r#","payment_mode":"batch","mode_reason":"batch: as asked for"}"#;
        assert!(json(progress, 0).ends_with(end), "{}", json(progress, 0));
    }

    #[test]
    fn what_is_not_known_is_null() {
        let start = Progress { bytes_total: Some(10), ..Progress::default() };
        assert!(json(start, 9).ends_with(r#""total_chunks":null,"seconds_remaining":null}"#));
        let pipe = Progress { bytes_done: 5, ..Progress::default() };
        assert!(json(pipe, 9).contains(r#""percent_done":null,"bytes_done":5,"total_bytes":null"#));
    }

    #[test]
    fn nothing_to_do_is_done() {
        let empty = Progress { bytes_total: Some(0), ..Progress::default() };
        assert!(json(empty, 0).contains(r#""percent_done":100.0"#));
    }
}
