use std::{sync::Arc, time::Duration};

use spillway_disk::{Clock, SystemClock};
use spillway_pay::{Keeper, PayError};
use tokio::{sync::Mutex, task::JoinSet};
use tokio_util::sync::CancellationToken;

/// How often it is looked whether a seed is due, at most four times an epoch: often enough that
/// nobody waits for one, seldom enough that nobody notices.
const PACE: Duration = Duration::from_secs(2);

/// Tends the beacon for as long as it lives: one task. Whoever cannot wait for it calls
/// [`SeedKeeper::post_due`].
#[derive(Debug)]
pub(crate) struct SeedKeeper {
    inner: Arc<Inner>,
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

#[derive(Debug)]
struct Inner {
    keeper: Keeper,
    /// Whether the task leaves the beacon alone; locked while it does not.
    silent: Mutex<bool>,
    pace: Duration,
}

impl SeedKeeper {
    /// Starts to tend a beacon with epochs of this length.
    pub(crate) fn start(keeper: Keeper, epoch: Duration) -> Self {
        let pace = PACE.min(epoch / 4);
        let inner = Arc::new(Inner { keeper, silent: Mutex::new(false), pace });
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        tasks.spawn(tend(Arc::clone(&inner), stop.clone()));
        Self { inner, stop, tasks }
    }

    /// Whether the task leaves the beacon alone from now on. What it does at the moment is done
    /// first.
    pub(crate) async fn set_silent(&self, silent: bool) {
        *self.inner.silent.lock().await = silent;
    }

    /// Makes all seeds known that are due.
    pub(crate) async fn post_due(&self) -> Result<(), PayError> {
        // A round makes a bounded number of them.
        while self.inner.keeper.tend().await? > 0 {}
        Ok(())
    }

    /// Ends the task in order.
    pub(crate) async fn shutdown(mut self) {
        self.stop.cancel();
        while let Some(ended) = self.tasks.join_next().await {
            if let Err(error) = ended
                && let Ok(panic) = error.try_into_panic()
            {
                std::panic::resume_unwind(panic);
            }
        }
    }
}

async fn tend(inner: Arc<Inner>, stop: CancellationToken) {
    let tending = async {
        loop {
            let silent = inner.silent.lock().await;
            if !*silent && let Err(error) = inner.keeper.tend().await {
                tracing::warn!(%error, "the beacon's seeds are late");
            }
            drop(silent);
            SystemClock.sleep(inner.pace).await;
        }
    };
    stop.run_until_cancelled(tending).await;
}
