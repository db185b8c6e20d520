//! The `spillway` command: arguments, settings, rendering, exit codes.
//!
//! One command runs to its end in one runtime. It owns the tasks that wait for
//! signals ([`signals::Signals`]) and, while something is transferred, one that shows progress and one
//! that tells it to `status` ([`running::Announcement`]). All state is the client's or the node's; a
//! crash here loses nothing of its own.
//!
//! Deliberately absent: every decision about payments and retries. This crate says what was
//! decided, with which exit code, and what to do about it.

mod advice;
mod args;
mod commands;
mod config;
mod exit;
mod local;
mod logs;
mod memory;
mod render;
mod running;
mod signals;

use std::{
    env,
    ffi::OsString,
    io::{self, Write},
    process::ExitCode,
};

use clap::{Parser, error::ErrorKind};
use spillway_testnet::Faults;

use crate::{
    args::Cli,
    commands::Context,
    config::Environment,
    exit::{Code, Failure},
    render::{Console, Format},
};

fn main() -> ExitCode {
    let arguments: Vec<OsString> = env::args_os().collect();
    let cli = match Cli::try_parse_from(&arguments) {
        Ok(cli) => cli,
        Err(error) => return not_understood(&error, &arguments),
    };
    let format = if cli.globals.json { Format::Json } else { Format::Human };
    let environment = match Environment::read() {
        Ok(environment) => environment,
        Err(failure) => return end(&Console::new(format, false, true), Err(failure)),
    };
    let console = Console::new(format, cli.globals.quiet, environment.no_color);
    cli.command.given().remember();
    let faults = environment.disk_fault.map(Faults::arm_process);
    let result = logs::start(&cli.globals, &environment, &console)
        .and_then(|()| run(cli, environment, console.clone()));
    let code = end(&console, result);
    if let Some(faults) = faults {
        // For the test that has armed it: whether its fault was reached.
        let _ = writeln!(io::stderr(), "{{\"disk_operations\":{}}}", faults.count());
    }
    code
}

fn run(cli: Cli, environment: Environment, console: Console) -> Result<(), Failure> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(|error| {
            Failure::new(Code::Failure, format!("cannot start the program's threads: {error}"))
        })?;
    let result = runtime.block_on(async {
        let context = Context::new(cli.globals, cli.command.name(), environment, console)?;
        context.unless_ended(commands::run(cli.command, &context)).await
    });
    // A thread that still waits for an answer at the terminal is not waited for.
    runtime.shutdown_background();
    result
}

fn end(console: &Console, result: Result<(), Failure>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            console.failure(&failure);
            failure.code.into()
        }
    }
}

/// What is wrong: the lines before the first empty one, such as each argument that is missing.
fn in_one_line(error: &str) -> String {
    let lines = error.lines().map(str::trim).take_while(|line| !line.is_empty());
    let text = lines.collect::<Vec<_>>().join(" ");
    text.strip_prefix("error: ").unwrap_or(&text).to_owned()
}

/// Help and version are answers; the rest is wrong usage, in the form that was asked for.
fn not_understood(error: &clap::Error, arguments: &[OsString]) -> ExitCode {
    let is_answer = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
    let wants_json = arguments.iter().take_while(|word| *word != "--").any(|word| word == "--json");
    if !is_answer && wants_json {
        let failure = Failure::usage(in_one_line(&error.render().to_string())).hint("see --help");
        return end(&Console::new(Format::Json, false, true), Err(failure));
    }
    match error.print() {
        Ok(()) if is_answer => ExitCode::SUCCESS,
        Ok(()) => Code::Usage.into(),
        Err(_) => Code::Failure.into(),
    }
}
