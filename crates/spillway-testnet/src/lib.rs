//! A whole network on one machine: Anvil, deployed contracts and N nodes in one process.

mod manifest;
mod test_clock;

pub use manifest::Manifest;
pub use test_clock::TestClock;
