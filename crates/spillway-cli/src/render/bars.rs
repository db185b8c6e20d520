use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use spillway_client::{Progress, Stage};

/// One line for each stage; that of a stage that is over stays.
#[derive(Debug)]
pub(super) struct Bars {
    all: MultiProgress,
    now: Option<(Stage, ProgressBar)>,
}

impl Bars {
    pub(super) fn new(all: MultiProgress) -> Self {
        Self { all, now: None }
    }

    /// Shows the newest progress.
    pub(super) fn show(&mut self, progress: &Progress) {
        if self.now.as_ref().is_some_and(|(stage, _)| *stage != progress.stage) {
            self.finish();
        }
        if progress.stage == Stage::Done {
            return;
        }
        let (_, bar) = self.now.get_or_insert_with(|| {
            let bar = self.all.add(ProgressBar::no_length());
            bar.set_prefix(progress.stage.name());
            bar.set_style(style(progress));
            (progress.stage, bar)
        });
        let chunks = match progress.chunks_total {
            Some(total) => format!("{}/{total} chunks", progress.chunks_done),
            None => format!("{} chunks", progress.chunks_done),
        };
        match progress.bytes_total {
            Some(total) if total > 0 => {
                bar.set_length(total);
                bar.set_position(progress.bytes_done);
                bar.set_message(chunks);
            }
            Some(_) | None if progress.bytes_done == 0 && progress.chunks_total.is_some() => {
                bar.set_length(progress.chunks_total.unwrap_or(0));
                bar.set_position(progress.chunks_done);
            }
            _ => {
                bar.set_position(progress.bytes_done);
                bar.set_message(chunks);
            }
        }
    }

    /// Leaves the line of the current stage as it is.
    pub(super) fn finish(&mut self) {
        if let Some((_, bar)) = self.now.take() {
            bar.abandon();
        }
    }
}

/// What a line shows depends on what is counted: bytes, chunks, or bytes without an end.
fn style(progress: &Progress) -> ProgressStyle {
    let template = match (progress.bytes_total, progress.chunks_total) {
        (Some(total), _) if total > 0 => {
            "{prefix:>6} [{bar:30}] {decimal_bytes:>9}/{decimal_total_bytes:9} {msg}, {eta} left"
        }
        (_, Some(_)) => "{prefix:>6} [{bar:30}] {pos:>5}/{len} chunks, {eta} left",
        _ => "{prefix:>6} {spinner} {decimal_bytes:>9} {msg}, {elapsed}",
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
        });
        assert!(line.contains(" store [=============="), "{line}");
        assert!(line.contains("4.00 MB/8.00 MB   1/2 chunks, "), "{line}");
        assert!(line.contains(" left"), "{line}");
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
        assert!(line.contains("1/2 chunks, "), "{line}");
    }

    #[test]
    fn a_pipe_has_no_end() {
        let line = line(&Progress {
            stage: Stage::Seal,
            bytes_done: 4_000_000,
            chunks_done: 1,
            ..Progress::default()
        });
        assert!(line.contains("4.00 MB 1 chunks, "), "{line}");
        assert!(!line.contains("left"), "{line}");
    }
}
