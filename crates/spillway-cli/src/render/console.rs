use std::{
    fmt,
    io::{self, IsTerminal, Write},
};

use indicatif::MultiProgress;
use serde::Serialize;

use crate::exit::{Code, Failure};

/// Which form results have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// For people.
    Human,
    /// One JSON object a line.
    Json,
}

/// Standard output and standard error.
#[derive(Clone, Debug)]
pub(crate) struct Console {
    format: Format,
    quiet: bool,
    /// Colours for people.
    color: bool,
    /// All bars, so that nothing is written through them.
    bars: MultiProgress,
}

impl Console {
    pub(crate) fn new(format: Format, quiet: bool, no_color: bool) -> Self {
        let color = !no_color && format == Format::Human && io::stderr().is_terminal();
        Self { format, quiet, color, bars: MultiProgress::new() }
    }

    pub(crate) fn format(&self) -> Format {
        self.format
    }

    pub(crate) fn color(&self) -> bool {
        self.color
    }

    pub(crate) fn bars(&self) -> &MultiProgress {
        &self.bars
    }

    /// Whether bars are drawn: for people at a terminal who did not ask for silence.
    pub(crate) fn shows_bars(&self) -> bool {
        self.format == Format::Human && !self.quiet && io::stderr().is_terminal()
    }

    /// Whether somebody can be asked.
    pub(crate) fn can_ask(&self) -> bool {
        self.format == Format::Human && io::stderr().is_terminal() && io::stdin().is_terminal()
    }

    /// The last thing that a successful command says: an object, or text for people. What was asked
    /// for itself (`result`, such as a link) is printed even with `--quiet`.
    pub(crate) fn summary<S: Serialize>(&self, summary: &S, text: &Text) -> Result<(), Failure> {
        self.said("summary", summary, text)
    }

    /// What came of one upload of several, as its own command would say it; the summary comes last.
    pub(crate) fn upload<S: Serialize>(&self, summary: &S, text: &Text) -> Result<(), Failure> {
        self.said("upload", summary, text)
    }

    fn said<S: Serialize>(
        &self,
        message_type: &'static str,
        summary: &S,
        text: &Text,
    ) -> Result<(), Failure> {
        match self.format {
            Format::Json => self.json_line(message_type, summary),
            Format::Human => {
                if !self.quiet {
                    self.out(&text.report)?;
                }
                self.out(&text.result)
            }
        }
    }

    /// One object on standard output.
    pub(crate) fn json_line<S: Serialize>(
        &self,
        message_type: &'static str,
        body: &S,
    ) -> Result<(), Failure> {
        #[derive(Serialize)]
        struct Line<'a, S> {
            message_type: &'static str,
            #[serde(flatten)]
            body: &'a S,
        }
        let mut line = serde_json::to_string(&Line { message_type, body })
            .map_err(|error| Failure::new(Code::Failure, format!("cannot encode: {error}")))?;
        line.push('\n');
        self.out(&line)
    }

    /// Text as it is, on standard output.
    pub(crate) fn out(&self, text: &str) -> Result<(), Failure> {
        if text.is_empty() {
            return Ok(());
        }
        let written = self.bars.suspend(|| {
            let mut out = io::stdout().lock();
            out.write_all(text.as_bytes()).and_then(|()| out.flush())
        });
        written.map_err(|error| {
            Failure::new(Code::Failure, format!("cannot write to standard output: {error}"))
        })
    }

    /// Something to know on the way, for people, on standard error.
    pub(crate) fn note(&self, note: impl fmt::Display) {
        if self.format == Format::Human && !self.quiet {
            self.complain(&format!("{note}\n"));
        }
    }

    /// Why the command failed.
    pub(crate) fn failure(&self, failure: &Failure) {
        self.failure_as("exit_error", failure);
    }

    /// Why one thing of several failed; the command goes on with the next.
    pub(crate) fn failure_of_one(&self, failure: &Failure) {
        self.failure_as("error", failure);
    }

    fn failure_as(&self, message_type: &'static str, failure: &Failure) {
        let line = match self.format {
            Format::Json => format!("{}\n", failure.to_json(message_type)),
            Format::Human if self.color => format!("\u{1b}[1;31merror\u{1b}[0m: {failure}\n"),
            Format::Human => format!("error: {failure}\n"),
        };
        self.complain(&line);
    }

    /// Text on standard error. Nobody can be told when that is gone.
    fn complain(&self, text: &str) {
        let _nobody_left = self.bars.suspend(|| io::stderr().lock().write_all(text.as_bytes()));
    }
}

/// A summary for people.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Text {
    /// What was done. Whole lines.
    pub(crate) report: String,
    /// What was asked for. Whole lines.
    pub(crate) result: String,
}
