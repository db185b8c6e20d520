//! What draws pay: the page `docs/batch-statistics.md`, or its checks as JSON.

#![expect(clippy::print_stdout, reason = "the figures are what this is for")]

use std::{fs, path::PathBuf, process::ExitCode};

use anyhow::{Context as _, Result};
use clap::Parser;
use spillway_benches::{Statistics, StatisticsOptions};

/// Simulate uploads and draws, and compare what is paid with what was to be paid.
#[derive(Debug, Parser)]
struct Arguments {
    /// One JSON object a check and line, in place of the page.
    #[arg(long)]
    json: bool,
    /// Write the page to this file, too.
    #[arg(long, value_name = "FILE")]
    write: Option<PathBuf>,
    /// Another seed than that of the committed page.
    #[arg(long, default_value_t = StatisticsOptions::default().seed)]
    seed: u64,
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let options = StatisticsOptions { seed: arguments.seed, ..StatisticsOptions::default() };
    let statistics = Statistics::run(options);
    let page = statistics.page();
    if let Some(path) = &arguments.write {
        fs::write(path, &page).with_context(|| path.display().to_string())?;
    }
    let checks = statistics.checks();
    if arguments.json {
        for check in &checks {
            println!("{}", serde_json::to_string(check)?);
        }
    } else {
        print!("{page}");
    }
    let passed = checks.iter().all(|check| check.passed);
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
