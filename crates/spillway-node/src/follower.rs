use std::{any::Any, fmt, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures::{FutureExt, future::select};
use spillway_disk::Clock;
use spillway_store::ChunkStore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::{
    Batches, ChainClock,
    limits::{WALK_RETRY, WALK_RETRY_MOST},
};

/// What a task panicked with first.
type Panicked = Option<Box<dyn Any + Send>>;

/// Follows the chain for a node: the owner of the tasks that hear the head, the beacon and the price
/// of gas, walk the store for proofs, and note and drop wins. Dropping it ends them at once. One that
/// panics is logged and begun anew: a node whose wins nobody notes would look as one that has none.
#[must_use = "dropping it ends the tasks"]
pub struct Follower {
    stop: CancellationToken,
    tasks: JoinSet<Panicked>,
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
        let (hearing, hearing_clock) = (batches.clone(), clock.clone());
        tasks.spawn(keep_going("hearing", stop.clone(), clock.clone(), every, move || {
            let (batches, clock) = (hearing.clone(), hearing_clock.clone());
            async move { hear(&batches, &clock, every).await }
        }));
        let (walking, walked, walking_clock) = (batches.clone(), Arc::clone(&store), clock.clone());
        tasks.spawn(keep_going("walking", stop.clone(), clock.clone(), every, move || {
            let (batches, store) = (walking.clone(), Arc::clone(&walked));
            let clock = walking_clock.clone();
            async move { walk(&batches, store.as_ref(), &clock).await }
        }));
        tasks.spawn(keep_going("tending", stop.clone(), clock, every, move || {
            let (batches, store) = (batches.clone(), Arc::clone(&store));
            async move { tend(&batches, store.as_ref()).await }
        }));
        Self { stop, tasks }
    }

    /// Ends the tasks and waits for them.
    ///
    /// # Cancel safety
    /// Dropping it ends them at once.
    ///
    /// # Panics
    /// When one of them did, also when it was begun anew since.
    pub async fn shutdown(mut self) {
        self.stop.cancel();
        while let Some(ended) = self.tasks.join_next().await {
            if let Ok(Some(panic)) = ended {
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

/// Runs a task until the stop, anew after each panic. Returns the first of these.
async fn keep_going<T: Future<Output = ()>>(
    name: &'static str,
    stop: CancellationToken,
    clock: ChainClock,
    pause: Duration,
    task: impl Fn() -> T,
) -> Panicked {
    let mut first = None;
    let going = async {
        // All locks of these tasks can be taken after a panic, and nothing is known that half holds.
        while let Err(panic) = AssertUnwindSafe(task()).catch_unwind().await {
            tracing::error!(name, "a task that follows the chain panicked, and begins anew");
            first.get_or_insert(panic);
            clock.sleep(pause).await;
        }
    };
    stop.run_until_cancelled(going).await;
    first
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

/// Walks the store at the start, again when the index has room for what it had none for, and again
/// after a while when something could not be read.
async fn walk(batches: &Batches, store: &dyn ChunkStore, clock: &ChainClock) {
    let mut pause = WALK_RETRY;
    loop {
        if batches.walk(store).await {
            pause = WALK_RETRY;
            batches.walk_due().await;
        } else {
            select(Box::pin(batches.walk_due()), clock.sleep(pause)).await;
            pause = (pause * 2).min(WALK_RETRY_MOST);
        }
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
