use std::fmt;

use super::one_line;

/// Text for people, line by line.
#[derive(Debug, Default)]
pub(crate) struct Report(String);

impl Report {
    /// Adds a line, or several, without terminal controls. A name that may hold a line break goes
    /// through [`one_line`] before.
    pub(crate) fn line(&mut self, line: impl fmt::Display) {
        for line in line.to_string().split('\n') {
            self.0.push_str(&one_line(line));
            self.0.push('\n');
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_stay_and_controls_do_not() {
        let mut report = Report::default();
        report.line("one\ntwo \x1b[31m");
        report.line("");
        assert_eq!(report.text(), "one\ntwo \u{fffd}[31m\n\n");
    }
}
