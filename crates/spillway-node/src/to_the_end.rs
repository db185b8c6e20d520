use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;

/// Work that is done where it is awaited, and to its end by a task of the tracker when whoever awaits
/// it goes away in the middle. Usually nobody does, and then there is no task.
///
/// Work that panics ends there. Work that has not begun is given up, as is all of it when the runtime
/// ends.
pub(crate) struct ToTheEnd<T: Send + 'static> {
    work: Option<Pin<Box<dyn Future<Output = T> + Send>>>,
    begun: bool,
    tracker: TaskTracker,
}

impl<T: Send + 'static> ToTheEnd<T> {
    pub(crate) fn new(
        tracker: TaskTracker,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Self {
        Self { work: Some(Box::pin(work)), begun: false, tracker }
    }
}

impl<T: Send + 'static> Future for ToTheEnd<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        self.begun = true;
        // Put back only when it is not done: what panics is not polled again.
        let mut work = self.work.take().expect("invariant: it is not polled after its end");
        let polled = work.as_mut().poll(context);
        if polled.is_pending() {
            self.work = Some(work);
        }
        polled
    }
}

impl<T: Send + 'static> Drop for ToTheEnd<T> {
    fn drop(&mut self) {
        let Some(work) = self.work.take().filter(|_| self.begun) else { return };
        if let Ok(runtime) = Handle::try_current() {
            self.tracker.spawn_on(
                async move {
                    work.await;
                },
                &runtime,
            );
        }
    }
}

impl<T: Send + 'static> fmt::Debug for ToTheEnd<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ToTheEnd").field("begun", &self.begun).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn what_was_begun_is_done_by_the_tracker_when_nobody_waits() {
        let tracker = TaskTracker::new();
        let (go, gone) = oneshot::channel::<()>();
        let (done, end) = oneshot::channel();
        let work = async move {
            gone.await.unwrap();
            done.send(7).unwrap();
        };
        let mut waiting = Box::pin(ToTheEnd::new(tracker.clone(), work));
        assert!(waiting.as_mut().now_or_never().is_none());
        drop(waiting);
        assert_eq!(tracker.len(), 1);
        go.send(()).unwrap();
        assert_eq!(end.await.unwrap(), 7);
    }

    #[tokio::test]
    async fn what_is_awaited_needs_no_task_and_what_was_not_begun_is_given_up() {
        let tracker = TaskTracker::new();
        assert_eq!(ToTheEnd::new(tracker.clone(), async { 7 }).await, 7);
        drop(ToTheEnd::new(tracker.clone(), std::future::pending::<()>()));
        assert!(tracker.is_empty());
    }
}
