//! A test network in a process of its own, ended and cleaned up whatever happens.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use crate::command;
use crate::interrupt::Interrupt;
use crate::spillway::isolate;

/// How long 20 nodes and a chain may take to be ready.
const START_DEADLINE: Duration = Duration::from_mins(2);
/// How long the network may take to end and to remove what it made.
const STOP_DEADLINE: Duration = Duration::from_mins(1);
/// What of its log is shown when it fails.
const LOG_LINES: usize = 20;

/// A running network. Dropping it ends it, too, but only [`Devnet::stop`] says what went wrong then.
#[derive(Debug)]
#[must_use = "stop it"]
pub(crate) struct Devnet {
    child: Child,
    ended: bool,
    manifest: PathBuf,
    data_dir: PathBuf,
    log: PathBuf,
}

impl Devnet {
    /// Starts `nodes` nodes with their chain below `scratch`, and waits until they are ready.
    ///
    /// The working directory is `root`: there the network finds Anvil in `tools/node_modules`.
    ///
    /// # Errors
    /// When it ends before it is ready, is not ready in time, or the task is interrupted.
    pub(crate) fn start(
        program: &Path,
        nodes: u32,
        root: &Path,
        scratch: &Path,
        interrupt: &Interrupt,
    ) -> Result<Self> {
        let manifest = scratch.join("manifest.json");
        let data_dir = scratch.join("network");
        let log = scratch.join("network.log");
        let output = File::create(&log).context("cannot create the network's log")?;
        let mut command = command::program(program, ["devnet"], root);
        command
            .args(["--nodes", &nodes.to_string()])
            .arg("--data-dir")
            .arg(&data_dir)
            .arg("--manifest")
            .arg(&manifest)
            .stdout(output.try_clone().context("cannot share the network's log")?)
            .stderr(output)
            // Ctrl-C at the terminal reaches this program alone, which then ends the network in order.
            .process_group(0);
        isolate(&mut command, scratch);
        let child = command.spawn().context("cannot start `spillway devnet`")?;
        let mut network = Self { child, ended: false, manifest, data_dir, log };
        network.wait_until_ready(interrupt)?;
        Ok(network)
    }

    /// Where clients read how to reach it.
    pub(crate) fn manifest(&self) -> &Path {
        &self.manifest
    }

    /// Ends it as a person would, and checks that it leaves nothing behind.
    ///
    /// # Errors
    /// When it fails, does not end in time (then it is killed), or leaves files.
    pub(crate) fn stop(mut self) -> Result<()> {
        let status = self.end()?;
        let Some(status) = status else {
            bail!("the network did not end within {} s of SIGINT", STOP_DEADLINE.as_secs());
        };
        if !status.success() {
            bail!("the network ended with {status}\n{}", self.log_tail());
        }
        let left = fs::read_dir(&self.data_dir).map_or(0, Iterator::count);
        if left > 0 {
            bail!("the network left {left} entries in its data directory");
        }
        Ok(())
    }

    fn wait_until_ready(&mut self, interrupt: &Interrupt) -> Result<()> {
        let start = Instant::now();
        // The manifest is renamed into place: once it is there it is whole.
        while !self.manifest.exists() {
            interrupt.check()?;
            if let Some(status) = self.child.try_wait().context("cannot wait for the network")? {
                self.ended = true;
                bail!("the network ended with {status} before it was ready\n{}", self.log_tail());
            }
            if start.elapsed() > START_DEADLINE {
                let seconds = START_DEADLINE.as_secs();
                bail!("the network was not ready within {seconds} s\n{}", self.log_tail());
            }
            Interrupt::pause();
        }
        Ok(())
    }

    /// SIGINT, patience, then SIGKILL for it and its children; the status if it ended by itself.
    fn end(&mut self) -> Result<Option<ExitStatus>> {
        let pid = Pid::from_child(&self.child);
        if self.child.try_wait().context("cannot wait for the network")?.is_none() {
            kill_process(pid, Signal::INT).context("cannot signal the network")?;
        }
        let start = Instant::now();
        while start.elapsed() < STOP_DEADLINE {
            if let Some(status) = self.child.try_wait().context("cannot wait for the network")? {
                self.ended = true;
                return Ok(Some(status));
            }
            Interrupt::pause();
        }
        kill_process_group(pid, Signal::KILL).context("cannot kill the network")?;
        self.child.wait().context("cannot wait for the network")?;
        self.ended = true;
        Ok(None)
    }

    fn log_tail(&self) -> String {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
    }
}

impl Drop for Devnet {
    fn drop(&mut self) {
        if !self.ended
            && let Err(error) = self.end()
        {
            eprintln!("error: {error:#}");
        }
    }
}

#[cfg(test)]
mod tests;
