//! Benchmarks, each a reproducible command.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::build::Program;
use crate::devnet::Devnet;
use crate::figures::{bytes_in, median};
use crate::interrupt::Interrupt;
use crate::spillway::Spillway;
use crate::table::Table;
use crate::transfer::{NODES, Transfer};
use crate::workspace::Workspace;
use crate::{BenchArguments, command, random_file, setup};

/// Size of the file in `transfer`, in MB (10⁶ bytes).
pub(crate) const DEFAULT_MEGABYTES: u64 = 500;
/// How often `transfer` runs; the machine's noise is the reason for a median.
pub(crate) const DEFAULT_ROUNDS: u32 = 3;

/// A program of the crate of benchmarks.
const BENCH: Program =
    Program { package: "spillway-benches", name: "", features: &[], release: false };

/// What `gas` writes; the tables of README and docs/payments.md follow from it.
const GAS_FIGURES: &str = "benches/data/gas.json";

/// What `statistics` writes.
const STATISTICS_PAGE: &str = "docs/batch-statistics.md";

/// Every benchmark and what it says.
const KNOWN: &[(&str, &str)] = &[
    ("gas", "gas of payments on a chain of its own, beside the published network's figures"),
    ("seal", "sealing and opening in one thread, beside the published self_encryption"),
    ("statistics", "what draws pay, simulated: the page docs/batch-statistics.md"),
    ("transfer", "upload and download of random bytes over 20 nodes in another process"),
];

/// Runs the benchmark of that name.
pub(crate) fn run(workspace: &Workspace, arguments: &BenchArguments) -> Result<()> {
    match arguments.name.as_str() {
        "gas" => gas(workspace, arguments),
        "seal" => seal(workspace, arguments.json),
        "statistics" => statistics(workspace, arguments),
        "transfer" => transfer(workspace, arguments),
        unknown => bail!("there is no benchmark `{unknown}`; {}", known()),
    }
}

fn known() -> String {
    let list: Vec<String> =
        KNOWN.iter().map(|(name, what)| format!("\n  {name:<10} {what}")).collect();
    format!("known are:{}", list.concat())
}

fn seal(workspace: &Workspace, json: bool) -> Result<()> {
    // Speed is what it measures.
    bench(
        workspace,
        Program { features: &["comparators"], release: true, ..BENCH },
        "seal",
        flags(json),
    )
}

/// What it measures does not depend on how it is built.
fn gas(workspace: &Workspace, arguments: &BenchArguments) -> Result<()> {
    setup::run(workspace)?;
    let mut flags = flags(arguments.json);
    if arguments.write {
        flags.extend(["--write", GAS_FIGURES]);
    }
    bench(workspace, BENCH, "gas", flags)
}

fn statistics(workspace: &Workspace, arguments: &BenchArguments) -> Result<()> {
    let mut flags = flags(arguments.json);
    if arguments.write {
        flags.extend(["--write", STATISTICS_PAGE]);
    }
    bench(workspace, BENCH, "statistics", flags)
}

fn flags(json: bool) -> Vec<&'static str> {
    if json { vec!["--json"] } else { Vec::new() }
}

fn bench(
    workspace: &Workspace,
    program: Program,
    name: &'static str,
    arguments: Vec<&str>,
) -> Result<()> {
    let program = Program { name, ..program }.build(workspace)?;
    command::run(&mut command::program(program, arguments, workspace.root()))
}

fn transfer(workspace: &Workspace, arguments: &BenchArguments) -> Result<()> {
    setup::run(workspace)?;
    let program = Program::SPILLWAY.build(workspace)?;
    let interrupt = Interrupt::register()?;
    let mut rounds = Vec::new();
    for round in 1..=arguments.rounds {
        let transfer = one_round(workspace, &program, arguments.megabytes, round, &interrupt)
            .with_context(|| format!("round {round}"))?;
        eprintln!(
            "round {round}: up {:.1} MB/s, down {:.1} MB/s",
            transfer.upload_rate(),
            transfer.download_rate()
        );
        rounds.push(transfer);
    }
    if arguments.json {
        println!("{}", as_json(&rounds));
    } else {
        print!("{}", as_table(&rounds));
    }
    Ok(())
}

