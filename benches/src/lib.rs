//! Measurements against other people's crates. Owns the data that is measured and the way results
//! are reported; each comparison is a binary in `src/bin`. Heavy comparators are dependencies of
//! this crate only. Deliberately absent: assertions about speed, which belong to who reads the
//! figures, on a machine that is doing nothing else.

mod comparison;
mod samples;

pub use comparison::Comparison;
pub use samples::{random, source_text};
