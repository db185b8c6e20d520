//! The built `spillway`, run as a user runs it, and ended as nobody wishes.

use std::{
    path::Path,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader},
    process::{Child, ChildStdout, Command},
    time::timeout,
};

/// How long one run may take: a client waits 90 s until it raises a fee, some of them twice.
const RUN_DEADLINE: Duration = Duration::from_mins(6);

/// The test hook: which operation on the disk fails, and how.
pub(crate) const DISK_FAULT: &str = "SPILLWAY_TEST_DISK_FAULT";

/// How a run ended.
#[derive(Debug)]
pub(crate) struct Ran {
    /// Its exit code; `None` when it was killed.
    pub(crate) code: Option<i32>,
    /// The last summary.
    pub(crate) summary: Option<Value>,
    /// What it said beside.
    pub(crate) stderr: String,
    /// How long it took.
    pub(crate) took: Duration,
}

impl Ran {
    /// An amount of the summary, which is text.
    pub(crate) fn amount(&self, field: &str) -> Option<u128> {
        self.summary.as_ref()?[field].as_str()?.parse().ok()
    }

    /// Operations on the disk that the test hook has counted.
    pub(crate) fn disk_operations(&self) -> Option<u64> {
        let line = self.stderr.lines().last()?;
        serde_json::from_str::<Value>(line).ok()?["disk_operations"].as_u64()
    }

    /// What it said last, in one line.
    pub(crate) fn said(&self) -> String {
        let mut lines = self.stderr.lines().rev().filter(|line| !line.contains("disk_operations"));
        let last = lines.next().unwrap_or("nothing");
        format!("exit {:?} after {:.1} s: {last}", self.code, self.took.as_secs_f64())
    }
}

/// A run that goes on. It is killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Running {
    child: Child,
    stdout: BufReader<ChildStdout>,
    lines: Vec<String>,
    started: std::time::Instant,
}

/// The program with nothing of our environment, in this directory.
pub(crate) fn command(program: &Path, here: &Path) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("HOME", here.join("home")).current_dir(here);
    command
}

impl Running {
    /// Starts it.
    pub(crate) fn start(mut command: Command) -> Result<Self> {
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Ctrl-C at the terminal is for us alone.
            .process_group(0)
            .kill_on_drop(true);
        let started = std::time::Instant::now();
        let mut child = command.spawn().context("cannot start spillway")?;
        let stdout = BufReader::new(child.stdout.take().context("it has no standard output")?);
        Ok(Self { child, stdout, lines: Vec::new(), started })
    }

    /// Reads its lines until one of them is like this; false when it has ended before.
    ///
    /// # Cancel safety
    /// A line may be lost.
    pub(crate) async fn wait_for(&mut self, is_it: impl Fn(&Value) -> bool) -> Result<bool> {
        loop {
            let mut line = String::new();
            if self.stdout.read_line(&mut line).await.context("its output")? == 0 {
                return Ok(false);
            }
            let found = serde_json::from_str(&line).is_ok_and(|value| is_it(&value));
            self.lines.push(line);
            if found {
                return Ok(true);
            }
        }
    }

    /// SIGKILL, if it still runs.
    pub(crate) fn kill(&self) {
        if let Some(pid) = self.child.id().and_then(|id| Pid::from_raw(id.cast_signed())) {
            // An error says that it has just ended.
            let _ = kill_process(pid, Signal::KILL);
        }
    }

    /// Kills it after this time unless it ends before.
    pub(crate) async fn end_after(mut self, delay: Duration) -> Result<Ran> {
        if timeout(delay, self.wait_for(|_| false)).await.is_err() {
            self.kill();
        }
        self.end().await
    }

    /// Waits for its end.
    pub(crate) async fn end(mut self) -> Result<Ran> {
        let mut stderr = self.child.stderr.take().context("it has no standard error")?;
        let mut said = Vec::new();
        let ended = async {
            let (lines, read) =
                tokio::join!(self.wait_for(|_| false), stderr.read_to_end(&mut said));
            lines?;
            read.context("its errors")?;
            self.child.wait().await.context("cannot wait for it")
        };
        let status: ExitStatus = match timeout(RUN_DEADLINE, ended).await {
            Ok(status) => status?,
            Err(_) => bail!("it did not end within {} s", RUN_DEADLINE.as_secs()),
        };
        let summary = self.lines.iter().rev().find_map(|line| {
            let value: Value = serde_json::from_str(line).ok()?;
            (value["message_type"] == "summary").then_some(value)
        });
        Ok(Ran {
            code: status.code(),
            summary,
            stderr: String::from_utf8_lossy(&said).into_owned(),
            took: self.started.elapsed(),
        })
    }
}

/// Runs it to its end.
pub(crate) async fn run(command: Command) -> Result<Ran> {
    Running::start(command)?.end().await
}
