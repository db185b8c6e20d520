//! Commands that run now, by what they say of themselves.

use std::path::Path;

use serde::Serialize;

use crate::{
    render::{Report, bytes},
    running::{Figures, Said, SaidGauges, Seen, look},
};

/// One of them. Without figures it did not answer.
#[derive(Debug, Serialize)]
pub(super) struct Process {
    pid: u32,
    #[serde(flatten)]
    said: Option<Said>,
}

/// All that run. Those that cannot be looked for are none: the sessions say that they run.
pub(super) async fn running(data_dir: &Path) -> Vec<Process> {
    let seen = look(data_dir).await.unwrap_or_else(|error| {
        tracing::warn!(%error, "what runs now cannot be asked");
        Vec::new()
    });
    seen.into_iter().map(|Seen { pid, said }| Process { pid, said }).collect()
}

pub(super) fn report(processes: &[Process]) -> String {
    let mut text = Report::default();
    for Process { pid, said } in processes {
        let Some(said) = said else {
            text.line(format_args!("process {pid} runs and gave no figures"));
            continue;
        };
        let session = said.upload_id.as_ref().map(|id| format!(" session {id},"));
        text.line(format_args!(
            "process {pid} runs `spillway {}`:{} {}",
            said.command,
            session.unwrap_or_default(),
            progress(said),
        ));
        text.line(format_args!("{:11} {}", "", gauges(&said.gauges)));
    }
    text.text()
}

/// `store, 3 of 8 chunks, 12.00 MB of 32.00 MB`.
fn progress(said: &Said) -> String {
    let Some(stage) = &said.stage else { return "begins".to_owned() };
    let of = |total: Option<String>| total.map(|total| format!(" of {total}")).unwrap_or_default();
    let chunks = of(said.total_chunks.map(|total| total.to_string()));
    let total = of(said.total_bytes.map(bytes));
    format!("{stage}, {}{chunks} chunks, {}{total}", said.chunks_done, bytes(said.bytes_done))
}

/// Each gate with what is under way, the most that may be, and what waits.
fn gauges(gauges: &SaidGauges) -> String {
    let waits = |queued: u64| match queued {
        0 => String::new(),
        queued => format!(" ({queued} wait)"),
    };
    let gates = [
        ("begun", gauges.begun),
        ("uploads", gauges.uploads),
        ("resumes", gauges.resumes),
        ("streams", gauges.streams),
        ("downloads", gauges.downloads),
        ("seals", gauges.seals),
        ("lookups", gauges.lookups),
        ("quotes", gauges.quotes),
        ("stores", gauges.stores),
        ("fetches", gauges.fetches),
        ("verifies", gauges.verifies),
    ];
    let mut parts: Vec<String> = gates
        .into_iter()
        .map(|(name, Figures { active, queued, budget })| {
            format!("{name} {active}/{budget}{}", waits(queued))
        })
        .collect();
    let memory = gauges.memory;
    parts.push(format!(
        "memory {} of {}{}",
        bytes(memory.reserved_bytes),
        bytes(memory.budget_bytes),
        waits(memory.queued)
    ));
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said() -> Said {
        let stores = Figures { active: 6, queued: 2, budget: 6 };
        let downloads = Figures { active: 1, queued: 0, budget: 4 };
        Said {
            command: "upload".into(),
            upload_id: Some("a".into()),
            stage: Some("store".into()),
            bytes_done: 12_000_000,
            total_bytes: Some(32_000_000),
            chunks_done: 3,
            total_chunks: Some(8),
            gauges: SaidGauges { downloads, stores, ..SaidGauges::default() },
        }
    }

    #[test]
    fn a_process_says_what_it_does_and_how_full_it_is() {
        let processes = [Process { pid: 7, said: Some(said()) }, Process { pid: 8, said: None }];
        assert_eq!(
            report(&processes),
            "process 7 runs `spillway upload`: session a, store, 3 of 8 chunks, 12.00 MB of 32.00 MB\n            \
             begun 0/0, uploads 0/0, resumes 0/0, streams 0/0, downloads 1/4, seals 0/0, lookups 0/0, \
             quotes 0/0, stores 6/6 (2 wait), fetches 0/0, verifies 0/0, memory 0 B of 0 B\nprocess 8 runs and gave no figures\n"
        );
        let json = serde_json::to_value(&processes).unwrap();
        assert_eq!(json[0]["pid"], 7);
        assert_eq!(json[0]["gauges"]["stores"]["queued"], 2);
        assert_eq!(json[1], serde_json::json!({"pid": 8}));
    }

    #[test]
    fn what_has_not_begun_has_no_figures() {
        assert_eq!(progress(&Said { stage: None, ..said() }), "begins");
        let pipe = Said { total_bytes: None, total_chunks: None, ..said() };
        assert_eq!(progress(&pipe), "store, 3 chunks, 12.00 MB");
    }
}
