use std::time::Instant;

use serde::Serialize;
use spillway_client::{NotRepaired, ReadData, UnreadableSession, Verified, VerifyOptions};
use spillway_types::limits::{CLOSE_GROUP, STORE_QUORUM};

use super::{
    Context,
    download::remote,
    summary::{Measured, only_report},
};
use crate::{
    args::Verify,
    config::Layer,
    exit::Failure,
    memory,
    render::{Report, bytes, count, seconds},
};

/// Chunks that are named for people, at most; programs get all that the library names.
const NAMED: usize = 10;

/// The summary of `verify`.
#[derive(Debug, Serialize)]
struct Summary {
    chunks_total: u64,
    /// How many chunks had 0, 1, … 5 copies, and how many have after repair.
    copies: [u64; CLOSE_GROUP + 1],
    copies_after: [u64; CLOSE_GROUP + 1],
    /// With fewer than 3 copies, after repair.
    chunks_short: u64,
    /// Without any, after repair.
    chunks_without_copy: u64,
    chunks_repaired: u64,
    copies_added: u64,
    chunks_read: u64,
    copies_read: u64,
    bytes_read: u64,
    bad_copies: u64,
    bad: Vec<Bad>,
    silent_peers: usize,
    /// Addresses of chunks that are gone: no copy near them, nor bytes on this machine.
    lost: Vec<String>,
    not_repaired: Vec<Left>,
    /// Short chunks that were too many to be looked after: verify again.
    not_tried: u64,
    /// Sessions that cannot be read and may have further proofs.
    unreadable_sessions: Vec<String>,
    uplink_bytes: u64,
    downlink_bytes: u64,
    elapsed_seconds: f64,
    peak_rss_bytes: Option<u64>,
}

/// A copy that is not what its node says.
#[derive(Debug, Serialize)]
struct Bad {
    address: String,
    peer: String,
}

/// A chunk that has fewer than five copies after repair.
#[derive(Debug, Serialize)]
struct Left {
    address: String,
    copies: usize,
    reason: String,
}

/// `verify`.
pub(super) async fn run(context: &Context, args: &Verify) -> Result<(), Failure> {
    let start = Instant::now();
    let remote = remote(&args.remote)?;
    let settings = context.settings(Layer::from(&args.client))?;
    let connected = context.connect(&settings).await?;
    let (view, progress) = context.progress();
    let options = VerifyOptions { read: read_data(args), repair: args.repair, progress };
    let outcome = Box::pin(connected.client().verify(remote, options)).await;
    view.finish().await;
    let measured = Measured { traffic: connected.traffic(), elapsed: start.elapsed() };
    connected.shutdown().await;
    let found = outcome?;
    context.console.summary(&summary(&found, measured), &only_report(report(&found, measured)))?;
    Failure::of_verified(&found, args.repair).map_or(Ok(()), Err)
}

fn read_data(args: &Verify) -> ReadData {
    match (args.read_data, args.read_data_subset) {
        (true, _) => ReadData::All,
        (false, Some(0)) => ReadData::None,
        (false, Some(percent)) => ReadData::Percent(percent),
        (false, None) => ReadData::default(),
    }
}

fn summary(found: &Verified, measured: Measured) -> Summary {
    let left = |it: &NotRepaired| Left {
        address: it.address.to_string(),
        copies: it.copies,
        reason: it.why.to_string(),
    };
    Summary {
        chunks_total: found.chunks_total,
        copies: found.copies,
        copies_after: found.copies_after,
        chunks_short: found.short(),
        chunks_without_copy: found.copies_after[0],
        chunks_repaired: found.repaired,
        copies_added: found.copies_added,
        chunks_read: found.chunks_read,
        copies_read: found.copies_read,
        bytes_read: found.bytes_read,
        bad_copies: found.bad_copies,
        bad: found
            .bad
            .iter()
            .map(|bad| Bad { address: bad.address.to_string(), peer: bad.peer.to_string() })
            .collect(),
        silent_peers: found.silent.len(),
        lost: found.lost.iter().map(ToString::to_string).collect(),
        not_repaired: found.not_repaired.iter().map(left).collect(),
        not_tried: found.left,
        unreadable_sessions: found.unreadable.iter().map(|it| it.session.clone()).collect(),
        uplink_bytes: measured.traffic.sent_bytes,
        downlink_bytes: measured.traffic.received_bytes,
        elapsed_seconds: measured.elapsed.as_secs_f64(),
        peak_rss_bytes: memory::peak_rss_bytes(),
    }
}

