use std::time::Duration;

/// What to do about a failure. Every error type of the workspace answers this in `retry()`, and it
/// is decided where the failure is known, never by looking at a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// The same call fails the same way again.
    Never,
    /// The same call may work later: back off and try again.
    Backoff,
    /// The other side named a time to wait.
    After(Duration),
}
