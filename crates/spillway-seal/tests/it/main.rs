//! Sealing from outside: what every reader and writer of the formats may rely on.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod compression;
mod flips;
mod formulas;
mod golden;
mod hostile_maps;
mod packing;
mod ranges;
mod refusals;
mod round_trip;
mod sharing;
mod streams;
mod support;
