//! Measurements: against other people's crates, of gas on a real chain, and of what draws pay. Owns the
//! data that is measured and the way results are reported; each is a binary in `src/bin`. Heavy
//! comparators are dependencies of this crate only, behind the feature `comparators`. Deliberately
//! absent: assertions about speed, which belong to who reads the figures, on a machine that is doing
//! nothing else.

#[cfg(feature = "comparators")]
mod comparison;
mod gas;
#[cfg(feature = "comparators")]
mod samples;
mod statistics;

#[cfg(feature = "comparators")]
pub use comparison::Comparison;
pub use gas::{GAS_SIZES, GasRow, measure_gas, table as gas_table};
#[cfg(feature = "comparators")]
pub use samples::{random, source_text};
pub use statistics::{Check, Statistics, StatisticsOptions};
