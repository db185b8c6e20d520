//! The hammer: the built `spillway` against a real network and chain, killed, starved, lied to and
//! run twice, thousands of times. After each cycle the chain and the network say whether something
//! was paid twice or lost. See `docs/soak.md`.
//!
//! `cargo xtask soak` builds the program and runs this. Two networks work side by side, each with a
//! chain of its own, so that what is done to one chain disturbs nobody else. Everything is written
//! below one fresh directory; of cycles that failed it stays.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a tool for the terminal")]

mod cycle;
mod found;
mod options;
mod program;
mod proxy;
mod report;
mod rpc;
mod run;
mod scenario;
mod stored;
mod way;
mod world;

use std::process::ExitCode;

use clap::Parser;

use crate::{options::Options, run::Ended};

/// Exit code after Ctrl-C, as shells have it.
const INTERRUPTED: u8 = 130;

fn main() -> ExitCode {
    let options = Options::parse();
    let (report, interrupted) = match run::run(&options) {
        Ok(Ended::Whole(report)) => (report, false),
        Ok(Ended::Interrupted(report)) => (report, true),
        Err(error) => {
            eprintln!("error: {error:#}");
            return ExitCode::FAILURE;
        }
    };
    print!("{}", if options.json { report.json() } else { report.table() });
    if interrupted {
        eprintln!("interrupted");
        return ExitCode::from(INTERRUPTED);
    }
    let too_little = options.tenth.then(|| report.too_little()).flatten();
    if let Some(what) = &too_little {
        eprintln!("error: less than half of what was asked for was done: {what}");
    }
    let is_good = report.is_good() && too_little.is_none();
    if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
