//! The hammer: builds `spillway` and `spillway-soak` as tests are built, and lets the one loose on the
//! other. See `docs/soak.md`.

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Result, bail};

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
    hammer(workspace, &SPILLWAY.build(workspace)?, &SOAK.build(workspace)?, arguments)
}

fn hammer(
    workspace: &Workspace,
    program: &Path,
    soak: &Path,
    arguments: &[OsString],
) -> Result<ExitCode> {
    // Ctrl-C at the terminal reaches the hammer, too: it ends what it has started, we wait for it.
    let _interrupt = Interrupt::register()?;
    let mut command = command::program(soak, arguments, workspace.root());
    command.arg("--program").arg(program).arg("--root").arg(workspace.root());
    let status = command.status()?;
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
}

/// A tenth of all figures, in eight minutes: the step of `cargo xtask test`, with what it has built.
///
/// # Errors
/// When it fails, and when the programs were not built before.
pub(crate) fn tenth(workspace: &Workspace) -> Result<()> {
    let [program, soak] = [SPILLWAY, SOAK].map(|it| workspace.tested_program(it.name));
    if hammer(workspace, &program, &soak, &[OsString::from(A_TENTH)])? == ExitCode::SUCCESS {
        return Ok(());
    }
    bail!("something was lost, paid for twice or not finished: see above")
}
