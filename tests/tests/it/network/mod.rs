//! Over real sockets, a real chain and real disks, mostly with the built program in a process of its
//! own. Each test has a network of its own, so they are few and each does several things.

mod bad_input;
mod hostile_client;
mod interruption;
mod round_trip;

use serde_json::Value;
use spillway_types::Atto;

/// An amount of a summary, which is text.
fn atto(summary: &Value, field: &str) -> Atto {
    Atto(summary[field].as_str().unwrap_or_else(|| panic!("{field}: {summary}")).parse().unwrap())
}