fn report(found: &Verified, measured: Measured) -> String {
    let mut text = Report::default();
    text.line(format_args!(
        "{}: {}, in {}.",
        count(found.chunks_total, "chunk"),
        histogram(&found.copies),
        seconds(measured.elapsed),
    ));
    if found.chunks_read > 0 {
        text.line(format_args!(
            "Read {} of {}, {}; {} of them bad.",
            copies(found.copies_read + found.bad_copies),
            count(found.chunks_read, "chunk"),
            bytes(found.bytes_read),
            found.bad_copies,
        ));
    }
    if !found.silent.is_empty() {
        let peers = count(found.silent.len() as u64, "peer");
        text.line(format_args!("{peers} did not answer; their copies are not counted."));
    }
    if found.copies_added > 0 {
        text.line(format_args!(
            "Stored {} again; now {}.",
            copies(found.copies_added),
            histogram(&found.copies_after),
        ));
    }
    for left in found.not_repaired.iter().take(NAMED) {
        let copies = left.copies;
        text.line(format_args!(
            "Not repaired, {copies} of 5 copies: {}: {}",
            left.address, left.why
        ));
    }
    for address in found.lost.iter().take(NAMED) {
        text.line(format_args!("Without any copy, nor bytes here: {address}"));
    }
    let named = found.not_repaired.len().min(NAMED) + found.lost.len().min(NAMED);
    let more = (found.not_repaired.len() + found.lost.len() - named) as u64 + found.left;
    if more > 0 {
        text.line(format_args!("And {} more.", count(more, "chunk")));
    }
    for session in found.unreadable.iter().take(NAMED) {
        let UnreadableSession { session, why } = session;
        text.line(format_args!("Session {session} cannot be read, and may have proofs: {why}"));
    }
    text.text()
}

fn copies(number: u64) -> String {
    if number == 1 { "1 copy".to_owned() } else { format!("{number} copies") }
}

/// `6 with 5 copies, 1 with 2 copies`; those below a quorum are marked.
fn histogram(copies: &[u64; CLOSE_GROUP + 1]) -> String {
    let parts = copies.iter().enumerate().rev().filter(|(_, chunks)| **chunks > 0);
    let parts: Vec<String> = parts
        .map(|(copies, chunks)| {
            let short = if copies < STORE_QUORUM { " (short)" } else { "" };
            format!("{chunks} with {copies} of 5 copies{short}")
        })
        .collect();
    if parts.is_empty() { "none".to_owned() } else { parts.join(", ") }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use spillway_client::{RepairFailure, Traffic};
    use spillway_types::ChunkAddress;

    use super::*;

    fn found() -> Verified {
        Verified {
            chunks_total: 8,
            copies: [1, 0, 1, 0, 0, 6],
            copies_after: [1, 0, 0, 1, 0, 6],
            chunks_read: 1,
            copies_read: 4,
            bytes_read: 16_000_000,
            bad_copies: 1,
            copies_added: 1,
            not_repaired: vec![NotRepaired {
                address: ChunkAddress([0xab; 32]),
                copies: 3,
                why: RepairFailure::NoPeers,
            }],
            lost: vec![ChunkAddress([0xcd; 32])],
            unreadable: vec![UnreadableSession { session: "a1".into(), why: "torn".into() }],
            ..Verified::default()
        }
    }

    fn measured() -> Measured {
        Measured { traffic: Traffic::default(), elapsed: Duration::from_secs(2) }
    }

    #[test]
    fn copies_are_counted_and_what_is_left_is_named() {
        let [left, lost] = ["ab", "cd"].map(|byte| byte.repeat(32));
        assert_eq!(
            report(&found(), measured()),
            format!(
                "8 chunks: 6 with 5 of 5 copies, 1 with 2 of 5 copies (short), 1 with 0 of 5 copies \
                 (short), in 2.0 s.\nRead 5 copies of 1 chunk, 16.00 MB; 1 of them bad.\nStored 1 copy \
                 again; now 6 with 5 of 5 copies, 1 with 3 of 5 copies, 1 with 0 of 5 copies \
                 (short).\nNot repaired, 3 of 5 copies: {left}: too \
                 few peers are near it\nWithout any copy, nor bytes here: {lost}\n\
                 Session a1 cannot be read, and may have proofs: torn\n"
            )
        );
        let json = serde_json::to_value(summary(&found(), measured())).unwrap();
        assert_eq!(json["copies"], serde_json::json!([1, 0, 1, 0, 0, 6]));
        assert_eq!((&json["chunks_short"], &json["chunks_without_copy"]), (&1.into(), &1.into()));
        assert_eq!(json["not_repaired"][0]["reason"], "too few peers are near it");
    }
}
