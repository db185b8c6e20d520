//! Runs the simulator: built with optimisation, but for the gate, whose seeds take less time than that
//! build.

use anyhow::{Result, bail};

use crate::command;
use crate::workspace::Workspace;

/// Seeds of the gate: a tenth of what is run before a release.
pub(crate) const GATE_SEEDS: u64 = 2_000;

/// The program that simulates.
const PROGRAM: &str = "spillway-sim";

/// Which seeds, and how it is told.
#[derive(clap::Args, Debug)]
pub(crate) struct SimArguments {
    /// How many seeds.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    seeds: u64,
    /// The first one; what was violated with a seed is violated with it again.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Print one JSON object at the end.
    #[arg(long)]
    json: bool,
    /// Print every call of the first seed and its outcome.
    #[arg(long)]
    trace: bool,
}

/// Simulates these seeds; whether every promise held.
///
/// # Errors
/// When the simulator cannot be built or started.
pub(crate) fn run(workspace: &Workspace, arguments: &SimArguments) -> Result<bool> {
    simulate(workspace, arguments, &["--release"])
}

fn simulate(workspace: &Workspace, arguments: &SimArguments, profile: &[&str]) -> Result<bool> {
    let (seeds, seed) = (arguments.seeds.to_string(), arguments.seed.to_string());
    let mut line = vec!["run", "--quiet", "-p", PROGRAM];
    line.extend(profile);
    line.push("--");
    line.extend(["--seeds", &seeds, "--seed", &seed]);
    line.extend(arguments.json.then_some("--json"));
    line.extend(arguments.trace.then_some("--trace"));
    command::succeeds(&mut command::program("cargo", line, workspace.root()))
}

/// The step of `cargo xtask test`: seeds that are the same every time.
///
/// # Errors
/// When a promise did not hold with one of them.
pub(crate) fn gate(workspace: &Workspace) -> Result<()> {
    let arguments = SimArguments { seeds: GATE_SEEDS, seed: 1, json: false, trace: false };
    if !simulate(workspace, &arguments, &[])? {
        bail!("a promise did not hold in a simulation");
    }
    Ok(())
}
