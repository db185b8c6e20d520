use std::fmt::{self, Write};

/// Text for people, line by line.
#[derive(Debug, Default)]
pub(crate) struct Report(String);

impl Report {
    /// Adds a line.
    pub(crate) fn line(&mut self, line: impl fmt::Display) {
        writeln!(self.0, "{line}").expect("invariant: a text takes any line");
    }

    /// Adds lines that are whole.
    pub(crate) fn lines(&mut self, lines: &str) {
        self.0.push_str(lines);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All of it.
    pub(crate) fn text(self) -> String {
        self.0
    }
}
