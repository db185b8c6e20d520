//! The `spillway` client as a user runs it: a process, its JSON lines, its time and memory.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, IsTerminal, Read};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use serde_json::Value;

use crate::command;
use crate::interrupt::Interrupt;

/// How long an interrupted client may take to write down what it must.
const STOP_DEADLINE: Duration = Duration::from_secs(30);

/// How to run clients against one network.
#[derive(Debug)]
pub(crate) struct Spillway<'a> {
    /// The built program.
    pub(crate) program: &'a Path,
    /// The network's manifest.
    pub(crate) manifest: &'a Path,
    /// A directory for everything that it writes.
    pub(crate) scratch: &'a Path,
    /// Ends a run.
    pub(crate) interrupt: &'a Interrupt,
}

/// One successful run.
#[derive(Debug)]
pub(crate) struct Run {
    /// Its last JSON line.
    pub(crate) summary: Value,
    /// From start to exit.
    pub(crate) elapsed: Duration,
    /// The larger of what the process says itself and what the kernel says, where there is either.
    pub(crate) peak_rss_bytes: Option<u64>,
}

/// Makes a program keep its files below `scratch` and not read the user's settings.
pub(crate) fn isolate(command: &mut Command, scratch: &Path) {
    command
        .env("SPILLWAY_DATA_DIR", scratch.join("client"))
        .env("XDG_STATE_HOME", scratch.join("state"))
        .env("XDG_CONFIG_HOME", scratch.join("config"));
}

impl Spillway<'_> {
    /// Uploads a file or directory and writes its data map.
    pub(crate) fn upload(&self, source: &Path, data_map: &Path) -> Result<Run> {
        self.run("upload", source, data_map, &["--yes"])
    }

    /// Downloads what a data map describes.
    pub(crate) fn download(&self, data_map: &Path, target: &Path) -> Result<Run> {
        self.run("download", data_map, target, &[])
    }

    fn run(&self, verb: &str, from: &Path, to: &Path, more: &[&str]) -> Result<Run> {
        let mut command =
            command::program(self.program, [OsStr::new(verb), from.as_os_str()], self.scratch);
        command
            .arg("-o")
            .arg(to)
            .arg("--devnet")
            .arg(self.manifest)
            .arg("--json")
            .args(more)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // As for the network: an interrupt comes from here, not from the terminal.
            .process_group(0);
        isolate(&mut command, self.scratch);
        self.supervise(&mut command).with_context(|| format!("`spillway {verb}` failed"))
    }

    fn supervise(&self, command: &mut Command) -> Result<Run> {
        let start = Instant::now();
        let mut child = command.spawn().context("cannot start it")?;
        let stdout = child.stdout.take().context("it has no standard output")?;
        let stderr = child.stderr.take().context("it has no standard error")?;
        let (waited, summary, complaint) = thread::scope(|scope| {
            let summary = scope.spawn(|| read_summary(BufReader::new(stdout)));
            let complaint = scope.spawn(|| read_complaint(BufReader::new(stderr)));
            let waited = self.wait(&mut child);
            (waited, summary.join(), complaint.join())
        });
        let (status, sampled) = waited?;
        let elapsed = start.elapsed();
        let complaint = complaint.map_err(|_| anyhow!("reading its errors panicked"))?;
        if !status.success() {
            bail!("{status}: {complaint}");
        }
        let summary = summary
            .map_err(|_| anyhow!("reading its output panicked"))?
            .context("it printed no summary")?;
        let said = crate::figures::integer(&summary["peak_rss_bytes"]);
        let said = said.and_then(|bytes| u64::try_from(bytes).ok());
        Ok(Run { summary, elapsed, peak_rss_bytes: said.max(sampled) })
    }

    /// Waits for the end, and looks at the memory on the way.
    fn wait(&self, child: &mut Child) -> Result<(ExitStatus, Option<u64>)> {
        let mut peak = None;
        loop {
            if let Some(status) = child.try_wait().context("cannot wait for it")? {
                return Ok((status, peak));
            }
            peak = peak.max(peak_rss_bytes(child.id()));
            if let Err(interrupted) = self.interrupt.check() {
                end(child)?;
                return Err(interrupted);
            }
            Interrupt::pause();
        }
    }
}

/// SIGINT, patience, SIGKILL.
fn end(child: &mut Child) -> Result<()> {
    let pid = Pid::from_child(child);
    kill_process(pid, Signal::INT).context("cannot signal it")?;
    let start = Instant::now();
    while start.elapsed() < STOP_DEADLINE {
        if child.try_wait().context("cannot wait for it")?.is_some() {
            return Ok(());
        }
        Interrupt::pause();
    }
    kill_process_group(pid, Signal::KILL).context("cannot kill it")?;
    child.wait().context("cannot wait for it")?;
    Ok(())
}

