//! Tasks of this workspace: `cargo xtask help` lists them.
//!
//! Owns nothing but what it makes under the target directory while it runs, the compiled contracts that it
//! keeps there for the next run, and `tools/node_modules`. Progress goes to standard error, results to
//! standard output. A task that is killed outright may leave its scratch directory under `target/xtask`;
//! nothing else is ever written outside the tree.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a task runner talks to the person at the terminal"
)]

mod bench;
mod build;
mod check;
mod command;
mod compare;
mod contracts;
mod demo;
mod devnet;
mod figures;
mod fuzz;
mod interrupt;
mod mutants;
mod random_file;
mod setup;
mod sim;
mod soak;
mod spillway;
mod suite;
mod table;
mod transfer;
mod workspace;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Parser, Subcommand};

use crate::workspace::Workspace;

/// Exit code after Ctrl-C, as shells have it.
const EXIT_INTERRUPTED: u8 = 130;

/// Set-up, demonstration, tests and benchmarks of Spillway.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Install the pinned npm tools and check that Node.js and a C compiler are there.
    Setup,
    /// Upload and download over a network of 20 nodes and a chain, compare, print the figures.
    Demo {
        /// A file or directory to upload beside the 64 MB that the demo makes.
        path: Option<PathBuf>,
    },
    /// Run everything that CI runs.
    Test {
        /// Leave out contracts, documentation and the end-to-end tests.
        #[arg(long)]
        quick: bool,
    },
    /// Check crate edges, file lengths, manifests, forbidden words and reasons of dependencies.
    Check,
    /// Run a benchmark.
    Bench(BenchArguments),
    /// Simulate uploads in which everything goes wrong, and check what must always hold.
    Sim(sim::SimArguments),
    /// Try every decoder on bytes that are wrong, under libFuzzer.
    Fuzz(fuzz::FuzzArguments),
    /// Change the code that guards money, a line at a time, and see that a test fails.
    Mutants(mutants::MutantsArguments),
    /// Rebuild the committed artifacts of the contracts.
    Contracts,
    /// Kill, starve and cheat real uploads, and check that nothing is paid twice or lost.
    #[command(disable_help_flag = true)]
    Soak {
        /// As `cargo xtask soak --help` says.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
}

#[derive(Args, Debug)]
struct BenchArguments {
    /// `gas`, `seal`, `statistics`, or `transfer`.
    name: String,
    /// Print JSON, one object a line, in place of a table or page.
    #[arg(long)]
    json: bool,
    /// gas, statistics: write the figures or the page that docs show, too.
    #[arg(long)]
    write: bool,
    /// transfer: size of the random file in MB (10⁶ bytes).
    #[arg(long, default_value_t = bench::DEFAULT_MEGABYTES, value_parser = clap::value_parser!(u64).range(1..))]
    megabytes: u64,
    /// transfer: how often; the figures are medians.
    #[arg(long, default_value_t = bench::DEFAULT_ROUNDS, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(arguments.task) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            if error.is::<interrupt::Interrupted>() {
                ExitCode::from(EXIT_INTERRUPTED)
            } else {
                ExitCode::FAILURE
            }
        }
    }
}

fn run(task: Task) -> Result<ExitCode> {
    let workspace = Workspace::find()?;
    match task {
        Task::Setup => setup::run(&workspace)?,
        Task::Demo { path } => demo::run(&workspace, path.as_deref())?,
        Task::Test { quick } => return suite::run(&workspace, quick),
        Task::Check => check::run(&workspace)?,
        Task::Bench(arguments) => bench::run(&workspace, &arguments)?,
        Task::Sim(arguments) => {
            let held = sim::run(&workspace, &arguments)?;
            return Ok(if held { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
        Task::Fuzz(arguments) => {
            let clean = fuzz::run(&workspace, &arguments)?;
            return Ok(if clean { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
        Task::Mutants(arguments) => {
            let caught = mutants::run(&workspace, &arguments)?;
            return Ok(if caught { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
        Task::Contracts => contracts::rebuild(&workspace)?,
        Task::Soak { arguments } => return soak::run(&workspace, &arguments),
    }
    Ok(ExitCode::SUCCESS)
}
