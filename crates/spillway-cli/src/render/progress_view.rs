use std::{
    future,
    time::{Duration, Instant},
};

use spillway_client::{Progress, ProgressSender, Stage};
use tokio::{sync::watch, task::JoinSet, time};
use tokio_util::sync::CancellationToken;

use super::{Console, Format, bars::Bars, json::Status};

/// How often a `status` line is printed while nothing but numbers change.
const STATUS_PERIOD: Duration = Duration::from_secs(1);
/// How often bars move: as often as eyes can follow.
const BAR_PERIOD: Duration = Duration::from_millis(100);

/// Shows the progress of one command until it is finished.
#[derive(Debug)]
#[must_use = "finish it, so that nothing is drawn behind the summary"]
pub(crate) struct ProgressView {
    task: JoinSet<()>,
    end: CancellationToken,
}

impl ProgressView {
    /// Starts to show what is sent.
    pub(crate) fn start(console: &Console) -> (Self, ProgressSender) {
        let (sender, receiver) = ProgressSender::channel();
        let end = CancellationToken::new();
        let mut task = JoinSet::new();
        if console.format() == Format::Json {
            task.spawn(print(console.clone(), receiver, end.clone()));
        } else if console.shows_bars() {
            task.spawn(draw(Bars::new(console.bars().clone()), receiver, end.clone()));
        }
        (Self { task, end }, sender)
    }

    /// Shows the newest value and ends.
    pub(crate) async fn finish(mut self) {
        self.end.cancel();
        while let Some(ended) = self.task.join_next().await {
            if let Err(error) = ended {
                tracing::error!(%error, "progress cannot be shown");
            }
        }
    }
}

/// Waits for news, at most until the end.
async fn changed(receiver: &mut watch::Receiver<Progress>, end: &CancellationToken) -> bool {
    tokio::select! {
        biased;
        changed = receiver.changed() => changed.is_ok(),
        () = end.cancelled() => false,
    }
}

async fn draw(mut bars: Bars, mut receiver: watch::Receiver<Progress>, end: CancellationToken) {
    while changed(&mut receiver, &end).await {
        let progress = *receiver.borrow_and_update();
        bars.show(&progress);
        tokio::select! {
            () = time::sleep(BAR_PERIOD) => {}
            () = end.cancelled() => {}
        }
    }
    bars.finish();
}

async fn print(console: Console, mut receiver: watch::Receiver<Progress>, end: CancellationToken) {
    let mut lines = Lines::default();
    loop {
        let due = lines.due();
        let (lines_now, goes_on) = tokio::select! {
            goes_on = changed(&mut receiver, &end) => if goes_on {
                (lines.show(*receiver.borrow_and_update(), Instant::now()), true)
            } else {
                (lines.last(Instant::now()), false)
            },
            () = wait_until(due) => (lines.last(Instant::now()), true),
        };
        for status in lines_now {
            // Without a reader the command goes on: its work is worth more than its lines.
            if console.json_line("status", &status).is_err() {
                return;
            }
        }
        if !goes_on {
            return;
        }
    }
}

async fn wait_until(due: Option<Instant>) {
    match due {
        Some(due) => time::sleep_until(due.into()).await,
        None => future::pending().await,
    }
}

/// Decides when there is a line: at the start and at the end of a stage, and now and then between.
#[derive(Debug, Default)]
struct Lines {
    shown: Option<Shown>,
    /// What came too soon after the last line.
    held: Option<Progress>,
}

#[derive(Debug)]
struct Shown {
    stage: Stage,
    /// When the stage began.
    began: Instant,
    /// When its last line was printed.
    printed: Instant,
}

impl Lines {
    /// When what is held is to be printed.
    fn due(&self) -> Option<Instant> {
        let shown = self.shown.as_ref()?;
        self.held.map(|_| shown.printed + STATUS_PERIOD)
    }

    /// The lines to print now that this is so.
    fn show(&mut self, progress: Progress, now: Instant) -> Vec<Status> {
        match &self.shown {
            Some(shown) if shown.stage == progress.stage => {
                self.held = Some(progress);
                if now < shown.printed + STATUS_PERIOD { Vec::new() } else { self.last(now) }
            }
            _ => {
                let mut lines = self.last(now);
                // The summary says that all is done.
                if progress.stage != Stage::Done {
                    self.shown = Some(Shown { stage: progress.stage, began: now, printed: now });
                    lines.push(Status::new(&progress, Duration::ZERO));
                }
                lines
            }
        }
    }

    /// What is held, to print it now.
    fn last(&mut self, now: Instant) -> Vec<Status> {
        let (Some(shown), Some(progress)) = (&mut self.shown, self.held.take()) else {
            return Vec::new();
        };
        shown.printed = now;
        vec![Status::new(&progress, now - shown.began)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn progress(stage: Stage, bytes_done: u64) -> Progress {
        Progress { stage, bytes_done, bytes_total: Some(100), ..Progress::default() }
    }

    fn status(stage: Stage, bytes_done: u64, elapsed: Duration) -> Status {
        Status::new(&progress(stage, bytes_done), elapsed)
    }

    #[test]
    fn what_came_too_soon_is_printed_when_its_time_comes() {
        let (mut lines, start) = (Lines::default(), Instant::now());
        let soon = start + STATUS_PERIOD / 2;
        let first = lines.show(progress(Stage::Seal, 1), start);
        assert_eq!(first, [status(Stage::Seal, 1, Duration::ZERO)]);
        assert_eq!(lines.due(), None);
        assert_eq!(lines.show(progress(Stage::Seal, 2), soon), []);
        assert_eq!(lines.show(progress(Stage::Seal, 3), soon), []);
        assert_eq!(lines.due(), Some(start + STATUS_PERIOD));
        let due = lines.last(start + STATUS_PERIOD);
        assert_eq!(due, [status(Stage::Seal, 3, STATUS_PERIOD)]);
        assert_eq!(lines.due(), None);
        let late = start + STATUS_PERIOD * 3;
        let line = lines.show(progress(Stage::Seal, 4), late);
        assert_eq!(line, [status(Stage::Seal, 4, STATUS_PERIOD * 3)]);
    }

    #[test]
    fn a_stage_ends_with_its_last_value() {
        let (mut lines, now) = (Lines::default(), Instant::now());
        lines.show(progress(Stage::Seal, 1), now);
        lines.show(progress(Stage::Seal, 100), now);
        let both = lines.show(progress(Stage::Store, 0), now);
        let sealed = status(Stage::Seal, 100, Duration::ZERO);
        assert_eq!(both, [sealed, status(Stage::Store, 0, Duration::ZERO)]);
        lines.show(progress(Stage::Store, 100), now);
        let end = lines.show(progress(Stage::Done, 100), now);
        assert_eq!(end, [status(Stage::Store, 100, Duration::ZERO)]);
        assert_eq!(lines.last(now), []);
    }
}
