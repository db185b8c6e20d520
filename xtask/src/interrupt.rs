//! Ctrl-C as a flag, so that what a task started is ended and removed in order.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

/// How often a wait looks at the flag and at what it waits for.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Whether SIGINT, SIGTERM or SIGHUP has arrived since this was registered.
#[derive(Clone, Debug)]
pub(crate) struct Interrupt {
    flag: Arc<AtomicBool>,
}

/// The error of a task that was interrupted.
#[derive(Debug)]
pub(crate) struct Interrupted;

impl fmt::Display for Interrupted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("interrupted")
    }
}

impl Error for Interrupted {}

impl Interrupt {
    /// From here on the signals no longer end the process: whoever waits must look.
    pub(crate) fn register() -> Result<Self> {
        let flag = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            signal_hook::flag::register(signal, Arc::clone(&flag))
                .context("cannot listen to signals")?;
        }
        Ok(Self { flag })
    }

    /// Fails with [`Interrupted`] once a signal has arrived.
    pub(crate) fn check(&self) -> Result<()> {
        if self.flag.load(Ordering::Relaxed) { Err(Interrupted.into()) } else { Ok(()) }
    }

    /// A short pause between two looks.
    pub(crate) fn pause() {
        thread::sleep(LOOK_EVERY);
    }

    /// One that is never or already raised, for tests.
    #[cfg(test)]
    pub(crate) fn fixed(raised: bool) -> Self {
        Self { flag: Arc::new(AtomicBool::new(raised)) }
    }

    /// As a signal would.
    #[cfg(test)]
    pub(crate) fn raise(&self) {
        self.flag.store(true, Ordering::Relaxed);
    }
}
