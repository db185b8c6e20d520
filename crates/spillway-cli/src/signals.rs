//! SIGINT and SIGTERM: the first asks everything to stop, the second ends the program at once.

use std::process;

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

use crate::{
    exit::{Code, Failure},
    render::Console,
};

/// The task that waits for signals. It ends when this is dropped.
#[derive(Debug)]
#[must_use = "signals are waited for while it lives"]
pub(crate) struct Signals {
    _task: JoinSet<()>,
}

impl Signals {
    /// Cancels `stop` at the first signal.
    ///
    /// # Errors
    /// When the system does not let us wait for signals.
    pub(crate) fn watch(stop: CancellationToken, console: Console) -> Result<Self, Failure> {
        let listen = |kind| {
            signal(kind).map_err(|error| {
                Failure::new(Code::Failure, format!("cannot wait for signals: {error}"))
            })
        };
        let interrupt = listen(SignalKind::interrupt())?;
        let terminate = listen(SignalKind::terminate())?;
        let mut task = JoinSet::new();
        task.spawn(wait(interrupt, terminate, stop, console));
        Ok(Self { _task: task })
    }
}

async fn wait(
    mut interrupt: Signal,
    mut terminate: Signal,
    stop: CancellationToken,
    console: Console,
) {
    for already_asked in [false, true] {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        if already_asked {
            end_at_once();
        }
        console.note("Stopping; once more to stop at once.");
        stop.cancel();
    }
}

#[expect(clippy::exit, reason = "asked for twice; whatever must last is durable at any moment")]
fn end_at_once() -> ! {
    process::exit(Code::Interrupted as i32)
}