/// A network of its own for every round, so that each finds the same state.
fn one_round(
    workspace: &Workspace,
    program: &Path,
    megabytes: u64,
    round: u32,
    interrupt: &Interrupt,
) -> Result<Transfer> {
    let scratch = workspace.scratch("bench-")?;
    let file = scratch.path().join("random");
    random_file::write(&file, megabytes * 1_000_000, u64::from(round))?;
    let devnet = Devnet::start(program, NODES, workspace.root(), scratch.path(), interrupt)?;
    let spillway =
        Spillway { program, manifest: devnet.manifest(), scratch: scratch.path(), interrupt };
    let transfer = Transfer::run(&spillway, &file, "bench")?;
    devnet.stop()?;
    fs::remove_file(&file).context("cannot remove the file")?;
    scratch.close().context("cannot remove the scratch directory")?;
    Ok(transfer)
}

/// Medians of the rates, and the largest peak of memory.
struct Medians {
    upload: f64,
    download: f64,
    peak_rss_bytes: Option<u64>,
}

impl Medians {
    fn of(rounds: &[Transfer]) -> Self {
        Self {
            upload: median(rounds.iter().map(Transfer::upload_rate).collect()),
            download: median(rounds.iter().map(Transfer::download_rate).collect()),
            peak_rss_bytes: rounds.iter().filter_map(Transfer::peak_rss_bytes).max(),
        }
    }
}

fn as_json(rounds: &[Transfer]) -> Value {
    let medians = Medians::of(rounds);
    let each: Vec<Value> = rounds
        .iter()
        .map(|round| {
            json!({
                "upload_seconds": round.upload.elapsed.as_secs_f64(),
                "download_seconds": round.download.elapsed.as_secs_f64(),
                "upload_megabytes_per_second": round.upload_rate(),
                "download_megabytes_per_second": round.download_rate(),
                "upload_peak_rss_bytes": round.upload.peak_rss_bytes,
                "download_peak_rss_bytes": round.download.peak_rss_bytes,
            })
        })
        .collect();
    json!({
        "benchmark": "transfer",
        "nodes": NODES,
        "bytes": rounds.first().map(|round| round.bytes),
        "rounds": each,
        "median_upload_megabytes_per_second": medians.upload,
        "median_download_megabytes_per_second": medians.download,
        "peak_rss_bytes": medians.peak_rss_bytes,
    })
}

fn as_table(rounds: &[Transfer]) -> Table {
    let mut table = Table::new(&["round", "up MB/s", "down MB/s", "peak memory"]);
    let memory = |bytes: Option<u64>| {
        bytes.map_or_else(|| "–".to_owned(), |bytes| format!("{:.0} MiB", bytes_in(bytes, 1 << 20)))
    };
    let mut add = |name: String, upload: f64, download: f64, peak| {
        table.push(vec![name, format!("{upload:.1}"), format!("{download:.1}"), memory(peak)]);
    };
    for (index, round) in rounds.iter().enumerate() {
        let peak = round.peak_rss_bytes();
        add((index + 1).to_string(), round.upload_rate(), round.download_rate(), peak);
    }
    let medians = Medians::of(rounds);
    add("median".to_owned(), medians.upload, medians.download, medians.peak_rss_bytes);
    table
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::spillway::Run;

    use super::*;

    fn round(upload_seconds: u64, peak_mib: u64) -> Transfer {
        let run = |seconds, peak| Run {
            summary: json!({}),
            elapsed: Duration::from_secs(seconds),
            peak_rss_bytes: Some(peak << 20),
        };
        Transfer { bytes: 100_000_000, upload: run(upload_seconds, peak_mib), download: run(1, 10) }
    }

    #[test]
    fn the_median_counts_and_the_largest_peak() {
        let rounds = [round(10, 90), round(5, 120), round(4, 80)];
        let json = as_json(&rounds);
        assert_eq!(json["median_upload_megabytes_per_second"], 20.0);
        assert_eq!(json["median_download_megabytes_per_second"], 100.0);
        assert_eq!(json["peak_rss_bytes"], 120 << 20);
        assert_eq!(json["rounds"][1]["upload_seconds"], 5.0);
        let table = as_table(&rounds).to_string();
        let last: Vec<&str> = table.lines().last().unwrap().split_whitespace().collect();
        assert_eq!(last, ["median", "20.0", "100.0", "120", "MiB"]);
    }

    #[test]
    fn an_unknown_name_lists_the_known_ones() {
        assert_eq!(
            known().lines().map(|line| line.split_whitespace().next().unwrap()).collect::<Vec<_>>(),
            ["known", "gas", "seal", "statistics", "transfer"]
        );
    }
}
