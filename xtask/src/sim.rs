//! Runs the simulator: built with optimisation, but for the gate, which takes what the test suite has
//! built: its seeds take less time than another build.

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
    let line = ["run", "--quiet", "--release", "-p", PROGRAM, "--"];
    let mut command = command::program("cargo", line, workspace.root());
    command::succeeds(command.args(arguments.line()))
}

impl SimArguments {
    /// As the program takes them.
    fn line(&self) -> Vec<String> {
        let mut line = vec![format!("--seeds={}", self.seeds), format!("--seed={}", self.seed)];
        line.extend(self.json.then(|| "--json".to_owned()));
        line.extend(self.trace.then(|| "--trace".to_owned()));
        line
    }
}

/// The step of `cargo xtask test`: seeds that are the same every time.
///
/// # Errors
/// When a promise did not hold with one of them, and when the simulator was not built before.
pub(crate) fn gate(workspace: &Workspace) -> Result<()> {
    let arguments = SimArguments { seeds: GATE_SEEDS, seed: 1, json: false, trace: false };
    let program = workspace.tested_program(PROGRAM);
    if !command::succeeds(&mut command::program(program, arguments.line(), workspace.root()))? {
        bail!("a promise did not hold in a simulation");
    }
    Ok(())
}
