//! Runs seeds of the simulator and says what came of them: `cargo xtask sim` starts this.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program talks to its user")]

use std::{
    ops::ControlFlow,
    process::ExitCode,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use clap::Parser;
use spillway_sim::{Outcome, SimOptions, Strike, Summary, simulate, simulate_all};

/// How often is said how far it is.
const SAYS_EVERY: u64 = 1_000;

/// After so many violations it ends.
const ENOUGH: u64 = 20;

/// Simulates uploads in which everything goes wrong, and checks what must always hold.
#[derive(Debug, Parser)]
struct Arguments {
    /// How many seeds.
    #[arg(long, default_value_t = 1)]
    seeds: u64,
    /// The first one.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Threads; by default as many as there are cores.
    #[arg(long)]
    threads: Option<usize>,
    /// Print one JSON object at the end in place of text.
    #[arg(long)]
    json: bool,
    /// Print every call of the (first) seed and its outcome.
    #[arg(long)]
    trace: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = arguments.threads.unwrap_or(cores).max(1);
    let start = Instant::now();
    let summary = if arguments.trace {
        traced(arguments.seed)
    } else {
        let found = AtomicU64::new(0);
        let said = AtomicU64::new(0);
        simulate_all((arguments.seed, arguments.seeds), threads, |outcome| {
            tell(outcome, &said, &found)
        })
    };
    let took = start.elapsed();
    if arguments.json {
        println!("{}", json(&summary, threads, took));
    } else {
        print(&summary, threads, took);
    }
    if summary.violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn tell(outcome: &Outcome, said: &AtomicU64, found: &AtomicU64) -> ControlFlow<()> {
    let done = said.fetch_add(1, Ordering::Relaxed) + 1;
    if done.is_multiple_of(SAYS_EVERY) {
        eprintln!("{done} seeds");
    }
    let Some(violation) = &outcome.violation else { return ControlFlow::Continue(()) };
    eprintln!("seed {}: {violation}", outcome.seed);
    eprintln!("    replay: cargo xtask sim --seed {} --trace", outcome.seed);
    if found.fetch_add(1, Ordering::Relaxed) + 1 >= ENOUGH {
        return ControlFlow::Break(());
    }
    ControlFlow::Continue(())
}

fn traced(seed: u64) -> Summary {
    let outcome = simulate(seed, SimOptions { keep_trace: true, ..SimOptions::default() });
    for line in &outcome.lines {
        println!("{line}");
    }
    println!("trace {}", outcome.trace);
    if let Some(violation) = &outcome.violation {
        eprintln!("seed {seed}: {violation}");
    }
    Summary {
        seeds: 1,
        calls: outcome.calls,
        strikes: outcome.strikes,
        ends: outcome.ends,
        violations: outcome.violation.into_iter().map(|violation| (seed, violation)).collect(),
    }
}

/// Seeds a second and thread.
fn rate(summary: &Summary, threads: usize, took: Duration) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    let (seeds, threads) = (summary.seeds as f64, threads as f64);
    seeds / took.as_secs_f64().max(1e-9) / threads
}

fn print(summary: &Summary, threads: usize, took: Duration) {
    let strikes: Vec<String> = Strike::ALL
        .iter()
        .zip(&summary.strikes)
        .map(|(strike, count)| format!("{} {count}", strike.name()))
        .collect();
    println!("trouble: {}", strikes.join(", "));
    let ends = summary.ends;
    println!(
        "{} seeds, {} violations, {:.1} seeds a second a core, {} calls; runs: {} ok, {} partial, {} \
         failed, {} died",
        summary.seeds,
        summary.violations.len(),
        rate(summary, threads, took),
        summary.calls,
        ends.done,
        ends.partial,
        ends.failed,
        ends.died
    );
}

fn json(summary: &Summary, threads: usize, took: Duration) -> serde_json::Value {
    let strikes: serde_json::Map<String, serde_json::Value> = Strike::ALL
        .iter()
        .zip(&summary.strikes)
        .map(|(strike, count)| (strike.name().to_owned(), (*count).into()))
        .collect();
    let violations: Vec<serde_json::Value> = summary
        .violations
        .iter()
        .map(|(seed, violation)| {
            serde_json::json!({ "seed": seed.to_string(), "violation": violation.to_string() })
        })
        .collect();
    let ends = summary.ends;
    serde_json::json!({
        "message_type": "summary",
        "seeds": summary.seeds,
        "violations": violations,
        "seeds_per_second_per_core": rate(summary, threads, took),
        "calls": summary.calls,
        "runs_ok": ends.done,
        "runs_partial": ends.partial,
        "runs_failed": ends.failed,
        "runs_died": ends.died,
        "trouble": strikes,
    })
}
