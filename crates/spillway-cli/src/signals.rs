//! SIGINT, SIGTERM and SIGHUP: the first asks everything to stop, the second ends the program at
//! once. At once means that what is under way is dropped, so that what it owns (a child process,
//! files of a test network) goes with it.

use std::{fs, process, time::Duration};

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc,
    task::JoinSet,
    time,
};
use tokio_util::sync::CancellationToken;

use crate::{
    exit::{Code, Failure},
    render::Console,
};

/// How long dropping may take after the second signal, until the process just ends.
const DROP_DEADLINE: Duration = Duration::from_secs(2);

/// SIGHUP's bit in the masks of proc(5): signal 1 is the lowest.
const HANGUP_BIT: u64 = 1;

/// What signals ask for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stop {
    /// Cancelled at the first signal.
    pub(crate) soon: CancellationToken,
    /// Cancelled at the second.
    pub(crate) now: CancellationToken,
}

/// The tasks that wait for signals. They end when this is dropped.
#[derive(Debug)]
#[must_use = "signals are waited for while it lives"]
pub(crate) struct Signals {
    _tasks: JoinSet<()>,
}

impl Signals {
    /// Cancels what is in `stop`, signal by signal.
    ///
    /// # Errors
    /// When the system does not let us wait for signals.
    pub(crate) fn watch(stop: Stop, console: Console) -> Result<Self, Failure> {
        let listen = |kind| {
            signal(kind).map_err(|error| {
                Failure::new(Code::Failure, format!("cannot wait for signals: {error}"))
            })
        };
        let mut kinds = vec![SignalKind::interrupt(), SignalKind::terminate()];
        // Who started this with nohup(1) wants it to outlive the terminal.
        if !ignores_hangup(&fs::read_to_string("/proc/self/status").unwrap_or_default()) {
            kinds.push(SignalKind::hangup());
        }
        let signals = kinds.into_iter().map(listen).collect::<Result<Vec<_>, _>>()?;
        let (sender, receiver) = mpsc::channel(1);
        let mut tasks = JoinSet::new();
        for signal in signals {
            tasks.spawn(forward(signal, sender.clone()));
        }
        tasks.spawn(wait(receiver, stop, console));
        Ok(Self { _tasks: tasks })
    }
}

/// Whether SIGHUP was ignored when the program was started, by the `status` file of proc(5).
fn ignores_hangup(status: &str) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .is_some_and(|mask| mask & HANGUP_BIT != 0)
}

async fn forward(mut signal: Signal, sender: mpsc::Sender<()>) {
    while signal.recv().await.is_some() {
        if sender.send(()).await.is_err() {
            return;
        }
    }
}

async fn wait(mut signals: mpsc::Receiver<()>, stop: Stop, console: Console) {
    if signals.recv().await.is_none() {
        return;
    }
    // Said first: what is asked to stop may be the end of the program.
    console.note("Stopping; once more to stop at once.");
    stop.soon.cancel();
    if signals.recv().await.is_none() {
        return;
    }
    stop.now.cancel();
    time::sleep(DROP_DEADLINE).await;
    end_at_once();
}

#[expect(clippy::exit, reason = "asked for twice; whatever must last is durable at any moment")]
fn end_at_once() -> ! {
    process::exit(Code::Interrupted as i32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nohup_asks_for_is_seen() {
        assert!(ignores_hangup("Name:\tx\nSigIgn:\t0000000000001001\n"));
        assert!(!ignores_hangup("SigIgn:\t0000000000001000\n"));
        assert!(!ignores_hangup(""));
    }
}
