use super::{Code, Failure};

/// What failed of several things of which each was tried.
#[derive(Debug, Default)]
pub(crate) struct Failures(Vec<Failure>);

impl Failures {
    pub(crate) fn add(&mut self, failure: Failure) {
        self.0.push(failure);
    }

    /// How the program ends: with the worst of them. Each was said before; this says how many of
    /// `total` were not `done`.
    ///
    /// # Errors
    /// When something failed.
    pub(crate) fn end(self, total: usize, done: &str) -> Result<(), Failure> {
        let Some(code) = self.0.iter().map(|failure| failure.code).max_by_key(|code| rank(*code))
        else {
            return Ok(());
        };
        Err(Failure::new(code, format!("{} of {total} were not {done}", self.0.len())))
    }
}

/// How bad it is: stopping comes first, then what needs a person most; what only needs time comes
/// last.
fn rank(code: Code) -> u8 {
    match code {
        Code::Interrupted => 8,
        Code::Failure => 7,
        Code::NoFunds => 6,
        Code::OverCap => 5,
        Code::Usage => 4,
        Code::NotFound => 3,
        Code::PartialUpload => 2,
        Code::TryAgain => 1,
        Code::Locked => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failures(codes: &[Code]) -> Failures {
        Failures(codes.iter().map(|code| Failure::new(*code, "why")).collect())
    }

    #[test]
    fn the_worst_decides() {
        let end = |codes: &[Code]| failures(codes).end(3, "finished").unwrap_err();
        assert_eq!(end(&[Code::Locked, Code::PartialUpload]).code, Code::PartialUpload);
        assert_eq!(end(&[Code::Failure, Code::NoFunds]).code, Code::Failure);
        let failure = end(&[Code::Failure, Code::Interrupted]);
        assert_eq!(failure.code, Code::Interrupted);
        assert_eq!(failure.to_string(), "2 of 3 were not finished");
        failures(&[]).end(3, "finished").unwrap();
    }
}
