//! How the program ends: exit codes, what went wrong, and what to do about it.
//!
//! The only place that knows exit codes and hints. Libraries say what is wrong in types; nothing
//! here looks at the text of a message.

mod causes;
mod connect;
mod disk;
mod download;
mod node;
mod payment;
mod session;
mod several;
mod testnet;
mod upload;
mod verify;

use std::{fmt, process};

use serde::Serialize;
use serde_json::{Map, Value};

pub(crate) use causes::chain_of;
pub(crate) use several::Failures;
pub(crate) use upload::{Of, is_declined};

use crate::render::one_line;

/// Exit codes. They are documented in `--help` and in the README, and never change their meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Code {
    /// Something failed that no other code names.
    Failure = 1,
    /// The command line or the settings are wrong; nothing was tried.
    Usage = 2,
    /// Some chunks are stored, some are not.
    PartialUpload = 3,
    /// The network or the RPC cannot be reached.
    TryAgain = 5,
    /// Not on the network, or no such local file.
    NotFound = 10,
    /// Another process holds it.
    Locked = 11,
    /// Not enough tokens, or not enough coins for gas.
    NoFunds = 13,
    /// More expensive than allowed.
    OverCap = 14,
    /// Asked to stop.
    Interrupted = 130,
}

impl From<Code> for process::ExitCode {
    fn from(code: Code) -> Self {
        Self::from(code as u8)
    }
}

/// Why the program fails, for a person and for a program.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Failure {
    /// The exit code.
    pub(crate) code: Code,
    /// What happened, in one line, without a full stop.
    pub(crate) message: String,
    /// What to do, in the imperative, where something can be done.
    pub(crate) hint: Option<String>,
    /// Further fields of the JSON form.
    pub(crate) details: Map<String, Value>,
}

impl Failure {
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), hint: None, details: Map::new() }
    }

    /// The command line or the settings are wrong.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Code::Usage, message)
    }

    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    #[must_use]
    pub(crate) fn detail(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.details.insert(name.to_owned(), value.into());
        self
    }

    /// Asked to stop before it was done.
    pub(crate) fn interrupted() -> Self {
        Self::new(Code::Interrupted, "interrupted")
    }

    /// The object that `--json` prints: `exit_error` last, `error` for one thing of several before.
    pub(crate) fn to_json(&self, message_type: &'static str) -> String {
        let line = ExitError {
            message_type,
            code: self.code as u8,
            message: &self.message,
            hint: self.hint.as_deref(),
            details: &self.details,
        };
        serde_json::to_string(&line).expect("invariant: text and numbers are JSON")
    }
}

/// The JSON form of a failure.
#[derive(Serialize)]
struct ExitError<'a> {
    message_type: &'static str,
    code: u8,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<&'a str>,
    #[serde(flatten)]
    details: &'a Map<String, Value>,
}

/// One line: what happened and what to do.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&one_line(&self.message))?;
        match &self.hint {
            Some(hint) => write!(f, "; {}", one_line(hint)),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