/// The largest resident set so far, as Linux counts it.
fn peak_rss_bytes(pid: u32) -> Option<u64> {
    high_water_mark(&fs::read_to_string(format!("/proc/{pid}/status")).ok()?)
}

fn high_water_mark(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok()?.checked_mul(1024)
}

/// The last summary of a stream of JSON lines; progress is shown where there is a terminal.
fn read_summary(lines: impl BufRead) -> Option<Value> {
    let shows_progress = std::io::stderr().is_terminal();
    let mut summary = None;
    for line in lines.lines().map_while(Result::ok) {
        let Ok(message) = serde_json::from_str::<Value>(&line) else {
            continue;
        };
        match message["message_type"].as_str() {
            Some("summary") => summary = Some(message),
            Some("status") if shows_progress => {
                let stage = message["stage"].as_str().unwrap_or("working");
                let percent = message["percent_done"].as_f64().unwrap_or(0.0);
                eprint!("\r{stage:<12} {percent:>5.1} % ");
            }
            _ => {}
        }
    }
    if shows_progress {
        eprint!("\r{:<24}\r", "");
    }
    summary
}

/// The message of the last `exit_error`, else everything that was said.
fn read_complaint(mut stream: impl Read) -> String {
    let mut bytes = Vec::new();
    // Logs of a client are short; an error in reading them leaves what was read.
    let read = stream.read_to_end(&mut bytes);
    let text = String::from_utf8_lossy(&bytes);
    let message = text.lines().rev().find_map(|line| {
        let message: Value = serde_json::from_str(line).ok()?;
        (message["message_type"] == "exit_error")
            .then(|| message["message"].as_str().map(str::to_owned))?
    });
    match (message, read) {
        (Some(message), _) => message,
        (None, Ok(_)) => text.trim().to_owned(),
        (None, Err(error)) => format!("{} (and then: {error})", text.trim()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_summary_counts() {
        let lines = "noise\n{\"message_type\":\"status\",\"stage\":\"seal\"}\n\
                     {\"message_type\":\"summary\",\"bytes\":1}\n{\"message_type\":\"summary\",\"bytes\":2}\n";
        assert_eq!(read_summary(lines.as_bytes()).unwrap()["bytes"], 2);
        assert_eq!(read_summary("{}\n".as_bytes()), None);
    }

    #[test]
    fn the_error_message_counts_else_everything() {
        let json =
            "a log line\n{\"message_type\":\"exit_error\",\"code\":13,\"message\":\"no funds\"}\n";
        assert_eq!(read_complaint(json.as_bytes()), "no funds");
        assert_eq!(read_complaint("thread panicked\n".as_bytes()), "thread panicked");
    }

    #[test]
    fn the_kernel_counts_in_kilobytes() {
        assert_eq!(high_water_mark("VmPeak:\t  9 kB\nVmHWM:\t   2048 kB\n"), Some(2 << 20));
        assert_eq!(high_water_mark("Name:\tx\n"), None);
    }

    /// Runs `upload` with a shell in place of the program: it takes the verb for the name of a script.
    fn upload(script: &str, interrupt: &Interrupt) -> Result<Run> {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("upload"), script).unwrap();
        let spillway = Spillway {
            program: Path::new("sh"),
            manifest: Path::new("manifest.json"),
            scratch: directory.path(),
            interrupt,
        };
        spillway.upload(Path::new("source"), Path::new("map"))
    }

    #[test]
    fn a_run_is_summed_up() {
        let script = r#"echo "{\"message_type\":\"summary\",\"arguments\":\"$*\",\"peak_rss_bytes\":99000000000}""#;
        let run = upload(script, &Interrupt::fixed(false)).unwrap();
        assert_eq!(run.summary["arguments"], "source -o map --devnet manifest.json --json --yes");
        assert_eq!(run.peak_rss_bytes, Some(99_000_000_000));
    }

    #[test]
    fn a_failure_says_what_the_program_said() {
        let script =
            r#"echo '{"message_type":"exit_error","code":5,"message":"no RPC"}' >&2; exit 5"#;
        let error = upload(script, &Interrupt::fixed(false)).unwrap_err();
        assert_eq!(format!("{error:#}"), "`spillway upload` failed: exit status: 5: no RPC");
        let error = upload("exit 0", &Interrupt::fixed(false)).unwrap_err();
        assert_eq!(format!("{error:#}"), "`spillway upload` failed: it printed no summary");
    }

    #[test]
    fn an_interrupt_reaches_the_program() {
        let error = upload("exec sleep 60", &Interrupt::fixed(true)).unwrap_err();
        assert!(error.is::<crate::interrupt::Interrupted>(), "{error:#}");
    }
}
