use std::time::{Duration, Instant};

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
    let mut stage: Option<(Stage, Instant)> = None;
    let mut printed = Instant::now();
    while changed(&mut receiver, &end).await {
        let progress = *receiver.borrow_and_update();
        let is_new = stage.is_none_or(|(stage, _)| stage != progress.stage);
        if progress.stage == Stage::Done || (!is_new && printed.elapsed() < STATUS_PERIOD) {
            continue;
        }
        let began = match stage {
            Some((_, began)) if !is_new => began,
            _ => Instant::now(),
        };
        stage = Some((progress.stage, began));
        printed = Instant::now();
        // Without a reader the command goes on: its work is worth more than its lines.
        if console.json_line("status", &Status::new(&progress, began.elapsed())).is_err() {
            return;
        }
    }
}
