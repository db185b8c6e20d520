//! The whole thing once: a network, a chain, an upload that is paid, a download that is the same.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::build::Program;
use crate::devnet::Devnet;
use crate::figures::{bytes_in, integer, whole_units};
use crate::interrupt::Interrupt;
use crate::spillway::{Run, Spillway};
use crate::table::Table;
use crate::transfer::{NODES, Transfer};
use crate::workspace::Workspace;
use crate::{random_file, setup};

/// The file that the demonstration makes: 64 MB (10⁶ bytes).
const FILE_BYTES: u64 = 64_000_000;
/// The file is the same in every run.
const FILE_SEED: u64 = 64;

/// Sets everything up, uploads and downloads, prints a table, and leaves nothing behind.
pub(crate) fn run(workspace: &Workspace, path: Option<&Path>) -> Result<()> {
    let given = path.map(readable).transpose()?;
    setup::run(workspace)?;
    let program = Program::SPILLWAY.build(workspace)?;
    let interrupt = Interrupt::register()?;
    let scratch = workspace.scratch("demo-")?;

    let file = scratch.path().join("random-64MB");
    random_file::write(&file, FILE_BYTES, FILE_SEED)?;
    let mut sources = vec![("64 MB of random bytes".to_owned(), file)];
    if let Some(given) = given {
        sources.push((given.display().to_string(), given));
    }

    let start = Instant::now();
    let devnet = Devnet::start(&program, NODES, workspace.root(), scratch.path(), &interrupt)?;
    eprintln!("network: {NODES} nodes and a chain after {:.1} s", start.elapsed().as_secs_f64());
    let spillway = Spillway {
        program: &program,
        manifest: devnet.manifest(),
        scratch: scratch.path(),
        interrupt: &interrupt,
    };
    let mut table = Table::new(&[
        "what",
        "MB",
        "time",
        "MB/s",
        "chunks",
        "gas",
        "gas cost",
        "storage cost",
        "peak memory",
    ]);
    for (index, (label, source)) in sources.iter().enumerate() {
        eprintln!("transfer: {label}");
        let transfer = Transfer::run(&spillway, source, &format!("transfer-{index}"))
            .with_context(|| label.clone())?;
        add_rows(&mut table, label, &transfer);
    }
    devnet.stop()?;
    scratch.close().context("cannot remove the scratch directory")?;
    println!(
        "{table}\nEvery byte came back. Gas cost in ETH, storage cost in tokens of the test network."
    );
    Ok(())
}

/// An absolute path to something that is there.
fn readable(path: &Path) -> Result<PathBuf> {
    path.canonicalize().with_context(|| format!("cannot read {}", path.display()))
}

fn add_rows(table: &mut Table, label: &str, transfer: &Transfer) {
    let mut add = |direction: &str, run: &Run, rate: f64| {
        let cell = |name: &str, show: fn(u128) -> String| {
            integer(&run.summary[name]).map_or_else(|| "–".to_owned(), show)
        };
        let memory = run
            .peak_rss_bytes
            .map_or_else(|| "–".to_owned(), |bytes| format!("{:.0} MiB", bytes_in(bytes, 1 << 20)));
        table.push(vec![
            format!("{direction} {label}"),
            format!("{:.1}", bytes_in(transfer.bytes, 1_000_000)),
            format!("{:.1} s", run.elapsed.as_secs_f64()),
            format!("{rate:.1}"),
            chunks(&run.summary),
            cell("gas_used", |gas| gas.to_string()),
            cell("gas_cost_wei", whole_units),
            cell("storage_cost_atto", whole_units),
            memory,
        ]);
    };
    add("up", &transfer.upload, transfer.upload_rate());
    add("down", &transfer.download, transfer.download_rate());
}

/// How many chunks an upload has, or a download fetched.
fn chunks(summary: &Value) -> String {
    ["chunks_total", "chunks_fetched", "chunks"]
        .iter()
        .find_map(|name| integer(&summary[name]))
        .map_or_else(|| "–".to_owned(), |count| count.to_string())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;

    #[test]
    fn figures_come_from_the_summaries() {
        let upload = Run {
            summary: json!({
                "chunks_total": 17, "gas_used": 600_000, "gas_cost_wei": "1500000000000000",
                "storage_cost_atto": "2500000000000000000",
            }),
            elapsed: Duration::from_secs(4),
            peak_rss_bytes: Some(100 << 20),
        };
        let download =
            Run { summary: json!({}), elapsed: Duration::from_secs(1), peak_rss_bytes: None };
        let transfer = Transfer { bytes: 64_000_000, upload, download };
        let mut table = Table::new(&["what"]);
        add_rows(&mut table, "file", &transfer);
        let text = table.to_string();
        let words = |line: usize| {
            text.lines().nth(line).unwrap().split_whitespace().collect::<Vec<_>>().join(" ")
        };
        assert_eq!(words(2), "up file 64.0 4.0 s 16.0 17 600000 0.0015 2.5 100 MiB");
        assert_eq!(words(3), "down file 64.0 1.0 s 64.0 – – – – –");
    }
}
