//! Over real sockets, a real chain and real disks, mostly with the built program in a process of its
//! own. Each test has a network of its own, so they are few and each does several things.

mod bad_input;
mod batch_life;
mod batch_once;
mod batch_refusals;
mod batch_trouble;
mod hostile_client;
mod interruption;
mod round_trip;

use serde_json::Value;
use spillway_types::Atto;

/// The same object with the kind of each value in its place: what a reader of the JSON relies on.
fn shape(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            fields.iter().map(|(name, value)| (name.clone(), shape(value))).collect()
        }
        Value::Array(items) => items.iter().take(1).map(shape).collect(),
        Value::String(_) => "text".into(),
        Value::Number(number) if number.is_f64() => "number".into(),
        Value::Number(_) => "integer".into(),
        Value::Bool(_) => "yes or no".into(),
        Value::Null => "null".into(),
    }
}

/// An amount of a summary, which is text.
fn atto(summary: &Value, field: &str) -> Atto {
    Atto(summary[field].as_str().unwrap_or_else(|| panic!("{field}: {summary}")).parse().unwrap())
}
