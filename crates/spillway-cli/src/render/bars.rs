use std::time::{Duration, Instant};

use indicatif::{HumanDuration, MultiProgress, ProgressBar, ProgressStyle};
use spillway_client::{Progress, Stage};

use super::{estimate::remaining, paid_as};

/// One line for each stage. That of a stage that is over stays until all is over: then the summary
/// takes their place.
#[derive(Debug)]
pub(super) struct Bars {
    all: MultiProgress,
    now: Option<Line>,
    /// How is paid, as it was said last. It stays above the lines.
    paid_as: Option<String>,
}

#[derive(Debug)]
struct Line {
    stage: Stage,
    chunks: Option<u64>,
    began: Instant,
    bar: ProgressBar,
}

impl Bars {
    pub(super) fn new(all: MultiProgress) -> Self {
        Self { all, now: None, paid_as: None }
    }

    /// Shows the newest progress.
    pub(super) fn show(&mut self, progress: &Progress) {
        let paid_as = paid_as(progress.mode, progress.mode_reason.as_ref());
        if let Some(text) = paid_as.filter(|text| self.paid_as.as_ref() != Some(text)) {
            let _gone = self.all.println(&text);
            self.paid_as = Some(text);
        }
        if let Some(line) = self.now.take_if(|line| line.stage != progress.stage) {
            line.complete();
        }
        if progress.stage == Stage::Done {
            return;
        }
        if let Some(line) = &self.now {
            line.update(progress);
        } else {
            let line = Line::new(progress);
            line.update(progress);
            // Drawn for the first time when it says something.
            self.all.add(line.bar.clone()).tick();
            self.now = Some(line);
        }
    }

    /// Takes all lines away.
    pub(super) fn finish(self) {
        if let Some(line) = self.now {
            line.bar.abandon();
        }
        // A terminal that is gone shows nothing anyway.
        let _gone = self.all.clear();
    }
}

impl Line {
    fn new(progress: &Progress) -> Self {
        let bar =
            ProgressBar::hidden().with_style(style(progress)).with_prefix(progress.stage.name());
        let chunks = progress.chunks_total;
        Self { stage: progress.stage, chunks, began: Instant::now(), bar }
    }

    /// The next stage has begun, so all of this one is done, whether the last news was seen or not.
    fn complete(&self) {
        if let Some(length) = self.bar.length() {
            self.bar.set_position(length);
        }
        if let Some(chunks) = self.chunks {
            self.bar.set_message(format!("{chunks}/{chunks} chunks"));
        }
        self.bar.abandon();
    }

    fn update(&self, progress: &Progress) {
        let (done, total) = match (progress.bytes_total, progress.chunks_total) {
            (Some(0) | None, Some(chunks)) => (progress.chunks_done, Some(chunks)),
            (bytes, _) => (progress.bytes_done, bytes),
        };
        if let Some(total) = total {
            self.bar.set_length(total);
        }
        self.bar.set_position(done);
        // Last, for it is what always draws.
        self.bar.set_message(message(progress, self.began.elapsed()));
    }
}

/// `3/8 chunks, 12 seconds left`.
fn message(progress: &Progress, elapsed: Duration) -> String {
    let chunks = match progress.chunks_total {
        Some(total) => format!("{}/{total} chunks", progress.chunks_done),
        None => format!("{} chunks", progress.chunks_done),
    };
    match remaining(progress, elapsed) {
        Some(left) if left > Duration::ZERO => format!("{chunks}, {} left", HumanDuration(left)),
        _ => chunks,
    }
}

/// What a line shows depends on what is counted: bytes, chunks, or bytes without an end.
fn style(progress: &Progress) -> ProgressStyle {
    let template = match (progress.bytes_total, progress.chunks_total) {
        (Some(total), _) if total > 0 => {
            "{prefix:>6} [{bar:20}] {decimal_bytes:>9}/{decimal_total_bytes:9} {wide_msg}"
        }
        (_, Some(_)) => "{prefix:>6} [{bar:20}] {wide_msg}",
        _ => "{prefix:>6} {decimal_bytes:>9} in {elapsed}, {wide_msg}",
    };
    ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("=> ")
}

#[cfg(test)]
mod tests {
    use std::{
        io,
        sync::{Arc, Mutex},
    };

    use indicatif::{ProgressDrawTarget, TermLike};

    use super::*;

    /// Remembers what was written to it, wherever on the screen that is.
    #[derive(Clone, Debug, Default)]
    struct Screen(Arc<Mutex<String>>);

    impl TermLike for Screen {
        fn width(&self) -> u16 {
            100
        }

        fn move_cursor_up(&self, _: usize) -> io::Result<()> {
            Ok(())
        }

        fn move_cursor_down(&self, _: usize) -> io::Result<()> {
            Ok(())
        }

        fn move_cursor_right(&self, _: usize) -> io::Result<()> {
            Ok(())
        }

        fn move_cursor_left(&self, _: usize) -> io::Result<()> {
            Ok(())
        }

        fn write_line(&self, text: &str) -> io::Result<()> {
            self.write_str(text)?;
            self.write_str("\n")
        }

        fn write_str(&self, text: &str) -> io::Result<()> {
            self.0.lock().unwrap().push_str(text);
            Ok(())
        }

        fn clear_line(&self) -> io::Result<()> {
            Ok(())
        }

        fn flush(&self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What is written for this progress alone.
    fn line(progress: &Progress) -> String {
        let screen = Screen::default();
        let target = ProgressDrawTarget::term_like(Box::new(screen.clone()));
        let mut bars = Bars::new(MultiProgress::with_draw_target(target));
        bars.show(progress);
        bars.finish();
        let written = screen.0.lock().unwrap();
        written.clone()
    }

    #[test]
    fn bytes_have_a_bar_and_a_time() {
        let line = line(&Progress {
            stage: Stage::Store,
            bytes_done: 4_000_000,
            bytes_total: Some(8_000_000),
            chunks_done: 1,
            chunks_total: Some(2),
            ..Progress::default()
        });
        assert!(line.contains(" store [========="), "{line}");
        assert!(line.contains("4.00 MB/8.00 MB   1/2 chunks, 1 second left"), "{line}");
    }

    #[test]
    fn a_stage_that_has_done_nothing_has_no_time() {
        let line = line(&Progress { bytes_total: Some(8), ..Progress::default() });
        assert!(line.contains("  hash ["), "{line}");
        assert!(!line.contains("left"), "{line}");
    }

    #[test]
    fn without_bytes_chunks_are_counted() {
        let line = line(&Progress {
            stage: Stage::Quote,
            chunks_done: 1,
            chunks_total: Some(2),
            ..Progress::default()
        });
        assert!(line.contains(" quote ["), "{line}");
        assert!(line.contains("1/2 chunks, 1 second left"), "{line}");
    }

    #[test]
    fn how_is_paid_stands_above_the_lines() {
        use spillway_client::{ModeReason, PaymentMode};
        let line = line(&Progress {
            stage: Stage::Pay,
            mode: Some(PaymentMode::Batch),
            mode_reason: Some(ModeReason::Asked { mode: PaymentMode::Batch }),
            ..Progress::default()
        });
        assert!(line.contains("Payment as batch: as asked for"), "{line}");
    }

    #[test]
    fn a_pipe_has_no_end() {
        let line = line(&Progress {
            stage: Stage::Seal,
            bytes_done: 4_000_000,
            chunks_done: 1,
            ..Progress::default()
        });
        assert!(line.contains("4.00 MB in 0s, 1 chunks"), "{line}");
        assert!(!line.contains("left"), "{line}");
    }
}
