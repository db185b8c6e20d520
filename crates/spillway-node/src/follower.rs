use std::{fmt, sync::Arc, time::Duration};

use spillway_disk::Clock;
use spillway_store::ChunkStore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::{Batches, ChainClock};

/// Follows the chain for a node: the owner of the tasks that hear the head, the beacon and the price
/// of gas, walk the store for proofs, and note and drop wins. Dropping it ends them at once.
#[must_use = "dropping it ends the tasks"]
pub struct Follower {
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

impl Follower {
    /// Starts the tasks; `every` is how often the chain is asked, in the time of `clock`.
    pub fn start(
        batches: Batches,
        store: Arc<dyn ChunkStore>,
        clock: ChainClock,
        every: Duration,
    ) -> Self {
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        let (hearing, walking, tending) = (stop.clone(), stop.clone(), stop.clone());
        let (to_hear, to_walk, walked) = (batches.clone(), batches.clone(), Arc::clone(&store));
        tasks.spawn(async move {
            hearing.run_until_cancelled(hear(&to_hear, &clock, every)).await;
        });
        tasks.spawn(async move {
            walking.run_until_cancelled(walk(&to_walk, walked.as_ref())).await;
        });
        tasks.spawn(async move {
            tending.run_until_cancelled(tend(&batches, store.as_ref())).await;
        });
        Self { stop, tasks }
    }

    /// Ends the tasks and waits for them.
    ///
    /// # Cancel safety
    /// Dropping it ends them at once.
    ///
    /// # Panics
    /// When one of them did.
    pub async fn shutdown(mut self) {
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

impl fmt::Debug for Follower {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Follower").field("tasks", &self.tasks.len()).finish_non_exhaustive()
    }
}

/// Keeps what is known of the chain new.
async fn hear(batches: &Batches, clock: &ChainClock, every: Duration) {
    let mut reachable = true;
    loop {
        clock.sleep(every).await;
        match batches.hear().await {
            Ok(()) if reachable => {}
            Ok(()) => {
                reachable = true;
                tracing::info!("the chain can be asked again");
            }
            Err(error) if reachable => {
                reachable = false;
                tracing::warn!(%error, "the chain cannot be asked for news");
            }
            Err(error) => tracing::debug!(%error, "the chain cannot be asked for news"),
        }
    }
}

/// Walks the store at the start, and again when the index has room for what it had none for.
async fn walk(batches: &Batches, store: &dyn ChunkStore) {
    loop {
        batches.walk(store).await;
        batches.walk_due().await;
    }
}

/// Looks after the wins at the start and after all news.
async fn tend(batches: &Batches, store: &dyn ChunkStore) {
    let mut heard = batches.heard();
    loop {
        batches.tend(store).await;
        // The sender lives in `batches`, so this cannot end.
        if heard.changed().await.is_err() {
            return;
        }
    }
}
