//! The hammer: builds `spillway` and `spillway-soak` as tests are built, and lets the one loose on the
//! other. See `docs/soak.md`.

use std::ffi::OsString;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result, bail};

use crate::build::Program;
use crate::interrupt::Interrupt;
use crate::workspace::Workspace;
use crate::{command, setup};

/// The command line of users, built as tests are.
const SPILLWAY: Program = Program { release: false, ..Program::SPILLWAY };

/// What does the work.
const SOAK: Program =
    Program { package: "spillway-soak", name: "spillway-soak", features: &[], release: false };

/// What the step of the test suite asks for.
const A_TENTH: &str = "--tenth";

/// Runs it with these arguments; its own `--help` says which there are. Its exit code is ours.
///
/// # Errors
/// When something cannot be built or started.
pub(crate) fn run(workspace: &Workspace, arguments: &[OsString]) -> Result<ExitCode> {
    setup::run(workspace)?;
    let (program, soak) = (SPILLWAY.build(workspace)?, SOAK.build(workspace)?);
    // Ctrl-C at the terminal reaches the hammer, too: it ends what it has started, we wait for it.
    let _interrupt = Interrupt::register()?;
    let status = hammer(workspace, &program, &soak, arguments).status()?;
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
}

fn hammer(workspace: &Workspace, program: &Path, soak: &Path, arguments: &[OsString]) -> Command {
    let mut command = command::program(soak, arguments, workspace.root());
    command.arg("--program").arg(program).arg("--root").arg(workspace.root());
    command
}

/// A tenth of all figures, in eight minutes: the step of `cargo xtask test`, with what it has built.
/// Returns what it left out, a line each.
///
/// # Errors
/// When it fails or does too little, and when the programs were not built before.
pub(crate) fn tenth(workspace: &Workspace) -> Result<Vec<String>> {
    let [program, soak] = [SPILLWAY, SOAK].map(|it| workspace.tested_program(it.name));
    let _interrupt = Interrupt::register()?;
    // The same troubles every time, as far as they are chosen and not timed.
    let arguments = [A_TENTH, "--seed", "1"].map(OsString::from);
    let mut command = hammer(workspace, &program, &soak, &arguments);
    // Its standard output is the report at its end; what it tells meanwhile is on the other one.
    let output = command.stderr(Stdio::inherit()).output().context("cannot start the hammer")?;
    let report = String::from_utf8_lossy(&output.stdout);
    eprint!("{report}");
    if output.status.success() {
        return Ok(left_out(&report));
    }
    bail!("something was lost, paid for twice or not finished, or too little was done: see above")
}

/// The lines of a report that tell of what did not run.
fn left_out(report: &str) -> Vec<String> {
    let is_one = |line: &&str| line.starts_with("skipped: ") || line.starts_with("not done: ");
    report.lines().filter(is_one).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_hammer_leaves_out_is_found_in_its_report() {
        let report = "scenario asked\nkills 3\n  2 not done: a trouble\n\
                      skipped: power cuts (needs root)\nnot done: 2 of 3 kills (the run ended before)\n";
        assert_eq!(
            left_out(report),
            ["skipped: power cuts (needs root)", "not done: 2 of 3 kills (the run ended before)"]
        );
        assert!(left_out("scenario asked\nkills 3\n").is_empty());
    }
}
