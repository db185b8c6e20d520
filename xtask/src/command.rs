//! Programs that a task runs to their end, in the foreground.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// What `cargo run` tells this program about itself. A cargo that we start must not take it for its own
/// environment: build scripts that watch such variables would run again on every change from one to the other.
const SET_BY_CARGO_RUN: &[&str] = &[
    "CARGO_BIN_NAME",
    "CARGO_CRATE_NAME",
    "CARGO_MANIFEST_DIR",
    "CARGO_MANIFEST_PATH",
    "CARGO_PKG_AUTHORS",
    "CARGO_PKG_DESCRIPTION",
    "CARGO_PKG_HOMEPAGE",
    "CARGO_PKG_LICENSE",
    "CARGO_PKG_LICENSE_FILE",
    "CARGO_PKG_NAME",
    "CARGO_PKG_README",
    "CARGO_PKG_REPOSITORY",
    "CARGO_PKG_RUST_VERSION",
    "CARGO_PKG_VERSION",
    "CARGO_PKG_VERSION_MAJOR",
    "CARGO_PKG_VERSION_MINOR",
    "CARGO_PKG_VERSION_PATCH",
    "CARGO_PKG_VERSION_PRE",
    "CARGO_PRIMARY_PACKAGE",
];

/// A program with arguments, to be run in `directory` with no standard input.
pub(crate) fn program<S: AsRef<OsStr>>(
    name: impl AsRef<OsStr>,
    arguments: impl IntoIterator<Item = S>,
    directory: &Path,
) -> Command {
    let mut command = Command::new(name);
    command.args(arguments).current_dir(directory).stdin(Stdio::null());
    for variable in SET_BY_CARGO_RUN {
        command.env_remove(variable);
    }
    command
}

/// Runs it; the terminal is its terminal.
///
/// # Errors
/// When it cannot be started or fails.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    if !succeeds(command)? {
        bail!("`{}` failed", line(command));
    }
    Ok(())
}

/// Runs it and says whether it succeeded.
///
/// # Errors
/// When it cannot be started.
pub(crate) fn succeeds(command: &mut Command) -> Result<bool> {
    let status = command.status().with_context(|| format!("cannot start `{}`", line(command)))?;
    Ok(status.success())
}

/// Its standard output, or nothing when it is not there or fails. For questions such as `--version`.
pub(crate) fn answer(name: &str, arguments: &[&str], directory: &Path) -> Option<String> {
    let output = program(name, arguments, directory).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// The command as one would type it, without quoting.
fn line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ")
}
