//! Logs: to standard error, never through a bar.

use std::io::{self, Write};

use indicatif::MultiProgress;
use tracing_subscriber::{EnvFilter, fmt::MakeWriter};

use crate::{args::Globals, config::Environment, exit::Failure, render::Console};

/// What is logged at each number of `-v`. Of others' crates only what is wrong, until everything is
/// asked for.
const LEVELS: [&str; 4] =
    ["error,spillway=warn", "warn,spillway=info", "info,spillway=debug", "trace"];

/// Our crates: a directive for all is the same for each.
const CRATES: [&str; 10] = [
    "spillway",
    "spillway_types",
    "spillway_disk",
    "spillway_seal",
    "spillway_net",
    "spillway_pay",
    "spillway_store",
    "spillway_client",
    "spillway_node",
    "spillway_testnet",
];

/// Starts to log.
///
/// # Errors
/// When `SPILLWAY_LOG` is not a filter.
pub(crate) fn start(
    globals: &Globals,
    environment: &Environment,
    console: &Console,
) -> Result<(), Failure> {
    let filter = match (&environment.log, globals.quiet) {
        (Some(filter), false) => EnvFilter::try_new(filter).map_err(|error| {
            Failure::usage(format!("SPILLWAY_LOG is not a filter of logs: {error}"))
                .hint("for instance spillway_client=debug")
        })?,
        (_, true) => EnvFilter::new("off"),
        (None, false) => EnvFilter::new(directives(globals.verbose)),
    };
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(console.color())
        .with_writer(BehindBars(console.bars().clone()))
        .init();
    Ok(())
}

fn directives(verbose: u8) -> String {
    let level = LEVELS[usize::from(verbose).min(LEVELS.len() - 1)];
    let Some((others, ours)) = level.split_once(",spillway=") else {
        return level.to_owned();
    };
    let ours: Vec<String> = CRATES.iter().map(|name| format!("{name}={ours}")).collect();
    format!("{others},{}", ours.join(","))
}

/// Standard error, with bars out of the way.
#[derive(Clone, Debug)]
struct BehindBars(MultiProgress);

impl Write for BehindBars {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.suspend(|| io::stderr().lock().write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

impl MakeWriter<'_> for BehindBars {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_level_is_a_filter() {
        for verbose in 0..=5 {
            assert!(EnvFilter::try_new(directives(verbose)).is_ok(), "{verbose}");
        }
        assert!(directives(0).starts_with("error,spillway=warn,"));
        assert!(directives(1).starts_with("warn,spillway=info,spillway_types=info,"));
        assert_eq!(directives(9), "trace");
    }
}
