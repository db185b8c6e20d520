//! Everything that CI runs, one step after the other; the first failure ends it.
//!
//! The Rust tests come last and nothing is printed after them: the end of the output is the test runner's
//! own summary.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::workspace::Workspace;
use crate::{check, command, contracts, setup, sim, soak};

/// The end-to-end tests: whole networks, so `--quick` leaves them out.
const END_TO_END: &str = "spillway-tests";
/// The heavy comparators of the benchmarks: clippy compiles them, there is nothing to test in them.
const COMPARATORS: &str = "spillway-benches/comparators";

/// One step before the Rust tests.
struct Step {
    name: &'static str,
    action: Action,
}

enum Action {
    Run(fn(&Workspace) -> Result<()>),
    /// One that returns what it left out, a line each.
    RunPart(fn(&Workspace) -> Result<Vec<String>>),
    Skip(&'static str),
}

impl Step {
    /// Returns what was left out.
    fn run(&self, workspace: &Workspace) -> Result<Vec<String>> {
        match self.action {
            Action::Run(action) => action(workspace).map(|()| Vec::new()),
            Action::RunPart(action) => action(workspace),
            Action::Skip(_) => Ok(Vec::new()),
        }
    }
}

/// Runs the steps and then the tests.
///
/// # Errors
/// When a step before the tests fails. Failing tests are told by the exit code alone, the test runner has
/// said everything else.
pub(crate) fn run(workspace: &Workspace, quick: bool) -> Result<ExitCode> {
    let mut report = Vec::new();
    for step in steps(workspace, quick) {
        if let Action::Skip(reason) = step.action {
            report.push(format!("{:<11} skipped: {reason}", step.name));
            continue;
        }
        eprintln!("\n==> {}", step.name);
        let start = Instant::now();
        let left_out = step.run(workspace).with_context(|| format!("step `{}` failed", step.name));
        let left_out = left_out?;
        let line = format!("{:<11} {}", step.name, seconds(start.elapsed()));
        eprintln!("==> {line}");
        report.push(line);
        report.extend(left_out.iter().map(|what| format!("{:<11} {what}", step.name)));
    }
    let nextest = has(workspace, "nextest");
    if !nextest {
        report.push(format!("{:<11} skipped: not installed, cargo test in its place", "nextest"));
    }
    if quick {
        report.push(format!("{:<11} skipped: --quick", "end to end"));
    }
    eprintln!("\n==> so far\n    {}\n\n==> tests", report.join("\n    "));
    let passed = command::succeeds(&mut cargo(workspace, &test_arguments(nextest, quick)))?;
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn steps(workspace: &Workspace, quick: bool) -> Vec<Step> {
    let unless_quick = |action| {
        if quick { Action::Skip("--quick") } else { Action::Run(action) }
    };
    let hammer = if quick { Action::Skip("--quick") } else { Action::RunPart(soak::tenth) };
    let licences = if has(workspace, "deny") {
        Action::Run(licences)
    } else {
        Action::Skip("cargo-deny is not installed; the workflow on GitHub runs it")
    };
    vec![
        Step { name: "setup", action: Action::Run(setup::run) },
        Step { name: "format", action: Action::Run(format) },
        Step { name: "tree", action: Action::Run(check::run) },
        Step { name: "licences", action: licences },
        Step { name: "clippy", action: Action::Run(clippy) },
        Step { name: "contracts", action: unless_quick(contracts::test) },
        Step { name: "artifacts", action: unless_quick(contracts::check_artifacts) },
        Step { name: "docs", action: unless_quick(docs) },
        Step { name: "doctests", action: unless_quick(doctests) },
        Step { name: "build", action: unless_quick(build) },
        Step { name: "simulator", action: unless_quick(sim::gate) },
        Step { name: "hammer", action: hammer },
    ]
}

fn format(workspace: &Workspace) -> Result<()> {
    command::run(&mut cargo(workspace, &["fmt", "--all", "--check"]))
}

/// Advisories need the internet and change without us: only the workflow looks at them.
fn licences(workspace: &Workspace) -> Result<()> {
    command::run(&mut cargo(workspace, &["deny", "check", "bans", "licenses", "sources"]))
}

fn clippy(workspace: &Workspace) -> Result<()> {
    let arguments = [
        "clippy",
        "--workspace",
        "--all-targets",
        "--features",
        COMPARATORS,
        "--",
        "-D",
        "warnings",
    ];
    command::run(&mut cargo(workspace, &arguments))
}

fn docs(workspace: &Workspace) -> Result<()> {
    let mut command = cargo(workspace, &["doc", "--workspace", "--no-deps"]);
    command::run(command.env("RUSTDOCFLAGS", "-D warnings"))
}

fn doctests(workspace: &Workspace) -> Result<()> {
    command::run(&mut cargo(workspace, &["test", "--workspace", "--doc"]))
}

/// All at once and as the tests are built: one crate alone would be built with fewer features, and so
/// would much of what it depends on, again.
fn build(workspace: &Workspace) -> Result<()> {
    command::run(&mut cargo(
        workspace,
        &["build", "--workspace", "--bins", "--tests", "--examples"],
    ))
}

/// The last command: every test but doctests.
fn test_arguments(nextest: bool, quick: bool) -> Vec<&'static str> {
    let mut arguments = if nextest {
        vec!["nextest", "run", "--workspace", "--no-fail-fast"]
    } else {
        vec!["test", "--workspace", "--lib", "--bins", "--tests", "--examples", "--no-fail-fast"]
    };
    if quick {
        arguments.extend(["--exclude", END_TO_END]);
    }
    arguments
}

fn cargo(workspace: &Workspace, arguments: &[&str]) -> std::process::Command {
    command::program("cargo", arguments, workspace.root())
}

/// Whether cargo has this subcommand.
fn has(workspace: &Workspace, subcommand: &str) -> bool {
    command::answer("cargo", &[subcommand, "--version"], workspace.root()).is_some()
}

fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_command_covers_everything() {
        assert_eq!(
            test_arguments(true, false),
            ["nextest", "run", "--workspace", "--no-fail-fast"]
        );
        assert_eq!(
            test_arguments(false, true).join(" "),
            "test --workspace --lib --bins --tests --examples --no-fail-fast \
             --exclude spillway-tests"
        );
    }
}
