use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader, Lines},
    process::{Child, ChildStdout},
};

use crate::Ran;

/// A program that runs. It is killed when this is dropped.
#[derive(Debug)]
pub struct Running {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    seen: Vec<u8>,
}

impl Running {
    pub(crate) fn start(mut command: Command) -> Self {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut command = tokio::process::Command::from(command);
        let mut child = command.kill_on_drop(true).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines, seen: Vec::new() }
    }

    /// Returns the first object that it prints which is like this.
    pub async fn wait_for(&mut self, is_it: impl Fn(&Value) -> bool) -> Value {
        while let Some(line) = self.lines.next_line().await.unwrap() {
            let value: Value = serde_json::from_str(&line).unwrap();
            self.keep(&line);
            if is_it(&value) {
                return value;
            }
        }
        panic!("it has ended: {}", String::from_utf8_lossy(&self.seen));
    }

    fn keep(&mut self, line: &str) {
        self.seen.extend_from_slice(line.as_bytes());
        self.seen.push(b'\n');
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.child.id().unwrap()).unwrap();
        kill_process(Pid::from_raw(id).unwrap(), signal).unwrap();
    }

    /// Waits for its end.
    pub async fn end(mut self) -> Ran {
        while let Some(line) = self.lines.next_line().await.unwrap() {
            self.keep(&line);
        }
        let mut stderr = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut stderr).await.unwrap();
        let code = self.child.wait().await.unwrap().code();
        Ran { code, stdout: self.seen, stderr }
    }
}
