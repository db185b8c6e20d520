use std::sync::Arc;

use serde::Serialize;
use spillway_client::{Disk, DiskError, RealDisk, SessionStatus};

use super::{Context, summary::only_report};
use crate::{
    args::DataArgs,
    config::Layer,
    exit::Failure,
    render::{amount, bytes, count},
};

/// The summary of `status`.
#[derive(Debug, Serialize)]
struct Summary {
    sessions: Vec<Session>,
}

/// One upload. Amounts are text: they pass 53 bits.
#[derive(Debug, Serialize)]
struct Session {
    upload_id: String,
    source: String,
    state: &'static str,
    bytes: u64,
    chunks_total: u64,
    chunks_paid: u64,
    chunks_stored: u64,
    storage_cost_atto: String,
    gas_used: u64,
    gas_cost_wei: String,
    tx_hashes: Vec<String>,
    /// Unix time in seconds until which what is paid can be stored.
    upload_by: Option<u64>,
}

/// `status`: of this machine only, without network and chain.
pub(super) async fn run(context: &Context, args: &DataArgs) -> Result<(), Failure> {
    let flags = Layer { data_dir: args.data_dir.clone(), ..Layer::default() };
    let settings = context.settings(flags)?;
    let mut sessions = match RealDisk::open(&settings.data_dir()?) {
        Ok(data) => {
            let data: Arc<dyn Disk> = Arc::new(data);
            spillway_client::sessions(&data).await?
        }
        // Nothing was ever uploaded from here: looking does not make the directory.
        Err(DiskError::NotFound { .. }) => Vec::new(),
        Err(error) => return Err(error.into()),
    };
    // Newest first, and those that wait for somebody before those that do not.
    sessions.sort_by_key(|session| session.finished);
    let text = only_report(report(&sessions));
    let summary = Summary { sessions: sessions.iter().map(session).collect() };
    context.console.summary(&summary, &text)
}

fn state(session: &SessionStatus) -> &'static str {
    match (session.finished, session.running) {
        (true, _) => "finished",
        (false, true) => "running",
        (false, false) => "interrupted",
    }
}

fn session(status: &SessionStatus) -> Session {
    Session {
        upload_id: status.id.clone(),
        source: status.source.clone(),
        state: state(status),
        bytes: status.bytes,
        chunks_total: status.chunks_total,
        chunks_paid: status.chunks_paid,
        chunks_stored: status.chunks_stored,
        storage_cost_atto: status.spend.storage_cost.to_string(),
        gas_used: status.spend.gas_used,
        gas_cost_wei: status.spend.gas_cost.to_string(),
        tx_hashes: status.spend.tx_hashes.iter().map(ToString::to_string).collect(),
        upload_by: status.upload_by.map(spillway_types::UnixTime::as_secs),
    }
}

fn report(sessions: &[SessionStatus]) -> String {
    if sessions.is_empty() {
        return "No uploads.\n".to_owned();
    }
    let lines = sessions.iter().map(|session| {
        format!(
            "{:<11} {}  {} in {}, {} paid, {} stored, {} tokens  {}\n",
            state(session),
            session.id,
            bytes(session.bytes),
            count(session.chunks_total, "chunk"),
            session.chunks_paid,
            session.chunks_stored,
            amount(session.spend.storage_cost.get()),
            session.source,
        )
    });
    let mut report: String = lines.collect();
    if sessions.iter().any(|session| !session.finished && !session.running) {
        report.push_str("Run the same upload again to go on; what is paid stays paid.\n");
    }
    report
}
